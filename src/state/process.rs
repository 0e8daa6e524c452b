//! Which process it is: a pid alone is never an identity, since it is used again.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use crate::error::{Doing, Result};
use crate::sys::{fs, pidfd, proc};

/// A process by pid and start time: unique within one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// The pid in the pid namespace of `rt`.
    pub pid: i32,
    /// Start time in clock ticks since boot (proc_pid_stat(5), field 22).
    pub start_time: u64,
    /// The inode number of its pidfd, where the kernel gives each process one of its own
    /// (pidfs, Linux 6.9): a pid can be used again within one clock tick.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inode: Option<u64>,
}

/// What tells this process from every other of this boot, if the kernel can.
fn inode(pidfd: &OwnedFd) -> Result<Option<u64>, Errno> {
    match fs::fs_magic(pidfd.as_raw_fd()) {
        Ok(fs::magic::PIDFS) => {}
        // A SELinux policy may be older than pidfs.
        Ok(_) | Err(Errno::EACCES) => return Ok(None),
        Err(errno) => return Err(errno),
    }
    fs::fstat(pidfd.as_raw_fd()).map(|stat| Some(stat.st_ino))
}

impl Process {
    /// The process that has this pid now. Only for a pid that cannot be used again
    /// meanwhile: our own, or that of a child not yet waited for.
    pub fn of(pid: i32) -> Result<Self> {
        let pidfd = pidfd::open(pid).doing(|| format!("open process {pid}"))?;
        Process::with_pidfd(pid, &pidfd)
    }

    /// The same, with a descriptor of it.
    pub fn with_pidfd(pid: i32, pidfd: &OwnedFd) -> Result<Self> {
        let stat = proc::stat(pid).doing(|| format!("read /proc/{pid}/stat"))?;
        let inode = inode(pidfd).doing(|| format!("look at process {pid}"))?;
        Ok(Process { pid, start_time: stat.start_time, inode })
    }

    /// This process.
    pub fn current() -> Result<Self> {
        Process::of(std::process::id().cast_signed())
    }

    /// Whether it still runs, in this boot.
    pub fn is_alive(&self) -> Result<bool> {
        match proc::stat(self.pid) {
            Err(Errno::ESRCH) => Ok(false),
            Err(errno) => Err(errno).doing(|| format!("read /proc/{}/stat", self.pid)),
            Ok(stat) if stat.start_time != self.start_time => Ok(false),
            Ok(stat) if !stat.is_dead() && self.inode.is_none() => Ok(true),
            // The start time alone may be that of another process. And Z is also the first
            // thread of a process whose others go on: a pidfd is readable only when the last
            // one has ended.
            Ok(_) => self.open()?.map_or(Ok(false), |fd| has_ended(&fd, 0).map(|ended| !ended)),
        }
    }

    /// A descriptor of exactly this process, or `None` when it is gone.
    ///
    /// The start time is compared after the open: had the pid been passed on before,
    /// it would differ, and afterwards the descriptor cannot change its meaning.
    pub fn open(&self) -> Result<Option<OwnedFd>> {
        let fd = match pidfd::open(self.pid) {
            Err(Errno::ESRCH) => return Ok(None),
            other => other.doing(|| format!("open process {}", self.pid))?,
        };
        if let Some(known) = self.inode
            && let Some(found) = inode(&fd).doing(|| format!("look at process {}", self.pid))?
            && found != known
        {
            return Ok(None);
        }
        match proc::stat(self.pid) {
            Ok(stat) if stat.start_time == self.start_time => Ok(Some(fd)),
            Ok(_) | Err(Errno::ESRCH) => Ok(None),
            Err(errno) => Err(errno).doing(|| format!("read /proc/{}/stat", self.pid)),
        }
    }
}

/// Waits up to `milliseconds` for the end of a process; whether it has ended.
pub fn has_ended(pidfd: &OwnedFd, milliseconds: u16) -> Result<bool> {
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    loop {
        match poll(&mut fds, PollTimeout::from(milliseconds)) {
            Err(Errno::EINTR) => continue,
            other => return other.map(|count| count > 0).doing(|| "wait for a process to end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_with_another_start_time_is_a_stranger() {
        let this = Process::current().expect("this process");
        assert!(this.is_alive().expect("alive") && this.open().expect("open").is_some());
        let other = Process { start_time: this.start_time + 1, ..this };
        assert!(!other.is_alive().expect("alive") && other.open().expect("open").is_none());
    }

    #[test]
    fn a_zombie_has_ended() {
        let mut child = std::process::Command::new("/bin/true").spawn().expect("spawn");
        let process = Process::of(child.id().cast_signed()).expect("child");
        let pidfd = process.open().expect("open").expect("not waited for");
        assert!(has_ended(&pidfd, 5000).expect("poll"));
        assert!(!process.is_alive().expect("alive"));
        child.wait().expect("wait");
        assert!(process.open().expect("open").is_none());
    }
}
