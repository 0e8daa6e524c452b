//! Annotations `org.systemd.property.NAME`: properties of the container's unit, with values
//! in GVariant's text format.
//!
//! Only those that describe or limit this unit can be set. Others would have systemd start,
//! stop or execute something as root on behalf of whoever may write an annotation
//! (CVE-2024-3154), or are the runtime's own affair.

use std::collections::HashMap;

use crate::dbus::{Value, gvariant};
use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::cgroup::Property;

/// What the names of these annotations start with.
pub const PREFIX: &str = "org.systemd.property.";

/// Properties by their type (org.freedesktop.systemd1(5)).
const KNOWN: [(&str, &[&str]); 8] = [
    (
        "b",
        &[
            "CPUAccounting",
            "CoredumpReceive",
            "DefaultDependencies",
            "IOAccounting",
            "IPAccounting",
            "MemoryAccounting",
            "MemoryZSwapWriteback",
            "SendSIGHUP",
            "SendSIGKILL",
            "TasksAccounting",
        ],
    ),
    ("i", &["FinalKillSignal", "KillSignal", "RestartKillSignal", "WatchdogSignal"]),
    ("u", &["ManagedOOMMemoryPressureLimit"]),
    (
        "t",
        &[
            "CPUQuotaPerSecUSec",
            "CPUQuotaPeriodUSec",
            "CPUWeight",
            "DefaultMemoryLow",
            "DefaultMemoryMin",
            "IOWeight",
            "JobRunningTimeoutUSec",
            "JobTimeoutUSec",
            "ManagedOOMMemoryPressureDurationUSec",
            "MemoryHigh",
            "MemoryLow",
            "MemoryMax",
            "MemoryMin",
            "MemoryPressureThresholdUSec",
            "MemorySwapMax",
            "MemoryZSwapMax",
            "RuntimeMaxUSec",
            "RuntimeRandomizedExtraUSec",
            "StartupCPUWeight",
            "StartupIOWeight",
            "TasksMax",
            "TimeoutStopUSec",
        ],
    ),
    (
        "s",
        &[
            "CollectMode",
            "Description",
            "KillMode",
            "ManagedOOMMemoryPressure",
            "ManagedOOMPreference",
            "ManagedOOMSwap",
            "MemoryPressureWatch",
            "OOMPolicy",
        ],
    ),
    ("as", &["After", "Before", "Documentation", "PartOf", "StopPropagatedFrom"]),
    (
        "ay",
        &["AllowedCPUs", "AllowedMemoryNodes", "StartupAllowedCPUs", "StartupAllowedMemoryNodes"],
    ),
    (
        "a(st)",
        &[
            "IODeviceLatencyTargetUSec",
            "IODeviceWeight",
            "IOReadBandwidthMax",
            "IOReadIOPSMax",
            "IOWriteBandwidthMax",
            "IOWriteIOPSMax",
        ],
    ),
];

pub(in crate::plan) fn plan(
    annotations: &HashMap<String, String>,
    findings: &mut Findings,
) -> Vec<Property> {
    let mut asked: Vec<_> = annotations
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, key, value)))
        .collect();
    asked.sort_unstable();
    let mut properties: Vec<Property> = Vec::new();
    for (name, key, text) in asked {
        let field = Field::of("annotations").key(key.clone());
        // It is what a scope has anyway; a slice cannot be delegated.
        if name == "Delegate" {
            if gvariant::parse(text, Some("b")) != Ok(Value::Bool(true)) {
                let reason =
                    "can only be true: what is below the container's unit is not systemd's";
                findings.refuse_value(&field, text, reason);
            }
            continue;
        }
        match read(name, text) {
            Ok((name, _)) if properties.iter().any(|known| known.name == name) => {
                findings.refuse(&field, format!("{name} is set by another annotation too"));
            }
            Ok((name, value)) => properties.push(Property { name, value, field }),
            Err(reason) => findings.refuse_value(&field, text, reason),
        }
    }
    properties
}

/// `TimeoutStopSec=90` of unit files is `TimeoutStopUSec` on D-Bus, in microseconds.
fn read(name: &str, text: &str) -> Result<(String, Value), String> {
    let seconds =
        name.strip_suffix("Sec").filter(|stem| stem.ends_with(|c: char| c.is_ascii_lowercase()));
    if let Some(stem) = seconds {
        let name = format!("{stem}USec");
        return match type_of(&name) {
            Some("t") => Ok((name, microseconds(&gvariant::parse(text, None)?)?)),
            _ => Err(UNKNOWN.to_owned()),
        };
    }
    let kind = type_of(name).ok_or(UNKNOWN)?;
    let value = gvariant::parse(text, Some(kind))?;
    // systemd writes the unit to a file and reads it again: what looks like a line of its own
    // must not get in.
    if has_control(&value) {
        return Err("holds a control character".to_owned());
    }
    Ok((name.to_owned(), value))
}

fn has_control(value: &Value) -> bool {
    match value {
        Value::Str(text) => text.chars().any(char::is_control),
        Value::Array(_, values) | Value::Struct(values) => values.iter().any(has_control),
        _ => false,
    }
}

const UNKNOWN: &str = "is not a property of systemd that an annotation may set";

fn type_of(name: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(_, names)| names.contains(&name)).map(|(kind, _)| *kind)
}

fn microseconds(seconds: &Value) -> Result<Value, String> {
    let whole = match *seconds {
        Value::Byte(value) => Some(value.into()),
        Value::U16(value) => Some(value.into()),
        Value::U32(value) => Some(value.into()),
        Value::U64(value) => Some(value),
        Value::I16(value) => value.try_into().ok(),
        Value::I32(value) => value.try_into().ok(),
        Value::I64(value) => value.try_into().ok(),
        Value::Double(value) if (0.0..1e12).contains(&value) => {
            return Ok(Value::U64((value * 1e6) as u64));
        }
        _ => return Err("must be a number of seconds".to_owned()),
    };
    whole
        .and_then(|seconds: u64| seconds.checked_mul(1_000_000))
        .map(Value::U64)
        .ok_or_else(|| "must be a number of seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(pairs: &[(&str, &str)]) -> (Vec<(String, Value)>, Vec<String>) {
        let annotations =
            pairs.iter().map(|(name, text)| (format!("{PREFIX}{name}"), (*text).to_owned()));
        let mut findings = Findings::default();
        let properties = plan(&annotations.collect(), &mut findings);
        let properties = properties.into_iter().map(|p| (p.name, p.value)).collect();
        (properties, findings.violations.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_engines_write_is_read() {
        for (name, text, property, value) in [
            // Podman
            ("KillSignal", "15", "KillSignal", Value::I32(15)),
            ("TimeoutStopUSec", "uint64 10000000", "TimeoutStopUSec", Value::U64(10_000_000)),
            // CRI-O
            ("DefaultDependencies", "true", "DefaultDependencies", Value::Bool(true)),
            ("After", "['crio.service']", "After", Value::strings(["crio.service"])),
            // runc's documentation
            (
                "CollectMode",
                "'inactive-or-failed'",
                "CollectMode",
                Value::str("inactive-or-failed"),
            ),
            ("TimeoutStopSec", "456", "TimeoutStopUSec", Value::U64(456_000_000)),
            ("TimeoutStopSec", "byte 2", "TimeoutStopUSec", Value::U64(2_000_000)),
            ("RuntimeMaxSec", "1.5", "RuntimeMaxUSec", Value::U64(1_500_000)),
            // A plain number takes the property's type.
            ("TasksMax", "10", "TasksMax", Value::U64(10)),
        ] {
            let (properties, refused) = planned(&[(name, text)]);
            assert_eq!(properties, [(property.to_owned(), value)], "{name}={text}");
            assert!(refused.is_empty(), "{refused:?}");
        }
    }

    #[test]
    fn a_scope_is_delegated_and_may_be_said_to_be() {
        for text in ["true", "boolean true", " true "] {
            assert_eq!(planned(&[("Delegate", text)]), (vec![], vec![]), "{text}");
        }
        for text in ["false", "'yes'", "1", ""] {
            let (properties, refused) = planned(&[("Delegate", text)]);
            assert!(properties.is_empty(), "{text}");
            assert!(refused[0].contains("can only be true"), "{text}: {refused:?}");
        }
    }

    #[test]
    fn what_is_not_ours_to_hand_on_is_refused() {
        for name in [
            "ExecStartPost",
            "Slice",
            "DelegateControllers",
            "PIDs",
            "Wants",
            "Requires",
            "OnFailure",
            "OnSuccess",
            "FailureAction",
            "JobTimeoutAction",
            "BPFProgram",
            "DeviceAllow",
            "Conflicts",
            "",
            "../x",
            "Sec",
            "USec",
            "CPUQuotaPerSec",
            "KillSignalSec",
            "timeoutstopusec",
        ] {
            let (properties, refused) = planned(&[(name, "'x'")]);
            assert!(properties.is_empty(), "{name}");
            assert!(refused[0].contains("an annotation may set"), "{name}: {refused:?}");
            assert!(refused[0].contains("annotations[\"org.systemd.property."), "{refused:?}");
        }
    }

    #[test]
    fn bad_values_are_named() {
        for (name, text, reason) in [
            ("KillSignal", "uint64 15", "must be of type int32, and is of type uint64"),
            ("TimeoutStopUSec", "'5s'", "must be of type uint64"),
            ("TimeoutStopSec", "-1", "number of seconds"),
            ("TimeoutStopSec", "'5s'", "number of seconds"),
            ("TimeoutStopSec", "uint64 18446744073709551615", "number of seconds"),
            ("After", "crio.service", "must be of type @as"),
            ("Description", r"'a\nOnFailure=b.service'", "control character"),
            ("After", r"['a.service\n']", "control character"),
        ] {
            let (properties, refused) = planned(&[(name, text)]);
            assert!(properties.is_empty() && refused[0].contains(reason), "{name}: {refused:?}");
        }
        let (_, refused) = planned(&[("TimeoutStopSec", "1"), ("TimeoutStopUSec", "uint64 5")]);
        assert!(refused[0].contains("another annotation"), "{refused:?}");
    }
}
