//! How the container comes by its mount tree. Usually it is a copy of the host's, from which
//! everything but the container is unmounted in the end: that costs the more, the more is
//! mounted. Where the kernel can make a mount namespace of one directory, the host's tree need
//! not be copied, unless something in the configuration wants to see it from inside.

use super::Plan;
use super::mounts::{Mount, What};
use super::namespaces::flag;
use super::rootfs::Rootfs;
use crate::child::MOST_TREES;

/// Types that take no path of the host as source or parameter.
const WITHOUT_PATHS: &[&[u8]] =
    &[b"cgroup2", b"devpts", b"mqueue", b"proc", b"ramfs", b"sysfs", b"tmpfs"];

impl Plan {
    /// Why the container's mount namespace must begin as a copy of the host's; `None` if it
    /// need not.
    pub fn needs_host_tree(&self) -> Option<&'static str> {
        let (namespaces, rootfs) = (&self.namespaces, &self.rootfs);
        let binds = self.mounts.iter().filter(|mount| matches!(mount.what, What::Bind { .. }));
        if !namespaces.is_new(flag::MOUNT) || namespaces.needs_stage() {
            Some("its namespaces")
        } else if namespaces.has(flag::USER) || self.bind_devices {
            // Also because a procfs is refused where there is none yet (mount_too_revealing).
            Some("a user namespace")
        } else if self.no_pivot {
            Some("--no-pivot")
        } else if self.wants_hooks() {
            Some("hooks")
        } else if !matches!(rootfs.propagation, None | Some((libc::MS_PRIVATE | libc::MS_SLAVE, _)))
        {
            Some("linux.rootfsPropagation")
        } else if !self.mounts.iter().all(|mount| can_be_foreseen(mount, rootfs)) {
            Some("mounts")
        } else if binds.count() > MOST_TREES {
            Some("many bind mounts")
        } else {
            None
        }
    }
}

/// Whether all that the mount takes of the host can be opened before the first mount is made.
fn can_be_foreseen(mount: &Mount, rootfs: &Rootfs) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let foreseen = match &mount.what {
        // What is below the root may be what an earlier entry has mounted there.
        What::Bind { source, .. } => {
            let source = std::ffi::OsStr::from_bytes(source.to_bytes());
            !std::path::Path::new(source).starts_with(&rootfs.path)
        }
        What::FileSystem(made) => {
            made.old.is_none() && WITHOUT_PATHS.contains(&made.fstype.to_bytes())
        }
        What::Remount { .. } => true,
    };
    // A mount on the root itself would have to become the root.
    foreseen && mount.source_of_parent.is_none() && !mount.target.is_empty()
}
