//! The steps of the process that becomes a hook.

use std::ffi::CString;

use super::Script;
use super::after_filter::{LAST_OF_HOOK, LAST_OF_OPENED};
use super::appear;
use super::op::Op;
use super::rights::{Birth, Cpus, Last, late_file_limits, late_process_limits, to_user};
use super::steps::{Steps, close_others, join, labels};
use crate::model::hooks::Hook;
use crate::model::namespaces::flag;
use crate::model::process::Process;
use crate::seccomp::Filter;
use crate::sys::RawFd;
use crate::sys::c_array::CArray;

/// Where the report of a hook is, as long as it is not executed: right after stdio.
pub const REPORT: RawFd = 3;

/// What the parent has opened and decided for a hook.
#[derive(Debug)]
pub struct HookSetup<'a> {
    /// The container that the hook runs in; none for one in the namespaces of the runtime.
    pub container: Option<Container>,
    /// Its working directory.
    pub cwd: CString,
    /// The state.
    pub stdin: RawFd,
    /// Where what it writes is read.
    pub output: RawFd,
    /// Its program, where the path would lead to another file in the container.
    pub program: Option<RawFd>,
    /// What it may do; none for all that root of the container's user namespace may, or the
    /// runtime.
    pub rights: Option<&'a Rights<'a>>,
}

/// The container that a hook runs in.
#[derive(Debug)]
pub struct Container {
    /// pidfd of its first process.
    pub init: RawFd,
    /// `CLONE_NEW*` of the namespaces to join.
    pub namespaces: u64,
    /// The directory to make the root; none where the namespaces say what it is.
    pub root: Option<RawFd>,
}

/// What the container's own process may do, for hooks whose program is the container's.
#[derive(Debug)]
pub struct Rights<'a> {
    /// User, capabilities, limits and labels.
    pub process: &'a Process,
    /// Its session keyring.
    pub keyring: Option<CString>,
    /// setgroups(2) is allowed in the user namespace.
    pub setgroups: bool,
    /// Its filter. Calls of which an agent is to be notified fail with ENOSYS: the listener
    /// is for the process.
    pub filter: Option<&'a Filter>,
}

/// The steps of a hook.
pub fn hook(hook: &Hook, setup: &HookSetup<'_>) -> Script {
    let mut steps = Steps::default();
    let namespaces = setup.container.as_ref().map_or(0, |container| container.namespaces);
    if let Some(rights) = setup.rights {
        // While the host's procfs is in sight.
        steps.0.extend(labels(rights.process));
    }
    if let Some(container) = &setup.container {
        join(&mut steps, container.init, namespaces, container.root);
    }
    if namespaces & flag::USER != 0 {
        steps.push(Op::DropGroups);
    }
    if let Some(name) = setup.rights.and_then(|rights| rights.keyring.as_ref()) {
        steps.push(Op::SessionKeyring(name.clone()));
    }
    steps.push(Op::Chdir(setup.cwd.clone()));
    // Nothing else is open when others can look (CVE-2016-9962), but for the report and the program,
    // which close with execve(2).
    let (stdin, output) = (setup.stdin, setup.output);
    steps.push(Op::HookStdio { stdin, output });
    let keep_below = REPORT as u32 + 1;
    close_others(&mut steps, keep_below, setup.program);

    let birth = (namespaces & flag::PID != 0).then_some(Birth { copy: false });
    let rights = setup.rights;
    let last = Last {
        setgroups: rights.is_some_and(|rights| rights.setgroups),
        gate: None,
        keep_below,
        unprivileged: false,
        cpus: Cpus::Inherited,
        birth,
        // The container's own process is there as well.
        limits_processes_late: true,
        end: if setup.program.is_some() { LAST_OF_OPENED } else { LAST_OF_HOOK },
    };
    let waiting = waiting(rights.map(|rights| rights.process), &last);
    match rights {
        Some(Rights { process, filter, .. }) => {
            let filter = filter.map(Filter::without_listener);
            to_user(&mut steps, process, &last);
            appear::to_program(&mut steps, &process.creds, filter.as_ref(), waiting, &last);
        }
        None => steps.0.extend(waiting.0),
    }
    Script {
        joins: setup.container.is_some(),
        steps: steps.0,
        candidates: vec![hook.path.clone()],
        program: setup.program,
        argv: CArray::new(hook.args.clone()),
        envp: CArray::new(hook.env.clone()),
        may_look: false,
    }
}

/// What is done in sight of the container.
fn waiting(process: Option<&Process>, last: &Last) -> Steps {
    let mut steps = Steps::default();
    if let Some(Birth { copy }) = last.birth {
        steps.push(Op::EnterPidNamespace { copy });
    }
    // Only now: a change of user clears it, and so does a birth.
    steps.push(Op::DieWithParent);
    // No terminal of the caller's, and a process group to be killed.
    steps.push(Op::NewSession { terminal: false });
    if let Some(process) = process {
        late_process_limits(&mut steps, process, last);
        late_file_limits(&mut steps, process, last);
    }
    steps.push(Op::ResetSignals);
    steps
}
