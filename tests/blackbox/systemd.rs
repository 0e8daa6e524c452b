//! The systemd driver: `--systemd-cgroup`. As root on a machine that is given to the tests
//! (RT_TEST_HOST), and as an ordinary user who has a systemd of their own.

use crate::support::cmd::{Cmd, Out, slow, wait_until};
use crate::support::{Bundle, Case, ID, Need, sys};
use crate::tests;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

tests! {
    run_is_in_a_scope_of_its_own: anyone().needs(Need::Systemd),
    every_verb_works_without_the_flag_and_without_dbus:
        anyone().needs(Need::Systemd).needs(Need::Tool("strace")).rt_only(),
    names_of_units_and_slices: anyone().needs(Need::Systemd).rt_only(),
    a_slice_can_be_the_containers: anyone().needs(Need::Systemd).rt_only(),
    limits_are_the_kernels_and_systemds: anyone().needs(Need::Systemd).rt_only().takes(120),
    idle_and_oom_group_are_systemds_too: anyone().needs(Need::Systemd).rt_only(),
    limits_bite: anyone().needs(Need::Systemd).rt_only().takes(120),
    devices_stay_denied_when_systemd_is_reloaded: needs(Need::Systemd).rt_only(),
    update_is_the_kernels_and_systemds: anyone().needs(Need::Systemd).rt_only().takes(120),
    annotations_take_effect: anyone().needs(Need::Systemd).rt_only(),
    bad_annotations_are_named: anyone().needs(Need::Systemd).rt_only(),
    namespaces_are_made_after_the_cgroup: needs(Need::Systemd).rt_only(),
    failed_create_leaves_no_unit: anyone().needs(Need::Systemd).rt_only(),
    a_unit_that_is_there_is_not_touched: anyone().needs(Need::Systemd).rt_only(),
    delete_leaves_no_unit: anyone().needs(Need::Systemd).rt_only().takes(120),
    create_killed_anywhere_leaves_no_unit:
        anyone().needs(Need::Systemd).needs(Need::Tool("strace")).rt_only().takes(240),
    one_call_makes_the_unit: anyone().needs(Need::Systemd).needs(Need::Tool("strace")).rt_only(),
    user_without_a_bus_is_told_what_helps: rootless().needs(Need::Systemd).rt_only(),
    without_systemd_is_an_error: needs(Need::NoSystemd).rt_only(),
    path_of_the_other_driver_is_refused: anyone().needs(Need::Systemd).rt_only(),
}

/// The name after the last dash, which is the test's.
fn name(c: &Case) -> String {
    c.name.replace("::", ".").replace('_', "-")
}

fn unit(c: &Case) -> String {
    format!("rt-test-{}.scope", name(c))
}

/// A bundle whose program sleeps, in [`unit`].
fn bundle(c: &Case) -> Bundle {
    let mut b = c.bundle();
    b.set("/linux/cgroupsPath", json!(format!(":rt-test:{}", name(c))));
    b.args(&["/probe", "sleep"]);
    b
}

/// With what a login of the user has.
fn session(cmd: Cmd) -> Cmd {
    ["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"].iter().fold(
        cmd,
        |cmd, name| match std::env::var(name) {
            Ok(value) => cmd.env(name, &value),
            Err(_) => cmd,
        },
    )
}

fn rt_cmd(c: &Case, args: &[&str]) -> Cmd {
    let root = c.state.to_string_lossy().into_owned();
    session(c.bare_cmd(&["--root", &root, "--systemd-cgroup"]).args(args)).seconds(40)
}

fn rt(c: &Case, args: &[&str]) -> Out {
    rt_cmd(c, args).run()
}

#[track_caller]
fn up(c: &Case, bundle: &Bundle) {
    rt(c, &["run", "-d", "-b", &bundle.save(), ID]).ok();
}

#[track_caller]
fn down(c: &Case) {
    rt(c, &["delete", "--force", ID]).ok();
    assert!(!is_known(c, &unit(c)), "the unit is left");
}

fn systemctl(c: &Case, args: &[&str]) -> Out {
    let user: &[&str] = if c.rootless { &["--user"] } else { &[] };
    session(Cmd::new(&["systemctl", "--no-pager"]).args(user).args(args)).seconds(30).run()
}

#[track_caller]
fn reload(c: &Case) {
    systemctl(c, &["daemon-reload"]).ok();
}

/// All properties of a unit.
#[track_caller]
fn show(c: &Case, unit: &str) -> BTreeMap<String, String> {
    let text = systemctl(c, &["show", unit]).ok().out();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn is_known(c: &Case, unit: &str) -> bool {
    !systemctl(c, &["list-units", "--all", "--full", "--plain", "--no-legend", unit])
        .ok()
        .out()
        .trim()
        .is_empty()
}

/// The cgroup, as systemd names it.
#[track_caller]
fn dir(c: &Case) -> PathBuf {
    PathBuf::from(format!("/sys/fs/cgroup{}", show(c, &unit(c))["ControlGroup"]))
}

#[track_caller]
fn read(dir: &std::path::Path, file: &str) -> String {
    let path = dir.join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim().to_owned()
}

fn cgroup_of(pid: i32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned()
}

fn run_is_in_a_scope_of_its_own(c: &Case) {
    let mut b = bundle(c);
    up(c, &b);
    let shown = show(c, &unit(c));
    assert!(cgroup_of(c.pid()).ends_with(&format!("/{}", unit(c))), "{}", cgroup_of(c.pid()));
    assert_eq!(shown["ControlGroup"], cgroup_of(c.pid()));
    for (key, value) in [
        ("ActiveState", "active"),
        ("Delegate", "yes"),
        ("Slice", if c.rootless { "user.slice" } else { "system.slice" }),
        ("Description", "rt container box"),
        ("CollectMode", "inactive-or-failed"),
        ("DefaultDependencies", "no"),
        ("MemoryAccounting", "yes"),
        ("TasksAccounting", "yes"),
        ("DevicePolicy", "auto"),
    ] {
        assert_eq!(shown[key], value, "{key}");
    }
    down(c);
    // In the foreground, and everything is gone afterwards.
    let out = rt(c, &["run", "-b", &b.sh("cat /proc/self/cgroup; exit 7").save(), ID]).exits(7);
    assert!(out.out().lines().any(|line| line == "0::/"), "{}", out.out());
    assert!(!is_known(c, &unit(c)));
    c.nothing_left();
}

/// The container's record says who made its cgroup, and what is done later is done by files.
fn every_verb_works_without_the_flag_and_without_dbus(c: &Case) {
    let b = bundle(c);
    let create = rt(c, &["create", "-b", &b.save(), ID]).ok();
    let log = c.path_str("strace");
    let traced = |args: &[&str]| {
        // Not its children: ps(1) asks systemd for the names of users.
        let cmd = Cmd::new(&["strace", "-o", &log, "-e", "trace=connect"]);
        let cmd = cmd.args(&[&c.runtime.to_string_lossy(), "--root", &c.state.to_string_lossy()]);
        let out = session(cmd.args(args)).seconds(40).run().ok();
        let calls = fs::read_to_string(&log).unwrap();
        assert!(!calls.contains("connect("), "{args:?}: {calls}");
        out.out()
    };
    traced(&["start", ID]);
    traced(&["list"]);
    traced(&["state", ID]);
    assert!(traced(&["ps", ID]).contains("probe"));
    let cgroup = cgroup_of(c.pid());
    let inside = traced(&["exec", ID, "/bin/sh", "-c", "echo $$; read x"]);
    assert!(!inside.is_empty());
    traced(&["pause", ID]);
    assert_eq!(c.status(), "paused");
    assert_eq!(read(&dir(c), "cgroup.freeze"), "1");
    traced(&["resume", ID]);
    // What exec starts is in the scope as well.
    let exec = c.rt_cmd(&["exec", ID, "/probe", "sleep"]).spawn();
    wait_until("exec is there", || read(&dir(c), "cgroup.procs").lines().count() == 2);
    traced(&["kill", ID, "KILL"]);
    exec.wait();
    c.wait_for_status("stopped");
    traced(&["delete", ID]);
    assert!(!fs::exists(format!("/sys/fs/cgroup{cgroup}")).unwrap());
    assert!(!is_known(c, &unit(c)));
    drop(create);
}

fn names_of_units_and_slices(c: &Case) {
    let name = name(c);
    let default = if c.rootless { "user.slice" } else { "system.slice" };
    let id = format!("x+{name}");
    for (path, unit, slice) in [
        (
            format!("rttest-a.slice:p:{name}"),
            format!("p-{name}.scope"),
            "rttest.slice/rttest-a.slice",
        ),
        (format!("-:p:{name}"), format!("p-{name}.scope"), ""),
        (format!("::{name}"), format!("-{name}.scope"), default),
        (String::new(), format!("rt-x\\x2b{name}.scope"), default),
    ] {
        let mut b = bundle(c);
        b.set("/linux/cgroupsPath", json!(path));
        rt(c, &["run", "-d", "-b", &b.save(), &id]).ok();
        let pid = c.rt(&["state", &id]).ok().json()["pid"].as_i64().unwrap() as i32;
        let cgroup = cgroup_of(pid);
        let end = format!("{}/{unit}", if slice.is_empty() { "" } else { "/" }.to_owned() + slice);
        assert!(cgroup.ends_with(&end), "{path}: {cgroup} does not end in {end}");
        rt(c, &["delete", "--force", &id]).ok();
        assert!(!fs::exists(format!("/sys/fs/cgroup{cgroup}")).unwrap(), "{cgroup}");
    }
    systemctl(c, &["stop", "rttest.slice"]).ok();
}

fn a_slice_can_be_the_containers(c: &Case) {
    let mut b = bundle(c);
    b.set("/linux/cgroupsPath", json!("::rtown-a.slice"));
    b.set("/linux/resources/pids", json!({"limit": 77}));
    up(c, &b);
    assert!(cgroup_of(c.pid()).ends_with("/rtown.slice/rtown-a.slice"));
    let shown = show(c, "rtown-a.slice");
    assert_eq!((shown["TasksMax"].as_str(), shown["ActiveState"].as_str()), ("77", "active"));
    rt(c, &["delete", "--force", ID]).ok();
    assert!(!is_known(c, "rtown-a.slice"));
    systemctl(c, &["stop", "rtown.slice"]).ok();
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
        let io = if dir.join("io.bfq.weight").exists() { "io.bfq.weight" } else { "io.weight" };
        let files = ["memory.max", "memory.low", "memory.min", "memory.high", "memory.swap.max"];
        let more = ["cpu.weight", "cpu.max", "cpu.max.burst", "cpuset.cpus", "cpuset.mems"];
        let files = files.into_iter().chain(more).chain(["pids.max", io]);
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
        ("IOWeight", "1200"),
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
    // A tenth of a processor: after three seconds it has been held back for most of them.
    b.remove("/linux/resources/memory");
    b.set("/linux/resources/cpu", json!({"quota": 10_000, "period": 100_000}));
    up(c, b.sh("while :; do :; done"));
    let dir = dir(c);
    let used = |dir: &std::path::Path| {
        let text = read(dir, "cpu.stat");
        let line = text.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap();
        line.parse::<f64>().unwrap()
    };
    std::thread::sleep(Duration::from_secs(1));
    let (before, start) = (used(&dir), Instant::now());
    std::thread::sleep(Duration::from_secs(4));
    let share = (used(&dir) - before) / start.elapsed().as_micros() as f64;
    assert!((0.05..0.11).contains(&share), "a share of {share}");
    down(c);
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
    let update = |args: &[&str]| session(c.rt_cmd(&["update"])).args(args).seconds(40).run();
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
    // All or nothing, also for systemd.
    let resources = c.path("resources.json");
    let bad = json!({"memory": {"limit": 33_554_432}, "pids": {"limit": 7},
        "cpu": {"shares": 2048}, "unified": {"cpu.weight": "20000"}});
    fs::write(&resources, bad.to_string()).unwrap();
    update(&["-r", &resources.to_string_lossy(), ID]).fails("cpu.weight");
    check(&kernel, &systemd);
    down(c);
}

fn annotate(b: &mut Bundle, pairs: &[(&str, &str)]) {
    let annotations: BTreeMap<String, &str> =
        pairs.iter().map(|(name, text)| (format!("org.systemd.property.{name}"), *text)).collect();
    b.set("/annotations", json!(annotations));
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

/// The root of a cgroup namespace is the cgroup at the time when it is made.
fn namespaces_are_made_after_the_cgroup(c: &Case) {
    let check = |b: &mut Bundle| {
        b.args(&["/probe", "see"]);
        let out = rt(c, &["run", "-b", &b.save(), ID]).ok().json();
        let cgroup = out["cgroup"].as_str().unwrap().to_owned();
        assert!(cgroup.lines().any(|line| line == "0::/"), "{cgroup}");
    };
    check(&mut bundle(c));
    check(bundle(c).user_namespace());
    // Here a stage makes the real first process.
    check(bundle(c).namespace("time", None));
    let mut shared = bundle(c);
    shared.without_namespace("cgroup").unmount("/sys/fs/cgroup").args(&["/probe", "see"]);
    let seen: Value = rt(c, &["run", "-b", &shared.save(), ID]).ok().json();
    assert!(seen["cgroup"].as_str().unwrap().contains(&unit(c)), "{}", seen["cgroup"]);
    c.nothing_left();
}

fn failed_create_leaves_no_unit(c: &Case) {
    let mut b = bundle(c);
    for args in [&["/no/such/program"][..], &["/etc"]] {
        rt(c, &["create", "-b", &b.args(args).save(), ID]).fails("exec");
        assert!(!is_known(c, &unit(c)));
        c.nothing_left();
    }
    // systemd takes it, the kernel does not.
    b.set("/linux/resources/unified", json!({"memory.no_such_file": "1"}));
    let out =
        rt(c, &["create", "-b", &b.save(), ID]).fails("this kernel has no memory.no_such_file");
    assert!(out.err().contains("linux.resources.unified"), "{}", out.err());
    b.set("/linux/resources/unified", json!({"cpu.weight": "20000"}));
    rt(c, &["create", "-b", &b.save(), ID]).fails("linux.resources.unified");
    assert!(!is_known(c, &unit(c)));
    c.nothing_left();
}

fn a_unit_that_is_there_is_not_touched(c: &Case) {
    let user: &[&str] = if c.rootless { &["--user"] } else { &[] };
    let other = Cmd::new(&["systemd-run"]).args(user);
    let name = unit(c);
    let other = other.args(&["--scope", "--quiet", "--unit", &name, "sleep", "1000"]);
    let other = session(other).seconds(60).spawn();
    wait_until("the other unit is there", || is_known(c, &name));
    let out = rt(c, &["create", "-b", &bundle(c).save(), ID]).fails(&name);
    assert!(out.err().contains("UnitExists"), "{}", out.err());
    assert_eq!(show(c, &name)["ActiveState"], "active");
    assert_eq!(fs::read_dir(&c.state).unwrap().count(), 0, "state is left");
    rt(c, &["delete", "--force", ID]).ok();
    assert_eq!(show(c, &name)["ActiveState"], "active");
    systemctl(c, &["stop", &name]).ok();
    other.wait();
}

fn delete_leaves_no_unit(c: &Case) {
    let mut b = bundle(c);
    for _ in 0..3 {
        // Its own name is free at once.
        up(c, &b);
        down(c);
        rt(c, &["create", "-b", &b.save(), ID]).ok();
        down(c);
    }
    // Sub-cgroups, and more than one process, paused.
    if !c.rootless {
        b.set("/mounts/6/options", json!(["rw"]));
        b.sh("mkdir -p /sys/fs/cgroup/a/b; sleep 1000 & sleep 1000");
        up(c, &b);
        wait_until("the sub-cgroup is there", || dir(c).join("a/b").exists());
        rt(c, &["pause", ID]).ok();
        down(c);
    }
    // One that was killed behind our back, and one that systemd has stopped.
    up(c, bundle(c).args(&["/probe", "sleep"]));
    sys::kill(c.pid(), libc::SIGKILL).unwrap();
    c.wait_for_status("stopped");
    rt(c, &["delete", ID]).ok();
    assert!(!is_known(c, &unit(c)));
    up(c, &bundle(c));
    systemctl(c, &["kill", "--signal=KILL", &unit(c)]).ok();
    c.wait_for_status("stopped");
    down(c);
    // A unit that is to stay when it has failed does not stay.
    let mut b = bundle(c);
    annotate(&mut b, &[("CollectMode", "'inactive'"), ("OOMPolicy", "'kill'")]);
    b.set("/linux/resources/memory", json!({"limit": 33_554_432, "swap": 33_554_432}));
    rt(c, &["run", "-d", "-b", &b.args(&["/probe", "memory", "100"]).save(), ID]).ok();
    c.wait_for_status("stopped");
    wait_until("the unit has failed", || show(c, &unit(c))["ActiveState"] == "failed");
    down(c);
    c.nothing_left();
}

/// SIGKILL of the runtime at calls all over a create.
fn create_killed_anywhere_leaves_no_unit(c: &Case) {
    let bundle = bundle(c).save();
    let log = c.path_str("strace");
    let strace = |extra: &[&str]| {
        let cmd = Cmd::new(&["strace", "-o", &log]).args(extra);
        let root = c.state.to_string_lossy().into_owned();
        let cmd = cmd.args(&[&c.runtime.to_string_lossy(), "--root", &root, "--systemd-cgroup"]);
        session(cmd.args(&["create", "-b", &bundle, ID])).seconds(40).run()
    };
    strace(&[]).ok();
    down(c);
    let lines: Vec<String> = fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect();
    let first = lines.iter().position(|line| line.contains("clone3")).expect("a clone");
    // Around the conversation with systemd each call, elsewhere some.
    let step = if slow() > 1 { (lines.len() - first) / 12 } else { 3 };
    for call in (first..lines.len()).step_by(step.max(1)) {
        let inject = format!("--inject=all:signal=KILL:when={call}");
        let out = strace(&[&inject]);
        let killed = out.signal == Some(libc::SIGKILL) && !out.timed_out;
        assert!(killed || out.code == Some(0), "call {call}: {}: {}", out.how(), out.err());
        let delete = rt(c, &["delete", "--force", ID]);
        assert_eq!(delete.code, Some(0), "call {call}: {}: {}", delete.how(), delete.err());
        assert!(!is_known(c, &unit(c)), "call {call}: {}", lines[call - 1]);
        c.nothing_left();
    }
    strace(&[]).ok();
    down(c);
}

/// One connection, and one message that is waited for.
fn one_call_makes_the_unit(c: &Case) {
    let log = c.path_str("strace");
    let cmd = Cmd::new(&["strace", "-s", "4096", "-o", &log, "-e", "trace=connect,sendto"]);
    let root = c.state.to_string_lossy().into_owned();
    let cmd = cmd.args(&[&c.runtime.to_string_lossy(), "--root", &root, "--systemd-cgroup"]);
    let bundle = bundle(c).save();
    session(cmd.args(&["run", "-d", "-b", &bundle, ID])).seconds(40).run().ok();
    let calls = fs::read_to_string(&log).unwrap();
    let count = |text: &str| calls.matches(text).count();
    assert_eq!((count("connect("), count("sendto(")), (1, 2), "{calls}");
    assert_eq!((count("StartTransientUnit"), count("AUTH EXTERNAL")), (1, 1), "{calls}");
    down(c);
}

fn user_without_a_bus_is_told_what_helps(c: &Case) {
    let bundle = bundle(c).save();
    let root = c.state.to_string_lossy().into_owned();
    let bare = |env: &[(&str, &str)]| {
        let cmd = c.bare_cmd(&["--root", &root, "--systemd-cgroup", "create", "-b", &bundle, ID]);
        env.iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value)).run()
    };
    let nowhere = c.path_str("nowhere");
    for env in [
        &[("XDG_RUNTIME_DIR", "")][..],
        &[("XDG_RUNTIME_DIR", &nowhere)],
        &[("DBUS_SESSION_BUS_ADDRESS", "unix:path=/no/such/bus"), ("XDG_RUNTIME_DIR", &nowhere)],
        &[("DBUS_SESSION_BUS_ADDRESS", "tcp:host=localhost"), ("XDG_RUNTIME_DIR", "")],
    ] {
        let out = bare(env).fails("connect to the user's systemd");
        for word in ["enable-linger", "dbus-user-session", "XDG_RUNTIME_DIR"] {
            assert!(out.err().contains(word), "{}", out.err());
        }
        c.nothing_left();
    }
}

fn without_systemd_is_an_error(c: &Case) {
    let bundle = bundle(c).save();
    for flags in
        [&["--systemd-cgroup"][..], &["--systemd-cgroup=true"], &["--cgroup-manager", "systemd"]]
    {
        let out = c.rt_cmd(flags).args(&["create", "-b", &bundle, ID]).run();
        out.fails("systemd not running on this host, cannot use systemd cgroups manager");
        c.nothing_left();
    }
}

fn path_of_the_other_driver_is_refused(c: &Case) {
    let mut b = bundle(c);
    c.rt(&["create", "-b", &b.save(), ID]).fails("needs --systemd-cgroup");
    b.set("/linux/cgroupsPath", json!("/some/path"));
    let out = rt(c, &["create", "-b", &b.save(), ID]);
    let out = out.fails("expected cgroupsPath to be of format \"slice:prefix:name\"");
    assert!(out.err().contains("linux.cgroupsPath"), "{}", out.err());
    c.nothing_left();
}
