//! What was decided about a container: data without rules, and without I/O. `plan` makes it from the
//! configuration; `script`, `runtime` and `cgroup` act on it.

pub mod cgroup;
pub mod creds;
pub mod delegation;
pub mod device;
pub mod device_rules;
pub mod hooks;
pub mod intel_rdt;
pub mod kernel_values;
pub mod limits;
pub mod memory_policy;
pub mod mount;
pub mod namespaces;
pub mod net_device;
pub mod plan;
pub mod process;
pub mod ranges;
pub mod rootfs;
pub mod sysctl;
pub mod unit;
