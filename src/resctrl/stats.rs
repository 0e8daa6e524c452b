//! What a group of resctrl has and uses, in the shape in which runc prints it.

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::{RdtRecord, Resctrl};
use crate::error::{Doing, Result};

/// The schemata and counts of a container's group. Without one all is empty.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct Stats {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_info: Option<L3CacheInfo>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_info: Option<MemBwInfo>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schemata: Vec<String>,
    /// Memory bandwidth, for each domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mbm_stats: Option<Vec<Bandwidth>>,
    /// Cache, for each domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmt_stats: Option<Vec<Occupancy>>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct L3CacheInfo {
    pub cbm_mask: String,
    pub min_cbm_bits: u64,
    pub num_closids: u64,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct MemBwInfo {
    pub bandwidth_gran: u64,
    pub delay_linear: u64,
    pub min_bandwidth: u64,
    pub num_closids: u64,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Bandwidth {
    pub mbm_total_bytes: u64,
    pub mbm_local_bytes: u64,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Occupancy {
    pub llc_occupancy: u64,
}

impl Resctrl<'_> {
    /// Reads the numbers of a container's groups.
    pub fn stats(&self, record: &RdtRecord) -> Result<Stats> {
        let group = self.directory(record);
        let schemata = |directory: &Path| -> Result<Vec<String>> {
            let path = directory.join("schemata");
            let text = fs::read_to_string(&path).doing(|| format!("read {}", path.display()))?;
            Ok(text.lines().map(|line| line.trim().to_owned()).collect())
        };
        let (all, own) = (schemata(self.root)?, schemata(&group)?);
        let line = |lines: &[String], resource: &str| {
            lines.iter().find(|line| line.starts_with(resource)).cloned().unwrap_or_default()
        };
        let mut stats = Stats::default();
        let info = self.root.join("info");
        if self.has("L3") {
            let info = info.join("L3");
            stats.l3_cache_info = Some(L3CacheInfo {
                cbm_mask: text(&info.join("cbm_mask")),
                min_cbm_bits: number(&info.join("min_cbm_bits")),
                num_closids: number(&info.join("num_closids")),
            });
            stats.l3_cache_schema_root = line(&all, "L3");
            stats.l3_cache_schema = line(&own, "L3");
        }
        if self.has("MB") {
            let info = info.join("MB");
            stats.mem_bw_info = Some(MemBwInfo {
                bandwidth_gran: number(&info.join("bandwidth_gran")),
                delay_linear: number(&info.join("delay_linear")),
                min_bandwidth: number(&info.join("min_bandwidth")),
                num_closids: number(&info.join("num_closids")),
            });
            stats.mem_bw_schema_root = line(&all, "MB");
            stats.mem_bw_schema = line(&own, "MB");
        }
        stats.schemata = own;
        self.monitored(&self.monitor(record).unwrap_or(group), &mut stats)?;
        Ok(stats)
    }

    fn monitored(&self, group: &Path, stats: &mut Stats) -> Result<()> {
        let features = text(&self.root.join("info/L3_MON/mon_features"));
        let has = |feature: &str| features.lines().any(|line| line == feature);
        let (bandwidth, cache) =
            (has("mbm_total_bytes") || has("mbm_local_bytes"), has("llc_occupancy"));
        if !bandwidth && !cache {
            return Ok(());
        }
        let path = group.join("mon_data");
        let entries = fs::read_dir(&path).doing(|| format!("list {}", path.display()))?;
        let mut domains: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        domains.sort();
        stats.mbm_stats = bandwidth.then(|| {
            let one = |domain: &std::path::PathBuf| Bandwidth {
                mbm_total_bytes: number(&domain.join("mbm_total_bytes")),
                mbm_local_bytes: number(&domain.join("mbm_local_bytes")),
            };
            domains.iter().map(one).collect()
        });
        stats.cmt_stats = cache.then(|| {
            let one = |domain: &std::path::PathBuf| Occupancy {
                llc_occupancy: number(&domain.join("llc_occupancy")),
            };
            domains.iter().map(one).collect()
        });
        Ok(())
    }
}

/// Empty where the kernel has no such file.
fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// 0 where the kernel has no such file, or nothing was measured yet ("Unavailable").
fn number(path: &Path) -> u64 {
    text(path).parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fake;
    use super::*;

    #[test]
    fn a_group_tells_what_it_has_and_uses() {
        let fake = Fake::new("stats");
        let root = &fake.0;
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
            fs::write(path, text).expect("write");
        };
        write("schemata", "    MB:0=100\n    L3:0=fff\n");
        write("box/schemata", "    MB:0= 50\n    L3:0=00f\n");
        write("info/L3/cbm_mask", "fff\n");
        write("info/L3/num_closids", "16\n");
        write("info/MB/min_bandwidth", "10\n");
        write("info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\n");
        write("box/mon_data/mon_L3_00/llc_occupancy", "4096\n");
        write("box/mon_data/mon_L3_00/mbm_total_bytes", "Unavailable\n");
        let record = RdtRecord { group: "box".into(), made: true, ..RdtRecord::default() };
        let stats = Resctrl { root }.stats(&record).expect("stats");
        assert_eq!(stats.l3_cache_schema, "L3:0=00f");
        assert_eq!(stats.l3_cache_schema_root, "L3:0=fff");
        assert_eq!(stats.mem_bw_schema, "MB:0= 50");
        assert_eq!(stats.l3_cache_info.expect("L3").num_closids, 16);
        assert_eq!(stats.mem_bw_info.expect("MB").min_bandwidth, 10);
        assert_eq!(stats.cmt_stats.expect("cache"), [Occupancy { llc_occupancy: 4096 }]);
        assert_eq!(stats.mbm_stats.expect("bandwidth"), [Bandwidth::default()]);
        assert_eq!(
            serde_json::to_string(&Stats::default()).expect("JSON"),
            "{}",
            "without a group"
        );
    }
}
