//! Handing a descriptor to the caller: the terminal (`--console-socket`) and the pidfd
//! (`--pidfd-socket`). One message on a stream socket of the caller's.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::termios::{OutputFlags, SetArg, tcgetattr, tcsetattr};

use crate::error::{Doing, Error, Kind, Result};
use crate::sys::{RawFd, fd, fs, io, pty, sock};

/// How long the caller may take: it has asked for the descriptor, so it is there.
const PATIENCE: Duration = Duration::from_secs(10);

/// The kernel takes this much as a whole or not at all.
const PIECE: usize = 16 << 10;

/// Whether the terminal that the process wants can be given to somebody. `otherwise` is how to do
/// without.
pub fn check(terminal: bool, detach: bool, socket: bool, otherwise: &str) -> Result<()> {
    decide(terminal, detach, socket, otherwise)?;
    if terminal && !detach {
        return somebody_is_there(otherwise);
    }
    if !terminal && detach && pty::size(libc::STDIN_FILENO).is_ok() {
        tracing::warn!(
            "standard input is a terminal: the container reads what is typed for the caller, too; \
             start it with </dev/null"
        );
    }
    Ok(())
}

/// Somebody who types, or a pipe, a socket or a file that does: with neither, as in a cron job,
/// a shell would show its prompt to nobody and wait for ever.
fn somebody_is_there(otherwise: &str) -> Result<()> {
    let is_terminal = |fd: &RawFd| pty::size(*fd).is_ok();
    let stdio = [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO];
    let stdin = fs::fstat(libc::STDIN_FILENO).map(|stat| stat.st_mode & libc::S_IFMT);
    let types = stdin.is_ok_and(|kind| kind != libc::S_IFCHR);
    if types || stdio.iter().any(is_terminal) {
        return Ok(());
    }
    let text = "cannot allocate tty: none of standard input, output and error is a terminal";
    let hint = format!("{otherwise}, or give it its input by a pipe or a file");
    Err(Error::new(text).kind(Kind::Invalid).hint(hint))
}

fn decide(terminal: bool, detach: bool, socket: bool, otherwise: &str) -> Result<()> {
    let refuse = |what: &str| Err(Error::new(what).kind(Kind::Invalid));
    match (terminal, detach, socket) {
        (true, true, false) => {
            let text = "cannot allocate tty if rt will detach without setting console socket";
            let hint = format!("{otherwise}, or give --console-socket");
            Err(Error::new(text).kind(Kind::Invalid).hint(hint))
        }
        (false, _, true) | (_, false, true) => {
            refuse("cannot use console socket if rt will not detach or allocate tty")
        }
        _ => Ok(()),
    }
}

/// Makes the container's terminal fit the caller's stdin, before any program can look at it: as
/// large, if that is a terminal. If not, it does not write `\r\n` for `\n`, since what comes out
/// goes to a file or a pipe then; a real terminal on the other side is made raw and gets both
/// characters as they are.
pub fn fit(master: &OwnedFd) -> Result<()> {
    if let Ok(size) = pty::size(libc::STDIN_FILENO) {
        return resize(master, size).doing(|| "set the size of the terminal");
    }
    let set = || {
        let mut mode = tcgetattr(master)?;
        mode.output_flags.remove(OutputFlags::ONLCR);
        tcsetattr(master, SetArg::TCSANOW, &mode)
    };
    set().doing(|| "set up the terminal")
}

/// The terminal goes to whoever has asked for it, or back to us.
pub(super) fn hand_over_terminal(
    socket: Option<&Socket>,
    master: OwnedFd,
    number: u32,
) -> Result<Option<OwnedFd>> {
    match socket {
        Some(socket) => {
            socket.send(master.as_fd(), format!("/dev/pts/{number}").as_bytes()).map(|()| None)
        }
        None => fit(&master).map(|()| Some(master)),
    }
}

/// Rows and columns of the caller's terminal become the container's; none are known of a serial
/// line, and `process.consoleSize` stays then.
pub fn resize(master: &OwnedFd, (rows, columns): (u16, u16)) -> Result<(), Errno> {
    match (rows, columns) {
        (0, 0) => Ok(()),
        _ => pty::set_size(master.as_raw_fd(), rows, columns),
    }
}

/// A connection to the caller's socket, made before anything else: a mistake in the path
/// costs nothing then.
#[derive(Debug)]
pub struct Socket {
    socket: OwnedFd,
    path: PathBuf,
}

impl Socket {
    /// Connects to what the command line names. A link at the end of the path is not followed: in
    /// a directory that others write to, it would lead to a socket of their choice.
    pub fn connect(path: &Path) -> Result<Self> {
        Socket::connect_to(path, libc::O_NOFOLLOW)
    }

    /// Connects to what the configuration names, wherever that leads.
    pub fn connect_through_links(path: &Path) -> Result<Self> {
        Socket::connect_to(path, 0)
    }

    /// A relative path counts from the current directory, and one longer than the 107 bytes of
    /// unix(7) is as good as any other.
    fn connect_to(path: &Path, links: i32) -> Result<Self> {
        let what = || format!("connect to the socket {}", path.display());
        let target = open(path, links)?;
        let kind = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Stream, kind, None).doing(what)?;
        let link = format!("/proc/self/fd/{}", target.as_raw_fd());
        let address = UnixAddr::new(link.as_str()).doing(what)?;
        let give_up = Instant::now() + PATIENCE;
        loop {
            match connect(socket.as_raw_fd(), &address) {
                Ok(()) => return Ok(Socket { socket, path: path.to_owned() }),
                // The queue of the listener is full.
                Err(Errno::EAGAIN) if Instant::now() < give_up => {
                    io::poll(&mut [], 10).doing(what)?;
                }
                Err(Errno::EAGAIN) => {
                    let text =
                        format!("the listener did not accept within {} s", PATIENCE.as_secs());
                    return Err(Error::new(what()).detail(text));
                }
                Err(Errno::ECONNREFUSED) => {
                    let error = Error::new(what()).errno(Errno::ECONNREFUSED);
                    return Err(error.hint("nobody listens on it"));
                }
                Err(errno) => return Err(errno).doing(what),
            }
        }
    }

    /// Sends the descriptor with its name, or with a longer text. Nobody has to read it
    /// before `rt` goes away, unless the text is longer than the socket's buffer.
    pub fn send(&self, fd: BorrowedFd<'_>, text: &[u8]) -> Result<()> {
        let what = || format!("send a descriptor to the socket {}", self.path.display());
        // Whoever receives it expects one as it comes from open(2).
        io::set_nonblocking(fd, false).doing(what)?;
        let give_up = Instant::now() + PATIENCE;
        let (first, rest) = text.split_at(text.len().min(PIECE));
        self.push(first, Some(fd.as_raw_fd()), give_up).doing(what)?;
        rest.chunks(PIECE).try_for_each(|piece| self.push(piece, None, give_up)).doing(what)
    }

    fn push(&self, piece: &[u8], fd: Option<RawFd>, give_up: Instant) -> Result<(), Errno> {
        loop {
            match sock::send(self.socket.as_raw_fd(), piece, fd) {
                Err(Errno::EAGAIN) if Instant::now() < give_up => {
                    let mut fds = [io::interest(self.socket.as_raw_fd(), libc::POLLOUT)];
                    io::poll(&mut fds, 100)?;
                }
                other => return other,
            }
        }
    }
}

/// The socket itself, so that its name may be of any length.
fn open(path: &Path, links: i32) -> Result<OwnedFd> {
    let what = || format!("open the socket {}", path.display());
    let c_path = std::ffi::CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Errno::EINVAL)
        .doing(what)?;
    let target = fs::openat(libc::AT_FDCWD, &c_path, libc::O_PATH | links, 0);
    let target = target.map(fd::own).doing(what)?;
    let mode = fs::fstat(target.as_raw_fd()).doing(what)?.st_mode;
    if mode & libc::S_IFMT == libc::S_IFLNK {
        return Err(Error::new(what()).detail("it is a symbolic link: name the socket itself"));
    }
    if mode & libc::S_IFMT != libc::S_IFSOCK {
        return Err(Error::new(what()).detail("it is not a socket"));
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_terminal_needs_somebody_to_have_it() {
        for (terminal, detach, socket, fine) in [
            (false, false, false, true),
            (false, true, false, true),
            (true, false, false, true),
            (true, true, true, true),
            (true, true, false, false),
            (true, false, true, false),
            (false, true, true, false),
            (false, false, true, false),
        ] {
            let case = format!("{terminal} {detach} {socket}");
            assert_eq!(decide(terminal, detach, socket, "").is_ok(), fine, "{case}");
        }
    }

    fn socket_here(path: &Path) -> OwnedFd {
        let kind = SockFlag::SOCK_CLOEXEC;
        let idle = socket(AddressFamily::Unix, SockType::Stream, kind, None).expect("a socket");
        let address = UnixAddr::new(path).expect("an address");
        nix::sys::socket::bind(idle.as_raw_fd(), &address).expect("bound");
        idle
    }

    #[test]
    fn a_descriptor_goes_through_a_socket_with_a_long_name() {
        let directory = std::env::temp_dir().join(format!("rt-console-{}", std::process::id()));
        let deep = directory.join("d".repeat(150));
        std::fs::create_dir_all(&deep).expect("directories");
        let path = deep.join("socket");
        let short = directory.join("s");
        let listener = UnixListener::bind(&short).expect("a listener");
        std::fs::rename(&short, &path).expect("renamed");
        let socket = Socket::connect(&path).expect("connected");
        let (reader, _writer) = io::pipe().expect("a pipe");
        socket.send(reader.as_fd(), b"/dev/pts/7").expect("sent");
        let (accepted, _) = listener.accept().expect("accepted");
        let mut name = [0; 64];
        let (length, fd) = sock::receive(accepted.as_raw_fd(), &mut name).expect("received");
        assert_eq!(&name[..length], b"/dev/pts/7");
        fs::close(fd.expect("a descriptor"));
        // Bound, but nobody listens.
        let idle = socket_here(&short);
        let error = Socket::connect(&short).expect_err("refused").to_string();
        assert!(error.contains("nobody listens on it"), "{error}");
        let error = Socket::connect(&directory).expect_err("refused").to_string();
        assert!(error.ends_with("it is not a socket"), "{error}");
        drop(idle);
        let _ = std::fs::remove_dir_all(&directory);
    }
}
