//! The session keyring (keyctl(2)). Child-safe.

use core::ffi::CStr;

use nix::errno::Errno;

use super::{check, check_unit};

const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1;
const KEYCTL_SETPERM: i32 = 5;
const KEYCTL_DESCRIBE: i32 = 6;

/// Joins, or makes, the session keyring `name`; its serial number.
pub fn join_session_keyring(name: &CStr) -> Result<i32, Errno> {
    // SAFETY: name is NUL-terminated.
    let answer =
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    check(answer).map(|serial| serial as i32)
}

/// Adds permission bits to those that a key has (`KEYCTL_DESCRIBE` prints them in hex as
/// the fourth of five fields).
pub fn add_permissions(serial: i32, add: u32) -> Result<(), Errno> {
    let mut text = [0u8; 256];
    // SAFETY: text is as long as said.
    let answer = unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_DESCRIBE, serial, text.as_mut_ptr(), text.len())
    };
    check(answer)?;
    let mut permissions = 0u32;
    if let Some(field) = text.split(|byte| *byte == b';').nth(3) {
        for digit in field {
            permissions = permissions << 4 | (*digit as char).to_digit(16).unwrap_or(0);
        }
    }
    // SAFETY: integers only.
    check_unit(unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, serial, permissions | add)
    })
}
