//! What the kernel says of this program in the auxiliary vector (getauxval(3)). Parent only.

use std::ffi::CStr;

use super::{RawFd, cred};

/// The descriptor of which this program was started by execveat(2) without a path: the kernel
/// calls it `/dev/fd/N` (`AT_EXECFN` of getauxval(3)).
pub fn started_from() -> Option<RawFd> {
    // SAFETY: reads the auxiliary vector.
    let name = unsafe { libc::getauxval(libc::AT_EXECFN) } as usize;
    let name = std::ptr::with_exposed_provenance::<libc::c_char>(name);
    if name.is_null() {
        return None;
    }
    // SAFETY: the kernel has put a string on the stack, which stays there.
    let name = unsafe { CStr::from_ptr(name) };
    name.to_str().ok()?.strip_prefix("/dev/fd/")?.parse().ok()
}

/// Whether this program has more rights than its caller: it is setuid or setgid, or has file
/// capabilities. `AT_SECURE` of getauxval(3) says so, and also where only the SELinux domain has changed
/// at the start, which lends nobody else's ids and capabilities.
pub fn is_setuid() -> bool {
    // SAFETY: reads the auxiliary vector.
    let vector = |kind| unsafe { libc::getauxval(kind) };
    if vector(libc::AT_SECURE) == 0 {
        return false;
    }
    let changed = vector(libc::AT_UID) != vector(libc::AT_EUID)
        || vector(libc::AT_GID) != vector(libc::AT_EGID);
    // Root has its capabilities of itself, and a user those that are ambient.
    let granted = |bit: u32, permitted: u64| {
        permitted & 1 << bit != 0 && !cred::ambient_is_set(bit).unwrap_or(false)
    };
    changed
        || vector(libc::AT_EUID) != 0
            && cred::capget()
                .map_or(true, |(_, permitted, _)| (0..64).any(|bit| granted(bit, permitted)))
}
