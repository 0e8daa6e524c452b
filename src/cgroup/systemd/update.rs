//! Other limits for a unit that runs. They are changed by files, as carefully as for any
//! cgroup; then systemd is told what is in force, so that it does not undo it later.

use nix::errno::Errno;

use super::UnitRecord;
use super::manager::Manager;
use super::translate::translate;
use crate::cgroup::update::{Applied, apply};
use crate::cgroup::{Cgroup, files};
use crate::dbus::Value;
use crate::error::{Doing, Result};
use crate::plan::resources::update::Change;
use crate::plan::resources::{Otherwise, Setting};

/// Changes the limits of a container: all of them, in the kernel and in systemd, or none.
pub fn update<'a>(
    unit: &'a UnitRecord,
    cgroup: &'a Cgroup,
    change: &Change,
) -> Result<Applied<'a>> {
    // In the units that systemd can remember.
    let settings = translate(&change.settings, u32::MAX).settings;
    let change = Change { settings, ..change.clone() };
    let applied = apply(cgroup, &change)?;
    match tell(unit, cgroup, &change.settings) {
        Ok(()) => Ok(applied.with_unit(unit, change.settings)),
        Err(error) => {
            applied.take_back();
            Err(error)
        }
    }
}

/// Tells systemd what the kernel has now in the files of these settings.
pub fn tell(unit: &UnitRecord, cgroup: &Cgroup, settings: &[Setting]) -> Result<()> {
    let mut now: Vec<Setting> = Vec::new();
    for setting in settings {
        for file in files_of(setting) {
            if let Some(value) = in_force(cgroup, file)? {
                now.push(Setting { file: file.to_owned(), value, ..setting.clone() });
            }
        }
    }
    let known = properties(&now, u32::MAX);
    if known.is_empty() {
        return Ok(());
    }
    let group = in_force(cgroup, OOM_GROUP)?;
    set(unit, &now, &known)?;
    for Setting { file, value, .. } in &now {
        put_back(cgroup, file, value)?;
    }
    group.map_or(Ok(()), |value| put_back(cgroup, OOM_GROUP, &value))
}

/// With any property systemd also writes this one, after a policy that was set when the unit
/// was made and cannot be changed.
const OOM_GROUP: &str = "memory.oom.group";

/// systemd has its own idea of some values: it forgets the period of a quota that is none, and
/// converts weights for the BFQ scheduler.
fn put_back(cgroup: &Cgroup, file: &str, value: &str) -> Result<()> {
    if in_force(cgroup, file)?.is_none_or(|now| now == value) {
        return Ok(());
    }
    match files::write(cgroup.dir(), file, value) {
        // The limit was too low, and has ended the container.
        Err(Errno::ENOENT | Errno::ENODEV) => Ok(()),
        written => written.doing(|| format!("write {file} of cgroup /{}", cgroup.path())),
    }
}

fn set(unit: &UnitRecord, now: &[Setting], known: &[(String, Value)]) -> Result<()> {
    let doing = format!("set properties of the unit {}", unit.name);
    let mut manager = Manager::connect(unit.instance)?;
    match manager.set_properties(&unit.name, known) {
        Err(failure) if failure.is("PropertyReadOnly") => {
            let version = manager.version().map_err(|failure| failure.within(&doing))?;
            manager.set_properties(&unit.name, &properties(now, version))
        }
        answer => answer,
    }
    // systemd answers before it writes to the cgroup, and answers the next question after that.
    .and_then(|()| manager.version().map(drop))
    .or_else(|failure| match failure {
        // A limit that was too low has ended the container, and with it the unit.
        failure if failure.is("NoSuchUnit") => Ok(()),
        failure => Err(failure.within(&doing)),
    })
}

/// Those that systemd lets be changed while the unit runs.
fn properties(settings: &[Setting], version: u32) -> Vec<(String, Value)> {
    let mut properties = translate(settings, version).properties;
    properties.retain(|(name, _)| name != "OOMPolicy");
    properties
}

/// The files of which systemd has to know when a setting is changed.
fn files_of(setting: &Setting) -> Vec<&str> {
    match (setting.file.as_str(), &setting.otherwise) {
        // One property says both.
        ("cpu.weight" | "cpu.idle", _) => vec!["cpu.weight", "cpu.idle"],
        (file, Otherwise::Write { file: other, .. }) => vec![file, other],
        (file, _) => vec![file],
    }
}

/// The value for the cgroup as a whole, which comes above those of single devices.
fn in_force(cgroup: &Cgroup, file: &str) -> Result<Option<String>> {
    match files::read_short(cgroup.dir(), file) {
        // There is no such file, no such cgroup any more, or it cannot be read.
        Err(Errno::ENOENT | Errno::ENODEV | Errno::EACCES | Errno::EINVAL | Errno::EOPNOTSUPP) => {
            Ok(None)
        }
        other => other
            .map(|text| Some(text.lines().next().unwrap_or_default().to_owned()))
            .doing(|| format!("read {file} of cgroup /{}", cgroup.path())),
    }
}
