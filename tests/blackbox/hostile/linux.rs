//! Rows 75 to 110: namespaces, mappings, paths, sysctls, devices, resources, seccomp.

use super::{Accept, Refuse, Warn, grows_with, rows};
use crate::support::{Bundle, Case, Need, sys};
use crate::tests;
use serde_json::{Value, json};
use std::fs;

tests! {
    namespace_lists,
    namespace_paths,
    id_mappings: needs(Need::UserNamespace),
    time_offsets,
    masked_and_read_only_paths,
    sysctls,
    sysctls_of_host_namespaces,
    devices,
    cgroup_paths,
    unified_and_other_keys,
    resource_values,
    seccomp_values,
    seccomp_limits,
    long_lists,
    net_devices,
}

fn namespace_lists(c: &Case) {
    let ns = |list: Value| list;
    rows(
        c,
        |_| (),
        vec![
            (
                75,
                "/linux/namespaces",
                ns(json!([{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "pid"}])),
                Refuse("linux.namespaces[3]", "pid"),
            ),
            (
                75,
                "/linux/namespaces",
                ns(
                    json!([{"type": "mount"}, {"type": "uts", "path": "/proc/self/ns/uts"}, {"type": "uts", "path": "/proc/1/ns/uts"}]),
                ),
                Refuse("linux.namespaces[2]", ""),
            ),
            (
                76,
                "/linux/namespaces/0/type",
                json!("banana"),
                Refuse("linux.namespaces[0].type", "banana"),
            ),
            (76, "/linux/namespaces/0", json!({}), Refuse("linux.namespaces[0]", "type")),
            (
                76,
                "/linux/namespaces/0/type",
                json!("CGROUP"),
                Refuse("linux.namespaces[0].type", "CGROUP"),
            ),
        ],
    );
}

fn namespace_paths(c: &Case) {
    sys::mkfifo(&c.path("fifo"));
    fs::write(c.path("plain"), "x").unwrap();
    let at = "/linux/namespaces/1/path";
    let place = "linux.namespaces[1].path";
    rows(
        c,
        |_| (),
        vec![
            (77, at, json!("/no/such/namespace"), Refuse(place, "/no/such/namespace")),
            (77, at, json!("relative"), Refuse(place, "absolute")),
            (77, at, json!(c.path_str("plain")), Refuse(place, "")),
            (77, at, json!("/etc"), Refuse(place, "")),
            (77, at, json!("/proc/self/ns/uts"), Refuse(place, "")),
            (78, at, json!(c.path_str("fifo")), Refuse(place, "")),
            (77, at, json!(format!("/{}", "x".repeat(70_000))), Refuse(place, "the longest")),
        ],
    );
}

fn id_mappings(c: &Case) {
    let one = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
    let user = |b: &mut Bundle| {
        b.namespace("user", None).set(
            "/linux/gidMappings",
            json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]),
        );
    };
    let map = |container: u64, host: u64, size: u64| json!({"containerID": container, "hostID": host, "size": size});
    let many: Vec<_> = (0..341).map(|i| map(i, 100_000 + i, 1)).collect();
    let at = "/linux/uidMappings";
    let place = "linux.uidMappings";
    rows(
        c,
        user,
        vec![
            (79, at, Value::Null, Refuse(place, "")),
            (79, at, json!([]), Refuse(place, "")),
            (80, at, json!([map(0, 100_000, 0)]), Refuse("linux.uidMappings[0].size", "")),
            (
                80,
                at,
                json!([map(0, 100_000, 10), map(5, 200_000, 10)]),
                Refuse("linux.uidMappings[1]", "overlap"),
            ),
            (
                80,
                at,
                json!([map(0, 100_000, 10), map(10, 100_005, 10)]),
                Refuse("linux.uidMappings[1]", "overlap"),
            ),
            (80, at, json!([map(0, 4_294_967_290, 10)]), Refuse("linux.uidMappings[0]", "")),
            (80, at, json!([map(4_294_967_290, 0, 10)]), Refuse("linux.uidMappings[0]", "")),
            (80, at, json!(many), Refuse(place, "340")),
            (
                80,
                at,
                json!([map(1, 100_000, 10)]),
                Refuse("process.user.uid", "not in linux.uidMappings"),
            ),
            (82, at, json!({}), Refuse(place, "")),
            (79, at, one.clone(), Accept),
        ],
    );
    let no_gid = |b: &mut Bundle| {
        b.namespace("user", None);
    };
    rows(c, no_gid, vec![(79, at, one.clone(), Refuse("linux.gidMappings", ""))]);
    rows(c, |_| (), vec![(81, at, one, Refuse("linux.uidMappings", "user namespace"))]);
}

fn time_offsets(c: &Case) {
    let at = "/linux/timeOffsets";
    rows(
        c,
        |_| (),
        vec![(83, at, json!({"monotonic": {"secs": 1}}), Refuse("linux.timeOffsets", "time"))],
    );
    let time = |b: &mut Bundle| {
        b.namespace("time", None);
    };
    rows(
        c,
        time,
        vec![
            (83, at, json!({"realtime": {"secs": 1}}), Refuse("linux.timeOffsets", "realtime")),
            (
                83,
                at,
                json!({"monotonic": {"secs": 1, "nanosecs": 4_000_000_000_u64}}),
                Refuse("linux.timeOffsets.monotonic.nanosecs", "must be below 1000000000"),
            ),
            (
                83,
                at,
                json!({"boottime": {"secs": 5_000_000_000_i64}}),
                Refuse("linux.timeOffsets.boottime.secs", "4611686018"),
            ),
            // Below what the host's clock shows, and nearly at the end of the kernel's time.
            (
                83,
                at,
                json!({"boottime": {"secs": 1}, "monotonic": {"secs": -4_000_000_000_i64}}),
                Refuse("linux.timeOffsets.monotonic.secs -4000000000", "the host's clock is at"),
            ),
            (
                83,
                at,
                json!({"monotonic": {"secs": 4_611_686_018_i64}}),
                Refuse("linux.timeOffsets.monotonic.secs", "the host's clock is at"),
            ),
        ],
    );
}

fn masked_and_read_only_paths(c: &Case) {
    for (at, place) in [
        ("/linux/maskedPaths", "linux.maskedPaths"),
        ("/linux/readonlyPaths", "linux.readonlyPaths"),
    ] {
        let first = if place == "linux.maskedPaths" {
            "linux.maskedPaths[0]"
        } else {
            "linux.readonlyPaths[0]"
        };
        rows(
            c,
            |_| (),
            vec![
                (84, at, json!(["relative"]), Refuse(first, "absolute")),
                (84, at, json!(["/a/../b"]), Refuse(first, "")),
                (84, at, json!([""]), Refuse(first, "")),
                (84, at, json!(["/"]), Refuse(first, "")),
                (85, at, json!("/proc/kcore"), Refuse(place, "")),
            ],
        );
    }
}

fn sysctls(c: &Case) {
    let bad = [
        "kernel.nosuch",
        "vm.swappiness",
        "kernel.core_pattern",
        "",
        "net/../../../etc/x",
        "net.ipv4.../../vm.swappiness",
        "net//x",
        "net.",
        "kernel.msgmax/x",
    ];
    let list = bad
        .iter()
        .map(|name| (87, "/linux/sysctl", json!({*name: "1"}), Refuse("linux.sysctl", "")))
        .collect();
    rows(c, |_| (), list);
    rows(
        c,
        |_| (),
        vec![
            (
                89,
                "/linux/sysctl",
                json!({"net.ipv4.ip_forward": "1\n2"}),
                Refuse("linux.sysctl", ""),
            ),
            (89, "/linux/sysctl", json!({"net.ipv4.ip_forward": 1}), Refuse("linux.sysctl", "")),
            (
                87,
                "/linux/sysctl",
                json!({"net.ipv4.no_such_file": "1"}),
                Refuse("linux.sysctl", "no_such_file"),
            ),
        ],
    );
}

fn sysctls_of_host_namespaces(c: &Case) {
    for (kind, name) in
        [("network", "net.ipv4.ip_forward"), ("ipc", "kernel.shmmax"), ("uts", "kernel.hostname")]
    {
        let host = |b: &mut Bundle| {
            b.without_namespace(kind);
            if kind == "uts" {
                b.remove("/hostname");
            }
        };
        rows(c, host, vec![(90, "/linux/sysctl", json!({name: "1"}), Refuse("linux.sysctl", ""))]);
    }
}

fn devices(c: &Case) {
    let device = |path: &str, kind: &str, major: i64| json!([{"path": path, "type": kind, "major": major, "minor": 3}]);
    let at = "/linux/devices";
    rows(
        c,
        |_| (),
        vec![
            (91, at, device("/dev/x", "z", 1), Refuse("linux.devices[0].type", "z")),
            (91, at, device("/dev/x", "", 1), Refuse("linux.devices[0].type", "")),
            (92, at, device("/dev/../../outside/zz", "c", 1), Accept),
            (92, at, device("dev/zz", "c", 1), Refuse("linux.devices[0].path", "absolute")),
            (92, at, device("/etc/passwd", "c", 1), Refuse("linux.devices[0]", "")),
            (93, at, device("/dev/x", "c", -1), Refuse("linux.devices[0].major", "")),
            (93, at, device("/dev/x", "c", 100_000_000_000), Refuse("linux.devices[0].major", "")),
            (
                93,
                at,
                json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}, {"path": "/dev/x", "type": "c", "major": 1, "minor": 5}]),
                Refuse("linux.devices[1]", ""),
            ),
        ],
    );
    assert!(!c.dir.join("bundles/outside").exists() && !c.dir.join("outside").exists());
    assert!(fs::metadata("/etc/passwd").unwrap().is_file());
}

fn cgroup_paths(c: &Case) {
    let at = "/linux/cgroupsPath";
    let place = "linux.cgroupsPath";
    rows(
        c,
        |_| (),
        vec![
            (94, at, json!("/../../../x"), Refuse(place, "..")),
            (94, at, json!(c.cgroups_path("../y")), Refuse(place, "..")),
            (94, at, json!("/a\0b"), Refuse(place, "")),
            (94, at, json!("/a\nb"), Refuse(place, "")),
            (94, at, json!(format!("/{}", "x".repeat(70_000))), Refuse(place, "")),
            (96, at, json!("/runner"), Refuse("", "not empty")),
            (96, at, json!("/"), Refuse(place, "")),
            (95, at, json!(""), Accept),
        ],
    );
}

fn unified_and_other_keys(c: &Case) {
    let at = "/linux/resources/unified";
    let place = "linux.resources.unified";
    rows(
        c,
        |_| (),
        vec![
            (97, at, json!({"../cgroup.kill": "1"}), Refuse(place, "../cgroup.kill")),
            (97, at, json!({"cgroup.procs": "0"}), Refuse(place, "cgroup.procs")),
            (97, at, json!({"cgroup.kill": "1"}), Refuse(place, "cgroup.kill")),
            (97, at, json!({"cgroup.freeze": "1"}), Refuse(place, "cgroup.freeze")),
            (97, at, json!({"cgroup.subtree_control": "+pids"}), Refuse(place, "")),
            (97, at, json!({"memory.max\n": "1"}), Refuse(place, "")),
            (97, at, json!({"": "1"}), Refuse(place, "")),
            (
                98,
                "/linux/resources/hugepageLimits",
                json!([{"pageSize": "../../x", "limit": 1}]),
                Refuse("linux.resources.hugepageLimits[0].pageSize", ""),
            ),
            (
                98,
                "/linux/resources/rdma",
                json!({"../x": {"hcaHandles": 1}}),
                Refuse("linux.resources.rdma", ""),
            ),
        ],
    );
}

fn resource_values(c: &Case) {
    let rule = |key: &str, value: Value| {
        let mut rule = json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw"});
        rule[key] = value;
        json!([rule])
    };
    let at = "/linux/resources/devices";
    rows(
        c,
        |_| (),
        vec![
            (
                99,
                at,
                rule("access", json!("xyz")),
                Refuse("linux.resources.devices[0].access", "xyz"),
            ),
            (99, at, rule("type", json!("q")), Refuse("linux.resources.devices[0].type", "q")),
            (99, at, rule("major", json!("1")), Refuse("linux.resources.devices[0].major", "")),
            (
                100,
                "/linux/resources/pids",
                json!({"limit": "10"}),
                Refuse("linux.resources.pids.limit", ""),
            ),
            (
                100,
                "/linux/resources/memory",
                json!({"limit": -2}),
                Refuse("linux.resources.memory.limit", ""),
            ),
            (
                100,
                "/linux/resources/memory",
                json!({"limit": 9_223_372_036_854_775_808_u64}),
                Refuse("linux.resources.memory.limit", ""),
            ),
        ],
    );
}

fn seccomp_values(c: &Case) {
    let at = "/linux/seccomp";
    let rule = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let errno = |extra: Value| {
        let mut r = json!({"names": ["getpgrp"], "action": "SCMP_ACT_ERRNO"});
        for (key, value) in extra.as_object().unwrap() {
            r[key] = value.clone();
        }
        r
    };
    let arg = |index: u32, op: &str| json!({"args": [{"index": index, "value": 1, "op": op}]});
    rows(
        c,
        |_| (),
        vec![
            (101, at, json!([]), Refuse("linux.seccomp", "")),
            (102, at, json!({}), Refuse("linux.seccomp", "defaultAction")),
            (
                103,
                at,
                json!({"defaultAction": "SCMP_ACT_X"}),
                Refuse("linux.seccomp.defaultAction", "SCMP_ACT_X"),
            ),
            (
                103,
                at,
                json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X"]}),
                Refuse("linux.seccomp.architectures[0]", "SCMP_ARCH_X"),
            ),
            (
                103,
                at,
                rule(errno(arg(0, "SCMP_CMP_X"))),
                Refuse("linux.seccomp.syscalls[0].args[0].op", "SCMP_CMP_X"),
            ),
            (
                103,
                at,
                json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_X"]}),
                Refuse("linux.seccomp.flags[0]", "SECCOMP_FILTER_FLAG_X"),
            ),
            (104, at, rule(json!({"names": ["no_such_call"], "action": "SCMP_ACT_ALLOW"})), Accept),
            (
                104,
                at,
                rule(json!({"names": ["no_such_call"], "action": "SCMP_ACT_ERRNO"})),
                Warn("no_such_call"),
            ),
            (
                105,
                at,
                rule(errno(arg(7, "SCMP_CMP_EQ"))),
                Refuse("linux.seccomp.syscalls[0].args[0].index", "7"),
            ),
            (
                105,
                at,
                rule(errno(json!({"errnoRet": 99_999}))),
                Refuse("linux.seccomp.syscalls[0].errnoRet", "99999"),
            ),
            (
                106,
                at,
                rule(json!({"names": ["getpgrp"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1})),
                Refuse("linux.seccomp.syscalls[0].errnoRet", ""),
            ),
            (
                107,
                at,
                rule(json!({"names": ["getpgrp"], "action": "SCMP_ACT_NOTIFY"})),
                Refuse("linux.seccomp", "listenerPath"),
            ),
        ],
    );
}

fn seccomp_limits(c: &Case) {
    let rules: Vec<_> = (0..5000)
        .map(|i| json!({"names": ["personality"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": i, "op": "SCMP_CMP_EQ"}]}))
        .collect();
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
    rows(c, |_| (), vec![(108, "/linux/seccomp", profile, Refuse("linux.seccomp", "4096"))]);
    let closed = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["execve"], "action": "SCMP_ACT_ERRNO"}]});
    let mut b = c.bundle();
    let dir = b.set("/linux/seccomp", closed).save();
    c.rt(&["run", "-b", &dir, crate::support::ID]).fails("seccomp");
    c.nothing_left();
}

fn long_lists(c: &Case) {
    let map = |_| json!({"containerID": 0, "hostID": 100_000, "size": 1000});
    let maps: Vec<_> = (0..3000).map(map).collect();
    let device =
        |n: u32| json!({"path": format!("/dev/{n}/x"), "type": "c", "major": 1, "minor": n});
    let user = |b: &mut Bundle| {
        b.user_namespace();
    };
    let many = Refuse("linux.uidMappings", "at most 340");
    rows(c, user, vec![(112, "/linux/uidMappings", json!(maps), many)]);
    grows_with(8_000, |length| {
        let env = (0..length).map(|n| format!("NAME{n}=x")).chain(["bad".into()]);
        let mut b = c.bundle();
        b.set("/process/env", env.collect());
        c.create(&b).fails(&format!("process.env[{length}]"))
    });
    grows_with(1_500, |length| {
        let devices = (0..length).map(device).chain([json!({"path": "x", "type": "p"})]);
        let mut b = c.bundle();
        b.set("/linux/devices", devices.collect());
        c.create(&b).fails(&format!("linux.devices[{length}].path"))
    });
    c.nothing_left();
    let overlapping: Vec<_> = (0..340).map(map).collect();
    let mut b = c.bundle();
    b.user_namespace().set("/linux/uidMappings", json!(overlapping));
    let error = c.create(&b).fails("more").err();
    assert!(error.len() < 10_000, "{} bytes", error.len());
}

fn net_devices(c: &Case) {
    let at = "/linux/netDevices";
    rows(
        c,
        |_| (),
        vec![
            (110, at, json!({"../x": {}}), Refuse("linux.netDevices", "")),
            (110, at, json!({"eth9": {"name": "a/b"}}), Refuse("linux.netDevices", "")),
        ],
    );
}
