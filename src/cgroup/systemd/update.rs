//! Other limits for a unit that runs. They are changed by files, as carefully as for any
//! cgroup; then systemd is told what is in force, so that it does not undo it later.

use nix::errno::Errno;

use super::UnitRecord;
use super::manager::{Failure, Manager};
use super::translate::translate;
use crate::cgroup::update::{Applied, apply};
use crate::cgroup::{Cgroup, files};
use crate::dbus::Value;
use crate::error::{Doing, Error, Result};
use crate::model::cgroup::Change;
use crate::model::cgroup::{Otherwise, Setting};
use crate::model::kernel_values;

/// Limits that were changed in the kernel, and of which systemd has been told.
#[derive(Debug)]
pub struct Told<'a> {
    applied: Applied<'a>,
    unit: &'a UnitRecord,
    cgroup: &'a Cgroup,
    settings: Vec<Setting>,
}

impl Told<'_> {
    /// Undoes everything, and tells systemd what is in force again.
    pub fn take_back(self) {
        self.applied.take_back();
        if let Err(untold) = tell(self.unit, self.cgroup, &self.settings) {
            tracing::warn!("systemd cannot be told what is in force again: {}", untold.error);
        }
    }
}

/// Changes the limits of a container: all of them, in the kernel and in systemd, or none.
pub fn update<'a>(unit: &'a UnitRecord, cgroup: &'a Cgroup, change: &Change) -> Result<Told<'a>> {
    // In the units that systemd can remember.
    let settings = translate(&change.settings, u32::MAX).settings;
    let change = Change { settings, ..change.clone() };
    let applied = apply(cgroup, &change)?;
    let told = tell(unit, cgroup, &change.settings);
    let changed = Told { applied, unit, cgroup, settings: change.settings };
    match told {
        Ok(()) => Ok(changed),
        Err(Untold { error, knows }) => {
            // Who may know of it has to be told what is in force again.
            if knows {
                changed.take_back();
            } else {
                changed.applied.take_back();
            }
            Err(error)
        }
    }
}

/// systemd could not be told.
#[derive(Debug)]
struct Untold {
    /// Why.
    error: Error,
    /// It may have taken the values all the same.
    knows: bool,
}

impl Untold {
    fn knows_nothing(error: Error) -> Self {
        Untold { error, knows: false }
    }

    fn knows(error: Error) -> Self {
        Untold { error, knows: true }
    }
}

/// Tells systemd what the kernel has now in the files of these settings.
fn tell(unit: &UnitRecord, cgroup: &Cgroup, settings: &[Setting]) -> Result<(), Untold> {
    let now = now(cgroup, settings).map_err(Untold::knows_nothing)?;
    let known = properties(&now, u32::MAX);
    if known.is_empty() {
        return Ok(());
    }
    let group = in_force(cgroup, OOM_GROUP).map_err(Untold::knows_nothing)?;
    set(unit, &now, &known)?;
    let files = now.iter().map(|setting| (setting.file.as_str(), &setting.value));
    let group = group.iter().map(|value| (OOM_GROUP, value));
    files
        .chain(group)
        .try_for_each(|(file, value)| put_back(cgroup, file, value))
        .map_err(Untold::knows)
}

/// The settings as they are in force.
fn now(cgroup: &Cgroup, settings: &[Setting]) -> Result<Vec<Setting>> {
    let mut now: Vec<Setting> = Vec::new();
    for setting in settings {
        for file in files_of(setting) {
            let Some(value) = in_force(cgroup, file)? else { continue };
            let otherwise = in_other_words(cgroup, file)?;
            now.push(Setting { file: file.to_owned(), value, otherwise, ..setting.clone() });
        }
    }
    Ok(now)
}

/// The weight for BFQ as io.weight would have it, which is what systemd is told of both.
fn in_other_words(cgroup: &Cgroup, file: &str) -> Result<Otherwise> {
    if !matches!(file, "io.bfq.weight" | "io.weight") {
        return Ok(Otherwise::Fail);
    }
    let weight = in_force(cgroup, "io.bfq.weight")?;
    let weight = weight.and_then(|line| line.trim_start_matches("default ").parse().ok());
    Ok(match weight {
        Some(weight) => {
            let value = kernel_values::scaled(weight).to_string();
            Otherwise::Write { file: "io.weight".to_owned(), value }
        }
        None => Otherwise::Fail,
    })
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

fn set(unit: &UnitRecord, now: &[Setting], known: &[(String, Value)]) -> Result<(), Untold> {
    let doing = format!("set properties of the unit {}", unit.name);
    let mut manager = Manager::connect(unit.instance).map_err(Untold::knows_nothing)?;
    let mut answer = manager.set_properties(&unit.name, known);
    if answer.as_ref().is_err_and(|failure| failure.is("PropertyReadOnly")) {
        answer = manager
            .version()
            .and_then(|version| manager.set_properties(&unit.name, &properties(now, version)));
    }
    match answer {
        Ok(()) => {}
        // A limit that was too low has ended the container, and with it the unit.
        Err(failure) if failure.is("NoSuchUnit") => return Ok(()),
        // It sets all properties or none.
        Err(failure @ Failure::Refused(..)) => {
            return Err(Untold::knows_nothing(failure.within(&doing)));
        }
        Err(failure) => return Err(Untold::knows(failure.within(&doing))),
    }
    // systemd answers before it writes to the cgroup, and answers the next question after that.
    manager.version().map(drop).map_err(|failure| Untold::knows(failure.within(&doing)))
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
    match files::read(cgroup.dir(), file) {
        // There is no such file, no such cgroup any more, or it cannot be read.
        Err(Errno::ENOENT | Errno::ENODEV | Errno::EACCES | Errno::EINVAL | Errno::EOPNOTSUPP) => {
            Ok(None)
        }
        other => other
            .map(|text| Some(text.lines().next().unwrap_or_default().to_owned()))
            .doing(|| format!("read {file} of cgroup /{}", cgroup.path())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::diag::field::Field;

    fn setting(file: &str, value: &str, otherwise: Otherwise) -> Setting {
        let (controller, file, value) = ("x".to_owned(), file.to_owned(), value.to_owned());
        Setting { controller, file, value, otherwise, field: Field::root() }
    }

    fn told(files: &[(&str, &str)], settings: &[Setting]) -> Vec<(String, Value)> {
        let name = format!("rt-told-{}-{}", std::process::id(), files[0].1.len());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("mkdir");
        files.iter().for_each(|(file, text)| fs::write(path.join(file), text).expect("write"));
        let now = now(&Cgroup::pretended(&path), settings).expect("read");
        fs::remove_dir_all(path).expect("removed");
        properties(&now, u32::MAX)
    }

    /// It is the value in force that is told, also where another was asked for.
    #[test]
    fn systemd_is_told_what_is_in_force() {
        let io = || Otherwise::Write { file: "io.weight".to_owned(), value: "7475".to_owned() };
        let weight = |value| vec![("IOWeight".to_owned(), Value::U64(value))];
        let asked = [setting("io.bfq.weight", "750", io())];
        assert_eq!(told(&[("io.weight", "default 100\n8:0 5\n")], &asked), weight(100));
        let both = [("io.weight", "default 100\n"), ("io.bfq.weight", "default 500\n")];
        assert_eq!(told(&both, &asked), weight(kernel_values::scaled(500)));
        assert_eq!(told(&both[1..], &asked), weight(kernel_values::scaled(500)));
    }

    #[test]
    fn a_long_list_of_processors_is_told_to_its_end() {
        let list: Vec<_> = (0..1000).step_by(2).map(|cpu: i32| cpu.to_string()).collect();
        let list = list.join(",");
        assert!(list.len() > 1024);
        let told = told(&[("cpuset.cpus", &list)], &[setting("cpuset.cpus", "0", Otherwise::Fail)]);
        let [(name, Value::Array(_, bytes))] = &told[..] else { panic!("{told:?}") };
        assert_eq!((name.as_str(), bytes.len()), ("AllowedCPUs", 125));
        assert!(bytes.iter().all(|byte| *byte == Value::Byte(0x55)));
    }
}
