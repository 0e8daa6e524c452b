//! Device nodes of the container, and how it comes by them.

use std::borrow::Borrow;
use std::ffi::{CStr, CString};

use super::mount::{Mount, What};
use crate::diag::field::Field;
use crate::sys::dev;

/// What the parent calls the node that masks files.
pub const MASK: &CStr = c"mask";

/// How the container comes by its nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Nodes {
    /// The child makes them.
    #[default]
    Made,
    /// The parent makes them for the child, whose user namespace may not: they are bound.
    OfParent,
    /// Nobody here may make any: those of the host are bound.
    OfHost,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its directory below the root, without a leading slash.
    pub directory: CString,
    /// Its name there.
    pub name: CString,
    /// The same node on the host, which is bound where mknod(2) is not allowed.
    pub host_path: CString,
    /// What the parent calls it when it makes it.
    pub handle: CString,
    /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO`.
    pub kind: u32,
    /// `fileMode`, where it is given.
    pub file_mode: Option<u32>,
    /// makedev(3).
    pub device: u64,
    /// Owner, where it is given.
    pub uid: Option<u32>,
    /// Group, where it is given.
    pub gid: Option<u32>,
    /// `linux.devices[N]`, or the root for a default one.
    pub field: Field,
}

impl Device {
    /// The permission bits.
    pub fn permissions(&self) -> u32 {
        self.file_mode.unwrap_or(0o666)
    }

    /// Anybody may make one.
    pub fn is_fifo(&self) -> bool {
        self.kind == libc::S_IFIFO
    }

    /// Whether it is the null device of its place.
    pub fn is_null(&self) -> bool {
        self.kind == libc::S_IFCHR
            && self.device == dev::NULL.number()
            && self.path() == b"dev/null"
    }

    /// Its path as people write it.
    pub fn shown_path(&self) -> String {
        self.host_path.to_string_lossy().into_owned()
    }

    /// Whether both make the same file.
    pub fn same(&self, other: &Device) -> bool {
        let file = |device: &Device| {
            let owner = (device.uid.unwrap_or(0), device.gid.unwrap_or(0));
            (device.kind, device.device, device.permissions(), owner)
        };
        file(self) == file(other)
    }

    /// Where it is below the root, without a leading slash.
    pub fn path(&self) -> Vec<u8> {
        match self.directory.as_bytes() {
            b"" => self.name.as_bytes().to_owned(),
            directory => [directory, self.name.as_bytes()].join(&b'/'),
        }
    }
}
/// Whether the container's /dev is filled by us: not when it is somebody else's, bound.
pub fn fills_dev<M: Borrow<Mount>>(mounts: &[M]) -> bool {
    let mut mounts = mounts.iter().map(Borrow::borrow);
    !mounts.any(|mount| mount.is_at("dev") && matches!(mount.what, What::Bind { .. }))
}
