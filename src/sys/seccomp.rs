//! Loading a filter (seccomp(2)). Child-safe.

use nix::errno::Errno;
use seccompiler::sock_filter;

use super::{RawFd, check_fd};

const SECCOMP_SET_MODE_FILTER: u32 = 1;

/// What the kernel calls this architecture in `seccomp_data.arch` (`AUDIT_ARCH_*` of linux/audit.h).
pub const NATIVE_AUDIT_ARCH: u32 = if cfg!(target_arch = "x86_64") {
    0xc000_003e
} else if cfg!(target_arch = "aarch64") {
    0xc000_00b7
} else {
    0xc000_00f3
};

/// Loads the program for this process. The answer is 0, or the listener's descriptor
/// with `SECCOMP_FILTER_FLAG_NEW_LISTENER`.
pub fn set_mode_filter(program: &[sock_filter], flags: u64) -> Result<RawFd, Errno> {
    #[repr(C)]
    struct SockFprog {
        len: u16,
        filter: *const sock_filter,
    }
    let program = SockFprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?,
        filter: program.as_ptr(),
    };
    let program: *const SockFprog = &raw const program;
    // SAFETY: program has the layout of struct sock_fprog, and the kernel copies it.
    check_fd(unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, program) })
}
