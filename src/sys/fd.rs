//! Descriptors: with an owner, and out of the way of the caller's. Parent only.

use std::os::fd::{FromRawFd, OwnedFd};

use super::RawFd;

/// Gives a descriptor that was just made an owner, who closes it.
pub fn own(fd: RawFd) -> OwnedFd {
    assert!(fd >= 0, "not a descriptor");
    // SAFETY: callers pass what a system call has just given them and keep no copy.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// The first descriptor after stdio (`SD_LISTEN_FDS_START` of sd_listen_fds(3)).
pub const AFTER_STDIO: RawFd = 3;

/// Descriptors from here on are out of the way of those that a caller may pass on.
pub const HIGH: RawFd = 512;
