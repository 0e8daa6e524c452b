//! The container's cgroup: made and limited while it is empty, its devices guarded before
//! anything of the container runs, so that there is no moment in which a process of it runs
//! unlimited; and removed with all that is in it.
//!
//! A cgroup is ours only if we made it (its inode number, which is the kernel's id of the
//! cgroup and is not given out again, is recorded). One that was there before is used when
//! it is empty, but never frozen, killed or removed.
//!
//! ```text
//! let mut driver = Fs::new(rootless);  or Systemd::new(instance, rootless)
//! driver.intend(&plan)?;               nothing made yet; save driver.record()
//! let place = driver.prepare(&plan)?;  made, limited; save driver.record() again
//! clone3(place)
//! driver.guard(&plan, place)?          after Placement::Into
//! driver.adopt(&plan, pid)?            after Placement::Later only; save driver.record()
//! ...
//! Cgroup::open(&record)?               freeze, kill, pids, a place for exec
//! remove(&record)?
//! ```

pub mod control;
mod controllers;
mod delegate;
pub mod devices;
pub mod files;
mod fresh;
pub mod fs;
mod guard;
pub mod limits;
mod remove;
mod setting;
mod shrink;
pub mod stats;
pub mod systemd;
mod undo;
pub mod update;
mod walk;
pub mod watch;

use std::os::fd::{BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::plan::resources::CgroupPlan;

pub use control::Cgroup;
pub use delegate::delegate;
pub use fs::Fs;
pub use remove::remove;
pub use systemd::Systemd;

/// The mode of what the driver of files makes. The sticky bit means nothing to a cgroup; it tells a
/// directory that was made and not yet noted from one that somebody else has made since we have
/// said that we would.
const MARKED: u32 = 0o1755;

/// Where the first process is put.
#[derive(Debug)]
pub enum Placement {
    /// Cloned into this cgroup (`O_PATH`, for clone3 with CLONE_INTO_CGROUP).
    Into(OwnedFd),
    /// Moved by [`Driver::adopt`] while it waits.
    Later,
    /// It stays in ours.
    Inherit,
}

/// Makes the container's cgroup. What is done with one later is in [`Cgroup`] and
/// [`remove()`], and needs only the record.
pub trait Driver {
    /// Finds out what there is and what has to be made, and makes nothing. From then on
    /// [`Driver::record`] is enough to remove whatever `prepare` makes.
    fn intend(&mut self, plan: &CgroupPlan) -> Result<()>;

    /// Makes the cgroup and writes its limits. On failure nothing is left of it.
    /// [`Driver::record`] must be saved again before anything is put into the cgroup: only with
    /// the ids that it has now are processes killed.
    fn prepare(&mut self, plan: &CgroupPlan) -> Result<Placement>;

    /// Guards the devices of the cgroup `leaf`, after [`Placement::Into`]. The first process
    /// is in it already and at work for us; nothing of the container runs before this is done.
    fn guard(&self, plan: &CgroupPlan, leaf: BorrowedFd<'_>) -> Result<()>;

    /// Makes the cgroup around the first process, which waits for it, after
    /// [`Placement::Later`]. It may go on when [`Driver::record`] is saved.
    fn adopt(&mut self, plan: &CgroupPlan, init: i32) -> Result<()>;

    /// Gives a cgroup that was there before the values that it had. Nothing for one that is
    /// removed with the container.
    fn give_back(&self) {}

    /// What has to be remembered.
    fn record(&self) -> &CgroupRecord;
}

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
