//! `linux.resources.devices`: who may open and make which device node.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::device_rules::{ALL, DeviceKind, DeviceRule, MKNOD, READ, WRITE};
use crate::sys::dev::{self, Common};

const fn allow(kind: DeviceKind, major: Option<u32>, minor: Option<u32>, access: u8) -> DeviceRule {
    DeviceRule { allow: true, kind: Some(kind), major, minor, access }
}

const fn node(device: Common) -> DeviceRule {
    allow(DeviceKind::Char, Some(device.major), Some(device.minor), ALL)
}

/// What containers may use whatever the configuration says, since images and engines rely
/// on it: making (not opening) any node, the spec's default devices, terminals, and tun,
/// without which VPN clients in containers broke.
pub const DEFAULTS: [DeviceRule; 12] = {
    let [null, zero, full, random, urandom, tty] = dev::DEFAULTS;
    [
        allow(DeviceKind::Char, None, None, MKNOD),
        allow(DeviceKind::Block, None, None, MKNOD),
        node(null),
        node(zero),
        node(full),
        node(random),
        node(urandom),
        node(tty),
        allow(DeviceKind::Char, Some(5), Some(1), ALL), // console
        allow(DeviceKind::Char, Some(5), Some(2), ALL), // ptmx
        allow(DeviceKind::Char, Some(136), None, ALL),  // pts/*
        allow(DeviceKind::Char, Some(10), Some(200), ALL), // net/tun
    ]
};

/// The configured rules, then the defaults.
pub(super) fn plan(
    given: &[LinuxDeviceCgroup],
    field: &Field,
    findings: &mut Findings,
) -> Vec<DeviceRule> {
    let mut rules = Vec::with_capacity(given.len() + DEFAULTS.len());
    for (index, rule) in given.iter().enumerate() {
        rules.extend(one(rule, &field.at(index), findings));
    }
    rules.extend_from_slice(&DEFAULTS);
    rules
}

fn one(given: &LinuxDeviceCgroup, field: &Field, findings: &mut Findings) -> Option<DeviceRule> {
    let kind = match given.typ() {
        None | Some(LinuxDeviceType::A) => None,
        Some(LinuxDeviceType::B) => Some(DeviceKind::Block),
        // mknod(1): `u` is another name of `c`.
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(DeviceKind::Char),
        // The kernel asks the device controller about b and c only.
        Some(LinuxDeviceType::P) if given.allow() => {
            findings.notice(&field.key("type"), "a FIFO is no device, and always allowed");
            return None;
        }
        Some(LinuxDeviceType::P) => {
            findings.refuse(&field.key("type"), "must be a, b or c: a FIFO cannot be denied");
            return None;
        }
    };
    // Engines write -1 for "any".
    let mut number = |key: &'static str, value: Option<i64>, bits: u32| match value {
        None | Some(-1) => None,
        Some(value) => {
            let number = u32::try_from(value).ok().filter(|number| number >> bits == 0);
            if number.is_none() {
                findings.refuse_value(&field.key(key), value, "is not a device number");
            }
            number
        }
    };
    let (major, minor) = (number("major", given.major(), 12), number("minor", given.minor(), 20));
    let at = field.key("access");
    let mut access = 0;
    for letter in given.access().iter().flat_map(|text| text.chars()) {
        access |= match letter {
            'm' => MKNOD,
            'r' => READ,
            'w' => WRITE,
            // Not in the specification; runc passes over it. To deny all is to deny enough.
            'a' if !given.allow() => {
                findings.notice(&at, "a is for types of devices, taken as rwm");
                ALL
            }
            _ => {
                let text = given.access().as_deref().unwrap_or_default();
                findings.refuse_value(&at, text, "must be made of r, w and m");
                return None;
            }
        };
    }
    if kind.is_none() {
        // The wildcard of cgroup v1 is about everything, with or without an access.
        if major.is_some() || minor.is_some() || !matches!(access, 0 | ALL) {
            let reason = "a rule of type a is about all devices and all of rwm: leave the rest out";
            findings.refuse(field, reason);
            return None;
        }
        access = ALL;
    } else if access == 0 {
        findings.refuse(&at, "must say which of r, w and m");
        return None;
    }
    Some(DeviceRule { allow: given.allow(), kind, major, minor, access })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(rules: &str) -> (Vec<DeviceRule>, Vec<String>) {
        let given: Vec<LinuxDeviceCgroup> = serde_json::from_str(rules).expect("rules");
        let mut findings = Findings::default();
        let rules = plan(&given, &Field::of("devices"), &mut findings);
        (rules, findings.violations.iter().map(|v| v.field.to_string()).collect())
    }

    #[test]
    fn defaults_come_after_the_configured_rules() {
        let (rules, refused) = planned(
            r#"[{"allow":false,"access":"rwm"},
                {"allow":true,"type":"c","major":10,"minor":-1,"access":"rw"}]"#,
        );
        assert!(refused.is_empty());
        assert!(rules[0].is_reset() && !rules[0].allow);
        assert_eq!(rules[1], allow(DeviceKind::Char, Some(10), None, READ | WRITE));
        assert_eq!(rules[2..], DEFAULTS);
    }

    #[test]
    fn an_access_of_all_can_only_deny() {
        let (rules, refused) = planned(r#"[{"allow":false,"type":"c","major":1,"access":"ra"}]"#);
        assert!(refused.is_empty());
        assert_eq!((rules[0].allow, rules[0].access), (false, ALL));
    }

    #[test]
    fn types_that_the_controller_does_not_know_are_read() {
        let (rules, refused) = planned(
            r#"[{"allow":true,"type":"p","access":"rwm"},
                {"allow":true,"type":"u","major":10,"minor":7,"access":"r"}]"#,
        );
        assert!(refused.is_empty());
        assert_eq!(rules[0], allow(DeviceKind::Char, Some(10), Some(7), READ));
        assert_eq!(rules[1..], DEFAULTS);
    }

    #[test]
    fn bad_rules_are_named() {
        for (rule, field) in [
            (r#"{"allow":true,"type":"c","access":"ra"}"#, "devices[0].access"),
            (r#"{"allow":true,"type":"c","access":"xyz"}"#, "devices[0].access"),
            (r#"{"allow":true,"type":"c"}"#, "devices[0].access"),
            (r#"{"allow":false,"type":"p","access":"r"}"#, "devices[0].type"),
            (r#"{"allow":true,"type":"c","major":4096,"access":"r"}"#, "devices[0].major"),
            (r#"{"allow":true,"type":"b","minor":-2,"access":"r"}"#, "devices[0].minor"),
            (r#"{"allow":true,"type":"a","major":1,"access":"rwm"}"#, "devices[0]"),
            (r#"{"allow":true,"access":"r"}"#, "devices[0]"),
        ] {
            assert_eq!(planned(&format!("[{rule}]")).1, [field], "{rule}");
        }
    }
}
