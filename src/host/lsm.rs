//! Which security modules are at work.

use crate::sys::proc;

/// Whether AppArmor confines programs here.
pub fn apparmor() -> bool {
    proc::read_small("/sys/module/apparmor/parameters/enabled").is_ok_and(|on| on.starts_with('Y'))
}

/// Whether SELinux is enabled: its file system is mounted then.
pub fn selinux() -> bool {
    std::path::Path::new("/sys/fs/selinux/enforce").exists()
}
