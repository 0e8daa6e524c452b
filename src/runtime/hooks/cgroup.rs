//! A cgroup of the hook's own, in which all that comes from it is found again.
//!
//! A hook in a pid namespace that the container has joined leaves its orphans to the first process
//! there, which is a stranger: they cannot be told from its own children any more.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::cgroup::files;
use crate::sys::{fd, fs, io};

/// For this long what was killed may take to end, before the cgroup is left to `delete`.
const TRIES: usize = 450;

/// A cgroup below the container's.
#[derive(Debug)]
pub(super) struct OwnCgroup {
    parent: OwnedFd,
    dir: OwnedFd,
    name: String,
}

impl OwnCgroup {
    /// Makes it. None where the container's cgroup does not allow that: then descendants are all
    /// that is found.
    pub(super) fn make(parent: &OwnedFd) -> Option<Self> {
        let parent = parent.try_clone().ok()?;
        let name = format!("rt-hook-{}", std::process::id());
        mkdirat(&parent, name.as_str(), Mode::from_bits_truncate(0o755)).ok()?;
        let c_name = std::ffi::CString::new(name.clone()).ok()?;
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let dir = fs::openat(parent.as_raw_fd(), &c_name, flags, 0).map(fd::own).ok()?;
        Some(OwnCgroup { parent, dir, name })
    }

    /// The directory, to be born in.
    pub(super) fn fd(&self) -> RawFd {
        self.dir.as_raw_fd()
    }

    /// Kills all that is in it.
    pub(super) fn kill(&self) -> Result<(), Errno> {
        files::write(&self.dir, "cgroup.kill", "1")
    }

    /// Removes it; what a successful hook has left in it stays, and goes with the container.
    pub(super) fn remove(&self) {
        for _ in 0..TRIES {
            match files::Events::read(&self.dir) {
                Ok(events) if events.populated => {
                    // An empty set: a short sleep.
                    let _ = io::poll(&mut [], 2);
                }
                _ => break,
            }
        }
        let _ = unlinkat(&self.parent, self.name.as_str(), UnlinkatFlags::RemoveDir);
    }
}
