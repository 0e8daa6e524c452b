//! What it takes to copy a tree by descriptor. Child-safe.

use core::ffi::CStr;

use nix::errno::Errno;

use super::{RawFd, check, check_unit};

/// sendfile(2) from the current offsets; 0 at the end of the file.
pub fn sendfile(to: RawFd, from: RawFd) -> Result<usize, Errno> {
    /// The most that the kernel does in one call.
    const MOST: usize = 0x7fff_f000;
    let none = core::ptr::null_mut::<libc::off_t>();
    // SAFETY: no offset is passed.
    let answer = unsafe { libc::syscall(libc::SYS_sendfile, to, from, none, MOST) };
    check(answer).map(|length| length as usize)
}

/// utimensat(2) of one name in a directory, or of `dir` itself where `name` is empty; never
/// through a link.
pub fn set_times(dir: RawFd, name: &CStr, stat: &libc::stat) -> Result<(), Errno> {
    let times = [[stat.st_atime, stat.st_atime_nsec], [stat.st_mtime, stat.st_mtime_nsec]];
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH;
    // SAFETY: name is NUL-terminated, and times has the layout of two struct timespec.
    check_unit(unsafe {
        libc::syscall(libc::SYS_utimensat, dir, name.as_ptr(), times.as_ptr(), flags)
    })
}

/// flistxattr(2): names, each with its NUL.
pub fn flistxattr(fd: RawFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: buffer is as long as said.
    let answer =
        unsafe { libc::syscall(libc::SYS_flistxattr, fd, buffer.as_mut_ptr(), buffer.len()) };
    check(answer).map(|length| length as usize)
}

/// fgetxattr(2).
pub fn fgetxattr(fd: RawFd, name: &CStr, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: name is NUL-terminated, and buffer is as long as said.
    let answer = unsafe {
        libc::syscall(libc::SYS_fgetxattr, fd, name.as_ptr(), buffer.as_mut_ptr(), buffer.len())
    };
    check(answer).map(|length| length as usize)
}

/// fsetxattr(2).
pub fn fsetxattr(fd: RawFd, name: &CStr, value: &[u8]) -> Result<(), Errno> {
    // SAFETY: name is NUL-terminated, and value is as long as said.
    check_unit(unsafe {
        libc::syscall(libc::SYS_fsetxattr, fd, name.as_ptr(), value.as_ptr(), value.len(), 0)
    })
}
