//! The seccomp listener leaves the child without a system call.
//!
//! Once a filter with SCMP_ACT_NOTIFY is loaded, any call may wait for the answer of an
//! agent who does not have the listener yet: not one is sure to come back. The listener
//! is close-on-exec, so execve(2) has to wait until somebody has taken it (pidfd_getfd(2)).
//! Both sides therefore talk by the page that they share.

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::core::hint::spin_loop;
use ::core::sync::atomic::Ordering;
use ::nix::errno::Errno;

use super::Place;
use super::report::Failure;
use crate::script::call::Call;
use crate::sys::RawFd;

/// How often the child looks before it gives up: for 10 seconds or more, which cannot be
/// measured without a call. The other side, which has seconds of its own, is gone then.
const PATIENCE: u64 = 1 << 31;

/// Shows the listener and waits until it has been taken.
pub(super) fn hand_over(at: &Place, listener: RawFd) -> Result<(), Failure> {
    at.page.listener.store(listener as u32 + 1, Ordering::Release);
    for _ in 0..PATIENCE {
        if at.page.taken.load(Ordering::Acquire) == 1 {
            return Ok(());
        }
        spin_loop();
    }
    Err(Failure::new(Call::Listener, Errno::ETIMEDOUT))
}
