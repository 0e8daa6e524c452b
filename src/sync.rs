//! What the parent and the child say to each other over one socket pair.
//!
//! ```text
//!  parent (rt)                      child (container's first process)
//!    |                                 |
//!    | <----------- Cgroup ----------- |  systemd: make a unit around me
//!    | ------------- ack ------------> |
//!    | <------------ Maps ------------ |  new user namespace: write uid_map, gid_map
//!    | ------------- ack ------------> |
//!    | <------------ Born ------------ |  only with a stage, which is gone: the real child. With
//!    |                                 |  a joined pid namespace, and in an exec, right before Ready
//!    | <--------- NetDevices --------- |  move devices of the host into my namespace
//!    | ------------- ack ------------> |
//!    | <----------- Guard ------------ |  before anything of the image is opened, unless the
//!    | ------------- ack ------------> |  page says that the device program is attached
//!    | <--- Source(n) ---------------- |  user namespace: open what I cannot reach
//!    | ---- ack (mount fd) ----------> |
//!    | <------------ Nodes ----------- |  user namespace: make my device nodes
//!    | ---- ack (mount fd) ----------> |
//!    | <--- Console (master fd) ------ |  process.terminal
//!    | <--- Device(which, how) ------- |  a descriptor of the caller is one, and I have none
//!    | -------- ack (fd) ------------> |
//!    | <------------ Hooks ----------- |  createRuntime, createContainer
//!    | ------------- ack ------------> |
//!    | <-- Listener (listener fd) ----- |  SCMP_ACT_NOTIFY: give it to the agent (where that has
//!    | ------------- ack ------------> |  to wait for the gate: see below)
//!    | <----------- Appear ----------- |  only where the page does not say so already: others
//!    | ------------- ack ------------> |  will see me, is the runtime's binary out of reach?
//!    | <------------ Last ------------ |  from here on only Born, Ready and Failed count
//!    | <------------ Ready ----------- |  state, pid file
//!    | ------------- ack ------------> |  then the gate, execve
//!    |     (SCMP_ACT_NOTIFY, for calls that the child makes itself: the listener is taken out
//!    |      of it by pidfd_getfd(2) after the gate, and both talk by a shared page, since no
//!    |      call of the child is sure to return)
//!    | <------- end of file ---------- |  execve has closed the socket: it runs
//!    |                                 |
//!    | <--- Failed(call, errno) ------ |  at any point, instead of the above
//! ```
//!
//! Frames are 16 bytes in the machine's order. The end of file on the parent's side
//! means that the child is gone or runs the program; on the child's side it means that
//! nobody waits for it any more, and it exits.

use nix::errno::Errno;

use crate::sys::numbered::numbered;
use crate::sys::{RawFd, sock};

/// The longest text that goes with a frame: what the kernel wrote about a mount.
pub const MAX_TEXT: usize = 240;

/// The [`Kind::Source`] that is the container's root; all others are of mounts.
pub const ROOT: u32 = u32::MAX;

numbered! {
    /// What a frame is about.
    pub enum Kind {
        /// The child waits for its id mappings.
        Maps = 1,
        /// The child wants the tree of mount source `arg`; the ack carries it.
        Source,
        /// Everything is mounted, nothing is sealed: time for hooks.
        Hooks,
        /// The terminal is made; the frame carries its master, `arg` is N of /dev/pts/N.
        Console,
        /// All is done that can be done before the program is wanted.
        Ready,
        /// The first word of the real child, whom a stage has made; its pid is in the shared page.
        Born,
        /// A step failed.
        Failed,
        /// The answer of the parent. For `Ready`, `arg` 1 says that nobody will read on.
        Ack,
        /// The network namespace is there: time to move devices into it.
        NetDevices,
        /// The child waits for its cgroup to be made around it.
        Cgroup,
        /// Others will see the child: the runtime must have let go of the mount that it runs from.
        Appear,
        /// The child is about to open something of the image: the devices must be guarded.
        Guard,
        /// The child wants device nodes that its user namespace may not make; the ack carries the
        /// mount that has them.
        Nodes,
        /// The child wants a device of the host where nobody can change the file: `arg` says which, and
        /// how it is opened ([`crate::sys::dev::Common::wanted`]).
        Device,
        /// The last word before the birth in a pid namespace that others are in: whoever speaks next
        /// may be one of them.
        Last,
        /// The filter is loaded; the frame carries the seccomp listener, for the agent.
        Listener,
    }
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// What it is about.
    pub kind: Kind,
    /// For `Failed`: which call of the step, a [`crate::child::Call`] as a number.
    pub call: u8,
    /// For `Failed`: the errno.
    pub errno: i32,
    /// As the kind says; for `Failed`: which part of the step; for a failed execve, 1 if the
    /// child could say so on its own stderr.
    pub arg: u64,
}

impl Frame {
    /// A frame with nothing but an argument.
    pub fn new(kind: Kind, arg: u64) -> Self {
        Frame { kind, call: 0, errno: 0, arg }
    }

    fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[0] = self.kind as u8;
        bytes[1] = self.call;
        bytes[4..8].copy_from_slice(&self.errno.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.arg.to_ne_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        let [kind, call, _, _, e0, e1, e2, e3, arg @ ..] = bytes;
        Some(Frame {
            kind: Kind::from_byte(kind)?,
            call,
            errno: i32::from_ne_bytes([e0, e1, e2, e3]),
            arg: u64::from_ne_bytes(arg),
        })
    }
}

/// What came over the socket.
#[derive(Debug)]
pub struct Received {
    /// The message.
    pub frame: Frame,
    /// The descriptor that came with it.
    pub fd: Option<RawFd>,
    /// The text that came with it.
    pub text: [u8; MAX_TEXT],
    /// How much of it there is.
    pub text_length: usize,
}

/// Sends a frame, with a text and a descriptor where there are any. Child-safe.
pub fn send(socket: RawFd, frame: Frame, text: &[u8], fd: Option<RawFd>) -> Result<(), Errno> {
    let mut bytes = [0u8; 16 + MAX_TEXT];
    bytes[..16].copy_from_slice(&frame.to_bytes());
    let length = text.len().min(MAX_TEXT);
    bytes[16..16 + length].copy_from_slice(&text[..length]);
    sock::send(socket, &bytes[..16 + length], fd)
}

/// Receives a frame; `None` when the other side is gone. Child-safe.
pub fn receive(socket: RawFd) -> Result<Option<Received>, Errno> {
    let mut bytes = [0u8; 16 + MAX_TEXT];
    let (length, fd) = match sock::receive(socket, &mut bytes) {
        Err(Errno::ECONNRESET) => return Ok(None),
        other => other?,
    };
    if length == 0 {
        return Ok(None);
    }
    let mut head = [0; 16];
    head.copy_from_slice(&bytes[..16]);
    let frame = Frame::from_bytes(head).filter(|_| length >= 16).ok_or(Errno::EBADMSG)?;
    let mut text = [0; MAX_TEXT];
    text.copy_from_slice(&bytes[16..]);
    Ok(Some(Received { frame, fd, text, text_length: length - 16 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_survives_the_socket() {
        let (a, b) = sock::pair().expect("a socket pair");
        let frame = Frame { kind: Kind::Failed, call: 3, errno: 22, arg: 5 };
        send(a, frame, b"tmpfs: Bad value for 'size'", Some(0)).expect("sent");
        let got = receive(b).expect("received").expect("a frame");
        assert_eq!(got.frame, frame);
        assert_eq!(&got.text[..got.text_length], b"tmpfs: Bad value for 'size'");
        for fd in [a, got.fd.expect("a descriptor")] {
            crate::sys::fs::close(fd);
        }
        assert!(receive(b).expect("end").is_none());
        crate::sys::fs::close(b);
    }
}
