//! The root: where it is, how mounts travel, what is hidden and what is read-only.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;

use super::Plan;
use super::field::Field;
use super::findings::Findings;
use super::mounts::{Mount, NEED_NAMESPACE, clean};
use super::namespaces::{Namespaces, flag};

/// A path of the container that is hidden or made read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    /// Below the root, without a leading slash.
    pub path: CString,
    /// `linux.maskedPaths[N]` or `linux.readonlyPaths[N]`.
    pub field: Field,
}

/// The container's root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rootfs {
    /// Absolute path on the host.
    pub path: PathBuf,
    /// Read-only when everything is in place.
    pub readonly: bool,
    /// `linux.rootfsPropagation` as `MS_*`, and whether it goes for the whole tree.
    pub propagation: Option<(u64, bool)>,
    /// Hidden.
    pub masked: Vec<Guarded>,
    /// Read-only.
    pub readonly_paths: Vec<Guarded>,
}

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

/// Reads `root`, `linux.rootfsPropagation`, `linux.maskedPaths`, `linux.readonlyPaths`.
pub fn plan(
    spec: &Spec,
    bundle: &Path,
    namespaces: &Namespaces,
    findings: &mut Findings,
) -> Rootfs {
    let mut rootfs = Rootfs::default();
    match spec.root() {
        None => findings.refuse(&Field::of("root"), "missing"),
        Some(root) if root.path().as_os_str().is_empty() => {
            findings.refuse_value(&Field::of("root.path"), "", "must not be empty");
        }
        Some(root) => {
            rootfs.path = bundle.join(root.path());
            rootfs.readonly = root.readonly().unwrap_or(false);
        }
    }
    if !namespaces.is_new(flag::MOUNT) && rootfs.readonly {
        findings.refuse(&Field::of("root.readonly"), NEED_NAMESPACE);
    }
    let Some(linux) = spec.linux() else { return rootfs };
    if let Some(word) = linux.rootfs_propagation().as_deref().filter(|word| !word.is_empty()) {
        rootfs.propagation = propagation(word);
        if rootfs.propagation.is_none() {
            let reason = "must be [r]shared, [r]slave, [r]private or [r]unbindable";
            findings.refuse_value(&Field::of("linux.rootfsPropagation"), word, reason);
        }
        if !namespaces.is_new(flag::MOUNT) {
            findings.refuse_value(&Field::of("linux.rootfsPropagation"), word, NEED_NAMESPACE);
        }
    }
    let lists = [("maskedPaths", linux.masked_paths()), ("readonlyPaths", linux.readonly_paths())];
    for (name, list) in lists {
        let field = Field::of("linux").key(name);
        let list = list.as_deref().unwrap_or_default();
        if !list.is_empty() && !namespaces.is_new(flag::MOUNT) {
            findings.refuse(&field, NEED_NAMESPACE);
        }
        let guarded = list.iter().enumerate();
        let mut guarded: Vec<Guarded> =
            guarded.filter_map(|(i, path)| guard(path, &field.at(i), findings)).collect();
        // Once is enough; engines repeat the defaults.
        let mut seen = BTreeSet::new();
        guarded.retain(|guarded| seen.insert(guarded.path.clone()));
        if name == "maskedPaths" {
            rootfs.masked = guarded;
        } else {
            rootfs.readonly_paths = guarded;
        }
    }
    rootfs
}

fn propagation(word: &str) -> Option<(u64, bool)> {
    let (plain, recursive) = match word.strip_prefix('r') {
        Some(plain) => (plain, true),
        None => (word, false),
    };
    let kind = match plain {
        "shared" => libc::MS_SHARED,
        "slave" => libc::MS_SLAVE,
        "private" => libc::MS_PRIVATE,
        "unbindable" => libc::MS_UNBINDABLE,
        _ => return None,
    };
    Some((kind, recursive))
}

fn guard(path: &str, field: &Field, findings: &mut Findings) -> Option<Guarded> {
    let climbs = path.split('/').any(|part| part == "..");
    let path = Path::new(path);
    let cleaned = clean(path);
    if !path.is_absolute() || climbs {
        findings.refuse_value(field, path, "must be an absolute path without ..");
        return None;
    }
    if cleaned.as_os_str().is_empty() {
        findings.refuse_value(field, path, "must not be the root itself");
        return None;
    }
    Some(Guarded {
        path: findings.c_string(field, cleaned.as_os_str().as_bytes()),
        field: field.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_eight_propagation_words_are_known() {
        for word in ["shared", "slave", "private", "unbindable"] {
            let plain = propagation(word).expect(word);
            let recursive = propagation(&format!("r{word}")).expect(word);
            assert_eq!((plain.0, false, true), (recursive.0, plain.1, recursive.1));
        }
        assert_eq!(propagation("foo"), None);
    }
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
            let rootfs = plan(&spec, Path::new("/b"), &namespaces, &mut findings);
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
