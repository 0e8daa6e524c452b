//! The caller's stdin and stdout on one side, the master of a container's terminal on the
//! other. Process: `rt`, in the foreground, in the namespaces of the host.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::termios::{
    SetArg, SpecialCharacterIndices, Termios, cfmakeraw, tcgetattr, tcsetattr,
};
use nix::unistd::{getpgrp, tcgetpgrp};

use super::fd_socket;
use crate::error::errno_text;
use crate::sys::{RawFd, fd, fs, io, pty, signal};

/// A write of this size to a pipe that poll(2) calls writable does not block (`PIPE_BUF`).
const CHUNK: usize = 4096;

/// How long stdout may take nothing before the rest is given up: the process is gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to be in the background before looking again: a shell that takes a running job to
/// the foreground sends it no signal.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The most that is still relayed when the process is gone: more than a pty holds.
const REST: usize = 1 << 20;

/// A terminal in the foreground.
pub(super) struct Relay<'a> {
    master: OwnedFd,
    /// As long as somebody has the terminal open, reading it does not fail; a process
    /// that closes it and opens it again, as init systems do, changes nothing.
    slave: Option<OwnedFd>,
    stdin: Stdio<'a>,
    stdout: Stdio<'a>,
    /// From stdin to the terminal.
    typed: Flow,
    /// From the terminal to stdout.
    shown: Flow,
    /// The last line that was typed has no end yet.
    line_is_open: bool,
    /// The terminal cannot be opened any more.
    gone: bool,
    raw: Option<RawMode<'a>>,
}

impl<'a> Relay<'a> {
    /// Makes the caller's terminal, if stdin is one, raw.
    pub(super) fn new(
        master: OwnedFd,
        stdin: BorrowedFd<'a>,
        stdout: BorrowedFd<'a>,
    ) -> Result<Self, Errno> {
        io::set_nonblocking(&master, true)?;
        let slave = pty::open_peer(master.as_raw_fd()).map(fd::own)?;
        let relay = Relay {
            master,
            slave: Some(slave),
            stdin: Stdio::of(stdin, libc::O_RDONLY)?,
            stdout: Stdio::of(stdout, libc::O_WRONLY)?,
            typed: Flow::new(),
            shown: Flow::new(),
            line_is_open: false,
            gone: false,
            raw: RawMode::new(stdin)?,
        };
        // It may have changed since the terminal was made, when nobody listened to SIGWINCH.
        relay.resize();
        Ok(relay)
    }

    /// The size of the caller's terminal becomes that of the container's.
    pub(super) fn resize(&self) {
        // A stdin that is no terminal has no size; one that was closed keeps its last.
        if let Ok(size) = pty::size(self.stdin.raw()) {
            let _ = fd_socket::resize(&self.master, size);
        }
    }

    /// `rt` was stopped: the shell has set its terminal as it likes it.
    pub(super) fn resume(&mut self) {
        if let Some(raw) = &mut self.raw {
            raw.is_set = false;
        }
        self.resize();
    }

    /// How long to wait, as poll(2) takes it.
    pub(super) fn timeout(&self) -> i32 {
        let behind = self.raw.as_ref().is_some_and(|raw| !raw.is_set);
        io::timeout_ms(behind.then_some(LOOK_AGAIN))
    }

    /// What to wait for: stdin, stdout, master.
    pub(super) fn interests(&mut self) -> [libc::pollfd; 3] {
        let when = |wanted: bool, fd: RawFd, events: i16| {
            io::interest(if wanted { fd } else { -1 }, events)
        };
        let (typing, showing) = (self.typed.is_empty(), self.shown.is_empty());
        let master =
            if showing { libc::POLLIN } else { 0 } | if typing { 0 } else { libc::POLLOUT };
        let reads = typing && !self.typed.ended;
        let stdin = match &mut self.raw {
            // In the background a terminal cannot be read, but it can be hung up.
            Some(raw) => {
                let reads = reads && raw.look();
                io::interest(self.stdin.raw(), if reads { libc::POLLIN } else { 0 })
            }
            None => when(reads, self.stdin.raw(), libc::POLLIN),
        };
        [
            stdin,
            when(!showing, self.stdout.raw(), libc::POLLOUT),
            when(master != 0 && !self.gone, self.master.as_raw_fd(), master),
        ]
    }

    /// Moves what can be moved. Whatever is wrong with stdin or stdout, the process goes on.
    /// False when the caller's terminal was hung up: the container's is to be, too.
    pub(super) fn serve(&mut self, ready: [libc::pollfd; 3]) -> bool {
        let [stdin, stdout, master] = ready.map(|fd| fd.revents);
        if self.raw.is_some() && stdin & (libc::POLLHUP | libc::POLLERR) != 0 {
            return false;
        }
        if stdin != 0 {
            self.read_stdin();
        }
        if stdout != 0 {
            self.shown.write(self.stdout.raw());
        }
        if master & libc::POLLOUT != 0 {
            self.typed.write(self.master.as_raw_fd());
        }
        if master & libc::POLLIN != 0 {
            self.shown.read(self.master.as_raw_fd());
        }
        if master & (libc::POLLHUP | libc::POLLERR) != 0 {
            self.reopen();
        }
        true
    }

    /// vhangup(2), which login programs call, has closed the terminal for us too.
    fn reopen(&mut self) {
        self.slave = pty::open_peer(self.master.as_raw_fd()).map(fd::own).ok();
        self.gone = self.slave.is_none();
        self.typed.closed = self.gone;
    }

    fn read_stdin(&mut self) {
        self.typed.read(self.stdin.raw());
        if self.raw.is_some() {
            // EIO: put in the background a moment ago. poll(2) tells of a terminal that is gone.
            self.typed.ended = false;
        }
        if let Some(last) = self.typed.last() {
            self.line_is_open = last != b'\n';
        } else if self.typed.ended && self.raw.is_none() {
            // The end of a file is typed as ^D, also that of an empty one.
            let keys = self.end_of_file();
            self.typed.put(&keys);
        }
    }

    /// One for the open line and one for the end.
    fn end_of_file(&self) -> Vec<u8> {
        const DISABLED: u8 = 0;
        let settings = tcgetattr(&self.master).ok();
        let key = settings
            .map(|settings| settings.control_chars[SpecialCharacterIndices::VEOF as usize])
            .filter(|key| *key != DISABLED);
        let count = if self.line_is_open { 2 } else { 1 };
        key.map(|key| vec![key; count]).unwrap_or_default()
    }

    /// The process is gone: shows what it has written and nobody has read. Never waits
    /// for more of it, and not for ever for stdout: a signal that would have ended the process
    /// ends that, too.
    pub(super) fn finish(mut self, signals: Option<BorrowedFd<'_>>) {
        let signals = signals.map_or(-1, |fd| fd.as_raw_fd());
        self.slave = None;
        self.typed.ended = true;
        let mut give_up = Instant::now() + PATIENCE;
        let mut rest = REST;
        loop {
            if self.shown.is_empty() {
                self.shown.read(self.master.as_raw_fd());
                rest = rest.saturating_sub(self.shown.length());
            }
            let left = give_up.saturating_duration_since(Instant::now());
            if self.shown.is_empty() || rest == 0 || left.is_zero() {
                return;
            }
            let stdout = io::interest(self.stdout.raw(), libc::POLLOUT);
            let mut fds = [stdout, io::interest(signals, libc::POLLIN)];
            let _ = io::poll(&mut fds, io::timeout_ms(Some(left)));
            let [stdout, signaled] = fds;
            if signaled.revents != 0 && has_fatal(signals) {
                return;
            }
            if stdout.revents != 0 {
                self.shown.write(self.stdout.raw());
                give_up = Instant::now() + PATIENCE;
            }
        }
    }
}

/// Whether there is one that asks us to end. SIGPIPE is the kernel's word on our own stdout.
fn has_fatal(signals: RawFd) -> bool {
    const FATAL: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];
    std::iter::from_fn(|| signal::next(signals).ok().flatten())
        .any(|received| FATAL.contains(&received.signal))
}

/// Bytes on their way.
struct Flow {
    buffer: Box<[u8; CHUNK]>,
    start: usize,
    end: usize,
    /// There is no more to read.
    ended: bool,
    /// Nobody takes it any more: it is thrown away, so that the process does not block.
    closed: bool,
}

impl Flow {
    fn new() -> Self {
        let buffer = Box::new([0; CHUNK]);
        Flow { buffer, start: 0, end: 0, ended: false, closed: false }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn length(&self) -> usize {
        self.end - self.start
    }

    fn last(&self) -> Option<u8> {
        self.buffer.get(self.start..self.end).and_then(|bytes| bytes.last().copied())
    }

    fn put(&mut self, bytes: &[u8]) {
        (self.start, self.end) = (0, 0);
        for (slot, byte) in self.buffer.iter_mut().zip(bytes) {
            *slot = *byte;
            self.end += 1;
        }
    }

    /// Only when it is empty.
    fn read(&mut self, from: RawFd) {
        (self.start, self.end) = (0, 0);
        match fs::read(from, self.buffer.as_mut_slice()) {
            Ok(0) => self.ended = true,
            Ok(_) if self.closed => {}
            Ok(length) => self.end = length,
            Err(Errno::EAGAIN) => {}
            // EIO: a terminal that was hung up, or that has us in the background.
            Err(errno) => {
                tracing::debug!(%errno, "nothing more to read");
                self.ended = true;
            }
        }
    }

    fn write(&mut self, to: RawFd) {
        match fs::write(to, self.buffer.get(self.start..self.end).unwrap_or_default()) {
            Ok(length) => self.start += length,
            Err(Errno::EAGAIN) => {}
            Err(errno) => {
                if !matches!(errno, Errno::EPIPE | Errno::EIO | Errno::ECONNRESET) {
                    tracing::warn!("output is lost: {}", errno_text(errno));
                }
                self.closed = true;
                self.start = self.end;
            }
        }
    }
}

/// stdin or stdout. `O_NONBLOCK` would hold for all who share the open file, the caller's
/// shell among them: where blocking is possible the file is opened a second time.
enum Stdio<'a> {
    Own(OwnedFd),
    Shared(BorrowedFd<'a>),
}

impl<'a> Stdio<'a> {
    fn of(fd: BorrowedFd<'a>, access: i32) -> Result<Self, Errno> {
        let kind = fs::fstat(fd.as_raw_fd())?.st_mode & libc::S_IFMT;
        let is_terminal = kind == libc::S_IFCHR && pty::size(fd.as_raw_fd()).is_ok();
        if kind != libc::S_IFIFO && !is_terminal {
            return Ok(Stdio::Shared(fd));
        }
        let path = format!("/proc/self/fd/{}\0", fd.as_raw_fd());
        let path =
            std::ffi::CStr::from_bytes_with_nul(path.as_bytes()).map_err(|_| Errno::EINVAL)?;
        let flags = access | libc::O_NONBLOCK | libc::O_NOCTTY;
        match fs::openat(libc::AT_FDCWD, path, flags, 0) {
            Ok(copy) => Ok(Stdio::Own(fd::own(copy))),
            // Of another user, or its other end is gone. poll(2) has to do then.
            Err(Errno::EACCES | Errno::EPERM | Errno::ENXIO | Errno::EIO) => Ok(Stdio::Shared(fd)),
            Err(errno) => Err(errno),
        }
    }

    fn raw(&self) -> RawFd {
        match self {
            Stdio::Own(fd) => fd.as_raw_fd(),
            Stdio::Shared(fd) => fd.as_raw_fd(),
        }
    }
}

/// The caller's terminal passes every key on. Whatever happens, it is put back.
struct RawMode<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
    is_set: bool,
}

impl<'a> RawMode<'a> {
    /// `None` when it is no terminal.
    fn new(terminal: BorrowedFd<'a>) -> Result<Option<Self>, Errno> {
        let before = match tcgetattr(terminal) {
            Ok(before) => before,
            // Not a terminal; or one that was hung up.
            Err(Errno::ENOTTY | Errno::EINVAL | Errno::EIO) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let mut mode = RawMode { terminal, before, is_set: false };
        mode.look();
        Ok(Some(mode))
    }

    /// In the background the terminal is somebody else's: the shell's, for one.
    fn in_front(&self) -> bool {
        !tcgetpgrp(self.terminal).is_ok_and(|foreground| foreground != getpgrp())
    }

    /// Makes it raw whenever it has become ours; whether it is.
    fn look(&mut self) -> bool {
        if !self.in_front() {
            self.is_set = false;
        } else if !self.is_set {
            self.set();
        }
        self.is_set
    }

    fn set(&mut self) {
        // A line editor of the shell's may have had its own settings while we were behind.
        if let Ok(before) = tcgetattr(self.terminal) {
            self.before = before;
        }
        let mut raw = self.before.clone();
        cfmakeraw(&mut raw);
        // It fails only when the terminal is gone, which poll(2) says.
        self.is_set = tcsetattr(self.terminal, SetArg::TCSANOW, &raw).is_ok();
    }
}

impl Drop for RawMode<'_> {
    fn drop(&mut self) {
        if self.is_set && self.in_front() {
            let _ = tcsetattr(self.terminal, SetArg::TCSANOW, &self.before);
        }
    }
}
