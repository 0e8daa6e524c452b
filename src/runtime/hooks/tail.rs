//! The last of what a hook wrote: all is read, little is kept (CVE-2022-1708).

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;

use crate::sys::fs;

/// How much is kept for the error message.
const KEPT: usize = 4096;

/// The end of an output.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    cut: bool,
}

impl Tail {
    /// Reads what is there, at most 64 KiB. `false` when there is no more: now, or ever.
    pub(super) fn read(&mut self, from: Option<&OwnedFd>) -> Result<bool, Errno> {
        let Some(from) = from else { return Ok(false) };
        let mut buffer = [0; 65536];
        match fs::read(from.as_raw_fd(), &mut buffer) {
            Ok(0) | Err(Errno::EAGAIN) => Ok(false),
            Ok(length) => {
                self.push(buffer.get(..length).unwrap_or_default());
                Ok(true)
            }
            Err(errno) => Err(errno),
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(KEPT)..];
        let excess = (self.bytes.len() + bytes.len()).saturating_sub(KEPT);
        self.cut |= excess > 0;
        self.bytes.drain(..excess.min(self.bytes.len()));
        self.bytes.extend_from_slice(bytes);
    }

    /// The text on one line.
    pub(super) fn line(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let dots = if self.cut { "..." } else { "" };
        format!("{dots}{}", lines.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_on_one_line() {
        let mut tail = Tail::default();
        assert_eq!(tail.line(), "");
        tail.push(b"first\n\n  second \r\n");
        assert_eq!(tail.line(), "first; second");
        for _ in 0..100 {
            tail.push(&[b'x'; 700]);
        }
        tail.push(b"\nthe reason\n");
        assert!(tail.bytes.len() == KEPT && tail.bytes.capacity() <= 4 * KEPT);
        assert!(tail.line().starts_with("...xxx") && tail.line().ends_with("; the reason"));
        tail.push(&[b'y'; 100_000]);
        assert_eq!(tail.line(), format!("...{}", "y".repeat(KEPT)));
    }
}
