//! `rt` in the foreground: waits for the process, hands signals and its terminal on.
//! Process: `rt`, in the namespaces of the host.

use std::io::{stdin, stdout};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::notify::Messenger;
use super::relay::Relay;
use crate::error::{Doing, Result};
use crate::sys::pidfd::{self, Exit};
use crate::sys::signal::{self, Blocked, Mask};
use crate::sys::{fd, io};

/// Waits until the process, a child of ours, has ended.
///
/// Its end is told by its pidfd alone: a lost SIGCHLD cannot hang anything. Signals are to
/// be blocked since before the process was cloned, with [`Blocked::all`] or the same: then
/// none is lost, and those that came meanwhile are handed on as well. Those that the caller has us
/// ignore, as nohup(1) does, stay ignored, although a blocked one would be told of all the same.
pub fn foreground(
    init: BorrowedFd<'_>,
    ignored: Mask,
    terminal: Option<OwnedFd>,
    messenger: Option<&Messenger>,
) -> Result<Exit> {
    let (input, output) = (stdin(), stdout());
    // These two we ignore ourselves.
    let wanted = Mask::ALL.except(ignored.without(&[libc::SIGPIPE, libc::SIGXFSZ]));
    relay(init, wanted, terminal, messenger, input.as_fd(), output.as_fd())
        .doing(|| "wait for the container's process")
}

/// Shows what a process that never became the program has written on its terminal.
pub fn last_words(terminal: OwnedFd) -> Result<()> {
    let (input, output) = (stdin(), stdout());
    let relay = Relay::new(terminal, input.as_fd(), output.as_fd());
    relay.map(|relay| relay.finish(None)).doing(|| "read the container's terminal")
}

fn relay(
    init: BorrowedFd<'_>,
    wanted: Mask,
    terminal: Option<OwnedFd>,
    messenger: Option<&Messenger>,
    stdin: BorrowedFd<'_>,
    stdout: BorrowedFd<'_>,
) -> Result<Exit, Errno> {
    let _blocked = Blocked::all()?;
    let signals = signal::signalfd(wanted).map(fd::own)?;
    let mut relay = terminal.map(|master| Relay::new(master, stdin, stdout)).transpose()?;
    let nothing = [io::interest(-1, 0); 3];
    loop {
        let [a, b, c] = relay.as_mut().map_or(nothing, Relay::interests);
        let timeout = relay.as_ref().map_or(-1, Relay::timeout);
        let ended = io::interest(init.as_raw_fd(), libc::POLLIN);
        let signaled = io::interest(signals.as_raw_fd(), libc::POLLIN);
        let said = messenger.map_or(io::interest(-1, 0), Messenger::interest);
        let mut fds = [ended, signaled, said, a, b, c];
        io::poll(&mut fds, timeout)?;
        let [ended, signaled, said, ready @ ..] = fds;
        // Also the last words.
        if let Some(messenger) = messenger.filter(|_| said.revents | ended.revents != 0) {
            messenger.serve();
        }
        if ended.revents != 0 {
            break;
        }
        if signaled.revents != 0 {
            while let Some(received) = signal::next(signals.as_raw_fd())? {
                forward(init, received, relay.as_mut());
            }
        }
        // Closing the master hangs up: the programs see what they see when a window is closed.
        relay = relay.and_then(|mut relay| relay.serve(ready).then_some(relay));
    }
    // It has ended, so there is something to reap. Before anything else: a zombie of ours, whose
    // output nobody takes, would keep the pid namespace it was in from ending.
    let exit = pidfd::wait(init, false)?.ok_or(Errno::ECHILD)?;
    if let Some(relay) = relay {
        relay.finish(Some(signals.as_fd()));
    }
    Ok(exit)
}

fn forward(init: BorrowedFd<'_>, received: signal::Received, relay: Option<&mut Relay<'_>>) {
    match (received.signal, relay) {
        // These are about us: a child, a socket.
        (libc::SIGCHLD | libc::SIGURG, _) => return,
        (libc::SIGWINCH, Some(relay)) => return relay.resize(),
        (libc::SIGWINCH, None) => return,
        (libc::SIGCONT, Some(relay)) => relay.resume(),
        _ => {}
    }
    // The kernel says SIGPIPE to us when our own stdout is closed.
    if received.sender == std::process::id() {
        return;
    }
    // It may have ended meanwhile, which the next look at the pidfd tells; or it may have
    // become another user, whom we cannot signal.
    if let Err(errno) = pidfd::send_signal(init, received.signal) {
        tracing::debug!(signal = received.signal, %errno, "signal not handed on");
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::os::fd::RawFd;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::sys::c_array::CArray;
    use crate::sys::clone::{self, Side};
    use crate::sys::{cred, fs, pty};

    /// `/bin/sh -c script`, on the terminal if there is one.
    fn shell(script: &str, terminal: Option<RawFd>) -> OwnedFd {
        let list = |texts: &[&str]| {
            CArray::new(texts.iter().map(|text| CString::new(*text).expect("no NUL")).collect())
        };
        let (argv, mut envp) = (list(&["sh", "-c", script]), list(&["PATH=/usr/bin:/bin"]));
        let _blocked = Blocked::all().expect("blocked");
        match clone::clone3(0, None, None).expect("cloned") {
            Side::Child => {
                if let Some(slave) = terminal {
                    let _ = cred::setsid();
                    for fd in 0..3 {
                        let _ = fs::dup3(slave, fd, 0);
                    }
                    let _ = pty::make_controlling(0);
                }
                let _ = fs::close_range(3, u32::MAX, 0);
                let _ = signal::set_mask(Mask::NONE);
                // A shell in the background has it ignored for all that it starts.
                let _ = signal::set_default(libc::SIGINT);
                clone::execve(c"/bin/sh", &argv, &mut envp, None);
                clone::exit(126)
            }
            Side::Parent { pidfd, .. } => fd::own(pidfd),
        }
    }

    /// A terminal of this machine.
    fn terminal() -> (OwnedFd, OwnedFd) {
        let flags = libc::O_RDWR | libc::O_NOCTTY;
        let master = fs::openat(libc::AT_FDCWD, c"/dev/ptmx", flags, 0).expect("a pty");
        pty::unlock(master).expect("unlocked");
        let slave = pty::open_peer(master).expect("its slave");
        (fd::own(master), fd::own(slave))
    }

    fn write(to: &OwnedFd, text: &str) {
        assert_eq!(fs::write(to.as_raw_fd(), text.as_bytes()), Ok(text.len()));
    }

    fn rest(of: &OwnedFd) -> String {
        let mut buffer = vec![0; 65536];
        io::set_nonblocking(of, true).expect("set");
        let length = fs::read(of.as_raw_fd(), &mut buffer).unwrap_or(0);
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn the_exit_code_is_that_of_the_process() {
        for (script, code) in [("exit 7", 7), ("kill -KILL $$", 137), ("true", 0)] {
            let process = shell(script, None);
            let exit = foreground(process.as_fd(), Mask::NONE, None, None).expect("waited");
            assert_eq!(exit.code(), code, "{script}");
        }
    }

    #[test]
    fn what_a_pipe_says_is_typed_and_the_last_words_are_shown() {
        let (master, slave) = terminal();
        let process = shell("stty -echo; cat; echo last words; exit 3", Some(slave.as_raw_fd()));
        drop(slave);
        let (input, typist) = io::pipe().expect("a pipe");
        let (reader, output) = io::pipe().expect("a pipe");
        write(&typist, "one\ntwo");
        drop(typist);
        let exit =
            relay(process.as_fd(), Mask::ALL, Some(master), None, input.as_fd(), output.as_fd());
        assert_eq!(exit, Ok(Exit::Code(3)));
        let shown = rest(&reader);
        assert!(shown.contains("one\r\n") && shown.contains("two"), "{shown:?}");
        assert!(shown.ends_with("last words\r\n"), "{shown:?}");
    }

    #[test]
    fn the_callers_terminal_is_raw_meanwhile_and_the_same_afterwards() {
        let (outer_master, outer) = terminal();
        let (master, slave) = terminal();
        pty::set_size(outer.as_raw_fd(), 33, 99).expect("a size");
        let before = nix::sys::termios::tcgetattr(&outer).expect("settings");
        // Raw mode hands ^C on: it ends the sleep, and the shell goes on.
        let script = "trap 'stty size; exit 5' INT; echo ready; sleep 1000 & wait";
        let process = shell(script, Some(slave.as_raw_fd()));
        drop(slave);
        let typist = std::thread::spawn(move || {
            let mut shown = String::new();
            // For what hangs.
            let give_up = Instant::now() + Duration::from_secs(120);
            for text in ["ready", "33 99"] {
                while !shown.contains(text) && Instant::now() < give_up {
                    shown += &rest(&outer_master);
                    io::poll(&mut [], 5).expect("slept");
                }
                write(&outer_master, "\x03");
            }
            (shown, outer_master)
        });
        let exit =
            relay(process.as_fd(), Mask::ALL, Some(master), None, outer.as_fd(), outer.as_fd());
        assert_eq!(exit, Ok(Exit::Code(5)));
        let (shown, _master) = typist.join().expect("typed");
        assert!(shown.contains("33 99"), "{shown:?}");
        assert_eq!(nix::sys::termios::tcgetattr(&outer).expect("settings"), before);
    }

    #[test]
    fn output_that_nobody_takes_does_not_hang() {
        let (master, slave) = terminal();
        let process = shell("seq 100000; exit 4", Some(slave.as_raw_fd()));
        drop(slave);
        let (input, _typist) = io::pipe().expect("a pipe");
        let (reader, output) = io::pipe().expect("a pipe");
        drop(reader);
        let exit =
            relay(process.as_fd(), Mask::ALL, Some(master), None, input.as_fd(), output.as_fd());
        assert_eq!(exit, Ok(Exit::Code(4)));
    }

    #[test]
    fn nobody_waits_for_those_who_keep_the_terminal_open() {
        let (master, slave) = terminal();
        let script = "trap '' HUP; sleep 1000 & echo $!; exit 6";
        let process = shell(script, Some(slave.as_raw_fd()));
        drop(slave);
        let (input, _typist) = io::pipe().expect("a pipe");
        let (reader, output) = io::pipe().expect("a pipe");
        let exit =
            relay(process.as_fd(), Mask::ALL, Some(master), None, input.as_fd(), output.as_fd());
        assert_eq!(exit, Ok(Exit::Code(6)));
        // Whoever had waited would find it dead.
        let keeper = rest(&reader).trim().parse().expect("a pid");
        let stat = crate::sys::proc::stat(keeper).expect("it is there");
        assert!(!stat.is_dead());
        let keeper = pidfd::open(keeper).expect("it");
        pidfd::send_signal(keeper.as_fd(), libc::SIGKILL).expect("killed");
    }
}
