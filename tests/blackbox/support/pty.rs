//! Pseudo terminals, seen from the side of the person who types.

use super::cmd::patience;
use super::sys;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{Winsize, openpty};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

pub struct Pty {
    pub master: OwnedFd,
    seen: String,
}

impl Pty {
    /// A new pty of this size, and its slave.
    pub fn open(rows: u16, columns: u16) -> (Pty, OwnedFd) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).expect("openpty");
        // Whoever inherits the master keeps the terminal from being hung up.
        fcntl(&pair.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("F_SETFD");
        (Pty::from(pair.master), pair.slave)
    }

    pub fn type_in(&mut self, text: &str) {
        nix::unistd::write(&self.master, text.as_bytes()).expect("write to the pty");
    }

    /// Reads until the text appears; returns everything read since the last call.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let deadline = Instant::now() + patience();
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let more = !left.is_zero() && self.read_some(left);
            assert!(more, "the terminal never showed {text:?}, only {:?}", self.seen);
        }
    }

    /// Everything until the other side is closed.
    pub fn rest(&mut self) -> String {
        while self.read_some(patience()) {}
        std::mem::take(&mut self.seen)
    }

    fn read_some(&mut self, within: Duration) -> bool {
        let mut bytes = [0; 4096];
        if !sys::readable(self.master.as_fd(), within) {
            return false;
        }
        // EIO: the slave is closed everywhere.
        let count = nix::unistd::read(&self.master, &mut bytes).unwrap_or(0);
        self.seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
        count > 0
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the request reads one winsize.
        let rc = unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &size) };
        assert_eq!(rc, 0, "TIOCSWINSZ");
    }
}

impl From<OwnedFd> for Pty {
    fn from(master: OwnedFd) -> Pty {
        Pty { master, seen: String::new() }
    }
}
