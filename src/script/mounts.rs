//! Everything about mounts, in the container's mount namespace.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::rc::Rc;

use crate::model::device::fills_dev;
use crate::model::device::{Device, Nodes};
use crate::model::mount::{Mount, What};
use crate::model::namespaces::flag;
use crate::model::plan::Plan;
use crate::model::process::Process;
use crate::script::holders::Holders;
use crate::script::init::InitSetup;
use crate::script::kept::Kept;
use crate::script::op::{Guarded, Op};
use crate::script::steps::{Steps, c_path, close_others, console, own_devices};

/// From a view of the host to one of the container.
pub(super) fn steps(steps: &mut Steps, plan: &Plan, process: &Process, setup: &InitSetup) {
    let keeps = Keeps::of(plan);
    match setup.tree_namespace {
        true => namespace_of_root(steps, plan, &keeps),
        false => copy_of_host(steps, plan, &keeps, setup.unprivileged),
    }
    devices(steps, plan);
    console(steps, process, true);
    own_devices(steps, process, setup.keep_below);
    let cwd = process.cwd.as_bytes();
    let inside = cwd.iter().position(|byte| *byte != b'/').map(|start| &cwd[start..]);
    if let Some(Ok(path)) = inside.map(CString::new) {
        steps.at(Op::MakeCwd(path), "process.cwd");
    }
    if plan.wants_hooks() {
        steps.at(Op::AwaitHooks, "hooks");
    }
    guards(steps, plan, &keeps);
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
fn copy_of_host(steps: &mut Steps, plan: &Plan, keeps: &Keeps<'_>, unprivileged: bool) {
    let shared = is_shared(plan);
    if !shared {
        steps.at(Op::TreePropagation(travel(plan)), "linux.rootfsPropagation");
    }
    steps.push(Op::Umask(0));
    let path = c_path(&plan.rootfs.path);
    let by_parent = plan.namespaces.has(flag::USER) && !unprivileged;
    steps.at(Op::BindRoot { path, private_parent: shared, by_parent }, "root.path");
    for (mount, keep) in plan.mounts.iter().zip(&keeps.kept) {
        let op = Op::Mount { mount: mount.clone(), tree: None, keep: keep.clone() };
        steps.for_field(op, &mount.field);
    }
}

fn empty() -> Kept {
    Rc::new(Cell::new(-1))
}

/// What keeps the mounts that a later step needs.
struct Keeps<'a> {
    holders: Holders<'a>,
    /// One for each mount.
    kept: Vec<Option<Kept>>,
}

impl<'a> Keeps<'a> {
    fn of(plan: &'a Plan) -> Self {
        let holders = Holders::of(plan);
        let late = |mount: &Rc<Mount>| mount.late_readonly.then(empty);
        let mut kept: Vec<Option<Kept>> = plan.mounts.iter().map(late).collect();
        for guarded in plan.rootfs.masked.iter().chain(&plan.rootfs.readonly_paths) {
            if let Some((holder, _)) = holders.find(guarded) {
                kept[holder].get_or_insert_with(empty);
            }
        }
        Keeps { holders, kept }
    }

    /// A guarded path, by the mount that holds it.
    fn find(&self, guarded: &crate::model::rootfs::Guarded) -> Guarded {
        let below = self
            .holders
            .find(guarded)
            .and_then(|(holder, rest)| self.kept[holder].clone().map(|kept| (kept, rest)));
        Guarded { path: guarded.path.clone(), below }
    }
}

/// The namespace begins with the root: what is needed of the host is opened before.
fn namespace_of_root(steps: &mut Steps, plan: &Plan, keeps: &Keeps<'_>) {
    let propagation = travel(plan);
    let mut mounts = Vec::with_capacity(plan.mounts.len());
    for mount in &plan.mounts {
        let tree = match &mount.what {
            What::Bind { source, recursive } => {
                let (tree, source, recursive) = (empty(), source.clone(), *recursive);
                let follow = !mount.links.of_source;
                let op =
                    Op::OpenTree { tree: tree.clone(), source, recursive, follow, propagation };
                steps.for_field(op, &mount.field.key("source"));
                Some(tree)
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
    for ((mount, tree), keep) in mounts.into_iter().zip(&keeps.kept) {
        let op = Op::Mount { mount: mount.clone(), tree, keep: keep.clone() };
        steps.for_field(op, &mount.field);
    }
}

/// What is hidden and what is read-only.
fn guards(steps: &mut Steps, plan: &Plan, keeps: &Keeps<'_>) {
    for guarded in &plan.rootfs.readonly_paths {
        steps.for_field(Op::ReadonlyPath(keeps.find(guarded)), &guarded.field);
    }
    for guarded in &plan.rootfs.masked {
        let (path, label) = (keeps.find(guarded), plan.mount_label.clone());
        steps.for_field(Op::MaskPath { path, label }, &guarded.field);
    }
    for (mount, kept) in plan.mounts.iter().zip(&keeps.kept) {
        if let (true, Some(kept)) = (mount.late_readonly, kept) {
            let (kept, path) = (kept.clone(), mount.target.clone());
            steps.for_field(Op::LateReadonly { mount: kept, path }, &mount.field);
        }
    }
    if plan.rootfs.readonly {
        steps.at(Op::ReadonlyRoot, "root.readonly");
    }
}

/// One step for each directory, so that it is looked up once.
fn devices(steps: &mut Steps, plan: &Plan) {
    let mut groups: BTreeMap<&CStr, Vec<Rc<Device>>> = BTreeMap::new();
    for device in &plan.devices {
        groups.entry(&device.directory).or_default().push(device.clone());
    }
    let mask = !plan.rootfs.masked.is_empty();
    let borrows = plan.nodes == Nodes::OfParent && (mask || !groups.is_empty());
    if borrows {
        steps.at(Op::BorrowNodes { mask }, "linux.devices");
    }
    for (directory, nodes) in groups {
        let (directory, from) = (directory.to_owned(), plan.nodes);
        steps.at(Op::Devices { directory, nodes, from }, "linux.devices");
    }
    if borrows {
        steps.at(Op::ReturnNodes, "linux.devices");
    }
    if fills_dev(&plan.mounts) {
        steps.push(Op::DeviceLinks);
    }
}
