//! The process itself: its files in procfs, its birth from a stage, its keyring, its processors,
//! and what it has open.

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::core::ffi::CStr;
use ::core::sync::atomic::Ordering;
use ::nix::errno::Errno;

use super::Place;
use super::report::{At, Failure};
use crate::script::call::Call;
use crate::sync::Kind;
use crate::sys::clone::{self, Side};
use crate::sys::fs::{self, RESOLVE_BENEATH, RESOLVE_NO_XDEV, openat2};
use crate::sys::{RawFd, cred, io, keyring, pty, sched};

/// The procfs is the one that the parent opened on the host; nothing mounted over a part
/// of it is followed (CVE-2025-52881).
pub(super) fn write_proc(proc: RawFd, path: &CStr, value: &[u8]) -> Result<(), Failure> {
    let resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV;
    let fd = openat2(proc, path, ::libc::O_WRONLY, 0, resolve).at(Call::OpenTarget)?;
    let written = fs::write(fd, value);
    fs::close(fd);
    match written.at(Call::Write)? {
        length if length == value.len() => Ok(()),
        _ => Err(Failure::new(Call::Write, Errno::EIO)),
    }
}

/// The stage's last act. `CLONE_PARENT` makes the new process a child of the runtime.
pub(super) fn fork(at: &mut Place, namespaces: u64) -> Result<(), Failure> {
    match clone::clone3(namespaces, Some(&at.page.pid), None).at(Call::Clone)? {
        Side::Child => Ok(()),
        Side::Parent { .. } => clone::exit(0),
    }
}

/// Only children are born in a pid namespace that was joined (pid_namespaces(7)).
pub(super) fn enter_pid_namespace(at: &mut Place, copy: bool) -> Result<(), Failure> {
    at.unborn = false;
    if copy {
        return fork(at, 0);
    }
    clone::reborn(&at.page.pid).at(Call::Clone)
}

/// Mostly the page says so already: the runtime has had time since the clone.
pub(super) fn await_seal(at: &mut Place) -> Result<(), Failure> {
    match at.page.sealed.load(Ordering::Acquire) {
        0 => at.ask(Kind::Appear, 0).map(|_| ()),
        _ => Ok(()),
    }
}

/// A process that was just cloned leads nothing, so that it can always have a session of its own.
pub(super) fn new_session(terminal: bool) -> Result<(), Failure> {
    cred::setsid()?;
    if terminal { pty::make_controlling(0).at(Call::Terminal) } else { Ok(()) }
}

/// The caller's keyring would be shared with the container (keyrings(7)). Kernels without
/// keys have none to share.
pub(super) fn session_keyring(name: &CStr) -> Result<(), Failure> {
    /// Of `linux/key.h`.
    const KEY_USR_SEARCH: u32 = 0x0008_0000;
    let mut answer = keyring::join_session_keyring(name);
    // Keys that nobody has any more are given back some time after their last user's end.
    let mut tries = 0;
    while answer == Err(Errno::EDQUOT) && tries < 20 {
        tries += 1;
        io::poll(&mut [], 10).at(Call::Keyctl)?;
        answer = keyring::join_session_keyring(name);
    }
    match answer {
        Err(Errno::ENOSYS) => Ok(()),
        // Programs of the container must find keys in it: the owner may search it.
        Ok(serial) => match keyring::add_permissions(serial, KEY_USR_SEARCH) {
            Ok(()) | Err(Errno::EACCES) => Ok(()),
            Err(errno) => Err(errno).at(Call::Keyctl),
        },
        Err(errno) => Err(errno).at(Call::Keyctl),
    }
}

/// A mask of ones is cut to what the cpuset allows. It cannot be wrong on a machine with
/// more processors than that, only too small: the kernel then takes the missing ones as 0.
pub(super) fn all_cpus() -> Result<(), Failure> {
    match sched::sched_setaffinity(&[u64::MAX; 128]) {
        // Kernel threads and isolated cpusets may forbid it: then nothing was inherited
        // that could be undone.
        Ok(()) | Err(Errno::EINVAL | Errno::EPERM) => Ok(()),
        Err(errno) => Err(errno).at(Call::None),
    }
}

/// Directories of the host, the lock of the state directory, ends of other sockets.
pub(super) fn close_others(at: &mut Place, from: u32, keep: [RawFd; 2]) -> Result<(), Failure> {
    for fd in [&mut at.proc, &mut at.null, &mut at.empty].into_iter().chain(&mut at.procfs) {
        *fd = -1;
    }
    let [one, other] = keep;
    let mut kept = [at.link, at.root, one, other];
    kept.sort_unstable();
    let mut next = from;
    for fd in kept {
        let Ok(fd) = u32::try_from(fd) else { continue };
        if fd > next {
            fs::close_range(next, fd - 1, 0)?;
        }
        next = next.max(fd + 1);
    }
    Ok(fs::close_range(next, u32::MAX, 0)?)
}
