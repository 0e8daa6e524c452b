//! `rt`, an OCI container runtime.

pub mod cgroup;
pub mod child;
pub mod cli;
pub mod cmd;
pub mod dbus;
pub mod diag;
pub mod error;
pub mod host;
pub mod log;
pub mod model;
pub mod plan;
pub mod resctrl;
pub mod runtime;
pub mod script;
pub mod seccomp;
pub mod spec;
pub mod state;
pub mod sync;
pub mod sys;
#[cfg(test)]
mod tests;
pub mod time;
