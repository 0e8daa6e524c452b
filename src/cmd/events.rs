//! `rt events ID`: a line of JSON for each thing that happens, until the container ends.

use std::os::fd::AsRawFd;
use std::time::Instant;

use nix::errno::Errno;
use serde::Serialize;

use super::print;
use crate::cgroup::Cgroup;
use crate::cgroup::stats::{self, Pressure};
use crate::cgroup::watch::Watch;
use crate::cli::args::Events;
use crate::cli::values::Interval;
use crate::error::{Doing, Error, Kind, Result};
use crate::resctrl::{self, Resctrl};
use crate::state::{Container, Id, StateRoot, Status};
use crate::sys::io;

#[derive(Serialize)]
struct Event<'a, T> {
    r#type: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<T>,
}

#[derive(Serialize)]
struct Numbers {
    #[serde(flatten)]
    cgroup: stats::Stats,
    intel_rdt: resctrl::stats::Stats,
    /// runc only knows those that it has made itself, which is none.
    network_interfaces: Option<()>,
}

/// In the shape of the statistics: who reads those finds it in the same place.
#[derive(Serialize)]
struct Strain {
    memory: MemoryStrain,
}

#[derive(Serialize)]
struct MemoryStrain {
    psi: Pressure,
}

/// Prints the statistics of a container once, or with everything that happens to it.
pub fn events(root: &StateRoot, id: &Id, args: &Events) -> Result<()> {
    let container = Container::load(root, id)?;
    if let status @ (Status::Stopped | Status::Creating) = container.status()? {
        // runc's words, which are others here than elsewhere.
        return Err(Error::new(format!("container with id {id} is not running"))
            .kind(Kind::WrongStatus)
            .detail(format!("it is {status}")));
    }
    let Some(cgroup) = container.cgroup()? else {
        let text = format!("container {id} has no cgroup of its own");
        return Err(Error::new(text).detail("what it uses is not counted"));
    };
    if args.stats {
        return print_stats(&container, &cgroup);
    }
    follow(&container, &cgroup, args.interval).or_else(|error| match error.errno_of() {
        // Deleted meanwhile.
        Some(Errno::ENODEV | Errno::ENOENT) => Ok(()),
        _ => Err(error),
    })
}

fn follow(container: &Container, cgroup: &Cgroup, Interval(interval): Interval) -> Result<()> {
    let Some(init) = container.init()? else { return Ok(()) };
    let mut watch = Watch::new(cgroup)?;
    let oom = || emit::<()>(container, "oom", None);
    let mut next = Instant::now() + interval;
    loop {
        // Also when a line is due: with a short interval one always is, and the end would never be
        // seen.
        let left = next.saturating_duration_since(Instant::now());
        let [own, events, pressure] = watch.interests();
        let end = io::interest(init.as_raw_fd(), libc::POLLIN);
        // Nothing is waited for there, but the end of the reader is told.
        let reader = io::interest(libc::STDOUT_FILENO, 0);
        let mut fds = [end, reader, own, events, pressure];
        io::poll(&mut fds, io::timeout_ms(Some(left))).doing(|| "wait for events")?;
        let [end, reader, ready @ ..] = fds;
        let news = watch.news(ready)?;
        if news.oom {
            oom()?;
        }
        if let Some(psi) = news.pressure {
            emit(container, "pressure", Some(Strain { memory: MemoryStrain { psi } }))?;
        }
        if end.revents != 0 {
            // What it died of may be told only now.
            return if watch.has_killed()? { oom() } else { Ok(()) };
        }
        if news.gone || reader.revents & (libc::POLLERR | libc::POLLNVAL) != 0 {
            return Ok(());
        }
        if Instant::now() >= next {
            print_stats(container, cgroup)?;
            next = (next + interval).max(Instant::now());
        }
    }
}

fn print_stats(container: &Container, cgroup: &Cgroup) -> Result<()> {
    let intel_rdt = match container.rdt_record()? {
        Some(record) => Resctrl::host().stats(record)?,
        None => resctrl::stats::Stats::default(),
    };
    let cgroup = stats::read(cgroup)?;
    emit(container, "stats", Some(Numbers { cgroup, intel_rdt, network_interfaces: None }))
}

fn emit<T: Serialize>(container: &Container, r#type: &'static str, data: Option<T>) -> Result<()> {
    let event = Event { r#type, id: container.id().as_str(), data };
    let text = serde_json::to_string(&event)
        .map_err(|error| Error::new("write JSON").detail(error.to_string()))?;
    print(&(text + "\n"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cgroup::stats::{
        Blkio, BlkioEntry, Cpu, CpuUsage, Cpuset, Hugetlb, Memory, MemoryEntry, Pids, Stats,
        Throttling,
    };
    use crate::resctrl::stats::{Bandwidth, L3CacheInfo, MemBwInfo, Occupancy, Stats as Rdt};
    use crate::tests as documented;

    #[test]
    fn they_are_documented() {
        let psi = || Some(Pressure::default());
        let entry = || MemoryEntry { limit: 1, usage: 1, max: 1, failcnt: 1 };
        let counts = || BTreeMap::from([("a".to_owned(), 1)]);
        let io = || vec![BlkioEntry { major: 1, minor: 1, op: "Read", value: 1 }];
        let text = || "x".to_owned();
        let cgroup = Stats {
            cpu: Cpu {
                usage: CpuUsage { total: 1, kernel: 1, user: 1 },
                throttling: Throttling { periods: 1, throttled_periods: 1, throttled_time: 1 },
                psi: psi(),
            },
            cpuset: Cpuset::default(),
            memory: Memory {
                cache: 1,
                usage: entry(),
                swap: entry(),
                kernel: entry(),
                kernel_tcp: entry(),
                raw: counts(),
                psi: psi(),
                events: counts(),
            },
            pids: Pids { current: 1, limit: 1 },
            blkio: Blkio {
                io_service_bytes_recursive: io(),
                io_serviced_recursive: io(),
                psi: psi(),
            },
            hugetlb: BTreeMap::from([("2MB".to_owned(), Hugetlb { usage: 1, failcnt: 1 })]),
        };
        let intel_rdt = Rdt {
            l3_cache_info: Some(L3CacheInfo::default()),
            l3_cache_schema_root: text(),
            l3_cache_schema: text(),
            mem_bw_info: Some(MemBwInfo::default()),
            mem_bw_schema_root: text(),
            mem_bw_schema: text(),
            schemata: vec![text()],
            mbm_stats: Some(vec![Bandwidth::default()]),
            cmt_stats: Some(vec![Occupancy::default()]),
        };
        let data = Some(Numbers { cgroup, intel_rdt, network_interfaces: None });
        let stats = Event { r#type: "stats", id: "x", data };
        let memory = MemoryStrain { psi: Pressure::default() };
        let pressure = Event { r#type: "pressure", id: "x", data: Some(Strain { memory }) };
        documented::check("events", &[&stats, &pressure]);
    }
}
