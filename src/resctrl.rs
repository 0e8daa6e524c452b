//! Groups of the resctrl file system: cache and memory bandwidth of a container
//! (`linux.intelRdt`). The kernel has the rules; here is who makes and removes a group.

pub mod stats;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::diag::field::Field;
use crate::error::{Doing, Error, Result};
use crate::model::intel_rdt::{IntelRdt, Schema, matches};

/// Where the kernel's documentation mounts it.
const ROOT: &str = "/sys/fs/resctrl";

/// The groups of a container, for the state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RdtRecord {
    /// Name of the group; empty for the default one.
    pub group: String,
    /// It was made for this container and goes with it.
    pub made: bool,
    /// Name of the monitoring group, which was made for it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<String>,
    /// The inode number of the group that was made, once it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// What is made bears our mark; nothing did before there was one.
    #[serde(default)]
    pub marked: bool,
}

/// The sticky bit, by which a group of ours is known for which there was no time to note its id.
const MARK: u32 = 0o1000;

/// The file system, mounted.
#[derive(Debug, Clone, Copy)]
pub struct Resctrl<'a> {
    root: &'a Path,
}

impl Resctrl<'static> {
    /// That of the host.
    pub fn host() -> Self {
        Resctrl { root: Path::new(ROOT) }
    }
}

impl Resctrl<'_> {
    /// What will be made: to be noted before it is.
    pub fn intend(&self, plan: &IntelRdt) -> Result<RdtRecord> {
        let field = Field::of("linux.intelRdt");
        if !self.root.join("tasks").exists() {
            let error = Error::new("look for the resctrl file system").errno(Errno::ENOENT);
            return Err(error.field(&field).hint(format!(
                "where the processor has RDT: mount -t resctrl resctrl {}",
                self.root.display()
            )));
        }
        let (group, made) = (plan.group.clone(), !plan.named);
        let record = RdtRecord { group, made, marked: true, ..RdtRecord::default() };
        if record.made && self.directory(&record).exists() {
            return Err(already_there(plan));
        }
        Ok(RdtRecord { monitor: plan.monitor.clone(), ..record })
    }

    /// Makes the group, writes what it is to have, and makes the monitoring group.
    pub fn prepare(&self, plan: &IntelRdt, record: &mut RdtRecord) -> Result<()> {
        let (group, field) = (self.directory(record), Field::of("linux.intelRdt.closID"));
        let made = if record.made {
            // One that somebody has made since we looked is not ours, and would be removed with the
            // container.
            match self.make(&group, &field) {
                Err(error) if error.errno_of() == Some(Errno::EEXIST) => {
                    return Err(already_there(plan));
                }
                other => other?,
            }
            record.id = fs::symlink_metadata(&group).map(|group| group.ino()).ok();
            true
        } else if group.is_dir() {
            compare(&group, &plan.schemas)?;
            false
        } else if plan.makes_group() {
            self.make(&group, &field)?;
            true
        } else {
            let text = format!("the resctrl group {} is not there", plan.group);
            let hint = "make it beforehand, or give it a schema";
            return Err(Error::new(text).field(&field).hint(hint));
        };
        self.fill(plan, &group, record).inspect_err(|_| {
            if made {
                // One that could not be filled is of no use to others. The first error is
                // the one to tell.
                let _ = fs::remove_dir(&group);
            }
        })
    }

    fn make(&self, group: &Path, field: &Field) -> Result<()> {
        let made = DirBuilder::new().mode(0o755 | MARK).create(group);
        let made = made.doing(|| format!("make the resctrl group {}", group.display()));
        made.map_err(|error| self.explained(error).field(field))
    }

    fn fill(&self, plan: &IntelRdt, group: &Path, record: &RdtRecord) -> Result<()> {
        for schema in plan.schemas.iter().chain(&plan.schemata) {
            let text = format!("{}\n", schema.text.trim_end_matches('\n'));
            let written = write(&group.join("schemata"), &text);
            written.map_err(|error| self.explained(error).field(&schema.field))?;
        }
        let field = Field::of("linux.intelRdt.enableMonitoring");
        self.monitor(record).map_or(Ok(()), |monitor| self.make(&monitor, &field))
    }

    /// Writes other schemata into the group of a container. What it had, to be written back.
    pub fn update(&self, record: &RdtRecord, schemas: &[Schema]) -> Result<String> {
        let path = self.directory(record).join("schemata");
        let before = fs::read_to_string(&path).doing(|| format!("read {}", path.display()))?;
        for schema in schemas {
            let written = write(&path, &format!("{}\n", schema.text.trim_end_matches('\n')));
            written.map_err(|error| {
                self.take_back(record, &before);
                self.explained(error).field(&schema.field)
            })?;
        }
        Ok(before)
    }

    /// Takes an [`Resctrl::update`] back.
    pub fn take_back(&self, record: &RdtRecord, before: &str) {
        let path = self.directory(record).join("schemata");
        for line in before.lines().filter(|line| !line.trim().is_empty()) {
            if let Err(error) = write(&path, &format!("{}\n", line.trim())) {
                tracing::warn!("{error}");
            }
        }
    }

    /// Whether the kernel has a resource, by the name of its directory below `info`.
    pub fn has(&self, resource: &str) -> bool {
        self.root.join("info").join(resource).is_dir()
    }

    /// Puts a process into the groups: a monitoring group takes only members of its parent.
    pub fn add(&self, record: &RdtRecord, pid: i32) -> Result<()> {
        for group in [Some(self.directory(record)), self.monitor(record)].into_iter().flatten() {
            let added = write(&group.join("tasks"), &pid.to_string());
            added.map_err(|error| self.explained(error).field(&Field::of("linux.intelRdt")))?;
        }
        Ok(())
    }

    /// Removes what was made for the container. What is gone already is no error, and what others
    /// have made since, stays theirs: `rt` may have been killed before it made its own.
    pub fn remove(&self, record: &RdtRecord) -> Result<()> {
        let made = record.made.then(|| self.directory(record));
        let groups = [(self.monitor(record), None), (made, record.id)];
        for (group, id) in groups.into_iter().filter_map(|(group, id)| Some((group?, id))) {
            if record.marked && is_of_others(&group, id) {
                continue;
            }
            match fs::remove_dir(&group) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                other => other.doing(|| format!("remove the resctrl group {}", group.display()))?,
            }
        }
        Ok(())
    }

    fn directory(&self, record: &RdtRecord) -> PathBuf {
        self.root.join(&record.group)
    }

    fn monitor(&self, record: &RdtRecord) -> Option<PathBuf> {
        record.monitor.as_ref().map(|name| self.directory(record).join("mon_groups").join(name))
    }

    /// Adds what the kernel says about its last refusal.
    fn explained(&self, error: Error) -> Error {
        match fs::read_to_string(self.root.join("info/last_cmd_status")) {
            Ok(text) if !matches!(text.trim(), "" | "ok") => error.detail(text.trim()),
            _ => error,
        }
    }
}

fn is_of_others(group: &Path, id: Option<u64>) -> bool {
    fs::symlink_metadata(group).is_ok_and(|there| match id {
        Some(id) => there.ino() != id,
        None => there.mode() & MARK == 0,
    })
}

fn already_there(plan: &IntelRdt) -> Error {
    Error::new(format!("the resctrl group {} is already there", plan.group))
        .field(&Field::of("linux.intelRdt"))
        .hint("name it as closID to share it")
}

/// A group that others made must already have what the configuration wants.
fn compare(group: &Path, schemas: &[Schema]) -> Result<()> {
    if schemas.is_empty() {
        return Ok(());
    }
    let path = group.join("schemata");
    let current = fs::read_to_string(&path).doing(|| format!("read {}", path.display()))?;
    match schemas.iter().find(|schema| !matches(&current, &schema.text)) {
        None => Ok(()),
        Some(schema) => {
            let text = format!("the resctrl group {} does not have this schema", group.display());
            let current = current.split_whitespace().collect::<Vec<_>>().join(" ");
            Err(Error::new(text).detail(format!("it has {current}")).field(&schema.field))
        }
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    let opened = OpenOptions::new().write(true).open(path);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    written.doing(|| format!("write {:?} to {}", text.trim_end(), path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory in which the test plays the kernel: it puts `tasks` and `schemata` into a
    /// new group, and takes them out before a group is removed.
    pub(super) struct Fake(pub(super) PathBuf);

    impl Fake {
        pub(super) fn new(name: &str) -> Self {
            let fake = std::env::temp_dir().join(format!("rt-rdt-{name}-{}", std::process::id()));
            fs::create_dir_all(&fake).expect("mkdir");
            fs::write(fake.join("tasks"), "").expect("write");
            Fake(fake)
        }
        fn fill(&self, group: &str) {
            for file in ["tasks", "schemata"] {
                fs::write(self.0.join(group).join(file), "").expect("write");
            }
        }
        fn empty(&self, group: &str) -> String {
            let tasks = fs::read_to_string(self.0.join(group).join("tasks")).expect("read");
            for file in ["tasks", "schemata"] {
                fs::remove_file(self.0.join(group).join(file)).expect("unlink");
            }
            tasks
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn own() -> IntelRdt {
        IntelRdt { group: "box".into(), ..IntelRdt::default() }
    }

    #[test]
    fn an_own_group_comes_and_goes() {
        let fake = Fake::new("own");
        let resctrl = Resctrl { root: &fake.0 };
        let mut record = resctrl.intend(&own()).expect("intent");
        resctrl.prepare(&own(), &mut record).expect("made");
        fake.fill("box");
        resctrl.add(&record, 4711).expect("added");
        assert_eq!(fake.empty("box"), "4711");
        let error = resctrl.intend(&own()).expect_err("there").to_string();
        assert!(error.contains("the resctrl group box is already there"), "{error}");
        resctrl.remove(&record).expect("removed");
        resctrl.remove(&record).expect("removed already");
        assert!(!fake.0.join("box").exists());
    }

    /// It would be taken for the container's, and be removed with it.
    #[test]
    fn a_group_that_somebody_has_made_meanwhile_is_not_adopted() {
        let fake = Fake::new("meanwhile");
        let resctrl = Resctrl { root: &fake.0 };
        let plan = IntelRdt { monitor: Some("box".to_owned()), ..own() };
        let mut record = resctrl.intend(&plan).expect("intent");
        fs::create_dir_all(fake.0.join("box/mon_groups/box")).expect("mkdir");
        let error = resctrl.prepare(&plan, &mut record).expect_err("somebody else's").to_string();
        assert!(error.contains("the resctrl group box is already there"), "{error}");
        // By an rt that was killed before it made its own: a delete has only what was intended.
        resctrl.remove(&record).expect("nothing of ours");
        assert!(fake.0.join("box/mon_groups/box").exists());
        fs::remove_dir_all(fake.0.join("box")).expect("rmdir");
        // After it had made its own, which is gone.
        let mut record = resctrl.intend(&own()).expect("intent");
        resctrl.prepare(&own(), &mut record).expect("made");
        fs::rename(fake.0.join("box"), fake.0.join("old")).expect("gone");
        DirBuilder::new().mode(0o755 | MARK).create(fake.0.join("box")).expect("mkdir");
        resctrl.remove(&record).expect("nothing of ours");
        assert!(fake.0.join("box").exists());
        // Before it could note the number of its own; and as it was before there was a mark.
        for record in [
            RdtRecord { id: None, ..record.clone() },
            RdtRecord { id: None, marked: false, ..record },
        ] {
            resctrl.remove(&record).expect("removed");
            assert!(!fake.0.join("box").exists());
            fs::create_dir(fake.0.join("box")).expect("mkdir");
        }
    }

    #[test]
    fn a_named_group_stays_and_its_monitoring_group_goes() {
        let fake = Fake::new("named");
        let resctrl = Resctrl { root: &fake.0 };
        let schemata = Schema { text: "L3:0=f".into(), field: Field::root() };
        let monitor = Some("box".to_owned());
        let plan = IntelRdt { group: "gold".into(), named: true, monitor, ..own() };
        let mut record = resctrl.intend(&plan).expect("intent");
        let error = resctrl.prepare(&plan, &mut record).expect_err("missing").to_string();
        assert!(error.contains("the resctrl group gold is not there"), "{error}");
        // With something to write it is made: here without the kernel's files, so in vain.
        let writes = IntelRdt { schemata: Some(schemata), ..plan.clone() };
        resctrl.prepare(&writes, &mut record).expect_err("no schemata");
        assert!(!fake.0.join("gold").exists());
        fs::create_dir_all(fake.0.join("gold/mon_groups")).expect("mkdir");
        fake.fill("gold");
        resctrl.prepare(&writes, &mut record).expect("made");
        assert_eq!(fs::read_to_string(fake.0.join("gold/schemata")).expect("read"), "L3:0=f\n");
        fake.fill("gold/mon_groups/box");
        resctrl.add(&record, 7).expect("added");
        assert_eq!(
            (fake.empty("gold"), fake.empty("gold/mon_groups/box")),
            ("7".into(), "7".into())
        );
        resctrl.remove(&record).expect("removed");
        assert!(fake.0.join("gold").exists() && !fake.0.join("gold/mon_groups/box").exists());
    }
}
