//! Who owns the namespaces of a container: root of its user namespace may mount the file system
//! that shows a namespace (sysfs, proc, mqueue, cgroup2) only where it has rights over it
//! (ioctl_nsfs(2), user_namespaces(7)).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::preflight::open_namespace;
use crate::diag::findings::Findings;
use crate::host::Host;
use crate::model::namespaces::{Joined, Namespaces, flag, name_of};
use crate::sys::{fd, fs, ns};

/// The kinds that a file system shows.
const SHOWN: &[u64] = &[flag::NET, flag::PID, flag::IPC, flag::CGROUP];

/// How deep user namespaces can lie in each other.
const MOST_LEVELS: u32 = 33;

/// Kinds of which the container's namespace belongs to another user namespace than its own,
/// where the configuration alone does not say so. What cannot be opened is left to the checks
/// that follow.
pub fn foreign(namespaces: &Namespaces, host: &Host) -> u64 {
    let joined = |flag| namespaces.joined.iter().find(|joined| joined.flag == flag);
    let user = match joined(flag::USER) {
        Some(user) => opened(user),
        // Every namespace that is not made with it is another one's.
        None if namespaces.is_new(flag::USER) => return 0,
        None if host.in_userns => own(flag::USER),
        None => return 0,
    };
    let Some(user) = user else { return 0 };
    let mut foreign = 0;
    for flag in SHOWN.iter().copied().filter(|flag| !namespaces.is_new(*flag)) {
        let namespace = joined(flag).map_or_else(|| own(flag), opened);
        if namespace.is_some_and(|namespace| !belongs(namespace.as_fd(), user.as_fd())) {
            foreign |= flag;
        }
    }
    foreign
}

fn opened(joined: &Joined) -> Option<OwnedFd> {
    open_namespace(joined, &mut Findings::default())
}

/// Our own namespace, which a container has that names none.
fn own(flag: u64) -> Option<OwnedFd> {
    let file = std::fs::File::open(format!("/proc/self/ns/{}", name_of(flag)));
    file.ok().map(OwnedFd::from)
}

/// Whether root of `user` has rights over `namespace`: it belongs to `user`, or to a user
/// namespace that was made below it.
fn belongs(namespace: BorrowedFd<'_>, user: BorrowedFd<'_>) -> bool {
    let identity = |fd: BorrowedFd<'_>| fs::fstat(fd.as_raw_fd()).map(|s| (s.st_dev, s.st_ino));
    let mut owner = ns::owner(namespace.as_raw_fd()).map(fd::own);
    for _ in 0..MOST_LEVELS {
        match owner {
            Ok(fd) if identity(fd.as_fd()) == identity(user) => return true,
            Ok(fd) => owner = ns::parent(fd.as_raw_fd()).map(fd::own),
            Err(_) => return false,
        }
    }
    false
}
