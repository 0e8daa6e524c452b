//! Facts about this machine and this caller.

pub mod cgroup;
pub mod lsm;
pub mod mounts;
pub mod systemd;

use crate::error::{Doing, Error, Result};
use crate::sys::mount::has_tree_namespaces;
use crate::sys::{cred, proc};

/// The oldest kernel that has all that `rt` is built on; the youngest of it is
/// cgroup.kill.
const KERNEL_FLOOR: (u32, u32) = (5, 14);

/// Where a mount namespace can be made of one directory (`OPEN_TREE_NAMESPACE`); on an older
/// kernel it is not worth a system call to ask.
const TREE_NAMESPACES: (u32, u32) = (7, 0);

/// The inode number of the initial user namespace (`PROC_USER_INIT_INO`).
const INITIAL_USERNS: u64 = 0xEFFF_FFFD;

/// Who we are to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// Not root: other ids than our own can be mapped by helpers only.
    pub unprivileged: bool,
    /// In a user namespace: root here is not root of the machine.
    pub in_userns: bool,
    /// This user namespace, and all below it, forbid setgroups(2).
    pub setgroups_denied: bool,
    /// The kernel makes a mount namespace of one directory.
    pub tree_namespaces: bool,
}

impl Host {
    /// Asks the kernel.
    pub fn probe() -> Result<Self> {
        let kernel = kernel()?;
        let in_userns = in_userns()?;
        Ok(Host {
            unprivileged: unprivileged(),
            in_userns,
            setgroups_denied: in_userns && setgroups_is_denied(),
            tree_namespaces: kernel >= TREE_NAMESPACES && has_tree_namespaces(),
        })
    }

    /// Not root of the machine: neither are all cgroups ours, nor may we load a device program or make a
    /// device node.
    pub fn is_rootless(&self) -> bool {
        self.unprivileged || self.in_userns
    }
}

/// Whether this process is not that of a root, of the machine or of a user namespace.
pub fn unprivileged() -> bool {
    cred::geteuid() != 0
}

/// Whether this process is in another user namespace than the machine's first one. The maps of ids do
/// not tell: one that has all of them is no less of a namespace.
pub fn in_userns() -> Result<bool> {
    let namespace = nix::sys::stat::stat("/proc/self/ns/user");
    Ok(namespace.doing(|| "look at /proc/self/ns/user")?.st_ino != INITIAL_USERNS)
}

/// As `unshare --map-root-user` makes it (user_namespaces(7)).
fn setgroups_is_denied() -> bool {
    proc::read_small("/proc/self/setgroups").is_ok_and(|text| text.trim_end() == "deny")
}

/// The version of the kernel. An old one would fail at some step with a riddle.
fn kernel() -> Result<(u32, u32)> {
    let names = nix::sys::utsname::uname().doing(|| "ask for the kernel's version")?;
    let release = names.release().to_string_lossy();
    match version(&release) {
        Some(version) if version < KERNEL_FLOOR => {
            Err(Error::new(format!("rt needs Linux 5.14 or later, this is {release}")))
        }
        version => Ok(version.unwrap_or(KERNEL_FLOOR)),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_have_all_kinds_of_tails() {
        assert_eq!(version("6.18.44-fc-v657"), Some((6, 18)));
        assert_eq!(version("5.9"), Some((5, 9)));
        assert!(version("5.9").expect("a version") < KERNEL_FLOOR);
    }
}
