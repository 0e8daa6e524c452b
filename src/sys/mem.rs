//! Descriptors with an owner, and files without a name. Parent only.

use std::ffi::CStr;
use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;

use super::{RawFd, check_fd, cred};

/// `MFD_EXEC` of `linux/memfd.h`: since Linux 6.3 whether a memfd may be executed is
/// asked for.
const MFD_EXEC: u32 = 0x10;

/// Gives a descriptor that was just made an owner, who closes it.
pub fn own(fd: RawFd) -> OwnedFd {
    assert!(fd >= 0, "not a descriptor");
    // SAFETY: callers pass what a system call has just given them and keep no copy.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A file in memory that can be sealed and executed (memfd_create(2)).
pub fn memfd(name: &CStr) -> Result<OwnedFd, Errno> {
    let make = |flags: u32| {
        // SAFETY: name is NUL-terminated.
        check_fd(unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), flags) })
    };
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    match make(flags | MFD_EXEC) {
        // A kernel that does not know the flag makes executable ones anyway.
        Err(Errno::EINVAL) => make(flags),
        other => other,
    }
    .map(own)
}

/// Has the kernel provide the next pages of the stack in one call (`MADV_POPULATE_WRITE`, Linux
/// 5.14) instead of one page fault each. Ours has 128 KiB at the start (setup_arg_pages in the
/// kernel's fs/exec.c); where RLIMIT_STACK allows less, nothing happens.
pub fn populate_stack() {
    const MADV_POPULATE_WRITE: i32 = 23;
    const LENGTH: usize = 44 << 10;
    const PAGE: usize = 4096;
    let here = 0u8;
    let top = &raw const here as usize & !(PAGE - 1);
    let bottom = std::ptr::with_exposed_provenance_mut(top - LENGTH);
    // SAFETY: the pages below the stack pointer hold nothing, and stay as they are.
    unsafe { libc::madvise(bottom, LENGTH, MADV_POPULATE_WRITE) };
}

/// Descriptors from here on are out of the way of those that a caller may pass on.
pub const HIGH: RawFd = 512;

/// The descriptor of which this program was started by execveat(2) without a path: the kernel
/// calls it `/dev/fd/N` (`AT_EXECFN` of getauxval(3)).
pub fn started_from() -> Option<RawFd> {
    // SAFETY: reads the auxiliary vector.
    let name = unsafe { libc::getauxval(libc::AT_EXECFN) } as usize;
    let name = std::ptr::with_exposed_provenance::<libc::c_char>(name);
    if name.is_null() {
        return None;
    }
    // SAFETY: the kernel has put a string on the stack, which stays there.
    let name = unsafe { CStr::from_ptr(name) };
    name.to_str().ok()?.strip_prefix("/dev/fd/")?.parse().ok()
}

/// Whether this program has more rights than its caller: it is setuid or setgid, or has file
/// capabilities. `AT_SECURE` of getauxval(3) says so, and also where only the SELinux domain has changed
/// at the start, which lends nobody else's ids and capabilities.
pub fn is_setuid() -> bool {
    // SAFETY: reads the auxiliary vector.
    let vector = |kind| unsafe { libc::getauxval(kind) };
    if vector(libc::AT_SECURE) == 0 {
        return false;
    }
    let changed = vector(libc::AT_UID) != vector(libc::AT_EUID)
        || vector(libc::AT_GID) != vector(libc::AT_EGID);
    // Root has its capabilities of itself, and a user those that are ambient.
    let granted = |bit: u32, permitted: u64| {
        permitted & 1 << bit != 0 && !cred::ambient_is_set(bit).unwrap_or(false)
    };
    changed
        || vector(libc::AT_EUID) != 0
            && cred::capget()
                .map_or(true, |(_, permitted, _)| (0..64).any(|bit| granted(bit, permitted)))
}
