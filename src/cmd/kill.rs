//! `rt kill ID [SIGNAL]`.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::not_running;
use crate::error::{Doing, Error, Kind, Result};
use crate::state::{Container, Id, StateRoot};
use crate::sys::pidfd;

/// Sends `signal` to init. SIGKILL, and with `all` every signal, goes to all processes
/// of the container's cgroup: with a shared pid namespace the death of init alone
/// would leave the others behind.
pub fn kill(root: &StateRoot, id: &Id, signal: i32, all: bool) -> Result<()> {
    let container = Container::load(root, id)?;
    let init = container.init()?;
    let reached = match (all, signal) {
        // In a cgroup that was there before: one by one, and init wherever it has moved to.
        (true, libc::SIGKILL) if matches!(container.own_cgroup(), Ok(None)) => {
            signal_all(&container, init.as_ref(), signal)? | send(init.as_ref(), signal)?
        }
        (_, libc::SIGKILL) => kill_all(&container, init.as_ref())?,
        (true, _) => signal_all(&container, init.as_ref(), signal)?,
        (false, _) => send(init.as_ref(), signal)?,
    };
    // What is gone already is no failure for those who want nothing to be left.
    if reached || all { Ok(()) } else { Err(not_running(id)) }
}

/// Ends every process of the container; whether there was one.
pub(super) fn kill_all(container: &Container, init: Option<&OwnedFd>) -> Result<bool> {
    // First of all, for where the cgroup cannot be written, or is not even mounted; and wherever in
    // the tree init has moved to.
    let reached = send(init, libc::SIGKILL)?;
    match kill_cgroup(container, reached) {
        // With init goes all of its pid namespace.
        Err(error) if reached => {
            tracing::warn!("{}", error.within("only the container's first process was killed"));
            Ok(true)
        }
        found => found.map(|found| found | reached),
    }
}

fn kill_cgroup(container: &Container, known: bool) -> Result<bool> {
    let Some(cgroup) = container.own_cgroup()? else { return Ok(false) };
    let found = known || !cgroup.pids()?.is_empty();
    if found {
        cgroup.kill()?;
    }
    Ok(found)
}

/// Signals each process of the cgroup; whether there was one. It was empty when the container
/// came, also if it is not its own.
///
/// A pid read from the cgroup may belong to somebody else once it is opened. So the
/// list is read again then: who is still in it is the process that was opened, or a
/// later one of ours under the same pid, and then the descriptor reaches nobody.
fn signal_all(container: &Container, init: Option<&OwnedFd>, signal: i32) -> Result<bool> {
    let Some(cgroup) = container.cgroup()? else {
        return send(init, signal);
    };
    let mut opened = Vec::new();
    for pid in cgroup.pids()? {
        match pidfd::open(pid) {
            Err(Errno::ESRCH) => {}
            other => opened.push((pid, other.doing(|| format!("open process {pid}"))?)),
        }
    }
    let still = cgroup.pids()?;
    let mut found = false;
    for (pid, fd) in opened.iter().filter(|(pid, _)| still.contains(pid)) {
        found |= send(Some(fd), signal).map_err(|error| error.within(format!("process {pid}")))?;
    }
    Ok(found)
}

/// Signals a process; whether it was still there.
fn send(process: Option<&OwnedFd>, signal: i32) -> Result<bool> {
    let Some(process) = process else { return Ok(false) };
    match pidfd::send_signal(process.as_fd(), signal) {
        Ok(()) => Ok(true),
        Err(Errno::ESRCH) => Ok(false),
        Err(errno) => Err(errno).doing(|| format!("send signal {signal}")),
    }
}

/// The number of a signal given by number, or by name with or without `SIG`.
pub fn parse_signal(text: &str) -> Result<i32> {
    let unknown = || Error::new(format!("unknown signal {text:?}")).kind(Kind::Invalid);
    if text.bytes().all(|c| c.is_ascii_digit()) {
        return text.parse().ok().filter(|number| *number <= RTMAX).ok_or_else(unknown);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*number);
    }
    real_time(name).filter(|number| (RTMIN..=RTMAX).contains(number)).ok_or_else(unknown)
}

/// The first real-time signal as kill(1) counts: C libraries keep those below.
const RTMIN: i32 = 34;
/// The last signal of the kernel.
const RTMAX: i32 = 64;

/// `RTMIN`, `RTMIN+n`, `RTMAX`, `RTMAX-n`.
fn real_time(name: &str) -> Option<i32> {
    let offset = |text: &str, sign: char| match text.strip_prefix(sign) {
        Some(digits) if digits.bytes().all(|c| c.is_ascii_digit()) => digits.parse::<i32>().ok(),
        None if text.is_empty() => Some(0),
        _ => None,
    };
    match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => RTMIN.checked_add(offset(rest, '+')?),
        (_, Some(rest)) => RTMAX.checked_sub(offset(rest, '-')?),
        _ => None,
    }
}

/// signal(7); the numbers differ between architectures.
const NAMES: &[(&str, i32)] = &[
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("IOT", libc::SIGIOT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGPOLL),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        let cases = [
            ("9", 9),
            ("0", 0),
            ("64", 64),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("Hup", 1),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-14", 50),
            ("SIGRTMAX", 64),
        ];
        for (text, number) in cases {
            assert_eq!(parse_signal(text).expect(text), number, "{text}");
        }
    }

    #[test]
    fn what_is_no_signal() {
        let all = ["", "SIG", "65", "-9", "+9", "9x", "NOSUCH", "RTMIN+31", "RTMIN++1", "RTMAX-31"];
        for text in all.into_iter().chain(["RTMIN-1", "RTMAX+1", "99999999999"]) {
            let error = parse_signal(text).expect_err(text).to_string();
            assert_eq!(error, format!("unknown signal {text:?}"));
        }
    }
}
