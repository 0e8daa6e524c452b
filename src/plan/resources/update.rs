//! `rt update`: what a running container's limits become. What was given is completed by
//! what is in force, since one file may hold several values, and put into an order in which
//! the kernel takes it whether values grow or shrink.

use std::collections::HashMap;
use std::hash::Hash;

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxResources, LinuxThrottleDevice,
    LinuxWeightDevice,
};

use super::{DeviceRule, Setting, device_rules, settings};
use crate::plan::field::Field;
use crate::plan::findings::Findings;

/// What is to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// In the order in which they are written.
    pub settings: Vec<Setting>,
    /// The rules for devices, if they change.
    pub devices: Option<Vec<DeviceRule>>,
    /// A limit below what is in use and cannot be reclaimed is refused
    /// (`memory.checkBeforeUpdate`).
    pub check: Option<Check>,
}

impl Change {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.devices.is_none()
    }
}

/// What the memory in use is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// The new limit on memory and swap together, in bytes.
    pub with_swap: Option<u64>,
}

/// What the kernel has now, as far as other values depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuNow {
    /// Microseconds in each period; -1 is no limit.
    pub quota: i64,
    /// Microseconds.
    pub period: u64,
    /// Microseconds.
    pub burst: u64,
    /// The cgroup only gets what nobody else wants.
    pub idle: bool,
}

impl Default for CpuNow {
    /// A new cgroup.
    fn default() -> Self {
        CpuNow { quota: -1, period: 100_000, burst: 0, idle: false }
    }
}

/// Engines write 0 for "not set".
fn set(value: Option<i64>) -> Option<i64> {
    value.filter(|value| *value != 0)
}

/// From what was set so far, and what is to be changed of it.
pub fn plan(
    old: &LinuxResources,
    given: &LinuxResources,
    now: &CpuNow,
    findings: &mut Findings,
) -> Change {
    let complete = complete(old, given, now);
    let root = Field::root();
    let mut settings = settings(&complete, &root, findings);
    let limit_given =
        given.memory().as_ref().and_then(LinuxMemory::limit).is_some_and(|limit| limit != 0);
    if !limit_given {
        // Only there to compute what remains for swap.
        let limit = root.key("memory").key("limit");
        settings.retain(|setting| setting.file != "memory.max" || setting.field != limit);
    }
    weigh(&mut settings, given, now, findings);
    settings.sort_by_key(|setting| rank(setting, now));
    let check = complete
        .memory()
        .as_ref()
        .filter(|memory| memory.check_before_update() == Some(true) && given.memory().is_some());
    let devices = given.devices().as_ref().filter(|rules| old.devices().as_ref() != Some(*rules));
    Change {
        settings,
        devices: devices.map(|rules| device_rules::plan(rules, &root.key("devices"), findings)),
        check: check.map(|memory| Check {
            with_swap: memory.swap().and_then(|swap| u64::try_from(swap).ok()).filter(|s| *s > 0),
        }),
    }
}

/// cpu.weight cannot be written while cpu.idle is 1: a cgroup that becomes idle gets no weight
/// now, and one that is idle is so no more when a weight is given.
fn weigh(
    settings: &mut Vec<Setting>,
    given: &LinuxResources,
    now: &CpuNow,
    findings: &mut Findings,
) {
    let last = |file: &str| settings.iter().rev().find(|setting| setting.file == file);
    let Some(weight) = last("cpu.weight").cloned() else { return };
    match last("cpu.idle").map(|idle| idle.value.as_str()) {
        Some("1") => {
            if gives_weight(given) {
                let text = "unable to apply both a weight and cpu.idle: the cgroup becomes idle";
                findings.notice(&weight.field, text);
            }
            settings.retain(|setting| setting.file != "cpu.weight");
        }
        None if now.idle => {
            let (file, value) = ("cpu.idle".to_owned(), "0".to_owned());
            settings.push(Setting { file, value, ..weight });
        }
        _ => {}
    }
}

fn gives_weight(given: &LinuxResources) -> bool {
    let shares = given.cpu().as_ref().and_then(LinuxCpu::shares);
    shares.is_some_and(|shares| shares != 0)
        || given.unified().as_ref().is_some_and(|files| files.contains_key("cpu.weight"))
}

/// A weight is only taken when the cgroup is not idle, a burst must not be above the quota
/// in force, and memory comes last: what has been reclaimed does not come back.
fn rank(setting: &Setting, now: &CpuNow) -> u8 {
    match (setting.file.as_str(), setting.value.as_str()) {
        ("cpu.idle", "0") => 0,
        ("cpu.max.burst", burst) if burst.parse().is_ok_and(|burst: u64| burst < now.burst) => 0,
        ("memory.max", _) => 2,
        _ => 1,
    }
}

/// What is given, with what has to be known beside it.
fn complete(old: &LinuxResources, given: &LinuxResources, now: &CpuNow) -> LinuxResources {
    let mut complete = given.clone();
    if let Some(mut memory) = *given.memory() {
        let before = old.memory().unwrap_or_default();
        let (limit, swap) = (set(memory.limit()), set(memory.swap()));
        // Without a limit on memory there is none on both together.
        if swap.is_none() && limit.is_some_and(|limit| limit > 0) {
            memory.set_swap(set(before.swap()));
        }
        if limit.is_none() && swap.is_some() {
            memory.set_limit(before.limit());
        }
        let check = memory.check_before_update().or(before.check_before_update());
        memory.set_check_before_update(check);
        complete.set_memory(Some(memory));
    }
    if let Some(mut cpu) = given.cpu().clone() {
        let shares = |cpu: &LinuxCpu| cpu.shares().filter(|shares| *shares != 0);
        if set(cpu.quota()).is_some() || cpu.period().is_some_and(|period| period != 0) {
            cpu.set_quota(set(cpu.quota()).or(Some(now.quota)));
            cpu.set_burst(cpu.burst().or((now.burst > 0).then_some(now.burst)));
            cpu.set_period(cpu.period().filter(|period| *period != 0).or(Some(now.period)));
        } else if cpu.burst().is_some() {
            cpu.set_quota(Some(now.quota));
            cpu.set_period(Some(now.period));
        }
        if cpu.idle().is_some() && shares(&cpu).is_none() {
            cpu.set_shares(old.cpu().as_ref().and_then(shares));
        }
        complete.set_cpu(Some(cpu));
    }
    complete
}

/// What is set afterwards: kept for the next update.
pub fn merge(old: &LinuxResources, given: &LinuxResources, now: &CpuNow) -> LinuxResources {
    let mut all = old.clone();
    if let Some(memory) = given.memory() {
        all.set_memory(Some(merge_memory(old.memory().unwrap_or_default(), memory)));
    }
    if let Some(cpu) = given.cpu() {
        all.set_cpu(Some(merge_cpu(old.cpu().clone().unwrap_or_default(), cpu)));
    }
    let gives_idle = given.cpu().as_ref().is_some_and(|cpu| cpu.idle().is_some());
    if now.idle
        && gives_weight(given)
        && !gives_idle
        && let Some(mut cpu) = all.cpu().clone()
    {
        cpu.set_idle(None);
        all.set_cpu(Some(cpu));
    }
    if given.pids().is_some() {
        all.set_pids(*given.pids());
    }
    if let Some(io) = given.block_io() {
        all.set_block_io(Some(merge_io(old.block_io().clone().unwrap_or_default(), io)));
    }
    all.set_hugepage_limits(merge_list(
        old.hugepage_limits().as_ref(),
        given.hugepage_limits().as_ref(),
        LinuxHugepageLimit::page_size,
    ));
    all.set_rdma(merge_map(old.rdma().as_ref(), given.rdma().as_ref()));
    all.set_unified(merge_unified(old, given, now));
    if given.devices().is_some() {
        all.set_devices(given.devices().clone());
    }
    all
}

/// A file that was set by its name, and is now set by a member that has one of its own, is
/// set by that alone: otherwise the older value would come back.
fn merge_unified(
    old: &LinuxResources,
    given: &LinuxResources,
    now: &CpuNow,
) -> Option<HashMap<String, String>> {
    let mut typed = given.clone();
    typed.set_unified(None);
    let replaced = plan(old, &typed, now, &mut Findings::default()).settings;
    let is_kept = |file: &String| !replaced.iter().any(|setting| setting.file == *file);
    let mut kept = old.unified().clone();
    if let Some(kept) = &mut kept {
        kept.retain(|file, _| is_kept(file));
    }
    merge_map(kept.as_ref(), given.unified().as_ref())
}

fn merge_memory(mut all: LinuxMemory, given: &LinuxMemory) -> LinuxMemory {
    if let Some(limit) = set(given.limit()) {
        all.set_limit(Some(limit));
        if limit == -1 {
            all.set_swap(None);
        }
    }
    all.set_swap(set(given.swap()).or(all.swap()));
    all.set_reservation(set(given.reservation()).or(all.reservation()));
    all.set_check_before_update(given.check_before_update().or(all.check_before_update()));
    all
}

fn merge_cpu(mut all: LinuxCpu, given: &LinuxCpu) -> LinuxCpu {
    let shares = given.shares().filter(|shares| *shares != 0);
    let period = given.period().filter(|period| *period != 0);
    let list = |given: &Option<String>, old: &Option<String>| {
        given.clone().filter(|list| !list.is_empty()).or(old.clone())
    };
    let (cpus, mems) = (list(given.cpus(), all.cpus()), list(given.mems(), all.mems()));
    all.set_idle(given.idle().or(all.idle()));
    all.set_shares(shares.or(all.shares()));
    all.set_period(period.or(all.period()));
    all.set_quota(set(given.quota()).or(all.quota()));
    all.set_burst(given.burst().or(all.burst()));
    all.set_cpus(cpus).set_mems(mems);
    all
}

fn merge_io(mut all: LinuxBlockIo, given: &LinuxBlockIo) -> LinuxBlockIo {
    let weight = given.weight().filter(|weight| *weight != 0).or(all.weight());
    let number = |device: &LinuxWeightDevice| (device.major(), device.minor());
    let weights = merge_list(all.weight_device().as_ref(), given.weight_device().as_ref(), number);
    let throttles = |old: &Option<Vec<LinuxThrottleDevice>>, given: &Option<_>| {
        let number = |device: &LinuxThrottleDevice| (device.major(), device.minor());
        merge_list(old.as_ref(), given.as_ref(), number)
    };
    let reads = throttles(all.throttle_read_bps_device(), given.throttle_read_bps_device());
    let writes = throttles(all.throttle_write_bps_device(), given.throttle_write_bps_device());
    let read_ops = throttles(all.throttle_read_iops_device(), given.throttle_read_iops_device());
    let write_ops = throttles(all.throttle_write_iops_device(), given.throttle_write_iops_device());
    all.set_weight(weight).set_weight_device(weights);
    all.set_throttle_read_bps_device(reads).set_throttle_write_bps_device(writes);
    all.set_throttle_read_iops_device(read_ops).set_throttle_write_iops_device(write_ops);
    all
}

/// The old elements that `given` has no successor for, then those of `given`.
fn merge_list<'a, T: Clone, K: PartialEq + 'a>(
    old: Option<&'a Vec<T>>,
    given: Option<&'a Vec<T>>,
    key: impl Fn(&'a T) -> K,
) -> Option<Vec<T>> {
    let Some(given) = given else { return old.cloned() };
    let is_kept = |one: &&'a T| !given.iter().any(|other| key(other) == key(one));
    Some(old.into_iter().flatten().filter(is_kept).chain(given).cloned().collect())
}

fn merge_map<K: Clone + Eq + Hash, V: Clone>(
    old: Option<&HashMap<K, V>>,
    given: Option<&HashMap<K, V>>,
) -> Option<HashMap<K, V>> {
    let Some(given) = given else { return old.cloned() };
    let both = old.into_iter().flatten().chain(given);
    Some(both.map(|(key, value)| (key.clone(), value.clone())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> LinuxResources {
        serde_json::from_str(json).expect("resources")
    }

    fn lines(old: &str, given: &str, now: CpuNow) -> Vec<String> {
        let mut findings = Findings::default();
        let change = plan(&read(old), &read(given), &now, &mut findings);
        let refused = findings.violations.iter().map(|v| format!("refused {}", v.field));
        let settings = change.settings.iter().map(|s| format!("{}={}", s.file, s.value));
        settings.chain(refused).collect()
    }

    #[test]
    fn only_what_is_given_is_written_with_what_belongs_to_it() {
        let old = r#"{"memory":{"limit":100,"swap":300},"cpu":{"shares":1024},"pids":{"limit":9}}"#;
        #[rustfmt::skip]
        let table: &[(&str, &[&str])] = &[
            ("{}", &[]),
            (r#"{"pids":{"limit":0}}"#, &["pids.max=1"]),
            (r#"{"memory":{"limit":200}}"#, &["memory.swap.max=100", "memory.max=200"]),
            (r#"{"memory":{"limit":400}}"#, &["memory.max=400", "refused memory.swap"]),
            (r#"{"memory":{"swap":400}}"#, &["memory.swap.max=300"]),
            (r#"{"memory":{"swap":-1}}"#, &["memory.swap.max=max"]),
            (r#"{"memory":{"limit":-1}}"#, &["memory.swap.max=max", "memory.max=max"]),
            (r#"{"memory":{"limit":0,"reservation":7}}"#, &["memory.low=7"]),
            (r#"{"memory":{"limit":7,"swap":9},"unified":{"memory.max":"8"}}"#, &["memory.swap.max=2", "memory.max=7", "memory.max=8"]),
            (r#"{"cpu":{"quota":5000}}"#, &["cpu.max=5000 100000"]),
            (r#"{"cpu":{"period":5000}}"#, &["cpu.max=max 5000"]),
            (r#"{"cpu":{"idle":1}}"#, &["cpu.idle=1"]),
            (r#"{"cpu":{"shares":2,"idle":1}}"#, &["cpu.idle=1"]),
            (r#"{"cpu":{"cpus":"0"}}"#, &["cpuset.cpus=0"]),
        ];
        for (given, files) in table {
            assert_eq!(lines(old, given, CpuNow::default()), *files, "{given}");
        }
    }

    #[test]
    fn the_order_fits_what_is_in_force() {
        let now = CpuNow { quota: 50_000, period: 100_000, burst: 20_000, idle: true };
        let old = r#"{"cpu":{"shares":1024}}"#;
        #[rustfmt::skip]
        let table: &[(&str, &[&str])] = &[
            (r#"{"cpu":{"shares":2}}"#, &["cpu.idle=0", "cpu.weight=1"]),
            (r#"{"cpu":{"idle":0}}"#, &["cpu.idle=0", "cpu.weight=100"]),
            (r#"{"unified":{"cpu.weight":"8"}}"#, &["cpu.idle=0", "cpu.weight=8"]),
            (r#"{"unified":{"cpu.weight":"8","cpu.idle":"1"}}"#, &["cpu.idle=1"]),
            (r#"{"cpu":{"quota":10000}}"#, &["cpu.max=10000 100000", "cpu.max.burst=20000", "refused cpu.burst"]),
            (r#"{"cpu":{"quota":10000,"burst":0}}"#, &["cpu.max.burst=0", "cpu.max=10000 100000"]),
            (r#"{"cpu":{"quota":90000,"burst":60000}}"#, &["cpu.max=90000 100000", "cpu.max.burst=60000"]),
            (r#"{"cpu":{"burst":30000}}"#, &["cpu.max=50000 100000", "cpu.max.burst=30000"]),
            (r#"{"cpu":{"quota":-1}}"#, &["cpu.max=max 100000", "cpu.max.burst=20000"]),
        ];
        for (given, files) in table {
            assert_eq!(lines(old, given, now), *files, "{given}");
        }
    }

    #[test]
    fn what_was_given_earlier_is_kept() {
        let old = read(
            r#"{"memory":{"limit":100,"swap":300},"cpu":{"shares":5,"quota":7000,"idle":1},
                "blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1},
                                                    {"major":8,"minor":1,"rate":2}]},
                "unified":{"memory.high":"1","memory.low":"2"}}"#,
        );
        let now = CpuNow { idle: true, ..CpuNow::default() };
        let merged =
            |given: &str| serde_json::to_value(merge(&old, &read(given), &now)).expect("JSON");
        assert_eq!(merged("{}"), serde_json::to_value(&old).expect("JSON"));
        let all = merged(r#"{"memory":{"limit":200},"cpu":{"shares":6,"quota":0,"mems":""}}"#);
        assert_eq!(all["memory"], serde_json::json!({"limit": 200, "swap": 300}));
        assert_eq!(all["cpu"], serde_json::json!({"shares": 6, "quota": 7000}));
        assert_eq!(
            merged(r#"{"memory":{"limit":-1}}"#)["memory"],
            serde_json::json!({"limit": -1})
        );
        let all = merged(
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":3}]},
                "unified":{"memory.high":"3"}}"#,
        );
        let rates: Vec<_> = all["blockIO"]["throttleReadBpsDevice"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|device| device["rate"].as_u64())
            .collect();
        assert_eq!(rates, [Some(2), Some(3)]);
        assert_eq!(all["unified"], serde_json::json!({"memory.high": "3", "memory.low": "2"}));
        let all = merged(r#"{"memory":{"reservation":7}}"#);
        assert_eq!(all["unified"], serde_json::json!({"memory.high": "1"}));
    }

    #[test]
    fn devices_are_only_touched_when_they_change() {
        let rules = r#"{"devices":[{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]}"#;
        let change = |old: &str, given: &str| {
            plan(&read(old), &read(given), &CpuNow::default(), &mut Findings::default()).devices
        };
        assert!(change(rules, "{}").is_none() && change(rules, rules).is_none());
        assert!(change("{}", rules).is_some_and(|rules| rules.len() > 1));
        assert!(change(rules, r#"{"devices":[]}"#).is_some());
    }
}
