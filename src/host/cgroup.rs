//! Where the host's cgroup v2 tree is, where in it we are, and which controllers are not
//! in it. No mount table is read: the two places where the tree can be are tried.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, fstatfs};

use crate::error::{Doing, Error, Result};

/// The cgroup v2 tree, as far as our cgroup namespace shows it.
#[derive(Debug)]
pub struct Tree {
    /// Its root (`O_PATH`).
    pub root: OwnedFd,
    /// Where it is mounted.
    pub mount: &'static str,
}

impl Tree {
    /// Finds the tree: at /sys/fs/cgroup, or next to the trees of v1 on a hybrid host.
    pub fn open() -> Result<Tree> {
        Self::find()?.ok_or_else(|| {
            Error::new("no cgroup v2 at /sys/fs/cgroup or /sys/fs/cgroup/unified")
                .hint("rt needs it there; a host with only cgroup v1 is not supported")
        })
    }

    /// The same; `None` where it is not mounted.
    pub fn find() -> Result<Option<Tree>> {
        for mount in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let root = match openat(AT_FDCWD, mount, flags, Mode::empty()) {
                Err(Errno::ENOENT | Errno::ENOTDIR) => continue,
                other => other.doing(|| format!("open {mount}"))?,
            };
            let kind = fstatfs(&root).doing(|| format!("statfs {mount}"))?.filesystem_type();
            if kind == CGROUP2_SUPER_MAGIC {
                return Ok(Some(Tree { root, mount }));
            }
        }
        Ok(None)
    }
}

/// /proc/PID/cgroup: the cgroup of a process in each hierarchy (cgroups(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership(String);

impl Membership {
    /// Our own.
    pub fn read() -> Result<Self> {
        Self::read_file("/proc/self/cgroup")
    }

    /// Of another process.
    pub fn read_of(pid: i32) -> Result<Self> {
        Self::read_file(&format!("/proc/{pid}/cgroup"))
    }

    fn read_file(path: &str) -> Result<Self> {
        let doing = || format!("read {path}");
        let mut file = File::open(path).doing(doing)?;
        let mut text = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let length = file.read(&mut chunk).doing(doing)?;
            text.extend_from_slice(&chunk[..length]);
            // The line of v2 is the last one: no need to ask for more.
            if length == 0 || text.ends_with(b"\n") && Self::v2_line(&text).is_some() {
                return Ok(Membership(String::from_utf8_lossy(&text).into_owned()));
            }
        }
    }

    fn v2_line(text: &[u8]) -> Option<&[u8]> {
        text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))
    }

    /// The cgroup of v2 below the root of the tree: empty for the root itself. `None` when
    /// it is outside of our cgroup namespace.
    pub fn path(&self) -> Option<&str> {
        let path = self.0.lines().find_map(|line| line.strip_prefix("0::"))?.strip_prefix('/')?;
        (path != ".." && !path.starts_with("../")).then_some(path)
    }

    /// Whether a controller of v2 is bound to a hierarchy of v1, so that it is missing from
    /// the tree of v2.
    pub fn is_bound_to_v1(&self, controller: &str) -> bool {
        let old = if controller == "io" { "blkio" } else { controller };
        self.0.lines().any(|line| {
            let mut parts = line.splitn(3, ':');
            parts.next() != Some("0")
                && parts.next().is_some_and(|list| list.split(',').any(|one| one == old))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Membership {
        Membership(text.to_owned())
    }

    #[test]
    fn the_cgroup_is_the_line_of_hierarchy_0() {
        for (text, path) in [
            ("0::/\n", Some("")),
            ("0::/user.slice/a:b\n", Some("user.slice/a:b")),
            ("2:cpu,cpuacct:/x\n1:name=systemd:/y\n0::/z/w\n", Some("z/w")),
            ("1:memory:/\n", None),
            ("0::/../other\n", None),
            ("0::/..\n", None),
            ("0::/..name\n", Some("..name")),
        ] {
            assert_eq!(of(text).path(), path, "{text}");
        }
    }

    #[test]
    fn controllers_of_v1_are_told_by_their_names_of_v2() {
        let hybrid = of("7:blkio:/\n4:cpu,cpuacct:/\n2:name=systemd:/\n0::/memory\n");
        for (controller, bound) in
            [("io", true), ("cpu", true), ("memory", false), ("blkio", true), ("systemd", false)]
        {
            assert_eq!(hybrid.is_bound_to_v1(controller), bound, "{controller}");
        }
    }
}
