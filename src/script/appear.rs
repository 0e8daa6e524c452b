//! The last steps: from the user to the program, in sight of others.

use super::after_filter::{LAST_OF_AGENT, LISTENER, Needed};
use super::op::{Listener, Op};
use super::rights::{Birth, Last, late_file_limits, late_process_limits};
use super::steps::Steps;
use crate::model::creds::{Caps, Creds};
use crate::model::plan::Plan;
use crate::model::process::Process;
use crate::seccomp::{Filter, NATIVE};

/// A process of the container, from the user to the program.
pub(super) fn steps(steps: &mut Steps, plan: &Plan, process: &Process, last: &Last) {
    // Hooks with their environment, paths of the host: nobody who looks shall find them.
    steps.push(Op::ForgetPlan);
    // Nothing is opened from here on but close-on-exec.
    steps.push(Op::CloseFrom(last.keep_below));
    let waiting = waiting(plan, process, last);
    to_program(steps, &process.creds, plan.seccomp.as_ref(), waiting, last);
}

/// From the user to the program, where `waiting` is what remains to be done. Nobody of the
/// container sees the process before it has the rights of the program and no others: a peer with
/// CAP_SYS_PTRACE could use whatever it still has.
///
/// The filter comes before that as well, if it lets through what is still to be done; otherwise
/// right before execve(2). Without no_new_privs it needs CAP_SYS_ADMIN (seccomp(2)), which then is
/// all that is held longer.
pub(super) fn to_program(
    steps: &mut Steps,
    creds: &Creds,
    filter: Option<&Filter>,
    waiting: Steps,
    last: &Last,
) {
    let (caps, privileged) = (creds.caps, !creds.no_new_privileges);
    let drop_caps = |before_filter, verify| Op::Capabilities { caps, before_filter, verify };
    let after = waiting.0.iter().map(|step| &step.op).chain(privileged.then_some(&CAPABILITIES));
    let early = filter.is_some_and(|filter| {
        // An agent is told of the process itself, who is not there before its birth.
        !(filter.notify && last.birth.is_some()) && passes_all(filter, after, last.end)
    });
    let seccomp = filter.map(|filter| Op::Seccomp {
        program: filter.program.clone(),
        flags: filter.flags,
        privileged,
        listener: match (filter.notify, early) {
            (false, _) => Listener::None,
            (true, true) => Listener::Sent,
            (true, false) => Listener::Taken,
        },
    });
    let (early, late) = if early { (seccomp, None) } else { (None, seccomp) };

    if privileged {
        if let Some(filter) = early {
            steps.at(filter, "linux.seccomp");
        }
        steps.at(drop_caps(late.is_some(), true), "process.capabilities");
    } else {
        steps.at(drop_caps(false, true), "process.capabilities");
        steps.at(Op::NoNewPrivileges, "process.noNewPrivileges");
        if let Some(filter) = early {
            steps.at(filter, "linux.seccomp");
        }
    }
    steps.0.extend(waiting.0);
    if let Some(load) = late {
        if last.unprivileged && filter.is_some_and(|filter| filter.notify) {
            steps.at(Op::Dumpable(true), "linux.seccomp");
        }
        steps.at(load, "linux.seccomp");
        if privileged {
            steps.at(drop_caps(false, false), "process.capabilities");
        }
    }
}

/// Any of them: only what calls it makes counts.
const CAPABILITIES: Op = Op::Capabilities {
    caps: Caps { bounding: 0, effective: 0, permitted: 0, inheritable: 0, ambient: 0 },
    before_filter: false,
    verify: true,
};

/// What is done in sight of the container.
fn waiting(plan: &Plan, process: &Process, last: &Last) -> Steps {
    let mut steps = Steps::default();
    if let Some(Birth { copy }) = last.birth {
        steps.push(Op::Appear);
        steps.at(Op::EnterPidNamespace { copy }, "linux.namespaces");
        steps.push(Op::Introduce);
    }
    steps.at(Op::NewSession { terminal: process.terminal }, "process.terminal");
    late_process_limits(&mut steps, process, last);
    if last.birth.is_some() {
        steps.at(Op::Cwd { path: process.cwd.clone(), last: true }, "process.cwd");
        if !process.args.is_empty() {
            steps.at(Op::FindProgram { last: true }, "process.args");
        }
    }
    if last.gate.is_some() && plan.unprivileged {
        // An exec by the same ordinary user may join a process that waits at the gate only
        // when it may be traced (setns(2)). It has nothing of the host's open by now.
        steps.push(Op::Dumpable(true));
    }
    steps.push(Op::Ready);
    if let Some(fifo) = last.gate {
        steps.push(Op::Gate(fifo));
    }
    late_file_limits(&mut steps, process, last);
    steps.push(Op::ResetSignals);
    steps
}

/// Whether the filter lets everything through that comes after it, without asking an agent.
fn passes_all<'a>(
    filter: &Filter,
    mut after: impl Iterator<Item = &'a Op>,
    end: &[Needed],
) -> bool {
    let passes = |needed: &Needed| {
        let first = [needed.first, None, None, None, None, None];
        filter.lets_through(NATIVE, needed.name, first)
    };
    let of_agent = |needed: &&Needed| filter.notify && LAST_OF_AGENT.contains(&needed.name);
    let listener = if filter.notify { LISTENER } else { &[] };
    end.iter().filter(|needed| !of_agent(needed)).chain(listener).all(passes)
        && after.all(|op| op.calls_after_filter().is_some_and(|calls| calls.iter().all(passes)))
}
