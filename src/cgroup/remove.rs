//! Removal: everything in the cgroup is ended, its sub-cgroups are taken away, then the
//! cgroup, then those of its parents that we made and that nobody else uses.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::control::{self, Cgroup};
use super::{CgroupRecord, Directory, attach_devices, files, subtree};
use crate::error::{Doing, Error, Result, errno_text};
use crate::host::cgroup::Tree;
use crate::sys::fs;

/// For the driver of files: see [`super::Driver::remove`].
pub(super) fn remove(record: &CgroupRecord) -> Result<()> {
    if !record.is_ours() {
        attach_devices::end(record)?;
    }
    if record.made.is_empty() {
        return Ok(());
    }
    let root = Tree::open()?.root;
    demand_in_sight(&root, record)?;
    for directory in record.made.iter().rev() {
        let own = directory.path == record.path;
        if !is_still_ours(&root, directory)? {
            continue;
        }
        match remove_directory(&root, &directory.path) {
            Ok(()) | Err(Errno::ENOENT) => {}
            // A parent that others use by now, or a cgroup that was made after our note of
            // intent, by somebody else: we save the id before we put anything in.
            Err(Errno::EBUSY | Errno::ENOTEMPTY) if !own || directory.id.is_none() => return Ok(()),
            Err(Errno::EBUSY | Errno::ENOTEMPTY) => empty_and_remove(&root, record)?,
            Err(errno) => return Err(errno).doing(|| format!("remove cgroup /{}", directory.path)),
        }
    }
    Ok(())
}

/// A cgroup that is not at its path may be gone, or we are in another cgroup namespace than its maker,
/// which has another path for it. The kernel tells root which.
fn demand_in_sight(root: &OwnedFd, record: &CgroupRecord) -> Result<()> {
    let Some(id) = record.id else { return Ok(()) };
    if control::open_known(root, &record.path, id)?.is_some() {
        return Ok(());
    }
    // O_PATH descriptors name no file system to this call.
    let listing = files::open_listing(root).doing(|| "open the root of the cgroup tree")?;
    match fs::kernfs_has(listing.as_raw_fd(), id) {
        Ok(true) => Err(Error::new(format!("remove cgroup /{}", record.path))
            .detail("it is there, but has another path in this cgroup namespace")
            .hint("delete the container from where it was created")),
        _ => Ok(()),
    }
}

/// Without an id, for which there was no time, it has to be marked as made by us.
fn is_still_ours(root: &OwnedFd, directory: &Directory) -> Result<bool> {
    match directory.id {
        Some(id) => Ok(control::open_known(root, &directory.path, id)?.is_some()),
        None => match fstatat(root, directory.path.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(stat.st_mode & libc::S_ISVTX != 0),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(errno).doing(|| format!("look at cgroup /{}", directory.path)),
        },
    }
}

pub(super) fn remove_directory(root: &OwnedFd, path: &str) -> Result<(), Errno> {
    unlinkat(root, path, UnlinkatFlags::RemoveDir)
}

/// Kills what is in the cgroup, and waits for its end. The cgroup, if it is still there.
pub(super) fn end_processes(record: &CgroupRecord) -> Result<Option<Cgroup>> {
    let Some(cgroup) = Cgroup::open(record)? else { return Ok(None) };
    if cgroup.is_populated()? {
        cgroup.kill()?;
        if !cgroup.wait_empty()? {
            let pids: Vec<_> = cgroup.pids()?.iter().map(ToString::to_string).collect();
            return Err(Error::new(format!("remove cgroup /{}", record.path))
                .detail(format!(
                    "{} s after SIGKILL there are still processes in it: {}",
                    control::PATIENCE.as_secs(),
                    pids.join(" ")
                ))
                .hint(
                    "they are in uninterruptible sleep (state D); delete the container again later",
                ));
        }
    }
    Ok(Some(cgroup))
}

fn empty_and_remove(root: &OwnedFd, record: &CgroupRecord) -> Result<()> {
    let Some(cgroup) = end_processes(record)? else { return Ok(()) };
    let doing = || format!("remove cgroup /{}", record.path);
    subtree::remove_below(cgroup.dir(), Instant::now() + control::PATIENCE)
        .doing(|| format!("remove the sub-cgroups of /{}", record.path))?;
    match remove_directory(root, &record.path) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => {
            let pids: Vec<_> =
                cgroup.pids().unwrap_or_default().iter().map(ToString::to_string).collect();
            Err(Error::new(doing()).detail(format!(
                "{}; processes in it: [{}]",
                errno_text(errno),
                pids.join(" ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::{Directory, OwnedFd, is_still_ours};

    #[test]
    fn without_an_id_only_what_is_marked_is_ours() {
        let path = std::env::temp_dir().join(format!("rt-marked-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        let root = OwnedFd::from(File::open(&path).unwrap());
        let directory = Directory { path: "made".to_owned(), id: None };
        let ours = || is_still_ours(&root, &directory).unwrap();
        assert!(!ours(), "not there");
        fs::create_dir(path.join("made")).unwrap();
        assert!(!ours(), "another's");
        let mode = Permissions::from_mode(super::super::MARKED);
        fs::set_permissions(path.join("made"), mode).unwrap();
        assert!(ours());
        fs::remove_dir_all(&path).unwrap();
    }
}
