//! Controllers on the way down: a cgroup has those that all its ancestors have enabled in
//! their cgroup.subtree_control.

use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::files;
use crate::error::errno_text;
use crate::host::cgroup::Membership;

/// What was found and could not be done on the way, to explain a limit that cannot be set.
#[derive(Debug, Default)]
pub struct Controllers {
    /// cgroup.controllers of the root.
    at_root: Vec<String>,
    /// For each ancestor, outermost first: its path and what it passes down.
    levels: Vec<(String, Vec<String>)>,
    /// Ancestor, controller, reason.
    failures: Vec<(String, String, Errno)>,
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// The ancestors of `path` without the root, outermost first.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end])
}

impl Controllers {
    /// Enables everything that there is, down to `path`: containers expect that memory and
    /// tasks are counted even without a limit. What cannot be enabled is remembered, and
    /// only fails a setting that needs it. `new` are directories that pass nothing down yet.
    pub fn enable(root: &OwnedFd, path: &str, new: &[&str]) -> Controllers {
        let mut found = Controllers::default();
        let Ok(text) = files::read_short(root, "cgroup.controllers") else { return found };
        found.at_root = words(&text);
        let mut available = found.at_root.clone();
        for level in std::iter::once("").chain(ancestors(path)) {
            if available.is_empty() {
                break;
            }
            let file = match level {
                "" => "cgroup.subtree_control".to_owned(),
                level => format!("{level}/cgroup.subtree_control"),
            };
            let mut enabled = match new.contains(&level) {
                true => Vec::new(),
                false => {
                    files::read_short(root, &file).map(|text| words(&text)).unwrap_or_default()
                }
            };
            available.retain(|name| !enabled.contains(name));
            if !available.is_empty() {
                if !new.contains(&level) && has_processes(root, level) {
                    let busy = |name| (level.to_owned(), name, Errno::EBUSY);
                    found.failures.extend(available.into_iter().map(busy));
                } else {
                    found.enable_at(root, level, &file, available, &mut enabled);
                }
            }
            available = enabled.clone();
            found.levels.push((level.to_owned(), enabled));
        }
        found
    }

    /// What there is on the way down to `path`; enables nothing.
    pub fn read(root: &OwnedFd, path: &str) -> Controllers {
        let list =
            |file: &str| files::read_short(root, file).map(|text| words(&text)).unwrap_or_default();
        let level =
            |level: &str| (level.to_owned(), list(&format!("./{level}/cgroup.subtree_control")));
        Controllers {
            at_root: list("cgroup.controllers"),
            levels: std::iter::once("").chain(ancestors(path)).map(level).collect(),
            failures: Vec::new(),
        }
    }

    /// Enables `missing` in one directory.
    fn enable_at(
        &mut self,
        root: &OwnedFd,
        level: &str,
        file: &str,
        mut missing: Vec<String>,
        enabled: &mut Vec<String>,
    ) {
        match (files::write(root, file, &plus(&missing)), &missing[..]) {
            (Ok(()), _) => enabled.append(&mut missing),
            (Err(errno), [one]) => self.failures.push((level.to_owned(), one.clone(), errno)),
            // The kernel takes all or none; find those that it does take.
            (Err(_), _) => {
                for name in missing {
                    self.enable_at(root, level, file, vec![name], enabled);
                }
            }
        }
    }

    /// Whether the cgroup has a controller.
    pub fn has(&self, controller: &str) -> bool {
        self.levels.last().is_some_and(|(_, enabled)| enabled.iter().any(|name| name == controller))
    }

    /// Why the cgroup does not have a controller: the reason, and what can be done.
    pub fn explain(&self, controller: &str) -> (String, &'static str) {
        if !self.at_root.iter().any(|name| name == controller) {
            if Membership::read().is_ok_and(|own| own.is_bound_to_v1(controller)) {
                return (
                    format!("the controller {controller} is bound to cgroup v1 on this host"),
                    "boot with cgroup_no_v1=all and only cgroup v2 mounted to limit it",
                );
            }
            let has = self.at_root.join(" ");
            return (
                format!(
                    "there is no controller {controller}: cgroup.controllers of the root has [{has}]"
                ),
                "the kernel lacks it, or it has not been delegated to this cgroup namespace",
            );
        }
        let failure = self.failures.iter().find(|(_, name, _)| name == controller);
        let Some((level, _, errno)) = failure else {
            return (format!("the controller {controller} is not enabled: {}", self.state()), "");
        };
        let hint = match errno {
            Errno::EBUSY => {
                "there are processes in that cgroup, and only its sub-cgroups may have them: move \
                 them down, or in a container give that one the annotation rt.cgroup.leaf"
            }
            Errno::EACCES | Errno::EPERM | Errno::EROFS => "have the controller delegated to you",
            _ => "",
        };
        let why = errno_text(*errno);
        let text = format!(
            "the controller {controller} cannot be enabled in /{level}: {why}: {}",
            self.state()
        );
        (text, hint)
    }

    /// cgroup.subtree_control on the way.
    fn state(&self) -> String {
        let level = |(path, enabled): &(String, Vec<String>)| {
            format!("/{path} has [{}]", enabled.join(" "))
        };
        let levels: Vec<_> = self.levels.iter().map(level).collect();
        format!("cgroup.subtree_control of {}", levels.join(", "))
    }
}

/// Whether a cgroup other than the root has processes of its own. The kernel then refuses
/// only some of the controllers; with the others it would become the root of a threaded
/// subtree, and cgroups below it would take no process (cgroups(7), "Thread mode").
fn has_processes(root: &OwnedFd, level: &str) -> bool {
    let at =
        |file: &str| if level.is_empty() { file.to_owned() } else { format!("{level}/{file}") };
    // The root of the tree has no type.
    let is_root = level.is_empty() && files::open_file(root, &at("cgroup.type")).is_err();
    !is_root && files::is_empty(root, &at("cgroup.procs")).is_ok_and(|empty| !empty)
}

/// `+cpu +memory`
fn plus(names: &[String]) -> String {
    names.iter().map(|name| format!("+{name}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestors_come_outermost_first() {
        assert_eq!(ancestors("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(ancestors("a").count(), 0);
    }

    #[test]
    fn an_explanation_shows_the_way() {
        let list = |text: &str| words(text);
        let found = Controllers {
            at_root: list("cpu io"),
            levels: vec![("".into(), list("cpu io")), ("a".into(), list("cpu"))],
            failures: vec![("a".into(), "io".into(), Errno::EBUSY)],
        };
        assert!(found.has("cpu") && !found.has("io"));
        let (text, hint) = found.explain("io");
        assert!(text.contains("cannot be enabled in /a: "), "{text}");
        assert!(text.ends_with("cgroup.subtree_control of / has [cpu io], /a has [cpu]"), "{text}");
        assert!(hint.contains("processes"));
        assert!(found.explain("nosuch").0.contains("no controller nosuch"));
    }
}
