//! Whether the container manages its own cgroup: it has a cgroup namespace and a writable
//! cgroup mount. Then systemd or an engine can run in it.

use super::annotations::LEAF;
use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::delegation::Delegation;
use crate::model::mount::{Mount, What};
use crate::model::namespaces::{Namespaces, flag};

/// `uid` is that of the container's process.
pub fn plan(
    namespaces: &Namespaces,
    mounts: &[Mount],
    uid: u32,
    leaf: Option<String>,
    findings: &mut Findings,
) -> Option<Delegation> {
    let own = namespaces.has(flag::CGROUP) && mounts.iter().any(is_writable_cgroup);
    if !own && leaf.is_some() {
        let reason = "needs a cgroup namespace, and a mount of type cgroup that is not read-only";
        findings.refuse(&Field::of("annotations").key(LEAF), reason);
    }
    let mapped = namespaces.has(flag::USER);
    let owner = (uid != 0 || mapped).then_some(uid);
    (own && (owner.is_some() || leaf.is_some())).then_some(Delegation { owner, mapped, leaf })
}

fn is_writable_cgroup(mount: &Mount) -> bool {
    let What::FileSystem(made) = &mount.what else { return false };
    made.fstype.as_c_str() == c"cgroup2" && !mount.attributes.readonly()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use oci_spec::runtime::Spec;

    use super::*;
    use crate::plan::{mounts, namespaces};

    /// With these namespaces and this option of the cgroup mount.
    fn planned(types: &[&str], option: &str, uid: u32, leaf: Option<&str>) -> Option<Delegation> {
        let list: Vec<_> = types.iter().map(|name| format!(r#"{{"type":"{name}"}}"#)).collect();
        let text = format!(
            r#"{{"ociVersion":"1.0.0","linux":{{"namespaces":[{}]}},"mounts":[
                {{"destination":"/sys/fs/cgroup","type":"cgroup","options":["{option}"]}}]}}"#,
            list.join(",")
        );
        let spec: Spec = serde_json::from_str(&text).expect("a spec");
        let mut findings = Findings::default();
        let namespaces = namespaces::plan(&spec, &mut findings);
        findings = Findings::default();
        let around = mounts::Around {
            namespaces: &namespaces,
            bundle: Path::new("/b"),
            root: Path::new("/b/rootfs"),
            unprivileged: false,
            cgroup_root: Path::new("/sys/fs/cgroup"),
            notify_socket: None,
        };
        let mounts = mounts::plan(&spec, around, &mut findings);
        let planned = plan(&namespaces, &mounts, uid, leaf.map(str::to_owned), &mut findings);
        assert_eq!(planned.is_none() && leaf.is_some(), !findings.violations.is_empty());
        planned
    }

    #[test]
    fn it_takes_a_namespace_and_a_mount_that_can_be_written() {
        let all = ["mount", "cgroup", "user"];
        let owned = Some(Delegation { owner: Some(0), mapped: true, leaf: None });
        assert_eq!(planned(&all, "rw", 0, None), owned);
        assert_eq!(planned(&all, "nosuid", 0, None), owned);
        assert_eq!(planned(&all, "ro", 0, None), None);
        assert_eq!(planned(&["mount", "user"], "rw", 0, None), None);
        assert_eq!(planned(&["mount", "cgroup"], "ro", 0, Some("init")), None);
    }

    #[test]
    fn root_of_the_machine_owns_the_files_already() {
        let types = ["mount", "cgroup"];
        assert_eq!(planned(&types, "rw", 0, None), None);
        let owner = |uid| Some(Delegation { owner: Some(uid), mapped: false, leaf: None });
        assert_eq!(planned(&types, "rw", 7, None), owner(7));
        let leaf = Some(Delegation { owner: None, mapped: false, leaf: Some("init".into()) });
        assert_eq!(planned(&types, "rw", 0, Some("init")), leaf);
    }
}
