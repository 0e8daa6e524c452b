//! `NOTIFY_SOCKET` (sd_notify(3)): what becomes of the service manager's socket.
//!
//! A detached container gets that socket itself, and `rt` says who the main process is. In
//! the foreground `rt` is the main process, to which alone the service manager listens: the
//! container gets a socket of ours, and what it says is handed on.

use std::cell::Cell;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::error::{Doing, Result};
use crate::plan::notify::VARIABLE;
use crate::state::StateDir;
use crate::sys::io;

/// The name of our own socket in the state directory.
pub const SOCKET: &str = "notify.sock";

/// The longest message that systemd takes (`NOTIFY_BUFFER_MAX`).
const LONGEST: usize = 4096;

/// Words about processes and descriptors of the container, which are not those of the host.
/// and who may speak for the service.
const NOT_FORWARDED: &[&str] =
    &["BARRIER", "FDNAME", "FDPOLL", "FDSTORE", "MAINPID", "NOTIFYACCESS"];

/// So many messages are handed on before something else has its turn.
const AT_A_TIME: usize = 64;

/// The socket named by our environment. One that cannot be bound into a container (an
/// abstract one), or is gone, is told of and not passed on.
pub fn socket() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os(VARIABLE).filter(|value| !value.is_empty())?);
    let is_socket = fs::metadata(&path).is_ok_and(|found| found.file_type().is_socket());
    if !path.is_absolute() || !is_socket {
        let path = path.display();
        tracing::warn!("{VARIABLE}={path} is not a socket: the container gets none");
        return None;
    }
    Some(path)
}

/// Says that the container's first process is the service from now on: it is heard then,
/// although `rt` goes away. The service manager may be gone; the container starts all the
/// same.
pub fn main_pid(socket: Option<&Path>, pid: i32) {
    let text = format!("MAINPID={pid}");
    if let Some(socket) = socket
        && let Err(error) = sender(socket).and_then(|sender| {
            let doing = || format!("send {text} to {VARIABLE}={}", socket.display());
            sender.send_to(text.as_bytes(), socket).map(drop).doing(doing)
        })
    {
        tracing::warn!("{error}");
    }
}

/// Nobody waits for a service manager that does not listen.
fn sender(socket: &Path) -> Result<UnixDatagram> {
    let doing = || format!("make a socket for {VARIABLE}={}", socket.display());
    let sender = UnixDatagram::unbound().doing(doing)?;
    sender.set_nonblocking(true).doing(doing)?;
    Ok(sender)
}

/// Hands on what the program says.
#[derive(Debug)]
pub struct Messenger {
    inside: UnixDatagram,
    outside: UnixDatagram,
    manager: PathBuf,
    /// Of a manager that does not take messages we tell once.
    told: Cell<bool>,
}

impl Messenger {
    /// Listens in the state directory of the container.
    pub fn listen(dir: &StateDir, manager: &Path) -> Result<Self> {
        // Its own path may be longer than the address of a socket can be.
        let path = format!("/proc/self/fd/{}/{SOCKET}", dir.raw_fds()[1]);
        let doing = || format!("make the socket {SOCKET} of container {}", dir.id());
        let inside = UnixDatagram::bind(&path).doing(doing)?;
        inside.set_nonblocking(true).doing(doing)?;
        // For any user of the container; from outside there is no way to it.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).doing(doing)?;
        let (outside, manager) = (sender(manager)?, manager.to_owned());
        Ok(Messenger { inside, outside, manager, told: Cell::new(false) })
    }

    /// What to wait for.
    pub fn interest(&self) -> libc::pollfd {
        io::interest(self.inside.as_raw_fd(), libc::POLLIN)
    }

    /// Hands on all that was said. Descriptors that come along are closed by the kernel,
    /// which is the answer that a barrier waits for.
    pub fn serve(&self) {
        let mut text = [0; LONGEST];
        for _ in 0..AT_A_TIME {
            let Ok(length) = self.inside.recv(&mut text) else { return };
            let message = forwarded(&text[..length]);
            if message.is_empty() {
                continue;
            }
            if let Err(error) = self.outside.send_to(&message, &self.manager)
                && !self.told.replace(true)
            {
                tracing::warn!("send to {VARIABLE}={}: {error}", self.manager.display());
            }
        }
    }
}

/// The lines of a message that mean the same outside.
fn forwarded(message: &[u8]) -> Vec<u8> {
    let stays = |line: &&[u8]| {
        let is = |word: &&str| line.starts_with(word.as_bytes());
        !line.is_empty() && !NOT_FORWARDED.iter().any(is)
    };
    message.split(|byte| *byte == b'\n').filter(stays).collect::<Vec<_>>().join(&b'\n')
}

#[cfg(test)]
mod tests {
    use super::forwarded;

    #[test]
    fn words_about_the_inside_stay_inside() {
        assert_eq!(forwarded(b"READY=1\nMAINPID=7\nSTATUS=up\n"), b"READY=1\nSTATUS=up");
        assert_eq!(forwarded(b"MAINPIDFDID=3\nFDSTORE=1\nFDNAME=x\nBARRIER=1"), b"");
        assert_eq!(forwarded(b"WATCHDOG=1\nNOTIFYACCESS=all"), b"WATCHDOG=1");
    }
}
