//! The steps of a process that joins a container.

use std::ffi::CString;

use super::Script;
use super::after_filter::LAST;
use super::appear;
use super::op::Op;
use super::rights::{Birth, Cpus, Last, privileges};
use super::steps::{
    Steps, console, finish, join, keyring_label, labels, oom_score_adj, own_devices,
};
use crate::model::limits::Affinity;
use crate::model::namespaces::flag;
use crate::model::plan::Plan;
use crate::model::process::Process;
use crate::sys::RawFd;

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
    join(&mut steps, setup.init, setup.namespaces, setup.root);
    if let Some(name) = &setup.keyring {
        steps.push(Op::SessionKeyring(name.clone()));
    }
    console(&mut steps, process, false);
    own_devices(&mut steps, process, setup.keep_below);
    let (setgroups, keep_below) = (setup.setgroups, setup.keep_below);
    // config.md, "execCPUAffinity": without a final affinity that of the runtime stays.
    let cpus = match &process.limits.affinity {
        Affinity { last: Some(mask), .. } => Cpus::These(mask.clone()),
        Affinity { initial: Some(_), .. } => Cpus::Inherited,
        _ => Cpus::All,
    };
    let joins_pid = setup.namespaces & flag::PID != 0;
    let birth = joins_pid.then_some(Birth { copy: false });
    let last = Last {
        setgroups,
        gate: None,
        keep_below,
        unprivileged: false,
        cpus,
        birth,
        limits_processes_late: joins_pid,
        end: LAST,
    };
    privileges(&mut steps, plan, process, &last);
    appear::steps(&mut steps, plan, process, &last);
    finish(steps, plan, process, true)
}
