//! `update` changes everything that it is asked for, or nothing; and the rules for devices.

use crate::support::cmd::slow;
use crate::support::{Case, ID, Need};
use crate::tests;
use crate::update::{up, update, update_with};
use serde_json::{Value, json};
use std::fs;

const M: u64 = 1 << 20;

tests! {
    all_or_nothing: anyone().needs(Need::Controller("memory")).rt_only(),
    a_failing_call_changes_nothing:
        anyone().needs(Need::Controller("memory")).needs(Need::Tool("strace")).rt_only(),
    a_state_that_cannot_be_kept_changes_nothing: anyone().needs(Need::Controller("pids")).rt_only(),
    devices_are_replaced_when_they_are_given: rt_only(),
    devices_that_stay_the_same_are_left_alone: needs(Need::Tool("strace")).rt_only(),
}

fn all_or_nothing(c: &Case) {
    let g = up(
        c,
        json!({"memory": {"limit": 64 * M}, "pids": {"limit": 20},
               "cpu": {"quota": 50_000, "period": 100_000}}),
    );
    let all = || {
        ["memory.max", "memory.high", "memory.low", "pids.max", "cpu.max", "cpu.weight"]
            .map(|file| g.read(file))
    };
    let before = all();
    let resources = json!({
        "memory": {"limit": 32 * M, "reservation": 8 * M}, "pids": {"limit": 30},
        "cpu": {"quota": 20_000, "shares": 2}, "unified": {"memory.nosuchfile": "1"},
    });
    let out = update_with(c, resources).fails("this kernel has no memory.nosuchfile");
    assert!(out.err().contains("unified[\"memory.nosuchfile\"] in resources"), "{}", out.err());
    assert_eq!(all(), before);
    // Memory is the last that is written; what comes behind it takes it back too.
    let resources = json!({"memory": {"limit": 32 * M}, "unified": {"memory.max": "nonsense"}});
    update_with(c, resources).fails("to nonsense");
    assert_eq!(all(), before);
    // It was not remembered either.
    update(c, &["--cpu-period", "200000"]).ok();
    assert_eq!(g.read("cpu.max"), "50000 200000");
    c.down();
}

/// Each of the first calls by which values are read and written fails once.
fn a_failing_call_changes_nothing(c: &Case) {
    let old = json!({"memory": {"limit": 64 * M}, "pids": {"limit": 20},
                     "cpu": {"quota": 50_000, "period": 100_000, "burst": 20_000}});
    let new = json!({"memory": {"limit": 32 * M, "reservation": 8 * M}, "pids": {"limit": 30},
                     "cpu": {"quota": 20_000, "burst": 10_000, "shares": 2}});
    let g = up(c, old.clone());
    let all = || {
        [
            "memory.max",
            "memory.high",
            "memory.low",
            "pids.max",
            "cpu.max",
            "cpu.max.burst",
            "cpu.weight",
        ]
        .map(|file| g.read(file))
    };
    let before = all();
    let text = new.to_string();
    let mut failed = 0;
    // One after the other takes minutes on an emulated machine.
    let chosen: Vec<usize> = if slow() > 1 { vec![1, 3, 6, 9, 14, 20] } else { (1..=30).collect() };
    for call in ["write", "openat2", "renameat"] {
        for occurrence in &chosen {
            let fault = format!("--inject={call}:error=EIO:when={occurrence}");
            let cmd = c.rt_cmd(&["update", "-r", "-", ID]).input(text.as_bytes());
            let out = cmd.through(&["strace", "-o", "/dev/null", &fault]).run();
            assert!(!out.timed_out && !out.err().contains("panicked"), "{fault}: {}", out.how());
            if out.code == Some(0) {
                // Behind the last change, or where a failure does not matter.
                update_with(c, old.clone()).ok();
                update_with(c, json!({"memory": {"reservation": 0}, "cpu": {"shares": 1024}})).ok();
                update_with(c, json!({"unified": {"memory.low": "0"}})).ok();
            } else {
                failed += 1;
            }
            assert_eq!(all(), before, "{fault}: {}", out.err());
        }
    }
    assert!(failed > 6, "{failed} faults had an effect");
    c.down();
}

fn a_state_that_cannot_be_kept_changes_nothing(c: &Case) {
    let g = up(c, json!({"pids": {"limit": 20}}));
    // In the way of the new file.
    let blocked = c.state.join(ID).join(".resources.json.new");
    fs::create_dir_all(blocked.join("x")).unwrap();
    update(c, &["--pids-limit", "30"]).fails("resources.json");
    assert_eq!(g.read("pids.max"), "20");
    fs::remove_dir_all(blocked).unwrap();
    update(c, &["--pids-limit", "30"]).ok();
    assert_eq!(g.read("pids.max"), "30");
    c.down();
}

fn rules(allow: bool) -> Value {
    json!([{"allow": false, "access": "rwm"},
           {"allow": allow, "type": "c", "major": 63, "minor": 7, "access": "rwm"}])
}

/// A number for local use, without a driver: when it is allowed, the open ends with ENXIO.
fn try_device(c: &Case) -> String {
    let args = ["mknod", "c", "63", "7", "/dev/x"];
    let out = c.exec(&["/bin/sh", "-c", &format!("rm -f /dev/x; /probe {}", args.join(" "))]);
    out.ok().out().trim().to_string()
}

fn up_with_devices(c: &Case) {
    let mut b = c.bundle();
    b.caps(&["CAP_MKNOD"]).set("/linux/resources/devices", rules(true));
    c.up(b.args(&["/probe", "sleep"]));
}

fn devices_are_replaced_when_they_are_given(c: &Case) {
    up_with_devices(c);
    assert_eq!(try_device(c), "ok ENXIO");
    update_with(c, json!({"devices": rules(false)})).ok();
    assert_eq!(try_device(c), "ok EPERM");
    update_with(c, json!({})).ok();
    assert_eq!(try_device(c), "ok EPERM");
    // Taken back with the rest.
    let bad = json!({"devices": rules(true), "unified": {"memory.max": "nonsense"}});
    update_with(c, bad).fails("memory.max");
    assert_eq!(try_device(c), "ok EPERM");
    update_with(c, json!({"devices": rules(true)})).ok();
    assert_eq!(try_device(c), "ok ENXIO");
    c.down();
}

fn devices_that_stay_the_same_are_left_alone(c: &Case) {
    // Engines send back what was configured, and hooks may have added to it.
    up_with_devices(c);
    let attached = |rules: Value| {
        let log = c.path_str("strace");
        let resources = json!({"devices": rules}).to_string();
        let cmd = c.rt_cmd(&["update", "-r", "-", ID]).input(resources.as_bytes());
        cmd.through(&["strace", "-f", "-e", "bpf", "-o", &log]).run().ok();
        fs::read_to_string(log).unwrap().contains("BPF_PROG_ATTACH")
    };
    assert!(!attached(rules(true)));
    assert!(attached(rules(false)));
    c.down();
}
