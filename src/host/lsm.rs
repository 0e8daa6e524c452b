//! Which security modules are at work.

use crate::sys::proc;

/// Whether AppArmor confines programs here.
pub fn apparmor() -> bool {
    proc::read_small("/sys/module/apparmor/parameters/enabled").is_ok_and(|on| on.starts_with('Y'))
}

/// Whether SELinux is enabled: its file system is mounted then. Its policy may not let us
/// look at that.
pub fn selinux() -> bool {
    match std::fs::metadata("/sys/fs/selinux/enforce") {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
    }
}
