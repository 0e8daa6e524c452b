//! The loopback interface of a new network namespace. Child-safe.

use nix::errno::Errno;

use super::{check_fd, check_unit, fs};

/// Brings `lo` up, as `ip link set lo up` does.
pub fn loopback_up() -> Result<(), Errno> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: integers only.
    let socket = check_fd(unsafe { libc::syscall(libc::SYS_socket, libc::AF_UNIX, kind, 0) })?;
    // struct ifreq: a name of 16 bytes, then a union of 24 whose first word are the flags.
    let mut request = [0u8; 40];
    request[..2].copy_from_slice(b"lo");
    request[16..18].copy_from_slice(&((libc::IFF_UP | libc::IFF_RUNNING) as u16).to_ne_bytes());
    // SAFETY: request has the size of struct ifreq.
    let answer =
        unsafe { libc::syscall(libc::SYS_ioctl, socket, libc::SIOCSIFFLAGS, request.as_ptr()) };
    let result = check_unit(answer);
    fs::close(socket);
    result
}
