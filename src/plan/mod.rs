//! Everything that a configuration decides, decided: pure functions from the spec to a
//! [`Plan`], and from there to the child's [`script`]. Nothing here touches the machine.

pub mod annotations;
pub mod creds;
pub mod delegation;
pub mod devices;
pub mod hooks;
pub mod intel_rdt;
pub mod limits;
pub mod memory_policy;
mod mount_label;
pub mod mounts;
pub mod namespaces;
pub mod net_devices;
pub mod notify;
pub mod options;
mod paths;
pub mod process;
pub mod resources;
pub mod rootfs;
pub mod sysctl;

use std::ffi::CString;
use std::path::Path;
use std::rc::Rc;

use oci_spec::runtime::Spec;

use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::cgroup::{CgroupPlan, Manager};
use crate::model::device::Nodes;
use crate::model::namespaces::{IdMapping, Namespaces, flag};
use crate::model::plan::Plan;
use crate::model::process::Process;
use crate::seccomp::{self, Filter};

/// The longest host name that the kernel takes (`__NEW_UTS_LEN`).
const MAX_HOSTNAME: usize = 64;

/// What the caller wants beside the configuration, and what of the machine bears on it.
#[derive(Debug, Clone)]
pub struct Opts<'a> {
    /// Container id.
    pub id: &'a str,
    /// Directory of config.json, absolute.
    pub bundle: &'a Path,
    /// chroot(2) instead of pivot_root(2).
    pub no_pivot: bool,
    /// Environment that descriptor passing adds.
    pub extra_env: &'a [String],
    /// The caller is not root: it may map its own ids, and with helpers some others.
    pub unprivileged: bool,
    /// The caller may make device nodes: with CAP_MKNOD, and outside of any user namespace.
    pub makes_nodes: bool,
    /// The user namespace of the runtime forbids setgroups(2).
    pub setgroups_denied: bool,
    /// Kinds of which the container's namespace belongs to another user namespace than its own,
    /// as far as the kernel had to be asked.
    pub foreign_namespaces: u64,
    /// Who makes its cgroup.
    pub cgroups: Manager,
    /// The host's cgroup2 tree.
    pub cgroup_root: &'a Path,
    /// The socket on which a service manager of the host wants to hear that the program is
    /// ready (sd_notify(3)).
    pub notify_socket: Option<&'a Path>,
}

/// Reads a whole configuration; the plan is good where the findings have no violation.
pub fn build(spec: &Spec, opts: &Opts<'_>) -> (Plan, Findings) {
    let mut findings = Findings::default();
    let plan = read(spec, opts, &mut findings);
    (plan, findings)
}

fn read(spec: &Spec, opts: &Opts<'_>, findings: &mut Findings) -> Plan {
    paths::check(spec, opts.bundle, findings);
    let mut namespaces = namespaces::plan(spec, findings);
    namespaces.deny_setgroups = opts.setgroups_denied
        || namespaces.is_new(flag::USER) && opts.unprivileged && namespaces.maps_one_group();
    namespaces.foreign = opts.foreign_namespaces;
    let notify_socket = notify::wanted(spec, &namespaces, opts.notify_socket);
    let root = spec.root().as_ref().map(|root| opts.bundle.join(root.path()));
    let around = mounts::Around {
        namespaces: &namespaces,
        bundle: opts.bundle,
        root: &root.unwrap_or_default(),
        unprivileged: opts.unprivileged,
        cgroup_root: opts.cgroup_root,
        notify_socket,
    };
    let mut mounts = mounts::plan(spec, around, findings);
    let mount_label = mount_label::plan(spec, &mut mounts, findings);
    check_devices(spec, &namespaces, findings);
    let asked = annotations::plan(spec, findings);
    let mut extra_env = opts.extra_env.to_vec();
    extra_env.extend(notify_socket.map(|_| notify::ENV.to_owned()));
    let process = spec.process().as_ref().map(|p| process::plan(p, &extra_env, findings));
    if let Some(process) = &process {
        check_groups(process, &namespaces, asked.keep_groups, findings);
    }
    let uid = process.as_ref().map_or(0, |process| process.creds.uid);
    Plan {
        rootfs: rootfs::plan(spec, opts.bundle, &namespaces, findings),
        net_devices: net_devices::plan(spec, &namespaces, opts.unprivileged, findings),
        devices: devices::plan(spec, &mounts, findings).into_iter().map(Rc::new).collect(),
        nodes: nodes(&namespaces, opts),
        sysctls: sysctl::plan(spec, &namespaces, findings),
        hostname: host_name(spec.hostname().as_deref(), "hostname", &namespaces, findings),
        domainname: host_name(spec.domainname().as_deref(), "domainname", &namespaces, findings),
        personality: limits::personality(spec, findings),
        memory_policy: memory_policy::plan(spec, findings),
        intel_rdt: intel_rdt::plan(spec, opts.id, findings),
        seccomp: seccomp_filter(spec, findings),
        mount_label,
        hooks: hooks::plan(spec.hooks().as_ref(), findings),
        cgroup: cgroup(spec, opts, findings),
        delegation: delegation::plan(&namespaces, &mounts, uid, asked.leaf, findings),
        notifies: notify_socket.is_some(),
        no_pivot: opts.no_pivot,
        keep_groups: asked.keep_groups,
        unprivileged: opts.unprivileged,
        annotations: asked.all,
        process,
        mounts: mounts.into_iter().map(Rc::new).collect(),
        namespaces,
    }
}

/// Nobody in a user namespace may make a device node.
fn nodes(namespaces: &Namespaces, opts: &Opts<'_>) -> Nodes {
    match opts.makes_nodes {
        false => Nodes::OfHost,
        true if namespaces.has(flag::USER) => Nodes::OfParent,
        true => Nodes::Made,
    }
}

fn cgroup(spec: &Spec, opts: &Opts<'_>, findings: &mut Findings) -> Option<CgroupPlan> {
    let mut plan = resources::plan(spec.linux().as_ref(), opts.id, opts.cgroups, findings);
    match opts.cgroups {
        Manager::None => {}
        Manager::Files => return Some(plan),
        Manager::Systemd(_) => {
            let annotations = spec.annotations().as_ref();
            plan.properties = annotations
                .map(|annotations| resources::properties::plan(annotations, findings))
                .unwrap_or_default();
            return Some(plan);
        }
    }
    for setting in &plan.settings {
        findings.refuse(&setting.field, "cannot be set: the cgroup manager is disabled");
    }
    None
}

fn host_name(
    name: Option<&str>,
    key: &'static str,
    namespaces: &Namespaces,
    findings: &mut Findings,
) -> Option<CString> {
    let (name, field) = (name.filter(|name| !name.is_empty())?, Field::of(key));
    if !namespaces.has(flag::UTS) {
        findings.refuse_value(&field, name, "needs a uts namespace in linux.namespaces");
    }
    if name.len() > MAX_HOSTNAME {
        findings.refuse_value(&field, name, "longer than the kernel's 64 bytes");
    }
    Some(findings.c_string(&field, name))
}

/// Compiles `linux.seccomp`.
pub fn seccomp_filter(spec: &Spec, findings: &mut Findings) -> Option<Filter> {
    let profile = spec.linux().as_ref()?.seccomp().as_ref()?;
    match seccomp::compile(profile, seccomp::NATIVE, &mut findings.notices) {
        Ok(filter) => {
            if filter.answer(seccomp::NATIVE, "execve").is_some_and(seccomp::refuses) {
                let reason = "refuses execve, by which the runtime starts the program";
                findings.refuse(&Field::of("linux.seccomp"), reason);
            }
            tracing::debug!("seccomp filter flags: {}", filter.flags);
            Some(filter)
        }
        Err(violations) => {
            findings.violations.extend(violations);
            None
        }
    }
}

/// user_namespaces(7): an unprivileged caller must give up setgroups(2) before it may
/// write gid_map, so that dropping a group cannot gain it anything (CVE-2014-8989).
fn check_groups(
    process: &Process,
    namespaces: &Namespaces,
    keep_groups: bool,
    findings: &mut Findings,
) {
    if keep_groups && !process.creds.groups.is_empty() {
        let text = format!("not set: the annotation {} is", annotations::KEEP_GROUPS);
        findings.notice(&Field::of("process.user.additionalGids"), text);
    } else if namespaces.deny_setgroups && !process.creds.groups.is_empty() {
        let reason = "cannot be set: a user namespace that an ordinary user has made without \
                      newgidmap forbids it";
        findings.refuse(&Field::of("process.user.additionalGids"), reason);
    }
    if !namespaces.is_new(flag::USER) {
        return;
    }
    let ids = [
        ("uid", process.creds.uid, &namespaces.uid_map),
        ("gid", process.creds.gid, &namespaces.gid_map),
    ];
    for (key, id, map) in ids {
        let inside = |m: &IdMapping| m.outside(id).is_some();
        if !map.is_empty() && !map.iter().any(inside) {
            let reason = format!("not in linux.{key}Mappings");
            findings.refuse_value(&Field::of("process.user").key(key), id, reason);
        }
        let field = Field::of("process.user.additionalGids");
        for (index, gid) in process.creds.groups.iter().enumerate().filter(|_| key == "gid") {
            let inside = |m: &IdMapping| m.outside(*gid).is_some();
            if !map.is_empty() && !map.iter().any(inside) {
                findings.refuse_value(&field.at(index), gid, "not in linux.gidMappings");
            }
        }
    }
}

/// Without a mount namespace of its own the container has no /dev to make nodes in.
fn check_devices(spec: &Spec, namespaces: &Namespaces, findings: &mut Findings) {
    let devices = spec.linux().as_ref().and_then(|linux| linux.devices().as_ref());
    if !namespaces.is_new(flag::MOUNT) && devices.is_some_and(|list| !list.is_empty()) {
        findings.refuse(&Field::of("linux.devices"), mounts::NEED_NAMESPACE);
    }
}
