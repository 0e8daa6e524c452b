//! What the child is given: every step up to execve(2), with all memory allocated.

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::std::ffi::CString;
use ::std::vec::Vec;

use super::{Listener, Op};
use crate::plan::field::Field;
use crate::sys::page::CArray;

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
        let sends =
            |step: &Step| ::core::matches!(step.op, Op::Seccomp { listener: Listener::Sent, .. });
        self.steps.iter().any(sends)
    }
}
