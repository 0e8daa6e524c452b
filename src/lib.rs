//! `rt`, an OCI container runtime.

pub mod cgroup;
pub mod child;
pub mod cli;
pub mod cmd;
pub mod dbus;
#[cfg(test)]
mod documented;
pub mod error;
pub mod host;
pub mod log;
pub mod parent;
pub mod plan;
pub mod resctrl;
pub mod seccomp;
pub mod spec;
pub mod state;
pub mod sync;
pub mod sys;
