//! Between clone3 and execve of a hook: the quiet zone (its rules are in [`crate::child`]).
//! Processes: first the stage, a child of `rt`, which stays in the namespaces of `rt`; then a child
//! of the stage, which runs the script of the hook (`script::hook`) and becomes it.

#![no_implicit_prelude]

use ::core::iter::IntoIterator;
use ::core::iter::Iterator;
use ::core::option::Option::{self, None, Some};
use ::core::result::Result::{Err, Ok};
use ::core::sync::atomic::Ordering;
use ::nix::errno::Errno;
use ::std::os::fd::AsRawFd;

use crate::child::Place;
use crate::child::hook::{die_with_parent, wait_for_end};
use crate::script::Script;
use crate::script::call::Call;
use crate::sys::clone::{self, Side};
use crate::sys::page::SharedPage;
use crate::sys::pidfd::{self, Exit};
use crate::sys::{RawFd, cred, fs, memory};

/// The length of a report: what, a number, and the call.
pub(super) const RECORD: usize = 12;

/// What a report is about. Everything from `Isolate` on is something that failed, with its errno.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum What {
    Exited = 1,
    Killed = 2,
    Isolate = 3,
    Fork = 4,
    Wait = 5,
    /// A step of the hook's script, of which the page has the index; with the call.
    Step = 6,
}

impl What {
    pub(super) const ALL: [What; 6] =
        [What::Exited, What::Killed, What::Isolate, What::Fork, What::Wait, What::Step];
}

/// What the stage needs.
pub(super) struct Stage {
    /// What the hook does.
    pub(super) script: Script,
    /// The hook is in another pid namespace than the runtime.
    pub(super) enters_pid_namespace: bool,
    /// The cgroup to be born in.
    pub(super) cgroup: Option<RawFd>,
    /// The host's procfs, where labels are told; -1 for none.
    pub(super) proc: RawFd,
    pub(super) output: RawFd,
    pub(super) report: RawFd,
    /// Where the process that enters the container leaves its step, and the pid of the hook.
    pub(super) page: &'static SharedPage,
}

/// Runs the hook and reports how it ended.
pub(super) fn enter(stage: &mut Stage) -> ! {
    // The memory is a copy of `rt`'s (CVE-2016-9962).
    memory::overwrite_arguments();
    let begun = cred::set_dumpable(false)
        .and_then(|()| cred::set_child_subreaper(true))
        .and_then(|()| die_with_parent(stage.report));
    if let Err(errno) = begun {
        report(stage.report, What::Isolate, errno as i32, Call::None);
        clone::exit(1);
    }
    match clone::clone3(0, None, stage.cgroup) {
        Ok(Side::Child) => become_hook(stage),
        Ok(Side::Parent { pidfd, .. }) => supervise(stage, pidfd),
        Err(errno) => report(stage.report, What::Fork, errno as i32, Call::None),
    }
    // What was left behind by a hook that failed comes to this process, and `rt` finds it
    // here. It kills this process when it is done, and its own death does so too.
    wait_for_end(stage.report, -1);
    clone::exit(1)
}

/// Waits for the hook itself, not for those who hold its output.
fn supervise(stage: &Stage, entrant: RawFd) {
    // Otherwise the output would never end.
    fs::close(stage.output);
    let ended = match pidfd::wait_raw(entrant, false) {
        // It has gone on as another process, in the pid namespace of the container.
        Ok(Some(Exit::Code(0))) if stage.enters_pid_namespace => {
            match pidfd::open(stage.page.pid.load(Ordering::Relaxed) as i32) {
                Ok(hook) => pidfd::wait_raw(hook.as_raw_fd(), false),
                Err(errno) => Err(errno),
            }
        }
        // It has reported why there is no hook.
        Ok(Some(Exit::Code(_))) if stage.enters_pid_namespace => return,
        other => other,
    };
    let (what, number) = match ended {
        Ok(Some(Exit::Code(code))) => (What::Exited, code),
        Ok(Some(Exit::Signal(signal))) => (What::Killed, signal),
        Ok(None) => (What::Wait, Errno::ECHILD as i32),
        Err(errno) => (What::Wait, errno as i32),
    };
    report(stage.report, what, number, Call::None);
    if let (What::Exited, 0) = (what, number) {
        clone::exit(0);
    }
}

/// Enters the container, if there is one, and becomes the program. Where others are in the pid
/// namespace that it enters, they see it with the rights of the program and no others.
fn become_hook(stage: &mut Stage) -> ! {
    let mut place = Place::new(stage.report, stage.proc, stage.page, &stage.script);
    let failure = place.become_program(&mut stage.script);
    report(place.link(), What::Step, failure.errno as i32, failure.call);
    clone::exit(127)
}

fn report(fd: RawFd, what: What, number: i32, call: Call) {
    let mut record = [0u8; RECORD];
    let words = [what as i32, number, call as i32];
    let bytes = words.into_iter().flat_map(i32::to_ne_bytes);
    for (slot, byte) in record.iter_mut().zip(bytes) {
        *slot = byte;
    }
    // Without a reader there is nobody to be told.
    let _ = fs::write(fd, &record);
}
