//! A seccomp agent: takes listeners at `listenerPath` and answers for system calls
//! (seccomp_unotify(2)).

use super::cmd::{patience, wait_until};
use super::sys;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{IoSliceMut, Read};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What the agent has seen.
#[derive(Default, Clone)]
pub struct Seen {
    /// The container process state of each connection.
    pub states: Vec<Value>,
    /// The number of each system call that it has answered.
    pub calls: Vec<i64>,
}

/// An agent at work. Its threads end with the test.
pub struct Agent {
    seen: Arc<Mutex<Seen>>,
    /// The listeners of one that never answers.
    kept: Arc<Mutex<Vec<OwnedFd>>>,
}

impl Agent {
    /// Answers the calls in `errnos` with these errnos, and lets all others pass.
    pub fn listen(path: &Path, errnos: &[(i64, i32)]) -> Agent {
        let errnos: BTreeMap<_, _> = errnos.iter().copied().collect();
        Agent::at(path, Some(errnos))
    }

    /// Takes listeners, and never answers.
    pub fn silent(path: &Path) -> Agent {
        Agent::at(path, None)
    }

    fn at(path: &Path, errnos: Option<BTreeMap<i64, i32>>) -> Agent {
        let listener = UnixListener::bind(path).expect("bind the agent's socket");
        let agent = Agent { seen: Arc::default(), kept: Arc::default() };
        let (seen, kept) = (agent.seen.clone(), agent.kept.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (fd, state) = receive(stream);
                match errnos.clone() {
                    Some(errnos) => {
                        let seen = seen.clone();
                        std::thread::spawn(move || answer(&fd, &errnos, &seen));
                    }
                    None => kept.lock().expect("lock").push(fd),
                }
                seen.lock().expect("lock").states.push(state);
            }
        });
        agent
    }

    /// Closes the listeners of one that never answers.
    pub fn quit(&self) {
        self.kept.lock().expect("lock").clear();
    }

    /// Waits until it has had this many listeners.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Value> {
        wait_until("the agent is told", || self.seen().states.len() >= count);
        let states = self.seen().states;
        assert_eq!(states.len(), count, "{states:?}");
        states
    }

    /// What it has seen so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().expect("lock").clone()
    }
}

/// One connection: a descriptor with the first bytes, and JSON up to its end.
fn receive(mut stream: UnixStream) -> (OwnedFd, Value) {
    let mut bytes = vec![0; 1 << 20];
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let mut space = nix::cmsg_space!([i32; 4]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut slices, Some(&mut space), flags);
    let message = message.expect("recvmsg");
    let mut fds = Vec::new();
    for control in message.cmsgs().expect("control messages") {
        if let ControlMessageOwned::ScmRights(list) = control {
            fds.extend(list);
        }
    }
    assert_eq!(fds.len(), 1, "exactly one descriptor is sent");
    let count = message.bytes;
    bytes.truncate(count);
    stream.read_to_end(&mut bytes).expect("read the rest");
    // SAFETY: the kernel just gave us this descriptor.
    let fd = unsafe { OwnedFd::from_raw_fd(fds[0]) };
    (fd, serde_json::from_slice(&bytes).expect("a container process state"))
}

/// `SECCOMP_IOCTL_NOTIF_RECV` and `_SEND` of `linux/seccomp.h`.
pub const RECEIVE: libc::c_ulong = 0xc050_2100;
pub const SEND: libc::c_ulong = 0xc018_2101;

fn answer(listener: &OwnedFd, errnos: &BTreeMap<i64, i32>, seen: &Mutex<Seen>) {
    while sys::readable(listener.as_fd(), patience()) {
        // SAFETY: plain integers, which the kernel wants zeroed.
        let mut request: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the request fills one seccomp_notif.
        if unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE as _, &mut request) } != 0 {
            if nix::errno::Errno::last() == nix::errno::Errno::ENOENT {
                continue;
            }
            return;
        }
        let number = i64::from(request.data.nr);
        seen.lock().expect("lock").calls.push(number);
        let errno = errnos.get(&number).copied();
        let flags = if errno.is_none() { libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE } else { 0 };
        let mut response = libc::seccomp_notif_resp {
            id: request.id,
            val: 0,
            error: -errno.unwrap_or(0),
            flags: flags as u32,
        };
        // SAFETY: the request reads one seccomp_notif_resp.
        unsafe { libc::ioctl(listener.as_raw_fd(), SEND as _, &mut response) };
    }
}
