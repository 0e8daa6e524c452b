//! The plan as a list of steps for the child: the only place that allocates for it.

mod root;
#[cfg(test)]
mod tests;

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use super::Plan;
use super::creds::Caps;
use super::field::Field;
use super::limits::{Affinity, Rlimit};
use super::mounts::Mount;
use super::namespaces::{IdMapping, Namespaces, flag};
use super::process::Process;
use crate::child::{LAST, Needed, Op, Script, Step};
use crate::seccomp::{Filter, NATIVE};
use crate::sys::page::CArray;
use crate::sys::{RawFd, sched};

/// A namespace file that the parent has opened.
#[derive(Debug, Clone)]
pub struct OpenNamespace {
    /// The file.
    pub fd: RawFd,
    /// Its `CLONE_NEW*` flag.
    pub flag: u64,
    /// Where the configuration names it.
    pub field: Field,
}

/// What the parent has opened and decided for a first process.
#[derive(Debug, Default)]
pub struct InitSetup {
    /// Namespaces to join, in order; without a stage the parent has seen to the pid
    /// namespace itself.
    pub joins: Vec<OpenNamespace>,
    /// Session keyring to make.
    pub keyring: Option<CString>,
    /// The start fifo; none when the program starts at once.
    pub gate: Option<RawFd>,
    /// Descriptors below this number are the program's.
    pub keep_below: u32,
    /// Mounts of the host that must be gone before a chroot(2).
    pub unmount: Vec<CString>,
    /// The mount namespace is made of the root alone, and is no copy of the host's.
    pub tree_namespace: bool,
    /// The caller is not root: the seccomp listener can be taken only out of a process
    /// that is dumpable (ptrace(2), "access mode checking").
    pub unprivileged: bool,
    /// The child waits until its cgroup is made around it. Its cgroup namespace, whose root
    /// is the cgroup at the time when it is made, is made after that.
    pub awaits_cgroup: bool,
    /// The parent sets the OOM score: born in a user namespace the child may not lower it.
    pub oom_score_by_parent: bool,
}

/// What the parent has opened and decided for a process that joins a container.
#[derive(Debug)]
pub struct ExecSetup {
    /// pidfd of the container's first process.
    pub init: RawFd,
    /// The container's root, where it is not that of a mount namespace.
    pub root: Option<RawFd>,
    /// `CLONE_NEW*` of the namespaces that the container has to itself.
    pub namespaces: u64,
    /// setgroups(2) is allowed in the container's user namespace, and wanted.
    pub setgroups: bool,
    /// Session keyring to join.
    pub keyring: Option<CString>,
    /// Descriptors below this number are the program's.
    pub keep_below: u32,
}

/// What the last steps depend on beside the plan.
struct Last {
    setgroups: bool,
    gate: Option<RawFd>,
    keep_below: u32,
    unprivileged: bool,
    cpus: Cpus,
    /// How the process comes into a pid namespace that has others in it.
    birth: Option<Birth>,
}

/// The birth in a pid namespace that others are in.
#[derive(Debug, Clone, Copy)]
struct Birth {
    /// With memory of its own: into a time namespace as well.
    copy: bool,
}

/// On which processors the process runs.
enum Cpus {
    /// On all that its cpuset has, wherever the caller ran.
    All,
    /// As the caller has prepared it.
    Inherited,
    /// On these.
    These(Vec<u64>),
}

#[derive(Default)]
struct Steps(Vec<Step>);

impl Steps {
    fn push(&mut self, op: Op) {
        self.for_field(op, &Field::root());
    }

    fn at(&mut self, op: Op, field: &'static str) {
        self.for_field(op, &Field::of(field));
    }

    fn for_field(&mut self, op: Op, field: &Field) {
        self.0.push(Step { op, field: field.clone() });
    }
}

/// The steps of a container's first process.
pub fn init(plan: &Plan, process: &Process, setup: &InitSetup) -> Script {
    let mut steps = Steps::default();
    steps.push(Op::ForgetArguments);
    let born_in_user = plan.namespaces.are_born_in_user();
    if !born_in_user {
        // Memory and descriptors are those of the runtime (CVE-2016-9962). Who is born in a user
        // namespace waits for its maps first, which belong to whoever may trace it.
        steps.push(Op::Dumpable(false));
    }
    if setup.awaits_cgroup {
        steps.at(Op::AwaitCgroup, "linux.cgroupsPath");
        let namespaces = &plan.namespaces;
        if namespaces.is_new(flag::CGROUP) && !namespaces.needs_preparation() {
            steps.at(Op::Unshare(flag::CGROUP), "linux.namespaces");
        }
    }
    if !setup.oom_score_by_parent {
        oom_score_adj(&mut steps, process);
    }
    namespaces(&mut steps, plan, setup);
    if let Some(name) = &setup.keyring {
        keyring_label(&mut steps, process);
        steps.push(Op::SessionKeyring(name.clone()));
    }
    if plan.namespaces.is_new(flag::NET) {
        steps.at(Op::LoopbackUp, "linux.namespaces");
    }
    if !plan.net_devices.is_empty() {
        steps.at(Op::AwaitNetDevices, "linux.netDevices");
    }
    if let Some(name) = &plan.hostname {
        steps.at(Op::Hostname(name.clone()), "hostname");
    }
    if let Some(name) = &plan.domainname {
        steps.at(Op::Domainname(name.clone()), "domainname");
    }
    for sysctl in &plan.sysctls {
        let (path, value) = (sysctl.path.clone(), sysctl.value.clone());
        steps.for_field(Op::WriteProc { path, value }, &sysctl.field);
    }
    steps.0.extend(labels(process));
    if plan.namespaces.is_new(flag::MOUNT) {
        root::steps(&mut steps, plan, process, setup);
    } else {
        steps.at(Op::EnterRoot(c_path(&plan.rootfs.path)), "root.path");
        console(&mut steps, process, false);
        if !process.terminal {
            steps.push(Op::OwnNull);
        }
        if plan.wants_hooks() {
            steps.at(Op::AwaitHooks, "hooks");
        }
        close_others(&mut steps, setup.keep_below, setup.gate);
    }
    let groups = !plan.namespaces.deny_setgroups && !plan.keep_groups;
    let joins_pid = plan.namespaces.joins(flag::PID);
    let last = Last {
        setgroups: groups,
        gate: setup.gate,
        keep_below: setup.keep_below,
        unprivileged: setup.unprivileged,
        cpus: Cpus::All,
        birth: joins_pid.then(|| Birth { copy: plan.namespaces.is_new(flag::TIME) }),
    };
    privileges(&mut steps, plan, process, &last);
    appear(&mut steps, plan, process, &last);
    finish(steps, plan, process, false)
}

/// The steps of a process that joins a container.
pub fn exec(plan: &Plan, process: &Process, setup: &ExecSetup) -> Script {
    let mut steps = Steps::default();
    steps.push(Op::ForgetArguments);
    // Memory and descriptors are those of the runtime (CVE-2016-9962).
    steps.push(Op::Dumpable(false));
    oom_score_adj(&mut steps, process);
    steps.0.extend(labels(process));
    if setup.keyring.is_some() {
        keyring_label(&mut steps, process);
    }
    let keep = [setup.init, setup.root.unwrap_or(-1)];
    steps.push(Op::CloseOthers { from: setup.keep_below, keep });
    steps.push(Op::Join { fd: setup.init, flags: setup.namespaces });
    if let Some(root) = setup.root {
        steps.push(Op::EnterOpenRoot(root));
    }
    if setup.namespaces & flag::USER != 0 {
        steps.push(Op::BecomeRoot { uid: 0, gid: 0 });
        // The kernel decides anew at a change of user.
        steps.push(Op::Dumpable(false));
    }
    if let Some(name) = &setup.keyring {
        steps.push(Op::SessionKeyring(name.clone()));
    }
    console(&mut steps, process, false);
    if !process.terminal {
        steps.push(Op::OwnNull);
    }
    let (setgroups, keep_below) = (setup.setgroups, setup.keep_below);
    // config.md, "execCPUAffinity": without a final affinity that of the runtime stays.
    let cpus = match &process.limits.affinity {
        Affinity { last: Some(mask), .. } => Cpus::These(mask.clone()),
        Affinity { initial: Some(_), .. } => Cpus::Inherited,
        _ => Cpus::All,
    };
    let joins_pid = setup.namespaces & flag::PID != 0;
    let birth = joins_pid.then_some(Birth { copy: false });
    let last = Last { setgroups, gate: None, keep_below, unprivileged: false, cpus, birth };
    privileges(&mut steps, plan, process, &last);
    appear(&mut steps, plan, process, &last);
    finish(steps, plan, process, true)
}

fn close_others(steps: &mut Steps, from: u32, keep: Option<RawFd>) {
    steps.push(Op::CloseOthers { from, keep: [keep.unwrap_or(-1), -1] });
}

fn finish(steps: Steps, plan: &Plan, process: &Process, joins: bool) -> Script {
    Script {
        joins,
        may_look: plan.seccomp.as_ref().is_none_or(Filter::lets_look_at_files),
        steps: steps.0,
        candidates: process.candidates.clone(),
        argv: CArray::new(process.args.clone()),
        envp: CArray::new(process.env.clone()),
    }
}

/// First of all: the file belongs to the caller only until the process changes its ids.
fn oom_score_adj(steps: &mut Steps, process: &Process) {
    if let Some(score) = process.limits.oom_score_adj {
        let path = c"self/oom_score_adj".to_owned();
        let value = score.to_string().into_bytes();
        steps.at(Op::WriteProc { path, value }, "process.oomScoreAdj");
    }
}

/// Both modules change the label at the next execve(2), whatever lies in between.
fn labels(process: &Process) -> Vec<Step> {
    let mut steps = Steps::default();
    for label in process.labels() {
        let (path, value) = (label.file.to_owned(), label.value);
        steps.at(Op::WriteProc { path, value }, label.field);
    }
    steps.0
}

/// Keys that the process makes belong to the container as it does; execve(2) ends this.
fn keyring_label(steps: &mut Steps, process: &Process) {
    if let Some(label) = &process.selinux {
        let path = c"self/attr/keycreate".to_owned();
        let value = label.clone().into_bytes();
        steps.at(Op::WriteProc { path, value }, "process.selinuxLabel");
    }
}

fn namespaces(steps: &mut Steps, plan: &Plan, setup: &InitSetup) {
    let namespaces = &plan.namespaces;
    if namespaces.are_born_in_user() {
        // The maps are written to files that belong to root once we are not dumpable.
        become_root_of_new(steps, namespaces);
        steps.push(Op::Dumpable(false));
        if namespaces.is_new(flag::IPC) {
            // Who makes it owns its message queues, and root of the host is nobody in there.
            steps.at(Op::Unshare(flag::IPC), "linux.namespaces");
        }
    }
    for join in &setup.joins {
        let (fd, flags) = (join.fd, join.flag);
        let op = if flags == flag::PID && !namespaces.needs_stage() {
            let is_proc =
                |mount: &&Rc<Mount>| mount.fstype().is_some_and(|name| name.as_c_str() == c"proc");
            Op::JoinPid { fd, procfs: plan.mounts.iter().filter(is_proc).count() }
        } else {
            Op::Join { fd, flags }
        };
        steps.for_field(op, &join.field);
        if join.flag == flag::USER {
            steps.for_field(Op::BecomeRoot { uid: 0, gid: 0 }, &join.field);
            steps.push(Op::Dumpable(false));
        }
    }
    if !namespaces.needs_preparation() {
        return;
    }
    if namespaces.is_new(flag::USER) {
        steps.at(Op::Unshare(flag::USER), "linux.namespaces");
        steps.push(Op::Dumpable(true));
        become_root_of_new(steps, namespaces);
    }
    if namespaces.is_new(flag::TIME) {
        steps.at(Op::Unshare(flag::TIME), "linux.namespaces");
        if !namespaces.time_offsets.is_empty() {
            steps.push(Op::Dumpable(true));
            for offset in &namespaces.time_offsets {
                let path = c"self/timens_offsets".to_owned();
                let value = offset.line.clone().into_bytes();
                steps.for_field(Op::WriteProc { path, value }, &offset.field);
            }
        }
    }
    steps.push(Op::Dumpable(false));
    let rest = namespaces.new & !(flag::USER | flag::TIME);
    if namespaces.needs_stage() {
        steps.at(Op::Fork { namespaces: rest }, "linux.namespaces");
    } else if rest != 0 {
        steps.at(Op::Unshare(rest), "linux.namespaces");
    }
}

fn become_root_of_new(steps: &mut Steps, namespaces: &Namespaces) {
    steps.at(Op::AwaitMaps, "linux.uidMappings");
    // Without an id the process could make no file: one that is mapped stands in for root.
    let first = |map: &[IdMapping]| map.iter().map(|m| m.container).min().unwrap_or(0);
    let (uid, gid) = (first(&namespaces.uid_map), first(&namespaces.gid_map));
    steps.at(Op::BecomeRoot { uid, gid }, "linux.uidMappings");
}

fn console(steps: &mut Steps, process: &Process, mount: bool) {
    if process.terminal {
        let (size, uid) = (process.console_size, process.creds.uid);
        steps.at(Op::Console { size, uid, mount }, "process.terminal");
    }
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

/// From root to the user, who keeps the permitted capabilities for what is left to do.
///
/// The order is the kernel's: what needs capabilities comes before they go; limits on
/// open files come when nothing more is opened.
fn privileges(steps: &mut Steps, plan: &Plan, process: &Process, last: &Last) {
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
fn appear(steps: &mut Steps, plan: &Plan, process: &Process, last: &Last) {
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
fn passes_all<'a>(filter: &Filter, mut after: impl Iterator<Item = &'a Op>) -> bool {
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
fn counts_processes(limit: &Rlimit) -> bool {
    limit.resource == sched::NPROC
}

/// The reader of the configuration lets no NUL through.
fn c_path(path: &std::path::Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}
