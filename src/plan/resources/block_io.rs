//! `linux.resources.blockIO`: weights and throttling.

use oci_spec::runtime::{LinuxBlockIo, LinuxThrottleDevice};

use super::Settings;
use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::cgroup::Otherwise;
use crate::model::kernel_values::scaled;

pub(super) fn plan(
    given: &LinuxBlockIo,
    field: &Field,
    settings: &mut Settings,
    findings: &mut Findings,
) {
    leaf_weight(given.leaf_weight(), field, findings);
    weight(given.weight(), "", field, settings, findings);
    for (index, device) in given.weight_device().iter().flatten().enumerate() {
        let at = field.key("weightDevice").at(index);
        leaf_weight(device.leaf_weight(), &at, findings);
        if let Some(number) = device_number(device.major(), device.minor(), &at, findings) {
            weight(device.weight(), &format!("{number} "), &at, settings, findings);
        }
    }
    for (member, key, list) in [
        ("throttleReadBpsDevice", "rbps", given.throttle_read_bps_device()),
        ("throttleWriteBpsDevice", "wbps", given.throttle_write_bps_device()),
        ("throttleReadIOPSDevice", "riops", given.throttle_read_iops_device()),
        ("throttleWriteIOPSDevice", "wiops", given.throttle_write_iops_device()),
    ] {
        for (index, device) in list.iter().flatten().enumerate() {
            throttle(device, key, &field.key(member).at(index), settings, findings);
        }
    }
}

fn leaf_weight(given: Option<u16>, field: &Field, findings: &mut Findings) {
    if let Some(value) = given.filter(|value| *value != 0) {
        findings.refuse_value(&field.key("leafWeight"), value, "cgroup v2 has no leaf weights");
    }
}

/// `device` is empty, or `MAJOR:MINOR ` in front of the value.
fn weight(
    given: Option<u16>,
    device: &str,
    field: &Field,
    settings: &mut Settings,
    findings: &mut Findings,
) {
    let Some(weight) = given.filter(|weight| *weight != 0) else { return };
    let at = field.key("weight");
    if !(10..=1000).contains(&weight) {
        return findings.refuse_value(&at, weight, "must be from 10 to 1000");
    }
    let value = format!("{device}{}", scaled(weight.into()));
    let otherwise = Otherwise::Write { file: "io.weight".to_owned(), value };
    settings.add_or("io.bfq.weight", format!("{device}{weight}"), otherwise, &at);
}

fn throttle(
    given: &LinuxThrottleDevice,
    key: &str,
    field: &Field,
    settings: &mut Settings,
    findings: &mut Findings,
) {
    let Some(number) = device_number(given.major(), given.minor(), field, findings) else { return };
    // 0 took a limit away in cgroup v1; the file of v2 refuses it.
    let rate = if given.rate() == 0 { "max".to_owned() } else { given.rate().to_string() };
    settings.add("io.max", format!("{number} {key}={rate}"), &field.key("rate"));
}

/// 12 bits of major and 20 of minor are all that the kernel has.
fn device_number(major: i64, minor: i64, field: &Field, findings: &mut Findings) -> Option<String> {
    let mut good = true;
    for (key, value, bits) in [("major", major, 12), ("minor", minor, 20)] {
        if !(0..1 << bits).contains(&value) {
            findings.refuse_value(&field.key(key), value, "is not a device number");
            good = false;
        }
    }
    good.then(|| format!("{major}:{minor}"))
}
