//! realpath(3) and clock_gettime(2) without what their first use sets up: the C library's heap, the
//! vDSO. Parent only.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

use super::check_unit;

/// realpath(3): the absolute path without links. The buffer is ours: the C library
/// would set its own allocator up for one.
pub fn realpath(path: &Path) -> Result<PathBuf, Errno> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let mut buffer: Vec<u8> = Vec::with_capacity(libc::PATH_MAX as usize);
    // SAFETY: path is NUL-terminated, and the buffer has the PATH_MAX bytes that it must have.
    let found = unsafe { libc::realpath(path.as_ptr(), buffer.as_mut_ptr().cast()) };
    if found.is_null() {
        return Err(Errno::last());
    }
    // SAFETY: on success there is a NUL-terminated string in the buffer.
    let found = unsafe { CStr::from_ptr(found) };
    Ok(PathBuf::from(OsStr::from_bytes(found.to_bytes())))
}

/// What a clock of ours shows, `CLOCK_*`.
pub fn clock(clock: i32) -> Result<libc::timespec, Errno> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: now is a live timespec, of 64-bit words as the kernel has them.
    check_unit(unsafe { libc::syscall(libc::SYS_clock_gettime, clock, &raw mut now) })?;
    Ok(now)
}

/// The time since 1970 in UTC. By a system call, since the first use of the vDSO takes two page
/// faults and a search for its symbols.
pub fn since_1970() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: now is a live timespec, of 64-bit words as the kernel has them.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_REALTIME, &raw mut now) };
    let (seconds, nanoseconds) = (now.tv_sec.try_into(), now.tv_nsec.try_into());
    Duration::new(seconds.unwrap_or(0), nanoseconds.unwrap_or(0))
}
