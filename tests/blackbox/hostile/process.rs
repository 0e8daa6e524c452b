//! Rows 18 to 48 and 111 to 117: process and hooks.

use super::{Accept, Refuse, Row, Warn, rows, text};
use crate::support::{Bundle, Case, Need};
use crate::tests;
use serde_json::{Value, json};

tests! {
    paths_that_no_system_call_takes,
    numbers_out_of_range_have_their_own_bounds,
    ids_as_numbers,
    ids_as_other_things,
    arguments,
    working_directories,
    environments,
    limits,
    capability_names,
    switches_and_scores,
    labels_without_their_module: needs(Need::NoAppArmor),
    hook_values,
}

fn ids_as_numbers(c: &Case) {
    // Numbers that JSON libraries round must be written as text.
    for (key, other) in [("uid", "gid"), ("gid", "uid")] {
        for number in [
            "-1",
            "1.5",
            "1e3",
            "4294967296",
            "9223372036854775808",
            "18446744073709551616",
            "4294967295",
        ] {
            let mut b = c.bundle();
            b.set("/process/user", json!({other: 0, key: 424_242}));
            let config = b.config.to_string().replace("424242", number);
            text(
                c,
                18,
                config.as_bytes(),
                Refuse(if key == "uid" { "process.user.uid" } else { "process.user.gid" }, ""),
            );
        }
        let mut b = c.bundle();
        b.set("/process/user", json!({other: 0, key: 424_242}));
        let config = b.config.to_string().replace("424242", &format!("1{}", "0".repeat(400)));
        text(c, 18, config.as_bytes(), Refuse("", ""));
        let config = b.config.to_string().replace("424242", "007");
        text(c, 18, config.as_bytes(), Refuse("", ""));
    }
}

fn ids_as_other_things(c: &Case) {
    let many: Vec<u32> = (0..70_000).collect();
    rows(
        c,
        |_| (),
        vec![
            (19, "/process/user/uid", json!("0"), Refuse("process.user.uid", "")),
            (
                22,
                "/process/user/additionalGids",
                json!([1, 4_294_967_295_u64]),
                Refuse("process.user.additionalGids[1]", ""),
            ),
            (
                22,
                "/process/user/additionalGids",
                json!(many),
                Refuse("process.user.additionalGids", ""),
            ),
            (23, "/process/user", json!("1000"), Refuse("process.user", "")),
            (34, "/process/user/umask", json!(0o1777), Refuse("process.user.umask", "")),
        ],
    );
}

fn arguments(c: &Case) {
    rows(
        c,
        |_| (),
        vec![
            (24, "/process/args", json!([]), Refuse("process.args", "")),
            (24, "/process/args", Value::Null, Refuse("process.args", "")),
            (24, "/process/args", json!([""]), Refuse("process.args[0]", "")),
            (25, "/process/args", json!(["/bin/true", 1]), Refuse("process.args[1]", "")),
            (
                27,
                "/process/args",
                json!(["/bin/true", "x".repeat(2 << 20)]),
                Refuse("process.args[1]", "long"),
            ),
        ],
    );
}

fn working_directories(c: &Case) {
    rows(
        c,
        |_| (),
        vec![
            (28, "/process/cwd", json!(""), Refuse("process.cwd", "")),
            (28, "/process/cwd", json!("relative"), Refuse("process.cwd", "absolute")),
            (29, "/process/cwd", json!("/not/yet/there"), Accept),
            (30, "/process/cwd", json!("/etc/passwd"), Refuse("process.cwd", "ot a directory")),
            (31, "/process/cwd", json!("/proc/self/fd/3"), Refuse("process.cwd", "")),
            (31, "/process/cwd", json!("/proc/self/fd/7"), Refuse("process.cwd", "")),
            (31, "/process/cwd", json!("/proc/self/fd/10"), Refuse("process.cwd", "")),
        ],
    );
}

fn environments(c: &Case) {
    rows(
        c,
        |_| (),
        vec![
            (32, "/process/env", json!(["PATH=/bin", "HOSTVAR"]), Refuse("process.env[1]", "")),
            (32, "/process/env", json!(["=x"]), Refuse("process.env[0]", "")),
            (32, "/process/env", json!(["*"]), Refuse("process.env[0]", "")),
            (33, "/process/env", json!(["A=1", "A=2"]), Accept),
        ],
    );
}

fn limits(c: &Case) {
    let limit =
        |kind: &str, soft: Value, hard: Value| json!([{"type": kind, "soft": soft, "hard": hard}]);
    rows(
        c,
        |_| (),
        vec![
            (
                35,
                "/process/rlimits",
                limit("RLIMIT_BANANA", json!(1), json!(1)),
                Refuse("process.rlimits[0].type", "BANANA"),
            ),
            (
                35,
                "/process/rlimits",
                limit("RLIMIT_NOFILE", json!(9), json!(8)),
                Refuse("process.rlimits[0]", ""),
            ),
            (
                35,
                "/process/rlimits",
                limit("RLIMIT_NOFILE", json!(-1), json!(8)),
                Refuse("process.rlimits[0].soft", ""),
            ),
            (
                36,
                "/process/rlimits",
                json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]),
                Refuse("process.rlimits[1]", ""),
            ),
            (37, "/process/rlimits", limit("RLIMIT_NOFILE", json!(0), json!(0)), Accept),
        ],
    );
}

fn capability_names(c: &Case) {
    let list = |names: &[&str]| json!(names);
    rows(
        c,
        |_| (),
        vec![
            (
                38,
                "/process/capabilities/bounding",
                list(&["CAP_KILL", "CAP_AUDIT_WRITE", "CAP_NET_BIND_SERVICE", "CAP_FOO"]),
                Warn("CAP_FOO"),
            ),
            (
                39,
                "/process/capabilities/bounding",
                list(&["CAP_KILL", "CAP_AUDIT_WRITE", "CAP_NET_BIND_SERVICE", "cap_chown"]),
                Warn("cap_chown"),
            ),
            (
                40,
                "/process/capabilities/bounding",
                json!("CAP_KILL"),
                Refuse("process.capabilities.bounding", ""),
            ),
            (41, "/process/capabilities", Value::Null, Accept),
            (
                42,
                "/process/capabilities",
                json!({"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"]}),
                Refuse("process.capabilities.effective", "permitted"),
            ),
            (
                42,
                "/process/capabilities",
                json!({"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]}),
                Warn("ambient"),
            ),
        ],
    );
}

fn switches_and_scores(c: &Case) {
    rows(
        c,
        |_| (),
        vec![
            (43, "/process/noNewPrivileges", json!("yes"), Refuse("process.noNewPrivileges", "")),
            (44, "/process/oomScoreAdj", json!(2000), Refuse("process.oomScoreAdj", "2000")),
            (44, "/process/oomScoreAdj", json!(-2000), Refuse("process.oomScoreAdj", "")),
            (
                47,
                "/process/ioPriority",
                json!({"class": "IOPRIO_CLASS_BE", "priority": 99}),
                Refuse("process.ioPriority", ""),
            ),
            (
                47,
                "/process/scheduler",
                json!({"policy": "SCHED_OTHER", "nice": 99}),
                Refuse("process.scheduler", ""),
            ),
            (
                47,
                "/process/execCPUAffinity",
                json!({"initial": "x-y"}),
                Refuse("process.execCPUAffinity", ""),
            ),
            (48, "/process/terminal", json!(true), Refuse("", "console socket")),
        ],
    );
    let terminal = |b: &mut Bundle| {
        b.set("/process/terminal", json!(true));
    };
    rows(
        c,
        terminal,
        vec![(
            47,
            "/process/consoleSize",
            json!({"height": -5, "width": 80}),
            Refuse("process.consoleSize", ""),
        )],
    );
}

fn labels_without_their_module(c: &Case) {
    let mut list: Vec<Row> = vec![(
        45,
        "/process/apparmorProfile",
        json!("some-profile"),
        Refuse("process.apparmorProfile", "AppArmor"),
    )];
    if !std::fs::exists("/sys/fs/selinux/enforce").unwrap() {
        list.push((
            46,
            "/process/selinuxLabel",
            json!("system_u:system_r:x"),
            Refuse("process.selinuxLabel", "SELinux"),
        ));
        list.push((
            46,
            "/linux/mountLabel",
            json!("system_u:system_r:x"),
            Refuse("linux.mountLabel", ""),
        ));
    }
    rows(c, |_| (), list);
}

fn hook_values(c: &Case) {
    let hook = |hook: Value| json!([hook]);
    rows(
        c,
        |_| (),
        vec![
            (
                111,
                "/hooks/createRuntime",
                hook(json!({"path": "relative/path"})),
                Refuse("hooks.createRuntime[0]", "absolute"),
            ),
            (
                111,
                "/hooks/createRuntime",
                hook(json!({"args": ["x"]})),
                Refuse("hooks.createRuntime[0]", "path"),
            ),
            (
                111,
                "/hooks/createRuntime",
                hook(json!({"path": "/etc"})),
                Refuse("hooks.createRuntime[0]", ""),
            ),
            (
                111,
                "/hooks/createRuntime",
                hook(json!({"path": "/no/such/hook"})),
                Refuse("hooks.createRuntime[0]", "/no/such/hook"),
            ),
            (
                111,
                "/hooks/poststop",
                hook(json!({"path": "/no/such/hook"})),
                Refuse("hooks.poststop[0]", ""),
            ),
            (
                112,
                "/hooks/createRuntime",
                hook(json!({"path": "/bin/true", "timeout": 0})),
                Refuse("hooks.createRuntime[0].timeout", ""),
            ),
            (
                112,
                "/hooks/createRuntime",
                hook(json!({"path": "/bin/true", "timeout": -1})),
                Refuse("hooks.createRuntime[0].timeout", ""),
            ),
            (
                32,
                "/hooks/createRuntime",
                hook(json!({"path": "/bin/true", "env": ["NOEQUALS"]})),
                Refuse("hooks.createRuntime[0].env[0]", ""),
            ),
        ],
    );
}

/// Said with the field before anything is made, and not by the kernel.
fn paths_that_no_system_call_takes(c: &Case) {
    let name = json!(format!("/a/{}", "x".repeat(5000)));
    let path = json!("/directory".repeat(500));
    let row = |at: &'static str, place, value: &Value, reason| {
        (45, at, value.clone(), Refuse(place, reason))
    };
    let mut all = Vec::new();
    for (at, place) in [
        ("/process/cwd", "process.cwd "),
        ("/process/args/0", "process.args[0] "),
        ("/root/path", "root.path "),
        ("/mounts/0/destination", "mounts[0].destination "),
        ("/linux/maskedPaths/0", "linux.maskedPaths[0] "),
    ] {
        all.push(row(at, place, &name, "has a name of 5000 bytes: the longest has 255"));
        all.push(row(at, place, &path, "has 5000 bytes: the longest path has 4095"));
    }
    rows(c, |_| (), all);
}

fn numbers_out_of_range_have_their_own_bounds(c: &Case) {
    let umask = "must be from 0 to 511 (octal 0777)";
    let typed = "must be an integer from 0 to 511 (octal 0777)";
    rows(
        c,
        |_| (),
        vec![
            (46, "/process/user/umask", json!(512), Refuse("process.user.umask 512", umask)),
            (46, "/process/user/umask", json!(-1), Refuse("process.user.umask -1", typed)),
            (46, "/process/user/umask", json!(1_u64 << 40), Refuse("process.user.umask", typed)),
            (
                46,
                "/process/oomScoreAdj",
                json!(1_u64 << 40),
                Refuse("process.oomScoreAdj", "must be an integer from -1000 to 1000"),
            ),
            (
                46,
                "/process/user/uid",
                json!(1_u64 << 32),
                Refuse("process.user.uid", "must be an integer from 0 to 4294967294"),
            ),
            (
                46,
                "/process/execCPUAffinity",
                json!({"initial": "a"}),
                Refuse("process.execCPUAffinity.initial", ""),
            ),
        ],
    );
}
