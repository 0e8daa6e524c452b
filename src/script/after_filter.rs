//! Which system calls the operations make that may come after the container's filter.
//!
//! The filter is loaded before anybody of the container can see the process, if it lets all of these
//! through; otherwise right before execve(2) (`script::appear`).

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use super::op::Op;
use crate::sys::clone::REBORN_FLAGS;

/// A system call and its first argument, where a filter may look at that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needed {
    /// Its name.
    pub name: &'static str,
    /// The first argument, where it is always the same.
    pub first: Option<u64>,
}

const fn any(name: &'static str) -> Needed {
    Needed { name, first: None }
}

/// aarch64 and riscv64 have no poll(2); their C libraries use this.
const POLL: &str = if ::core::cfg!(target_arch = "x86_64") { "poll" } else { "ppoll" };

/// What comes last for a process of the container: the program, or the report that it cannot be
/// executed.
pub const LAST: &[Needed] = &[any("execve"), any("write"), any("sendmsg"), any("exit_group")];

/// What comes last for a hook, by the path of its program.
pub const LAST_OF_HOOK: &[Needed] = &[any("execve"), any("write"), any("exit_group")];

/// What comes last for a hook whose program is open already.
pub const LAST_OF_OPENED: &[Needed] =
    &[any("execveat"), any("fcntl"), any("write"), any("exit_group")];

/// Those of [`LAST`] that an agent may be asked for: they come when it has had the listener for long,
/// and nobody waits for what follows them.
pub const LAST_OF_AGENT: &[&str] = &["execve", "write"];

const TALK: &[Needed] = &[any("sendmsg"), any("recvmsg")];
/// What sending the seccomp listener takes.
pub const LISTENER: &[Needed] = &[any("sendmsg"), any("recvmsg"), any("close")];
const BIRTH: &[Needed] = &[Needed { name: "clone", first: Some(REBORN_FLAGS) }, any("exit_group")];
const COPY: &[Needed] = &[any("clone3"), any("exit_group")];
const TELL: &[Needed] = &[any("sendmsg")];
const DEATH: &[Needed] = &[any("prctl"), any(POLL), any("exit_group")];
const SESSION: &[Needed] = &[any("setsid")];
const TERMINAL: &[Needed] = &[any("setsid"), any("ioctl")];
const DUMPABLE: &[Needed] = &[any("prctl")];
const CAPABILITIES: &[Needed] = &[any("prctl"), any("capset"), any("capget")];
const RLIMIT: &[Needed] = &[any("prlimit64")];
/// A stopped or frozen process goes on with its poll(2) by restart_syscall(2).
const GATE: &[Needed] = &[
    any("signalfd4"),
    any(POLL),
    any("restart_syscall"),
    any("read"),
    any("close"),
    any("exit_group"),
];
const SIGNALS: &[Needed] = &[any("rt_sigaction"), any("rt_sigprocmask")];

impl Op {
    /// The calls of an operation that can come after the filter; `None` for one that never does.
    pub fn calls_after_filter(&self) -> Option<&'static [Needed]> {
        Some(match self {
            Op::Appear | Op::Ready => TALK,
            Op::EnterPidNamespace { copy: false } => BIRTH,
            Op::EnterPidNamespace { copy: true } => COPY,
            Op::Introduce => TELL,
            Op::DieWithParent => DEATH,
            Op::NewSession { terminal: false } => SESSION,
            Op::NewSession { terminal: true } => TERMINAL,
            Op::Dumpable(_) => DUMPABLE,
            Op::Capabilities { .. } => CAPABILITIES,
            Op::Rlimit { .. } => RLIMIT,
            // Looks only where it has not found it before the filter.
            Op::FindProgram { .. } | Op::Cwd { .. } => &[],
            Op::Gate(_) => GATE,
            Op::ResetSignals => SIGNALS,
            _ => return None,
        })
    }
}
