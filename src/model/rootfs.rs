//! The container's root.

use std::ffi::CString;
use std::path::PathBuf;

use crate::diag::field::Field;

/// A path of the container that is hidden or made read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    /// Below the root, without a leading slash.
    pub path: CString,
    /// `linux.maskedPaths[N]` or `linux.readonlyPaths[N]`.
    pub field: Field,
}

/// The container's root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rootfs {
    /// Absolute path on the host.
    pub path: PathBuf,
    /// Read-only when everything is in place.
    pub readonly: bool,
    /// `linux.rootfsPropagation` as `MS_*`, and whether it goes for the whole tree.
    pub propagation: Option<(u64, bool)>,
    /// Hidden.
    pub masked: Vec<Guarded>,
    /// Read-only.
    pub readonly_paths: Vec<Guarded>,
}
