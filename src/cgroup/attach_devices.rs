//! The device program of a container's cgroup: the same for every driver.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use super::control::Cgroup;
use super::{CgroupRecord, devices};
use crate::diag::field::Field;
use crate::error::{Doing, Error, Result};
use crate::model::device_rules::DeviceRule;

/// Guards the devices of the cgroup of a record. `rootless`: a program that may not be loaded is
/// forgiven.
pub(super) fn attach(
    leaf: BorrowedFd<'_>,
    record: &CgroupRecord,
    rules: &[DeviceRule],
    rootless: bool,
) -> Result<()> {
    let attach = || {
        // All programs must agree: those of containers before would still forbid.
        let old = if record.is_ours() { Vec::new() } else { devices::own(leaf)? };
        devices::attach(leaf, rules)?;
        devices::detach(leaf, &old)
    };
    match attach() {
        // Where we may not load a program, the kernel guards the devices: no node can be
        // made in a user namespace, mounts are nodev, and the host's nodes that are bound
        // keep their owners and modes.
        Err(Errno::EPERM) if rootless => Ok(()),
        other => other.map_err(|errno| {
            let error = Error::new(format!("guard the devices of cgroup /{}", record.path))
                .errno(errno)
                .field(&Field::of("linux.resources.devices"));
            match errno {
                Errno::E2BIG => error.hint("others have attached as many programs as can be"),
                _ => error.hint(
                    "this needs CAP_BPF or CAP_SYS_ADMIN, and CONFIG_CGROUP_BPF in the kernel",
                ),
            }
        }),
    }
}

/// Ends the guard of a cgroup that outlives the container.
pub(super) fn end(record: &CgroupRecord) -> Result<()> {
    let Some(cgroup) = Cgroup::open(record)? else { return Ok(()) };
    let programs = match devices::own(cgroup.dir()) {
        // Who may not ask has attached none.
        Err(Errno::EPERM) => Vec::new(),
        other => other.doing(|| format!("list the device programs of cgroup /{}", record.path))?,
    };
    // Whose program came after our container has a process in there.
    if cgroup.is_populated()? {
        let path = &record.path;
        tracing::warn!("processes stay in cgroup /{path}, which was there before the container");
        return Ok(());
    }
    devices::detach(cgroup.dir(), &programs)
        .doing(|| format!("detach the device program of cgroup /{}", record.path))
}
