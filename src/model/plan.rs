//! A container, decided.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::rc::Rc;

use super::cgroup::CgroupPlan;
use super::delegation::Delegation;
use super::device::{Device, Nodes};
use super::hooks::Hooks;
use super::intel_rdt::IntelRdt;
use super::memory_policy::MemoryPolicy;
use super::mount::Mount;
use super::namespaces::Namespaces;
use super::net_device::NetDevice;
use super::process::Process;
use super::rootfs::Rootfs;
use super::sysctl::Sysctl;
use crate::seccomp::Filter;

/// A container, decided.
#[derive(Debug, Default)]
pub struct Plan {
    /// Namespaces.
    pub namespaces: Namespaces,
    /// The root.
    pub rootfs: Rootfs,
    /// Mounts, in order.
    pub mounts: Vec<Rc<Mount>>,
    /// Network devices of the host that move in.
    pub net_devices: Vec<NetDevice>,
    /// Device nodes.
    pub devices: Vec<Rc<Device>>,
    /// How they come to be.
    pub nodes: Nodes,
    /// Kernel settings.
    pub sysctls: Vec<Sysctl>,
    /// Host name.
    pub hostname: Option<CString>,
    /// NIS domain name.
    pub domainname: Option<CString>,
    /// The program; the spec lets a container be created without.
    pub process: Option<Process>,
    /// Argument of personality(2).
    pub personality: Option<u64>,
    /// Where memory comes from.
    pub memory_policy: Option<MemoryPolicy>,
    /// Its group of resctrl.
    pub intel_rdt: Option<IntelRdt>,
    /// System call filter.
    pub seccomp: Option<Filter>,
    /// SELinux label of the mounts.
    pub mount_label: Option<CString>,
    /// Hooks.
    pub hooks: Hooks,
    /// Its cgroup; none when it stays in that of the caller.
    pub cgroup: Option<CgroupPlan>,
    /// What the container may do in its cgroup itself.
    pub delegation: Option<Delegation>,
    /// The program has a socket of the service manager.
    pub notifies: bool,
    /// chroot(2) instead of pivot_root(2).
    pub no_pivot: bool,
    /// The process keeps the caller's supplementary groups.
    pub keep_groups: bool,
    /// Made by an ordinary user.
    pub unprivileged: bool,
    /// For the state.
    pub annotations: BTreeMap<String, String>,
}

impl Plan {
    /// Whether the child stops for hooks before it seals its mounts.
    pub fn wants_hooks(&self) -> bool {
        let hooks = &self.hooks;
        let lists = [&hooks.prestart, &hooks.create_runtime, &hooks.create_container];
        lists.iter().any(|list| !list.is_empty())
    }
}
