//! The end of a unit. A scope without processes goes by itself: systemd hears of it from the
//! kernel. So we end the processes, by files, and wait; systemd is asked only when the unit
//! does not go.

use std::path::Path;
use std::time::{Duration, Instant};

use super::UnitRecord;
use super::manager::Manager;
use crate::cgroup::CgroupRecord;
use crate::cgroup::control::{Cgroup, PATIENCE};
use crate::cgroup::remove::end_processes;
use crate::error::{Error, Result};
use crate::sys::io;

/// How long systemd is given before it is asked what is the matter.
const GRACE: Duration = Duration::from_secs(2);

/// Ends what is in the unit's cgroup and waits until systemd has forgotten the unit. What
/// has another id is not ours. Done already is done.
pub fn remove(record: &CgroupRecord, unit: &UnitRecord) -> Result<()> {
    end_processes(record)?;
    if !unit.name.ends_with(".slice") && wait_until_gone(record, unit, GRACE)? {
        return Ok(());
    }
    // Not the one that we have made, but one that was there before: it stays.
    if record.id.is_none() {
        return Ok(());
    }
    let asked = Manager::connect(unit.instance).and_then(|mut manager| {
        let doing = format!("remove the unit {}", unit.name);
        match manager.stop_unit(&unit.name).and_then(|()| manager.reset_failed(&unit.name)) {
            Err(failure) if !failure.is("NoSuchUnit") => Err(failure.within(&doing)),
            _ => Ok(()),
        }
    });
    if wait_until_gone(record, unit, PATIENCE)? {
        return Ok(());
    }
    asked?;
    Err(Error::new(format!("remove the unit {}", unit.name))
        .detail(format!("it is still there after {} s", PATIENCE.as_secs()))
        .hint("see systemctl status; delete the container again later"))
}

/// Waits until cgroup and unit are gone; `false` if that takes too long.
fn wait_until_gone(record: &CgroupRecord, unit: &UnitRecord, patience: Duration) -> Result<bool> {
    let end = Instant::now() + patience;
    let mut pause = 1;
    loop {
        let known = unit.file.as_deref().is_some_and(|file| Path::new(file).exists());
        if !known && Cgroup::open(record)?.is_none() {
            return Ok(true);
        }
        if Instant::now() > end {
            return Ok(false);
        }
        io::poll(&mut [], pause).unwrap_or_default();
        pause = (pause * 2).min(50);
    }
}
