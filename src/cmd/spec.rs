//! `rt spec`: a config.json to start from.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use serde::Serialize;

use super::indented;
use crate::cli::SPEC_VERSION;
use crate::cli::args;
use crate::diag::field::CONFIG;
use crate::error::{Doing, Error, Result};
use crate::model::process::DEFAULT_PATH;
use crate::sys::fs::rename_noreplace;

/// Writes config.json into the bundle; never over another one.
pub fn spec(args: &args::Spec) -> Result<()> {
    let mut config = Config::new();
    if args.rootless {
        config.for_user(nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    }
    let text = indented(&config, "\t")?;
    let path = args.bundle.join(CONFIG);
    let doing = || format!("write {}", path.display());
    if fs::symlink_metadata(&path).is_ok() {
        return Err(Error::new(doing()).errno(Errno::EEXIST).hint("remove it first"));
    }
    // Under another name first: on a full disk nothing must stay that looks like a configuration.
    let name = format!(".{CONFIG}.{}", std::process::id());
    let temporary = args.bundle.join(&name);
    let written = File::options().write(true).create_new(true).open(&temporary);
    let written = written.and_then(|mut file| file.write_all(text.as_bytes())).doing(doing);
    let placed = written.and_then(|()| {
        let bundle = File::open(&args.bundle).doing(doing)?;
        let c_name = |name: &str| CString::new(name).unwrap_or_default();
        rename_noreplace(bundle.as_raw_fd(), &c_name(&name), &c_name(CONFIG)).doing(doing)
    });
    placed.map_err(|error| {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
        match error.errno_of() {
            Some(Errno::EEXIST) => error.hint("remove it first"),
            _ => error,
        }
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    oci_version: &'static str,
    process: Process,
    root: Root,
    hostname: &'static str,
    mounts: Vec<Mount>,
    linux: Linux,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    terminal: bool,
    user: User,
    args: &'static [&'static str],
    env: [String; 2],
    cwd: &'static str,
    capabilities: Capabilities,
    rlimits: &'static [Rlimit],
    no_new_privileges: bool,
}

#[derive(Serialize)]
struct User {
    uid: u32,
    gid: u32,
}

/// The inheritable and ambient sets stay empty: what is in them survives execve(2) of
/// any program (CVE-2022-29162).
#[derive(Serialize)]
struct Capabilities {
    bounding: &'static [&'static str],
    effective: &'static [&'static str],
    permitted: &'static [&'static str],
}

#[derive(Serialize)]
struct Rlimit {
    #[serde(rename = "type")]
    kind: &'static str,
    hard: u64,
    soft: u64,
}

#[derive(Serialize)]
struct Root {
    path: &'static str,
    readonly: bool,
}

#[derive(Serialize)]
struct Mount {
    destination: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    source: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    uid_mappings: Vec<Mapping>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gid_mappings: Vec<Mapping>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Resources>,
    namespaces: Vec<Namespace>,
    masked_paths: &'static [&'static str],
    readonly_paths: &'static [&'static str],
}

#[derive(Serialize)]
struct Mapping {
    #[serde(rename = "containerID")]
    container: u32,
    #[serde(rename = "hostID")]
    host: u32,
    size: u32,
}

#[derive(Serialize)]
struct Resources {
    devices: &'static [DeviceRule],
}

#[derive(Serialize)]
struct DeviceRule {
    allow: bool,
    access: &'static str,
}

#[derive(Serialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: &'static str,
}

const CAPABILITIES: &[&str] = &["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

/// What tells of the host, or changes it.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

const READONLY: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

impl Config {
    fn new() -> Self {
        Config {
            oci_version: SPEC_VERSION,
            process: Process {
                terminal: true,
                user: User { uid: 0, gid: 0 },
                args: &["sh"],
                env: [format!("PATH={DEFAULT_PATH}"), "TERM=xterm".to_owned()],
                cwd: "/",
                capabilities: Capabilities {
                    bounding: CAPABILITIES,
                    effective: CAPABILITIES,
                    permitted: CAPABILITIES,
                },
                rlimits: &[Rlimit { kind: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }],
                no_new_privileges: true,
            },
            root: Root { path: "rootfs", readonly: true },
            hostname: "rt",
            mounts: mounts(),
            linux: Linux {
                uid_mappings: Vec::new(),
                gid_mappings: Vec::new(),
                resources: Some(Resources {
                    devices: &[DeviceRule { allow: false, access: "rwm" }],
                }),
                namespaces: ["pid", "network", "ipc", "uts", "mount", "cgroup"]
                    .map(|kind| Namespace { kind })
                    .into(),
                masked_paths: MASKED,
                readonly_paths: READONLY,
            },
        }
    }

    /// For the user of these ids, who owns no group 5, no cgroup and no network device.
    fn for_user(&mut self, uid: u32, gid: u32) {
        for mount in &mut self.mounts {
            mount.options.retain(|option| *option != "gid=5");
            // The kernel mounts a new sysfs only for the owner of the network namespace.
            if mount.destination == "/sys" {
                mount.kind = "none";
                mount.source = "/sys";
                mount.options.insert(0, "rbind");
            }
        }
        self.linux.uid_mappings.push(Mapping { container: 0, host: uid, size: 1 });
        self.linux.gid_mappings.push(Mapping { container: 0, host: gid, size: 1 });
        self.linux.resources = None;
        self.linux.namespaces.retain(|namespace| namespace.kind != "network");
        self.linux.namespaces.push(Namespace { kind: "user" });
    }
}

fn mounts() -> Vec<Mount> {
    let mount = |destination, kind, source, options: &[&'static str]| Mount {
        destination,
        kind,
        source,
        options: options.to_vec(),
    };
    let locked = ["nosuid", "noexec", "nodev"];
    let and = |more: &[&'static str]| [&locked[..], more].concat();
    vec![
        mount("/proc", "proc", "proc", &[]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/shm", "tmpfs", "shm", &and(&["mode=1777", "size=65536k"])),
        mount("/dev/mqueue", "mqueue", "mqueue", &locked),
        mount("/sys", "sysfs", "sysfs", &and(&["ro"])),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &and(&["relatime", "ro"])),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(config: &Config) -> oci_spec::runtime::Spec {
        let text = indented(config, "\t").expect("JSON");
        assert!(
            text.starts_with("{\n\t\"ociVersion\": \"1.3.0\",\n\t\"process\": {\n\t\t"),
            "{text}"
        );
        let (spec, notices) = crate::spec::decode(text.as_bytes()).expect("a configuration");
        assert!(notices.is_empty(), "{notices:?}");
        spec
    }

    #[test]
    fn the_configuration_can_be_read_and_inherits_no_capability() {
        let spec = written(&Config::new());
        let process = spec.process().as_ref().expect("process");
        let sets = process.capabilities().as_ref().expect("capabilities");
        assert!(sets.inheritable().is_none() && sets.ambient().is_none());
        assert_eq!(sets.bounding().as_ref().map(|set| set.len()), Some(3));
        assert_eq!(spec.mounts().as_ref().map(Vec::len), Some(7));
    }

    #[test]
    fn rootless_maps_the_caller() {
        let mut config = Config::new();
        config.for_user(1000, 100);
        let spec = written(&config);
        let linux = spec.linux().as_ref().expect("linux");
        let gids = linux.gid_mappings().as_ref().expect("gidMappings");
        assert_eq!(
            gids.iter()
                .map(|map| (map.container_id(), map.host_id(), map.size()))
                .collect::<Vec<_>>(),
            [(0, 100, 1)]
        );
        assert!(linux.resources().is_none());
        let kinds: Vec<String> = linux
            .namespaces()
            .iter()
            .flatten()
            .map(|namespace| namespace.typ().to_string())
            .collect();
        assert_eq!(kinds, ["pid", "ipc", "uts", "mnt", "cgroup", "user"]);
    }
}
