//! Stdio of a user namespace: its root owns nothing that was opened outside, so that the
//! program could not open /dev/stdout again, as images that log there do.

use crate::model::namespaces::Namespaces;
use crate::sys::fs::{self, magic};

/// Gives pipes and terminals to the user of the container as it is known outside. Best effort:
/// what stays as it is can still be read and written.
pub fn give(namespaces: &Namespaces, uid: u32) {
    let Some(owner) = namespaces.uid_map.iter().find_map(|map| map.outside(uid)) else { return };
    for fd in (0..3).filter(|fd| is_of_nobody_else(*fd)) {
        if let Err(errno) = fs::fchown(fd, owner, fs::SAME_ID) {
            tracing::debug!("stdio {fd} stays with its owner: {errno}");
        }
    }
}

/// A pipe without a name or a terminal: a file of the host, a FIFO among them, is not the
/// container's (CVE-2026-88265).
fn is_of_nobody_else(fd: i32) -> bool {
    let kind = fs::fs_magic(fd);
    kind.is_ok_and(|kind| matches!(kind, magic::PIPEFS | magic::DEVPTS))
}
