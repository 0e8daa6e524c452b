//! Limits that a process in a user namespace can no longer set: the kernel asks for
//! CAP_SYS_RESOURCE in the initial one (prlimit(2), proc_pid_oom_score_adj(5)).

use crate::diag::field::Field;
use crate::error::{Doing, Result};
use crate::model::limits::{Limits, Rlimit};
use crate::model::namespaces::Namespaces;
use crate::sys::sched;

/// Whether the child is born in its user namespace, by a parent with rights outside.
pub fn oom_score_is_ours(namespaces: &Namespaces, unprivileged: bool) -> bool {
    namespaces.are_born_in_user() && !unprivileged
}

/// Sets `process.oomScoreAdj` for the child.
pub fn set_oom_score(pid: i32, limits: &Limits) -> Result<()> {
    let Some(score) = limits.oom_score_adj else { return Ok(()) };
    let written = std::fs::write(format!("/proc/{pid}/oom_score_adj"), score.to_string());
    let written = written.doing(|| format!("set the OOM score to {score}"));
    written.map_err(|error| error.field(&Field::of("process.oomScoreAdj")))
}

/// Sets a scheduler that the process could not have been born with, when it is there.
pub fn set_scheduler(pid: i32, limits: &Limits) -> Result<()> {
    match limits.scheduler.filter(|attr| !attr.is_inherited()) {
        Some(attr) => sched::sched_setattr(pid, &attr)
            .doing(|| "set the scheduler")
            .map_err(|error| error.field(&Field::of("process.scheduler"))),
        None => Ok(()),
    }
}

/// Raises our own hard limits to those wanted, for the child to be born with. Where that
/// is not allowed, the child fails at its own setrlimit(2), and says at which.
pub fn raise_hard(limits: &[Rlimit]) {
    for limit in limits {
        if let Ok((soft, hard)) = sched::getrlimit(limit.resource)
            && hard < limit.hard
        {
            let _ = sched::setrlimit(limit.resource, soft, limit.hard);
        }
    }
}
