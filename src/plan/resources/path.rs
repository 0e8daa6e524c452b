//! `linux.cgroupsPath`: which cgroup.

use std::path::{Component, Path};

use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::cgroup::CgroupPath;

/// Longest path that is tried; the names of a cgroup's files are appended to it.
const LONGEST: usize = 3_800;

pub(super) fn plan(asked: Option<&Path>, id: &str, findings: &mut Findings) -> CgroupPath {
    let field = Field::of("linux.cgroupsPath");
    let Some(asked) = asked.filter(|asked| !asked.as_os_str().is_empty()) else {
        return CgroupPath::Default(id.to_owned());
    };
    let text = asked.to_string_lossy();
    let mut refuse = |reason: &str| findings.refuse_value(&field, &text, reason);
    if text.chars().any(char::is_control) {
        refuse("must not hold control characters");
    }
    let mut names = Vec::new();
    for component in asked.components() {
        match component {
            Component::Normal(name) => {
                if name.len() > 255 {
                    refuse("has a name of over 255 bytes");
                }
                names.push(name.to_string_lossy());
            }
            Component::ParentDir => refuse("must not hold .."),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    if names.is_empty() && !text.contains("..") {
        refuse("must name a cgroup below the root of the tree");
    }
    let path = names.join("/");
    if path.len() > LONGEST {
        refuse("is too long");
    }
    // An engine that was told to use systemd, with a runtime that was not: runc takes the text for a
    // name, and whole nodes depend on it.
    if !text.contains('/') && text.matches(':').count() == 2 {
        findings.notice(
            &field,
            format!(
                "{text:?} has the form slice:prefix:name, and is taken for the name of a directory: \
                 without --systemd-cgroup (in containerd: SystemdCgroup = true) no unit is made"
            ),
        );
    }
    if asked.is_absolute() { CgroupPath::Absolute(path) } else { CgroupPath::Relative(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(path: &str) -> (CgroupPath, Vec<String>) {
        let mut findings = Findings::default();
        let path = plan(Some(Path::new(path)), "web1", &mut findings);
        (path, findings.violations.iter().map(|v| v.reason.clone()).collect())
    }

    #[test]
    fn the_form_of_a_unit_is_a_name_and_a_warning() {
        for asked in ["kubepods.slice:cri-containerd:abc", ":rt:abc", "::"] {
            let mut findings = Findings::default();
            let path = plan(Some(Path::new(asked)), "web1", &mut findings);
            assert_eq!(path, CgroupPath::Relative(asked.to_owned()));
            assert!(findings.violations.is_empty(), "{asked}");
            assert_eq!(findings.notices.len(), 1, "{asked}");
            assert!(findings.notices[0].contains("SystemdCgroup = true"), "{asked}");
        }
        for asked in ["/a:b:c", "a:b", "a:b:c:d", "a:b:c/d"] {
            let mut findings = Findings::default();
            plan(Some(Path::new(asked)), "web1", &mut findings);
            assert!(findings.notices.is_empty(), "{asked}");
        }
    }

    #[test]
    fn paths_are_cleaned() {
        use CgroupPath::{Absolute, Default, Relative};
        for (asked, path) in [
            ("", Default("web1".into())),
            ("/docker/abc", Absolute("docker/abc".into())),
            ("//a/./b//", Absolute("a/b".into())),
            ("a/b", Relative("a/b".into())),
            ("/a:b:c/d", Absolute("a:b:c/d".into())),
        ] {
            assert_eq!(planned(asked), (path, vec![]), "{asked}");
        }
        let forty = "/a".repeat(40);
        assert_eq!(planned(&forty), (Absolute(forty[1..].into()), vec![]));
    }

    #[test]
    fn paths_that_are_none_are_refused() {
        for (asked, reason) in [
            ("/../../../x", ".."),
            ("a/../..", ".."),
            ("/", "below the root"),
            ("./.", "below the root"),
            ("a\nb", "control"),
            ("a\0b", "control"),
            (&format!("/{}", "x".repeat(256)), "255"),
            (&"/abcdefg".repeat(600), "too long"),
        ] {
            let reasons = planned(asked).1;
            assert!(reasons.iter().all(|found| found.contains(reason)), "{asked}: {reasons:?}");
            assert!(!reasons.is_empty(), "{asked}");
        }
    }
}
