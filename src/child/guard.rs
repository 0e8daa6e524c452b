//! What is hidden and what is read-only, once everything is mounted.

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::core::ffi::CStr;
use ::nix::errno::Errno;

use super::Place;
use super::report::{At, Call, Failure};
use super::resolve::{self, Links, kind};
use crate::sys::mount::{self, MountAttr, attr};
use crate::sys::{RawFd, fs};

const READONLY: MountAttr = MountAttr { set: attr::RDONLY, clear: 0, propagation: 0, userns_fd: 0 };

/// What is not there needs no guard.
fn find(at: &Place, path: &CStr) -> Result<Option<RawFd>, Failure> {
    match resolve::open(at.root, path, Links::Follow) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => Ok(None),
        Err(errno) => Err(errno).at(Call::OpenTarget),
    }
}

/// The root mount was bound, so it is a mount of its own.
pub(super) fn readonly_root(at: &mut Place) -> Result<(), Failure> {
    mount::mount_setattr(at.root, false, &READONLY).at(Call::MountSetattr)
}

/// A tmpfs that had to take mount points first.
pub(super) fn late_readonly(at: &mut Place, path: &CStr) -> Result<(), Failure> {
    let fd = resolve::open(at.root, path, Links::Follow).at(Call::OpenTarget)?;
    let result = mount::mount_setattr(fd, false, &READONLY).at(Call::MountSetattr);
    fs::close(fd);
    result
}

/// A copy of the tree, read-only, goes on top of it.
pub(super) fn readonly(at: &mut Place, path: &CStr) -> Result<(), Failure> {
    let Some(target) = find(at, path)? else { return Ok(()) };
    let tree = mount::clone_tree(target, c"", true).at(Call::OpenSource)?;
    mount::mount_setattr(tree, true, &READONLY).at(Call::MountSetattr)?;
    mount::move_mount(tree, target).at(Call::MoveMount)?;
    fs::close(tree);
    fs::close(target);
    Ok(())
}

/// Covers a directory with an empty read-only one, and anything else with /dev/null.
/// Both are ours: a mask that came from the container's own /dev would be what the image
/// wants it to be (CVE-2025-31133).
pub(super) fn mask(at: &mut Place, path: &CStr, label: Option<&CStr>) -> Result<(), Failure> {
    let Some(target) = find(at, path)? else { return Ok(()) };
    let cover = match kind(target).at(Call::OpenTarget)? {
        ::libc::S_IFDIR => empty_directory(at, label)?,
        _ => null_device(at)?,
    };
    mount::move_mount(cover, target).at(Call::MoveMount)?;
    // The first cover of a kind stays open: a mount can be copied only while it is attached.
    if cover != at.empty && cover != at.null {
        fs::close(cover);
    }
    fs::close(target);
    Ok(())
}

/// One tmpfs serves for all directories: made once, then copied.
fn empty_directory(at: &mut Place, label: Option<&CStr>) -> Result<RawFd, Failure> {
    if at.empty >= 0 {
        return mount::clone_tree(at.empty, c"", false).at(Call::OpenSource);
    }
    let context = mount::fsopen(c"tmpfs").at(Call::FsOpen)?;
    for (key, value) in [(c"source", c"masked"), (c"nr_inodes", c"2"), (c"mode", c"755")] {
        mount::fsconfig_set(context, key, Some(value)).at(Call::FsConfig)?;
    }
    if let Some(label) = label {
        mount::fsconfig_set(context, c"context", Some(label)).at(Call::FsConfig)?;
    }
    mount::fsconfig_create(context).at(Call::FsConfigCreate)?;
    let flags = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    at.empty = mount::fsmount(context, flags).at(Call::FsMount)?;
    fs::close(context);
    Ok(at.empty)
}

/// One mount of the host's /dev/null serves for all files.
fn null_device(at: &mut Place) -> Result<RawFd, Failure> {
    if at.null_attached {
        return mount::clone_tree(at.null, c"", false).at(Call::OpenSource);
    }
    if at.null < 0 {
        open_null(at)?;
    }
    at.null_attached = true;
    Ok(at.null)
}

/// A mount of the host's /dev/null, which must be what its name says (CVE-2025-31133).
pub(super) fn open_null(at: &mut Place) -> Result<(), Failure> {
    let flags = ::libc::O_PATH | ::libc::O_NOFOLLOW;
    let null = fs::openat(::libc::AT_FDCWD, c"/dev/null", flags, 0).at(Call::OpenSource)?;
    let stat = fs::fstat(null).at(Call::OpenSource)?;
    let is_device = stat.st_mode & ::libc::S_IFMT == ::libc::S_IFCHR;
    if !is_device || stat.st_rdev != ::libc::makedev(1, 3) {
        return Err(Failure::new(Call::NotNull, Errno::EINVAL));
    }
    at.null = mount::clone_tree(null, c"", false).at(Call::OpenSource)?;
    fs::close(null);
    Ok(())
}
