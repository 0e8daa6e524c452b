//! A procfs of a pid namespace that this process is not in.
//!
//! fsopen(2) makes a procfs for the pid namespace of its caller. The container's process enters a
//! namespace that it joins last of all, when it is all that its peers there may see: its procfs has
//! to come from elsewhere. Since Linux 6.17 a namespace can be named (`pidns`). Before that, a
//! helper opens the context, who is in the namespace for a moment and has nothing there that a peer
//! could want: an empty root, no descriptor but a socket, and no rights but in a user namespace
//! that was made for it. The context is worth nothing to it, since only whoever has CAP_SYS_ADMIN over the pid
//! namespace can make a file system of it.
//!
//! Runs on the host's side, before any namespace is joined.

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::nix::errno::Errno;

use super::report::{At, Call, Failure};
use super::{Place, mounts, process};
use crate::plan::mounts::{Mount, What};
use crate::sys::clone::{self, Side};
use crate::sys::mount::{self, MountAttr};
use crate::sys::pidfd::{self, Exit};
use crate::sys::{RawFd, fs, ns, sock};

/// How many a configuration can have.
pub(super) const MOST: usize = 16;

/// Keeps what will be mounted by `mount`: a context for a procfs of this pid namespace. Where the
/// namespace belongs to another user namespace than the container's, whose root may make no file
/// system of it (user_namespaces(7)), the procfs is made here, by the rights of the runtime. To
/// attach it takes rights over the container's mount namespace only.
pub(super) fn keep(
    at: &mut Place,
    mount: &Mount,
    namespace: RawFd,
    make: bool,
) -> Result<(), Failure> {
    let context = open(at, namespace)?;
    let kept = match &mount.what {
        What::FileSystem(made) if make => mounts::detached(at, mount, made, context, None)?,
        _ => context,
    };
    at.procfs_made = make;
    match at.procfs.iter_mut().find(|slot| **slot < 0) {
        Some(slot) => {
            *slot = kept;
            Ok(())
        }
        None => Err(Failure::new(Call::Procfs, Errno::EMFILE)),
    }
}

/// A context for a procfs of this pid namespace.
fn open(at: &mut Place, namespace: RawFd) -> Result<RawFd, Failure> {
    let context = mount::fsopen(c"proc").at(Call::FsOpen)?;
    match mount::fsconfig_set_fd(context, c"pidns", namespace) {
        Ok(()) => Ok(context),
        // Before Linux 6.17 there is no such parameter.
        Err(Errno::EINVAL) => {
            fs::close(context);
            // The helper will be seen.
            process::await_seal(at)?;
            by_helper(namespace)
        }
        Err(errno) => Err(errno).at(Call::Procfs),
    }
}

fn by_helper(namespace: RawFd) -> Result<RawFd, Failure> {
    let (ours, theirs) = sock::pair().at(Call::Procfs)?;
    let process = match clone::clone3(0, None, None).at(Call::Clone)? {
        Side::Child => leave(prepare(namespace, theirs).and_then(|()| bear(theirs))),
        Side::Parent { pidfd, .. } => pidfd,
    };
    fs::close(theirs);
    let received = sock::receive(ours, &mut [0]);
    let ended = pidfd::wait_raw(process, false).at(Call::Procfs)?;
    fs::close(process);
    fs::close(ours);
    match (received, ended) {
        (Ok((_, Some(context))), _) => Ok(context),
        (_, Some(Exit::Code(errno))) => Err(Errno::from_raw(errno)).at(Call::Procfs),
        _ => Err(Errno::ECHILD).at(Call::Procfs),
    }
}

/// The errno is the exit code.
fn leave(result: Result<(), Errno>) -> ! {
    clone::exit(match result {
        Ok(()) => 0,
        Err(errno) => errno as i32,
    })
}

/// Leaves all of the host behind. Not by chroot(2), after which no user namespace can be made.
fn prepare(namespace: RawFd, socket: RawFd) -> Result<(), Errno> {
    ns::unshare(::libc::CLONE_NEWNS as u64)?;
    let private = MountAttr { propagation: ::libc::MS_PRIVATE, ..MountAttr::default() };
    mount::mount_setattr_root(&private)?;
    let context = mount::fsopen(c"tmpfs")?;
    mount::fsconfig_create(context)?;
    let empty = mount::fsmount(context, mount::attr::RDONLY)?;
    let root = fs::openat(::libc::AT_FDCWD, c"/", ::libc::O_PATH | ::libc::O_DIRECTORY, 0)?;
    mount::move_mount(empty, root)?;
    fs::fchdir(empty)?;
    mount::pivot_root_cwd()?;
    mount::umount_cwd()?;
    fs::chdir(c"/")?;
    ns::setns(namespace, ::libc::CLONE_NEWPID as u64)?;
    let kept = socket as u32;
    if kept > 0 {
        fs::close_range(0, kept - 1, 0)?;
    }
    fs::close_range(kept + 1, u32::MAX, 0)
}

/// Only a child is in the pid namespace.
fn bear(socket: RawFd) -> Result<(), Errno> {
    let namespaces = (::libc::CLONE_NEWUSER | ::libc::CLONE_NEWNS) as u64;
    match clone::clone3(namespaces, None, None)? {
        Side::Child => leave(
            mount::fsopen(c"proc").and_then(|context| sock::send(socket, b"c", Some(context))),
        ),
        Side::Parent { pidfd, .. } => match pidfd::wait_raw(pidfd, false)? {
            Some(Exit::Code(0)) => Ok(()),
            Some(Exit::Code(errno)) => Err(Errno::from_raw(errno)),
            _ => Err(Errno::ECHILD),
        },
    }
}
