//! The root of the state: one directory for each container.

use std::ffi::CString;
use std::fs::DirBuilder;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{Id, StateDir};
use crate::error::{Doing, Error, Kind, Result};
use crate::host;
use crate::sys::dir;

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// The open root, or the knowledge that there is none and so no container.
#[derive(Debug)]
pub struct StateRoot(Option<Rc<OwnedFd>>);

impl StateRoot {
    /// Opens `path`; with `create` it and its parents are made where absent.
    ///
    /// What others can write to is refused: they could exchange the state below.
    pub fn open(path: &Path, create: bool) -> Result<Self> {
        let doing = || format!("open the state root {}", path.display());
        let open = || openat(AT_FDCWD, path, DIRECTORY, Mode::empty());
        let fd = match open() {
            Err(Errno::ENOENT) if !create => return Ok(StateRoot(None)),
            Err(Errno::ENOENT) => {
                make(path)?;
                open()
            }
            other => other,
        }
        .doing(doing)?;
        let stat = fstat(&fd).doing(doing)?;
        let (owner, this) = (stat.st_uid, nix::unistd::geteuid().as_raw());
        if owner != this {
            return Err(Error::new(doing())
                .detail(format!("it belongs to uid {owner}, and this is uid {this}"))
                .hint("choose another one by --root"));
        }
        // A group of the user's own may write: umask 002 is common with such groups.
        let own_group = stat.st_gid == nix::unistd::getegid().as_raw();
        let others = if own_group { 0o002 } else { 0o022 };
        if stat.st_mode & others != 0 {
            return Err(Error::new(doing())
                .detail(format!("others may write to it (mode {:04o})", stat.st_mode & 0o7777))
                .hint(format!("chmod go-w {} or choose another one by --root", path.display())));
        }
        Ok(StateRoot(Some(Rc::new(fd))))
    }

    /// Whether there is no such directory.
    pub fn is_absent(&self) -> bool {
        self.0.is_none()
    }

    /// Where the directory of a container is, or will be.
    pub fn path_of(&self, id: &Id) -> Result<PathBuf> {
        let doing = || "find the path of the state root";
        let root = self.0.as_ref().ok_or(Errno::ENOENT).doing(doing)?;
        Ok(path_of(root).doing(doing)?.join(id.as_str()))
    }

    /// Makes the directory of a new container and locks it.
    pub fn create(&self, id: &Id) -> Result<StateDir> {
        let doing = || match self.path_of(id) {
            Ok(path) => format!("make the state directory {}", path.display()),
            Err(_) => format!("make the state directory of container {id}"),
        };
        let root = self.0.as_ref().ok_or(Errno::ENOENT).doing(doing)?;
        match mkdirat(root, id.as_str(), Mode::from_bits_truncate(0o700)) {
            Err(Errno::EEXIST) => {
                let text = format!("container with given ID already exists: {id}");
                let hint = format!("rt delete {id} removes it when it is stopped");
                return Err(Error::new(text).kind(Kind::Exists).hint(hint));
            }
            other => other.doing(doing)?,
        }
        let opened = self.open_dir(id).and_then(|dir| dir.lock().map(|()| dir));
        if opened.is_err() {
            // Nobody else has anything in it yet: it is empty, or not ours.
            let _ = unlinkat(root, id.as_str(), UnlinkatFlags::RemoveDir);
        }
        opened
    }

    /// The directory of a container.
    pub fn open_dir(&self, id: &Id) -> Result<StateDir> {
        let Some(root) = &self.0 else {
            return Err(
                not_found(id).hint("there is no state root; --root DIR names another place")
            );
        };
        match openat(root, id.as_str(), DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty()) {
            Ok(fd) => {
                let doing = || format!("open the state directory of container {id}");
                let stat = fstat(&fd).doing(doing)?;
                // What it says is done with our rights: hooks are run, processes killed.
                if stat.st_uid != nix::unistd::geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
                    let (owner, mode) = (stat.st_uid, stat.st_mode & 0o7777);
                    let why = match owner == nix::unistd::geteuid().as_raw() {
                        true => format!("others may write to it (mode {mode:04o})"),
                        false => format!("it belongs to uid {owner}"),
                    };
                    return Err(Error::new(doing()).detail(why));
                }
                Ok(StateDir::new(Rc::clone(root), fd, id.clone()))
            }
            Err(Errno::ENOENT) => Err(match path_of(root) {
                Ok(path) => not_found(id)
                    .detail(format!("not in {}", path.display()))
                    .hint("--root DIR names another place"),
                Err(_) => not_found(id),
            }),
            Err(errno) => {
                Err(errno).doing(|| format!("open the state directory of container {id}"))
            }
        }
    }

    /// Whether the directory of a container is there.
    pub fn holds(&self, id: &Id) -> bool {
        let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
        self.0.as_ref().is_some_and(|root| fstatat(root, id.as_str(), flags).is_ok())
    }

    /// The ids of all containers, sorted.
    pub fn list(&self) -> Result<Vec<Id>> {
        let Some(root) = &self.0 else { return Ok(Vec::new()) };
        let mut ids: Vec<Id> = names(root)
            .doing(|| "list the state root")?
            .iter()
            .filter_map(|name| Id::parse(name.to_str().ok()?).ok())
            .collect();
        ids.sort();
        Ok(ids)
    }

    pub(super) fn fd(&self) -> Option<&Rc<OwnedFd>> {
        self.0.as_ref()
    }
}

/// Where an open directory is.
pub(super) fn path_of(dir: &impl AsRawFd) -> std::io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", dir.as_raw_fd()))
}

/// The error for an id that no container has; engines look for the words.
pub(super) fn not_found(id: &Id) -> Error {
    Error::new(format!("container does not exist: {id}")).kind(Kind::NotFound)
}

/// Makes the root. The sticky bit keeps those who tidy up `$XDG_RUNTIME_DIR` away.
fn make(path: &Path) -> Result<()> {
    let mode = if host::unprivileged() { 0o1700 } else { 0o700 };
    let made = match path.parent() {
        Some(parent) => DirBuilder::new().recursive(true).mode(0o700).create(parent),
        None => Ok(()),
    };
    match made.and_then(|()| DirBuilder::new().mode(mode).create(path)) {
        // Another rt was faster.
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        other => other.doing(|| format!("make the state root {}", path.display())),
    }
}

/// The names in a directory, without `.` and `..`. Opened anew: the position in a
/// directory belongs to the open file description.
pub(super) fn names(dir: impl AsFd) -> Result<Vec<CString>, Errno> {
    let fd = openat(dir, c".", DIRECTORY, Mode::empty())?;
    let mut buffer = [0u8; 8192];
    let mut names = Vec::new();
    loop {
        let length = dir::getdents(fd.as_raw_fd(), &mut buffer)?;
        if length == 0 {
            return Ok(names);
        }
        let filled = buffer.get(..length).ok_or(Errno::EIO)?;
        names.extend(dir::entries(filled).map(|entry| entry.name.to_owned()));
    }
}
