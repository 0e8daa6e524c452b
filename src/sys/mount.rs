//! The mount API by descriptor (fsopen(2), open_tree(2), mount_setattr(2), …). Child-safe.

use core::ffi::CStr;
use core::mem::size_of;
use core::ptr;

use nix::errno::Errno;

use super::{RawFd, check_fd, check_unit};

/// Mount attributes of fsmount(2) and mount_setattr(2), from `linux/mount.h`.
pub mod attr {
    #![allow(missing_docs)]
    pub const RDONLY: u64 = 0x1;
    pub const NOSUID: u64 = 0x2;
    pub const NODEV: u64 = 0x4;
    pub const NOEXEC: u64 = 0x8;
    /// The mask of the three access-time settings, of which relatime is 0.
    pub const ATIME: u64 = 0x70;
    pub const NOATIME: u64 = 0x10;
    pub const STRICTATIME: u64 = 0x20;
    pub const NODIRATIME: u64 = 0x80;
    pub const IDMAP: u64 = 0x0010_0000;
    pub const NOSYMFOLLOW: u64 = 0x0020_0000;
}

const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_SET_FD: u32 = 5;
const FSCONFIG_CMD_CREATE: u32 = 6;
const FSCONFIG_CMD_RECONFIGURE: u32 = 7;
const FSPICK_CLOEXEC: u32 = 0x1;
const FSPICK_EMPTY_PATH: u32 = 0x8;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x04;
const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;
pub(super) const OPEN_TREE_CLONE: u32 = 1;
const OPEN_TREE_NAMESPACE: u32 = 2;
pub(super) const OPEN_TREE_CLOEXEC: u32 = libc::O_CLOEXEC as u32;
const AT_RECURSIVE: u32 = 0x8000;
const AT_EMPTY_PATH: u32 = libc::AT_EMPTY_PATH as u32;
const AT_SYMLINK_NOFOLLOW: u32 = libc::AT_SYMLINK_NOFOLLOW as u32;

/// struct mount_attr of mount_setattr(2).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MountAttr {
    /// Attributes to set.
    pub set: u64,
    /// Attributes to clear.
    pub clear: u64,
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`, or 0 to leave it.
    pub propagation: u64,
    /// The user namespace of `attr::IDMAP`.
    pub userns_fd: u64,
}

/// fsopen(2): a context for a new file system of this type.
pub fn fsopen(fstype: &CStr) -> Result<RawFd, Errno> {
    // SAFETY: fstype is NUL-terminated.
    check_fd(unsafe { libc::syscall(libc::SYS_fsopen, fstype.as_ptr(), FSOPEN_CLOEXEC) })
}

/// fsconfig(2): `key=value`, or the flag `key` when there is no value.
pub fn fsconfig_set(context: RawFd, key: &CStr, value: Option<&CStr>) -> Result<(), Errno> {
    let (command, value) = match value {
        Some(value) => (FSCONFIG_SET_STRING, value.as_ptr()),
        None => (FSCONFIG_SET_FLAG, ptr::null()),
    };
    // SAFETY: both strings are NUL-terminated, or null as SET_FLAG wants it.
    check_unit(unsafe {
        libc::syscall(libc::SYS_fsconfig, context, command, key.as_ptr(), value, 0)
    })
}

/// fsconfig(2): a parameter that is a descriptor. `EINVAL` where there is no such parameter.
pub fn fsconfig_set_fd(context: RawFd, key: &CStr, fd: RawFd) -> Result<(), Errno> {
    let none = ptr::null::<u8>();
    // SAFETY: key is NUL-terminated, and SET_FD takes no value but the descriptor.
    check_unit(unsafe {
        libc::syscall(libc::SYS_fsconfig, context, FSCONFIG_SET_FD, key.as_ptr(), none, fd)
    })
}

/// fsconfig(2): makes the superblock.
pub fn fsconfig_create(context: RawFd) -> Result<(), Errno> {
    fsconfig_command(context, FSCONFIG_CMD_CREATE)
}

/// fsconfig(2): changes the superblock of a context from [`fspick`].
pub fn fsconfig_reconfigure(context: RawFd) -> Result<(), Errno> {
    fsconfig_command(context, FSCONFIG_CMD_RECONFIGURE)
}

fn fsconfig_command(context: RawFd, command: u32) -> Result<(), Errno> {
    let none = ptr::null::<u8>();
    // SAFETY: the commands take no strings.
    check_unit(unsafe { libc::syscall(libc::SYS_fsconfig, context, command, none, none, 0) })
}

/// fspick(2): a context for the superblock of the mount whose root `fd` is.
pub fn fspick(fd: RawFd) -> Result<RawFd, Errno> {
    let flags = FSPICK_CLOEXEC | FSPICK_EMPTY_PATH;
    // SAFETY: the path is the empty string.
    check_fd(unsafe { libc::syscall(libc::SYS_fspick, fd, c"".as_ptr(), flags) })
}

/// mount(2) on the working directory.
pub fn mount_on_cwd(source: &CStr, fstype: &CStr, flags: u64, data: &CStr) -> Result<(), Errno> {
    // SAFETY: all strings are NUL-terminated.
    check_unit(unsafe {
        libc::syscall(
            libc::SYS_mount,
            source.as_ptr(),
            c".".as_ptr(),
            fstype.as_ptr(),
            flags,
            data.as_ptr(),
        )
    })
}

/// fsmount(2): a detached mount with these attributes.
pub fn fsmount(context: RawFd, attributes: u64) -> Result<RawFd, Errno> {
    // SAFETY: integers only.
    check_fd(unsafe {
        libc::syscall(libc::SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes as u32)
    })
}

/// move_mount(2), descriptor to descriptor.
pub fn move_mount(from: RawFd, to: RawFd) -> Result<(), Errno> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    let empty = c"".as_ptr();
    // SAFETY: both paths are the empty string.
    check_unit(unsafe { libc::syscall(libc::SYS_move_mount, from, empty, to, empty, flags) })
}

/// open_tree(2) with `OPEN_TREE_CLONE`: a detached copy of the mount at `path`; an empty
/// `path` means `dir` itself.
pub fn clone_tree(dir: RawFd, path: &CStr, recursive: bool) -> Result<RawFd, Errno> {
    open_tree(dir, path, recursive, if path.is_empty() { AT_EMPTY_PATH } else { 0 })
}

/// The same of what a bind names; a link at the end of the path is followed, or copied itself.
pub fn clone_source(path: &CStr, recursive: bool, follow: bool) -> Result<RawFd, Errno> {
    let flags = if follow { 0 } else { AT_SYMLINK_NOFOLLOW };
    open_tree(libc::AT_FDCWD, path, recursive, flags)
}

fn open_tree(dir: RawFd, path: &CStr, recursive: bool, more: u32) -> Result<RawFd, Errno> {
    let flags =
        OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | if recursive { AT_RECURSIVE } else { 0 } | more;
    // SAFETY: path is NUL-terminated.
    check_fd(unsafe { libc::syscall(libc::SYS_open_tree, dir, path.as_ptr(), flags) })
}

/// open_tree(2) with `OPEN_TREE_NAMESPACE` (Linux 7.0): a mount namespace whose root is a copy
/// of the directory at `path`, with everything mounted below it.
pub fn tree_namespace(path: &CStr) -> Result<RawFd, Errno> {
    let flags = OPEN_TREE_NAMESPACE | OPEN_TREE_CLOEXEC | AT_RECURSIVE;
    // SAFETY: path is NUL-terminated.
    check_fd(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
}

/// Whether the kernel knows `OPEN_TREE_NAMESPACE`: it looks at the flags (`EINVAL`) before it
/// looks for the directory, which is none (`ENOENT`).
pub fn has_tree_namespaces() -> bool {
    tree_namespace(c"") == Err(Errno::ENOENT)
}

/// mount_setattr(2) on the mount of `fd`, or on its whole tree.
pub fn mount_setattr(fd: RawFd, recursive: bool, attr: &MountAttr) -> Result<(), Errno> {
    setattr(fd, c"", AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 }, attr)
}

/// mount_setattr(2) on the whole tree of the current root.
pub fn mount_setattr_root(attr: &MountAttr) -> Result<(), Errno> {
    setattr(libc::AT_FDCWD, c"/", AT_RECURSIVE, attr)
}

fn setattr(fd: RawFd, path: &CStr, flags: u32, attr: &MountAttr) -> Result<(), Errno> {
    let attr: *const MountAttr = attr;
    // SAFETY: path is NUL-terminated and attr has the layout of struct mount_attr.
    check_unit(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd,
            path.as_ptr(),
            flags,
            attr,
            size_of::<MountAttr>(),
        )
    })
}

/// pivot_root(".", "."): the current directory becomes the root and the old root lies
/// on top of it, ready for [`umount_cwd`].
pub fn pivot_root_cwd() -> Result<(), Errno> {
    // SAFETY: two constant strings.
    check_unit(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) })
}

/// umount2(".", MNT_DETACH).
pub fn umount_cwd() -> Result<(), Errno> {
    // SAFETY: a constant string.
    check_unit(unsafe { libc::syscall(libc::SYS_umount2, c".".as_ptr(), libc::MNT_DETACH) })
}

/// umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW).
pub fn umount_detach(path: &CStr) -> Result<(), Errno> {
    let flags = libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW;
    // SAFETY: path is NUL-terminated.
    check_unit(unsafe { libc::syscall(libc::SYS_umount2, path.as_ptr(), flags) })
}
