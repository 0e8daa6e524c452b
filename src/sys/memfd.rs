//! Files in memory, without a name (memfd_create(2)). Parent only.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::check_fd;
use super::fd::own;

/// `MFD_NOEXEC_SEAL` and `MFD_EXEC` of `linux/memfd.h`: since Linux 6.3 whether a memfd may be executed
/// is asked for.
const MFD_NOEXEC_SEAL: u32 = 8;
const MFD_EXEC: u32 = 0x10;

/// One that can be sealed and executed. A kernel that does not know the flag makes executable ones
/// anyway.
pub fn sealable_program(name: &CStr) -> Result<OwnedFd, Errno> {
    create(name, libc::MFD_ALLOW_SEALING, MFD_EXEC)
}

/// One that is never executable, where the kernel can promise that.
pub fn memory_file(name: &CStr) -> Result<OwnedFd, Errno> {
    create(name, 0, MFD_NOEXEC_SEAL)
}

/// Close-on-exec; without `since_6_3` where the kernel does not know it.
fn create(name: &CStr, flags: u32, since_6_3: u32) -> Result<OwnedFd, Errno> {
    let make = |flags: u32| {
        // SAFETY: name is NUL-terminated.
        check_fd(unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), flags) })
    };
    let flags = flags | libc::MFD_CLOEXEC;
    match make(flags | since_6_3) {
        Err(Errno::EINVAL) => make(flags),
        other => other,
    }
    .map(own)
}

#[cfg(test)]
mod tests {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};

    use super::*;

    #[test]
    fn a_program_can_be_sealed_and_what_is_none_cannot_be_executed() {
        let seals = |file| fcntl(file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE));
        let mode = |file: &OwnedFd| nix::sys::stat::fstat(file).expect("its mode").st_mode & 0o111;
        let program = sealable_program(c"rt").expect("a file");
        assert!(mode(&program) != 0 && seals(&program).is_ok());
        let file = memory_file(c"state").expect("a file");
        // A kernel that knows no better makes one that cannot be sealed.
        assert!(mode(&file) == 0 || seals(&file) == Err(Errno::EPERM));
    }
}
