//! Paths as the host has them. Parent only.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// realpath(3): the absolute path without links. The buffer is ours: the C library
/// would set its own allocator up for one.
pub fn realpath(path: &Path) -> Result<PathBuf, Errno> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let mut buffer: Vec<u8> = Vec::with_capacity(libc::PATH_MAX as usize);
    // SAFETY: path is NUL-terminated, and the buffer has the PATH_MAX bytes that it must have.
    let found = unsafe { libc::realpath(path.as_ptr(), buffer.as_mut_ptr().cast()) };
    if found.is_null() {
        return Err(Errno::last());
    }
    // SAFETY: on success there is a NUL-terminated string in the buffer.
    let found = unsafe { CStr::from_ptr(found) };
    Ok(PathBuf::from(OsStr::from_bytes(found.to_bytes())))
}
