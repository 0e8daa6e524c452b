//! Network devices of the host that move into the container.

use std::ffi::CString;

use crate::diag::field::Field;

/// One device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name on the host.
    pub name: CString,
    /// Its name in the container; `%d` stands for a number of the kernel's choice.
    pub inside: CString,
    /// `linux.netDevices.NAME`.
    pub field: Field,
}

impl NetDevice {
    /// Whether the kernel chooses the name.
    pub fn is_template(&self) -> bool {
        self.inside.as_bytes().contains(&b'%')
    }
}
