//! How a hook ended, and how that reads.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::stage::What;
use crate::error::errno_text;

/// The end of a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// exit(2) with this code.
    Exited(i32),
    /// Killed by this signal, not by us.
    Killed(i32),
    /// It could not be started.
    Failed(What, Errno),
    /// It took too long.
    TimedOut,
    /// `rt` was told to stop.
    Interrupted(i32),
    /// Its supervisor was killed.
    Lost,
}

/// Why a hook has failed.
pub(super) struct Failure {
    pub(super) text: String,
    pub(super) hint: Option<&'static str>,
}

impl Outcome {
    /// Reads what the stage wrote; nothing when it could not write any more.
    pub(super) fn from_record(record: &[u8]) -> Self {
        let [w0, w1, w2, w3, n0, n1, n2, n3] = *record else { return Outcome::Lost };
        let (what, number) =
            (i32::from_ne_bytes([w0, w1, w2, w3]), i32::from_ne_bytes([n0, n1, n2, n3]));
        match What::ALL.into_iter().find(|known| *known as i32 == what) {
            Some(What::Exited) => Outcome::Exited(number),
            Some(What::Killed) => Outcome::Killed(number),
            Some(call) => Outcome::Failed(call, Errno::from_raw(number)),
            None => Outcome::Lost,
        }
    }

    pub(super) fn is_success(self) -> bool {
        self == Outcome::Exited(0)
    }

    /// What to say, unless it succeeded.
    pub(super) fn failure(self, timeout: Option<Duration>) -> Option<Failure> {
        let mut hint = None;
        let text = match self {
            Outcome::Exited(0) => return None,
            Outcome::Exited(code) => format!("exit status {code}"),
            Outcome::Killed(signal) => format!("killed by {}", signal_name(signal)),
            Outcome::TimedOut => {
                let seconds = timeout.unwrap_or_default().as_secs();
                format!("did not end within its timeout of {seconds} s and was killed")
            }
            Outcome::Interrupted(signal) => {
                format!("was killed because rt got {}", signal_name(signal))
            }
            Outcome::Lost => "its supervising process was killed".to_owned(),
            Outcome::Failed(call, errno) => {
                if (call, errno) == (What::Exec, Errno::ENOENT) {
                    hint = Some("the file, or the interpreter that it names, does not exist");
                }
                format!("{}: {}", doing(call), errno_text(errno))
            }
        };
        Some(Failure { text, hint })
    }
}

fn doing(call: What) -> &'static str {
    match call {
        What::Exited | What::Killed | What::Wait => "wait for it",
        What::Isolate => "set up its process",
        What::Chdir => "enter its working directory",
        What::Stdio => "set up its stdin, stdout and stderr",
        What::Join => "join the container's namespaces",
        What::Root => "enter the container's root",
        What::BecomeRoot => "become root of the container's user namespace",
        What::Fork => "make its process",
        What::Exec => "execute it",
        What::Rights => "give it the rights of the container's process",
    }
}

fn signal_name(signal: i32) -> String {
    match Signal::try_from(signal) {
        Ok(Signal::SIGSYS) => "SIGSYS (bad system call)".to_owned(),
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) => format!("signal {signal}"),
    }
}
