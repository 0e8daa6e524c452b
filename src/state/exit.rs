//! Why a container ended, as far as that can still be known. The exit status of a process
//! belongs to its parent, which for a detached container is an engine's monitor: `rt` has it
//! when it was the parent itself (`run --keep`), or as long as the parent has not asked for
//! it. What the kernel has killed for want of memory is counted in the cgroup until that is
//! deleted.

use serde::{Deserialize, Serialize};

use super::Container;
use crate::cgroup::stats;
use crate::error::{Doing, Result};
use crate::sys::pidfd::Exit;
use crate::sys::proc;

/// The end of the first process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ending {
    /// exit(2) with this code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// Killed by this signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
}

impl From<Exit> for Ending {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Code(code) => Ending { code: Some(code), signal: None },
            Exit::Signal(signal) => Ending { code: None, signal: Some(signal) },
        }
    }
}

/// Why a container has stopped, for `rt state`.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// `exited`, `signaled` or `oom`.
    pub reason: &'static str,
    #[serde(flatten)]
    ending: Ending,
    /// How many processes of the container the kernel has killed for want of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    oom_kills: Option<u64>,
}

impl Why {
    /// Of a container that has stopped; `None` when nobody knows.
    pub fn of(container: &Container) -> Result<Option<Self>> {
        let ending = match container.record.ending {
            None => unclaimed(container)?,
            known => known,
        };
        let kills = match container.cgroup_in_sight()? {
            Some(cgroup) => stats::memory_events(&cgroup)?.get("oom_kill").copied(),
            None => None,
        };
        Ok(decide(ending, kills.filter(|kills| *kills > 0)))
    }
}

/// The OOM killer kills by SIGKILL. When nobody knows the signal, and it has killed in this
/// cgroup, it is taken for the reason.
pub(super) fn decide(ending: Option<Ending>, oom_kills: Option<u64>) -> Option<Why> {
    let none = Ending { code: None, signal: None };
    let reason = match (ending, oom_kills) {
        (None | Some(Ending { signal: Some(libc::SIGKILL), .. }), Some(_)) => "oom",
        (Some(Ending { signal: Some(_), .. }), _) => "signaled",
        (Some(_), _) => "exited",
        (None, None) => return None,
    };
    Some(Why { reason, ending: ending.unwrap_or(none), oom_kills })
}

/// The exit status of a first process whose parent has not asked for it.
fn unclaimed(container: &Container) -> Result<Option<Ending>> {
    let (Some(init), true) = (&container.record.init, container.is_of_this_boot()?) else {
        return Ok(None);
    };
    let status = proc::exit_status(init.pid, init.start_time);
    let status = status.doing(|| format!("read /proc/{}/stat", init.pid))?;
    Ok(status.map(|status| match status & 0x7f {
        0 => Exit::Code(status >> 8 & 0xff).into(),
        signal => Exit::Signal(signal).into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        let code = |code| Some(Ending::from(Exit::Code(code)));
        let signal = |signal| Some(Ending::from(Exit::Signal(signal)));
        for (ending, kills, reason) in [
            (code(0), None, Some("exited")),
            (code(3), Some(1), Some("exited")),
            (signal(15), Some(1), Some("signaled")),
            (signal(9), None, Some("signaled")),
            (signal(9), Some(1), Some("oom")),
            (None, Some(2), Some("oom")),
            (None, None, None),
        ] {
            let why = decide(ending, kills);
            assert_eq!(why.as_ref().map(|why| why.reason), reason, "{ending:?} {kills:?}");
        }
        let text = |why: Option<Why>| serde_json::to_string(&why).expect("JSON");
        assert_eq!(text(decide(code(3), None)), r#"{"reason":"exited","code":3}"#);
        assert_eq!(text(decide(signal(9), Some(1))), r#"{"reason":"oom","signal":9,"oomKills":1}"#);
    }
}
