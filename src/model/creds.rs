//! Who the process is: ids, groups, umask, the five capability sets, no_new_privs.

/// The five sets; bit n is capability n (capabilities(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Caps {
    pub bounding: u64,
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub ambient: u64,
}

/// Ids and rights of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Creds {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Exactly these supplementary groups.
    pub groups: Vec<u32>,
    /// File mode creation mask.
    pub umask: u32,
    /// Capabilities.
    pub caps: Caps,
    /// Whether execve(2) may not grant anything.
    pub no_new_privileges: bool,
}
