//! The driver that has systemd make the cgroup: one transient scope, made by one call that
//! carries the limits and the first process. That process waits meanwhile, before it has
//! done anything.
//!
//! The scope is delegated (`Delegate=yes`), so that below it everything is ours: freezing,
//! killing, joining, and what systemd has no property for is done by files, and without
//! systemd. Its devices are guarded by our own program, which systemd leaves alone as long as
//! it has no device rules for the unit.

mod manager;
mod stop;
mod translate;
mod update;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::fstat;
use serde::{Deserialize, Serialize};

use self::manager::{Failure, Manager};
use self::translate::{Translation, translate};
pub use self::update::Told;
use super::controllers::Controllers;
use super::write::{refused, write};
use super::{
    Cgroup, CgroupRecord, Directory, Driver, DriverKind, Placement, Updated, attach_devices, files,
    precheck,
};
use crate::dbus::Value;
use crate::diag::field::Field;
use crate::error::{Doing, Error, Result};
use crate::host::cgroup::{Membership, Tree};
use crate::host::systemd::Instance;
use crate::model::cgroup::Change;
use crate::model::cgroup::{CgroupPlan, Setting};
use crate::model::unit::Unit;

/// What is remembered of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRecord {
    /// Its full name.
    pub name: String,
    /// Whose it is.
    pub instance: Instance,
    /// The file that is there as long as systemd knows the unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// cgroup v2 by systemd.
#[derive(Debug)]
pub struct Systemd {
    instance: Instance,
    rootless: bool,
    /// None for a unit that is there.
    tree: Option<Tree>,
    record: CgroupRecord,
}

impl Systemd {
    /// `rootless`: a device program that may not be loaded is forgiven.
    pub fn new(instance: Instance, rootless: bool, tree: Tree) -> Self {
        Systemd { instance, rootless, tree: Some(tree), record: CgroupRecord::none() }
    }

    /// For a unit that is there.
    pub(super) fn of(record: &CgroupRecord, unit: &UnitRecord) -> Self {
        Systemd { instance: unit.instance, rootless: false, tree: None, record: record.clone() }
    }

    /// Something to do with the root of the cgroup tree.
    fn in_tree<T>(&self, work: impl FnOnce(&OwnedFd) -> T) -> Result<T> {
        match &self.tree {
            Some(tree) => Ok(work(&tree.root)),
            None => Ok(work(&Tree::open()?.root)),
        }
    }

    /// Makes the unit, with all properties that this systemd knows; what is left for files.
    fn start(&mut self, plan: &CgroupPlan, init: Option<i32>) -> Result<(Manager, Vec<Setting>)> {
        let unit = plan.unit()?;
        let doing = format!("make the unit {}", unit.name);
        let mut manager = Manager::connect(self.instance)?;
        // Almost every systemd in use knows all of them; one that does not is asked for its
        // version.
        let mut translation = translate(&plan.settings, u32::MAX);
        let (mut asked, mut forgotten) = (false, false);
        loop {
            let properties = properties(plan, unit, &translation, init);
            let failure = match manager.start_unit(&unit.name, &properties) {
                Ok(()) => return Ok((manager, translation.settings)),
                Err(failure) => failure,
            };
            match failure {
                // "Cannot set property ..., or unknown property."
                failure if failure.is("PropertyReadOnly") && !asked => {
                    asked = true;
                    let version = manager.version().map_err(|failure| failure.within(&doing))?;
                    let known = translate(&plan.settings, version);
                    if known == translation {
                        return Err(self.give_up(failure, &doing));
                    }
                    translation = known;
                }
                // One that has failed stays until somebody has looked at it.
                failure if failure.is("UnitExists") && !unit.is_slice() && !forgotten => {
                    forgotten = true;
                    if manager.reset_failed(&unit.name).is_err() {
                        return Err(self.give_up(failure, &doing));
                    }
                }
                failure => return Err(self.give_up(failure, &doing)),
            }
        }
    }

    /// A unit that was there before, or was refused, is not ours to remove.
    fn give_up(&mut self, failure: Failure, doing: &str) -> Error {
        if matches!(failure, Failure::Broken(_)) {
            return failure.within(doing);
        }
        self.record = CgroupRecord::none();
        if failure.is("UnitExists") {
            // One without processes is gone, or has been forgotten by now.
            failure
                .within(&format!("container's cgroup is not empty: {doing}"))
                .field(&Field::of("linux.cgroupsPath"))
                .hint("delete the container that has it, or give another cgroupsPath")
        } else {
            failure.within(doing)
        }
    }

    /// Where systemd will make the cgroup nobody may be. Only the machine's systemd is known to
    /// have its units at the top; for a user's, the cgroup is looked at when it is made.
    fn look_for_others(&mut self, unit: &Unit) -> Result<()> {
        if self.instance != Instance::System || unit.is_slice() {
            return Ok(());
        }
        let path = unit.cgroup();
        let Ok(leaf) = self.in_tree(|root| files::open_cgroup(root, &path))? else { return Ok(()) };
        let checked = precheck::demand(&leaf, &path, None, &Field::of("linux.cgroupsPath"));
        if checked.is_err() {
            self.record = CgroupRecord::none();
        }
        checked
    }

    /// From here on the cgroup is known by its id.
    fn note(&mut self, path: &str) -> Result<OwnedFd> {
        let doing = || format!("open cgroup /{path}");
        let leaf = self.in_tree(|root| files::open_cgroup(root, path))?.doing(doing)?;
        let id = Some(fstat(&leaf).doing(doing)?.st_ino);
        self.record.path = path.to_owned();
        self.record.id = id;
        self.record.made = vec![Directory { path: path.to_owned(), id }];
        Ok(leaf)
    }

    /// systemd does not say which values the kernel did not take, nor what it could not
    /// pass down to the unit: so all are written again.
    fn fill(&self, leaf: &OwnedFd, settings: &[Setting], plan: &CgroupPlan) -> Result<()> {
        let path = &self.record.path;
        for setting in settings {
            let written = write(leaf, setting).or_else(|errno| {
                let mut controllers = Controllers::default();
                let mut answer = Err(errno);
                if errno == Errno::ENOENT {
                    // systemd leaves alone what it does not manage, for example hugetlb.
                    controllers = self.in_tree(|root| Controllers::enable(root, path, &[]))?;
                    answer = write(leaf, setting);
                }
                answer.map_err(|errno| refused(path, setting, errno, &controllers))
            });
            written?;
        }
        attach_devices::attach(leaf.as_fd(), &self.record, &plan.devices, self.rootless)
    }
}

/// Everything that the unit gets, each property once: annotations win over what we set
/// without being asked, and limits of the configuration over annotations.
fn properties(
    plan: &CgroupPlan,
    unit: &Unit,
    translation: &Translation,
    init: Option<i32>,
) -> Vec<(String, Value)> {
    let mut all: Vec<(String, Value)> = Vec::new();
    let mut set = |name: &str, value: Value| match all.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => *old = value,
        None => all.push((name.to_owned(), value)),
    };
    set("Description", Value::str(plan.description.as_str()));
    if unit.is_slice() {
        set("Wants", Value::strings([unit.slice.as_str()]));
    } else {
        set("Slice", Value::str(unit.slice.as_str()));
        set("Delegate", Value::Bool(true));
    }
    set("DefaultDependencies", Value::Bool(false));
    for name in ["CPUAccounting", "IOAccounting", "MemoryAccounting", "TasksAccounting"] {
        set(name, Value::Bool(true));
    }
    for property in &plan.properties {
        set(&property.name, property.value.clone());
    }
    // A slice has no policy: there, memory.oom.group is a file only.
    let known = |name: &str| !(unit.is_slice() && name == "OOMPolicy");
    for (name, value) in translation.properties.iter().filter(|(name, _)| known(name)) {
        set(name, value.clone());
    }
    if let Some(pid) = init {
        let pid = Value::U32(pid.unsigned_abs());
        set("PIDs", Value::Array("u".to_owned(), vec![pid]));
    }
    all
}

impl Driver for Systemd {
    fn intend(&mut self, plan: &CgroupPlan) -> Result<()> {
        let name = plan.unit()?.name.clone();
        let file = self.instance.transient().map(|directory| format!("{directory}/{name}"));
        let unit = Some(UnitRecord { name, instance: self.instance, file });
        self.record = CgroupRecord { driver: DriverKind::Systemd, unit, ..CgroupRecord::none() };
        Ok(())
    }

    /// A slice takes no process when it is made: that is cloned into it.
    fn prepare(&mut self, plan: &CgroupPlan) -> Result<Placement> {
        let unit = plan.unit()?;
        self.look_for_others(unit)?;
        if !unit.is_slice() {
            return Ok(Placement::Later);
        }
        let (mut manager, settings) = self.start(plan, None)?;
        let doing = format!("ask for the cgroup of {}", unit.name);
        let path = manager.cgroup_of_slice(&unit.name).map_err(|f| f.within(&doing))?;
        drop(manager);
        let leaf = self.note(&path)?;
        if let Err(error) = self.fill(&leaf, &settings, plan) {
            // A slice stays when it is empty: nobody else would stop it.
            if let Err(failed) = self.remove() {
                tracing::warn!("clean up: {failed}");
            }
            return Err(error);
        }
        Ok(Placement::Into(leaf))
    }

    /// A slice is guarded by `prepare`, a scope by `adopt`.
    fn attach_devices(&self, _plan: &CgroupPlan, _leaf: BorrowedFd<'_>) -> Result<()> {
        Ok(())
    }

    fn adopt(&mut self, plan: &CgroupPlan, init: i32) -> Result<()> {
        let (_, settings) = self.start(plan, Some(init))?;
        let unit = plan.unit()?;
        // The kernel knows where the process is: no need to ask systemd.
        let membership = Membership::read_of(init)?;
        let path = membership.path().unwrap_or_default();
        if path.rsplit('/').next() != Some(&*unit.directory()) {
            return Err(Error::new(format!("make the unit {}", unit.name))
                .detail(format!("systemd has left the first process in cgroup /{path}"))
                .hint("another instance of systemd, or a process of its user, may be in the way"));
        }
        let leaf = self.note(path)?;
        // systemd takes a directory that was there before.
        precheck::demand(&leaf, path, Some(init), &Field::of("linux.cgroupsPath"))?;
        self.fill(&leaf, &settings, plan)
    }

    fn update<'a>(&'a self, cgroup: &'a Cgroup, change: &Change) -> Result<Updated<'a>> {
        match &self.record.unit {
            Some(unit) => update::update(unit, cgroup, change).map(Updated::Unit),
            None => super::update::apply(cgroup, change).map(Updated::Files),
        }
    }

    fn remove(&self) -> Result<()> {
        match &self.record.unit {
            Some(unit) => stop::remove(&self.record, unit),
            None => Ok(()),
        }
    }

    fn record(&self) -> &CgroupRecord {
        &self.record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cgroup::CgroupPath;
    use crate::model::cgroup::Property;

    fn plan(unit: &Unit, annotated: &[(&str, Value)]) -> CgroupPlan {
        let property = |(name, value): &(&str, Value)| Property {
            name: (*name).to_owned(),
            value: value.clone(),
            field: Field::root(),
        };
        CgroupPlan {
            path: CgroupPath::Unit(unit.clone()),
            settings: vec![],
            devices: vec![],
            properties: annotated.iter().map(property).collect(),
            description: "a container".to_owned(),
        }
    }

    fn value(all: &[(String, Value)], name: &str) -> Option<Value> {
        assert!(all.iter().filter(|(known, _)| known == name).count() <= 1, "{name} twice");
        all.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    #[test]
    fn annotations_win_over_defaults_and_limits_over_annotations() {
        let unit = Unit { name: "p-n.scope".into(), slice: "a.slice".into() };
        let annotated = [
            ("CollectMode", Value::str("inactive")),
            ("MemoryMax", Value::U64(1)),
            ("TasksMax", Value::U64(2)),
        ];
        let plan = plan(&unit, &annotated);
        let limits = vec![("MemoryMax".to_owned(), Value::U64(7))];
        let translation = Translation { properties: limits, settings: vec![] };
        let all = properties(&plan, &unit, &translation, Some(42));
        for (name, expected) in [
            ("CollectMode", Value::str("inactive")),
            ("MemoryMax", Value::U64(7)),
            ("TasksMax", Value::U64(2)),
            ("Delegate", Value::Bool(true)),
            ("Slice", Value::str("a.slice")),
            ("DefaultDependencies", Value::Bool(false)),
            ("PIDs", Value::Array("u".into(), vec![Value::U32(42)])),
        ] {
            assert_eq!(value(&all, name), Some(expected), "{name}");
        }
        assert_eq!(value(&all, "Wants"), None);
    }

    #[test]
    fn a_slice_takes_no_process_and_is_not_delegated() {
        let unit = Unit { name: "a-b.slice".into(), slice: "a.slice".into() };
        let all = properties(&plan(&unit, &[]), &unit, &Translation::default(), None);
        assert_eq!(value(&all, "Wants"), Some(Value::strings(["a.slice"])));
        for name in ["Delegate", "Slice", "PIDs"] {
            assert_eq!(value(&all, name), None, "{name}");
        }
        // OOMPolicy is one of services and scopes only.
        let group = || Translation {
            properties: vec![("OOMPolicy".to_owned(), Value::str("kill"))],
            settings: vec![],
        };
        let all = properties(&plan(&unit, &[]), &unit, &group(), None);
        assert_eq!(value(&all, "OOMPolicy"), None);
        let scope = Unit { name: "a.scope".into(), ..unit };
        let all = properties(&plan(&scope, &[]), &scope, &group(), None);
        assert_eq!(value(&all, "OOMPolicy"), Some(Value::str("kill")));
    }
}
