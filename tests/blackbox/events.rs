//! `events`: statistics, and what happens to a container.

use crate::support::cgroup::Group;
use crate::support::cmd::{Running, wait_until};
use crate::support::{Case, ID, Need};
use crate::tests;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const M: u64 = 1 << 20;

tests! {
    stats_have_the_shape_of_runc,
    stats_are_those_of_the_kernel: anyone().needs(Need::Controller("memory")),
    a_line_comes_with_every_interval_until_the_end,
    an_oom_is_told: anyone().needs(Need::Controller("memory")),
    memory_pressure_is_told: anyone().needs(Need::Controller("memory")).rt_only(),
    events_end_with_their_reader: rt_only(),
    events_end_with_the_cgroup: rt_only(),
    events_end_however_short_the_interval: rt_only(),
    events_of_a_stopped_container_are_refused,
    a_bad_interval_is_refused,
    events_work_for_an_ordinary_user: rootless().rt_only(),
}

#[track_caller]
fn stats(c: &Case) -> Value {
    let out = c.rt(&["events", "--stats", ID]).ok();
    let text = out.out();
    assert!(text.ends_with("}\n") && text.lines().count() == 1, "{text}");
    assert!(text.starts_with(r#"{"type":"stats","id":"box","data":{"#), "{text}");
    if c.is_rt() {
        assert_eq!(out.err(), "");
    }
    out.json()["data"].clone()
}

fn stats_have_the_shape_of_runc(c: &Case) {
    let mut b = c.bundle();
    c.create(b.args(&["/probe", "sleep"])).ok();
    stats(c);
    c.rt(&["start", ID]).ok();
    let data = stats(c);
    for pointer in [
        "/cpu/usage/kernel",
        "/cpu/usage/user",
        "/cpu/throttling",
        "/cpuset/cpu_exclusive",
        "/memory",
        "/pids/current",
        "/blkio",
        "/hugetlb",
        "/intel_rdt",
        "/network_interfaces",
    ] {
        assert!(data.pointer(pointer).is_some(), "{pointer}: {data}");
    }
    assert_eq!(data["pids"]["current"], 1);
    assert!(data["cpu"]["usage"]["total"].as_u64().unwrap() > 0);
    c.rt(&["pause", ID]).ok();
    stats(c);
    c.down();
}

fn stats_are_those_of_the_kernel(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/resources/memory", json!({"limit": 64 * M, "swap": 96 * M}));
    b.set("/linux/resources/pids", json!({"limit": 20}));
    b.set("/linux/resources/cpu", json!({"quota": 10_000, "period": 100_000}));
    c.up(b.sh("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; sleep 1000"));
    let g = Group::of(c);
    wait_until("it is throttled", || g.value("cpu.stat", "nr_throttled") > 0);
    let data = stats(c);
    assert_eq!(data["memory"]["usage"]["limit"], 64 * M);
    assert!(data["memory"]["usage"]["usage"].as_u64().unwrap() > 0);
    assert!(data["memory"]["raw"]["anon"].is_u64());
    assert_eq!(data["pids"]["limit"], 20);
    assert!(data["cpu"]["throttling"]["throttledPeriods"].as_u64().unwrap() > 0);
    if g.has("memory.swap.max") {
        assert_eq!(data["memory"]["swap"]["limit"], 96 * M);
    } else {
        assert_eq!(data["memory"]["swap"]["limit"], 64 * M, "without swap, that of memory");
    }
    if g.has("memory.pressure") {
        for file in ["cpu", "memory", "blkio"] {
            assert!(data[file]["psi"]["some"]["total"].is_u64(), "{file}");
        }
    }
    assert!(!data.to_string().contains("oom"), "scripts look for the word: {data}");
    if g.has("hugetlb.2MB.max") {
        assert!(data["hugetlb"]["2MB"]["failcnt"].is_u64());
    }
    c.down();
}

fn a_line_comes_with_every_interval_until_the_end(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    let running = c.rt_cmd(&["events", "--interval", "100ms", ID]).spawn();
    wait_until("there are lines", || running.so_far().lines().count() >= 3);
    c.rt(&["kill", ID, "KILL"]).ok();
    let out = running.wait().ok().out();
    for line in out.lines() {
        let event: Value = serde_json::from_str(line).expect(line);
        assert_eq!((event["type"].as_str(), event["id"].as_str()), (Some("stats"), Some(ID)));
    }
    c.down();
}

/// Waits until it has opened what tells it of events, and sleeps: before that it would miss them.
fn watches(running: &Running) {
    let proc = Path::new("/proc").join(running.pid.to_string());
    let sees = |fd: fs::DirEntry| {
        let file = fs::read_link(fd.path()).unwrap_or_default();
        file.ends_with("memory.events") || file.to_string_lossy().contains("inotify")
    };
    wait_until("it watches", || {
        let stat = fs::read_to_string(proc.join("stat")).unwrap_or_default();
        stat.contains(") S ") && fs::read_dir(proc.join("fd")).is_ok_and(|l| l.flatten().any(sees))
    });
}

fn an_oom_is_told(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/resources/memory", json!({"limit": 32 * M, "swap": 32 * M}));
    c.up(b.args(&["/probe", "sleep"]));
    let running = c.rt_cmd(&["events", "--interval", "1h", ID]).spawn();
    watches(&running);
    c.exec(&["/probe", "memory", "100"]).exits(137);
    let line = "{\"type\":\"oom\",\"id\":\"box\"}";
    wait_until("it is told", || running.so_far().lines().any(|said| said == line));
    if c.is_rt() {
        assert_eq!(stats(c)["memory"]["events"]["oom_kill"], 1);
    }
    c.rt(&["delete", "--force", ID]).ok();
    running.wait().ok();
}

fn memory_pressure_is_told(c: &Case) {
    let mut b = c.bundle();
    // Throttled at memory.high, a process mostly waits for memory.
    b.set("/linux/resources/unified", json!({"memory.high": (16 * M).to_string()}));
    b.set("/linux/resources/memory", json!({"limit": 64 * M, "swap": 64 * M}));
    c.up(b.args(&["/probe", "sleep"]));
    Group::of(c).need(c, &["memory.pressure"]);
    let running = c.rt_cmd(&["events", "--interval", "1h", ID]).spawn();
    watches(&running);
    let hog = c.rt_cmd(&["exec", ID, "/probe", "memory", "30"]).spawn();
    wait_until("it is told", || running.so_far().contains("\"type\":\"pressure\""));
    let first: Value =
        serde_json::from_str(running.so_far().lines().next().unwrap()).expect("JSON");
    assert!(first["data"]["memory"]["psi"]["some"]["total"].as_u64().unwrap() > 0, "{first}");
    c.rt(&["delete", "--force", ID]).ok();
    running.wait().ok();
    hog.wait();
}

fn events_end_with_their_reader(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    let (reader, writer) = std::io::pipe().unwrap();
    let running = c.rt_cmd(&["events", "--interval", "1h", ID]).output(writer).spawn();
    drop(reader);
    running.wait().ok();
    c.down();
}

/// Whoever has moved init away may remove the cgroup: nothing will happen in it any more.
fn events_end_with_the_cgroup(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    let group = Group::of(c);
    let other = group.0.with_extension("other");
    std::fs::create_dir(&other).unwrap();
    for interval in ["50ms", "1h"] {
        let running = c.rt_cmd(&["events", "--interval", interval, ID]).spawn();
        if interval == "50ms" {
            wait_until("there are lines", || running.so_far().lines().count() >= 2);
            std::fs::write(other.join("cgroup.procs"), c.pid().to_string()).unwrap();
            wait_until("it is removed", || std::fs::remove_dir(&group.0).is_ok());
        }
        let out = running.wait();
        // The second one finds none at all.
        if interval == "50ms" {
            for line in out.ok().out().lines() {
                let event: Value = serde_json::from_str(line).expect(line);
                assert_eq!(event["data"]["pids"]["current"], 1, "{line}");
            }
        } else {
            out.fails("no cgroup of its own");
        }
    }
    assert_eq!(c.status(), "running");
    c.rt(&["kill", ID, "KILL"]).ok();
    c.wait_for_status("stopped");
    c.down();
    wait_until("its other cgroup is removed", || std::fs::remove_dir(&other).is_ok());
}

fn events_end_however_short_the_interval(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    let running = c.rt_cmd(&["events", "--interval", "1ns", ID]).spawn();
    wait_until("there are lines", || running.so_far().lines().count() >= 3);
    c.rt(&["kill", ID, "KILL"]).ok();
    running.wait().ok();
    c.down();
}

fn events_of_a_stopped_container_are_refused(c: &Case) {
    c.up(&c.bundle());
    c.wait_for_status("stopped");
    c.rt(&["events", ID]).fails("is not running");
    c.rt(&["events", "--stats", ID]).fails("is not running");
    c.down();
}

fn a_bad_interval_is_refused(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    c.rt(&["events", "--interval", "0s", ID]).fails("must be greater than 0");
    c.rt(&["events", "--interval", "soon", ID]).fails("interval");
    c.down();
}

fn events_work_for_an_ordinary_user(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    let out = c.rt(&["events", "--stats", ID]);
    if out.code == Some(0) {
        assert_eq!(out.json()["data"]["pids"]["current"], 1);
    } else {
        out.fails("no cgroup of its own");
    }
    c.down();
}
