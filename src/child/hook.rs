//! What only the process that becomes a hook does, and the stage that waits for it.

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::core::ffi::CStr;
use ::nix::errno::Errno;

use super::Place;
use super::report::{At, Failure};
use crate::script::call::Call;
use crate::script::hook::REPORT;
use crate::sys::{RawFd, clone, cred, fs, io};

/// Not by openat2(2): it is a path of the runtime's, or the root.
pub(super) fn chdir(path: &CStr) -> Result<(), Failure> {
    fs::chdir(path).at(Call::Chdir)?;
    match fs::cwd_is_inside() {
        Err(Errno::EPERM) => Err(Failure::new(Call::Outside, Errno::EPERM)),
        other => other.at(Call::Chdir),
    }
}

/// The state as stdin, one pipe as stdout and stderr, and after them the report, which closes with
/// execve(2).
pub(super) fn stdio(at: &mut Place, stdin: RawFd, output: RawFd) -> Result<(), Failure> {
    for (from, to) in [(stdin, 0), (output, 1), (output, 2)] {
        fs::dup3(from, to, 0)?;
    }
    fs::dup3(at.link, REPORT, ::libc::O_CLOEXEC)?;
    at.link = REPORT;
    Ok(())
}

/// From here on nobody waits for us when the process that reads `report`, or our parent, is killed.
pub(crate) fn die_with_parent(report: RawFd) -> Result<(), Errno> {
    cred::set_parent_death_signal(::libc::SIGKILL)?;
    // It could have died before: then nobody holds the other end of the report.
    if wait_for_end(report, 0) {
        clone::exit(1);
    }
    Ok(())
}

/// Waits until nobody can read the report any more.
pub(crate) fn wait_for_end(report: RawFd, timeout_ms: i32) -> bool {
    let mut fds = [io::interest(report, 0)];
    ::core::matches!(io::poll(&mut fds, timeout_ms), Ok(1..))
}
