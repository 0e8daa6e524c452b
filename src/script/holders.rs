//! What holds a path that is masked or made read-only.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::model::mount::Mount;
use crate::model::plan::Plan;
use crate::model::rootfs::Guarded;

/// The procfs and sysfs of `mounts` that stay in sight: what is guarded below them is found in
/// what was mounted. What else is guarded is the root's, or of a volume whose links count from
/// the root.
pub struct Holders<'a>(Vec<(usize, &'a Path)>);

impl<'a> Holders<'a> {
    /// Those of the mounts of a plan.
    pub fn of(plan: &'a Plan) -> Self {
        let target = |mount: &'a Mount| Path::new(OsStr::from_bytes(mount.target.to_bytes()));
        let mut holders: Vec<(usize, &Path)> = Vec::new();
        let mounts = plan.mounts.iter().enumerate();
        for (index, mount) in mounts.filter(|(_, m)| m.makes_mount()) {
            let at = target(mount);
            holders.retain(|(_, covered)| !covered.starts_with(at));
            if mount.plain_target || mount.is_at("proc") || mount.is_at("sys") {
                holders.push((index, at));
            }
        }
        Holders(holders)
    }

    /// Which mount holds a guarded path, and what of the path lies below it.
    pub fn find(&self, guarded: &Guarded) -> Option<(usize, CString)> {
        let path = Path::new(OsStr::from_bytes(guarded.path.to_bytes()));
        self.0.iter().rev().find_map(|(index, target)| {
            let rest = path.strip_prefix(target).ok()?;
            let rest = if rest.as_os_str().is_empty() { Path::new(".") } else { rest };
            CString::new(rest.as_os_str().as_bytes()).ok().map(|rest| (*index, rest))
        })
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::Spec;

    use super::*;
    use crate::diag::findings::Findings;
    use crate::plan::rootfs;

    #[test]
    fn a_guarded_path_is_held_by_what_is_in_sight() {
        let mount = |at: &str, kind: &str| {
            format!(r#"{{"destination":"{at}","type":"{kind}","source":"/y"}}"#)
        };
        let holder = |mounts: &[(&str, &str)], path: &str| {
            let list: Vec<String> = mounts.iter().map(|(at, kind)| mount(at, kind)).collect();
            let text = format!(
                r#"{{"ociVersion":"1.3.0","root":{{"path":"r"}},"mounts":[{}],"linux":{{
                "namespaces":[{{"type":"mount"}},{{"type":"pid"}}],"maskedPaths":["{path}"]}}}}"#,
                list.join(",")
            );
            let spec: Spec = serde_json::from_str(&text).expect("a spec");
            let mut findings = Findings::default();
            let namespaces = crate::plan::namespaces::plan(&spec, &mut findings);
            let around = crate::plan::mounts::Around {
                namespaces: &namespaces,
                bundle: Path::new("/b"),
                root: Path::new("/b/r"),
                unprivileged: false,
                cgroup_root: Path::new("/sys/fs/cgroup"),
                notify_socket: None,
            };
            let mounts = crate::plan::mounts::plan(&spec, around, &mut findings);
            let rootfs = rootfs::plan(&spec, Path::new("/b"), &namespaces, &mut findings);
            assert!(findings.violations.is_empty(), "{findings:?}");
            let mounts = mounts.into_iter().map(std::rc::Rc::new).collect();
            let plan = Plan { mounts, ..Plan::default() };
            let found = Holders::of(&plan).find(&rootfs.masked[0]);
            found.map(|(index, rest)| (index, rest.into_string().expect("text")))
        };
        let usual = [("/proc", "proc"), ("/dev", "tmpfs"), ("/sys", "sysfs")];
        assert_eq!(holder(&usual, "/proc/a/b"), Some((0, "a/b".to_owned())));
        assert_eq!(holder(&usual, "/sys"), Some((2, ".".to_owned())));
        for path in ["/procfs", "/dev/x", "/etc"] {
            assert_eq!(holder(&usual, path), None, "{path}");
        }
        let covered = [("/a/b", "sysfs"), ("/a", "tmpfs"), ("/proc", "proc"), ("/proc", "proc")];
        assert_eq!(holder(&covered, "/a/b/firmware"), None);
        assert_eq!(holder(&covered, "/proc/keys"), Some((3, "keys".to_owned())));
    }
}
