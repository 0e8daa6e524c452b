//! The one order in which rights are given up, for init and exec alike: from root to the user of the
//! configuration, and from there to the program.

use super::after_filter::{LAST, Needed};
use super::op::Op;
use super::steps::Steps;
use crate::model::creds::Caps;
use crate::model::limits::Rlimit;
use crate::model::plan::Plan;
use crate::model::process::Process;
use crate::seccomp::{Filter, NATIVE};
use crate::sys::{RawFd, sched};

/// What the last steps depend on beside the plan.
pub(super) struct Last {
    pub(super) setgroups: bool,
    pub(super) gate: Option<RawFd>,
    pub(super) keep_below: u32,
    pub(super) unprivileged: bool,
    pub(super) cpus: Cpus,
    /// How the process comes into a pid namespace that has others in it.
    pub(super) birth: Option<Birth>,
}

/// The birth in a pid namespace that others are in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Birth {
    /// With memory of its own: into a time namespace as well.
    pub(super) copy: bool,
}

/// On which processors the process runs.
pub(super) enum Cpus {
    /// On all that its cpuset has, wherever the caller ran.
    All,
    /// As the caller has prepared it.
    Inherited,
    /// On these.
    These(Vec<u64>),
}

/// What the child itself may have to open, or has open, when the limits are set: the socket, the
/// gate, signals, the working directory, a seccomp listener.
pub(super) const OWN_FILES: u32 = 16;

/// Whether the limit would meet the child itself: it comes last of all.
pub(super) fn has_few_files(limit: &Rlimit, last: &Last) -> bool {
    limit.resource == sched::NOFILE && limit.soft < (last.keep_below + OWN_FILES).into()
}

pub(super) fn rlimit(limit: &Rlimit, soft: u64, hard: u64) -> Op {
    Op::Rlimit { resource: limit.resource, name: limit.name.clone(), soft, hard }
}

/// From root to the user, who keeps the permitted capabilities for what is left to do.
///
/// The order is the kernel's: what needs capabilities comes before they go; limits on
/// open files come when nothing more is opened.
pub(super) fn privileges(steps: &mut Steps, plan: &Plan, process: &Process, last: &Last) {
    let (creds, limits) = (&process.creds, &process.limits);
    match &last.cpus {
        Cpus::All => steps.push(Op::AllCpus),
        Cpus::Inherited => {}
        Cpus::These(mask) => steps.at(Op::Cpus(mask.clone()), "process.execCPUAffinity.final"),
    }
    if let Some(policy) = &plan.memory_policy {
        let (mode, nodes) = (policy.mode, policy.nodes.clone());
        steps.at(Op::MemoryPolicy { mode, nodes }, "linux.memoryPolicy");
    }
    if let Some(priority) = limits.io_priority {
        steps.at(Op::IoPriority(priority), "process.ioPriority");
    }
    if let Some(attr) = limits.scheduler
        && (last.birth.is_none() || attr.is_inherited())
    {
        steps.at(Op::Scheduler(attr), "process.scheduler");
    }
    if let Some(persona) = plan.personality {
        steps.at(Op::Personality(persona), "linux.personality");
    }
    steps.at(Op::Cwd { path: process.cwd.clone(), last: false }, "process.cwd");
    if process.wants_home {
        steps.at(Op::Home { uid: creds.uid }, "process.env");
    }
    for limit in &limits.rlimits {
        if counts_processes(limit) && last.birth.is_some() {
            let (resource, hard) = (limit.resource, limit.hard);
            steps.for_field(Op::WidenLimit { resource, hard }, &limit.field);
        } else if !has_few_files(limit, last) {
            steps.for_field(rlimit(limit, limit.soft, limit.hard), &limit.field);
        } else if limit.hard >= (last.keep_below + OWN_FILES).into() {
            // Raising a hard limit needs rights, and lowering it none.
            steps.for_field(rlimit(limit, limit.hard, limit.hard), &limit.field);
        }
    }
    steps.at(Op::OwnStdio { uid: creds.uid }, "process.user");
    steps.at(Op::BoundingSet(creds.caps.bounding), "process.capabilities.bounding");
    let groups = last.setgroups.then(|| creds.groups.clone());
    steps.at(Op::User { uid: creds.uid, gid: creds.gid, groups }, "process.user");
    if (creds.uid, creds.gid) != (0, 0) {
        // The kernel decides anew, by fs.suid_dumpable.
        steps.push(Op::Dumpable(false));
    }
    if creds.uid != 0 && creds.caps.effective != 0 {
        steps.at(Op::Effective(creds.caps.effective), "process.capabilities.effective");
    }
    steps.at(Op::Cwd { path: process.cwd.clone(), last: true }, "process.cwd");
    steps.at(Op::Umask(creds.umask), "process.user.umask");
    if !process.args.is_empty() {
        steps.at(Op::FindProgram { last: last.birth.is_none() }, "process.args");
    }
}

/// From the user to the program. Nobody of the container sees the process before it has the rights
/// of the program and no others: a peer with CAP_SYS_PTRACE could use whatever it still has.
///
/// The filter comes before that as well, if it lets through what is still to be done; otherwise
/// right before execve(2). Without no_new_privs it needs CAP_SYS_ADMIN (seccomp(2)), which then is
/// all that is held longer.
pub(super) fn appear(steps: &mut Steps, plan: &Plan, process: &Process, last: &Last) {
    let creds = &process.creds;
    let (caps, privileged) = (creds.caps, !creds.no_new_privileges);
    let seccomp = plan.seccomp.as_ref().map(|filter| Op::Seccomp {
        program: filter.program.clone(),
        flags: filter.flags,
        privileged,
        notify: filter.notify,
    });
    let waiting = waiting(plan, process, last);
    let drop_caps = |before_filter, verify| Op::Capabilities { caps, before_filter, verify };
    let after = waiting.0.iter().map(|step| &step.op).chain(privileged.then_some(&CAPABILITIES));
    let early = plan.seccomp.as_ref().is_some_and(|filter| passes_all(filter, after));
    let (early, late) = if early { (seccomp, None) } else { (None, seccomp) };

    // Hooks with their environment, paths of the host: nobody who looks shall find them.
    steps.push(Op::ForgetPlan);
    // Nothing is opened from here on but close-on-exec.
    steps.push(Op::CloseFrom(last.keep_below));
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
    if let Some(filter) = late {
        if last.unprivileged && plan.seccomp.as_ref().is_some_and(|filter| filter.notify) {
            steps.at(Op::Dumpable(true), "linux.seccomp");
        }
        steps.at(filter, "linux.seccomp");
        if privileged {
            steps.at(drop_caps(false, false), "process.capabilities");
        }
    }
}

/// Any of them: only what calls it makes counts.
pub(super) const CAPABILITIES: Op = Op::Capabilities {
    caps: Caps { bounding: 0, effective: 0, permitted: 0, inheritable: 0, ambient: 0 },
    before_filter: false,
    verify: true,
};

/// What is done in sight of the container.
pub(super) fn waiting(plan: &Plan, process: &Process, last: &Last) -> Steps {
    let mut steps = Steps::default();
    if let Some(Birth { copy }) = last.birth {
        steps.push(Op::Appear);
        steps.at(Op::EnterPidNamespace { copy }, "linux.namespaces");
    }
    steps.at(Op::NewSession { terminal: process.terminal }, "process.terminal");
    if last.birth.is_some() {
        for limit in process.limits.rlimits.iter().filter(|limit| counts_processes(limit)) {
            steps.for_field(rlimit(limit, limit.soft, limit.hard), &limit.field);
        }
    }
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
    for limit in process.limits.rlimits.iter().filter(|limit| has_few_files(limit, last)) {
        steps.for_field(rlimit(limit, limit.soft, limit.hard), &limit.field);
    }
    steps.push(Op::ResetSignals);
    steps
}

/// Whether the filter lets everything through that comes after it.
pub(super) fn passes_all<'a>(filter: &Filter, mut after: impl Iterator<Item = &'a Op>) -> bool {
    let passes = |needed: &Needed| {
        let first = [needed.first, None, None, None, None, None];
        filter.lets_through(NATIVE, needed.name, first)
    };
    // Whoever loads a filter with a listener waits for an agent at every call.
    !filter.notify
        && LAST.iter().all(passes)
        && after.all(|op| op.calls_after_filter().is_some_and(|calls| calls.iter().all(passes)))
}

/// The limit on processes is for those of the user, of whom the birth in a pid namespace makes one
/// more for a moment. To lower it needs no right.
pub(super) fn counts_processes(limit: &Rlimit) -> bool {
    limit.resource == sched::NPROC
}
