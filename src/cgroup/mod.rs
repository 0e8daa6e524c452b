//! The container's cgroup: made and limited while it is empty, its devices guarded before
//! anything of the container runs, so that there is no moment in which a process of it runs
//! unlimited; and removed with all that is in it.
//!
//! A cgroup is ours only if we made it (its inode number, which is the kernel's id of the
//! cgroup and is not given out again, is recorded). One that was there before is used when
//! it is empty, but never frozen, killed or removed.
//!
//! ```text
//! let mut driver = Fs::new(rootless, tree);  or Systemd::new(instance, rootless, tree)
//! driver.intend(&plan)?;                     nothing made yet; save driver.record()
//! let place = driver.prepare(&plan)?;        made, limited; save driver.record() again
//! clone3(place)
//! driver.attach_devices(&plan, place)?       after Placement::Into
//! driver.adopt(&plan, pid)?                  after Placement::Later only; save driver.record()
//! ...
//! let cgroup = Cgroup::open(&record)?        freeze, kill, pids, a place for exec
//! driver_of(&record).update(&cgroup, &change)?
//! driver_of(&record).remove()?
//! ```

mod attach_devices;
pub mod control;
mod controllers;
mod delegate;
pub mod devices;
mod driver;
pub mod effective;
pub mod files;
pub mod fs;
mod precheck;
mod reclaim;
mod remove;
pub mod stats;
mod subtree;
pub mod systemd;
mod undo;
pub mod update;
pub mod watch;
mod write;

use serde::{Deserialize, Serialize};

pub use control::Cgroup;
pub use delegate::delegate;
pub use driver::{Driver, Placement, Updated, driver_of};
pub use fs::Fs;
pub use systemd::Systemd;

/// The mode of what the driver of files makes. The sticky bit means nothing to a cgroup; it tells a
/// directory that was made and not yet noted from one that somebody else has made since we have
/// said that we would.
const MARKED: u32 = 0o1755;

/// Who made a cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriverKind {
    /// Nobody: the container is in the cgroup of its creator and nothing is limited.
    None,
    /// We, by files.
    Fs,
    /// systemd.
    Systemd,
}

/// What is remembered of a cgroup. Only good during the boot in which it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupRecord {
    /// Who made it.
    pub driver: DriverKind,
    /// Its path below the root of the v2 tree, without a slash in front.
    pub path: String,
    /// Its id. None before it is made.
    pub id: Option<u64>,
    /// The directories that were not there before, outermost first. The container's own
    /// cgroup is the last of them, unless it was there before.
    pub made: Vec<Directory>,
    /// The unit of systemd that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<systemd::UnitRecord>,
}

/// A directory that we made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// Path below the root of the v2 tree.
    pub path: String,
    /// Its id. None before it is made.
    pub id: Option<u64>,
}

impl CgroupRecord {
    /// No cgroup.
    pub fn none() -> Self {
        let (path, made) = (String::new(), Vec::new());
        CgroupRecord { driver: DriverKind::None, path, id: None, made, unit: None }
    }

    /// Whether the cgroup itself is one that we made, and not only some of its parents.
    pub fn is_ours(&self) -> bool {
        self.made.last().is_some_and(|last| last.path == self.path && last.id == self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_from_json() {
        let leaf = Directory { path: "a/b".into(), id: Some(u64::MAX) };
        let made = vec![Directory { path: "a".into(), id: Some(7) }, leaf];
        let (path, id) = ("a/b".into(), Some(u64::MAX));
        let record = CgroupRecord { driver: DriverKind::Fs, path, id, made, unit: None };
        let text = serde_json::to_string(&record).expect("json");
        assert!(text.starts_with(r#"{"driver":"fs","path":"a/b","id":18446744073709551615"#));
        assert_eq!(serde_json::from_str::<CgroupRecord>(&text).expect("record"), record);
        assert!(record.is_ours() && !CgroupRecord::none().is_ours());
    }
}
