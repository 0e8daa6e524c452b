//! What the child has made in the container's root, mount points above all, goes again when the
//! container does not come to be. What has come to be keeps it, as with every runtime.

use std::ffi::{CString, OsStr};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::error::Kind;
use crate::state::{Container, Id, StateRoot};
use crate::sys::fd;
use crate::sys::fs::{self as files, RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS};
use crate::sys::page::Note;

/// Removes what the notes tell of, the last one first, where it is still the same and nobody has
/// put anything into it. Nothing goes while another container has this root: a mount point that is
/// removed takes what others have mounted there along.
pub fn take_back(notes: &[Note], rootfs: &Path, states: &StateRoot, id: &Id) -> Result<(), Errno> {
    if notes.is_empty() || is_shared(rootfs, states, id) {
        return Ok(());
    }
    let path = CString::new(rootfs.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let root = fd::own(files::openat(libc::AT_FDCWD, &path, flags, 0)?);
    for note in notes.iter().rev() {
        match remove(root.as_raw_fd(), note) {
            // Made on what was mounted, which is gone; or somebody has a use for it.
            Ok(()) | Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ENOTEMPTY | Errno::ELOOP) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn remove(root: i32, note: &Note) -> Result<(), Errno> {
    let path = Path::new(OsStr::from_bytes(&note.path));
    let c_string = |text: &OsStr| CString::new(text.as_bytes()).map_err(|_| Errno::EINVAL);
    let name = c_string(path.file_name().ok_or(Errno::ENOENT)?)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = c_string(parent.unwrap_or(Path::new(".")).as_os_str())?;
    let resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS;
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let parent = fd::own(files::openat2(root, &parent, flags, 0, resolve)?);
    let parent = parent.as_raw_fd();
    let there = fd::own(files::openat(parent, &name, libc::O_PATH | libc::O_NOFOLLOW, 0)?);
    let stat = files::fstat(there.as_raw_fd())?;
    if (stat.st_dev, stat.st_ino) != (note.device, note.inode) {
        return Err(Errno::ENOENT);
    }
    let is_directory = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
    files::unlinkat(parent, &name, if is_directory { libc::AT_REMOVEDIR } else { 0 })
}

/// Whether another container is in this root, or may be about to be.
fn is_shared(rootfs: &Path, states: &StateRoot, id: &Id) -> bool {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
    let own = real(rootfs);
    let has_it = |other: &Id| match Container::load(states, other) {
        Ok(container) => real(&container.record.rootfs) == own,
        // One of a later version may have it.
        Err(error) => error.kind_of() != Kind::NotFound,
    };
    states.list().is_ok_and(|all| all.iter().any(|other| other != id && has_it(other)))
}
