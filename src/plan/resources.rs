//! `linux.resources` and `linux.cgroupsPath`: an ordered list of values for files of
//! cgroup v2, each with the field that asked for it. Both cgroup drivers share it.

pub mod block_io;
pub mod device_rules;
pub mod path;
pub mod properties;
pub mod unit;
pub mod update;

use oci_spec::runtime::{
    Linux, LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxNetwork, LinuxPids, LinuxRdma,
    LinuxResources,
};

use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::cgroup::CgroupPath;
use crate::model::cgroup::{CgroupPlan, Manager, Otherwise, Setting};
use crate::model::kernel_values as kernel;

/// Collects settings.
#[derive(Debug, Default)]
struct Settings(Vec<Setting>);

impl Settings {
    fn add(&mut self, file: impl Into<String>, value: impl ToString, field: &Field) {
        self.add_or(file, value, Otherwise::Fail, field);
    }

    /// A kernel without the file has no such limit, which is what `max` asks for.
    fn add_limit(&mut self, file: &str, value: String, field: &Field) {
        let otherwise = if value == "max" { Otherwise::Skip } else { Otherwise::Fail };
        self.add_or(file, value, otherwise, field);
    }

    fn add_or(
        &mut self,
        file: impl Into<String>,
        value: impl ToString,
        otherwise: Otherwise,
        field: &Field,
    ) {
        let file = file.into();
        let controller = file.split('.').next().unwrap_or_default().to_owned();
        let (value, field) = (value.to_string(), field.clone());
        self.0.push(Setting { controller, file, value, otherwise, field });
    }
}

/// Reads `linux.cgroupsPath` and `linux.resources`. The default path is named by `id`.
pub fn plan(
    linux: Option<&Linux>,
    id: &str,
    manager: Manager,
    findings: &mut Findings,
) -> CgroupPlan {
    let given = linux.and_then(|linux| linux.resources().as_ref());
    let field = Field::of("linux.resources");
    let asked = linux.and_then(|linux| linux.cgroups_path().as_deref());
    CgroupPlan {
        path: match manager {
            Manager::Systemd(instance) => {
                CgroupPath::Unit(unit::plan(asked, id, instance, findings))
            }
            _ => path::plan(asked, id, findings),
        },
        settings: given.map(|given| settings(given, &field, findings)).unwrap_or_default(),
        devices: device_rules::plan(
            given.and_then(|given| given.devices().as_deref()).unwrap_or_default(),
            &field.key("devices"),
            findings,
        ),
        properties: Vec::new(),
        description: format!("rt container {id}"),
    }
}

/// The values that `resources` asks for, without its device rules.
pub fn settings(
    resources: &LinuxResources,
    field: &Field,
    findings: &mut Findings,
) -> Vec<Setting> {
    let mut settings = Settings::default();
    if let Some(given) = resources.memory() {
        memory(given, &field.key("memory"), &mut settings, findings);
    }
    if let Some(given) = resources.cpu() {
        cpu(given, &field.key("cpu"), &mut settings, findings);
    }
    if let Some(given) = resources.pids() {
        pids(*given, &field.key("pids"), &mut settings, findings);
    }
    if let Some(given) = resources.block_io() {
        block_io::plan(given, &field.key("blockIO"), &mut settings, findings);
    }
    for (index, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        let at = field.key("hugepageLimits").at(index);
        hugepages(limit, &at, &mut settings, findings);
    }
    // Maps are sorted, so that order and errors are the same each time.
    let mut devices: Vec<_> = resources.rdma().iter().flatten().collect();
    devices.sort_by_key(|(name, _)| *name);
    for (name, limit) in devices {
        rdma(name, limit, &field.key("rdma").key(name.clone()), &mut settings, findings);
    }
    if let Some(given) = resources.network() {
        network(given, &field.key("network"), findings);
    }
    // config-linux.md: unified holds what the other members have no name for, so it has
    // the last word.
    let mut unified: Vec<_> = resources.unified().iter().flatten().collect();
    unified.sort();
    for (file, value) in unified {
        self::unified(
            file,
            value,
            &field.key("unified").key(file.clone()),
            &mut settings,
            findings,
        );
    }
    // The kernel takes no weight for a cgroup that is idle.
    settings.0.sort_by_key(|setting| setting.file == "cpu.idle");
    settings.0
}

/// A limit in bytes or in tasks, of which -1 means "none".
fn limit(value: i64, field: &Field, findings: &mut Findings) -> Option<String> {
    match value {
        -1 => Some("max".to_owned()),
        0.. => Some(value.to_string()),
        _ => {
            findings.refuse_value(field, value, "must be -1 (no limit) or not negative");
            None
        }
    }
}

fn memory(given: &LinuxMemory, field: &Field, settings: &mut Settings, findings: &mut Findings) {
    // Engines write 0 for "not set".
    let set = |value: Option<i64>| value.filter(|value| *value != 0);
    let (max, swap) = (set(given.limit()), set(given.swap()));
    if let Some(max) = max {
        let at = field.key("limit");
        if let Some(value) = limit(max, &at, findings) {
            settings.add_limit("memory.max", value, &at);
        }
    }
    let at = field.key("swap");
    match (swap, max) {
        // Without any limit on memory, one on memory and swap together is none either.
        (None, Some(-1)) => {
            settings.add_limit("memory.swap.max", "max".to_owned(), &field.key("limit"));
        }
        (None, _) => {}
        (Some(-1), _) => settings.add_limit("memory.swap.max", "max".to_owned(), &at),
        // The field counts memory and swap together, the file only swap.
        (Some(both), Some(max)) if both >= max && max > 0 => {
            let otherwise = if both == max { Otherwise::Skip } else { Otherwise::Fail };
            settings.add_or("memory.swap.max", both - max, otherwise, &at);
        }
        // Without a limit on memory there is no sum to take it from: runc counts only swap, then.
        (Some(both @ 0..), Some(-1)) => settings.add("memory.swap.max", both, &at),
        (Some(both), None) => {
            findings.refuse_value(
                &at,
                both,
                "needs memory.limit: it limits memory and swap together",
            );
        }
        (Some(both), Some(max)) => {
            let reason = format!("must not be below memory.limit ({max}), which it includes");
            findings.refuse_value(&at, both, reason);
        }
    }
    if let Some(low) = set(given.reservation()) {
        let at = field.key("reservation");
        if let Some(value) = limit(low, &at, findings) {
            settings.add("memory.low", value, &at);
        }
    }
    #[allow(deprecated)] // To refuse it, it has to be looked at.
    let kernel = given.kernel();
    for (key, value) in [("kernel", kernel), ("kernelTCP", given.kernel_tcp())] {
        if let Some(value) = value.filter(|value| !matches!(value, 0 | -1)) {
            let reason = "cgroup v2 has no such limit: memory.limit includes kernel memory";
            findings.refuse_value(&field.key(key), value, reason);
        }
    }
    // Engines pass their own "not set", -1, through an unsigned number. Tools that make a container
    // anew hand on what they were told: nothing is limited by it, so nothing is lost.
    if let Some(value) = given.swappiness().filter(|value| *value != u64::MAX) {
        let text = format!("{value} is ignored: cgroup v2 has no swappiness for each cgroup");
        findings.notice(&field.key("swappiness"), text);
    }
    if given.disable_oom_killer() == Some(true) {
        let reason = "cgroup v2 cannot switch the OOM killer off";
        findings.refuse_value(&field.key("disableOOMKiller"), true, reason);
    }
    if given.use_hierarchy() == Some(false) {
        let text = "false is ignored: cgroup v2 always counts the memory of sub-cgroups";
        findings.notice(&field.key("useHierarchy"), text);
    }
}

fn cpu(given: &LinuxCpu, field: &Field, settings: &mut Settings, findings: &mut Findings) {
    if let Some(shares) = given.shares().filter(|shares| *shares != 0) {
        settings.add("cpu.weight", weight_of_shares(shares), &field.key("shares"));
    }
    // After the weight, which cannot be written while the cgroup is idle.
    if let Some(idle) = given.idle() {
        let at = field.key("idle");
        if !matches!(idle, 0 | 1) {
            findings.refuse_value(&at, idle, "must be 0 or 1");
        }
        let otherwise = if idle == 0 { Otherwise::Skip } else { Otherwise::Fail };
        settings.add_or("cpu.idle", idle, otherwise, &at);
    }
    let quota = given.quota().filter(|quota| *quota != 0);
    let period = given.period().filter(|period| *period != 0);
    // Bounds of kernel/sched/core.c, tg_set_cfs_bandwidth.
    if let Some(period) = period.filter(|period| !(1_000..=1_000_000).contains(period)) {
        let reason = "must be from 1000 to 1000000 microseconds";
        findings.refuse_value(&field.key("period"), period, reason);
    }
    if let Some(quota) = quota.filter(|quota| *quota != -1 && *quota < 1_000) {
        let reason = "must be -1 (no limit) or at least 1000 microseconds";
        findings.refuse_value(&field.key("quota"), quota, reason);
    }
    if quota.is_some() || period.is_some() {
        let at = field.key(if quota.is_some() { "quota" } else { "period" });
        let max = quota.filter(|quota| *quota > 0).map_or("max".to_owned(), |max| max.to_string());
        // A period of no quota limits nothing: it needs no controller either.
        let otherwise = if max == "max" { Otherwise::Skip } else { Otherwise::Fail };
        settings.add_or("cpu.max", format!("{max} {}", period.unwrap_or(100_000)), otherwise, &at);
    }
    if let Some(burst) = given.burst() {
        let at = field.key("burst");
        if let Some(quota) = quota.filter(|quota| *quota > 0 && burst > quota.unsigned_abs()) {
            findings.refuse_value(&at, burst, format!("must not be above cpu.quota ({quota})"));
        }
        let otherwise = if burst == 0 { Otherwise::Skip } else { Otherwise::Fail };
        settings.add_or("cpu.max.burst", burst, otherwise, &at);
    }
    let realtime = [
        ("realtimeRuntime", given.realtime_runtime().is_some_and(|value| value != 0)),
        ("realtimePeriod", given.realtime_period().is_some_and(|value| value != 0)),
    ];
    for (key, _) in realtime.iter().filter(|(_, set)| *set) {
        findings.refuse(&field.key(*key), "cgroup v2 has no realtime bandwidth for each cgroup");
    }
    for (key, file, list) in
        [("cpus", "cpuset.cpus", given.cpus()), ("mems", "cpuset.mems", given.mems())]
    {
        if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
            let at = field.key(key);
            if !list.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | '-' | ':' | '/' | ' '))
            {
                findings.refuse_value(&at, list, "must be a list like 0-3,7");
            }
            settings.add(file, list, &at);
        }
    }
}

/// `cpu.shares` of cgroup v1 (2 to 262144, default 1024) as `cpu.weight` of v2 (1 to
/// 10000, default 100): the quadratic in log2(shares) through those three points, which
/// the OCI runtimes have agreed on.
fn weight_of_shares(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    10f64.powf(exponent).ceil() as u64
}

fn pids(given: LinuxPids, field: &Field, settings: &mut Settings, findings: &mut Findings) {
    let at = field.key("limit");
    if let Some(value) = limit(given.limit(), &at, findings) {
        settings.add_limit("pids.max", at_least_one_task(&value).to_owned(), &at);
    }
}

/// Nothing could be cloned into a cgroup whose limit is 0. With 1 there is the first process and
/// no other task, which is what 0 means to a process that is moved in. systemd has no 0 either.
fn at_least_one_task(value: &str) -> &str {
    if kernel::integer(value) == Some(0) { "1" } else { value }
}

fn hugepages(
    given: &LinuxHugepageLimit,
    field: &Field,
    settings: &mut Settings,
    findings: &mut Findings,
) {
    let size = given.page_size();
    let digits = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
    if !digits.is_some_and(|digits| is_number(digits) && !digits.starts_with('0')) {
        let reason = "must be a size like 2MB, with KB, MB or GB";
        return findings.refuse_value(&field.key("pageSize"), size, reason);
    }
    let at = field.key("limit");
    if given.limit() < 0 {
        return findings.refuse_value(&at, given.limit(), "must not be negative");
    }
    settings.add(format!("hugetlb.{size}.max"), given.limit(), &at);
    // Reservations too: a page that is reserved and then touched must not be a surprise.
    settings.add(format!("hugetlb.{size}.rsvd.max"), given.limit(), &at);
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn rdma(
    device: &str,
    given: &LinuxRdma,
    field: &Field,
    settings: &mut Settings,
    findings: &mut Findings,
) {
    if device.is_empty() || device.chars().any(|c| c == '/' || c.is_whitespace() || c.is_control())
    {
        return findings.refuse(field, "must be the name of one RDMA device");
    }
    let part = |key: &str, value: Option<u32>| value.map(|value| format!(" {key}={value}"));
    let parts = [part("hca_handle", given.hca_handles()), part("hca_object", given.hca_objects())];
    let parts: String = parts.into_iter().flatten().collect();
    if !parts.is_empty() {
        settings.add("rdma.max", format!("{device}{parts}"), field);
    }
}

fn network(given: &LinuxNetwork, field: &Field, findings: &mut Findings) {
    let reason = "cgroup v2 has no network controller";
    if let Some(class) = given.class_id().filter(|class| *class != 0) {
        findings.refuse_value(&field.key("classID"), class, reason);
    }
    if given.priorities().as_ref().is_some_and(|priorities| !priorities.is_empty()) {
        findings.refuse(&field.key("priorities"), reason);
    }
}

/// A key names one file of a controller. The files of the core, `cgroup.*`, are ours: with
/// them a configuration could move, kill or freeze processes.
fn unified(
    file: &str,
    value: &str,
    field: &Field,
    settings: &mut Settings,
    findings: &mut Findings,
) {
    if file.starts_with("cgroup.") {
        findings.refuse(field, "the files of the cgroup core are not for the configuration");
    } else if !file.split_once('.').is_some_and(|(controller, name)| {
        is_word(controller) && !name.is_empty() && !name.contains('/')
    }) || file.chars().any(|c| c.is_whitespace() || c.is_control())
    {
        findings.refuse(field, "must be the name of a file of cgroup v2, like memory.high");
    } else if value.is_empty() || value.chars().any(|c| c.is_control() && c != '\n') {
        findings.refuse_value(field, value, "must be lines of text");
    } else {
        // The kernel takes one line at a time: one device of io.max, for example.
        for line in value.lines().filter(|line| !line.is_empty()) {
            let line = if file == "pids.max" { at_least_one_task(line) } else { line };
            settings.add(file, line, field);
        }
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests;
