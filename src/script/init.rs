//! The steps of the first process of a container.

use std::ffi::CString;
use std::rc::Rc;

use super::after_filter::LAST;
use super::{appear, mounts};
use crate::diag::field::Field;
use crate::model::mount::Mount;
use crate::model::namespaces::{IdMapping, Namespaces, flag};
use crate::model::plan::Plan;
use crate::model::process::Process;
use crate::script::Script;
use crate::script::op::Op;
use crate::script::rights::{Birth, Cpus, Last, privileges};
use crate::script::steps::{
    Steps, c_path, close_others, console, finish, keyring_label, labels, oom_score_adj, own_devices,
};
use crate::sys::RawFd;

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
        mounts::steps(&mut steps, plan, process, setup);
    } else {
        steps.at(Op::EnterRoot(c_path(&plan.rootfs.path)), "root.path");
        console(&mut steps, process, false);
        own_devices(&mut steps, process, setup.keep_below);
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
        limits_processes_late: joins_pid,
        end: LAST,
    };
    privileges(&mut steps, plan, process, &last);
    appear::steps(&mut steps, plan, process, &last);
    finish(steps, plan, process, false)
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
            for mount in plan.mounts.iter().filter(is_proc) {
                let (mount, make) = (mount.clone(), !namespaces.may_mount(flag::PID));
                let field = mount.field.clone();
                steps.for_field(Op::Procfs { mount, namespace: fd, make }, &field);
            }
            Op::JoinPid { fd }
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
        steps.push(Op::Introduce);
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
