//! `linux.cgroupsPath`: which cgroup.

use std::path::{Component, Path};

use super::unit::Unit;
use crate::plan::field::Field;
use crate::plan::findings::Findings;

/// Where a cgroup is, with plain names only: no `.`, no `..`, no empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupPath {
    /// Below the root of the cgroup v2 tree (of our cgroup namespace).
    Absolute(String),
    /// Below the parent of our own cgroup. Not below our own: that one holds processes, so
    /// its sub-cgroups cannot have controllers ("no internal processes", cgroups(7)).
    Relative(String),
    /// Not asked for: this name, as if it were relative.
    Default(String),
    /// Where systemd puts this unit.
    Unit(Unit),
}

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
    if !text.contains('/') && text.matches(':').count() == 2 {
        refuse("has the form slice:prefix:name, which needs --systemd-cgroup");
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
            ("system.slice:docker:abc", "--systemd-cgroup"),
            (":rt:abc", "--systemd-cgroup"),
            (&format!("/{}", "x".repeat(256)), "255"),
            (&"/abcdefg".repeat(600), "too long"),
        ] {
            let reasons = planned(asked).1;
            assert!(reasons.iter().all(|found| found.contains(reason)), "{asked}: {reasons:?}");
            assert!(!reasons.is_empty(), "{asked}");
        }
    }
}
