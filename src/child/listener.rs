//! How the seccomp listener leaves the child.
//!
//! Once a filter with SCMP_ACT_NOTIFY is loaded, a call may wait for the answer of an agent who
//! does not have the listener yet. Where the profile asks the agent for none of the calls that
//! are left to do, the child sends it over the socket ([`send`]), before the start gate.
//! Otherwise not one is sure to come back. The listener is close-on-exec, so execve(2) has to wait
//! until somebody has taken it (pidfd_getfd(2)): both sides talk by the page that they share
//! ([`hand_over`]), after the gate.

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::core::hint::spin_loop;
use ::core::sync::atomic::Ordering;
use ::nix::errno::Errno;

use super::Place;
use super::report::Failure;
use crate::script::call::Call;
use crate::script::op::Listener;
use crate::sync::Kind;
use crate::sys::{RawFd, fs};

/// How often the child looks before it gives up: for 10 seconds or more, which cannot be
/// measured without a call. The other side, which has seconds of its own, is gone then.
const PATIENCE: u64 = 1 << 31;

/// What is to become of the listener that seccomp(2) has returned.
pub(super) fn leave(at: &mut Place, listener: RawFd, way: Listener) -> Result<(), Failure> {
    match way {
        Listener::None => Ok(()),
        Listener::Sent => send(at, listener),
        Listener::Taken => hand_over(at, listener),
    }
}

/// Sends the listener, and waits until the agent has it. It is not kept: with the agent it is to
/// end, or the calls of the program would wait for nobody.
fn send(at: &mut Place, listener: RawFd) -> Result<(), Failure> {
    at.tell(Kind::Listener, 0, Some(listener))?;
    at.hear()?;
    fs::close(listener);
    Ok(())
}

/// Shows the listener and waits until it has been taken.
fn hand_over(at: &Place, listener: RawFd) -> Result<(), Failure> {
    at.page.listener.store(listener as u32 + 1, Ordering::Release);
    for _ in 0..PATIENCE {
        if at.page.taken.load(Ordering::Acquire) == 1 {
            return Ok(());
        }
        spin_loop();
    }
    Err(Failure::new(Call::Listener, Errno::ETIMEDOUT))
}
