//! `rt update`: what a running container's limits become. What was given is completed by
//! what is in force, since one file may hold several values, and put into an order in which
//! the kernel takes it whether values grow or shrink.

mod merge;

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};

use super::{device_rules, settings, weight_of_shares};
use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::cgroup::{Change, Check, CpuNow};
use crate::model::cgroup::{Otherwise, Setting};
use crate::model::kernel_values as kernel;
pub use merge::merge;

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
    // What was only completed is there to compute another value from it, and never replaces what
    // was set by the name of its file.
    settings.retain(|setting| {
        let file = setting.file.as_str();
        !is_completed(setting, given)
            || !(matches!(file, "memory.max" | "cpu.max") || named(old, file).is_some())
    });
    keep_period(&mut settings, old, now);
    weigh(&mut settings, old, given, now, findings);
    settings.sort_by_key(|setting| rank(setting, now));
    // A limit that another replaces at once could kill for nothing.
    let last = settings.iter().rposition(|setting| setting.file == "memory.max");
    let mut place = 0..;
    settings.retain(|setting| {
        let here = place.next();
        setting.file != "memory.max" || here == last
    });
    let devices = given.devices().as_ref().filter(|rules| old.devices().as_ref() != Some(*rules));
    Change {
        check: check(old, &complete, given, &settings),
        settings,
        devices: devices.map(|rules| device_rules::plan(rules, &root.key("devices"), findings)),
    }
}

/// What was set by the name of its file.
fn named<'a>(resources: &'a LinuxResources, file: &str) -> Option<&'a str> {
    resources.unified().as_ref()?.get(file).map(String::as_str)
}

fn gives_shares(cpu: &LinuxCpu) -> Option<u64> {
    cpu.shares().filter(|shares| *shares != 0)
}

/// Whether a setting was not asked for, but completed from what was set earlier or is in force.
fn is_completed(setting: &Setting, given: &LinuxResources) -> bool {
    let is =
        |part: &'static str, key: &'static str| setting.field == Field::root().key(part).key(key);
    let memory = given.memory().unwrap_or_default();
    let cpu = given.cpu().clone().unwrap_or_default();
    match setting.file.as_str() {
        "memory.max" => is("memory", "limit") && set(memory.limit()).is_none(),
        // No limit on memory is none on swap either, unless somebody says so.
        "memory.swap.max" if is("memory", "limit") => true,
        "memory.swap.max" => is("memory", "swap") && set(memory.swap()).is_none(),
        "cpu.max" => {
            (is("cpu", "quota") || is("cpu", "period"))
                && set(cpu.quota()).is_none()
                && cpu.period().is_none_or(|period| period == 0)
        }
        "cpu.max.burst" => is("cpu", "burst") && cpu.burst().is_none(),
        _ => false,
    }
}

/// A quota alone keeps the period in force; it is written out, since systemd has a default instead.
fn keep_period(settings: &mut [Setting], old: &LinuxResources, now: &CpuNow) {
    for setting in settings.iter_mut().filter(|setting| setting.file == "cpu.max") {
        if kernel::cpu_max(&setting.value).is_some_and(|max| max.period.is_none()) {
            setting.value = format!("{} {}", setting.value.trim(), period(old, now));
        }
    }
}

/// The period of a quota that is given without one: that in force. Where there is no quota so far,
/// it is that of the configuration, which systemd has forgotten when it was reloaded.
fn period(old: &LinuxResources, now: &CpuNow) -> u64 {
    if now.quota != -1 {
        return now.period;
    }
    let by_name = named(old, "cpu.max").and_then(kernel::cpu_max).and_then(|max| max.period);
    let by_member = || old.cpu().as_ref().and_then(LinuxCpu::period).filter(|period| *period != 0);
    by_name.or_else(by_member).unwrap_or(now.period)
}

/// Whether memory in use is compared, and with what.
fn check(
    old: &LinuxResources,
    complete: &LinuxResources,
    given: &LinuxResources,
    settings: &[Setting],
) -> Option<Check> {
    let asked = |resources: &LinuxResources| {
        resources.memory().as_ref().and_then(LinuxMemory::check_before_update)
    };
    let limits = |setting: &&Setting| ["memory.max", "memory.swap.max"].contains(&&*setting.file);
    settings.iter().find(limits)?;
    if asked(given).or(asked(old)) != Some(true) {
        return None;
    }
    let both = complete.memory().as_ref().and_then(LinuxMemory::swap);
    let swap = settings.iter().rfind(|setting| setting.file == "memory.swap.max");
    let swap = swap.and_then(|setting| kernel::bytes(&setting.value));
    Some(Check {
        // A limit by the name of its file counts without memory.
        with_swap: match named(given, "memory.max").or(named(given, "memory.swap.max")) {
            Some(_) => None,
            None => both.and_then(|both| u64::try_from(both).ok()).filter(|both| *both > 0),
        },
        swap: swap.filter(|swap| *swap != kernel::MAX),
    })
}

/// cpu.weight cannot be written while cpu.idle is 1: a cgroup that becomes idle gets no weight
/// now, and one that is idle is so no more when a weight is given. The kernel forgets the weight of
/// one that becomes idle: it gets that back which was set earlier.
fn weigh(
    settings: &mut Vec<Setting>,
    old: &LinuxResources,
    given: &LinuxResources,
    now: &CpuNow,
    findings: &mut Findings,
) {
    let last = |file: &str| settings.iter().rev().find(|setting| setting.file == file).cloned();
    let idle = last("cpu.idle");
    let becomes = idle.as_ref().and_then(|idle| kernel::integer(&idle.value));
    match (last("cpu.weight"), idle, becomes) {
        (Some(weight), _, Some(1)) => {
            if gives_weight(given) {
                let text = "unable to apply both a weight and cpu.idle: the cgroup becomes idle";
                findings.notice(&weight.field, text);
            }
            settings.retain(|setting| setting.file != "cpu.weight");
        }
        (Some(weight), None, _) if now.idle => {
            let (file, value) = ("cpu.idle".to_owned(), "0".to_owned());
            settings.push(Setting { file, value, ..weight });
        }
        (None, Some(idle), Some(0)) if now.idle => {
            if let Some(value) = weight_of(old) {
                let file = "cpu.weight".to_owned();
                settings.push(Setting { file, value, otherwise: Otherwise::Fail, ..idle });
            }
        }
        _ => {}
    }
}

/// The weight that was set.
fn weight_of(old: &LinuxResources) -> Option<String> {
    let shares = || old.cpu().as_ref().and_then(gives_shares);
    named(old, "cpu.weight")
        .map(str::to_owned)
        .or_else(|| shares().map(|shares| weight_of_shares(shares).to_string()))
}

fn gives_weight(given: &LinuxResources) -> bool {
    given.cpu().as_ref().and_then(gives_shares).is_some() || named(given, "cpu.weight").is_some()
}

fn gives_idle(given: &LinuxResources) -> bool {
    given.cpu().as_ref().is_some_and(|cpu| cpu.idle().is_some())
        || named(given, "cpu.idle").is_some()
}

/// A weight is only taken when the cgroup is not idle, a burst must not be above the quota
/// in force, and memory comes last: what has been reclaimed does not come back.
fn rank(setting: &Setting, now: &CpuNow) -> u8 {
    match (setting.file.as_str(), setting.value.as_str()) {
        ("cpu.idle", idle) if kernel::integer(idle) == Some(0) => 0,
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
        // Without a limit on memory there is none on both together. A limit on swap by the name of
        // its file is no sum.
        let by_sum = named(old, "memory.swap.max").is_none();
        if swap.is_none() && by_sum && limit.is_some_and(|limit| limit > 0) {
            memory.set_swap(set(before.swap()));
        }
        if limit.is_none() && swap.is_some() {
            memory.set_limit(limit_by_name(old).or(before.limit()));
        }
        complete.set_memory(Some(memory));
    }
    if let Some(mut cpu) = given.cpu().clone() {
        if set(cpu.quota()).is_some() || cpu.period().is_some_and(|period| period != 0) {
            cpu.set_quota(set(cpu.quota()).or(Some(now.quota)));
            cpu.set_burst(cpu.burst().or((now.burst > 0).then_some(now.burst)));
            let period = cpu.period().filter(|period| *period != 0);
            cpu.set_period(period.or(Some(self::period(old, now))));
        } else if cpu.burst().is_some() {
            cpu.set_quota(Some(now.quota));
            cpu.set_period(Some(now.period));
        }
        complete.set_cpu(Some(cpu));
    }
    complete
}

/// memory.max that was set by its name, as memory.limit has it.
fn limit_by_name(old: &LinuxResources) -> Option<i64> {
    match named(old, "memory.max").and_then(kernel::bytes)? {
        kernel::MAX => Some(-1),
        bytes => i64::try_from(bytes).ok(),
    }
}

#[cfg(test)]
mod tests;
