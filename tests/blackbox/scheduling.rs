//! Where and how a process runs: scheduler, I/O priority, processors, memory nodes,
//! personality, and limits in a user namespace.

use crate::support::{Bundle, Case, ID, Need};
use crate::tests;
use serde_json::{Value, json};
use std::fs;

/// Not every root has it.
const RAISE: Need = Need::Capability("CAP_SYS_RESOURCE", 24);

tests! {
    scheduler_policies_are_set: rt_only(),
    scheduler_flags_are_set: rt_only(),
    scheduler_deadline_is_set: rt_only(),
    scheduler_that_cannot_be_fails: rt_only(),
    scheduler_is_the_execs_too: rt_only(),
    io_priority_is_set: except_crun("not known to this version").except_runc("the same"),
    personality_is_set_for_init_and_exec,
    memory_policy_is_set_for_init_and_exec: rt_only(),
    memory_policy_that_cannot_be_fails_in_known_words: rt_only(),
    memory_policy_of_a_missing_node_fails: rt_only(),
    exec_affinity_is_set: rt_only(),
    exec_affinity_does_not_hold_for_init: rt_only(),
    exec_affinity_of_a_missing_processor_fails: rt_only(),
    oom_score_is_lowered_in_a_user_namespace: needs(RAISE).needs(Need::UserNamespace),
    hard_limits_are_raised_in_a_user_namespace: needs(RAISE).needs(Need::UserNamespace),
}

#[track_caller]
fn scheduler(c: &Case, value: Value) -> Value {
    let mut b = c.bundle();
    b.set("/process/scheduler", value);
    c.see(&b)["scheduler"].clone()
}

/// That of the tests, who may have been started by nice(1): what nobody sets is inherited.
fn own_nice() -> i32 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("read stat");
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // The 19th of proc_pid_stat(5), of which two are before the last bracket.
    fields.skip(16).find_map(|nice| nice.parse().ok()).expect("a nice value")
}

fn scheduler_policies_are_set(c: &Case) {
    for (value, policy, nice, priority) in [
        (json!({"policy": "SCHED_OTHER", "nice": 5}), libc::SCHED_OTHER, 5, 0),
        (json!({"policy": "SCHED_OTHER", "nice": -5}), libc::SCHED_OTHER, -5, 0),
        (json!({"policy": "SCHED_BATCH", "nice": 3}), libc::SCHED_BATCH, 3, 0),
        (json!({"policy": "SCHED_IDLE"}), libc::SCHED_IDLE, own_nice(), 0),
        (json!({"policy": "SCHED_FIFO", "priority": 10}), libc::SCHED_FIFO, own_nice(), 10),
        (json!({"policy": "SCHED_RR", "priority": 99}), libc::SCHED_RR, own_nice(), 99),
    ] {
        let seen = scheduler(c, value.clone());
        let expected = (&json!(policy), &json!(nice), &json!(priority));
        assert_eq!((&seen["policy"], &seen["nice"], &seen["priority"]), expected, "{value}");
    }
}

fn scheduler_flags_are_set(c: &Case) {
    let reset = scheduler(
        c,
        json!({"policy": "SCHED_RR", "priority": 1, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}),
    );
    assert_eq!(reset["policy"], libc::SCHED_RR | libc::SCHED_RESET_ON_FORK);
    let keep = json!(["SCHED_FLAG_KEEP_POLICY", "SCHED_FLAG_KEEP_PARAMS"]);
    let kept = scheduler(c, json!({"policy": "SCHED_BATCH", "nice": 7, "flags": keep}));
    let own = json!(own_nice());
    assert_eq!((&kept["policy"], &kept["nice"]), (&json!(libc::SCHED_OTHER), &own));
    // A kernel without utilization clamping says so.
    let mut b = c.bundle();
    let clamp = json!(["SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MAX"]);
    b.set("/process/scheduler", json!({"policy": "SCHED_OTHER", "flags": clamp}));
    let out = c.run(&b);
    if out.code != Some(0) {
        out.fails("(EOPNOTSUPP) (at process.scheduler");
    }
}

fn scheduler_deadline_is_set(c: &Case) {
    let times = [10_000_000_u64, 20_000_000, 50_000_000];
    let [runtime, deadline, period] = times;
    let mut b = c.bundle();
    let flags = json!(["SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN"]);
    b.set(
        "/process/scheduler",
        json!({"policy": "SCHED_DEADLINE", "runtime": runtime, "deadline": deadline,
            "period": period, "flags": flags}),
    );
    let out = c.run(b.args(&["/probe", "see"]));
    if out.err().contains("EBUSY") || out.err().contains("EPERM") {
        crate::support::worker::skip("needs a kernel that admits SCHED_DEADLINE");
    }
    let seen = out.ok().json()["scheduler"].clone();
    assert_eq!((&seen["policy"], &seen["times"]), (&json!(6), &json!(times)));
    assert_eq!(seen["flags"], 6);
}

fn scheduler_that_cannot_be_fails(c: &Case) {
    let mut b = c.bundle();
    for (value, text) in [
        (json!({"policy": "SCHED_ISO"}), "Linux does not have it"),
        (json!({"policy": "SCHED_OTHER", "priority": 3}), "process.scheduler.priority"),
        (json!({"policy": "SCHED_OTHER", "runtime": 3}), "only SCHED_DEADLINE"),
    ] {
        b.set("/process/scheduler", value);
        c.create(&b).fails(text);
        c.nothing_left();
    }
}

fn exec_with(c: &Case, more: Value) -> Value {
    let mut process = json!({"args": ["/probe", "see"], "cwd": "/", "user": {"uid": 0, "gid": 0}});
    for (key, value) in more.as_object().expect("an object") {
        process[key] = value.clone();
    }
    fs::write(c.path("p.json"), process.to_string()).unwrap();
    c.rt(&["exec", "-p", &c.path_str("p.json"), ID]).ok().json()
}

fn sleeper(c: &Case, change: impl FnOnce(&mut Bundle)) {
    let mut b = c.bundle();
    change(&mut b);
    c.up(b.args(&["/probe", "sleep"]));
}

fn scheduler_is_the_execs_too(c: &Case) {
    sleeper(c, |_| ());
    let more = json!({"scheduler": {"policy": "SCHED_FIFO", "priority": 4},
        "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0}});
    let seen = exec_with(c, more)["scheduler"].clone();
    assert_eq!((&seen["policy"], &seen["priority"]), (&json!(1), &json!(4)));
    assert_eq!(seen["ioprio"], 3 << 13);
    c.down();
}

fn io_priority_is_set(c: &Case) {
    for (class, number) in
        [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)]
    {
        let mut b = c.bundle();
        b.set("/process/ioPriority", json!({"class": class, "priority": 5}));
        assert_eq!(c.see(&b)["scheduler"]["ioprio"], number << 13 | 5, "{class}");
    }
}

const UNAME: &[&str] = &["/bin/busybox", "uname", "-m"];

fn personality_is_set_for_init_and_exec(c: &Case) {
    let native = c.run(c.bundle().args(UNAME)).ok().out();
    let change = |b: &mut Bundle| {
        b.set("/linux/personality", json!({"domain": "LINUX32"}));
    };
    let mut b = c.bundle();
    change(&mut b);
    let changed = c.run(b.args(UNAME)).ok().out();
    assert_ne!(changed, native);
    sleeper(c, change);
    if c.is_rt() {
        assert_eq!(c.exec(UNAME).ok().out(), changed);
    }
    c.down();
    let mut b = c.bundle();
    b.set("/linux/personality", json!({"domain": "LINUX"}));
    assert_eq!(c.run(b.args(UNAME)).ok().out(), native);
}

const NUMA_MAPS: &[&str] = &["/bin/head", "-n1", "/proc/self/numa_maps"];

fn memory_policy_is_set_for_init_and_exec(c: &Case) {
    if !fs::exists("/proc/self/numa_maps").unwrap() {
        crate::support::worker::skip("needs a kernel with NUMA");
    }
    for (policy, shown) in [
        (json!({"mode": "MPOL_DEFAULT"}), "default"),
        (json!({"mode": "MPOL_LOCAL"}), "local"),
        (json!({"mode": "MPOL_PREFERRED", "nodes": "0"}), "prefer:0"),
        (json!({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}), "prefer (many):0"),
        (json!({"mode": "MPOL_BIND", "nodes": "0"}), "bind:0"),
        (json!({"mode": "MPOL_INTERLEAVE", "nodes": "0-0"}), "interleave:0"),
        (
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}),
            "bind=static:0",
        ),
        (
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]}),
            "bind=relative:0",
        ),
    ] {
        let mut b = c.bundle();
        b.set("/linux/memoryPolicy", policy.clone());
        let seen = c.run(b.args(NUMA_MAPS)).ok().out();
        assert!(seen.contains(&format!(" {shown} ")), "{policy}: {seen}");
    }
    sleeper(c, |b| {
        b.set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0"}));
    });
    assert!(c.exec(NUMA_MAPS).ok().out().contains(" bind:0 "));
    c.down();
}

fn memory_policy_that_cannot_be_fails_in_known_words(c: &Case) {
    let mut b = c.bundle();
    for (policy, text) in [
        (json!({}), "linux.memoryPolicy.mode: invalid memory policy mode"),
        (json!({"nodes": "0"}), "linux.memoryPolicy.mode: invalid memory policy mode"),
        (json!({"mode": "INTERLEAVE"}), "\"INTERLEAVE\": invalid memory policy mode"),
        (
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "bad"]}),
            "linux.memoryPolicy.flags[1] \"bad\": invalid memory policy flag",
        ),
        (
            json!({"mode": "MPOL_DEFAULT", "nodes": "0-7"}),
            "linux.memoryPolicy.nodes \"0-7\": MPOL_DEFAULT mode requires 0 nodes but got 8",
        ),
        (
            json!({"mode": "MPOL_BIND", "nodes": "0-9876543210"}),
            "linux.memoryPolicy.nodes \"0-9876543210\": invalid memory policy node",
        ),
    ] {
        b.set("/linux/memoryPolicy", policy);
        c.create(&b).fails(text);
    }
    c.nothing_left();
}

fn memory_policy_of_a_missing_node_fails(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "1000-1023"}));
    c.create(&b).fails("does not have these nodes");
    b.set("/linux/memoryPolicy", json!({"mode": "MPOL_LOCAL", "nodes": "0"}));
    c.create(&b).fails("linux.memoryPolicy.nodes");
    c.nothing_left();
}

fn two_processors(c: &Case) -> String {
    let all = c.see(&c.bundle())["affinity"].as_str().unwrap().to_string();
    if !all.starts_with("0-") {
        crate::support::worker::skip("needs two processors");
    }
    all
}

fn exec_affinity_is_set(c: &Case) {
    let all = two_processors(c);
    sleeper(c, |_| ());
    for (affinity, seen) in [
        (json!({"initial": "0", "final": "1"}), "1"),
        (json!({"final": "0-1"}), "0-1"),
        (json!({"initial": "1"}), "1"),
        (json!({"initial": "1", "final": ""}), "1"),
        (json!({"initial": "", "final": "0,8191"}), "0"),
        (json!({}), &all),
    ] {
        let more = json!({"execCPUAffinity": affinity});
        assert_eq!(exec_with(c, more)["affinity"], seen, "{affinity}");
    }
    c.down();
}

fn exec_affinity_does_not_hold_for_init(c: &Case) {
    let all = two_processors(c);
    let mut b = c.bundle();
    b.set("/process/execCPUAffinity", json!({"initial": "0", "final": "1"}));
    assert_eq!(c.see(&b)["affinity"], all);
    c.up(b.args(&["/probe", "sleep"]));
    assert_eq!(c.exec(&["/probe", "see"]).ok().json()["affinity"], "1");
    c.down();
}

fn exec_affinity_of_a_missing_processor_fails(c: &Case) {
    sleeper(c, |_| ());
    let process = |affinity: Value| {
        let process = json!({"args": ["/bin/true"], "cwd": "/", "user": {"uid": 0, "gid": 0},
            "execCPUAffinity": affinity});
        fs::write(c.path("p.json"), process.to_string()).unwrap();
        c.rt(&["exec", "-p", &c.path_str("p.json"), ID])
    };
    for (affinity, text) in [
        (json!({"initial": "8191"}), "(at execCPUAffinity.initial in "),
        (json!({"final": "8191"}), "execCPUAffinity.final"),
        (json!({"final": "8192"}), "execCPUAffinity.final"),
        (json!({"final": "2-1"}), "runs backwards"),
        (json!({"final": "a"}), "execCPUAffinity"),
    ] {
        process(affinity).fails(text).exits(255);
    }
    c.down();
}

fn in_user_namespace(c: &Case) -> Bundle {
    let mut b = c.bundle();
    for map in ["uidMappings", "gidMappings"] {
        let ids = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        b.set(&format!("/linux/{map}"), ids);
    }
    b.namespace("user", None);
    std::os::unix::fs::chown(b.rootfs(""), Some(100_000), Some(100_000)).unwrap();
    b
}

fn oom_score_is_lowered_in_a_user_namespace(c: &Case) {
    let mut b = in_user_namespace(c);
    for score in [-500, 500] {
        b.set("/process/oomScoreAdj", json!(score));
        assert_eq!(c.see(&b)["oom_score_adj"], score.to_string());
    }
    b.set("/process/oomScoreAdj", json!(-300));
    c.up(b.args(&["/probe", "sleep"]));
    assert_eq!(c.exec(&["/probe", "see"]).ok().json()["oom_score_adj"], "-300");
    c.down();
}

fn hard_limits_are_raised_in_a_user_namespace(c: &Case) {
    let mut b = in_user_namespace(c);
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 500, 600).unwrap();
    let limit = json!([{"type": "RLIMIT_NOFILE", "soft": 700, "hard": 800}]);
    b.set("/process/rlimits", limit);
    assert_eq!(c.see(&b)["rlimits"]["Max open files"], json!(["700", "800"]));
    c.up(b.args(&["/probe", "sleep"]));
    let seen = c.exec(&["/probe", "see"]).ok().json();
    assert_eq!(seen["rlimits"]["Max open files"], json!(["700", "800"]));
    c.down();
}
