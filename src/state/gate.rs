//! The start gate: a fifo in the state directory. Init keeps it open and waits in
//! poll(2); `rt start` writes one byte. Whether anybody waits is asked of the kernel:
//! to open a fifo for writing without blocking fails when nobody has it open to read.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, mkfifoat, unlinkat, write};

use super::StateDir;
use crate::error::{Doing, Error, Kind, Result};
use crate::sys::io;

pub(super) const GATE: &str = "exec.fifo";
/// How long init may take from the gate to its program.
const PATIENCE: Duration = Duration::from_secs(10);

impl StateDir {
    /// Makes the gate.
    pub fn make_gate(&self) -> Result<()> {
        mkfifoat(self.fd(), GATE, Mode::from_bits_truncate(0o600))
            .doing(|| format!("make the start gate of container {}", self.id()))
    }

    /// The end that init keeps. Opened for reading and writing, so that the open does
    /// not block, and a writer that dies early is no end of file.
    pub fn open_gate_for_init(&self) -> Result<OwnedFd> {
        let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(self.fd(), GATE, flags, Mode::empty())
            .doing(|| format!("open the start gate of container {}", self.id()))
    }

    /// Whether init waits at the gate.
    pub fn at_gate(&self) -> Result<bool> {
        self.gate_writer().map(|fd| fd.is_some())
    }

    /// Lets init pass, once and for all.
    pub fn open_gate(&self) -> Result<OpenGate> {
        let doing = || format!("open the start gate of container {}", self.id());
        let Some(gate) = self.gate_writer()? else {
            let text = format!("cannot start a container that has stopped: {}", self.id());
            return Err(Error::new(text).kind(Kind::WrongStatus));
        };
        write(&gate, b"0").doing(doing)?;
        unlinkat(self.fd(), GATE, UnlinkatFlags::NoRemoveDir).doing(doing)?;
        Ok(OpenGate(gate))
    }

    fn gate_writer(&self) -> Result<Option<OwnedFd>> {
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(self.fd(), GATE, flags, Mode::empty()) {
            Err(Errno::ENXIO | Errno::ENOENT) => Ok(None),
            other => other
                .map(Some)
                .doing(|| format!("ask at the start gate of container {}", self.id())),
        }
    }
}

/// A gate that init may pass.
#[derive(Debug)]
pub struct OpenGate(OwnedFd);

impl OpenGate {
    /// Waits until init has executed its program, or has ended: then nobody has the fifo
    /// open to read any more, which poll(2) reports as an error condition. An init that could not
    /// execute it has left a byte.
    pub fn wait_until_executed(&self) -> Result<()> {
        let doing = || "wait for init to execute its program";
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::empty())], timeout) {
                Ok(0) => {
                    return Err(Error::new(doing())
                        .detail(format!("it has not after {} s", PATIENCE.as_secs())));
                }
                Err(Errno::EINTR) => {}
                other => {
                    other.doing(doing)?;
                    break;
                }
            }
        }
        match io::waiting(&self.0).doing(doing)? {
            0 => Ok(()),
            _ => Err(Error::new("the container's program could not be executed")
                .hint("what the container has written to its standard error says why")),
        }
    }
}
