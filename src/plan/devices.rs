//! Device nodes of the container: the spec's defaults and `linux.devices`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use oci_spec::runtime::{LinuxDeviceType, Spec};

use super::mounts::clean;
use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::device::Device;
use crate::model::device::fills_dev;
use crate::model::mount::Mount;
use crate::sys::dev::DEFAULTS;

/// Default nodes first, then those of `linux.devices`; one of the same path replaces the
/// default. Where something is mounted at the path, as by Docker's
/// `-v /dev/urandom:/dev/random`, that is the device.
pub fn plan(spec: &Spec, mounts: &[Mount], findings: &mut Findings) -> Vec<Device> {
    let listed = listed(spec, findings);
    let mut devices = Vec::new();
    if fills_dev(mounts) {
        devices.extend(DEFAULTS.iter().map(|device| Device {
            directory: c"dev".to_owned(),
            name: device.name().to_owned(),
            host_path: device.path.to_owned(),
            handle: CString::default(),
            kind: libc::S_IFCHR,
            file_mode: None,
            device: device.number(),
            uid: None,
            gid: None,
            field: Field::root(),
        }));
        devices.retain(|node: &Device| !listed.iter().any(|own| own.path() == node.path()));
    }
    devices.extend(listed);
    let last = mounts.iter().rposition(|mount| mount.is_at("dev")).map_or(0, |dev| dev + 1);
    let mounted = mounts.iter().skip(last).map(|mount| mount.target.as_bytes());
    let mounted = mounted.collect::<BTreeSet<_>>();
    devices.retain(|node| !mounted.contains(&*node.path()));
    for (number, device) in devices.iter_mut().enumerate() {
        device.handle = findings.c_string(&device.field, number.to_string());
    }
    devices
}

fn listed(spec: &Spec, findings: &mut Findings) -> Vec<Device> {
    let listed = spec.linux().as_ref().and_then(|linux| linux.devices().as_ref());
    let field = Field::of("linux.devices");
    let mut devices: Vec<Device> = Vec::new();
    let mut places = BTreeMap::new();
    for (index, device) in listed.into_iter().flatten().enumerate() {
        let at = field.at(index);
        let Some(planned) = one(device, &at, findings) else { continue };
        let before = places.entry(planned.path()).or_insert(devices.len());
        match devices.get(*before) {
            None => devices.push(planned),
            // Engines list a device again that a plugin asks for as well.
            Some(known) if planned.same(known) => {}
            Some(other) => {
                let reason = format!("listed twice, and not as in {}", other.field);
                findings.refuse_value(&at.key("path"), device.path(), reason);
            }
        }
    }
    devices
}

fn one(
    spec: &oci_spec::runtime::LinuxDevice,
    field: &Field,
    findings: &mut Findings,
) -> Option<Device> {
    let path_field = field.key("path");
    if !spec.path().is_absolute() {
        findings.refuse_value(&path_field, spec.path(), "must be an absolute path");
        return None;
    }
    let path = clean(spec.path());
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        findings.refuse_value(&path_field, spec.path(), "must name a file");
        return None;
    };
    if path.starts_with("proc") {
        findings.refuse_value(&path_field, spec.path(), "must not be below /proc");
    }
    let kind = match spec.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => libc::S_IFCHR,
        LinuxDeviceType::B => libc::S_IFBLK,
        LinuxDeviceType::P => libc::S_IFIFO,
        LinuxDeviceType::A => {
            findings.refuse_value(&field.key("type"), "a", "must be c, u, b or p");
            return None;
        }
    };
    let mut number = |key: &'static str, value: i64, bits: u32| {
        let good = u32::try_from(value).ok().filter(|value| value >> bits == 0);
        if good.is_none() && kind != libc::S_IFIFO {
            findings.refuse_value(&field.key(key), value, "out of range");
        }
        good.unwrap_or(0)
    };
    // dev_t of the kernel: 12 bits of major, 20 of minor.
    let (major, minor) = (number("major", spec.major(), 12), number("minor", spec.minor(), 20));
    let mode = spec.file_mode().unwrap_or_default();
    if mode & !(libc::S_IFMT | 0o7777) != 0 {
        findings.refuse_value(&field.key("fileMode"), mode, "not a file mode");
    }
    for (key, id) in [("uid", spec.uid()), ("gid", spec.gid())] {
        if id == Some(u32::MAX) {
            findings.refuse_value(&field.key(key), u32::MAX, "must be below 4294967295");
        }
    }
    Some(Device {
        directory: findings.c_string(&path_field, directory.as_os_str().as_bytes()),
        name: findings.c_string(&path_field, name.as_bytes()),
        host_path: findings
            .c_string(&path_field, Path::new("/").join(&path).as_os_str().as_bytes()),
        handle: CString::default(),
        kind,
        file_mode: spec.file_mode().map(|mode| mode & 0o7777),
        device: if kind == libc::S_IFIFO { 0 } else { libc::makedev(major, minor) },
        uid: spec.uid(),
        gid: spec.gid(),
        field: field.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(devices: &str) -> (Vec<Device>, Vec<String>) {
        let text = format!(r#"{{"ociVersion":"1.3.0","linux":{{"devices":[{devices}]}}}}"#);
        let spec: Spec = serde_json::from_str(&text).expect("a spec");
        let mut findings = Findings::default();
        let devices = plan(&spec, &[], &mut findings);
        (devices, findings.violations.iter().map(|v| v.field.to_string()).collect())
    }

    #[test]
    fn a_listed_node_replaces_the_default_of_its_path() {
        let (devices, refused) =
            planned(r#"{"path":"/dev/../dev/null","type":"c","major":9,"minor":9,"fileMode":384}"#);
        assert!(refused.is_empty());
        assert_eq!(devices.len(), DEFAULTS.len());
        let null = devices.iter().find(|device| device.name.as_c_str() == c"null").expect("null");
        assert_eq!((null.device, null.permissions()), (libc::makedev(9, 9), 0o600));
        assert!(!null.is_null());
    }

    #[test]
    fn the_same_device_may_be_listed_again() {
        let fuse = r#"{"path":"/dev/fuse","type":"c","major":10,"minor":229}"#;
        let (devices, refused) = planned(&[fuse, fuse].join(","));
        assert!(refused.is_empty());
        assert_eq!(devices.len(), DEFAULTS.len() + 1);
        let other = r#"{"path":"/dev//fuse","type":"c","major":10,"minor":1}"#;
        assert_eq!(planned(&[fuse, other].join(",")).1, ["linux.devices[1].path"]);
    }

    #[test]
    fn every_bad_device_is_named() {
        for (device, field) in [
            (r#"{"path":"x","type":"c","major":1,"minor":1}"#, "linux.devices[0].path"),
            (r#"{"path":"/","type":"c","major":1,"minor":1}"#, "linux.devices[0].path"),
            (r#"{"path":"/proc/x/y","type":"c","major":1,"minor":1}"#, "linux.devices[0].path"),
            (r#"{"path":"/dev/../proc","type":"c","major":1,"minor":1}"#, "linux.devices[0].path"),
            (r#"{"path":"/dev/x","type":"a","major":1,"minor":1}"#, "linux.devices[0].type"),
            (r#"{"path":"/dev/x","type":"c","major":-1,"minor":1}"#, "linux.devices[0].major"),
            (
                r#"{"path":"/dev/x","type":"b","major":1,"minor":100000000000}"#,
                "linux.devices[0].minor",
            ),
        ] {
            assert_eq!(planned(device).1, [field], "{device}");
        }
    }
}
