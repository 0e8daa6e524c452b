//! What every script is made of: steps with the fields that ask for them.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use super::op::Op;
use super::{Script, Step};
use crate::diag::field::Field;
use crate::model::namespaces::flag;
use crate::model::plan::Plan;
use crate::model::process::Process;
use crate::seccomp::Filter;
use crate::sys::RawFd;
use crate::sys::c_array::CArray;

#[derive(Default)]
pub(super) struct Steps(pub(super) Vec<Step>);

impl Steps {
    pub(super) fn push(&mut self, op: Op) {
        self.for_field(op, &Field::root());
    }

    pub(super) fn at(&mut self, op: Op, field: &'static str) {
        self.for_field(op, &Field::of(field));
    }

    pub(super) fn for_field(&mut self, op: Op, field: &Field) {
        self.0.push(Step { op, field: field.clone() });
    }
}

pub(super) fn close_others(steps: &mut Steps, from: u32, keep: Option<RawFd>) {
    steps.push(Op::CloseOthers { from, keep: [keep.unwrap_or(-1), -1] });
}

/// Into the namespaces and the root of a container, as root of its user namespace.
pub(super) fn join(steps: &mut Steps, init: RawFd, namespaces: u64, root: Option<RawFd>) {
    if namespaces != 0 {
        steps.push(Op::Join { fd: init, flags: namespaces });
    }
    if let Some(root) = root {
        steps.push(Op::EnterOpenRoot(root));
    }
    if namespaces & flag::USER != 0 {
        steps.push(Op::BecomeRoot { uid: 0, gid: 0 });
        // The kernel decides anew at a change of user.
        steps.push(Op::Dumpable(false));
    }
}

pub(super) fn finish(steps: Steps, plan: &Plan, process: &Process, joins: bool) -> Script {
    Script {
        joins,
        may_look: plan.seccomp.as_ref().is_none_or(Filter::lets_look_at_files),
        steps: steps.0,
        candidates: process.candidates.clone(),
        program: None,
        argv: CArray::new(process.args.clone()),
        envp: CArray::new(process.env.clone()),
    }
}

/// First of all: the file belongs to the caller only until the process changes its ids.
pub(super) fn oom_score_adj(steps: &mut Steps, process: &Process) {
    if let Some(score) = process.limits.oom_score_adj {
        let path = c"self/oom_score_adj".to_owned();
        let value = score.to_string().into_bytes();
        steps.at(Op::WriteProc { path, value }, "process.oomScoreAdj");
    }
}

/// Both modules change the label at the next execve(2), whatever lies in between.
pub(super) fn labels(process: &Process) -> Vec<Step> {
    let mut steps = Steps::default();
    for label in process.labels() {
        let (path, value) = (label.file.to_owned(), label.value);
        steps.at(Op::WriteLabel { path, value }, label.field);
    }
    steps.0
}

/// Keys that the process makes belong to the container as it does; execve(2) ends this.
pub(super) fn keyring_label(steps: &mut Steps, process: &Process) {
    if let Some(label) = &process.selinux {
        let path = c"self/attr/keycreate".to_owned();
        let value = label.clone().into_bytes();
        steps.at(Op::WriteLabel { path, value }, "process.selinuxLabel");
    }
}

pub(super) fn console(steps: &mut Steps, process: &Process, mount: bool) {
    if process.terminal {
        let (size, uid) = (process.console_size, process.creds.uid);
        steps.at(Op::Console { size, uid, mount }, "process.terminal");
    }
}

/// The reader of the configuration lets no NUL through.
pub(super) fn c_path(path: &std::path::Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

/// A terminal is stdio already.
pub(super) fn own_devices(steps: &mut Steps, process: &Process, keep_below: u32) {
    let from = if process.terminal { 3 } else { 0 };
    // No more can be open (runtime::fds).
    let below = RawFd::try_from(keep_below).unwrap_or(RawFd::MAX);
    if from < below {
        steps.push(Op::OwnDevices { from, below });
    }
}
