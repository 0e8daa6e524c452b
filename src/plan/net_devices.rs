//! `linux.netDevices`: devices of the host that the container takes over.

use std::collections::BTreeMap;

use oci_spec::runtime::Spec;

use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::namespaces::{Namespaces, flag};
use crate::model::net_device::NetDevice;

/// The longest name of a device (`IFNAMSIZ` without its NUL).
const MAX_NAME: usize = 15;

/// Reads `linux.netDevices`, in the order of the names.
pub fn plan(
    spec: &Spec,
    namespaces: &Namespaces,
    unprivileged: bool,
    findings: &mut Findings,
) -> Vec<NetDevice> {
    let field = Field::of("linux.netDevices");
    let given = spec.linux().as_ref().and_then(|linux| linux.net_devices().as_ref());
    let given: BTreeMap<_, _> = given.into_iter().flatten().collect();
    if given.is_empty() {
        return Vec::new();
    }
    if !namespaces.has(flag::NET) {
        findings.refuse(&field, "need a network namespace in linux.namespaces");
    }
    if unprivileged {
        findings.refuse(&field, "only root can move devices of the host");
    }
    let mut devices: Vec<NetDevice> = Vec::new();
    for (name, device) in given {
        let at = field.key(name.clone());
        if let Some(reason) = refused(name) {
            findings.refuse_value(&at, name, reason);
        }
        let inside = device.name().as_deref().filter(|inside| !inside.is_empty());
        if let Some((inside, reason)) = inside.and_then(|new| Some((new, refused_inside(new)?))) {
            findings.refuse_value(&at.key("name"), inside, reason);
        }
        let name = findings.c_string(&at, name.as_str());
        let inside = inside.map(|new| findings.c_string(&at.key("name"), new));
        let device = NetDevice { inside: inside.unwrap_or_else(|| name.clone()), name, field: at };
        if !device.is_template() && devices.iter().any(|other| other.inside == device.inside) {
            let reason = "another device has this name in the container";
            findings.refuse_value(&device.field, &device.inside, reason);
        }
        devices.push(device);
    }
    devices
}

/// What the kernel takes for a name (`dev_valid_name`).
fn refused(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Some("a device has a name of 1 to 15 bytes");
    }
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace();
    (matches!(name, "." | "..") || name.contains(bad)).then_some("not the name of a device")
}

/// The same for a new name, which may be a template.
fn refused_inside(name: &str) -> Option<&'static str> {
    let plain = name.replacen("%d", "0", 1);
    let template = plain.contains('%').then_some("only one %d can stand for a number");
    refused(name).or(template)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(devices: &str, namespaces: &str) -> (Vec<NetDevice>, Vec<String>) {
        let text = format!(
            r#"{{"ociVersion":"1.3.0","linux":{{"namespaces":[{namespaces}],"netDevices":{devices}}}}}"#
        );
        let spec = serde_json::from_str(&text).expect("a spec");
        let mut findings = Findings::default();
        let namespaces = super::super::namespaces::plan(&spec, &mut findings);
        let devices = plan(&spec, &namespaces, false, &mut findings);
        (devices, findings.violations.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn devices_come_in_the_order_of_their_names() {
        let net = r#"{"type":"network"}"#;
        let (devices, refused) =
            planned(r#"{"eth1":{"name":"net%d"},"eth0":{},"eth2":{"name":""}}"#, net);
        assert_eq!(refused, Vec::<String>::new());
        let names: Vec<_> = devices.iter().map(|d| (d.name.to_str(), d.inside.to_str())).collect();
        assert_eq!(
            names,
            [(Ok("eth0"), Ok("eth0")), (Ok("eth1"), Ok("net%d")), (Ok("eth2"), Ok("eth2"))]
        );
        assert!(devices[1].is_template() && !devices[0].is_template());
    }

    #[test]
    fn names_that_no_device_has_are_refused() {
        let net = r#"{"type":"network"}"#;
        for (devices, namespaces, field) in [
            (r#"{"../x":{}}"#, net, r#"linux.netDevices["../x"]"#),
            (r#"{"eth0123456789012":{}}"#, net, "linux.netDevices.eth0123456789012"),
            (r#"{"eth0":{"name":"a/b"}}"#, net, "linux.netDevices.eth0.name"),
            (r#"{"eth0":{"name":"%d%d"}}"#, net, "linux.netDevices.eth0.name"),
            (r#"{"eth0":{"name":"%s"}}"#, net, "linux.netDevices.eth0.name"),
            (r#"{"eth0":{},"eth1":{"name":"eth0"}}"#, net, "linux.netDevices.eth1"),
            (r#"{"eth0":{}}"#, "", "linux.netDevices"),
        ] {
            let (_, refused) = planned(devices, namespaces);
            assert!(refused.len() == 1 && refused[0].contains(field), "{devices}: {refused:?}");
        }
    }
}
