//! Namespaces: setns(2), names of the host. Child-safe.

use nix::errno::Errno;

use super::{RawFd, check_fd, check_unit};

/// `NS_GET_USERNS` of `linux/nsfs.h`.
const NS_GET_USERNS: u64 = 0xb701;
/// `NS_GET_PARENT` of `linux/nsfs.h`.
const NS_GET_PARENT: u64 = 0xb702;
/// `NS_GET_NSTYPE` of `linux/nsfs.h`.
const NS_GET_NSTYPE: u64 = 0xb703;

/// `CLONE_NEWTIME` of `linux/sched.h`.
pub const CLONE_NEWTIME: u64 = 0x80;

/// setns(2): `fd` is a namespace file with one `CLONE_NEW*` flag, or a pidfd with any.
pub fn setns(fd: RawFd, flags: u64) -> Result<(), Errno> {
    // SAFETY: integers only.
    check_unit(unsafe { libc::syscall(libc::SYS_setns, fd, flags as libc::c_int) })
}

/// unshare(2).
pub fn unshare(flags: u64) -> Result<(), Errno> {
    // SAFETY: integers only.
    check_unit(unsafe { libc::syscall(libc::SYS_unshare, flags as libc::c_int) })
}

/// The `CLONE_NEW*` flag of a namespace file.
pub fn ns_type(fd: RawFd) -> Result<u64, Errno> {
    // SAFETY: the request takes no argument.
    let answer = unsafe { libc::syscall(libc::SYS_ioctl, fd, NS_GET_NSTYPE, 0) };
    super::check(answer).map(|kind| kind as u64)
}

/// The file of the user namespace that a namespace belongs to (`NS_GET_USERNS`); `EPERM` for one
/// that is out of the caller's sight.
pub fn owner(fd: RawFd) -> Result<RawFd, Errno> {
    // SAFETY: the request takes no argument.
    check_fd(unsafe { libc::syscall(libc::SYS_ioctl, fd, NS_GET_USERNS, 0) })
}

/// The file of the namespace that a user or pid namespace was made in (`NS_GET_PARENT`).
pub fn parent(fd: RawFd) -> Result<RawFd, Errno> {
    // SAFETY: the request takes no argument.
    check_fd(unsafe { libc::syscall(libc::SYS_ioctl, fd, NS_GET_PARENT, 0) })
}

/// sethostname(2).
pub fn sethostname(name: &[u8]) -> Result<(), Errno> {
    // SAFETY: name is as long as said.
    check_unit(unsafe { libc::syscall(libc::SYS_sethostname, name.as_ptr(), name.len()) })
}

/// setdomainname(2).
pub fn setdomainname(name: &[u8]) -> Result<(), Errno> {
    // SAFETY: name is as long as said.
    check_unit(unsafe { libc::syscall(libc::SYS_setdomainname, name.as_ptr(), name.len()) })
}
