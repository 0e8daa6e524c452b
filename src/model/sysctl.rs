//! Kernel settings of the namespaces.

use std::ffi::CString;

use crate::diag::field::Field;

/// One file below /proc/sys and what is written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// `sys/net/ipv4/ip_forward`, relative to a procfs.
    pub path: CString,
    /// The value.
    pub value: Vec<u8>,
    /// `linux.sysctl["…"]`.
    pub field: Field,
}
