//! What a driver of cgroups does, and which driver a cgroup has: nobody else asks.

use std::os::fd::{BorrowedFd, OwnedFd};

use super::systemd::Told;
use super::update::Applied;
use super::{Cgroup, CgroupRecord, Fs, Systemd};
use crate::error::Result;
use crate::model::cgroup::CgroupPlan;
use crate::model::cgroup::Change;

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

/// Who makes the container's cgroup, changes its limits and removes it. Freezing, killing and looking
/// is the same for all of them ([`super::Cgroup`]).
pub trait Driver {
    /// Finds out what there is and what has to be made, and makes nothing. From then on
    /// [`Driver::record`] is enough to remove whatever `prepare` makes.
    fn intend(&mut self, plan: &CgroupPlan) -> Result<()>;

    /// Makes the cgroup and writes its limits. On failure nothing is left of it.
    /// [`Driver::record`] must be saved again before anything is put into the cgroup: only with
    /// the ids that it has now are processes killed.
    fn prepare(&mut self, plan: &CgroupPlan) -> Result<Placement>;

    /// Attaches the device program to the cgroup `leaf`, after [`Placement::Into`]. The first process
    /// is in it already and at work for us; nothing of the container runs before this is done.
    fn attach_devices(&self, plan: &CgroupPlan, leaf: BorrowedFd<'_>) -> Result<()>;

    /// Makes the cgroup around the first process, which waits for it, after
    /// [`Placement::Later`]. It may go on when [`Driver::record`] is saved.
    fn adopt(&mut self, plan: &CgroupPlan, init: i32) -> Result<()>;

    /// Gives a cgroup that was there before the values that it had. Nothing for one that is
    /// removed with the container.
    fn give_back(&self) {}

    /// Changes the limits: all of them or none.
    fn update<'a>(&'a self, cgroup: &'a Cgroup, change: &Change) -> Result<Updated<'a>>;

    /// Removes what the record says that we made. What is gone already is no error, and what has
    /// another id is not ours. Never tries for longer than the processes are given to die.
    fn remove(&self) -> Result<()>;

    /// What has to be remembered.
    fn record(&self) -> &CgroupRecord;
}

/// The driver that has made the cgroup of a record.
pub fn driver_of(record: &CgroupRecord) -> Box<dyn Driver> {
    match &record.unit {
        Some(unit) => Box::new(Systemd::of(record, unit)),
        None => Box::new(Fs::of(record)),
    }
}

/// Limits that were changed, by the driver that has changed them.
#[derive(Debug)]
pub enum Updated<'a> {
    /// In the files of the cgroup.
    Files(Applied<'a>),
    /// Also in the unit, which systemd has been told of.
    Unit(Told<'a>),
}

impl Updated<'_> {
    /// Undoes everything, last change first. The reason is the error that counts.
    pub fn take_back(self) {
        match self {
            Updated::Files(applied) => applied.take_back(),
            Updated::Unit(told) => told.take_back(),
        }
    }
}
