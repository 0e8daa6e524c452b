//! What is set after an update, for the next one.

use std::collections::HashMap;
use std::hash::Hash;

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxResources, LinuxThrottleDevice,
    LinuxWeightDevice,
};

use super::{gives_idle, gives_weight, plan, set, weight_of};
use crate::diag::findings::Findings;
use crate::model::cgroup::CpuNow;

/// cpu.weight of a new cgroup.
const DEFAULT_WEIGHT: u64 = 100;

/// What is set afterwards: kept for the next update.
pub fn merge(old: &LinuxResources, given: &LinuxResources, now: &CpuNow) -> LinuxResources {
    let mut all = old.clone();
    if let Some(memory) = given.memory() {
        all.set_memory(Some(merge_memory(old.memory().unwrap_or_default(), memory)));
    }
    if let Some(cpu) = given.cpu() {
        all.set_cpu(Some(merge_cpu(old.cpu().clone().unwrap_or_default(), cpu)));
    }
    if now.idle
        && gives_weight(given)
        && !gives_idle(given)
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
    keep_weight(&mut all, given, now);
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
    // A weight that only comes back stays named.
    let comes_back = |file: &str| file == "cpu.weight" && !gives_weight(&typed);
    let is_kept =
        |file: &String| comes_back(file) || !replaced.iter().any(|setting| setting.file == *file);
    let mut kept = old.unified().clone();
    if let Some(kept) = &mut kept {
        kept.retain(|file, _| is_kept(file));
    }
    merge_map(kept.as_ref(), given.unified().as_ref())
}

/// A weight that nobody has configured goes when the cgroup becomes idle: it is kept, too.
fn keep_weight(all: &mut LinuxResources, given: &LinuxResources, now: &CpuNow) {
    let Some(weight) = now.weight.filter(|weight| *weight != DEFAULT_WEIGHT) else { return };
    if gives_idle(given) && !now.idle && weight_of(all).is_none() {
        let mut unified = all.unified().clone().unwrap_or_default();
        unified.insert("cpu.weight".to_owned(), weight.to_string());
        all.set_unified(Some(unified));
    }
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
