//! Values for files of a cgroup as properties of its unit. What systemd knows, it has to be
//! told: it writes its own idea of these files whenever it is reloaded.

use crate::dbus::Value;
use crate::plan::resources::{Otherwise, Setting};

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
/// Neither period nor quota is shorter, for the kernel: a millisecond.
const SHORTEST: u64 = 1_000;
const LONGEST_PERIOD: u64 = SECOND;
/// Processors and memory nodes that a kernel can have.
const MOST_IN_SET: usize = 8192;

/// The versions of systemd that brought a property.
mod since {
    pub const MEMORY_MIN: u32 = 240;
    pub const CPU_QUOTA_PERIOD: u32 = 242;
    pub const CPUSET: u32 = 244;
    pub const CPU_IDLE: u32 = 252;
    pub const OOM_POLICY_OF_SCOPES: u32 = 253;
    pub const ZSWAP: u32 = 253;
}

/// Translates for a version of systemd. Later settings win over earlier ones.
pub fn translate(settings: &[Setting], version: u32) -> Translation {
    let mut found = Translation::default();
    let idle = version >= since::CPU_IDLE && is_idle(settings);
    for setting in settings {
        let (file, value) = (setting.file.as_str(), setting.value.trim());
        let limit = |property| bytes(value).map(|value| (property, value));
        let known = match file {
            "memory.max" => limit("MemoryMax").filter(|(_, value)| *value > 0),
            "memory.high" => limit("MemoryHigh").filter(|(_, value)| *value > 0),
            "memory.low" => limit("MemoryLow"),
            "memory.min" if version >= since::MEMORY_MIN => limit("MemoryMin"),
            "memory.swap.max" => limit("MemorySwapMax"),
            "memory.zswap.max" if version >= since::ZSWAP => limit("MemoryZSwapMax"),
            "pids.max" => limit("TasksMax").filter(|(_, value)| *value > 0),
            // systemd has one property for both: an idle cgroup has no weight.
            "cpu.weight" | "cpu.idle" if idle => Some(("CPUWeight", 0)),
            "cpu.weight" => weight(value).map(|value| ("CPUWeight", value)),
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
                let policy = [("0", "continue"), ("1", "kill")];
                if let Some((_, policy)) = policy.iter().find(|(number, _)| *number == value) {
                    found.set("OOMPolicy", Value::str(*policy));
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

    /// `QUOTA [PERIOD]` in microseconds; a quota of `max` is none.
    fn quota(&mut self, setting: &Setting, version: u32) {
        let mut words = setting.value.split_ascii_whitespace();
        let quota = words.next().and_then(number_or_max);
        let period = words.next().map_or(Some(DEFAULT_PERIOD), |word| word.parse().ok());
        let (Some(quota), Some(period)) = (quota, period.filter(|period| *period > 0)) else {
            // Not a value: the kernel says so.
            return self.settings.push(setting.clone());
        };
        if version >= since::CPU_QUOTA_PERIOD {
            self.set("CPUQuotaPeriodUSec", Value::U64(period));
        }
        if quota == INFINITY {
            self.set("CPUQuotaPerSecUSec", Value::U64(INFINITY));
            return self.settings.push(setting.clone());
        }
        let a_second = quota.saturating_mul(SECOND).div_ceil(period);
        let a_second = a_second.div_ceil(PERCENT).saturating_mul(PERCENT);
        self.set("CPUQuotaPerSecUSec", Value::U64(a_second));
        // What systemd makes of the two: cgroup_cpu_adjust_period in its cgroup.c.
        let shortest = SHORTEST.max(SHORTEST * SECOND / a_second.max(1));
        let period = period.max(shortest).min(LONGEST_PERIOD);
        let quota = (a_second.saturating_mul(period) / SECOND).max(SHORTEST);
        self.settings.push(Setting { value: format!("{quota} {period}"), ..setting.clone() });
    }

    /// One property for both files, of which io.bfq.weight is there with that scheduler
    /// only. systemd writes both, and converts in another way than the plan does: io.weight,
    /// which most machines have, is the same with and without systemd.
    fn io_weight(&mut self, setting: &Setting) {
        let value = setting.value.trim();
        let value = value.strip_prefix("default ").unwrap_or(value);
        let Some(number) = weight(value) else {
            // For one device.
            return self.settings.push(setting.clone());
        };
        let io = match &setting.otherwise {
            Otherwise::Write { file, value } if file == "io.weight" => weight(value),
            _ => None,
        };
        self.set("IOWeight", Value::U64(io.unwrap_or(number)));
        self.settings.push(setting.clone());
    }
}

fn is_idle(settings: &[Setting]) -> bool {
    let idle = settings.iter().rfind(|setting| setting.file == "cpu.idle");
    idle.is_some_and(|setting| setting.value.trim() == "1")
}

fn number_or_max(text: &str) -> Option<u64> {
    if text == "max" { Some(INFINITY) } else { text.parse().ok() }
}

fn weight(text: &str) -> Option<u64> {
    text.parse().ok().filter(|weight| (1..=10_000).contains(weight))
}

/// A limit as the kernel reads it (memparse in lib/cmdline.c), in decimal.
fn bytes(text: &str) -> Option<u64> {
    let shift = match text.as_bytes().last()?.to_ascii_uppercase() {
        b'K' => 10,
        b'M' => 20,
        b'G' => 30,
        b'T' => 40,
        _ => return number_or_max(text),
    };
    let number: u64 = text[..text.len() - 1].parse().ok()?;
    number.checked_mul(1 << shift)
}

/// `0-3,7`, as bits: the lowest processor is the lowest bit of the first byte. Not the form
/// with strides, `0-15:2/4`.
fn bit_set(text: &str) -> Option<Value> {
    let mut bytes: Vec<u8> = Vec::new();
    for range in text.split([',', ' ']).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= MOST_IN_SET {
            return None;
        }
        bytes.resize(bytes.len().max(last / 8 + 1), 0);
        (first..=last).for_each(|bit| bytes[bit / 8] |= 1 << (bit % 8));
    }
    Some(Value::Array("y".to_owned(), bytes.into_iter().map(Value::Byte).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::field::Field;

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
            ("pids.max", "42", number("TasksMax", 42)),
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
            ("memory.max", "0"),
            ("memory.max", "1x"),
            ("pids.max", "0"),
            ("cpu.weight", "10001"),
            ("cpu.max", "some"),
            ("cpu.max.burst", "1000"),
            ("cpuset.cpus", "0-15:2/4"),
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
            // 1 % of 10 ms is less than the kernel takes, so systemd makes the period longer.
            ("100 10000", 10_000, 10_000, "1000 100000"),
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
