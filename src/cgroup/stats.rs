//! What a container uses, in the shape in which runc prints it (`runc events`), with the
//! counts of memory.events beside it.
//!
//! runc's shape is that of cgroup v1: what v2 does not have is 0 or left out.

mod shape;

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use super::{Cgroup, files};
use crate::error::{Doing, Result};

pub use self::shape::{
    Blkio, BlkioEntry, Cpu, CpuUsage, Cpuset, Hugetlb, Memory, MemoryEntry, Pids, Pressure,
    Stalled, Stats, Throttling,
};

/// Reads everything. `ENODEV` in the error when the cgroup goes away meanwhile.
pub fn read(cgroup: &Cgroup) -> Result<Stats> {
    let source = Source(cgroup.dir());
    let doing = || format!("read the statistics of cgroup /{}", cgroup.path());
    let mut stats = source.all().doing(doing)?;
    // Nothing of a cgroup that is gone is not the same as nothing.
    if !cgroup.is_there() {
        return Err(Errno::ENODEV).doing(doing);
    }
    if stats.pids.current == 0 {
        // Without the controller they are counted.
        stats.pids.current = cgroup.pids()?.len() as u64;
    }
    Ok(stats)
}

/// memory.events; empty without the memory controller.
pub fn memory_events(cgroup: &Cgroup) -> Result<BTreeMap<String, u64>> {
    let read = Source(cgroup.dir()).pairs("memory.events");
    read.doing(|| format!("read memory.events of cgroup /{}", cgroup.path()))
}

/// The pressure on memory, if the kernel tells it.
pub fn memory_pressure(cgroup: &Cgroup) -> Result<Option<Pressure>> {
    let read = Source(cgroup.dir()).pressure("memory.pressure");
    read.doing(|| format!("read memory.pressure of cgroup /{}", cgroup.path()))
}

struct Source<'a>(BorrowedFd<'a>);

impl Source<'_> {
    fn all(&self) -> Result<Stats, Errno> {
        let limit = self.number("pids.max")?.unwrap_or(0);
        Ok(Stats {
            cpu: self.cpu()?,
            cpuset: Cpuset::default(),
            memory: self.memory()?,
            pids: Pids {
                current: self.number("pids.current")?.unwrap_or(0),
                limit: if limit == u64::MAX { 0 } else { limit },
            },
            blkio: self.blkio()?,
            hugetlb: self.hugetlb()?,
        })
    }

    /// A file that is not there is no number.
    fn text(&self, file: &str) -> Result<Option<String>, Errno> {
        match files::read(self.0, file) {
            // Pressure has to be switched on in some kernels (EOPNOTSUPP). With the cgroup, a
            // file goes also while it is open (ENODEV).
            Err(Errno::ENOENT | Errno::EOPNOTSUPP | Errno::ENODEV) => Ok(None),
            other => other.map(Some),
        }
    }

    /// `max` is the largest number.
    fn number(&self, file: &str) -> Result<Option<u64>, Errno> {
        let text = self.text(file)?;
        Ok(text.map(|text| text.trim().parse().unwrap_or(u64::MAX)))
    }

    /// Lines of a key and a number.
    fn pairs(&self, file: &str) -> Result<BTreeMap<String, u64>, Errno> {
        let text = self.text(file)?.unwrap_or_default();
        let pair = |line: &str| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), value.trim().parse().ok()?))
        };
        Ok(text.lines().filter_map(pair).collect())
    }

    fn pressure(&self, file: &str) -> Result<Option<Pressure>, Errno> {
        self.text(file).map(|text| text.map(|text| parse_pressure(&text)))
    }

    fn cpu(&self) -> Result<Cpu, Errno> {
        let stat = self.pairs("cpu.stat")?;
        let value = |key: &str| stat.get(key).copied().unwrap_or(0);
        Ok(Cpu {
            usage: CpuUsage {
                total: value("usage_usec") * 1000,
                kernel: value("system_usec") * 1000,
                user: value("user_usec") * 1000,
            },
            throttling: Throttling {
                periods: value("nr_periods"),
                throttled_periods: value("nr_throttled"),
                throttled_time: value("throttled_usec") * 1000,
            },
            psi: self.pressure("cpu.pressure")?,
        })
    }

    fn memory(&self) -> Result<Memory, Errno> {
        let raw = self.pairs("memory.stat")?;
        let mut events = self.pairs("memory.events")?;
        events.retain(|_, count| *count > 0);
        let usage = self.memory_entry("memory")?;
        let only = self.memory_entry("memory.swap")?;
        // Without swap, the sum is the limit on memory.
        let limit = only.limit.saturating_add(usage.limit);
        let swap = MemoryEntry { usage: only.usage + usage.usage, limit, ..MemoryEntry::default() };
        Ok(Memory {
            cache: raw.get("file").copied().unwrap_or(0),
            usage,
            swap,
            kernel: MemoryEntry::default(),
            kernel_tcp: MemoryEntry::default(),
            raw,
            psi: self.pressure("memory.pressure")?,
            events,
        })
    }

    fn memory_entry(&self, name: &str) -> Result<MemoryEntry, Errno> {
        let number =
            |file: &str| self.number(&format!("{name}.{file}")).map(|number| number.unwrap_or(0));
        let (usage, limit, max) = (number("current")?, number("max")?, number("peak")?);
        Ok(MemoryEntry { limit, usage, max, failcnt: 0 })
    }

    fn blkio(&self) -> Result<Blkio, Errno> {
        let text = self.text("io.stat")?.unwrap_or_default();
        let (bytes, operations) = parse_io(&text);
        Ok(Blkio {
            io_service_bytes_recursive: bytes,
            io_serviced_recursive: operations,
            psi: self.pressure("io.pressure")?,
        })
    }

    fn hugetlb(&self) -> Result<BTreeMap<String, Hugetlb>, Errno> {
        let mut all = BTreeMap::new();
        for size in page_sizes() {
            let file = |name: &str| format!("hugetlb.{size}.{name}");
            let usage = match self.number(&file("rsvd.current"))? {
                None => self.number(&file("current"))?,
                reserved => reserved,
            };
            let Some(usage) = usage else { continue };
            let events = self.pairs(&file("events"))?;
            let failcnt = events.get("max").copied().unwrap_or(0);
            all.insert(size, Hugetlb { usage, failcnt });
        }
        Ok(all)
    }
}

/// The sizes of huge pages that this machine has, as the controller names them: `2MB`.
pub(super) fn page_sizes() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    entries.filter_map(|entry| page_size(entry.file_name().to_str()?)).collect()
}

/// `hugepages-2048kB`
fn page_size(name: &str) -> Option<String> {
    let mut number: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    let mut units = ["KB", "MB", "GB"].iter();
    let mut unit = units.next()?;
    while number >= 1024 {
        (number, unit) = (number >> 10, units.next()?);
    }
    Some(format!("{number}{unit}"))
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`
fn parse_pressure(text: &str) -> Pressure {
    let stalled = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let value = |key: &str| {
            line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
        };
        let average = |key: &str| value(key).and_then(|text| text.parse().ok()).unwrap_or(0.0);
        Stalled {
            avg10: average("avg10"),
            avg60: average("avg60"),
            avg300: average("avg300"),
            total: value("total").and_then(|text| text.parse().ok()).unwrap_or(0),
        }
    };
    Pressure { some: stalled("some"), full: stalled("full") }
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`: bytes, and operations.
fn parse_io(text: &str) -> (Vec<BlkioEntry>, Vec<BlkioEntry>) {
    let (mut bytes, mut operations) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let number = words.next().and_then(|word| word.split_once(':'));
        let Some((Ok(major), Ok(minor))) = number.map(|(a, b)| (a.parse(), b.parse())) else {
            continue;
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let Ok(value) = value.parse() else { continue };
            let entry = |op| BlkioEntry { major, minor, op, value };
            match key {
                "rbytes" => bytes.push(entry("Read")),
                "wbytes" => bytes.push(entry("Write")),
                "rios" => operations.push(entry("Read")),
                "wios" => operations.push(entry("Write")),
                _ => {}
            }
        }
    }
    (bytes, operations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_read_by_name() {
        let text = "some avg10=1.50 avg60=0.20 avg300=0.00 total=42\nfull avg10=0.25 total=7\n";
        let pressure = parse_pressure(text);
        assert_eq!(pressure.some, Stalled { avg10: 1.5, avg60: 0.2, avg300: 0.0, total: 42 });
        assert_eq!((pressure.full.avg10, pressure.full.total), (0.25, 7));
        assert_eq!(parse_pressure(""), Pressure::default());
    }

    #[test]
    fn io_is_put_into_tables() {
        let (bytes, operations) =
            parse_io("8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5\n7:1 \nx rbytes=9\n");
        let entry = |op, value| BlkioEntry { major: 8, minor: 0, op, value };
        assert_eq!(bytes, [entry("Read", 1), entry("Write", 2)]);
        assert_eq!(operations, [entry("Read", 3), entry("Write", 4)]);
    }

    /// Without swap, or where none may be used, memory and swap together are memory.
    #[test]
    fn the_limit_on_both_is_that_on_memory_without_swap() {
        let path = std::env::temp_dir().join(format!("rt-stats-{}", std::process::id()));
        std::fs::create_dir(&path).expect("mkdir");
        let write = |file: &str, text: &str| std::fs::write(path.join(file), text).expect("write");
        write("cgroup.controllers", "");
        write("memory.current", "7\n");
        let cgroup = Cgroup::pretended(&path);
        for (memory, swap, limit) in [
            ("100", None, 100),
            ("100", Some("0"), 100),
            ("100", Some("50"), 150),
            ("100", Some("max"), u64::MAX),
            ("max", Some("0"), u64::MAX),
        ] {
            write("memory.max", memory);
            if let Some(swap) = swap {
                write("memory.swap.max", swap);
            }
            let stats = read(&cgroup).expect("statistics");
            assert_eq!((stats.memory.swap.limit, stats.memory.swap.usage), (limit, 7), "{swap:?}");
        }
        // One that is gone has no statistics.
        std::fs::remove_file(path.join("cgroup.controllers")).expect("unlink");
        assert_eq!(read(&cgroup).expect_err("gone").errno_of(), Some(Errno::ENODEV));
        std::fs::remove_dir_all(path).expect("removed");
    }

    #[test]
    fn page_sizes_have_the_names_of_the_controller() {
        for (name, size) in [("64kB", "64KB"), ("2048kB", "2MB"), ("1048576kB", "1GB")] {
            assert_eq!(page_size(&format!("hugepages-{name}")).as_deref(), Some(size));
        }
        assert_eq!(page_size("other"), None);
    }

    #[test]
    fn the_shape_is_runcs() {
        let text = serde_json::to_string(&Stats::default()).expect("JSON");
        let entry = r#"{"limit":0,"failcnt":0}"#;
        assert_eq!(
            text,
            format!(
                r#"{{"cpu":{{"usage":{{"kernel":0,"user":0}},"throttling":{{}}}},"cpuset":{{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0}},"memory":{{"usage":{entry},"swap":{entry},"kernel":{entry},"kernelTCP":{entry}}},"pids":{{}},"blkio":{{}},"hugetlb":{{}}}}"#
            )
        );
    }
}
