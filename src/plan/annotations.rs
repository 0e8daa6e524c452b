//! `annotations`: kept for the state, and a few of them change what `rt` does.

use std::collections::BTreeMap;

use oci_spec::runtime::Spec;

use super::mounts::CONTEXTS;
use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::delegation::LEAF;

/// The process keeps the caller's supplementary groups (crun's name, which Podman and
/// Buildah write for `--group-add keep-groups`).
pub const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// By which parameter `linux.mountLabel` reaches new file systems (crun's name; Podman writes
/// `rootcontext` where SELinux is at work).
pub const MOUNT_CONTEXT: &str = "run.oci.mount_context_type";

/// What crun would do, and not to do it would leave the container with less confinement than
/// was asked for: a virtual machine or a WebAssembly engine around it, another seccomp filter.
const REFUSED: &[&str] =
    &["run.oci.handler", "run.oci.seccomp_bpf_data", "run.oci.seccomp_fail_unknown_syscall"];

/// What the annotations ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// All of them, for the state.
    pub all: BTreeMap<String, String>,
    /// [`KEEP_GROUPS`].
    pub keep_groups: bool,
    /// [`LEAF`].
    pub leaf: Option<String>,
}

/// Reads `annotations`.
pub fn plan(spec: &Spec, findings: &mut Findings) -> Asked {
    let given = spec.annotations().iter().flatten();
    let all: BTreeMap<String, String> = given.map(|(k, v)| (k.clone(), v.clone())).collect();
    let field = Field::of("annotations");
    if all.contains_key("") {
        // config.md: "Keys MUST NOT be an empty string."
        findings.refuse(&field, "a key must not be empty");
    }
    for key in REFUSED {
        if let Some(value) = all.get(*key).filter(|value| yes(value) != Some(false)) {
            let reason = "only crun can do this, and without it the container is confined less";
            findings.refuse_value(&field.key(*key), value, reason);
        }
    }
    let keep_groups = all.get(KEEP_GROUPS).is_some_and(|value| {
        yes(value).unwrap_or_else(|| {
            findings.refuse_value(&field.key(KEEP_GROUPS), value, "must be 1 or 0");
            false
        })
    });
    let leaf = all.get(LEAF).cloned();
    if let Some(name) = leaf.as_ref().filter(|name| !is_one_name(name)) {
        findings.refuse_value(&field.key(LEAF), name, "must be the name of one sub-cgroup");
    }
    Asked { all, keep_groups, leaf }
}

/// The parameter by which `linux.mountLabel` reaches new file systems (mount(8), "SELinux").
pub fn mount_context(spec: &Spec, findings: &mut Findings) -> &'static str {
    let given = spec.annotations().as_ref().and_then(|all| all.get(MOUNT_CONTEXT));
    let Some(given) = given else { return "context" };
    let known = CONTEXTS.iter().copied().find(|known| known == given);
    known.unwrap_or_else(|| {
        let field = Field::of("annotations").key(MOUNT_CONTEXT);
        findings.refuse_value(&field, given, format!("must be one of {}", CONTEXTS.join(", ")));
        "context"
    })
}

/// The same of a container that has been created.
pub fn keeps_groups(all: &BTreeMap<String, String>) -> bool {
    all.get(KEEP_GROUPS).and_then(|value| yes(value)).unwrap_or(false)
}

fn yes(value: &str) -> Option<bool> {
    match value {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

/// A dot in front or inside could be the name of a file of the cgroup: `cgroup.procs`.
fn is_one_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    !name.is_empty() && name.len() <= 64 && name.chars().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(annotations: &str) -> (Asked, Vec<String>) {
        let text = format!(r#"{{"ociVersion":"1.0.0","annotations":{annotations}}}"#);
        let spec: Spec = serde_json::from_str(&text).expect("a spec");
        let mut findings = Findings::default();
        let asked = plan(&spec, &mut findings);
        (asked, findings.violations.iter().map(|v| v.field.to_string()).collect())
    }

    #[test]
    fn words_of_ours_are_read_and_others_kept() {
        let (asked, refused) =
            planned(r#"{"run.oci.keep_original_groups":"1","rt.cgroup.leaf":"init","other":"/x"}"#);
        assert!(refused.is_empty() && asked.keep_groups);
        assert_eq!((asked.leaf.as_deref(), asked.all.len()), (Some("init"), 3));
        assert!(keeps_groups(&asked.all) && !keeps_groups(&BTreeMap::new()));
    }

    #[test]
    fn confinement_by_others_is_refused() {
        for key in REFUSED {
            let field = format!(r#"annotations["{key}"]"#);
            assert_eq!(planned(&format!(r#"{{"{key}":"krun"}}"#)).1, [field], "{key}");
            assert!(planned(&format!(r#"{{"{key}":"0"}}"#)).1.is_empty(), "{key}");
        }
    }

    #[test]
    fn the_way_of_a_mount_label_is_one_of_four() {
        let read = |value: &str| {
            let text = format!(
                r#"{{"ociVersion":"1.0.0","annotations":{{"run.oci.mount_context_type":"{value}"}}}}"#
            );
            let spec: Spec = serde_json::from_str(&text).expect("a spec");
            let mut findings = Findings::default();
            (mount_context(&spec, &mut findings), findings.violations.len())
        };
        for known in ["context", "defcontext", "fscontext", "rootcontext"] {
            assert_eq!(read(known), (known, 0));
        }
        assert_eq!(read("Context"), ("context", 1));
        assert_eq!(read(""), ("context", 1));
    }

    #[test]
    fn what_they_cannot_mean_is_named() {
        for (annotations, field) in [
            (r#"{"":"x"}"#, "annotations"),
            (
                r#"{"run.oci.keep_original_groups":"maybe"}"#,
                r#"annotations["run.oci.keep_original_groups"]"#,
            ),
            (r#"{"rt.cgroup.leaf":""}"#, r#"annotations["rt.cgroup.leaf"]"#),
            (r#"{"rt.cgroup.leaf":"a/b"}"#, r#"annotations["rt.cgroup.leaf"]"#),
            (r#"{"rt.cgroup.leaf":".."}"#, r#"annotations["rt.cgroup.leaf"]"#),
            (r#"{"rt.cgroup.leaf":"cgroup.procs"}"#, r#"annotations["rt.cgroup.leaf"]"#),
        ] {
            assert_eq!(planned(annotations).1, [field], "{annotations}");
        }
    }
}
