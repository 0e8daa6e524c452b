//! Files by descriptor: openat2(2) and the *at calls. Child-safe.

use core::ffi::CStr;
use core::mem::{MaybeUninit, size_of};

use nix::errno::Errno;

use super::{RawFd, check, check_fd, check_unit};

/// A lookup never leaves `dirfd` and absolute links count from it (openat2(2)).
pub const RESOLVE_IN_ROOT: u64 = 0x10;
/// A lookup that would leave `dirfd` fails.
pub const RESOLVE_BENEATH: u64 = 0x08;
/// No link of any kind is followed.
pub const RESOLVE_NO_SYMLINKS: u64 = 0x04;
/// `/proc/self/fd/N` and its like are not followed.
pub const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
/// No mount point is crossed.
pub const RESOLVE_NO_XDEV: u64 = 0x01;

/// For [`fchown`]: the id stays.
pub const SAME_ID: u32 = u32::MAX;

/// Types of file systems, as [`fs_magic`] tells them (`linux/magic.h`).
#[allow(missing_docs)]
pub mod magic {
    pub const DEVPTS: i64 = 0x1cd1;
    pub const NSFS: i64 = 0x6e73_6673;
    pub const PIDFS: i64 = 0x5049_4446;
    pub const PIPEFS: i64 = 0x5049_5045;
    pub const PROC: i64 = 0x9fa0;
}

/// openat2(2). `flags` are `O_*`; `O_CLOEXEC` is always added.
pub fn openat2(
    dir: RawFd,
    path: &CStr,
    flags: i32,
    mode: u32,
    resolve: u64,
) -> Result<RawFd, Errno> {
    let how = [(flags | libc::O_CLOEXEC) as u32 as u64, u64::from(mode), resolve];
    loop {
        // SAFETY: path is NUL-terminated and `how` has the layout of struct open_how.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                dir,
                path.as_ptr(),
                how.as_ptr(),
                size_of::<[u64; 3]>(),
            )
        };
        match check_fd(answer) {
            // RESOLVE_IN_ROOT asks for another try when a rename raced with `..`.
            Err(Errno::EAGAIN | Errno::EINTR) => continue,
            other => return other,
        }
    }
}

/// openat(2) with `O_CLOEXEC`, for paths of the host.
pub fn openat(dir: RawFd, path: &CStr, flags: i32, mode: u32) -> Result<RawFd, Errno> {
    openat2(dir, path, flags, mode, 0)
}

/// close(2). An error is of no use to anybody here.
pub fn close(fd: RawFd) {
    // SAFETY: closing a number cannot touch memory.
    unsafe { libc::close(fd) };
}

/// close_range(2) over `first..=last`; `flags` is 0 or `CLOSE_RANGE_CLOEXEC`.
pub fn close_range(first: u32, last: u32, flags: u32) -> Result<(), Errno> {
    // SAFETY: integers only.
    check_unit(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) })
}

/// dup3(2); `flags` is 0 or `O_CLOEXEC`. Equal numbers are left as they are.
pub fn dup3(from: RawFd, to: RawFd, flags: i32) -> Result<(), Errno> {
    if from == to {
        return Ok(());
    }
    // SAFETY: integers only.
    check_unit(unsafe { libc::syscall(libc::SYS_dup3, from, to, flags) })
}

/// fcntl(2) `F_SETFD`: not close-on-exec.
pub fn keep_open(fd: RawFd) -> Result<(), Errno> {
    // SAFETY: integers only.
    check_unit(unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_SETFD, 0) })
}

/// mkdirat(2).
pub fn mkdirat(dir: RawFd, name: &CStr, mode: u32) -> Result<(), Errno> {
    // SAFETY: name is NUL-terminated.
    check_unit(unsafe { libc::syscall(libc::SYS_mkdirat, dir, name.as_ptr(), mode) })
}

/// mknodat(2) with the whole `S_IFMT | mode` word and a device number.
pub fn mknodat(dir: RawFd, name: &CStr, mode: u32, device: u64) -> Result<(), Errno> {
    // SAFETY: name is NUL-terminated.
    check_unit(unsafe { libc::syscall(libc::SYS_mknodat, dir, name.as_ptr(), mode, device) })
}

/// symlinkat(2): `name` in `dir` becomes a link that reads `target`.
pub fn symlinkat(target: &CStr, dir: RawFd, name: &CStr) -> Result<(), Errno> {
    // SAFETY: both strings are NUL-terminated.
    check_unit(unsafe { libc::syscall(libc::SYS_symlinkat, target.as_ptr(), dir, name.as_ptr()) })
}

/// unlinkat(2); `flags` is 0 or `AT_REMOVEDIR`.
pub fn unlinkat(dir: RawFd, name: &CStr, flags: i32) -> Result<(), Errno> {
    // SAFETY: name is NUL-terminated.
    check_unit(unsafe { libc::syscall(libc::SYS_unlinkat, dir, name.as_ptr(), flags) })
}

/// readlinkat(2): the bytes of the link, without a NUL, in the front of `buffer`.
pub fn readlinkat<'a>(dir: RawFd, name: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    // SAFETY: name is NUL-terminated, and buffer is as long as said.
    let answer = unsafe {
        libc::syscall(libc::SYS_readlinkat, dir, name.as_ptr(), buffer.as_mut_ptr(), buffer.len())
    };
    let length = check(answer)? as usize;
    buffer.get(..length).ok_or(Errno::ENAMETOOLONG)
}

/// fstat(2); works on `O_PATH` descriptors.
pub fn fstat(fd: RawFd) -> Result<libc::stat, Errno> {
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: stat points to enough writable memory.
    check_unit(unsafe { libc::fstat(fd, stat.as_mut_ptr()) }.into())?;
    // SAFETY: zeroed plain data, filled by the kernel.
    Ok(unsafe { stat.assume_init() })
}

/// fcntl(2) `F_GETFL`: how the file was opened.
pub fn status_flags(fd: RawFd) -> Result<i32, Errno> {
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_GETFL, 0) }).map(|flags| flags as i32)
}

/// stat(2) of a path.
pub fn stat(path: &CStr) -> Result<libc::stat, Errno> {
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: path is NUL-terminated, and stat points to enough writable memory.
    check_unit(unsafe { libc::stat(path.as_ptr(), stat.as_mut_ptr()) }.into())?;
    // SAFETY: zeroed plain data, filled by the kernel.
    Ok(unsafe { stat.assume_init() })
}

/// The `f_type` of the file system behind `fd` (statfs(2)).
pub fn fs_magic(fd: RawFd) -> Result<i64, Errno> {
    // The type of the field differs between C libraries.
    #[allow(clippy::unnecessary_cast)]
    fstatfs(fd).map(|stat| stat.f_type as i64)
}

/// Whether the working directory lies below the root; `EPERM` if not. One that does not would be
/// a door to the host (CVE-2024-21626).
#[inline(never)]
pub fn cwd_is_inside() -> Result<(), Errno> {
    let mut buffer = [0u8; 4096];
    match getcwd(&mut buffer) {
        Ok(cwd) if cwd.first() == Some(&b'/') => Ok(()),
        Ok(_) => Err(Errno::EPERM),
        // Also a path that is too long to be told: the kernel would not say whether it found the
        // root on its way up.
        Err(errno) => Err(errno),
    }
}

/// Whether the mount behind `fd` is read-only.
pub fn is_readonly(fd: RawFd) -> Result<bool, Errno> {
    const ST_RDONLY: i64 = 1;
    Ok(mount_flags(fd)? & ST_RDONLY != 0)
}

/// Whether nothing may be executed on the mount behind `fd`.
pub fn is_noexec(fd: RawFd) -> Result<bool, Errno> {
    const ST_NOEXEC: i64 = 8;
    Ok(mount_flags(fd)? & ST_NOEXEC != 0)
}

fn mount_flags(fd: RawFd) -> Result<i64, Errno> {
    // `f_flags` is private in the libc crate; fstatvfs has the same word.
    let mut stat = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: stat points to enough writable memory.
    check_unit(unsafe { libc::fstatvfs(fd, stat.as_mut_ptr()) }.into())?;
    // SAFETY: zeroed plain data, filled by the call.
    let stat = unsafe { stat.assume_init() };
    Ok(stat.f_flag as i64)
}

fn fstatfs(fd: RawFd) -> Result<libc::statfs, Errno> {
    let mut stat = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: stat points to enough writable memory.
    check_unit(unsafe { libc::fstatfs(fd, stat.as_mut_ptr()) }.into())?;
    // SAFETY: zeroed plain data, filled by the kernel.
    Ok(unsafe { stat.assume_init() })
}

/// faccessat2(2) with `AT_EACCESS`: as the user that we are now.
pub fn accessible(path: &CStr, mode: i32) -> Result<(), Errno> {
    // SAFETY: path is NUL-terminated.
    check_unit(unsafe {
        libc::syscall(libc::SYS_faccessat2, libc::AT_FDCWD, path.as_ptr(), mode, libc::AT_EACCESS)
    })
}

/// fchmod(2) on a descriptor that is not `O_PATH`.
pub fn fchmod(fd: RawFd, mode: u32) -> Result<(), Errno> {
    // SAFETY: integers only.
    check_unit(unsafe { libc::syscall(libc::SYS_fchmod, fd, mode) })
}

/// fchmodat(2) of one name in a directory. Follows a link: only for names just made.
pub fn fchmodat(dir: RawFd, name: &CStr, mode: u32) -> Result<(), Errno> {
    // SAFETY: name is NUL-terminated.
    check_unit(unsafe { libc::syscall(libc::SYS_fchmodat, dir, name.as_ptr(), mode) })
}

/// fchownat(2) of one name in a directory, never through a link.
pub fn lchownat(dir: RawFd, name: &CStr, uid: u32, gid: u32) -> Result<(), Errno> {
    fchownat(dir, name, uid, gid, libc::AT_SYMLINK_NOFOLLOW)
}

/// Changes the owner of what `fd` is, also for `O_PATH`.
pub fn fchown(fd: RawFd, uid: u32, gid: u32) -> Result<(), Errno> {
    fchownat(fd, c"", uid, gid, libc::AT_EMPTY_PATH)
}

fn fchownat(dir: RawFd, name: &CStr, uid: u32, gid: u32, flags: i32) -> Result<(), Errno> {
    // SAFETY: name is NUL-terminated.
    check_unit(unsafe { libc::syscall(libc::SYS_fchownat, dir, name.as_ptr(), uid, gid, flags) })
}

/// fchdir(2).
pub fn fchdir(fd: RawFd) -> Result<(), Errno> {
    // SAFETY: an integer only.
    check_unit(unsafe { libc::syscall(libc::SYS_fchdir, fd) })
}

/// chdir(2).
pub fn chdir(path: &CStr) -> Result<(), Errno> {
    // SAFETY: path is NUL-terminated.
    check_unit(unsafe { libc::syscall(libc::SYS_chdir, path.as_ptr()) })
}

/// chroot(2).
pub fn chroot(path: &CStr) -> Result<(), Errno> {
    // SAFETY: path is NUL-terminated.
    check_unit(unsafe { libc::syscall(libc::SYS_chroot, path.as_ptr()) })
}

/// getcwd(2) as the kernel gives it: a directory outside the root reads `(unreachable)…`.
pub fn getcwd(buffer: &mut [u8]) -> Result<&[u8], Errno> {
    // SAFETY: buffer is as long as said.
    let answer = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    let length = check(answer)? as usize;
    buffer.get(..length.saturating_sub(1)).ok_or(Errno::ERANGE)
}

/// read(2), tried again on EINTR.
pub fn read(fd: RawFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        // SAFETY: buffer is as long as said.
        match check(unsafe { libc::syscall(libc::SYS_read, fd, buffer.as_mut_ptr(), buffer.len()) })
        {
            Err(Errno::EINTR) => continue,
            other => return other.map(|count| count as usize),
        }
    }
}

/// write(2), tried again on EINTR.
pub fn write(fd: RawFd, bytes: &[u8]) -> Result<usize, Errno> {
    loop {
        // SAFETY: bytes is as long as said.
        match check(unsafe { libc::syscall(libc::SYS_write, fd, bytes.as_ptr(), bytes.len()) }) {
            Err(Errno::EINTR) => continue,
            other => return other.map(|count| count as usize),
        }
    }
}

/// lseek(2) to the beginning.
pub fn rewind(fd: RawFd) -> Result<(), Errno> {
    // SAFETY: integers only.
    check_unit(unsafe { libc::lseek(fd, 0, libc::SEEK_SET) } as libc::c_long)
}

/// umask(2); the old mask.
pub fn umask(mask: u32) -> u32 {
    // SAFETY: an integer only; umask cannot fail.
    unsafe { libc::umask(mask) }
}

/// renameat2(2) within one directory; fails with `EEXIST` instead of replacing.
pub fn rename_noreplace(dir: RawFd, from: &CStr, to: &CStr) -> Result<(), Errno> {
    let flags = libc::RENAME_NOREPLACE;
    // SAFETY: both names are NUL-terminated.
    check_unit(unsafe {
        libc::syscall(libc::SYS_renameat2, dir, from.as_ptr(), dir, to.as_ptr(), flags)
    })
}

/// Whether a kernfs that is mounted at `mount` has a node with this id, wherever that is: also
/// outside of what the mount shows (open_by_handle_at(2)). `EPERM` without CAP_DAC_READ_SEARCH.
pub fn kernfs_has(mount: RawFd, id: u64) -> Result<bool, Errno> {
    /// `FILEID_KERNFS` of `linux/exportfs.h`.
    const FILEID_KERNFS: i32 = 0xfe;
    /// struct file_handle, with room for this type.
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        id: [u8; 8],
    }
    let handle = Handle { bytes: 8, kind: FILEID_KERNFS, id: id.to_ne_bytes() };
    let (handle, flags): (*const Handle, _) = (&raw const handle, libc::O_PATH | libc::O_CLOEXEC);
    // SAFETY: handle has the layout of struct file_handle and is as long as it says.
    match check_fd(unsafe { libc::syscall(libc::SYS_open_by_handle_at, mount, handle, flags) }) {
        Ok(fd) => {
            close(fd);
            Ok(true)
        }
        Err(Errno::ESTALE | Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}
