//! Sockets that carry file descriptors (unix(7)). [`send`] and [`receive`] are child-safe.

use core::mem::{MaybeUninit, size_of};

use nix::errno::Errno;

use super::{RawFd, check_unit};

/// Of one descriptor.
const SIZE: u32 = size_of::<RawFd>() as u32;

/// Control buffer for one descriptor: a header and an int, in units of 8 bytes (cmsg(3)).
#[repr(C, align(8))]
struct Control([u8; 24]);

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

/// Sends one message, with a descriptor where there is one. Never raises SIGPIPE.
pub fn send(socket: RawFd, bytes: &[u8], fd: Option<RawFd>) -> Result<(), Errno> {
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = Control([0; 24]);
    let mut message = empty_message(&mut part);
    if let Some(fd) = fd {
        message.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: pure arithmetic.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(SIZE) } as _;
        // SAFETY: msg_control and msg_controllen describe `control`.
        let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
        // SAFETY: the buffer has room for one header, and is zeroed.
        let header = unsafe { &mut *header };
        header.cmsg_level = libc::SOL_SOCKET;
        header.cmsg_type = libc::SCM_RIGHTS;
        // SAFETY: pure arithmetic.
        header.cmsg_len = unsafe { libc::CMSG_LEN(SIZE) } as _;
        // SAFETY: the header is followed by room for its data.
        let data = unsafe { libc::CMSG_DATA(header) };
        // SAFETY: CMSG_SPACE(SIZE) bytes were set aside.
        unsafe { data.cast::<RawFd>().write_unaligned(fd) };
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

/// Receives one message; how long it was, and the descriptor that came with it. A length of 0
/// is the end: the other side is gone. More descriptors than one are closed by the kernel, and
/// an error.
pub fn receive(socket: RawFd, bytes: &mut [u8]) -> Result<(usize, Option<RawFd>), Errno> {
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut control = Control([0; 24]);
    let mut message = empty_message(&mut part);
    message.msg_control = control.0.as_mut_ptr().cast();
    // Not CMSG_SPACE, whose padding would take a second one.
    // SAFETY: pure arithmetic.
    message.msg_controllen = unsafe { libc::CMSG_LEN(SIZE) } as _;
    let length = loop {
        // SAFETY: message describes live buffers.
        let answer = unsafe { libc::recvmsg(socket, &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        match super::check(answer as libc::c_long) {
            Err(Errno::EINTR) => continue,
            other => break other? as usize,
        }
    };
    let mut fd = None;
    // SAFETY: the kernel has filled msg_control and msg_controllen.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: null, or a header inside the control buffer.
    if let Some(found) = unsafe { header.as_ref() }
        && (found.cmsg_level, found.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS)
    {
        // SAFETY: the header is followed by its data.
        let data = unsafe { libc::CMSG_DATA(header) };
        // SAFETY: the kernel passes one descriptor at least; it wrote that much.
        fd = Some(unsafe { data.cast::<RawFd>().read_unaligned() });
    }
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        if let Some(fd) = fd {
            super::fs::close(fd);
        }
        return Err(Errno::EBADMSG);
    }
    Ok((length, fd))
}

fn empty_message(part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: all-zero is a valid msghdr (its private padding rules out a literal).
    let mut message = unsafe { MaybeUninit::<libc::msghdr>::zeroed().assume_init() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message
}
