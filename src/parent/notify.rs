//! What `rt` itself tells the service manager (sd_notify(3)). All else the program says
//! over the socket that it has been given.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::error::{Doing, Result};
use crate::plan::notify::VARIABLE;

/// The socket named by our environment. One that cannot be bound into a container (an
/// abstract one), or is gone, is told of and not passed on.
pub fn socket() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os(VARIABLE).filter(|value| !value.is_empty())?);
    let is_socket = fs::metadata(&path).is_ok_and(|found| found.file_type().is_socket());
    if !path.is_absolute() || !is_socket {
        tracing::warn!("{VARIABLE}={} is not a socket: the container gets none", path.display());
        return None;
    }
    Some(path)
}

/// Says that the container's first process is the service from now on: it is heard then,
/// although `rt` goes away. The service manager may be gone; the container starts all the
/// same.
pub fn main_pid(socket: Option<&Path>, pid: i32) {
    if let Some(socket) = socket
        && let Err(error) = send(socket, &format!("MAINPID={pid}"))
    {
        tracing::warn!("{error}");
    }
}

fn send(socket: &Path, text: &str) -> Result<()> {
    let doing = || format!("send {text} to {VARIABLE}={}", socket.display());
    let sender = UnixDatagram::unbound().doing(doing)?;
    // Nobody waits for a service manager that does not listen.
    sender.set_nonblocking(true).doing(doing)?;
    sender.send_to(text.as_bytes(), socket).doing(doing)?;
    Ok(())
}
