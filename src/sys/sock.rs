//! Sockets that carry file descriptors (unix(7)). [`send`] and [`receive`] are child-safe.

use core::mem::{MaybeUninit, size_of};
use core::ptr;

use nix::errno::Errno;

use super::{RawFd, check_unit};

/// How many descriptors one message may carry here.
pub const MAX_FDS: usize = 3;

/// Control buffer for [`MAX_FDS`] descriptors, aligned as cmsghdr wants it.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// A connected pair of `SOCK_SEQPACKET` sockets, close-on-exec.
pub fn pair() -> Result<(RawFd, RawFd), Errno> {
    let mut fds = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: fds has room for the two descriptors.
    check_unit(unsafe {
        libc::syscall(libc::SYS_socketpair, libc::AF_UNIX, kind, 0, fds.as_mut_ptr())
    })?;
    Ok((fds[0], fds[1]))
}

/// Sends one message with up to [`MAX_FDS`] descriptors. Never raises SIGPIPE.
pub fn send(socket: RawFd, bytes: &[u8], fds: &[RawFd]) -> Result<(), Errno> {
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = Control([0; 64]);
    let mut message = empty_message(&mut part);
    if !fds.is_empty() {
        let size = u32::try_from(size_of_val(fds)).map_err(|_| Errno::EINVAL)?;
        message.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: pure arithmetic.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(size) } as _;
        if fds.len() > MAX_FDS {
            return Err(Errno::EINVAL);
        }
        // SAFETY: msg_control and msg_controllen describe `control`.
        let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
        // SAFETY: the buffer has room for one header, and is zeroed.
        let header = unsafe { &mut *header };
        header.cmsg_level = libc::SOL_SOCKET;
        header.cmsg_type = libc::SCM_RIGHTS;
        // SAFETY: pure arithmetic.
        header.cmsg_len = unsafe { libc::CMSG_LEN(size) } as _;
        // SAFETY: the header is followed by room for its data.
        let data = unsafe { libc::CMSG_DATA(header) };
        // SAFETY: CMSG_SPACE(size) bytes were set aside, and size is that of fds.
        unsafe { ptr::copy_nonoverlapping(fds.as_ptr().cast::<u8>(), data, size as usize) };
    }
    loop {
        // SAFETY: message describes live buffers.
        let answer = unsafe { libc::sendmsg(socket, &raw const message, libc::MSG_NOSIGNAL) };
        match check_unit(answer as libc::c_long) {
            Err(Errno::EINTR) => continue,
            other => return other,
        }
    }
}

/// Receives one message; how long it was, and the descriptors (-1 where there was none).
/// A length of 0 is the end: the other side is gone.
pub fn receive(socket: RawFd, bytes: &mut [u8]) -> Result<(usize, [RawFd; MAX_FDS]), Errno> {
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut control = Control([0; 64]);
    let mut message = empty_message(&mut part);
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    let length = loop {
        // SAFETY: message describes live buffers.
        let answer = unsafe { libc::recvmsg(socket, &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        match super::check(answer as libc::c_long) {
            Err(Errno::EINTR) => continue,
            other => break other? as usize,
        }
    };
    let mut fds = [-1; MAX_FDS];
    // SAFETY: the kernel has filled msg_control and msg_controllen.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: null, or a header inside the control buffer.
    if let Some(found) = unsafe { header.as_ref() }
        && (found.cmsg_level, found.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS)
    {
        // SAFETY: pure arithmetic.
        let overhead = unsafe { libc::CMSG_LEN(0) } as usize;
        // The type of the field differs between C libraries.
        #[allow(clippy::unnecessary_cast)]
        let size = (found.cmsg_len as usize - overhead).min(size_of::<[RawFd; MAX_FDS]>());
        // SAFETY: the header is followed by its data.
        let data = unsafe { libc::CMSG_DATA(header) };
        // SAFETY: at most the size of fds is copied, and the kernel wrote that much.
        unsafe { ptr::copy_nonoverlapping(data, fds.as_mut_ptr().cast::<u8>(), size) };
    }
    Ok((length, fds))
}

fn empty_message(part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: all-zero is a valid msghdr (its private padding rules out a literal).
    let mut message = unsafe { MaybeUninit::<libc::msghdr>::zeroed().assume_init() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message
}
