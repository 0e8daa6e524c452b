//! How a hook ended, and how that reads.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::stage::What;
use crate::child::Failure as Failed;
use crate::error::errno_text;
use crate::script::Script;
use crate::script::call::Call;
use crate::script::hints::hint;

/// The end of a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// exit(2) with this code.
    Exited(i32),
    /// Killed by this signal, not by us.
    Killed(i32),
    /// It could not be started.
    Failed(What, Errno),
    /// A step of its script has failed.
    Step(Failed),
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
        let words = record.as_chunks().0.iter().copied().map(i32::from_ne_bytes);
        let words: Vec<i32> = words.collect();
        let [what, number, call] = words[..] else { return Outcome::Lost };
        match What::ALL.into_iter().find(|known| *known as i32 == what) {
            Some(What::Exited) => Outcome::Exited(number),
            Some(What::Killed) => Outcome::Killed(number),
            Some(What::Step) => {
                let call = u8::try_from(call).ok().and_then(Call::from_byte).unwrap_or(Call::None);
                Outcome::Step(Failed { errno: Errno::from_raw(number), call, part: 0 })
            }
            Some(call) => Outcome::Failed(call, Errno::from_raw(number)),
            None => Outcome::Lost,
        }
    }

    pub(super) fn is_success(self) -> bool {
        self == Outcome::Exited(0)
    }

    /// What to say, unless it succeeded. `step` is where in its script the hook was, or would be
    /// executed.
    pub(super) fn failure(
        self,
        timeout: Option<Duration>,
        script: &Script,
        step: usize,
    ) -> Option<Failure> {
        let mut what_helps = None;
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
            Outcome::Failed(what, errno) => format!("{}: {}", doing(what), errno_text(errno)),
            Outcome::Step(Failed { errno, call: Call::Exec, .. }) => {
                if errno == Errno::ENOENT {
                    what_helps = Some("the file, or the interpreter that it names, does not exist");
                }
                format!("execute it: {}", errno_text(errno))
            }
            Outcome::Step(Failed { errno, call, .. }) => {
                what_helps = script.op(step).and_then(|op| hint(op, call, errno));
                format!("{}: {}", script.describe_failure(step, call), errno_text(errno))
            }
        };
        Some(Failure { text, hint: what_helps })
    }
}

fn doing(what: What) -> &'static str {
    match what {
        What::Exited | What::Killed | What::Step | What::Wait => "wait for it",
        What::Isolate => "set up its process",
        What::Fork => "make its process",
    }
}

fn signal_name(signal: i32) -> String {
    match Signal::try_from(signal) {
        Ok(Signal::SIGSYS) => "SIGSYS (bad system call)".to_owned(),
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) => format!("signal {signal}"),
    }
}
