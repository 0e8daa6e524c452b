//! The root: where it is, how mounts travel, what is hidden and what is read-only.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use oci_spec::runtime::Spec;

use super::mounts::{NEED_NAMESPACE, clean};
use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::namespaces::{Namespaces, flag};
use crate::model::rootfs::{Guarded, Rootfs};

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
}
