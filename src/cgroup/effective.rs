//! What the kernel enforces for a container, whatever was asked for: limits are rounded,
//! shares become weights, others write to the files as well, and a cgroup above may have
//! less.

use std::collections::BTreeMap;

use nix::errno::Errno;
use serde::Serialize;

use super::{Cgroup, files, stats};
use crate::error::{Doing, Result};
use crate::host::cgroup::Tree;

/// The files that limit or weigh. Those of huge pages have the size in their names.
const FILES: &[&str] = &[
    "cpu.idle",
    "cpu.max",
    "cpu.max.burst",
    "cpu.uclamp.max",
    "cpu.uclamp.min",
    "cpu.weight",
    "cpuset.cpus",
    "cpuset.cpus.effective",
    "cpuset.mems",
    "cpuset.mems.effective",
    "io.bfq.weight",
    "io.latency",
    "io.max",
    "io.weight",
    "memory.high",
    "memory.low",
    "memory.max",
    "memory.min",
    "memory.oom.group",
    "memory.swap.high",
    "memory.swap.max",
    "memory.zswap.max",
    "misc.max",
    "pids.max",
    "rdma.max",
];

/// Those of which the least on the way from the root counts.
const HIERARCHICAL: &[&str] =
    &["cpu.max", "memory.high", "memory.max", "memory.swap.max", "pids.max"];

/// The limits of one cgroup.
#[derive(Debug, Serialize)]
pub struct Limits {
    /// Its path below the root of the v2 tree.
    pub cgroup: String,
    /// The text of each file that is there.
    pub values: BTreeMap<String, String>,
    /// The least value of the cgroup and those above it, for files of which that counts.
    pub effective: BTreeMap<String, String>,
}

/// Reads them.
pub fn read(cgroup: &Cgroup) -> Result<Limits> {
    let root = Tree::open()?.root;
    let path = cgroup.path();
    let text = |level: &str, file: &str| -> Result<Option<String>> {
        match files::read(&root, &format!("./{level}/{file}")) {
            // The root of the tree has no limits.
            Err(Errno::ENOENT | Errno::EOPNOTSUPP) => Ok(None),
            other => other
                .map(|text| Some(text.trim_end().to_owned()))
                .doing(|| format!("read {file} of cgroup /{level}")),
        }
    };
    let sizes = stats::page_sizes();
    let huge = sizes
        .iter()
        .flat_map(|size| ["max", "rsvd.max"].map(|name| format!("hugetlb.{size}.{name}")));
    let mut values = BTreeMap::new();
    for file in FILES.iter().map(ToString::to_string).chain(huge) {
        if let Some(text) = text(path, &file)? {
            values.insert(file, text);
        }
    }
    let mut effective = BTreeMap::new();
    for file in HIERARCHICAL {
        let mut least: Option<String> = None;
        for level in path.match_indices('/').map(|(end, _)| &path[..end]).chain([path]) {
            let Some(text) = text(level, file)? else { continue };
            if least.as_ref().is_none_or(|least| amount(&text) < amount(least)) {
                least = Some(text);
            }
        }
        if let Some(least) = least {
            effective.insert((*file).to_owned(), least);
        }
    }
    Ok(Limits { cgroup: format!("/{path}"), values, effective })
}

/// To compare: of cpu.max the part of one processor.
fn amount(text: &str) -> f64 {
    let mut words = text.split_whitespace().map(|word| word.parse().unwrap_or(f64::INFINITY));
    words.next().unwrap_or(f64::INFINITY) / words.next().unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_compared() {
        assert!(amount("100") < amount("max"));
        assert!(amount("50000 100000") < amount("100000 100000"));
        assert!(amount("10000 100000") < amount("2000 10000"));
        assert!(amount("500000 1000000") < amount("max 1000"));
    }
}
