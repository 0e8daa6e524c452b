//! Everything about mounts, in the container's mount namespace.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::rc::Rc;

use super::{InitSetup, Steps, c_path, close_others, console};
use crate::child::Op;
use crate::plan::Plan;
use crate::plan::devices::{self, Device};
use crate::plan::mounts::What;
use crate::plan::namespaces::flag;
use crate::plan::process::Process;

/// From a view of the host to one of the container.
pub(super) fn steps(steps: &mut Steps, plan: &Plan, process: &Process, setup: &InitSetup) {
    match setup.tree_namespace {
        true => namespace_of_root(steps, plan),
        false => copy_of_host(steps, plan),
    }
    devices(steps, plan);
    console(steps, process, true);
    let cwd = process.cwd.as_bytes();
    let inside = cwd.iter().position(|byte| *byte != b'/').map(|start| &cwd[start..]);
    if let Some(Ok(path)) = inside.map(CString::new) {
        steps.at(Op::MakeCwd(path), "process.cwd");
    }
    if plan.wants_hooks() {
        steps.at(Op::AwaitHooks, "hooks");
    }
    guards(steps, plan);
    if setup.tree_namespace {
        steps.push(Op::CloseRoot);
    }
    close_others(steps, setup.keep_below, setup.gate);
    if !setup.tree_namespace {
        let enter = match plan.no_pivot {
            true => Op::Chroot { unmount: setup.unmount.clone() },
            false => Op::Pivot { shared: is_shared(plan) },
        };
        steps.at(enter, "root.path");
    }
    if let Some((kind, recursive)) = plan.rootfs.propagation {
        steps.at(Op::RootPropagation { kind, recursive }, "linux.rootfsPropagation");
    }
}

fn is_shared(plan: &Plan) -> bool {
    matches!(plan.rootfs.propagation, Some((libc::MS_SHARED, _)))
}

/// Nothing that is mounted in the container may travel to the host. What the host mounts still
/// arrives, unless the configuration says private.
fn travel(plan: &Plan) -> u64 {
    match plan.rootfs.propagation {
        Some((libc::MS_PRIVATE, _)) => libc::MS_PRIVATE,
        _ => libc::MS_SLAVE,
    }
}

/// The namespace begins as a copy of the host's, in which everything is mounted below the root.
fn copy_of_host(steps: &mut Steps, plan: &Plan) {
    let shared = is_shared(plan);
    if !shared {
        steps.at(Op::TreePropagation(travel(plan)), "linux.rootfsPropagation");
    }
    steps.push(Op::Umask(0));
    let path = c_path(&plan.rootfs.path);
    steps.at(Op::BindRoot { path, private_parent: shared }, "root.path");
    for mount in &plan.mounts {
        let op = Op::Mount { mount: mount.clone(), tree: None };
        steps.for_field(op, &mount.field);
    }
}

/// The namespace begins with the root: what is needed of the host is opened before.
fn namespace_of_root(steps: &mut Steps, plan: &Plan) {
    let propagation = travel(plan);
    let mut slots = 0;
    let mut mounts = Vec::with_capacity(plan.mounts.len());
    for mount in &plan.mounts {
        let tree = match &mount.what {
            What::Bind { source, recursive } => {
                let (slot, source, recursive) = (slots, source.clone(), *recursive);
                let op = Op::OpenTree { slot, source, recursive, propagation };
                steps.for_field(op, &mount.field.key("source"));
                slots += 1;
                Some(slot)
            }
            _ => None,
        };
        mounts.push((mount, tree));
    }
    if !plan.rootfs.masked.is_empty() {
        steps.at(Op::OpenNull, "linux.maskedPaths");
    }
    let path = c_path(&plan.rootfs.path);
    steps.at(Op::TreeNamespace { path, propagation }, "root.path");
    steps.push(Op::Umask(0));
    for (mount, tree) in mounts {
        let op = Op::Mount { mount: mount.clone(), tree };
        steps.for_field(op, &mount.field);
    }
}

/// What is hidden and what is read-only.
fn guards(steps: &mut Steps, plan: &Plan) {
    for guarded in &plan.rootfs.readonly_paths {
        steps.for_field(Op::ReadonlyPath(guarded.path.clone()), &guarded.field);
    }
    for guarded in &plan.rootfs.masked {
        let (path, label) = (guarded.path.clone(), plan.mount_label.clone());
        steps.for_field(Op::MaskPath { path, label }, &guarded.field);
    }
    for mount in plan.mounts.iter().filter(|mount| mount.late_readonly) {
        steps.for_field(Op::LateReadonly(mount.target.clone()), &mount.field);
    }
    if plan.rootfs.readonly {
        steps.at(Op::ReadonlyRoot, "root.readonly");
    }
}

/// One step for each directory, so that it is looked up once.
fn devices(steps: &mut Steps, plan: &Plan) {
    let bind = plan.namespaces.has(flag::USER) || plan.bind_devices;
    let mut groups: BTreeMap<&CStr, Vec<Rc<Device>>> = BTreeMap::new();
    for device in &plan.devices {
        groups.entry(&device.directory).or_default().push(device.clone());
    }
    for (directory, nodes) in groups {
        let directory = directory.to_owned();
        steps.at(Op::Devices { directory, nodes, bind }, "linux.devices");
    }
    if devices::fills_dev(&plan.mounts) {
        steps.push(Op::DeviceLinks);
    }
}
