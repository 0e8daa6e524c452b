//! Every key of a full configuration, misspelled in every way that people do: none passes in
//! silence.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::*;

#[path = "../../../tests/fields/mod.rs"]
mod fields;

/// Sections for other platforms, and what the specification has only in `linux`.
const FOREIGN: &[&str] = &["solaris", "windows", "vm", "zos", "uidMappings", "gidMappings"];

/// Objects whose keys are the writer's.
const MAPS: &[&str] = &[
    "annotations",
    "linux.netDevices",
    "linux.resources.rdma",
    "linux.resources.unified",
    "linux.sysctl",
    "linux.timeOffsets",
];

/// With every member that is for Linux.
fn full() -> Value {
    let hook = json!([{"path": "/bin/true", "args": ["true"], "env": ["A=1"], "timeout": 3}]);
    let mapping = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    let throttle = json!([{"major": 8, "minor": 0, "rate": 1}]);
    json!({
        "ociVersion": "1.3.0",
        "hostname": "a",
        "domainname": "b",
        "annotations": {"a": "b"},
        "root": {"path": "rootfs", "readonly": true},
        "hooks": {
            "prestart": hook, "createRuntime": hook, "createContainer": hook,
            "startContainer": hook, "poststart": hook, "poststop": hook,
        },
        "mounts": [{
            "destination": "/x", "type": "none", "source": "/y", "options": ["bind"],
            "uidMappings": mapping, "gidMappings": mapping,
        }],
        "process": {
            "terminal": true,
            "consoleSize": {"height": 1, "width": 1},
            "user": {"uid": 1, "gid": 1, "umask": 18, "additionalGids": [1]},
            "args": ["a"], "env": ["A=1"], "cwd": "/",
            "capabilities": {
                "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"],
                "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"],
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1, "soft": 1}],
            "noNewPrivileges": true,
            "apparmorProfile": "a",
            "oomScoreAdj": 1,
            "selinuxLabel": "a",
            "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 1},
            "scheduler": {
                "policy": "SCHED_OTHER", "nice": 1, "priority": 0, "flags": [], "runtime": 1,
                "deadline": 1, "period": 1,
            },
            "execCPUAffinity": {"initial": "0", "final": "0"},
        },
        "linux": {
            "uidMappings": mapping, "gidMappings": mapping,
            "sysctl": {"kernel.x": "1"},
            "netDevices": {"eth0": {"name": "eth1"}},
            "resources": {
                "devices": [
                    {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
                ],
                "memory": {
                    "limit": 1, "reservation": 1, "swap": 1, "kernel": 1, "kernelTCP": 1,
                    "swappiness": 1, "disableOOMKiller": false, "useHierarchy": true,
                    "checkBeforeUpdate": true,
                },
                "cpu": {
                    "shares": 1, "quota": 1, "burst": 1, "period": 1, "realtimeRuntime": 1,
                    "realtimePeriod": 1, "cpus": "0", "mems": "0", "idle": 0,
                },
                "pids": {"limit": 1},
                "blockIO": {
                    "weight": 10, "leafWeight": 10,
                    "weightDevice": [{"major": 8, "minor": 0, "weight": 10, "leafWeight": 10}],
                    "throttleReadBpsDevice": throttle, "throttleWriteBpsDevice": throttle,
                    "throttleReadIOPSDevice": throttle, "throttleWriteIOPSDevice": throttle,
                },
                "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
                "network": {"classID": 1, "priorities": [{"name": "a", "priority": 1}]},
                "rdma": {"mlx": {"hcaHandles": 1, "hcaObjects": 1}},
                "unified": {"memory.high": "1"},
            },
            "cgroupsPath": "/x",
            "namespaces": [{"type": "pid", "path": "/x"}],
            "devices": [{
                "path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 0,
                "gid": 0,
            }],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1, "architectures": [],
                "flags": [], "listenerPath": "/x", "listenerMetadata": "x",
                "syscalls": [{
                    "names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                    "args": [{"index": 0, "value": 1, "valueTwo": 1, "op": "SCMP_CMP_EQ"}],
                }],
            },
            "rootfsPropagation": "private",
            "maskedPaths": ["/x"], "readonlyPaths": ["/x"],
            "mountLabel": "x",
            "intelRdt": {
                "closID": "x", "schemata": ["L3:0=f"], "l3CacheSchema": "x", "memBwSchema": "x",
                "enableCMT": true, "enableMBM": true, "enableMonitoring": true,
            },
            "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": []},
            "personality": {"domain": "LINUX", "flags": []},
            "timeOffsets": {"monotonic": {"secs": 1, "nanosecs": 1}},
        },
    })
}

/// What fingers and memory make of a word.
fn mutants(word: &str) -> BTreeSet<String> {
    let letters: Vec<char> = word.chars().collect();
    let mut all = BTreeSet::from([word.to_uppercase(), word.to_lowercase()]);
    let mut add = |letters: Vec<char>| all.insert(letters.into_iter().collect());
    for at in 0..letters.len() {
        let mut dropped = letters.clone();
        dropped.remove(at);
        add(dropped);
        let mut doubled = letters.clone();
        doubled.insert(at, letters[at]);
        add(doubled);
        let mut swapped = letters.clone();
        if at + 1 < letters.len() {
            swapped.swap(at, at + 1);
            add(swapped);
        }
    }
    add([&letters[..], &['s']].concat());
    let capital = letters[0].to_uppercase().chain(letters[1..].iter().copied());
    add(capital.collect());
    all.remove(word);
    all
}

/// Every key of the objects in `value`: the way to its object, the key, and its path as
/// docs/spec.md has it. `entry`: this is an entry of a map, whose own keys are not the writer's.
fn keys(
    value: &Value,
    way: &str,
    path: &str,
    entry: bool,
    found: &mut Vec<(String, String, String)>,
) {
    let map = MAPS.contains(&path) && !entry;
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let inside = format!("{way}/{key}");
                if map {
                    keys(member, &inside, path, true, found);
                    continue;
                }
                let dot = if path.is_empty() { "" } else { "." };
                let below = format!("{path}{dot}{key}");
                found.push((way.to_owned(), key.clone(), below.clone()));
                keys(member, &inside, &below, false, found);
            }
        }
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                keys(element, &format!("{way}/{index}"), path, entry, found);
            }
        }
        _ => {}
    }
}

fn rename(config: &mut Value, way: &str, from: &str, to: &str) {
    let object = config.pointer_mut(way).and_then(Value::as_object_mut).expect(way);
    let renamed = |(key, value)| if key == from { (to.to_owned(), value) } else { (key, value) };
    *object = std::mem::take(object).into_iter().map(renamed).collect::<Map<_, _>>();
}

#[test]
fn the_full_configuration_is_full_and_nothing_is_said_about_it() {
    let mut found = Vec::new();
    keys(&full(), "", "", false, &mut found);
    let present: BTreeSet<String> = found.into_iter().map(|(.., path)| path).collect();
    let seen = fields::Seen::default();
    Spec::deserialize(fields::Walk::new(&seen)).expect("a walk over all fields");
    let foreign =
        |path: &str| FOREIGN.iter().any(|f| path == *f || path.starts_with(&format!("{f}.")));
    let spelled =
        |path: String| path.replace("enableCmt", "enableCMT").replace("enableMbm", "enableMBM");
    let missing: Vec<String> = seen
        .into_inner()
        .into_iter()
        .filter(|path| !foreign(path))
        .map(spelled)
        .filter(|path| !present.contains(path))
        .collect();
    // Both are for Windows.
    assert_eq!(missing, ["process.commandLine", "process.user.username"]);
    let (_, notices) = decode(full().to_string().as_bytes()).expect("a configuration");
    assert!(notices.is_empty(), "{notices:?}");
}

#[test]
fn no_misspelled_key_passes_in_silence() {
    let full = full();
    let mut found = Vec::new();
    keys(&full, "", "", false, &mut found);
    let (mut silent, mut count) = (Vec::new(), 0);
    for (way, key, path) in &found {
        let siblings = full.pointer(way).and_then(Value::as_object).expect("an object");
        for mutant in mutants(key) {
            if siblings.contains_key(&mutant) {
                continue;
            }
            count += 1;
            let mut config = full.clone();
            rename(&mut config, way, key, &mutant);
            let told = match decode(config.to_string().as_bytes()) {
                Ok((_, notices)) => notices.join("; "),
                Err(error) => error.to_string(),
            };
            // By its own name, or by that of the member which is missing now.
            let named = told.contains(&mutant) || told.contains(&format!("{key}: is required"));
            if !named {
                silent.push(format!("{path} as {mutant}: {told:?}"));
            }
        }
    }
    assert!(count > 2000, "{count}");
    assert!(silent.is_empty(), "{} of {count}:\n{}", silent.len(), silent.join("\n"));
}

#[test]
fn a_restriction_is_not_lost_by_a_capital_letter() {
    for (way, key, mutant) in [
        ("/process", "noNewPrivileges", "NoNewPrivileges"),
        ("/linux", "seccomp", "Seccomp"),
        ("/linux/resources/pids", "limit", "Limit"),
        ("/linux/resources/memory", "limit", "LIMIT"),
        ("/root", "readonly", "readOnly"),
        ("", "linux", "Linux"),
        ("", "process", "Process"),
        ("/linux/seccomp/syscalls/0", "args", "Args"),
        ("/linux/intelRdt", "enableCMT", "enableCmt"),
    ] {
        let mut config = full();
        rename(&mut config, way, key, mutant);
        let error = decode(config.to_string().as_bytes()).expect_err(mutant).to_string();
        let text = format!("{mutant}: must be spelled {key}: keys are case-sensitive");
        assert!(error.contains(&text), "{error}");
    }
    let mut config = full();
    rename(&mut config, "", "hostname", "hostName");
    let (_, notices) =
        decode(config.to_string().as_bytes()).expect("a host name is no restriction");
    assert_eq!(notices, ["hostName: unknown key, ignored; is hostname meant?"]);
}
