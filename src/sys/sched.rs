//! What a process may use and how it is scheduled. Child-safe.

use core::ptr;

use nix::errno::Errno;

use super::check_unit;

/// struct sched_attr of sched_setattr(2).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SchedAttr {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
    pub util_min: u32,
    pub util_max: u32,
}

/// prlimit(2) of this process: sets one resource limit.
pub fn setrlimit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = [soft, hard];
    let none = ptr::null_mut::<u64>();
    // SAFETY: limit has the layout of struct rlimit64, and the old limit is not wanted.
    check_unit(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, limit.as_ptr(), none) })
}

/// prlimit(2) of this process: its soft and hard limit.
pub fn getrlimit(resource: u32) -> Result<(u64, u64), Errno> {
    let mut limit = [0u64; 2];
    let none = ptr::null::<u64>();
    // SAFETY: limit has the layout of struct rlimit64, and no new limit is set.
    check_unit(unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, resource, none, limit.as_mut_ptr())
    })?;
    Ok((limit[0], limit[1]))
}

/// `RLIMIT_NPROC` and `RLIMIT_NOFILE`, whose type differs between C libraries.
#[allow(clippy::unnecessary_cast)]
pub const NPROC: u32 = libc::RLIMIT_NPROC as u32;
/// See [`NPROC`].
#[allow(clippy::unnecessary_cast)]
pub const NOFILE: u32 = libc::RLIMIT_NOFILE as u32;

/// ioprio_set(2) of this process.
pub fn ioprio_set(priority: u16) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    // SAFETY: integers only.
    check_unit(unsafe {
        libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, i32::from(priority))
    })
}

impl SchedAttr {
    /// Whether a child has the same: not with `SCHED_FLAG_RESET_ON_FORK`, without which
    /// SCHED_DEADLINE allows no children at all (sched(7)).
    pub fn is_inherited(&self) -> bool {
        self.flags & libc::SCHED_FLAG_RESET_ON_FORK as u64 == 0
            && self.policy != libc::SCHED_DEADLINE as u32
    }
}

/// sched_setattr(2) of a process; 0 is this one.
pub fn sched_setattr(pid: i32, attr: &SchedAttr) -> Result<(), Errno> {
    let attr: *const SchedAttr = attr;
    // SAFETY: attr has the layout of struct sched_attr and says its own size.
    check_unit(unsafe { libc::syscall(libc::SYS_sched_setattr, pid, attr, 0) })
}

/// sched_setaffinity(2) of this process; bit n of the mask is processor n.
pub fn sched_setaffinity(mask: &[u64]) -> Result<(), Errno> {
    // SAFETY: mask is as long as said.
    check_unit(unsafe {
        libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(mask), mask.as_ptr())
    })
}

/// set_mempolicy(2); bit n of `nodes` is memory node n.
pub fn set_mempolicy(mode: u32, nodes: &[u64]) -> Result<(), Errno> {
    let (pointer, bits) = match nodes {
        [] => (ptr::null(), 0),
        // The kernel reads one bit less than told.
        _ => (nodes.as_ptr(), nodes.len() * 64 + 1),
    };
    // SAFETY: nodes is as long as said, or null with length 0.
    check_unit(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, bits) })
}

/// personality(2).
pub fn personality(persona: u64) -> Result<(), Errno> {
    // SAFETY: an integer only.
    check_unit(unsafe { libc::syscall(libc::SYS_personality, persona) })
}
