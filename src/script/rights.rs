//! The one order in which rights are given up, for init, exec and hooks alike: from root to the user of
//! the configuration, and from there to the program (`appear`).

use super::after_filter::Needed;
use super::op::Op;
use super::steps::Steps;
use crate::model::limits::Rlimit;
use crate::model::plan::Plan;
use crate::model::process::Process;
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
    /// The limit on processes comes after the change of user, at which the kernel would count one more
    /// than is meant: of a birth, or the container's own process.
    pub(super) limits_processes_late: bool,
    /// The calls that come last of all.
    pub(super) end: &'static [Needed],
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
const OWN_FILES: u32 = 16;

/// Whether the limit would meet the child itself: it comes last of all.
fn has_few_files(limit: &Rlimit, last: &Last) -> bool {
    limit.resource == sched::NOFILE && limit.soft < (last.keep_below + OWN_FILES).into()
}

fn rlimit(limit: &Rlimit, soft: u64, hard: u64) -> Op {
    Op::Rlimit { resource: limit.resource, name: limit.name.clone(), soft, hard }
}

/// A process of the container, from root to the user, with its program found.
pub(super) fn privileges(steps: &mut Steps, plan: &Plan, process: &Process, last: &Last) {
    let creds = &process.creds;
    scheduling(steps, plan, process, last);
    if let Some(persona) = plan.personality {
        steps.at(Op::Personality(persona), "linux.personality");
    }
    steps.at(Op::Cwd { path: process.cwd.clone(), last: false }, "process.cwd");
    if process.wants_home {
        steps.at(Op::Home { uid: creds.uid }, "process.env");
    }
    steps.at(Op::OwnStdio { uid: creds.uid }, "process.user");
    to_user(steps, process, last);
    if creds.uid != 0 && creds.caps.effective != 0 {
        steps.at(Op::Effective(creds.caps.effective), "process.capabilities.effective");
    }
    steps.at(Op::Cwd { path: process.cwd.clone(), last: true }, "process.cwd");
    if !process.args.is_empty() {
        steps.at(Op::FindProgram { last: last.birth.is_none() }, "process.args");
    }
}

fn scheduling(steps: &mut Steps, plan: &Plan, process: &Process, last: &Last) {
    let limits = &process.limits;
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
}

/// From root to the user, who keeps the permitted capabilities for what is left to do.
///
/// The order is the kernel's: what needs capabilities comes before they go; limits on
/// open files come when nothing more is opened.
pub(super) fn to_user(steps: &mut Steps, process: &Process, last: &Last) {
    let creds = &process.creds;
    for limit in &process.limits.rlimits {
        if counts_processes(limit) && last.limits_processes_late {
            let (resource, hard) = (limit.resource, limit.hard);
            steps.for_field(Op::WidenLimit { resource, hard }, &limit.field);
        } else if !has_few_files(limit, last) {
            steps.for_field(rlimit(limit, limit.soft, limit.hard), &limit.field);
        } else if limit.hard >= (last.keep_below + OWN_FILES).into() {
            // Raising a hard limit needs rights, and lowering it none.
            steps.for_field(rlimit(limit, limit.hard, limit.hard), &limit.field);
        }
    }
    steps.at(Op::BoundingSet(creds.caps.bounding), "process.capabilities.bounding");
    let groups = last.setgroups.then(|| creds.groups.clone());
    steps.at(Op::User { uid: creds.uid, gid: creds.gid, groups }, "process.user");
    if (creds.uid, creds.gid) != (0, 0) {
        // The kernel decides anew, by fs.suid_dumpable.
        steps.push(Op::Dumpable(false));
    }
    steps.at(Op::Umask(creds.umask), "process.user.umask");
}

/// What could not be set before (`to_user`). To lower a limit needs no right.
pub(super) fn late_process_limits(steps: &mut Steps, process: &Process, last: &Last) {
    if last.limits_processes_late {
        for limit in process.limits.rlimits.iter().filter(|limit| counts_processes(limit)) {
            steps.for_field(rlimit(limit, limit.soft, limit.hard), &limit.field);
        }
    }
}

/// The same for those on open files.
pub(super) fn late_file_limits(steps: &mut Steps, process: &Process, last: &Last) {
    for limit in process.limits.rlimits.iter().filter(|limit| has_few_files(limit, last)) {
        steps.for_field(rlimit(limit, limit.soft, limit.hard), &limit.field);
    }
}

/// The limit on processes is for those of the user, of whom the birth in a pid namespace makes one
/// more for a moment.
fn counts_processes(limit: &Rlimit) -> bool {
    limit.resource == sched::NPROC
}
