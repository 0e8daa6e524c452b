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
/// How long it takes to forget a unit that has ended, unless that has failed.
const MOMENT: Duration = Duration::from_millis(200);

/// Ends what is in the unit's cgroup and waits until systemd has forgotten the unit. What
/// has another id is not ours, and so is a unit that has got the name since. Done already is
/// done.
pub fn remove(record: &CgroupRecord, unit: &UnitRecord) -> Result<()> {
    end_processes(record)?;
    let is_known = || unit.file.as_deref().is_some_and(|file| Path::new(file).exists());
    let is_there = || Cgroup::open(record).map(|cgroup| cgroup.is_some());
    // A slice stays also when it is empty.
    let slice = unit.name.ends_with(".slice");
    if !slice && wait(GRACE, || Ok(!is_there()?))? && wait(MOMENT, || Ok(!is_known()))? {
        return Ok(());
    }
    if record.id.is_none() {
        return Ok(());
    }
    let doing = format!("remove the unit {}", unit.name);
    let asked = ask(unit, is_there()?).map_err(|error| error.within(&doing));
    if wait(PATIENCE, || is_there().map(|there| !there))? {
        if let Err(error) = asked {
            // At the worst a name is left, which the next who wants it has forgotten first.
            tracing::warn!("{error}");
        } else {
            wait(GRACE, || Ok(!is_known()))?;
        }
        return Ok(());
    }
    asked?;
    Err(Error::new(doing)
        .detail(format!("its cgroup is still there after {} s", PATIENCE.as_secs()))
        .hint("see systemctl status; delete the container again later"))
}

/// Has systemd stop the unit, if it is ours, and forget that it has failed.
fn ask(unit: &UnitRecord, stop: bool) -> Result<()> {
    let mut manager = Manager::connect(unit.instance)?;
    let stopped = if stop { manager.stop_unit(&unit.name) } else { Ok(()) };
    match stopped.and_then(|()| manager.reset_failed(&unit.name)) {
        Err(failure) if !failure.is("NoSuchUnit") => Err(failure.within("ask systemd")),
        _ => Ok(()),
    }
}

/// Waits until something is so; `false` if that takes too long.
fn wait(patience: Duration, mut done: impl FnMut() -> Result<bool>) -> Result<bool> {
    let end = Instant::now() + patience;
    let mut pause = 1;
    while !done()? {
        if Instant::now() > end {
            return Ok(false);
        }
        io::poll(&mut [], pause).unwrap_or_default();
        pause = (pause * 2).min(50);
    }
    Ok(true)
}
