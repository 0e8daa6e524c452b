//! Limits by systemd: the same in the kernel and in its properties, and for good.

use crate::support::systemd::*;
use crate::support::{Bundle, Case, ID, Need};
use crate::tests;
use serde_json::json;
use std::fs;

tests! {
    limits_are_the_kernels_and_systemds: anyone().needs(Need::Systemd).rt_only(),
    idle_and_oom_group_are_systemds_too: anyone().needs(Need::Systemd).rt_only(),
    limits_bite: anyone().needs(Need::Systemd).rt_only(),
    devices_stay_denied_when_systemd_is_reloaded: needs(Need::Systemd).rt_only(),
    update_is_the_kernels_and_systemds: anyone().needs(Need::Systemd).rt_only(),
    values_are_told_as_the_kernel_reads_them: anyone().needs(Need::Systemd).rt_only(),
    a_period_without_a_quota_outlives_a_reload: anyone().needs(Need::Systemd).rt_only(),
    annotations_take_effect: anyone().needs(Need::Systemd).rt_only(),
    bad_annotations_are_named: anyone().needs(Need::Systemd).rt_only(),
}

/// Resources, and what is to be found in the kernel and in systemd.
fn limits_are_the_kernels_and_systemds(c: &Case) {
    let mut b = bundle(c);
    for (key, value) in [
        ("memory", json!({"limit": 67_108_864, "reservation": 33_554_432, "swap": 134_217_728})),
        (
            "cpu",
            json!({"shares": 2048, "quota": 12_345, "period": 50_000, "burst": 1000,
            "cpus": "0", "mems": "0"}),
        ),
        ("pids", json!({"limit": 99})),
        ("blockIO", json!({"weight": 200})),
        ("unified", json!({"memory.high": "50331648", "memory.min": "1M"})),
    ] {
        b.set(&format!("/linux/resources/{key}"), value);
    }
    up(c, &b);
    let dir = dir(c);
    let in_kernel = || {
        // With the BFQ scheduler, systemd has an idea of its own.
        let io = (!dir.join("io.bfq.weight").exists()).then_some("io.weight");
        let files = ["memory.max", "memory.low", "memory.min", "memory.high", "memory.swap.max"];
        let more = ["cpu.weight", "cpu.max", "cpu.max.burst", "cpuset.cpus", "cpuset.mems"];
        let files = files.into_iter().chain(more).chain(["pids.max"]).chain(io);
        files.map(|file| format!("{file}={}", read(&dir, file))).collect::<Vec<_>>()
    };
    let values = in_kernel();
    for line in [
        "memory.max=67108864",
        "memory.low=33554432",
        "memory.min=1048576",
        "memory.high=50331648",
        "memory.swap.max=67108864",
        "cpu.weight=174",
        // A quota is rounded up to what systemd can remember: 12345 of 50000 is 24.69 %.
        "cpu.max=12500 50000",
        "cpu.max.burst=1000",
        "cpuset.cpus=0",
        "cpuset.mems=0",
        "pids.max=99",
    ] {
        assert!(values.iter().any(|value| value == line), "{line}: {values:?}");
    }
    let shown = show(c, &unit(c));
    for (key, value) in [
        ("MemoryMax", "67108864"),
        ("MemoryLow", "33554432"),
        ("MemoryMin", "1048576"),
        ("MemoryHigh", "50331648"),
        ("MemorySwapMax", "67108864"),
        ("CPUWeight", "174"),
        ("CPUQuotaPerSecUSec", "250ms"),
        ("CPUQuotaPeriodUSec", "50ms"),
        ("AllowedCPUs", "0"),
        ("AllowedMemoryNodes", "0"),
        ("TasksMax", "99"),
        ("IOWeight", "1920"),
    ] {
        assert_eq!(shown[key], value, "{key}");
    }
    reload(c);
    assert_eq!(in_kernel(), values, "after a reload");
    down(c);
    // No limit at all is a value too.
    let mut b = bundle(c);
    b.set("/linux/resources/memory", json!({"limit": -1}));
    b.set("/linux/resources/pids", json!({"limit": -1}));
    b.set("/linux/resources/cpu", json!({"quota": -1}));
    up(c, &b);
    for (file, value) in [("memory.max", "max"), ("pids.max", "max"), ("cpu.max", "max 100000")] {
        assert_eq!(read(&dir, file), value, "{file}");
    }
    down(c);
}

fn idle_and_oom_group_are_systemds_too(c: &Case) {
    let mut b = bundle(c);
    b.set("/linux/resources/cpu", json!({"shares": 2048, "idle": 1}));
    b.set("/linux/resources/unified", json!({"memory.oom.group": "1"}));
    up(c, &b);
    let dir = dir(c);
    for _ in 0..2 {
        assert_eq!(read(&dir, "cpu.idle"), "1");
        assert_eq!(read(&dir, "memory.oom.group"), "1");
        assert_eq!(show(c, &unit(c))["OOMPolicy"], "kill");
        reload(c);
    }
    down(c);
}

fn limits_bite(c: &Case) {
    let mut b = bundle(c);
    b.set("/linux/resources/memory", json!({"limit": 33_554_432, "swap": 33_554_432}));
    b.set("/linux/resources/pids", json!({"limit": 10}));
    let run = |b: &mut Bundle, args: &[&str]| rt(c, &["run", "-b", &b.args(args).save(), ID]);
    assert_eq!(run(&mut b, &["/probe", "memory", "8"]).ok().out(), "touched 8\n");
    run(&mut b, &["/probe", "memory", "100"]).exits(137);
    // With this the scope fails, and goes all the same.
    b.set("/linux/resources/unified", json!({"memory.oom.group": "1"}));
    run(&mut b, &["/probe", "memory", "100"]).exits(137);
    assert!(!is_known(c, &unit(c)));
    // Init is one of ten.
    assert_eq!(run(&mut b, &["/probe", "forks", "50"]).ok().out(), "9\n");
}

fn devices_stay_denied_when_systemd_is_reloaded(c: &Case) {
    let mut b = bundle(c);
    let rule = json!({"allow": true, "type": "c", "major": 63, "minor": 7, "access": "rwm"});
    b.push("/linux/resources/devices", rule);
    up(c, b.caps(&["CAP_MKNOD"]));
    let tried = |major: &str, minor: &str| {
        let path = format!("/dev/x{major}{minor}");
        let out = c.exec(&["/probe", "mknod", "c", major, minor, &path]).ok().out();
        c.exec(&["/bin/rm", "-f", &path]).ok();
        out.trim().to_owned()
    };
    for _ in 0..3 {
        // Not allowed: made, but not opened. Allowed: without a driver.
        assert_eq!(tried("1", "1"), "ok EPERM");
        assert_eq!(tried("63", "7"), "ok ENXIO");
        assert_eq!(tried("1", "3"), "ok ok");
        reload(c);
    }
    // Another property of the unit is set, and systemd writes its cgroup anew.
    systemctl(c, &["set-property", "--runtime", &unit(c), "TasksMax=500"]).ok();
    assert_eq!(tried("1", "1"), "ok EPERM");
    assert_eq!(tried("63", "7"), "ok ENXIO");
    down(c);
}

fn values_are_told_as_the_kernel_reads_them(c: &Case) {
    let mut b = bundle(c);
    let unified = json!({
        "memory.max": "0x4000000", "memory.high": "0200000000", "memory.swap.max": "1P",
        "pids.max": "0x50", "cpu.weight": "0117", "cpu.max": "50000", "cpuset.cpus": "0-0:1/2",
    });
    b.set("/linux/resources/unified", unified);
    up(c, &b);
    let dir = dir(c);
    for _ in 0..2 {
        for (file, value) in [
            ("memory.max", "67108864"),
            ("memory.high", "33554432"),
            ("memory.swap.max", "1125899906842624"),
            ("pids.max", "80"),
            ("cpu.weight", "79"),
            ("cpu.max", "50000 100000"),
            ("cpuset.cpus", "0"),
        ] {
            assert_eq!(read(&dir, file), value, "{file}");
        }
        reload(c);
    }
    down(c);
    // What the kernel does not take is not made something else.
    b.set("/linux/resources/unified", json!({"cpu.max": "0 100000"}));
    rt(c, &["create", "-b", &b.save(), ID]).fails("cpu.max");
    c.nothing_left();
}

fn a_period_without_a_quota_outlives_a_reload(c: &Case) {
    let mut b = bundle(c);
    b.set("/linux/resources/cpu", json!({"period": 20_000}));
    up(c, &b);
    reload(c);
    session(c.rt_cmd(&["update", "--cpu-quota", "5000", ID])).run().ok();
    assert_eq!(read(&dir(c), "cpu.max"), "5000 20000");
    down(c);
}

fn update_is_the_kernels_and_systemds(c: &Case) {
    let mut b = bundle(c);
    b.set("/linux/resources/memory", json!({"limit": 134_217_728, "swap": 134_217_728}));
    b.set("/linux/resources/cpu", json!({"idle": 1}));
    up(c, &b);
    let dir = dir(c);
    let check = |kernel: &[(&str, &str)], systemd: &[(&str, &str)]| {
        for _ in 0..2 {
            for (file, value) in kernel {
                assert_eq!(read(&dir, file), *value, "{file}");
            }
            let shown = show(c, &unit(c));
            for (key, value) in systemd {
                assert_eq!(shown[*key], *value, "{key}");
            }
            reload(c);
        }
    };
    check(&[("cpu.idle", "1"), ("memory.max", "134217728")], &[("MemoryMax", "134217728")]);
    let flags = ["--memory", "64m", "--memory-swap", "96m", "--pids-limit", "50", "--cpu-quota"];
    let more = ["12345", "--cpu-period", "50000", "--cpuset-cpus", "0", "--cpu-idle", "0"];
    let update = |args: &[&str]| session(c.rt_cmd(&["update"])).args(args).run();
    update(&[&flags[..], &more, &[ID]].concat()).ok();
    let kernel = [
        ("memory.max", "67108864"),
        ("memory.swap.max", "33554432"),
        ("pids.max", "50"),
        ("cpu.max", "12500 50000"),
        ("cpu.idle", "0"),
        ("cpu.weight", "100"),
        ("cpuset.cpus", "0"),
    ];
    let systemd = [
        ("MemoryMax", "67108864"),
        ("MemorySwapMax", "33554432"),
        ("TasksMax", "50"),
        ("CPUQuotaPerSecUSec", "250ms"),
        ("CPUWeight", "100"),
        ("AllowedCPUs", "0"),
    ];
    check(&kernel, &systemd);
    // systemd has a policy for this that it does not change, and writes it with each property.
    let alone = without_reloads();
    let resources = c.path("group.json");
    fs::write(&resources, json!({"unified": {"memory.oom.group": "1"}}).to_string()).unwrap();
    update(&["-r", &resources.to_string_lossy(), ID]).ok();
    update(&["--pids-limit", "50", "--memory", "64m", "--memory-swap", "96m", ID]).ok();
    update(&["--pids-limit", "51", ID]).ok();
    update(&["--pids-limit", "50", ID]).ok();
    assert_eq!(read(&dir, "memory.oom.group"), "1");
    drop(alone);
    // All or nothing, also for systemd.
    let resources = c.path("resources.json");
    let bad = json!({"memory": {"limit": 33_554_432}, "pids": {"limit": 7},
        "cpu": {"shares": 2048}, "unified": {"cpu.weight": "20000"}});
    fs::write(&resources, bad.to_string()).unwrap();
    update(&["-r", &resources.to_string_lossy(), ID]).fails("cpu.weight");
    check(&kernel, &systemd);
    // systemd forgets the period of a quota that is none.
    let _alone = without_reloads();
    update(&["--cpu-quota", "-1", ID]).ok();
    assert_eq!(read(&dir, "cpu.max"), "max 50000");
    down(c);
}

fn annotations_take_effect(c: &Case) {
    let mut b = bundle(c);
    annotate(
        &mut b,
        &[
            ("KillSignal", "12"),
            ("TimeoutStopUSec", "uint64 5000000"),
            ("RuntimeMaxSec", "3600"),
            ("After", "['local-fs.target', 'basic.target']"),
            ("Description", "\"what a test wants\""),
            ("TasksMax", "uint64 5"),
            ("CollectMode", "'inactive'"),
            ("DefaultDependencies", "true"),
            ("SendSIGHUP", "true"),
        ],
    );
    b.set("/linux/resources/pids", json!({"limit": 99}));
    b.sh("trap 'exit 3' USR2; while :; do sleep 0.1; done");
    up(c, &b);
    let shown = show(c, &unit(c));
    for (key, value) in [
        ("KillSignal", "12"),
        ("TimeoutStopUSec", "5s"),
        ("RuntimeMaxUSec", "1h"),
        ("Description", "what a test wants"),
        ("CollectMode", "inactive"),
        ("DefaultDependencies", "yes"),
        ("SendSIGHUP", "yes"),
        // The configuration's own limit has the last word.
        ("TasksMax", "99"),
    ] {
        assert_eq!(shown[key], value, "{key}");
    }
    assert!(shown["After"].contains("basic.target"), "{}", shown["After"]);
    // systemd stops it with that signal.
    systemctl(c, &["stop", &unit(c)]).ok();
    c.wait_for_status("stopped");
    down(c);
}

fn bad_annotations_are_named(c: &Case) {
    for (name, text, reason) in [
        ("ExecStartPost", "'x'", "not a property of systemd that an annotation may set"),
        ("FailureAction", "'poweroff'", "not a property of systemd that an annotation may set"),
        ("KillSignal", "'TERM'", "must be of type int32"),
        ("TimeoutStopUSec", "uint64 5s", "must be of type uint64"),
        ("After", "[", "ends where a value is expected"),
    ] {
        let mut b = bundle(c);
        annotate(&mut b, &[(name, text)]);
        let out = rt(c, &["create", "-b", &b.save(), ID]).fails(reason);
        assert!(out.err().contains(&format!("org.systemd.property.{name}")), "{}", out.err());
    }
    // What only systemd knows to be wrong, it says; and nothing is left.
    let mut b = bundle(c);
    annotate(&mut b, &[("KillMode", "'no-such-mode'")]);
    let out = rt(c, &["create", "-b", &b.save(), ID]).fails("systemd says: ");
    assert!(out.err().contains(&unit(c)), "{}", out.err());
    assert!(!is_known(c, &unit(c)));
    c.nothing_left();
}
