//! Random numbers (getrandom(2)). Child-safe.

use nix::errno::Errno;

use super::check;

/// A number that nobody can guess.
pub fn number() -> Result<u64, Errno> {
    let mut bytes = [0u8; 8];
    // SAFETY: bytes is as long as said; so few are given at once (getrandom(2)).
    check(unsafe { libc::syscall(libc::SYS_getrandom, bytes.as_mut_ptr(), bytes.len(), 0) })?;
    Ok(u64::from_ne_bytes(bytes))
}
