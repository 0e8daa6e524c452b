//! Where a created container waits for `start`.

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use super::report::{At, Failure};
use crate::script::call::Call;
use crate::sys::io::{interest, poll};
use crate::sys::{RawFd, clone, fs, signal};

/// Waits for a byte in the fifo, which is open for reading and writing here, so that there
/// is never an end of file; execve(2) closes it, for which `start` may wait. Nobody but SIGKILL could end a pid 1 that has no handlers
/// (pid_namespaces(7)): the usual requests to end are heard by a descriptor.
pub(super) fn wait(fifo: RawFd) -> Result<(), Failure> {
    const ENDING: [i32; 4] = [::libc::SIGHUP, ::libc::SIGINT, ::libc::SIGQUIT, ::libc::SIGTERM];
    let signals = signal::signalfd(signal::Mask::of(&ENDING)).at(Call::Gate)?;
    let mut ready = [interest(fifo, ::libc::POLLIN), interest(signals, ::libc::POLLIN)];
    let mut byte = [0u8; 1];
    while poll(&mut ready, -1).at(Call::Gate)? == 0 {}
    if ready[0].revents == 0
        && let Ok(Some(received)) = signal::next(signals)
    {
        clone::exit(128 + received.signal);
    }
    fs::read(fifo, &mut byte).at(Call::Gate)?;
    fs::close(signals);
    Ok(())
}
