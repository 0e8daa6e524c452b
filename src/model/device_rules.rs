//! Device rules of a cgroup.

/// The two kinds of device nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// `b`
    Block,
    /// `c`
    Char,
}

/// One rule; `None` matches everything. Later rules win.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    /// Allow or deny.
    pub allow: bool,
    /// Block or character devices.
    pub kind: Option<DeviceKind>,
    /// Major number.
    pub major: Option<u32>,
    /// Minor number.
    pub minor: Option<u32>,
    /// [`MKNOD`], [`READ`], [`WRITE`].
    pub access: u8,
}

/// Making the node (`BPF_DEVCG_ACC_MKNOD`).
pub const MKNOD: u8 = 1;

/// Reading (`BPF_DEVCG_ACC_READ`).
pub const READ: u8 = 2;

/// Writing (`BPF_DEVCG_ACC_WRITE`).
pub const WRITE: u8 = 4;

/// All of them.
pub const ALL: u8 = MKNOD | READ | WRITE;

impl DeviceRule {
    /// Whether the rule is about every access to every device: what stood before it has no
    /// effect any more.
    pub fn is_reset(&self) -> bool {
        self.kind.is_none() && self.major.is_none() && self.minor.is_none() && self.access == ALL
    }
}
