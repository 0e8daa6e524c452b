//! The systemd driver: `--systemd-cgroup`. As root on a machine that is given to the tests
//! (RT_TEST_HOST), and as an ordinary user who has a systemd of their own.

use crate::support::cmd::{Cmd, slow, wait_until};
use crate::support::systemd::*;
use crate::support::{Bundle, Case, ID, Need, sys};
use crate::tests;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

tests! {
    run_is_in_a_scope_of_its_own: anyone().needs(Need::Systemd),
    every_verb_works_without_the_flag_and_without_dbus:
        anyone().needs(Need::Systemd).needs(Need::Tool("strace")).rt_only(),
    names_of_units_and_slices: anyone().needs(Need::Systemd).rt_only(),
    a_slice_can_be_the_containers: anyone().needs(Need::Systemd).rt_only(),
    namespaces_are_made_after_the_cgroup: needs(Need::Systemd).rt_only(),
    failed_create_leaves_no_unit: anyone().needs(Need::Systemd).rt_only(),
    a_unit_that_is_there_is_not_touched: anyone().needs(Need::Systemd).rt_only(),
    a_frozen_cgroup_in_its_place_is_refused: needs(Need::Systemd).rt_only(),
    a_failed_unit_can_be_seen_until_delete: anyone().needs(Need::Systemd).rt_only(),
    delete_leaves_no_unit: anyone().needs(Need::Systemd).rt_only(),
    create_killed_anywhere_leaves_no_unit:
        anyone().needs(Need::Systemd).needs(Need::Tool("strace")).rt_only(),
    one_call_makes_the_unit: anyone().needs(Need::Systemd).needs(Need::Tool("strace")).rt_only(),
    user_without_a_bus_is_told_what_helps: rootless().needs(Need::Systemd).rt_only(),
    without_systemd_is_an_error: needs(Need::NoSystemd).rt_only(),
    the_bus_serves_where_systemds_own_socket_does_not: needs(Need::Systemd).rt_only(),
    path_of_the_other_driver_is_refused: anyone().needs(Need::Systemd).rt_only(),
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
        ("CollectMode", "inactive"),
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
        let out = session(cmd.args(args)).run().ok();
        let calls = fs::read_to_string(&log).unwrap();
        assert!(!calls.contains("connect("), "{args:?}: {calls}");
        out.out()
    };
    traced(&["start", ID]);
    traced(&["list"]);
    traced(&["state", ID]);
    assert!(traced(&["ps", ID]).contains("probe"));
    let cgroup = cgroup_of(c.pid());
    let inside = traced(&["exec", ID, "/bin/sh", "-c", "echo $$"]);
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
    // A slice has no OOMPolicy: it is a file only.
    b.set("/linux/resources/unified", json!({"memory.oom.group": "1"}));
    up(c, &b);
    let cgroup = cgroup_of(c.pid());
    assert!(cgroup.ends_with("/rtown.slice/rtown-a.slice"), "{cgroup}");
    assert_eq!(read(Path::new(&format!("/sys/fs/cgroup{cgroup}")), "memory.oom.group"), "1");
    let shown = show(c, "rtown-a.slice");
    assert_eq!((shown["TasksMax"].as_str(), shown["ActiveState"].as_str()), ("77", "active"));
    rt(c, &["delete", "--force", ID]).ok();
    assert!(!is_known(c, "rtown-a.slice"));
    systemctl(c, &["stop", "rtown.slice"]).ok();
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
    let other = session(other).spawn();
    wait_until("the other unit is there", || is_known(c, &name));
    let out = rt(c, &["create", "-b", &bundle(c).save(), ID]).fails(&name);
    assert!(out.err().contains("container's cgroup is not empty"), "{}", out.err());
    assert_eq!(show(c, &name)["ActiveState"], "active");
    assert_eq!(fs::read_dir(&c.state).unwrap().count(), 0, "state is left");
    rt(c, &["delete", "--force", ID]).ok();
    assert_eq!(show(c, &name)["ActiveState"], "active");
    systemctl(c, &["stop", &name]).ok();
    other.wait();
}

/// The first process would stand still in it before it could say anything.
fn a_frozen_cgroup_in_its_place_is_refused(c: &Case) {
    let path = Path::new("/sys/fs/cgroup/system.slice").join(unit(c));
    fs::create_dir(&path).unwrap();
    fs::write(path.join("cgroup.freeze"), "1").unwrap();
    let b = bundle(c);
    for verb in ["create", "run"] {
        let refused = rt(c, &[verb, "-b", &b.save(), ID]).fails("unexpectedly frozen");
        assert!(refused.err().contains("linux.cgroupsPath"), "{}", refused.err());
    }
    assert!(!is_known(c, &unit(c)));
    fs::remove_dir(&path).unwrap();
    c.nothing_left();
}

fn a_failed_unit_can_be_seen_until_delete(c: &Case) {
    let mut b = bundle(c);
    annotate(&mut b, &[("RuntimeMaxSec", "1"), ("TimeoutStopSec", "1")]);
    rt(c, &["run", "-d", "-b", &b.save(), ID]).ok();
    wait_until("systemd has ended it", || show(c, &unit(c))["ActiveState"] == "failed");
    assert_eq!(show(c, &unit(c))["Result"], "timeout");
    assert_eq!(rt(c, &["state", ID]).ok().json()["status"], "stopped");
    rt(c, &["delete", ID]).ok();
    assert!(!is_known(c, &unit(c)));
    // The name of a failed unit is free.
    rt(c, &["run", "-d", "-b", &b.save(), ID]).ok();
    wait_until("systemd has ended it", || show(c, &unit(c))["ActiveState"] == "failed");
    let other = bundle(c);
    rt(c, &["create", "-b", &other.save(), "other"]).ok();
    rt(c, &["delete", "--force", ID]).ok();
    assert_eq!(show(c, &unit(c))["ActiveState"], "active");
    rt(c, &["delete", "--force", "other"]).ok();
    assert!(!is_known(c, &unit(c)));
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
        session(cmd.args(&["create", "-b", &bundle, ID])).run()
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
    session(cmd.args(&["run", "-d", "-b", &bundle, ID])).run().ok();
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
    if !c.rootless {
        // As runc does: containerd's default is another than the kubelet's.
        let out = c.rt(&["create", "-b", &b.save(), ID]).ok();
        assert!(out.err().contains("SystemdCgroup = true"), "{}", out.err());
        assert!(!is_known(c, &unit(c)));
        c.rt(&["delete", "--force", ID]).ok();
    }
    b.set("/linux/cgroupsPath", json!("/some/path"));
    let out = rt(c, &["create", "-b", &b.save(), ID]);
    let out = out.fails("expected cgroupsPath to be of format \"slice:prefix:name\"");
    assert!(out.err().contains("linux.cgroupsPath"), "{}", out.err());
    c.nothing_left();
}

fn the_bus_serves_where_systemds_own_socket_does_not(c: &Case) {
    sys::bind(Path::new("/dev/null"), Path::new("/run/systemd/private")).expect("cover it");
    up(c, &bundle(c));
    assert!(cgroup_of(c.pid()).ends_with(&unit(c)), "{}", cgroup_of(c.pid()));
    rt(c, &["delete", "--force", ID]).ok();
    let gone = |dir: &str| !fs::exists(dir).unwrap();
    assert!(gone(&format!("/sys/fs/cgroup/system.slice/{}", unit(c))));
    sys::umount_detach(Path::new("/run/systemd/private")).expect("uncover it");
    assert!(!is_known(c, &unit(c)));
}
