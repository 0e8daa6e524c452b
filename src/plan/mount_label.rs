//! `linux.mountLabel`: the SELinux context of every file on a new file system.

use std::ffi::CString;

use oci_spec::runtime::Spec;

use super::annotations;
use super::mounts::{CONTEXTS, MAX_DATA, MAX_VALUE};
use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::mount::{Mount, Parameter, What};

/// They have labels from the policy.
const UNLABELLED: &[&str] = &["cgroup", "cgroup2", "proc", "sysfs"];

/// Reads `linux.mountLabel`, and gives the mounts that have none a `context`.
pub fn plan(spec: &Spec, mounts: &mut [Mount], findings: &mut Findings) -> Option<CString> {
    let given = spec.linux().as_ref()?.mount_label().as_deref();
    let label = given.filter(|label| !label.is_empty())?;
    let field = Field::of("linux.mountLabel");
    let value = findings.c_string(&field, label);
    let context = annotations::mount_context(spec, findings);
    if label.len() > MAX_VALUE {
        findings.refuse_value(&field, label.len(), "longer than the 255 bytes of fsconfig(2)");
    }
    for mount in mounts {
        let What::FileSystem(system) = &mut mount.what else { continue };
        let has_own = |parameter: &Parameter| {
            CONTEXTS.iter().any(|key| parameter.key.as_bytes() == key.as_bytes())
        };
        let fstype = system.fstype.to_string_lossy();
        if UNLABELLED.contains(&&*fstype) || system.parameters.iter().any(has_own) {
            continue;
        }
        if fstype == "mqueue" {
            // Its superblock is that of the ipc namespace, which is mounted already: only its root
            // can be labelled.
            if matches!(context, "context" | "rootcontext") {
                system.label = Some(value.clone());
            }
            continue;
        }
        let (key, value) = (findings.c_string(&field, context), Some(value.clone()));
        system.parameters.push(Parameter { key, value, field: field.clone() });
        if let Some(old) = &mut system.old {
            // mount(2) parts its parameters by commas, of which a label may have some.
            let comma = if old.data.is_empty() { "" } else { "," };
            let quoted = format!("{comma}{context}=\"{label}\"");
            let data = [old.data.as_bytes(), quoted.as_bytes()].concat();
            if data.len() > MAX_DATA {
                let at = mount.field.key("options");
                let reason = "with linux.mountLabel longer than the 4095 bytes of mount(2)";
                findings.refuse_value(&at, data.len(), reason);
            }
            old.data = findings.c_string(&field, data);
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{mounts, namespaces};
    use super::*;

    /// The mounts of a configuration with its label, and the fields that are refused.
    fn labelled(text: &str) -> (Vec<Mount>, Option<CString>, Vec<String>) {
        let spec = serde_json::from_str(text).expect("a spec");
        let mut findings = Findings::default();
        let namespaces = namespaces::plan(&spec, &mut findings);
        let around = mounts::Around {
            namespaces: &namespaces,
            bundle: Path::new("/b"),
            root: Path::new("/b/rootfs"),
            unprivileged: false,
            cgroup_root: Path::new("/sys/fs/cgroup"),
            notify_socket: None,
        };
        let mut mounts = mounts::plan(&spec, around, &mut findings);
        let label = plan(&spec, &mut mounts, &mut findings);
        let refused = findings.violations.iter().map(|v| v.field.to_string()).collect();
        (mounts, label, refused)
    }

    #[test]
    fn new_file_systems_have_the_label() {
        let text = r#"{"ociVersion":"1.3.0","linux":{"mountLabel":"s:r:t:s0:c1,c2",
            "namespaces":[{"type":"mount"},{"type":"pid"}]},"mounts":[
            {"destination":"/proc","type":"proc","source":"proc"},
            {"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["mode=755"]},
            {"destination":"/dev/pts","type":"devpts","source":"devpts"},
            {"destination":"/own","type":"tmpfs","source":"tmpfs","options":["context=\"a:b:c:s0:c3,c4\""]},
            {"destination":"/dev/mqueue","type":"mqueue","source":"mqueue"},
            {"destination":"/old","type":"tmpfs","options":["silent","context=\"a:b:c:s0:c3,c4\""]}]}"#;
        let (mounts, label, refused) = labelled(text);
        assert_eq!(label, Some(c"s:r:t:s0:c1,c2".to_owned()));
        assert!(refused.is_empty(), "{refused:?}");
        let context = |mount: &Mount| match &mount.what {
            What::FileSystem(system) => {
                let mut all = system.parameters.iter().filter(|p| p.key.as_c_str() == c"context");
                all.next().and_then(|p| p.value.clone())
            }
            _ => None,
        };
        let own = Some(c"a:b:c:s0:c3,c4".to_owned());
        let seen: Vec<_> = mounts.iter().map(context).collect();
        assert_eq!(seen, [None, label.clone(), label.clone(), own.clone(), None, own]);
        let What::FileSystem(queue) = &mounts[4].what else { panic!("a mqueue") };
        assert_eq!(queue.label, label);
        let What::FileSystem(last) = &mounts[5].what else { panic!("a tmpfs") };
        let data = last.old.as_ref().map(|old| old.data.clone());
        assert_eq!(data, Some(c"context=\"a:b:c:s0:c3,c4\"".to_owned()));
    }

    /// What Podman writes: the root of the file system has the label, and files in it may have
    /// others.
    #[test]
    fn the_label_can_be_that_of_the_root_alone() {
        for (kind, queue) in
            [("rootcontext", true), ("context", true), ("fscontext", false), ("defcontext", false)]
        {
            let text = format!(
                r#"{{"ociVersion":"1.3.0","linux":{{"mountLabel":"a:b:c:s0",
                "namespaces":[{{"type":"mount"}},{{"type":"ipc"}}]}},
                "annotations":{{"run.oci.mount_context_type":"{kind}"}},"mounts":[
                {{"destination":"/dev/shm","type":"tmpfs","source":"shm"}},
                {{"destination":"/dev/mqueue","type":"mqueue","source":"mqueue"}},
                {{"destination":"/old","type":"tmpfs","options":["silent"]}}]}}"#
            );
            let (mounts, label, refused) = labelled(&text);
            assert!(refused.is_empty() && label.is_some(), "{refused:?}");
            let made = |index: usize| match &mounts[index].what {
                What::FileSystem(made) => made,
                other => panic!("{other:?}"),
            };
            let last = made(0).parameters.last().expect("a parameter");
            let key = last.key.to_str().expect("a key");
            assert_eq!((key, last.value.as_deref()), (kind, Some(c"a:b:c:s0")));
            assert_eq!(made(1).label.is_some(), queue, "{kind}");
            let data = made(2).old.as_ref().map(|old| old.data.to_string_lossy().into_owned());
            assert_eq!(data, Some(format!("{kind}=\"a:b:c:s0\"")));
        }
    }

    /// What mount(2) takes was measured before the label came to it.
    #[test]
    fn a_label_that_does_not_fit_is_refused() {
        let long = |bytes: usize, label: usize| {
            let (layers, label) = ("l".repeat(bytes), "s".repeat(label));
            format!(
                r#"{{"ociVersion":"1.3.0","linux":{{"mountLabel":"{label}",
                "namespaces":[{{"type":"mount"}}]}},"mounts":[{{"destination":"/x",
                "type":"overlay","source":"o","options":["lowerdir={layers}"]}}]}}"#
            )
        };
        assert!(labelled(&long(4000, 20)).2.is_empty());
        assert_eq!(labelled(&long(4070, 20)).2, ["mounts[0].options"]);
        assert_eq!(labelled(&long(10, 256)).2, ["linux.mountLabel"]);
    }
}
