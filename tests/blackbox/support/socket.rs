//! The other end of `--console-socket` and `--pidfd-socket`.

use super::cmd::patience;
use super::sys;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// A listening socket that takes one descriptor from whoever connects.
pub struct FdSocket {
    listener: UnixListener,
    pub path: PathBuf,
}

impl FdSocket {
    pub fn listen(path: &Path) -> FdSocket {
        let listener = UnixListener::bind(path).expect("bind the socket");
        FdSocket { listener, path: path.into() }
    }

    pub fn arg(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// The descriptor and the bytes that came with it.
    #[track_caller]
    pub fn receive(&self) -> (OwnedFd, String) {
        let limit = patience();
        assert!(sys::readable(self.listener.as_fd(), limit), "nobody connected");
        let (stream, _) = self.listener.accept().expect("accept");
        assert!(sys::readable(stream.as_fd(), limit), "nothing was sent");
        let mut bytes = [0; 4096];
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let mut space = nix::cmsg_space!([i32; 4]);
        let message = recvmsg::<()>(
            stream.as_raw_fd(),
            &mut slices,
            Some(&mut space),
            MsgFlags::MSG_CMSG_CLOEXEC,
        )
        .expect("recvmsg");
        let mut fds = Vec::new();
        for control in message.cmsgs().expect("control messages") {
            if let ControlMessageOwned::ScmRights(list) = control {
                fds.extend(list);
            }
        }
        let count = message.bytes;
        assert_eq!(fds.len(), 1, "exactly one descriptor is sent");
        // SAFETY: the kernel just gave us this descriptor.
        let fd = unsafe { OwnedFd::from_raw_fd(fds[0]) };
        (fd, String::from_utf8_lossy(&bytes[..count]).into_owned())
    }
}
