//! A cgroup and all below it, by one descriptor however deep they lie: the way back up is `..`,
//! and the kernel lets no cgroup be moved. Their names are the container's, any bytes.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::files;
use crate::sys::dir;

/// Visits the cgroup and then those below it, until `visit` says that this is enough; whether
/// it never did. Sub-cgroups may come and go meanwhile.
pub(super) fn each(
    top: impl AsFd,
    mut visit: impl FnMut(&OwnedFd) -> Result<bool, Errno>,
) -> Result<bool, Errno> {
    let mut here = files::open_cgroup(top, ".")?;
    if !visit(&here)? {
        return Ok(false);
    }
    let mut levels = vec![children(&here)?];
    while let Some(left) = levels.last_mut() {
        let Some(name) = left.pop() else {
            levels.pop();
            if !levels.is_empty() {
                here = parent(&here)?;
            }
            continue;
        };
        here = match files::open_cgroup(&here, &name) {
            Err(Errno::ENOENT) => continue,
            other => other?,
        };
        if !visit(&here)? {
            return Ok(false);
        }
        levels.push(children(&here)?);
    }
    Ok(true)
}

/// Removes all below a cgroup. `EBUSY`: there is a process in one of them, or somebody has made
/// new ones until `end`.
pub(super) fn remove_below(top: impl AsFd, end: Instant) -> Result<(), Errno> {
    let mut here = files::open_cgroup(top, ".")?;
    // The name on the way down, whether there was anything below it, and what is left of that.
    let mut levels = vec![(OsString::default(), false, children(&here)?)];
    while let Some((_, _, left)) = levels.last_mut() {
        if let Some(name) = left.pop() {
            if remove(&here, &name)? {
                continue;
            }
            here = match files::open_cgroup(&here, &name) {
                Err(Errno::ENOENT) => continue,
                other => other?,
            };
            let below = children(&here)?;
            levels.push((name, !below.is_empty(), below));
        } else if let Some((name, had_some, _)) = levels.pop()
            && let Some((_, _, left)) = levels.last_mut()
        {
            here = parent(&here)?;
            if !remove(&here, &name)? {
                if !had_some || Instant::now() > end {
                    return Err(Errno::EBUSY);
                }
                left.push(name);
            }
        }
    }
    Ok(())
}

/// Whether it is gone; else something is in it.
fn remove(dir: &OwnedFd, name: &OsStr) -> Result<bool, Errno> {
    match unlinkat(dir, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(true),
        Err(Errno::EBUSY | Errno::ENOTEMPTY) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn parent(dir: &OwnedFd) -> Result<OwnedFd, Errno> {
    openat(dir, "..", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

/// The names of the sub-cgroups; none if it is gone.
fn children(cgroup: impl AsFd) -> Result<Vec<OsString>, Errno> {
    let listing = match files::open_listing(cgroup) {
        Err(Errno::ENOENT | Errno::ENODEV) => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        match dir::getdents(listing.as_raw_fd(), &mut buffer) {
            Ok(0) | Err(Errno::ENOENT | Errno::ENODEV) => return Ok(names),
            Ok(length) => {
                let found = dir::entries(&buffer[..length]);
                let found = found.filter(|entry| entry.kind == libc::DT_DIR);
                names
                    .extend(found.map(|entry| OsStr::from_bytes(entry.name.to_bytes()).to_owned()));
            }
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::{Path, PathBuf};

    use super::*;

    /// A tree of ordinary directories, which are listed and removed in the same way.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str, below: &[&[u8]]) -> Self {
            let top = std::env::temp_dir().join(format!("rt-walk-{name}-{}", std::process::id()));
            for path in below {
                fs::create_dir_all(top.join(OsStr::from_bytes(path))).unwrap();
            }
            Tree(top)
        }

        fn open(path: &Path) -> OwnedFd {
            File::open(path).unwrap().into()
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn all_are_visited_and_removed_whatever_their_names() {
        let long = [b"x".repeat(250), b"y".repeat(250)].join(&b'/');
        let tree = Tree::new("all", &[b"a/b/c", b"a/d", b"\xff\xfe/e", &long]);
        let mut seen = 0;
        let mut count = |_: &OwnedFd| {
            seen += 1;
            Ok(true)
        };
        assert_eq!(each(Tree::open(&tree.0), &mut count), Ok(true));
        assert_eq!(seen, 9);
        assert_eq!(each(Tree::open(&tree.0), |_| Ok(false)), Ok(false));
        assert_eq!(remove_below(Tree::open(&tree.0), Instant::now()), Ok(()));
        assert_eq!(fs::read_dir(&tree.0).unwrap().count(), 0);
    }

    #[test]
    fn what_is_in_use_is_said_to_be() {
        let tree = Tree::new("busy", &[b"a/b"]);
        fs::write(tree.0.join("a/b/process"), "").unwrap();
        assert_eq!(remove_below(Tree::open(&tree.0), Instant::now()), Err(Errno::EBUSY));
    }
}
