//! What becomes of the container's cgroup: where it is, and what is written to its files.

use super::device_rules::DeviceRule;
use crate::dbus::Value;
use crate::diag::field::Field;
use crate::error::{Error, Result};
use crate::host::systemd::Instance;
use crate::model::unit::Unit;

/// What becomes of the container's cgroup, decided.
#[derive(Debug, Clone, PartialEq)]
pub struct CgroupPlan {
    /// Where it is.
    pub path: CgroupPath,
    /// What is written, in this order, while it is empty.
    pub settings: Vec<Setting>,
    /// Device rules in the order of the configuration, then the defaults; what no rule
    /// mentions is denied.
    pub devices: Vec<DeviceRule>,
    /// Further properties of its unit.
    pub properties: Vec<Property>,
    /// What people see of its unit.
    pub description: String,
}

impl CgroupPlan {
    /// The unit, which only the systemd driver asks for.
    pub fn unit(&self) -> Result<&Unit> {
        match &self.path {
            CgroupPath::Unit(unit) => Ok(unit),
            _ => Err(Error::new("the cgroup is a path, and not a unit of systemd")),
        }
    }
}

/// Who makes the cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Manager {
    /// Nobody: the container stays in that of its creator.
    None,
    /// We, by files.
    #[default]
    Files,
    /// An instance of systemd.
    Systemd(Instance),
}

/// One value for one file of a cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The controller that the file belongs to: `memory`.
    pub controller: String,
    /// The file's name: `memory.max`.
    pub file: String,
    /// What is written, without a newline.
    pub value: String,
    /// What is to be done when the kernel has no such file.
    pub otherwise: Otherwise,
    /// The field that asked for it.
    pub field: Field,
}

/// What is to be done when a controller is there but lacks the file of a [`Setting`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Otherwise {
    /// The value cannot be applied.
    Fail,
    /// The kernel behaves as the value says anyway.
    Skip,
    /// Another file takes another value: which of the two there is depends on the kernel's
    /// configuration.
    Write {
        /// The other file.
        file: String,
        /// Its value.
        value: String,
    },
}

/// Where a cgroup is, with plain names only: no `.`, no `..`, no empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupPath {
    /// Below the root of the cgroup v2 tree (of our cgroup namespace).
    Absolute(String),
    /// Below the parent of our own cgroup. Not below our own: that one holds processes, so
    /// its sub-cgroups cannot have controllers ("no internal processes", cgroups(7)).
    Relative(String),
    /// Not asked for: this name, as if it were relative.
    Default(String),
    /// Where systemd puts this unit.
    Unit(Unit),
}

/// A property of a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// Its name on D-Bus.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// Where it was asked for.
    pub field: Field,
}

/// What is to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// In the order in which they are written.
    pub settings: Vec<Setting>,
    /// The rules for devices, if they change.
    pub devices: Option<Vec<DeviceRule>>,
    /// A limit below what is in use and cannot be reclaimed is refused
    /// (`memory.checkBeforeUpdate`).
    pub check: Option<Check>,
}

impl Change {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.devices.is_none()
    }
}

/// What the memory in use is compared with, beside the new limit on memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// The new limit on memory and swap together, in bytes.
    pub with_swap: Option<u64>,
    /// The new limit on swap alone.
    pub swap: Option<u64>,
}

/// What the kernel has now, as far as other values depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuNow {
    /// Microseconds in each period; -1 is no limit.
    pub quota: i64,
    /// Microseconds.
    pub period: u64,
    /// Microseconds.
    pub burst: u64,
    /// Its weight, unless it is idle.
    pub weight: Option<u64>,
    /// The cgroup only gets what nobody else wants.
    pub idle: bool,
}

impl Default for CpuNow {
    /// A new cgroup.
    fn default() -> Self {
        CpuNow { quota: -1, period: 100_000, burst: 0, weight: None, idle: false }
    }
}
