//! The null device: what masks files, and stdio that is one.
//!
//! A null device of the host's is a file of the host's all the same: who may change its mode or
//! its owner takes it away from everybody there. So the container gets it on a read-only mount
//! only, which lets everybody write to the device and nobody change the file.

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::nix::errno::Errno;

use super::Place;
use super::report::{At, Failure};
use crate::script::call::Call;
use crate::sync::Kind;
use crate::sys::RawFd;
use crate::sys::fs::{self, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2};
use crate::sys::mount::{self, MountAttr, attr};

/// Of a mount of a device: it can be written to, and its file not be changed, whoever knows its
/// owner.
pub(super) const FIXED: MountAttr = MountAttr {
    set: attr::RDONLY | attr::NOSUID | attr::NOEXEC,
    clear: 0,
    propagation: 0,
    userns_fd: 0,
};

/// A mount of the host's /dev/null, which must be what its name says (CVE-2025-31133).
pub(super) fn open_mask(at: &mut Place) -> Result<(), Failure> {
    let flags = ::libc::O_PATH | ::libc::O_NOFOLLOW;
    let null = fs::openat(::libc::AT_FDCWD, c"/dev/null", flags, 0).at(Call::OpenSource)?;
    if !fs::is_null_device(&fs::fstat(null).at(Call::OpenSource)?) {
        return Err(Failure::new(Call::NotNull, Errno::EINVAL));
    }
    let mask = mount::clone_tree(null, c"", false).at(Call::OpenSource)?;
    fs::close(null);
    keep_mask(at, mask)
}

/// Keeps a mount of a null device for the masks.
pub(super) fn keep_mask(at: &mut Place, mask: RawFd) -> Result<(), Failure> {
    mount::mount_setattr(mask, false, &FIXED).at(Call::MountSetattr)?;
    at.null = mask;
    Ok(())
}

/// Stdio that is the host's null device becomes the container's, as with other runtimes: a
/// checkpoint refuses a container that has a file of the host's open. Where the container has
/// none, it becomes the host's on a read-only mount.
pub(super) fn own_stdio(at: &mut Place) -> Result<(), Failure> {
    let mut own = -1;
    for stdio in 0..3 {
        let Ok(of_host) = fs::fstat(stdio) else { continue };
        if !fs::is_null_device(&of_host) {
            continue;
        }
        if own < 0 {
            own = match of_container(at, &of_host) {
                Some(own) => own,
                None => at.ask(Kind::Null, 0)?.fd.ok_or(Errno::EBADMSG)?,
            };
        }
        fs::dup3(own, stdio, 0)?;
    }
    if own >= 0 {
        fs::close(own);
    }
    Ok(())
}

/// /dev/null of the container, if it is one, and not the host's own file on a mount where it can
/// be changed. Looked at before it is opened: the device is the image's choice (CVE-2026-88265).
fn of_container(at: &Place, of_host: &::libc::stat) -> Option<RawFd> {
    // `exec` has the container's root as its own root already.
    let (root, path, resolve) = if at.root >= 0 {
        (at.root, c"dev/null", RESOLVE_IN_ROOT)
    } else {
        (::libc::AT_FDCWD, c"/dev/null", 0)
    };
    let resolve = resolve | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    let probe = openat2(root, path, ::libc::O_PATH, 0, resolve).ok()?;
    let good = is_fit(probe, of_host);
    fs::close(probe);
    if !good {
        return None;
    }
    let flags = ::libc::O_RDWR | ::libc::O_NOCTTY;
    let own = openat2(root, path, flags, 0, resolve).ok()?;
    // The file could have been exchanged after the check.
    if is_fit(own, of_host) {
        return Some(own);
    }
    fs::close(own);
    None
}

fn is_fit(fd: RawFd, of_host: &::libc::stat) -> bool {
    let Ok(stat) = fs::fstat(fd) else { return false };
    let is_host = (stat.st_dev, stat.st_ino) == (of_host.st_dev, of_host.st_ino);
    fs::is_null_device(&stat) && (!is_host || fs::is_readonly(fd) == Ok(true))
}
