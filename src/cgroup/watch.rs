//! What happens in a cgroup, as it happens: the kernel marks a changed file of events, and
//! memory.pressure above a threshold, as readable for poll(2).

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;

use super::Cgroup;
use super::files::{self, Events};
use super::stats::{self, Pressure};
use crate::error::{Doing, Result};
use crate::sys::io;

/// More than a tenth of the time in which some task waits for memory. An ordinary user may
/// only name a window of two seconds (psi.rst, "Monitoring for pressure thresholds").
const THRESHOLD: &str = "some 200000 2000000\0";

/// What has happened since the last look.
#[derive(Debug, Default, PartialEq)]
pub struct News {
    /// The kernel has killed for want of memory.
    pub oom: bool,
    /// Tasks wait for memory.
    pub pressure: Option<Pressure>,
    /// The cgroup is gone, and nothing will happen any more.
    pub gone: bool,
}

/// Watches over memory. Without its controller, nothing ever happens.
#[derive(Debug)]
pub struct Watch<'a> {
    cgroup: &'a Cgroup,
    /// cgroup.events, which every cgroup has: with it, the file goes.
    own: OwnedFd,
    events: Option<OwnedFd>,
    pressure: Option<OwnedFd>,
    kills: u64,
}

impl<'a> Watch<'a> {
    /// From now on.
    pub fn new(cgroup: &'a Cgroup) -> Result<Self> {
        let own = files::open_file(cgroup.dir(), "cgroup.events").doing(|| "open cgroup.events")?;
        let events = match files::open_file(cgroup.dir(), "memory.events") {
            Err(Errno::ENOENT) => None,
            other => Some(other.doing(|| "open memory.events")?),
        };
        let pressure = match files::trigger(cgroup.dir(), "memory.pressure", THRESHOLD) {
            Ok(file) => Some(file),
            // Not in this kernel, or not for us.
            Err(errno) => {
                tracing::debug!("no notice of memory pressure: {errno}");
                None
            }
        };
        Ok(Watch { cgroup, own, events, pressure, kills: kills(cgroup)? })
    }

    /// What to wait for.
    pub fn interests(&self) -> [libc::pollfd; 3] {
        [Some(&self.own), self.events.as_ref(), self.pressure.as_ref()]
            .map(|file| io::interest(file.map_or(-1, AsRawFd::as_raw_fd), libc::POLLPRI))
    }

    /// What has become of it.
    pub fn news(&mut self, ready: [libc::pollfd; 3]) -> Result<News> {
        let [own, events, pressure] = ready.map(|fd| fd.revents & libc::POLLPRI != 0);
        let oom = events && self.has_killed()?;
        let gone = own && self.is_gone()?;
        let pressure = if pressure { stats::memory_pressure(self.cgroup)? } else { None };
        Ok(News { oom, pressure, gone })
    }

    /// A file that has gone is ready for ever.
    fn is_gone(&self) -> Result<bool> {
        match Events::read_again(&self.own) {
            Err(Errno::ENODEV) => Ok(true),
            other => other.map(|_| false).doing(|| "read cgroup.events"),
        }
    }

    /// Whether the kernel has killed since this was asked last.
    pub fn has_killed(&mut self) -> Result<bool> {
        if let Some(file) = &self.events {
            // poll(2) counts from the last read of this very file.
            match files::rearm(file) {
                // The cgroup has gone.
                Err(Errno::ENODEV) => {}
                other => other.doing(|| "read memory.events")?,
            }
        }
        let before = std::mem::replace(&mut self.kills, kills(self.cgroup)?);
        Ok(self.kills > before)
    }
}

fn kills(cgroup: &Cgroup) -> Result<u64> {
    Ok(stats::memory_events(cgroup)?.get("oom_kill").copied().unwrap_or(0))
}
