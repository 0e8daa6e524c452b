//! The device program of a new cgroup: the same for every driver.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::plan::field::Field;
use crate::plan::resources::DeviceRule;

/// `rootless`: a program that may not be loaded is forgiven.
pub(super) fn devices(
    leaf: BorrowedFd<'_>,
    path: &str,
    rules: &[DeviceRule],
    rootless: bool,
) -> Result<()> {
    match super::devices::attach(leaf, rules) {
        // Where we may not load a program, the kernel guards the devices: no node can be
        // made in a user namespace, mounts are nodev, and the host's nodes that are bound
        // keep their owners and modes.
        Err(Errno::EPERM) if rootless => Ok(()),
        other => other.map_err(|errno| {
            Error::new(format!("guard the devices of cgroup /{path}"))
                .errno(errno)
                .field(&Field::of("linux.resources.devices"))
                .hint("this needs CAP_BPF or CAP_SYS_ADMIN, and CONFIG_CGROUP_BPF in the kernel")
        }),
    }
}
