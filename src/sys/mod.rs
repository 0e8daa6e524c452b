//! The kernel, one family of calls per file: thin, without policy, and the only
//! place with `unsafe`.
//!
//! Two tiers. Most files are *child-safe*: their functions take `&CStr`, raw fds and
//! integers, allocate nothing, and may run between clone3 and execve. [`alloc`], [`auxv`], [`bpf`],
//! [`clock`], [`fd`], [`memfd`], [`netlink`], [`path`], [`proc`], [`statmount`], most of [`pidfd`] and
//! all of [`io`] but `poll` and `pipe` are for the parent only. `first` is over before both.

pub mod alloc;
pub mod auxv;
pub mod bpf;
pub mod c_array;
pub mod clock;
pub mod clone;
pub mod copy;
pub mod cred;
pub mod dev;
pub mod dir;
pub mod entering;
pub mod fd;
#[cfg(first_start)]
mod first;
pub mod fs;
pub mod io;
pub mod keyring;
pub mod memfd;
pub mod memory;
pub mod mount;
pub mod net;
pub mod netlink;
pub mod ns;
pub mod numbered;
pub mod page;
pub mod path;
pub mod pidfd;
pub mod proc;
pub mod pty;
pub mod random;
pub mod sched;
pub mod seccomp;
pub mod signal;
pub mod sock;
pub mod statmount;

use nix::errno::Errno;

pub use std::os::fd::RawFd;

/// Turns the answer of `libc::syscall` into a result.
#[inline]
pub(crate) fn check(answer: libc::c_long) -> Result<libc::c_long, Errno> {
    if answer < 0 { Err(Errno::last()) } else { Ok(answer) }
}

/// The same for calls that answer a file descriptor or another small number.
#[inline]
pub(crate) fn check_fd(answer: libc::c_long) -> Result<RawFd, Errno> {
    check(answer).map(|value| value as RawFd)
}

/// The same for calls that only succeed or fail.
#[inline]
pub(crate) fn check_unit(answer: libc::c_long) -> Result<(), Errno> {
    check(answer).map(drop)
}
