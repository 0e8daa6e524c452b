//! What the container may do in its cgroup itself.

/// What is done to the container's cgroup for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// The files that the kernel lists in /sys/kernel/cgroup/delegate get this owner. None
    /// where they have it from the start.
    pub owner: Option<u32>,
    /// The owner is an id of the container's own user namespace.
    pub mapped: bool,
    /// The name of a sub-cgroup that takes the first process.
    pub leaf: Option<String>,
}
