//! A container's cgroup, found again by its record: freeze, kill, and who is in it. The
//! same for every driver.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;

use super::CgroupRecord;
use super::files::{self, Events};
use super::subtree;
use crate::error::{Doing, Error, Result};
use crate::host::cgroup::{Membership, Tree};

/// How long the kernel is given to freeze or to end the processes of a cgroup. A process in
/// an uninterruptible wait does neither.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How often a cgroup is looked at while nothing is told of it.
const LOOK: Duration = Duration::from_millis(100);

/// A cgroup that is there and is the recorded one.
#[derive(Debug)]
pub struct Cgroup {
    dir: OwnedFd,
    path: String,
    ours: bool,
}

impl Cgroup {
    /// An ordinary directory whose files are those of a cgroup, but for what the kernel does.
    #[cfg(test)]
    pub(super) fn pretended(path: &std::path::Path) -> Cgroup {
        let dir = OwnedFd::from(std::fs::File::open(path).expect("open the directory"));
        Cgroup { dir, path: "pretended".to_owned(), ours: true }
    }

    /// Finds the cgroup of a record. `None` if the container has none, or if it is gone:
    /// a cgroup of the same name with another id is somebody else's.
    pub fn open(record: &CgroupRecord) -> Result<Option<Cgroup>> {
        let Some(id) = record.id else { return Ok(None) };
        let root = Tree::open()?.root;
        let Some(dir) = open_known(&root, &record.path, id)? else { return Ok(None) };
        Ok(Some(Cgroup { dir, path: record.path.clone(), ours: record.is_ours() }))
    }

    /// The directory (`O_PATH`), for clone3 with CLONE_INTO_CGROUP.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Its path below the root of the v2 tree.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it was made for the container.
    pub fn is_ours(&self) -> bool {
        self.ours
    }

    /// The directory of the cgroup that a process of the container is in by now. A container
    /// that has moved its processes down and enabled controllers takes no process in
    /// [`Cgroup::dir`] any more (`EBUSY`), but it does where its init is.
    pub fn dir_of(&self, pid: i32) -> Result<OwnedFd> {
        let membership = Membership::read_of(pid)?;
        let path = membership.path().unwrap_or_default();
        let below = path
            .strip_prefix(&self.path)
            .filter(|below| below.is_empty() || below.starts_with('/'))
            .ok_or_else(|| {
                Error::new(format!("process {pid} has left cgroup /{}", self.path))
                    .detail(format!("it is in /{path}"))
            })?;
        files::open_cgroup(&self.dir, format!(".{below}")).doing(|| format!("open cgroup /{path}"))
    }

    /// The directory of the cgroup that a process is in, wherever that is.
    pub fn dir_of_process(pid: i32) -> Result<OwnedFd> {
        let membership = Membership::read_of(pid)?;
        let path = membership.path().unwrap_or_default();
        files::open_cgroup(Tree::open()?.root, path).doing(|| format!("open cgroup /{path}"))
    }

    /// Whether it has not been removed since it was opened.
    pub fn is_there(&self) -> bool {
        !matches!(files::open_file(&self.dir, "cgroup.controllers"), Err(Errno::ENOENT))
    }

    /// memory.high, where there is one.
    pub fn high(&self) -> Result<Option<String>> {
        match files::read_short(&self.dir, "memory.high") {
            Err(Errno::ENOENT) => Ok(None),
            other => other
                .map(|text| Some(text.trim().to_owned()))
                .doing(|| format!("read memory.high of cgroup /{}", self.path)),
        }
    }

    /// Sets memory.high.
    pub fn set_high(&self, value: &str) -> Result<()> {
        files::write(&self.dir, "memory.high", value)
            .doing(|| format!("set memory.high of cgroup /{} to {value}", self.path))
    }

    /// Whether everything in it stands still.
    pub fn is_frozen(&self) -> Result<bool> {
        self.events().map(|events| events.frozen)
    }

    /// Whether there is a process in it or in a sub-cgroup.
    pub fn is_populated(&self) -> Result<bool> {
        self.events().map(|events| events.populated)
    }

    /// The processes in it and in its sub-cgroups, as our pid namespace numbers them.
    pub fn pids(&self) -> Result<Vec<i32>> {
        pids(&self.dir).doing(|| format!("list the processes of cgroup /{}", self.path))
    }

    /// Freezes or thaws everything in it, and waits until that is so. A freeze that does
    /// not come about is taken back.
    pub fn freeze(&self, on: bool) -> Result<()> {
        let what = if on { "freeze" } else { "thaw" };
        self.demand_ours(what)?;
        let doing = || format!("{what} cgroup /{}", self.path);
        let set = |on: bool| files::write(&self.dir, "cgroup.freeze", if on { "1" } else { "0" });
        set(on).doing(doing)?;
        let end = Instant::now() + PATIENCE;
        let done = match on {
            // The kernel calls a cgroup frozen when its own processes stand still: those below it
            // may not yet.
            true => subtree::each(&self.dir, |dir| {
                unless_gone(wait(dir, end, |events| events.frozen), true)
            }),
            false => wait(&self.dir, end, |events| !events.frozen),
        };
        let error = match done {
            // One that has been removed meanwhile does not stand still.
            Ok(true) if on => return Events::read(&self.dir).map(drop).doing(doing),
            Ok(true) => return Ok(()),
            Ok(false) => {
                let detail = format!("not done after {} s", PATIENCE.as_secs());
                Error::new(doing()).detail(detail).hint(match on {
                    true => "a process in it is in uninterruptible sleep (state D)",
                    false => "a cgroup above it may be frozen",
                })
            }
            Err(errno) => Error::new(doing()).errno(errno),
        };
        if on {
            set(false).doing(|| format!("thaw cgroup /{} again", self.path))?;
        }
        Err(error)
    }

    /// Sends SIGKILL to everything in it and below, also to what is forked meanwhile and to
    /// what is frozen. Does not wait.
    pub fn kill(&self) -> Result<()> {
        self.demand_ours("kill the processes of")?;
        unless_gone(files::write(&self.dir, "cgroup.kill", "1"), ())
            .doing(|| format!("kill the processes of cgroup /{}", self.path))
    }

    /// Waits until nothing is left in it; `false` if that takes too long.
    pub fn wait_empty(&self) -> Result<bool> {
        let end = Instant::now() + PATIENCE;
        unless_gone(wait(&self.dir, end, |events| !events.populated), true)
            .doing(|| format!("wait for the end of the processes in cgroup /{}", self.path))
    }

    fn demand_ours(&self, what: &str) -> Result<()> {
        if self.ours {
            return Ok(());
        }
        Err(Error::new(format!("{what} cgroup /{}: it was there before the container", self.path))
            .hint("rt does this only to a cgroup that it has made"))
    }

    fn events(&self) -> Result<Events> {
        unless_gone(Events::read(&self.dir), Events { populated: false, frozen: false })
            .doing(|| format!("read cgroup.events of cgroup /{}", self.path))
    }
}

/// Waits for cgroup.events of a cgroup to say what is wanted; `false` if that takes too long.
fn wait(dir: impl AsFd, end: Instant, wanted: impl Fn(Events) -> bool) -> Result<bool, Errno> {
    let file = files::open_file(dir, "cgroup.events")?;
    loop {
        // Reading also arms the next notice: so nothing is missed between read and poll.
        if wanted(Events::read_again(&file)?) {
            return Ok(true);
        }
        let left = end.saturating_duration_since(Instant::now());
        // The kernel gives no notice when the cgroup is removed: then the next look fails.
        let timeout = PollTimeout::try_from(left.min(LOOK)).unwrap_or(PollTimeout::MAX);
        let answer = poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLPRI)], timeout);
        match answer {
            Ok(0) if left <= LOOK => return Ok(false),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// systemd removes a scope as soon as it is empty, at any time after we have opened it.
fn unless_gone<T>(answer: Result<T, Errno>, gone: T) -> Result<T, Errno> {
    match answer {
        // The one from open(2), the other from a file that was open.
        Err(Errno::ENOENT | Errno::ENODEV) => Ok(gone),
        other => other,
    }
}

/// Opens a cgroup if it has the id.
pub(super) fn open_known(root: &OwnedFd, path: &str, id: u64) -> Result<Option<OwnedFd>> {
    let doing = || format!("open cgroup /{path}");
    let dir = match files::open_cgroup(root, path) {
        Err(Errno::ENOENT) => return Ok(None),
        other => other.doing(doing)?,
    };
    Ok((fstat(&dir).doing(doing)?.st_ino == id).then_some(dir))
}

/// The processes of a cgroup and of those below it.
pub(super) fn pids(cgroup: &OwnedFd) -> Result<Vec<i32>, Errno> {
    let mut pids = Vec::new();
    subtree::each(cgroup, |dir| {
        // Sub-cgroups come and go. Of a threaded one, the processes are listed above it.
        match files::read(dir, "cgroup.procs") {
            // 0 is a process that our pid namespace does not know.
            Ok(text) => pids
                .extend(text.lines().filter_map(|l| l.parse::<i32>().ok()).filter(|pid| *pid != 0)),
            Err(Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
        Ok(true)
    })?;
    pids.sort_unstable();
    Ok(pids)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_cgroup_that_has_gone_meanwhile_is_empty() {
        let path = std::env::temp_dir().join(format!("rt-gone-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        let cgroup = Cgroup::pretended(&path);
        fs::remove_dir(&path).unwrap();
        assert_eq!(cgroup.is_populated().ok(), Some(false));
        assert_eq!(cgroup.is_frozen().ok(), Some(false));
        assert_eq!(cgroup.wait_empty().ok(), Some(true));
        assert!(cgroup.kill().is_ok());
        assert!(cgroup.pids().unwrap().is_empty());
        assert!(cgroup.freeze(true).is_err());
    }
}
