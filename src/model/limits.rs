//! What a process may use, and how it is scheduled.

use crate::diag::field::Field;
use crate::sys::sched::SchedAttr;

/// One setrlimit(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rlimit {
    /// `RLIMIT_*`.
    pub resource: u32,
    /// Its name in config.json.
    pub name: String,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
    /// `process.rlimits[N]`.
    pub field: Field,
}

/// On which processors a process of `exec` runs; bit n is processor n.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Affinity {
    /// Those of the runtime, before there is a process in the container's cgroup.
    pub initial: Option<Vec<u64>>,
    /// Those of the process in that cgroup.
    pub last: Option<Vec<u64>>,
}

/// Limits and scheduling of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// For /proc/self/oom_score_adj: -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Argument of ioprio_set(2).
    pub io_priority: Option<u16>,
    /// Argument of sched_setattr(2).
    pub scheduler: Option<SchedAttr>,
    /// Arguments of sched_setaffinity(2), for `exec` only.
    pub affinity: Affinity,
}
