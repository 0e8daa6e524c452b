//! Device rules as a BPF program that the kernel asks before a device node is opened or
//! made (BPF_PROG_TYPE_CGROUP_DEVICE).

mod program;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use self::program::{allows_everything, answer, program};
use crate::model::device_rules::DeviceRule;
use crate::sys::bpf;

/// Guards the devices of a new cgroup by `rules`. Rules that allow everything need no
/// program.
///
/// `EPERM` is for the caller to judge: see [`bpf::load_device_program`].
pub fn attach(cgroup: BorrowedFd<'_>, rules: &[DeviceRule]) -> Result<(), Errno> {
    if allows_everything(rules) {
        return Ok(());
    }
    let program = bpf::load_device_program(&program(rules))?;
    bpf::attach_device_program(cgroup, program.as_fd(), None)
}

/// Guards the devices of a cgroup by other rules: the program that [`attach`] put there is
/// replaced in one step, so that there is no moment without. `ENOTUNIQ` when somebody else
/// has attached programs too, and ours cannot be told.
pub fn replace(cgroup: BorrowedFd<'_>, rules: &[DeviceRule]) -> Result<Replaced, Errno> {
    let mut present = bpf::device_programs(cgroup)?;
    let before = present.pop();
    if !present.is_empty() {
        return Err(Errno::ENOTUNIQ);
    }
    let now = bpf::load_device_program(&program(rules))?;
    bpf::attach_device_program(cgroup, now.as_fd(), before.as_ref().map(AsFd::as_fd))?;
    Ok(Replaced { before, now })
}

/// A program that was replaced.
#[derive(Debug)]
pub struct Replaced {
    before: Option<OwnedFd>,
    now: OwnedFd,
}

impl Replaced {
    /// Takes the replacement back. Where there was no program, there is one then that
    /// allows everything.
    pub fn take_back(&self, cgroup: BorrowedFd<'_>) -> Result<(), Errno> {
        let replaced = Some(self.now.as_fd());
        match &self.before {
            Some(before) => bpf::attach_device_program(cgroup, before.as_fd(), replaced),
            None => {
                let open = bpf::load_device_program(&answer(true))?;
                bpf::attach_device_program(cgroup, open.as_fd(), replaced)
            }
        }
    }
}

/// The programs of containers on this very cgroup.
pub fn own(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, Errno> {
    let mut programs = Vec::new();
    for program in bpf::device_programs(cgroup)? {
        if bpf::is_ours(&program)? {
            programs.push(program);
        }
    }
    Ok(programs)
}

/// Takes programs off a cgroup.
pub fn detach(cgroup: BorrowedFd<'_>, programs: &[OwnedFd]) -> Result<(), Errno> {
    programs.iter().try_for_each(|program| bpf::detach_device_program(cgroup, program))
}
