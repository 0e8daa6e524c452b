//! Sources of bind mounts that root of the child's user namespace may not be able to
//! reach, or whose ids it may not map: opened here, handed over one by one. And whether all
//! sources can be opened before the container's mount namespace is entered.

use std::ffi::{CString, OsStr};
use std::fs::Metadata;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;

use super::idmap;
use crate::diag::field::Field;
use crate::error::{Doing, Error, Result};
use crate::host::mounts;
use crate::model::mount::{IdMap, Links, Mount, What};
use crate::model::namespaces::flag;
use crate::model::plan::Plan;
use crate::sync::ROOT;
use crate::sys::clone::{self, Side};
use crate::sys::mount::{self, MountAttr, attr};
use crate::sys::{fd, fs, ns, pidfd};

/// What is kept between two sources.
#[derive(Debug, Default)]
pub struct Sources {
    /// The user namespace with the maps that were asked for last: mostly all are the same.
    last: Option<(IdMap, OwnedFd)>,
}

impl Sources {
    /// The tree that the child asks for by `number`.
    pub fn open(&mut self, plan: &Plan, number: u32, child: BorrowedFd<'_>) -> Result<OwnedFd> {
        if number == ROOT {
            return root(plan, child);
        }
        let wanted = plan.mounts.iter().find(|mount| mount.source_of_parent == Some(number));
        let wanted = wanted.and_then(|mount| match &mount.what {
            What::Bind { .. } => Some(mount),
            _ => None,
        });
        let mount = wanted
            .ok_or_else(|| Error::new(format!("the child asked for mount source {number}")))?;
        let tree = tree(mount, plan.namespaces.has(flag::USER), child)?;
        if let Some(map) = &mount.id_map {
            self.map_ids(tree.as_fd(), map, child)
                .map_err(|error| error.field(&mount.field).step("mount"))?;
        }
        Ok(tree)
    }

    fn map_ids(&mut self, tree: BorrowedFd<'_>, map: &IdMap, child: BorrowedFd<'_>) -> Result<()> {
        let userns = match self.last.take() {
            Some((known, userns)) if known == *map => userns,
            _ => user_namespace(map, child)?,
        };
        let idmapped = MountAttr {
            set: attr::IDMAP,
            userns_fd: userns.as_raw_fd() as u64,
            ..MountAttr::default()
        };
        let result = mount::mount_setattr(tree.as_raw_fd(), map.recursive, &idmapped);
        self.last = Some((map.clone(), userns));
        let hint = match result {
            Err(Errno::EINVAL) => {
                "the file system of the source may not support idmapped mounts, or is mounted \
                 with mapped ids already"
            }
            Err(Errno::EPERM) => "only root of the machine may map the ids of this file system",
            _ => "see mount_setattr(2)",
        };
        result.doing(|| "map the ids of the mount").map_err(|error| error.hint(hint))
    }
}

/// What a bind would mount.
pub fn look(path: &Path, links: Links) -> io::Result<Metadata> {
    if links.of_source { std::fs::symlink_metadata(path) } else { std::fs::metadata(path) }
}

/// Sources that are links, and are to be made again and not mounted.
pub fn copy_links(mounts: &mut [Rc<Mount>]) {
    for mount in mounts.iter_mut().filter(|mount| mount.links.copy) {
        let What::Bind { source, .. } = &mount.what else { continue };
        // What is no link is mounted; what is not there is said by the checks that follow.
        let content = std::fs::read_link(OsStr::from_bytes(source.to_bytes())).ok();
        let content = content.map(|content| CString::new(content.into_os_string().into_vec()));
        if let Some(Ok(content)) = content {
            Rc::make_mut(mount).copy_link(content);
        }
    }
}

/// Whether the container's mount namespace is made of its root alone, where the kernel can do
/// that. Otherwise it begins as a copy of the host's.
pub fn tree_namespace(plan: &Plan) -> bool {
    let is_tree = |mount: &Mount| match &mount.what {
        What::Bind { source, recursive: true } => {
            let path = Path::new(OsStr::from_bytes(source.to_bytes()));
            look(path, mount.links).is_ok_and(|at| at.is_dir())
        }
        _ => false,
    };
    let reason = plan.needs_host_tree().or_else(|| {
        let kept =
            plan.mounts.iter().any(|mount| is_tree(mount)) && mounts::keep_mount_namespaces();
        kept.then_some("a mount namespace that is kept by a mount of the host")
    });
    match reason {
        Some(reason) => tracing::debug!("mount namespace: a copy of the host's, for {reason}"),
        None => tracing::debug!("mount namespace: of the root alone (OPEN_TREE_NAMESPACE)"),
    }
    reason.is_none()
}

/// A copy of the source, as the container's mount namespace has it: with what earlier
/// entries have mounted, and with the attributes locked that a user namespace of the
/// container must not clear.
fn tree(mount: &Mount, user_namespace: bool, child: BorrowedFd<'_>) -> Result<OwnedFd> {
    let What::Bind { source, recursive } = &mount.what else {
        return Err(Error::new("a mount without a source"));
    };
    let follow = !mount.links.of_source;
    let open = || mount::clone_source(source, *recursive, follow).map(fd::own);
    let at = mount.field.key("source");
    let doing = || format!("open the source {}", mount.shown_source());
    match inside(child, open)? {
        // Without what is mounted below it, a locked tree cannot be copied: that could show
        // what lies beneath. It is the caller's to show.
        Err(Errno::EINVAL) if user_namespace && !recursive => {}
        other => return other.doing(doing).map_err(|error| error.field(&at)),
    }
    let tree = open().doing(doing).map_err(|error| error.field(&at))?;
    // Made in the host's namespace, the copy shares its events both ways.
    let slave = MountAttr { propagation: libc::MS_SLAVE, ..MountAttr::default() };
    mount::mount_setattr(tree.as_raw_fd(), true, &slave).doing(doing)?;
    Ok(tree)
}

/// The container's root, as its mount namespace has it: the child mounts it onto itself.
fn root(plan: &Plan, child: BorrowedFd<'_>) -> Result<OwnedFd> {
    let path = &plan.rootfs.path;
    let doing = || format!("open the root {}", path.display());
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let c_path = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
    let open = || fs::openat(libc::AT_FDCWD, &c_path, flags, 0).map(fd::own);
    let opened = inside(child, open)?.doing(doing);
    opened.map_err(|error| error.field(&Field::of("root.path")))
}

/// Does something in the child's mount namespace. This process has one thread.
fn inside<T>(child: BorrowedFd<'_>, act: impl FnOnce() -> T) -> Result<T> {
    let path = |path| fs::openat(libc::AT_FDCWD, path, libc::O_PATH, 0).map(fd::own);
    let own = fs::openat(libc::AT_FDCWD, c"/proc/self/ns/mnt", libc::O_RDONLY, 0);
    let own = own.map(fd::own).doing(|| "open /proc/self/ns/mnt")?;
    let root = path(c"/").doing(|| "open /")?;
    let cwd = path(c".").doing(|| "open the working directory")?;
    ns::setns(child.as_raw_fd(), flag::MOUNT).doing(|| "join the container's mount namespace")?;
    let done = act();
    // setns(2) has moved the root and the working directory as well.
    let back = ns::setns(own.as_raw_fd(), flag::MOUNT)
        .and_then(|()| fs::fchdir(root.as_raw_fd()))
        .and_then(|()| fs::chroot(c"."))
        .and_then(|()| fs::fchdir(cwd.as_raw_fd()));
    back.doing(|| "return to the own mount namespace")?;
    Ok(done)
}

/// The user namespace whose maps the mount gets: the container's, or one that lives in
/// nothing but its descriptor.
fn user_namespace(map: &IdMap, child: BorrowedFd<'_>) -> Result<OwnedFd> {
    let open = |pid: i32| {
        let doing = || format!("open the user namespace of process {pid}");
        let file = std::fs::File::open(format!("/proc/{pid}/ns/user")).doing(doing)?;
        Ok(OwnedFd::from(file))
    };
    let Some((uid_map, gid_map)) = &map.maps else {
        let pid = pidfd::pid(child).doing(|| "look for the container's first process")?;
        return open(pid);
    };
    let (ours, theirs) = crate::sys::io::pipe().doing(|| "make a pipe")?;
    let side = clone::clone3(flag::USER, None, None);
    let (pid, process) = match side.doing(|| "make a user namespace for an idmapped mount")? {
        Side::Child => {
            // Until the other end is closed, or its process gone.
            fs::close(theirs.as_raw_fd());
            let _ = fs::read(ours.as_raw_fd(), &mut [0]);
            clone::exit(0)
        }
        Side::Parent { pid, pidfd } => (pid, fd::own(pidfd)),
    };
    let namespace = idmap::write_both(pid, uid_map, gid_map).and_then(|()| open(pid));
    drop(theirs);
    pidfd::wait(process.as_fd(), false).doing(|| "wait for the user namespace's process")?;
    namespace
}
