//! Where memory comes from (set_mempolicy(2)).

/// Arguments of set_mempolicy(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// `MPOL_*` with its flags.
    pub mode: u32,
    /// Bit n is memory node n.
    pub nodes: Vec<u64>,
}
