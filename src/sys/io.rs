//! Pipes and readiness. [`poll`] is child-safe; the others are for the parent.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;

use super::fd::own;
use super::{RawFd, check, check_unit};

/// One descriptor to wait for, as poll(2) takes it; a negative one is left out.
pub fn interest(fd: RawFd, events: i16) -> libc::pollfd {
    libc::pollfd { fd, events, revents: 0 }
}

/// poll(2). A negative timeout waits for ever; a signal ends the wait with 0.
pub fn poll(fds: &mut [libc::pollfd], timeout_ms: i32) -> Result<usize, Errno> {
    // SAFETY: fds is as long as said.
    let answer = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout_ms) };
    match check(answer.into()) {
        Err(Errno::EINTR) => Ok(0),
        other => other.map(|count| count as usize),
    }
}

/// A time as poll(2) takes it, rounded up; no time is for ever.
pub fn timeout_ms(time: Option<Duration>) -> i32 {
    let ms = |time: Duration| time.as_nanos().div_ceil(1_000_000);
    time.map_or(-1, |time| i32::try_from(ms(time)).unwrap_or(i32::MAX))
}

/// pipe2(2), close-on-exec: the end to read from and the end to write to.
pub fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut fds = [-1; 2];
    // SAFETY: fds has room for the two descriptors.
    check_unit(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    Ok((own(fds[0]), own(fds[1])))
}

/// Sets or clears `O_NONBLOCK`, for everybody who shares this open file.
pub fn set_nonblocking(fd: impl AsFd, on: bool) -> Result<(), Errno> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: integers only.
    let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) }.into())? as i32;
    let flags = if on { flags | libc::O_NONBLOCK } else { flags & !libc::O_NONBLOCK };
    // SAFETY: integers only.
    check_unit(unsafe { libc::fcntl(fd, libc::F_SETFL, flags) }.into())
}

/// How many bytes wait in a pipe, asked at either end.
pub fn waiting(pipe: impl AsFd) -> Result<usize, Errno> {
    let mut count: libc::c_int = 0;
    // SAFETY: the kernel writes one int there.
    let answer = unsafe { libc::ioctl(pipe.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut count) };
    check_unit(answer.into())?;
    Ok(count as usize)
}

/// Whether our caller has passed us a descriptor of this number: unlike our own it is not
/// close-on-exec.
pub fn is_inherited(fd: RawFd) -> bool {
    // SAFETY: integers only.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}
