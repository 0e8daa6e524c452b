//! What is in a directory (getdents64(2)). Child-safe.

use core::ffi::CStr;

use nix::errno::Errno;

use super::{RawFd, check};

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its name.
    pub name: &'a CStr,
    /// `DT_*`, `DT_UNKNOWN` where the file system does not tell.
    pub kind: u8,
}

/// The next records of an open directory, for [`entries`]; 0 bytes at the end.
pub fn getdents(directory: RawFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: buffer is as long as said.
    let answer = unsafe {
        libc::syscall(libc::SYS_getdents64, directory, buffer.as_mut_ptr(), buffer.len())
    };
    check(answer).map(|length| length as usize)
}

/// The entries that [`getdents`] has filled in, without `.` and `..`.
pub fn entries(mut filled: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    /// Bytes of struct linux_dirent64 before `d_name`: inode, offset, record length, type.
    const NAME: usize = 8 + 8 + 2 + 1;
    core::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes([*filled.get(16)?, *filled.get(17)?]));
        let (record, rest) = filled.split_at_checked(length)?;
        filled = rest;
        let name = CStr::from_bytes_until_nul(record.get(NAME..)?).ok()?;
        Some(Entry { name, kind: *record.get(NAME - 1)? })
    })
    .filter(|entry| !matches!(entry.name.to_bytes(), b"." | b".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_entries_are_taken_apart() {
        let directory = super::super::fs::openat(libc::AT_FDCWD, c"/proc/self", libc::O_RDONLY, 0);
        let directory = directory.expect("open");
        let mut buffer = [0; 32 * 1024];
        let length = getdents(directory, &mut buffer).expect("getdents64");
        super::super::fs::close(directory);
        let all: Vec<_> = entries(&buffer[..length]).collect();
        assert!(all.contains(&Entry { name: c"status", kind: libc::DT_REG }), "{all:?}");
        assert!(all.contains(&Entry { name: c"ns", kind: libc::DT_DIR }), "{all:?}");
        assert!(!all.iter().any(|entry| entry.name == c"."));
        assert_eq!(entries(&[]).count(), 0);
        assert_eq!(entries(&[1; 18]).count(), 0);
    }
}
