//! The container's root: bound, entered, and the host's left behind.
//! Runs in the container's mount namespace, whose tree is a copy of the host's until
//! [`pivot`], or in the host's until [`namespace()`].

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::core::ffi::CStr;
use ::nix::errno::Errno;
use ::std::ffi::CString;

use super::Place;
use super::report::{At, Failure};
use super::resolve::{self, Links, Want};
use crate::script::call::Call;
use crate::script::kept::Kept;
use crate::sync::{Kind, ROOT};
use crate::sys::mount::{self, MountAttr};
use crate::sys::{RawFd, fs, ns};

/// Sets the propagation of the whole copy of the host's tree.
pub(super) fn tree_propagation(kind: u64) -> Result<(), Failure> {
    let attr = MountAttr { propagation: kind, ..NOTHING };
    mount::mount_setattr_root(&attr).at(Call::MountSetattr)
}

const NOTHING: MountAttr = MountAttr { set: 0, clear: 0, propagation: 0, userns_fd: 0 };

/// Mounts the root onto itself, with what is mounted below it, so that it is a mount that
/// can be pivoted to. It stays at its path: hooks look for it there.
pub(super) fn bind(
    at: &mut Place,
    path: &CStr,
    private_parent: bool,
    by_parent: bool,
) -> Result<(), Failure> {
    let flags = ::libc::O_PATH | ::libc::O_DIRECTORY;
    let below = match fs::openat(::libc::AT_FDCWD, path, flags, 0) {
        Err(Errno::EACCES) if by_parent => {
            at.ask(Kind::Source, ROOT.into())?.fd.ok_or(Errno::EBADMSG)?
        }
        other => other.at(Call::OpenSource)?,
    };
    if private_parent {
        make_mount_private(below)?;
    }
    let tree = mount::clone_tree(below, c"", true).at(Call::OpenSource)?;
    mount::move_mount(tree, below).at(Call::MoveMount)?;
    fs::close(below);
    at.root = tree;
    Ok(())
}

/// Opens a copy of a source that is not in sight any more when it is mounted. It is made in the
/// host's namespace, and shares its events both ways until this is changed.
pub(super) fn open_tree(
    kept: &Kept,
    source: &CStr,
    (recursive, follow): (bool, bool),
    propagation: u64,
) -> Result<(), Failure> {
    let tree = mount::clone_source(source, recursive, follow).at(Call::OpenSource)?;
    let attr = MountAttr { propagation, ..NOTHING };
    mount::mount_setattr(tree, true, &attr).at(Call::MountSetattr)?;
    kept.set(tree);
    Ok(())
}

/// A mount namespace that was never a copy of the host's. Joining it makes the container's
/// root that of the process: there is nothing to pivot, and no old root to unmount.
pub(super) fn namespace(at: &mut Place, path: &CStr, propagation: u64) -> Result<(), Failure> {
    let namespace = mount::tree_namespace(path).at(Call::OpenSource)?;
    ns::setns(namespace, ::libc::CLONE_NEWNS as u64).at(Call::Setns)?;
    fs::close(namespace);
    at.root = open_root()?;
    let attr = MountAttr { propagation, ..NOTHING };
    mount::mount_setattr(at.root, true, &attr).at(Call::MountSetattr)
}

/// Makes the mount that holds `directory` private: walks up to its mount point, which is
/// the only place where mount_setattr(2) takes it.
fn make_mount_private(directory: RawFd) -> Result<(), Failure> {
    let attr = MountAttr { propagation: ::libc::MS_PRIVATE, ..NOTHING };
    let mut here = directory;
    let result = loop {
        match mount::mount_setattr(here, false, &attr) {
            Err(Errno::EINVAL) => {}
            other => break other.at(Call::MountSetattr),
        }
        let flags = ::libc::O_PATH | ::libc::O_DIRECTORY;
        let up = fs::openat(here, c"..", flags, 0).at(Call::OpenSource)?;
        // The root of a chroot(2) is its own parent, and need not be a mount point.
        let (below, above) = (fs::fstat(here)?, fs::fstat(up)?);
        if here != directory {
            fs::close(here);
        }
        if (below.st_dev, below.st_ino) == (above.st_dev, above.st_ino) {
            return Err(Errno::EINVAL).at(Call::MountSetattr);
        }
        here = up;
    };
    if here != directory {
        fs::close(here);
    }
    result
}

/// Makes a directory of the container where it is missing.
pub(super) fn make_directory(at: &mut Place, path: &CStr) -> Result<(), Failure> {
    let (fd, _) = resolve::open_or_make(at, path, Links::Follow, Want::Directory)?;
    fs::close(fd);
    Ok(())
}

/// pivot_root(".", ".") puts the old root on top of the new one, from where it is
/// unmounted: no directory of the container is needed for it (pivot_root(2)).
pub(super) fn pivot(at: &mut Place, shared: bool) -> Result<(), Failure> {
    let old = match shared {
        true => open_root()?,
        false => -1,
    };
    fs::fchdir(at.root).at(Call::Chdir)?;
    mount::pivot_root_cwd()?;
    if shared {
        // The umount must not travel to the host.
        let attr = MountAttr { propagation: ::libc::MS_SLAVE, ..NOTHING };
        mount::mount_setattr(old, true, &attr).at(Call::MountSetattr)?;
        fs::close(old);
    }
    mount::umount_cwd().at(Call::Umount)?;
    at.close_root();
    fs::chdir(c"/").at(Call::Chdir)
}

fn open_root() -> Result<RawFd, Failure> {
    let flags = ::libc::O_PATH | ::libc::O_DIRECTORY;
    fs::openat(::libc::AT_FDCWD, c"/", flags, 0).at(Call::OpenTarget)
}

/// The root that the container's first process has entered, as it is now.
pub(super) fn enter_open(fd: RawFd) -> Result<(), Failure> {
    fs::fchdir(fd).at(Call::Chdir)?;
    fs::chroot(c".")?;
    fs::close(fd);
    Ok(())
}

/// Without a mount namespace of the container's own there is nothing to mount: chroot(2) is
/// all.
pub(super) fn enter(path: &CStr) -> Result<(), Failure> {
    fs::chdir(path).at(Call::Chdir)?;
    fs::chroot(c".")?;
    fs::chdir(c"/").at(Call::Chdir)
}

/// Moves the root over the host's and enters it. Every proc and sysfs of the host goes
/// first: a user namespace in the container could otherwise make full ones (runc issue
/// 1962).
pub(super) fn chroot(at: &mut Place, unmount: &[CString]) -> Result<(), Failure> {
    for path in unmount {
        match mount::umount_detach(path) {
            // Gone with another one, or locked by a user namespace around us.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(errno) => return Err(errno).at(Call::UmountHost),
        }
    }
    let root = open_root()?;
    mount::move_mount(at.root, root).at(Call::MoveMount)?;
    fs::close(root);
    fs::fchdir(at.root).at(Call::Chdir)?;
    fs::chroot(c".")?;
    at.close_root();
    fs::chdir(c"/").at(Call::Chdir)
}

/// Sets the propagation of the container's own root, after the pivot.
pub(super) fn propagation(kind: u64, recursive: bool) -> Result<(), Failure> {
    let attr = MountAttr { propagation: kind, ..NOTHING };
    let root = open_root()?;
    let result = mount::mount_setattr(root, recursive, &attr).at(Call::MountSetattr);
    fs::close(root);
    result
}
