//! The null device, which masks files, and descriptors of the caller that are such a device.
//!
//! A null device of the host's is a file of the host's all the same: who may change its mode or
//! its owner takes it away from everybody there. So the container gets it on a read-only mount
//! only, which lets everybody write to the device and nobody change the file. The same goes for
//! /dev/zero and its like ([`crate::sys::dev`]).

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::nix::errno::Errno;

use super::Place;
use super::report::{At, Failure};
use crate::script::call::Call;
use crate::sync::Kind;
use crate::sys::RawFd;
use crate::sys::dev::{self, Common};
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
    if Common::of(&fs::fstat(null).at(Call::OpenSource)?) != Some(dev::NULL) {
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

/// Descriptors of the caller that are devices of which every container has nodes of its own become
/// the container's: stdio and those that are preserved. So do other runtimes with the null device,
/// since a checkpoint refuses a container that has a file of the host's open. Where the container
/// has none, it becomes the host's on a read-only mount.
pub(super) fn own_devices(at: &mut Place, from: RawFd, below: RawFd) -> Result<(), Failure> {
    let mut last = None;
    for fd in from..below {
        let Ok(of_host) = fs::fstat(fd) else { continue };
        let Some(device) = Common::of(&of_host) else { continue };
        let flags = if device == dev::NULL {
            // With other runtimes as well it can be read and written, however it came.
            ::libc::O_RDWR | ::libc::O_NOCTTY
        } else {
            dev::reopened(fs::status_flags(fd).at(Call::OpenSource)?)
        };
        let wanted = device.wanted(flags);
        let own = match last {
            Some((same, own)) if same == wanted => own,
            _ => {
                at.await_guard()?;
                let own = match of_container(at, device, flags, &of_host) {
                    Some(own) => own,
                    None => at.ask(Kind::Device, wanted)?.fd.ok_or(Errno::EBADMSG)?,
                };
                if let Some((_, before)) = last.replace((wanted, own)) {
                    fs::close(before);
                }
                own
            }
        };
        fs::dup3(own, fd, 0)?;
    }
    if let Some((_, own)) = last {
        fs::close(own);
    }
    Ok(())
}

/// The device of the container, if it is one, and not the host's own file on a mount where it can
/// be changed. Looked at before it is opened: the device is the image's choice (CVE-2026-88265).
fn of_container(at: &Place, device: Common, flags: i32, of_host: &::libc::stat) -> Option<RawFd> {
    // `exec` has the container's root as its own root already.
    let (root, resolve) =
        if at.root >= 0 { (at.root, RESOLVE_IN_ROOT) } else { (::libc::AT_FDCWD, 0) };
    let resolve = resolve | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    let probe = openat2(root, device.path, ::libc::O_PATH, 0, resolve).ok()?;
    let good = is_fit(probe, device, of_host);
    fs::close(probe);
    if !good {
        return None;
    }
    let own = openat2(root, device.path, flags, 0, resolve).ok()?;
    // The file could have been exchanged after the check.
    if is_fit(own, device, of_host) {
        return Some(own);
    }
    fs::close(own);
    None
}

fn is_fit(fd: RawFd, device: Common, of_host: &::libc::stat) -> bool {
    let Ok(stat) = fs::fstat(fd) else { return false };
    let is_host = (stat.st_dev, stat.st_ino) == (of_host.st_dev, of_host.st_ino);
    Common::of(&stat) == Some(device) && (!is_host || fs::is_readonly(fd) == Ok(true))
}
