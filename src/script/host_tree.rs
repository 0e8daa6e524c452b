//! How the container comes by its mount tree. Usually it is a copy of the host's, from which
//! everything but the container is unmounted in the end: that costs the more, the more is
//! mounted. Where the kernel can make a mount namespace of one directory, the host's tree need
//! not be copied, unless something in the configuration wants to see it from inside.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::model::device::Nodes;
use crate::model::mount::{Mount, What};
use crate::model::namespaces::flag;
use crate::model::plan::Plan;
use crate::model::rootfs::Rootfs;
use crate::script::kept::MOST_TREES;

/// Types that take no path of the host as source or parameter.
const WITHOUT_PATHS: &[&[u8]] =
    &[b"cgroup2", b"devpts", b"mqueue", b"proc", b"ramfs", b"sysfs", b"tmpfs"];

impl Plan {
    /// Why the container's mount namespace must begin as a copy of the host's; `None` if it
    /// need not.
    pub fn needs_host_tree(&self) -> Option<&'static str> {
        let (namespaces, rootfs) = (&self.namespaces, &self.rootfs);
        let binds = self.mounts.iter().filter(|mount| matches!(mount.what, What::Bind { .. }));
        if !namespaces.is_new(flag::MOUNT) || namespaces.needs_preparation() {
            Some("its namespaces")
        } else if namespaces.has(flag::USER) || self.nodes != Nodes::Made {
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
    let foreseen = match &mount.what {
        // What is below the root may be what an earlier entry has mounted there.
        What::Bind { source, .. } => {
            !Path::new(OsStr::from_bytes(source.to_bytes())).starts_with(&rootfs.path)
        }
        What::FileSystem(made) => {
            made.old.is_none() && WITHOUT_PATHS.contains(&made.fstype.to_bytes())
        }
        What::Link(_) | What::Remount { .. } => true,
    };
    foreseen && mount.source_of_parent.is_none()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::model::cgroup::Manager;
    use crate::plan::{Opts, build};

    /// The reason for a configuration with these mounts, and with this more.
    fn reason(mounts: &str, more: &str, no_pivot: bool) -> Option<&'static str> {
        let text = format!(
            r#"{{"ociVersion":"1.3.0","root":{{"path":"rootfs"}},"mounts":[{mounts}],"linux":
            {{"namespaces":[{{"type":"mount"}},{{"type":"pid"}}]}}{more}}}"#
        );
        let spec = serde_json::from_str(&text).expect("a spec");
        let opts = Opts {
            id: "box",
            bundle: Path::new("/bundle"),
            no_pivot,
            extra_env: &[],
            unprivileged: false,
            makes_nodes: true,
            setgroups_denied: false,
            foreign_namespaces: 0,
            cgroups: Manager::None,
            cgroup_root: Path::new("/sys/fs/cgroup"),
            notify_socket: None,
        };
        build(&spec, &opts).0.needs_host_tree()
    }

    fn of_mount(mount: &str) -> Option<&'static str> {
        reason(mount, "", false)
    }

    #[test]
    fn what_can_be_opened_before_needs_no_view_of_the_host() {
        for mount in [
            r#"{"destination":"/proc","type":"proc","source":"proc"}"#,
            r#"{"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid"]}"#,
            r#"{"destination":"/x","source":"/y","options":["rbind","ro"]}"#,
            r#"{"destination":"/x","source":"../y","options":["bind"]}"#,
        ] {
            assert_eq!(of_mount(mount), None, "{mount}");
        }
    }

    #[test]
    fn what_comes_to_be_only_later_needs_it() {
        for mount in [
            r#"{"destination":"/x","source":"rootfs/y","options":["bind"]}"#,
            r#"{"destination":"/x","type":"overlay","source":"overlay","options":["lowerdir=/a:/b"]}"#,
            r#"{"destination":"/x","type":"ext4","source":"/dev/sda1"}"#,
        ] {
            assert_eq!(of_mount(mount), Some("mounts"), "{mount}");
        }
        let bind = r#"{"destination":"/x","source":"/y","options":["bind"]}"#;
        let many = vec![bind; super::MOST_TREES + 1];
        assert_eq!(of_mount(&many[1..].join(",")), None);
        assert_eq!(of_mount(&many.join(",")), Some("many bind mounts"));
    }

    #[test]
    fn who_looks_at_the_host_from_inside_needs_it() {
        let hook = |kind| format!(r#","hooks":{{"{kind}":[{{"path":"/bin/true"}}]}}"#);
        for kind in ["prestart", "createRuntime", "createContainer"] {
            assert_eq!(reason("", &hook(kind), false), Some("hooks"), "{kind}");
        }
        for kind in ["startContainer", "poststart", "poststop"] {
            assert_eq!(reason("", &hook(kind), false), None, "{kind}");
        }
        assert_eq!(reason("", "", true), Some("--no-pivot"));
    }
}
