//! What the child is given: every step up to execve(2), with all memory allocated.
//!
//! ```text
//! op           everything that the child can do
//! describe     what an operation is called, in words
//! hints        what helps when it fails
//! init, exec   the steps of a first process, and of one that joins a container
//! hook         those of a hook
//! mounts       the part of them in the container's mount namespace
//! rights       the order in which rights are given up, from root to the user
//! appear       and from there to the program
//! after_filter which system calls that takes, once the filter is loaded
//! ```
//!
//! Making a script is the only place that allocates for the child.

pub mod after_filter;
mod appear;
pub mod call;
mod describe;
pub mod exec;
pub mod hints;
mod holders;
pub mod hook;
mod host_tree;
pub mod init;
pub mod kept;
mod mounts;
pub mod op;
mod rights;
mod steps;
#[cfg(test)]
mod tests;

use std::ffi::CString;

use self::op::{Listener, Op};
use crate::diag::field::Field;
use crate::sys::RawFd;
use crate::sys::c_array::CArray;

/// One step, and the field that asked for it.
#[derive(Debug)]
pub struct Step {
    /// What is done.
    pub op: Op,
    /// Because of what.
    pub field: Field,
}

/// Everything that the child does, up to execve(2).
#[derive(Debug)]
pub struct Script {
    /// For a process that joins a container, and not for its first one.
    pub joins: bool,
    /// In the order of execution.
    pub steps: Vec<Step>,
    /// Paths at which the program may be.
    pub candidates: Vec<CString>,
    /// The program itself, where its path would lead to another file by then.
    pub program: Option<RawFd>,
    /// Its arguments.
    pub argv: CArray,
    /// Its environment.
    pub envp: CArray,
    /// The seccomp filter lets it look at a program that cannot be executed, or at least live on.
    pub may_look: bool,
}

impl Script {
    /// Whether the process sends its seccomp listener itself.
    pub fn sends_listener(&self) -> bool {
        let sends = |step: &Step| matches!(step.op, Op::Seccomp { listener: Listener::Sent, .. });
        self.steps.iter().any(sends)
    }
}
