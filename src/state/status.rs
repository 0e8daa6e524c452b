//! How a container is doing, from the kernel and never from the file alone.

use std::fmt;

use crate::error::Result;

/// The status of a container, as in `rt state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Its creator is at work.
    Creating,
    /// Init waits at the gate.
    Created,
    /// The configured process runs.
    Running,
    /// It runs, in a frozen cgroup.
    Paused,
    /// Init is gone, or never came to be.
    Stopped,
}

impl Status {
    /// The word of the runtime specification, and runc's for a frozen container.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the status depends on; each fact is asked for only when it matters, in the
/// order of the trait.
pub(super) trait Facts {
    /// Whether the record is of the boot that is running.
    fn same_boot(&self) -> Result<bool>;
    /// Whether the recorded init is alive; `None` when none is recorded.
    fn init_alive(&self) -> Result<Option<bool>>;
    /// Whether the process that creates the container is alive.
    fn creator_alive(&self) -> Result<bool>;
    /// Whether the cgroup is frozen.
    fn frozen(&self) -> Result<bool>;
    /// Whether somebody waits at the gate.
    fn at_gate(&self) -> Result<bool>;
}

/// Decides. Death comes before frost: a dead init in a frozen cgroup is stopped.
pub(super) fn decide(facts: &impl Facts) -> Result<Status> {
    if !facts.same_boot()? {
        return Ok(Status::Stopped);
    }
    match facts.init_alive()? {
        None if facts.creator_alive()? => Ok(Status::Creating),
        None | Some(false) => Ok(Status::Stopped),
        Some(true) if facts.frozen()? => Ok(Status::Paused),
        Some(true) if facts.at_gate()? => Ok(Status::Created),
        Some(true) => Ok(Status::Running),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Boot, init, creator, frozen, gate.
    struct Case(bool, Option<bool>, bool, bool, bool);

    impl Facts for Case {
        fn same_boot(&self) -> Result<bool> {
            Ok(self.0)
        }
        fn init_alive(&self) -> Result<Option<bool>> {
            Ok(self.1)
        }
        fn creator_alive(&self) -> Result<bool> {
            Ok(self.2)
        }
        fn frozen(&self) -> Result<bool> {
            Ok(self.3)
        }
        fn at_gate(&self) -> Result<bool> {
            Ok(self.4)
        }
    }

    #[test]
    fn every_combination() {
        let alive = Some(true);
        let table = [
            (Case(true, None, true, false, false), Status::Creating),
            (Case(true, None, false, false, false), Status::Stopped),
            (Case(true, Some(false), true, false, true), Status::Stopped),
            (Case(true, Some(false), false, true, true), Status::Stopped),
            (Case(true, alive, false, true, true), Status::Paused),
            (Case(true, alive, true, false, true), Status::Created),
            (Case(true, alive, false, false, false), Status::Running),
            (Case(false, alive, true, true, true), Status::Stopped),
            (Case(false, None, true, false, false), Status::Stopped),
        ];
        for (index, (case, status)) in table.iter().enumerate() {
            assert_eq!(decide(case).expect("no error"), *status, "case {index}");
        }
    }
}
