//! Names of units of systemd, and the cgroups that they have.

use std::borrow::Cow;

/// Controllers by which systemd decides what could be one of the kernel's files.
const CONTROLLERS: &[&str] =
    &["cpu", "cpuacct", "cpuset", "io", "blkio", "memory", "devices", "pids"];

/// A name that could be that of a file of a cgroup has `_` in front of it, and so one that begins
/// with that (cg_needs_escape in systemd's cgroup-util.c).
fn directory(unit: &str) -> Cow<'_, str> {
    let of_the_kernel =
        |prefix: &&str| unit.strip_prefix(*prefix).is_some_and(|rest| rest.starts_with('.'));
    let is_escaped =
        unit.starts_with(['_', '.']) || CONTROLLERS.iter().chain(&["cgroup"]).any(of_the_kernel);
    if is_escaped { format!("_{unit}").into() } else { unit.into() }
}

/// How the names of slices end.
pub const SLICE: &str = ".slice";

/// The slice that all others are in.
pub const ROOT_SLICE: &str = "-.slice";

/// The slice that a slice is in says its name.
pub fn parent(slice: &str) -> String {
    match slice.strip_suffix(SLICE).unwrap_or(slice).rsplit_once('-') {
        Some((parent, _)) if !parent.is_empty() => format!("{parent}{SLICE}"),
        _ => ROOT_SLICE.to_owned(),
    }
}

/// The unit that a container gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its full name: `docker-abc.scope`.
    pub name: String,
    /// The slice that it is in: `system.slice`. Slices in slices are named with dashes, and
    /// systemd makes those that are missing: `a-b.slice` is in `a.slice`.
    pub slice: String,
}

impl Unit {
    /// Whether it is a slice itself, and not a scope.
    pub fn is_slice(&self) -> bool {
        self.name.ends_with(SLICE)
    }

    /// Its cgroup below that of the instance of systemd: `a.slice/a-b.slice/p-n.scope`.
    pub fn cgroup(&self) -> String {
        let (mut path, mut slice) = (self.directory().into_owned(), self.slice.clone());
        while slice != ROOT_SLICE {
            path = format!("{}/{path}", directory(&slice));
            slice = parent(&slice);
        }
        path
    }

    /// The name of its cgroup.
    pub fn directory(&self) -> Cow<'_, str> {
        directory(&self.name)
    }
}
