//! Values for files of a cgroup as properties of its unit. What systemd knows, it has to be
//! told: it writes its own idea of these files whenever it is reloaded.

use crate::dbus::Value;
use crate::model::cgroup::{Otherwise, Setting};
use crate::model::kernel_values as kernel;
use crate::model::kernel_values::CpuMax;
use crate::model::ranges;

/// Settings in systemd's words.
#[derive(Debug, Default, PartialEq)]
pub struct Translation {
    /// Properties, each once.
    pub properties: Vec<(String, Value)>,
    /// The settings as they come to be: systemd has coarser units for some.
    pub settings: Vec<Setting>,
}

/// `infinity` on D-Bus.
const INFINITY: u64 = u64::MAX;
/// The kernel's default period of cpu.max, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;
const SECOND: u64 = 1_000_000;
/// systemd keeps a quota as a percentage: hundredths of a second in each second.
const PERCENT: u64 = 10_000;
/// Largest value of io.bfq.weight; that of the other weights is 10000.
const MOST_BFQ: u64 = 1_000;
/// Tasks that a kernel can have (PID_MAX_LIMIT).
const MOST_TASKS: u64 = 4 << 20;

/// The versions of systemd that brought a property.
mod since {
    pub const MEMORY_MIN: u32 = 240;
    pub const CPU_QUOTA_PERIOD: u32 = 242;
    pub const CPUSET: u32 = 244;
    pub const CPU_IDLE: u32 = 252;
    pub const OOM_POLICY_OF_SCOPES: u32 = 253;
    pub const ZSWAP: u32 = 253;
}

/// Translates for a version of systemd. Later settings win over earlier ones. What the kernel would
/// refuse has no property: it is left to the kernel, which says so.
pub fn translate(settings: &[Setting], version: u32) -> Translation {
    let mut found = Translation::default();
    let idle = version >= since::CPU_IDLE && is_idle(settings);
    for setting in settings {
        let (file, value) = (setting.file.as_str(), setting.value.trim());
        let limit = |property| kernel::bytes(value).map(|value| (property, value));
        // systemd refuses 0; one byte is no page either.
        let some = |property| limit(property).map(|(property, value)| (property, value.max(1)));
        let known = match file {
            "memory.max" => some("MemoryMax"),
            "memory.high" => some("MemoryHigh"),
            "memory.low" => limit("MemoryLow"),
            "memory.min" if version >= since::MEMORY_MIN => limit("MemoryMin"),
            "memory.swap.max" => limit("MemorySwapMax"),
            "memory.zswap.max" if version >= since::ZSWAP => limit("MemoryZSwapMax"),
            "pids.max" => tasks(value).map(|value| ("TasksMax", value)),
            // systemd has one property for both: an idle cgroup has no weight.
            "cpu.weight" | "cpu.idle" if idle => Some(("CPUWeight", 0)),
            "cpu.weight" => number(value).filter(is_weight).map(|value| ("CPUWeight", value)),
            _ => None,
        };
        match (known, file) {
            (Some((property, number)), _) => found.set(property, Value::U64(number)),
            (None, "cpu.max") => {
                found.quota(setting, version);
                continue;
            }
            (None, "io.bfq.weight" | "io.weight") => {
                found.io_weight(setting);
                continue;
            }
            (None, "cpuset.cpus" | "cpuset.mems") if version >= since::CPUSET => {
                if let Some(set) = bit_set(value) {
                    let of_cpus = file == "cpuset.cpus";
                    let property = if of_cpus { "AllowedCPUs" } else { "AllowedMemoryNodes" };
                    found.set(property, set);
                }
            }
            (None, "memory.oom.group") if version >= since::OOM_POLICY_OF_SCOPES => {
                match kernel::integer(value) {
                    Some(0) => found.set("OOMPolicy", Value::str("continue")),
                    Some(1) => found.set("OOMPolicy", Value::str("kill")),
                    _ => {}
                }
            }
            _ => {}
        }
        // The kernel refuses a weight for an idle cgroup, which it is by then.
        if !(idle && file == "cpu.weight") {
            found.settings.push(setting.clone());
        }
    }
    found
}

impl Translation {
    fn set(&mut self, name: &str, value: Value) {
        match self.properties.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.properties.push((name.to_owned(), value)),
        }
    }

    /// `QUOTA [PERIOD]` in microseconds; a quota of `max` is none. The unit is new where there is no
    /// period: an update writes out that in force.
    fn quota(&mut self, setting: &Setting, version: u32) {
        let Some(CpuMax { quota, period }) = kernel::cpu_max(&setting.value) else {
            return self.settings.push(setting.clone());
        };
        let period = period.unwrap_or(DEFAULT_PERIOD);
        if version >= since::CPU_QUOTA_PERIOD {
            self.set("CPUQuotaPeriodUSec", Value::U64(period));
        }
        if quota == kernel::MAX {
            self.set("CPUQuotaPerSecUSec", Value::U64(INFINITY));
            return self.settings.push(setting.clone());
        }
        let a_second = quota.saturating_mul(SECOND).div_ceil(period);
        let a_second = a_second.div_ceil(PERCENT).saturating_mul(PERCENT);
        self.set("CPUQuotaPerSecUSec", Value::U64(a_second));
        let quota = a_second.saturating_mul(period) / SECOND;
        self.settings.push(Setting { value: format!("{quota} {period}"), ..setting.clone() });
    }

    /// One property for both files, of which io.bfq.weight is there with that scheduler
    /// only. systemd writes both, and converts in another way than the plan does: io.weight,
    /// which most machines have, is the same with and without systemd.
    fn io_weight(&mut self, setting: &Setting) {
        self.settings.push(setting.clone());
        let value = setting.value.trim();
        let decimal = |text: &str| text.parse().ok();
        let number = match (value.strip_prefix("default "), setting.file.as_str()) {
            (Some(value), _) => decimal(value.trim()),
            (None, "io.bfq.weight") => number(value),
            (None, _) => decimal(value),
        };
        let most = if setting.file == "io.bfq.weight" { MOST_BFQ } else { u64::MAX };
        // Otherwise it is for one device, or none at all.
        let Some(number) = number.filter(|number| is_weight(number) && *number <= most) else {
            return;
        };
        let io = match &setting.otherwise {
            Otherwise::Write { file, value } if file == "io.weight" => decimal(value),
            _ => None,
        };
        self.set("IOWeight", Value::U64(io.unwrap_or(number)));
    }
}

fn is_idle(settings: &[Setting]) -> bool {
    let idle = settings.iter().rfind(|setting| setting.file == "cpu.idle");
    idle.is_some_and(|setting| kernel::integer(&setting.value) == Some(1))
}

fn number(text: &str) -> Option<u64> {
    kernel::integer(text)?.try_into().ok()
}

fn is_weight(number: &u64) -> bool {
    (1..=10_000).contains(number)
}

/// systemd knows no limit of 0.
fn tasks(text: &str) -> Option<u64> {
    match text {
        "max" => Some(INFINITY),
        text => number(text).filter(|tasks| (1..=MOST_TASKS).contains(tasks)),
    }
}

/// The lowest processor is the lowest bit of the first byte.
fn bit_set(text: &str) -> Option<Value> {
    let words = ranges::kernel_list(text)?;
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(length);
    Some(Value::Array("y".to_owned(), bytes.into_iter().map(Value::Byte).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::field::Field;

    const NEW: u32 = 260;

    fn settings(list: &[(&str, &str)]) -> Vec<Setting> {
        let setting = |(file, value): &(&str, &str)| Setting {
            controller: file.split('.').next().expect("a name").to_owned(),
            file: (*file).to_owned(),
            value: (*value).to_owned(),
            otherwise: Otherwise::Fail,
            field: Field::root(),
        };
        list.iter().map(setting).collect()
    }

    fn translated(list: &[(&str, &str)], version: u32) -> (Vec<(String, Value)>, Vec<String>) {
        let Translation { properties, settings } = translate(&settings(list), version);
        (properties, settings.into_iter().map(|s| format!("{}={}", s.file, s.value)).collect())
    }

    fn number(name: &str, value: u64) -> (String, Value) {
        (name.to_owned(), Value::U64(value))
    }

    #[test]
    fn limits_are_numbers_or_infinity() {
        for (file, value, property) in [
            ("memory.max", "67108864", number("MemoryMax", 67_108_864)),
            ("memory.max", "64M", number("MemoryMax", 67_108_864)),
            ("memory.high", "max", number("MemoryHigh", INFINITY)),
            ("memory.low", "0", number("MemoryLow", 0)),
            ("memory.min", "4096", number("MemoryMin", 4096)),
            ("memory.swap.max", "0", number("MemorySwapMax", 0)),
            ("memory.zswap.max", "1g", number("MemoryZSwapMax", 1 << 30)),
            ("memory.max", "0x10", number("MemoryMax", 16)),
            ("memory.low", "010", number("MemoryLow", 8)),
            ("memory.high", "1P", number("MemoryHigh", 1 << 50)),
            ("memory.max", "0", number("MemoryMax", 1)),
            ("memory.swap.max", "max", number("MemorySwapMax", INFINITY)),
            ("pids.max", "42", number("TasksMax", 42)),
            ("pids.max", "0x2a", number("TasksMax", 42)),
            ("pids.max", "max", number("TasksMax", INFINITY)),
            ("cpu.weight", "0117", number("CPUWeight", 79)),
            ("io.bfq.weight", "0x32", number("IOWeight", 50)),
            ("cpu.weight", "79", number("CPUWeight", 79)),
            ("io.weight", "default 200", number("IOWeight", 200)),
            ("io.bfq.weight", "50", number("IOWeight", 50)),
        ] {
            let (properties, files) = translated(&[(file, value)], NEW);
            assert_eq!(properties, [property], "{file}={value}");
            assert_eq!(files, [format!("{file}={value}")]);
        }
    }

    #[test]
    fn what_has_no_property_is_left_to_the_files() {
        for (file, value) in [
            ("memory.max", "1x"),
            ("memory.max", "08"),
            ("pids.max", "0"),
            ("pids.max", "4194305"),
            ("pids.max", "1K"),
            ("io.weight", "0x32"),
            ("io.bfq.weight", "1001"),
            ("cpu.weight", "10001"),
            ("cpu.max", "some"),
            // The kernel takes none of these: systemd would make something of them.
            ("cpu.max", "0 100000"),
            ("cpu.max", "100 10000"),
            ("cpu.max", "5000 2000000"),
            ("cpu.max.burst", "1000"),
            ("cpuset.cpus", "0-15:5/4"),
            ("cpuset.cpus", "100000"),
            ("io.max", "8:0 rbps=1048576"),
            ("io.bfq.weight", "8:0 200"),
            ("memory.oom.group", "2"),
            ("hugetlb.2MB.max", "0"),
            ("cpu.idle", "0"),
        ] {
            let (properties, files) = translated(&[(file, value)], NEW);
            assert_eq!(properties, [], "{file}={value}");
            assert_eq!(files, [format!("{file}={value}")]);
        }
    }

    #[test]
    fn an_io_weight_is_that_of_the_driver_without_systemd() {
        let mut settings = settings(&[("io.bfq.weight", "750")]);
        let value = "7475".to_owned();
        settings[0].otherwise = Otherwise::Write { file: "io.weight".to_owned(), value };
        let translated = translate(&settings, NEW);
        assert_eq!(translated.properties, [number("IOWeight", 7475)]);
        assert_eq!(translated.settings, settings);
    }

    /// systemd keeps whole percents: what is in the file has to be the same, so that it
    /// does not change when systemd is reloaded.
    #[test]
    fn quotas_are_rounded_up_to_percents() {
        for (value, a_second, period, file) in [
            ("50000 100000", 500_000, 100_000, "50000 100000"),
            ("50000", 500_000, 100_000, "50000"),
            ("12345 100000", 130_000, 100_000, "13000 100000"),
            ("150000 50000", 3_000_000, 50_000, "150000 50000"),
            ("1000 1000000", 10_000, 1_000_000, "10000 1000000"),
            ("max 20000", INFINITY, 20_000, "max 20000"),
        ] {
            let (properties, files) = translated(&[("cpu.max", value)], NEW);
            let period_property = number("CPUQuotaPeriodUSec", period);
            assert_eq!(properties, [period_property, number("CPUQuotaPerSecUSec", a_second)]);
            let file = if file == "50000" { "50000 100000" } else { file };
            assert_eq!(files, [format!("cpu.max={file}")], "{value}");
        }
    }

    #[test]
    fn an_idle_cgroup_has_no_weight() {
        let list = [("cpu.weight", "50"), ("cpu.idle", "1")];
        let idle = vec![number("CPUWeight", 0)];
        assert_eq!(translated(&list, NEW), (idle, vec!["cpu.idle=1".to_owned()]));
        let both = ["cpu.weight=50", "cpu.idle=1"].map(str::to_owned).to_vec();
        assert_eq!(translated(&list, 251), (vec![number("CPUWeight", 50)], both));
        let list = [("cpu.weight", "50"), ("cpu.idle", "0x1")];
        assert_eq!(translated(&list, NEW).0, [number("CPUWeight", 0)]);
    }

    #[test]
    fn sets_are_bits() {
        let set = |text: &str| {
            let (properties, _) = translated(&[("cpuset.cpus", text)], NEW);
            match &properties[..] {
                [(name, value @ Value::Array(_, values))] => {
                    assert_eq!((name.as_str(), value.signature().as_str()), ("AllowedCPUs", "ay"));
                    let byte =
                        |value: &Value| if let Value::Byte(byte) = value { *byte } else { 0 };
                    values.iter().map(byte).collect::<Vec<_>>()
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(set("0"), [1]);
        assert_eq!(set("0-3,7"), [0b1000_1111]);
        assert_eq!(set("9, 1"), [2, 2]);
        assert_eq!(set("0-15:2/4"), [0x33, 0x33]);
        // A long list keeps its last processor.
        let long: Vec<_> = (0..4096).step_by(2).map(|cpu: i32| cpu.to_string()).collect();
        assert_eq!(set(&long.join(",")), vec![0x55; 512]);
        let (properties, _) = translated(&[("cpuset.mems", "0")], NEW);
        assert_eq!(properties[0].0, "AllowedMemoryNodes");
    }

    #[test]
    fn later_settings_win() {
        let list = [("memory.max", "1"), ("memory.max", "2")];
        assert_eq!(translated(&list, NEW).0, [number("MemoryMax", 2)]);
    }

    #[test]
    fn properties_are_those_of_the_version() {
        let list = [
            ("memory.min", "1"),
            ("cpu.max", "1000 2000"),
            ("cpuset.cpus", "0"),
            ("cpu.idle", "1"),
            ("memory.oom.group", "1"),
            ("memory.zswap.max", "1"),
        ];
        let names = |version| {
            let (properties, files) = translated(&list, version);
            assert_eq!(files.len(), list.len());
            properties.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        let with_quota = "CPUQuotaPerSecUSec";
        assert_eq!(names(239), [with_quota]);
        assert_eq!(names(241), ["MemoryMin", with_quota]);
        assert_eq!(names(243), ["MemoryMin", "CPUQuotaPeriodUSec", with_quota]);
        assert_eq!(names(251), ["MemoryMin", "CPUQuotaPeriodUSec", with_quota, "AllowedCPUs"]);
        assert_eq!(names(252).last().map(String::as_str), Some("CPUWeight"));
        assert_eq!(names(253).len(), 7);
    }
}
