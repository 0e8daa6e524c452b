//! Removal of a state directory: first out of sight under another name, so that the id
//! is free at once and an interrupted removal is told from a container; then by
//! descriptor, never through a link and never across a mount.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::root::names;
use super::{Id, StateDir, StateRoot};
use crate::error::{Doing, Error, Result};
use crate::sys;

/// What a directory on its way out is called: this and its inode number, which no
/// other directory there has.
const TOMBSTONE: &str = ".removed.";
/// Nothing of ours is deeper.
const DEPTH: u32 = 8;

impl StateDir {
    /// Removes the directory and all in it. The caller holds the lock.
    pub fn remove(self) -> Result<()> {
        let id = self.id();
        let doing = || format!("remove the state directory of container {id}");
        let name = id.name();
        // Without a tombstone it is removed in place: gone as well, only not at once.
        let name = self.bury(&name).unwrap_or(name);
        self.unlink_known();
        if unlinkat(&self.root, name.as_c_str(), UnlinkatFlags::RemoveDir).is_ok() {
            return Ok(());
        }
        // There is more in it than we know of, or the file system was short of memory.
        empty(self.fd(), DEPTH).map_err(|error| error.within(doing()))?;
        unlinkat(&self.root, name.as_c_str(), UnlinkatFlags::RemoveDir).doing(doing)
    }
}

impl StateDir {
    /// Renames the directory out of sight; its new name.
    fn bury(&self, name: &CStr) -> Option<CString> {
        let inode = fstat(self.fd()).ok()?.st_ino;
        let tombstone = CString::new(format!("{TOMBSTONE}{inode:x}")).ok()?;
        sys::fs::rename_noreplace(self.root.as_raw_fd(), name, &tombstone).ok()?;
        Some(tombstone)
    }
}

impl StateRoot {
    /// Removes what stands in the place of a state directory and is none: a link is
    /// unlinked, never followed. `false` when there is no such thing.
    pub fn remove_stray(&self, id: &Id) -> Result<bool> {
        let Some(root) = self.fd() else { return Ok(false) };
        let doing = || format!("remove {id} from the state root");
        let mode = match fstatat(root, id.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(false),
            other => SFlag::from_bits_truncate(other.doing(doing)?.st_mode) & SFlag::S_IFMT,
        };
        if mode == SFlag::S_IFDIR {
            return Ok(false);
        }
        unlinkat(root, id.as_str(), UnlinkatFlags::NoRemoveDir).doing(doing)?;
        Ok(true)
    }

    /// Finishes the removals that were interrupted. One that is still under way holds
    /// its lock and is left alone.
    pub fn sweep(&self) -> Result<()> {
        let Some(root) = self.fd() else { return Ok(()) };
        let doing = || "finish an interrupted removal in the state root";
        for name in names(root).doing(doing)? {
            if !name.to_bytes().starts_with(TOMBSTONE.as_bytes()) {
                continue;
            }
            let dir = match open_below(root.as_fd(), name.as_c_str()) {
                Err(Errno::ENOENT) => continue,
                other => File::from(other.doing(doing)?),
            };
            if dir.try_lock().is_err() {
                continue;
            }
            empty(dir.as_fd(), DEPTH).map_err(|error| error.within(doing()))?;
            match unlinkat(root, name.as_c_str(), UnlinkatFlags::RemoveDir) {
                Err(Errno::ENOENT) => {}
                other => other.doing(doing)?,
            }
        }
        Ok(())
    }
}

/// Removes everything in a directory. What somebody else removes meanwhile is fine.
fn empty(dir: BorrowedFd<'_>, depth: u32) -> Result<()> {
    for name in names(dir).doing(|| "read it")? {
        let name = name.as_c_str();
        let doing = || format!("remove {}", name.to_string_lossy());
        match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => continue,
            Err(Errno::EISDIR) if depth == 0 => {
                return Err(Error::new(doing()).detail("directories are nested too deeply"));
            }
            Err(Errno::EISDIR) => {}
            Err(errno) => return Err(errno).doing(doing),
        }
        let inner = match open_below(dir, name) {
            Err(Errno::EXDEV) => {
                return Err(Error::new(doing())
                    .detail("something is mounted there")
                    .hint("unmount it, and delete the container again"));
            }
            other => other.doing(doing)?,
        };
        empty(inner.as_fd(), depth - 1)?;
        unlinkat(dir, name, UnlinkatFlags::RemoveDir).doing(doing)?;
    }
    Ok(())
}

fn open_below(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .mode(Mode::empty())
        .resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_XDEV,
        );
    openat2(dir, name, how)
}
