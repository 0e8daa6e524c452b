//! Paths that no system call takes: found while the configuration is read, with the field, and not
//! by the kernel when half of the container is made.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use oci_spec::runtime::{Mount, Spec};

use crate::diag::field::Field;
use crate::diag::findings::Findings;

/// The longest name of a file (`NAME_MAX`).
const MAX_NAME: usize = 255;

/// The longest path, without its NUL (`PATH_MAX`).
const MAX_PATH: usize = 4095;

/// Looks at all paths of the configuration but those of the process and of its cgroup, which are
/// looked at where they are read.
pub fn check(spec: &Spec, bundle: &Path, findings: &mut Findings) {
    if let Some(root) = spec.root() {
        path(&Field::of("root.path"), &bundle.join(root.path()), findings);
    }
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        let field = || Field::of("mounts").at(index);
        one(|| field().key("destination"), mount.destination(), findings);
        // Of other types the source is a word for the file system.
        if let Some(source) = mount.source().as_ref().filter(|_| is_bind(mount)) {
            one(|| field().key("source"), &bundle.join(source), findings);
        }
    }
    let hooks = spec.hooks().iter().flat_map(|hooks| {
        [
            ("prestart", hooks.prestart()),
            ("createRuntime", hooks.create_runtime()),
            ("createContainer", hooks.create_container()),
            ("startContainer", hooks.start_container()),
            ("poststart", hooks.poststart()),
            ("poststop", hooks.poststop()),
        ]
    });
    for (kind, list) in hooks {
        for (index, hook) in list.iter().flatten().enumerate() {
            let field = || Field::of("hooks").key(kind).at(index).key("path");
            one(field, hook.path(), findings);
        }
    }
    let Some(linux) = spec.linux() else { return };
    for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
        let field = || Field::of("linux.namespaces").at(index).key("path");
        if let Some(file) = namespace.path() {
            one(field, file, findings);
        }
    }
    for (index, device) in linux.devices().iter().flatten().enumerate() {
        one(|| Field::of("linux.devices").at(index).key("path"), device.path(), findings);
    }
    let guarded =
        [("maskedPaths", linux.masked_paths()), ("readonlyPaths", linux.readonly_paths())];
    for (key, list) in guarded {
        for (index, text) in list.iter().flatten().enumerate() {
            one(|| Field::of("linux").key(key).at(index), Path::new(text), findings);
        }
    }
}

fn is_bind(mount: &Mount) -> bool {
    let words = mount.options().iter().flatten();
    mount.typ().as_deref() == Some("bind")
        || words.map(String::as_str).any(|word| matches!(word, "bind" | "rbind"))
}

/// The field is made only for those who need it.
fn one(field: impl FnOnce() -> Field, given: &Path, findings: &mut Findings) {
    if given.as_os_str().len() > MAX_NAME {
        path(&field(), given, findings);
    }
}

/// Refuses a path, or a name in it, that is too long.
pub fn path(field: &Field, given: &Path, findings: &mut Findings) {
    let bytes = given.as_os_str().as_bytes();
    let names = bytes.split(|byte| *byte == b'/').map(<[u8]>::len);
    if let Some(length) = names.max().filter(|length| *length > MAX_NAME) {
        let reason = format!("has a name of {length} bytes: the longest has {MAX_NAME}");
        findings.refuse_value(field, given, reason);
    } else if bytes.len() > MAX_PATH {
        let reason = format!("has {} bytes: the longest path has {MAX_PATH}", bytes.len());
        findings.refuse_value(field, given, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Vec<String> {
        let spec = serde_json::from_str(text).expect("a spec");
        let mut findings = Findings::default();
        check(&spec, Path::new("/bundle"), &mut findings);
        findings.violations.iter().map(|v| format!("{}: {}", v.field, v.reason)).collect()
    }

    #[test]
    fn what_is_too_long_is_named() {
        let long_name = "x".repeat(256);
        let long_path = "/name".repeat(820);
        let many = |path: &str| {
            format!(
                r#"{{"ociVersion":"1.3.0","root":{{"path":"{path}"}},
                "mounts":[{{"destination":"{path}","type":"bind","source":"{path}"}},
                    {{"destination":"/x","type":"overlay","source":"{path}"}}],
                "hooks":{{"poststop":[{{"path":"/x"}},{{"path":"{path}"}}]}},
                "linux":{{"namespaces":[{{"type":"pid","path":"{path}"}}],
                "devices":[{{"path":"{path}","type":"c","major":1,"minor":1}}],
                "maskedPaths":["{path}"],"readonlyPaths":["/y","{path}"]}}}}"#
            )
        };
        let fields = [
            "root.path",
            "mounts[0].destination",
            "mounts[0].source",
            "hooks.poststop[1].path",
            "linux.namespaces[0].path",
            "linux.devices[0].path",
            "linux.maskedPaths[0]",
            "linux.readonlyPaths[1]",
        ];
        for (path, reason) in [
            (format!("/a/{long_name}/b"), "has a name of 256 bytes: the longest has 255"),
            (long_path, "has 4100 bytes: the longest path has 4095"),
        ] {
            let expected: Vec<String> =
                fields.iter().map(|field| format!("{field}: {reason}")).collect();
            assert_eq!(refused(&many(&path)), expected);
        }
        for path in [format!("/a/{}/b", &long_name[1..]), "/name".repeat(819)] {
            assert_eq!(refused(&many(&path)), Vec::<String>::new());
        }
    }
}
