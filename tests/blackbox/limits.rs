//! Limits bite, before and after an update, and `state` tells of it.

use crate::support::cgroup::Group;
use crate::support::cmd::wait_until;
use crate::support::{Case, ID, Need};
use crate::tests;
use crate::update_memory::on_disk;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const M: u64 = 1 << 20;

tests! {
    memory_max_kills_and_state_says_so:
        anyone().needs(Need::Controller("memory")).needs(Need::FileDriver).rt_only(),
    pids_max_refuses_also_after_an_update: anyone().needs(Need::Controller("pids")),
    cpu_max_throttles_within_ten_percent: anyone().needs(Need::Controller("cpu")),
    io_max_throttles_within_ten_percent: needs(Need::Controller("io")),
    a_megabyte_is_enough_to_start: anyone().needs(Need::Controller("memory")),
    a_limit_too_low_to_start_is_named:
        anyone().needs(Need::Controller("memory")).needs(Need::FileDriver).rt_only(),
    state_says_how_a_kept_run_ended: anyone().rt_only(),
    state_says_nothing_of_what_nobody_knows: anyone().rt_only(),
    state_has_the_values_of_the_kernel: anyone().needs(Need::Controller("memory")).rt_only(),
    state_has_the_limits_from_above:
        needs(Need::Controller("pids")).needs(Need::FileDriver).rt_only(),
}

fn memory_max_kills_and_state_says_so(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/resources/memory", json!({"limit": 32 * M, "swap": 32 * M}));
    c.up(b.args(&["/probe", "memory", "100"]));
    c.wait_for_status("stopped");
    let state = c.state();
    assert_eq!(state["exit"]["reason"], "oom", "{state}");
    assert!(state["exit"]["oomKills"].as_u64().unwrap() >= 1, "{state}");
    c.down();
    // With the signal, when it is our own child.
    c.rt(&["run", "--keep", "-b", &b.save(), ID]).exits(137);
    let exit = &c.state()["exit"];
    assert_eq!((&exit["reason"], &exit["signal"]), (&json!("oom"), &json!(9)));
    c.down();
    // Somebody else in the container was killed, and it went on.
    b.sh("/probe memory 100; exit 3");
    c.rt(&["run", "--keep", "-b", &b.save(), ID]).exits(3);
    assert_eq!(c.state()["exit"], json!({"reason": "exited", "code": 3, "oomKills": 1}));
    c.down();
}

/// What the runtime itself takes of the container's memory before the program is there is little.
fn a_megabyte_is_enough_to_start(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/resources/memory", json!({"limit": M, "swap": M}));
    for _ in 0..3 {
        c.run(b.args(&["/bin/true"])).ok();
        c.create(&b).ok();
        c.rt(&["start", ID]).ok();
        c.wait_for_status("stopped");
        c.down();
    }
}

fn a_limit_too_low_to_start_is_named(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/resources/memory", json!({"limit": 65536, "swap": 65536}));
    let out = c.create(&b).fails("raise linux.resources.memory.limit");
    assert_eq!(out.err().lines().count(), 1, "{}", out.err());
    c.nothing_left();
}

fn pids_max_refuses_also_after_an_update(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/resources/pids", json!({"limit": 10}));
    c.up(b.args(&["/probe", "sleep"]));
    // init and the probe itself are two.
    assert_eq!(c.exec(&["/probe", "forks", "50"]).ok().out(), "8\n");
    c.rt(&["update", "--pids-limit", "20", ID]).ok();
    assert_eq!(c.exec(&["/probe", "forks", "50"]).ok().out(), "18\n");
    c.rt(&["update", "--pids-limit", "3", ID]).ok();
    assert_eq!(c.exec(&["/probe", "forks", "50"]).ok().out(), "1\n");
    c.down();
}

/// The cgroup uses this many microseconds in each of the kernel's periods: a tenth more at most, and a
/// tenth less at most in those in which it was stopped, since the machine may have others to serve.
#[track_caller]
fn throttled_at(g: &Group, quota: u64) {
    let read = || ["nr_periods", "nr_throttled", "usage_usec"].map(|key| g.value("cpu.stat", key));
    let before = read();
    wait_until("it was stopped often enough", || read()[1] >= before[1] + 30);
    let after = read();
    let [periods, throttled, used] = [0, 1, 2].map(|i| after[i] - before[i]);
    let (least, most) = (throttled * quota / 10 * 9, (periods + 1) * quota / 10 * 11);
    assert!((least..most).contains(&used), "{used} us, not {least} to {most}");
}

fn cpu_max_throttles_within_ten_percent(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/resources/cpu", json!({"quota": 20_000, "period": 100_000}));
    c.up(b.sh("while :; do :; done"));
    let g = Group::of(c);
    throttled_at(&g, 20_000);
    c.rt(&["update", "--cpu-quota", "10000", ID]).ok();
    throttled_at(&g, 10_000);
    c.down();
}

/// MAJOR and MINOR of the disk behind a file, whole as the kernel throttles it.
fn disk_of(path: &Path) -> (u64, u64) {
    let device = fs::metadata(path).unwrap().dev();
    let number = format!("{}:{}", libc::major(device), libc::minor(device));
    let dir = Path::new("/sys/dev/block").join(&number);
    let whole = if dir.join("partition").exists() { dir.join("../dev") } else { dir.join("dev") };
    let Ok(text) = fs::read_to_string(whole) else {
        crate::support::worker::skip("needs /var/tmp on a disk");
    };
    let (major, minor) = text.trim().split_once(':').unwrap();
    (major.parse().unwrap(), minor.parse().unwrap())
}

/// How much less it is depends on what else the disk does.
#[track_caller]
fn at_most(expected: f64, measured: f64) {
    assert!(measured < expected * 1.1, "{measured} instead of {expected}");
}

fn io_max_throttles_within_ten_percent(c: &Case) {
    let dir = on_disk(c);
    let (major, minor) = disk_of(&dir);
    let rate = |mib: u64| json!({"throttleWriteBpsDevice": [{"major": major, "minor": minor, "rate": mib * M}]});
    let mut b = c.bundle();
    b.set("/linux/resources/blockIO", rate(2));
    b.mount("/data", "bind", &dir.to_string_lossy(), &["bind", "rw"]);
    c.up(b.args(&["/probe", "sleep"]));
    let rate_seen = || {
        let out = c.rt_cmd(&["exec", ID, "/probe", "write-direct", "/data/file", "8"]);
        8.0 / out.run().ok().out().trim().parse::<f64>().unwrap()
    };
    at_most(2.0, rate_seen());
    let update = json!({"blockIO": rate(4)}).to_string();
    c.rt_cmd(&["update", "-r", "-", ID]).input(update.as_bytes()).run().ok();
    at_most(4.0, rate_seen());
    c.down();
    fs::remove_dir_all(dir).unwrap();
}

fn state_says_how_a_kept_run_ended(c: &Case) {
    for (script, code, exit) in [
        ("exit 7", 7, json!({"reason": "exited", "code": 7})),
        ("exit 0", 0, json!({"reason": "exited", "code": 0})),
    ] {
        let mut b = c.bundle();
        c.rt(&["run", "--keep", "-b", &b.sh(script).save(), ID]).exits(code);
        assert_eq!(c.state()["exit"], exit);
        c.down();
    }
    let mut b = c.bundle();
    b.args(&["/probe", "sleep"]);
    let running = c.rt_cmd(&["run", "--keep", "-b", &b.save(), ID]).spawn();
    wait_until("it runs", || {
        let out = c.rt(&["state", ID]);
        out.code == Some(0) && out.json()["status"] == "running"
    });
    assert_eq!(c.state()["exit"], Value::Null);
    c.rt(&["kill", ID, "KILL"]).ok();
    running.wait().exits(137);
    assert_eq!(c.state()["exit"], json!({"reason": "signaled", "signal": 9}));
    c.down();
}

fn state_says_nothing_of_what_nobody_knows(c: &Case) {
    c.up(c.bundle().sh("exit 7"));
    let pid = c.pid();
    if pid != 0 {
        crate::support::cmd::exit_code_of(pid);
    }
    c.wait_for_status("stopped");
    wait_until("it was waited for", || {
        crate::support::cmd::reap_adopted();
        crate::support::leak::children().is_empty()
    });
    assert_eq!(c.state()["exit"], Value::Null);
    c.down();
}

fn state_has_the_values_of_the_kernel(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/resources/memory", json!({"limit": 33_554_433}));
    b.set("/linux/resources/cpu", json!({"shares": 512}));
    c.up(b.args(&["/probe", "sleep"]));
    let g = Group::of(c);
    assert_eq!(c.state()["resources"], Value::Null, "only on request");
    let state = c.rt(&["state", "--resources", ID]).ok().json();
    let resources = &state["resources"];
    let path = g.0.strip_prefix("/sys/fs/cgroup").unwrap();
    assert_eq!(resources["cgroup"], format!("/{}", path.display()));
    for file in ["memory.max", "memory.high", "cpu.weight", "cpu.max", "pids.max"] {
        assert_eq!(resources["values"][file], g.read(file), "{file}");
    }
    assert_eq!(resources["values"]["memory.max"], "33554432", "whole pages");
    c.down();
}

fn state_has_the_limits_from_above(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/resources/pids", json!({"limit": 100}));
    c.up(b.args(&["/probe", "sleep"]));
    let above = c.cgroup_dir().unwrap().join("pids.max");
    fs::write(&above, "50").unwrap();
    let state = c.rt(&["state", "--resources", ID]).ok().json();
    assert_eq!(state["resources"]["values"]["pids.max"], "100");
    assert_eq!(state["resources"]["effective"]["pids.max"], "50");
    c.down();
}
