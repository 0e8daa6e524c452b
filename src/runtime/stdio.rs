//! Stdio of a user namespace: its root owns nothing that was opened outside, so that the
//! program could not open /dev/stdout again, as images that log there do.

use super::idmap;
use crate::error::Result;
use crate::sys::fd::AFTER_STDIO;
use crate::sys::fs::{self, magic};

/// Gives pipes and terminals to the user of the container as it is known outside, by the map of
/// the user namespace that the process is in. Best effort: what stays as it is can still be read and
/// written.
pub fn give(pid: i32, uid: u32) -> Result<()> {
    let map = idmap::of_process(pid, "uid_map")?;
    let Some(owner) = map.iter().find_map(|map| map.outside(uid)) else { return Ok(()) };
    for fd in (0..AFTER_STDIO).filter(|fd| is_of_nobody_else(*fd)) {
        if let Err(errno) = fs::fchown(fd, owner, fs::SAME_ID) {
            tracing::debug!("stdio {fd} stays with its owner: {errno}");
        }
    }
    Ok(())
}

/// A pipe without a name or a terminal: a file of the host, a FIFO among them, is not the
/// container's (CVE-2026-88265).
fn is_of_nobody_else(fd: i32) -> bool {
    let kind = fs::fs_magic(fd);
    kind.is_ok_and(|kind| matches!(kind, magic::PIPEFS | magic::DEVPTS))
}
