//! A connection: one socket, no thread, and a deadline on everything.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, send, socket,
};

use super::address::Address;
use super::message::{self, Call, HEAD, Incoming};
use crate::sys::io;

/// Longest answer to the authentication that is read.
const LONGEST_GREETING: usize = 4096;

/// A connection to a bus, or to somebody without one in between.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    deadline: Instant,
    serial: u32,
    /// Bytes that are to be sent.
    out: Vec<u8>,
    /// Bytes that have come, up to the end of a message at most.
    inbox: Vec<u8>,
}

impl Connection {
    /// Connects and authenticates as whoever the kernel says that we are. Nothing on this
    /// connection takes longer than until `deadline`: it is `ETIMEDOUT` then.
    pub fn open(address: &Address, deadline: Instant) -> Result<Self, Errno> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        let address = match address {
            Address::Path(path) => UnixAddr::new(path.as_str())?,
            Address::Abstract(name) => UnixAddr::new_abstract(name.as_bytes())?,
        };
        // EAGAIN: more are waiting to be accepted than the other side has asked for.
        while let Err(errno) = connect(socket.as_raw_fd(), &address) {
            match errno {
                Errno::EAGAIN if Instant::now() < deadline => drop(io::poll(&mut [], 10)?),
                Errno::EAGAIN => return Err(Errno::ETIMEDOUT),
                Errno::EINTR => {}
                errno => return Err(errno),
            }
        }
        let (out, inbox) = (Vec::new(), Vec::new());
        let mut connection = Connection { socket, deadline, serial: 0, out, inbox };
        connection.authenticate()?;
        Ok(connection)
    }

    /// "EXTERNAL" with no identity: the other side takes the uid that the kernel tells of
    /// our socket. A number of ours would be wrong in a user namespace.
    fn authenticate(&mut self) -> Result<(), Errno> {
        self.out.extend_from_slice(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
        self.flush()?;
        let mut greeting = Vec::new();
        loop {
            if let Some(end) = greeting.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = greeting.drain(..end + 2).collect();
                match line.split(|byte| byte.is_ascii_whitespace()).next() {
                    Some(b"DATA") => {}
                    Some(b"OK") => break,
                    _ => return Err(Errno::EACCES),
                }
            } else if greeting.len() > LONGEST_GREETING {
                return Err(Errno::EBADMSG);
            } else {
                self.read(&mut greeting, 512)?;
            }
        }
        self.inbox = greeting;
        Ok(())
    }

    /// Makes a call; its serial number. It goes out, with others, when an answer is waited
    /// for.
    pub fn call(&mut self, call: &Call<'_>) -> u32 {
        self.serial += 1;
        self.out.append(&mut call.to_bytes(self.serial));
        self.serial
    }

    /// The next message from the other side. `EBADMSG` for one that breaks the rules, or is
    /// longer than any that we could ask for.
    pub fn receive(&mut self) -> Result<Incoming, Errno> {
        self.flush()?;
        loop {
            // Without a head, how long the message is is not known.
            if let Some(head) = self.inbox.first_chunk::<HEAD>() {
                let wanted = message::length(head).ok_or(Errno::EBADMSG)?;
                if self.inbox.len() >= wanted {
                    let message: Vec<u8> = self.inbox.drain(..wanted).collect();
                    return Incoming::parse(&message).ok_or(Errno::EBADMSG);
                }
            }
            let mut inbox = std::mem::take(&mut self.inbox);
            let received = self.read(&mut inbox, 8192);
            self.inbox = inbox;
            received?;
        }
    }

    fn flush(&mut self) -> Result<(), Errno> {
        let out = std::mem::take(&mut self.out);
        let mut rest = &out[..];
        while !rest.is_empty() {
            match send(self.socket.as_raw_fd(), rest, MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) => rest = &rest[sent..],
                Err(Errno::EAGAIN) => self.wait(libc::POLLOUT)?,
                Err(Errno::EINTR) => {}
                // It has hung up, as when that is noticed at the next read.
                Err(Errno::EPIPE) => return Err(Errno::ECONNRESET),
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Appends what has come, at least one byte and at most `most`.
    fn read(&mut self, to: &mut Vec<u8>, most: usize) -> Result<(), Errno> {
        let mut buffer = [0; 8192];
        let most = most.min(buffer.len());
        loop {
            match recv(self.socket.as_raw_fd(), &mut buffer[..most], MsgFlags::empty()) {
                Ok(0) => return Err(Errno::ECONNRESET),
                Ok(length) => {
                    to.extend_from_slice(&buffer[..length]);
                    return Ok(());
                }
                Err(Errno::EAGAIN) => self.wait(libc::POLLIN)?,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    fn wait(&self, events: i16) -> Result<(), Errno> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left == Duration::ZERO {
            return Err(Errno::ETIMEDOUT);
        }
        let mut fds = [io::interest(self.socket.as_fd().as_raw_fd(), events)];
        io::poll(&mut fds, io::timeout_ms(Some(left))).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// Runs `serve` as the other side, and connects to it. The time is for what hangs.
    fn with_peer(
        name: &str,
        serve: impl FnOnce(std::os::unix::net::UnixStream) + Send + 'static,
    ) -> Result<Connection, Errno> {
        with_peer_for(Duration::from_secs(120), name, serve)
    }

    fn with_peer_for(
        patience: Duration,
        name: &str,
        serve: impl FnOnce(std::os::unix::net::UnixStream) + Send + 'static,
    ) -> Result<Connection, Errno> {
        let path = std::env::temp_dir().join(format!("rt-dbus-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a socket");
        let peer = thread::spawn(move || serve(listener.accept().expect("a client").0));
        let address = Address::Path(path.to_string_lossy().into_owned());
        let result = Connection::open(&address, Instant::now() + patience);
        let _ = std::fs::remove_file(&path);
        if result.is_err() {
            peer.join().expect("the peer");
        }
        result
    }

    fn greet(stream: &mut std::os::unix::net::UnixStream, answer: &[u8]) {
        let mut asked = [0; 29];
        stream.read_exact(&mut asked).expect("a greeting");
        assert_eq!(&asked, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
        stream.write_all(answer).expect("written");
    }

    #[test]
    fn a_greeting_is_answered_or_the_connection_fails_in_time() {
        for (name, answer, errno) in [
            ("reject", &b"REJECTED EXTERNAL\r\n"[..], Errno::EACCES),
            ("garbage", b"\xff\xfe\r\n", Errno::EACCES),
            ("gone", b"DATA\r\nO", Errno::ECONNRESET),
        ] {
            let failed = with_peer(name, move |mut stream| greet(&mut stream, answer));
            assert_eq!(failed.err(), Some(errno), "{name}");
        }
        let slow = with_peer_for(Duration::from_millis(50), "slow", |mut stream| {
            let _ = stream.write_all(b"DATA\r\n");
            let _ = stream.read_to_end(&mut Vec::new());
        });
        assert_eq!(slow.err(), Some(Errno::ETIMEDOUT));
        let endless =
            with_peer("endless", |mut stream| while stream.write_all(&[b'D'; 1024]).is_ok() {});
        assert_eq!(endless.err(), Some(Errno::EBADMSG));
    }

    /// A message that is a head and nothing else is taken, or refused: it does not wait for more
    /// while all that comes is kept.
    #[test]
    fn a_head_alone_is_a_message() {
        // A kind that may come to be, which is to be ignored, and an answer to nothing.
        let head = |kind| [b'l', kind, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        let mut connection = with_peer("heads", move |mut stream| {
            greet(&mut stream, b"DATA\r\nOK 0123\r\n");
            for _ in 0..1000 {
                stream.write_all(&head(9)).expect("written");
            }
            stream.write_all(&head(2)).expect("written");
            let _ = stream.read(&mut [0]);
        })
        .expect("connected");
        for number in 0..1000 {
            assert_eq!(connection.receive().map(|message| message.kind), Ok(None), "{number}");
            assert!(connection.inbox.len() <= 8192, "{}", connection.inbox.len());
        }
        assert_eq!(connection.receive(), Err(Errno::EBADMSG));
    }

    #[test]
    fn messages_come_in_pieces_and_too_long_ones_not_at_all() {
        let reply = {
            let call = Call {
                destination: "",
                path: "/",
                interface: "a.b",
                member: "M",
                arguments: vec![],
            };
            call.to_bytes(1)
        };
        let mut long = reply.clone();
        long[6] = 255;
        let mut connection = with_peer("pieces", move |mut stream| {
            greet(&mut stream, b"DATA\r\nOK 0123\r\n");
            for byte in &reply {
                stream.write_all(&[*byte]).expect("written");
            }
            stream.write_all(&reply).expect("written");
            stream.write_all(&long).expect("written");
            let _ = stream.read(&mut [0]);
        })
        .expect("connected");
        for _ in 0..2 {
            assert_eq!(connection.receive().expect("a message").member, "M");
        }
        assert_eq!(connection.receive(), Err(Errno::EBADMSG));
    }
}
