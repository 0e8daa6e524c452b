//! What is hidden and what is read-only, once everything is mounted.

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::core::ffi::CStr;
use ::nix::errno::Errno;

use super::report::{At, Failure};
use super::resolve::{self, Links, kind};
use super::{Place, null};
use crate::script::call::Call;
use crate::script::kept::Kept;
use crate::script::op::Guarded;
use crate::sys::mount::{self, MountAttr, attr};
use crate::sys::{RawFd, fs};

const READONLY: MountAttr = MountAttr { set: attr::RDONLY, clear: 0, propagation: 0, userns_fd: 0 };

/// What is not there needs no guard. What cannot be looked at may be there for somebody else:
/// that is an error.
fn find(at: &Place, guarded: &Guarded) -> Result<Option<RawFd>, Failure> {
    let (root, path) = match &guarded.below {
        Some((mount, rest)) => (mount.get(), rest),
        None => (at.root, &guarded.path),
    };
    match resolve::open(root, path, Links::Follow) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno).at(Call::OpenTarget),
    }
}

/// The root mount was bound, so it is a mount of its own.
pub(super) fn readonly_root(at: &mut Place) -> Result<(), Failure> {
    mount::mount_setattr(at.root, false, &READONLY).at(Call::MountSetattr)
}

/// A tmpfs that had to take mount points first.
pub(super) fn late_readonly(mount: &Kept) -> Result<(), Failure> {
    mount::mount_setattr(mount.get(), false, &READONLY).at(Call::MountSetattr)
}

/// A copy of the tree, read-only, goes on top of it.
pub(super) fn readonly(at: &mut Place, guarded: &Guarded) -> Result<(), Failure> {
    let Some(target) = find(at, guarded)? else { return Ok(()) };
    let tree = mount::clone_tree(target, c"", true).at(Call::OpenSource)?;
    mount::mount_setattr(tree, true, &READONLY).at(Call::MountSetattr)?;
    mount::move_mount(tree, target).at(Call::MoveMount)?;
    fs::close(tree);
    fs::close(target);
    Ok(())
}

/// Covers a directory with an empty read-only one, and anything else with a read-only null
/// device. Both are ours: a mask that came from the container's own /dev would be what the
/// image wants it to be (CVE-2025-31133).
pub(super) fn mask(at: &mut Place, guarded: &Guarded, label: Option<&CStr>) -> Result<(), Failure> {
    let Some(target) = find(at, guarded)? else { return Ok(()) };
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

/// One mount of a null device serves for all files.
fn null_device(at: &mut Place) -> Result<RawFd, Failure> {
    if at.null_attached {
        return mount::clone_tree(at.null, c"", false).at(Call::OpenSource);
    }
    if at.null < 0 {
        null::open_mask(at)?;
    }
    at.null_attached = true;
    Ok(at.null)
}
