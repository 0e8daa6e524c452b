//! `rt features`: the Features structure of the specification (features.md,
//! features-linux.md). It says what this program can do, whatever the kernel can.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{indented, print};
use crate::cli::SPEC_VERSION;
use crate::error::Result;
use crate::model::delegation::LEAF;
use crate::plan::annotations;
use crate::plan::resources::properties;
use crate::{plan, seccomp};

/// Prints the structure.
pub fn features() -> Result<()> {
    print(&(indented(&Features::new(), "    ")? + "\n"))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Features {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    hooks: &'static [&'static str],
    mount_options: Vec<String>,
    linux: Linux,
    annotations: BTreeMap<&'static str, &'static str>,
    /// Those that change what `rt` does; one that ends in a dot is a prefix.
    potentially_unsafe_config_annotations: [&'static str; 3],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    namespaces: &'static [&'static str],
    capabilities: Vec<String>,
    cgroup: Cgroup,
    seccomp: Seccomp,
    apparmor: Enabled,
    selinux: Enabled,
    intel_rdt: IntelRdt,
    memory_policy: MemoryPolicy,
    mount_extensions: MountExtensions,
    net_devices: Enabled,
}

#[derive(Serialize)]
struct Enabled {
    enabled: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cgroup {
    v1: bool,
    v2: bool,
    systemd: bool,
    systemd_user: bool,
    rdma: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Seccomp {
    enabled: bool,
    actions: &'static [&'static str],
    operators: &'static [&'static str],
    archs: &'static [&'static str],
    known_flags: &'static [&'static str],
    supported_flags: &'static [&'static str],
}

#[derive(Serialize)]
struct IntelRdt {
    enabled: bool,
    schemata: bool,
    monitoring: bool,
}

#[derive(Serialize)]
struct MemoryPolicy {
    modes: &'static [&'static str],
    flags: &'static [&'static str],
}

#[derive(Serialize)]
struct MountExtensions {
    idmap: Enabled,
}

const HOOKS: &[&str] =
    &["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

const NAMESPACES: &[&str] = &["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"];

const MEMORY_POLICY_MODES: &[&str] = &[
    "MPOL_BIND",
    "MPOL_DEFAULT",
    "MPOL_INTERLEAVE",
    "MPOL_LOCAL",
    "MPOL_PREFERRED",
    "MPOL_PREFERRED_MANY",
    "MPOL_WEIGHTED_INTERLEAVE",
];

const MEMORY_POLICY_FLAGS: &[&str] =
    &["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];

impl Features {
    fn new() -> Self {
        let on = || Enabled { enabled: true };
        Features {
            oci_version_min: "1.0.0",
            oci_version_max: SPEC_VERSION,
            hooks: HOOKS,
            mount_options: plan::options::words(),
            linux: Linux {
                namespaces: NAMESPACES,
                capabilities: capabilities(),
                cgroup: Cgroup {
                    v1: false,
                    v2: true,
                    systemd: true,
                    systemd_user: true,
                    rdma: true,
                },
                seccomp: Seccomp {
                    enabled: true,
                    actions: seccomp::ACTIONS,
                    operators: seccomp::OPERATORS,
                    archs: seccomp::ARCHS,
                    known_flags: seccomp::FLAGS,
                    supported_flags: seccomp::FLAGS,
                },
                apparmor: on(),
                selinux: on(),
                intel_rdt: IntelRdt { enabled: true, schemata: true, monitoring: true },
                memory_policy: MemoryPolicy {
                    modes: MEMORY_POLICY_MODES,
                    flags: MEMORY_POLICY_FLAGS,
                },
                mount_extensions: MountExtensions { idmap: on() },
                net_devices: on(),
            },
            annotations: BTreeMap::from([
                // Where engines look for it, whatever the runtime.
                ("org.opencontainers.runc.checkpoint.enabled", "false"),
                ("rt.version", env!("CARGO_PKG_VERSION")),
            ]),
            potentially_unsafe_config_annotations: [
                properties::PREFIX,
                LEAF,
                annotations::KEEP_GROUPS,
            ],
        }
    }
}

/// In the order of their numbers.
fn capabilities() -> Vec<String> {
    let mut all: Vec<caps::Capability> = caps::all().into_iter().collect();
    all.sort_by_key(caps::Capability::index);
    all.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde::de::value::StrDeserializer;

    #[test]
    fn they_are_documented() {
        crate::tests::check("features", &[&Features::new()]);
    }

    #[test]
    fn oci_spec_reads_the_same() {
        let text = indented(&Features::new(), "    ").expect("JSON");
        assert!(text.starts_with("{\n    \"ociVersionMin\": \"1.0.0\",\n"), "{text}");
        let read: oci_spec::runtime::Features = serde_json::from_str(&text).expect("features");
        let linux = read.linux().as_ref().expect("linux");
        assert_eq!(linux.namespaces().as_ref().map(Vec::len), Some(8));
        assert_eq!(linux.capabilities().as_ref().map(Vec::len), Some(41));
        assert_eq!(
            read.mount_options().as_ref().map(|list| list.contains(&"rro".to_owned())),
            Some(true)
        );
    }

    /// "The runtime MUST recognize the elements in this array": each as the decoder does.
    #[test]
    fn every_word_is_recognized() {
        fn known<T: Deserialize<'static>>(words: &[&'static str]) {
            for word in words {
                let reader: StrDeserializer<'_, serde::de::value::Error> =
                    StrDeserializer::new(word);
                assert!(T::deserialize(reader).is_ok(), "{word}");
            }
        }
        known::<oci_spec::runtime::LinuxNamespaceType>(NAMESPACES);
        known::<oci_spec::runtime::LinuxSeccompAction>(seccomp::ACTIONS);
        known::<oci_spec::runtime::LinuxSeccompOperator>(seccomp::OPERATORS);
        known::<oci_spec::runtime::Arch>(seccomp::ARCHS);
        known::<oci_spec::runtime::LinuxSeccompFilterFlag>(seccomp::FLAGS);
        known::<oci_spec::runtime::MemoryPolicyModeType>(MEMORY_POLICY_MODES);
        known::<oci_spec::runtime::MemoryPolicyFlagType>(MEMORY_POLICY_FLAGS);
    }
}
