//! `update`: limits of a container that runs, read back from the kernel.

use crate::support::bundle::Bundle;
use crate::support::cgroup::Group;
use crate::support::cmd::Out;
use crate::support::{Case, ID, Need, worker};
use crate::tests;
use serde_json::{Value, json};
use std::fs;

const M: u64 = 1 << 20;

tests! {
    flags_reach_the_kernel: anyone().needs(Need::Controller("memory")),
    cpusets_are_changed: needs(Need::Controller("cpuset")),
    io_limits_are_changed: needs(Need::Controller("io")),
    resources_come_from_a_file_or_from_stdin: anyone().needs(Need::Controller("pids")),
    quota_and_period_are_kept_for_each_other:
        anyone().needs(Need::Controller("cpu")).needs(Need::FileDriver),
    burst_stays_within_the_quota: anyone().needs(Need::Controller("cpu")).rt_only(),
    an_idle_cgroup_gets_its_weight_back: anyone().needs(Need::Controller("cpu")).rt_only(),
    huge_pages_are_limited_with_their_reservations: needs(Need::Controller("hugetlb")),
    unified_values_come_last: anyone().needs(Need::Controller("memory")),
    a_later_update_knows_the_earlier: anyone().needs(Need::Controller("memory")),
    what_cannot_be_is_refused_by_name: rt_only(),
    created_running_and_paused_but_not_stopped: anyone().needs(Need::Controller("pids")),
    without_anything_to_change_nothing_happens,
    a_cgroup_that_was_there_is_updated_and_said_so:
        needs(Need::Controller("pids")).needs(Need::FileDriver).rt_only(),
    rdt_needs_a_group: rt_only(),
    update_without_the_controller_names_it: needs(Need::NoController("memory")).rt_only(),
    an_ordinary_user_without_a_cgroup_is_told: rootless().needs(Need::FileDriver).rt_only(),
}

/// A container that sleeps under these resources.
pub fn up(c: &Case, resources: Value) -> Group {
    let mut b = c.bundle();
    limit(&mut b, resources);
    c.up(b.args(&["/probe", "sleep"]));
    Group::of(c)
}

pub fn limit(b: &mut Bundle, resources: Value) {
    for (key, value) in resources.as_object().unwrap() {
        b.set(&format!("/linux/resources/{key}"), value.clone());
    }
}

pub fn update(c: &Case, args: &[&str]) -> Out {
    c.rt_cmd(&["update"]).args(args).arg(ID).run()
}

pub fn update_with(c: &Case, resources: Value) -> Out {
    c.rt_cmd(&["update", "-r", "-", ID]).input(resources.to_string().as_bytes()).run()
}

fn flags_reach_the_kernel(c: &Case) {
    let g = up(c, json!({"memory": {"limit": 32 * M, "reservation": 24 * M}}));
    g.need(c, &["memory.max", "cpu.max", "pids.max"]);
    for (args, file, value) in [
        (&["--memory", "67108864"][..], "memory.max", "67108864"),
        (&["--memory", "50M"], "memory.max", "52428800"),
        (&["--memory=1g"], "memory.max", "1073741824"),
        (&["--memory", "-1"], "memory.max", "max"),
        (&["--memory-reservation", "33554432"], "memory.low", "33554432"),
        (&["--pids-limit", "10"], "pids.max", "10"),
        (&["--pids-limit", "-1"], "pids.max", "max"),
        (&["--pids-limit", "0"], "pids.max", "1"),
        (&["--cpu-share", "1024"], "cpu.weight", "100"),
        (&["--cpu-share", "2"], "cpu.weight", "1"),
        (&["--cpu-quota", "40000", "--cpu-period", "80000"], "cpu.max", "40000 80000"),
        (&["--cpu-burst", "10000"], "cpu.max.burst", "10000"),
        (&["--cpu-idle", "1"], "cpu.idle", "1"),
    ] {
        update(c, args).ok();
        assert_eq!(g.read(file), value, "{args:?}");
    }
    let out = update(c, &["--kernel-memory", "16M", "--kernel-memory-tcp=1M"]).ok();
    assert!(out.err().contains("Kernel memory settings are ignored"), "{}", out.err());
    c.down();
}

fn cpusets_are_changed(c: &Case) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let g = up(c, json!({"cpu": {"cpus": "0", "mems": "0"}}));
    let last = (cores - 1).to_string();
    update(c, &["--cpuset-cpus", &last]).ok();
    assert_eq!((g.read("cpuset.cpus"), g.read("cpuset.mems")), (last.clone(), "0".into()));
    // In the words of Go, which knows no case.
    update_with(c, json!({"CPU": {"Cpus": "0", "mems": "0"}})).ok();
    assert_eq!(g.read("cpuset.cpus"), "0");
    // Strides are written back, too.
    let bad = json!({"cpu": {"cpus": "0-0:1/2"}, "unified": {"cpuset.nosuchfile": "1"}});
    let out = update_with(c, bad).fails("cpuset.nosuchfile");
    assert!(!out.err().contains("cannot be set back"), "{}", out.err());
    update(c, &["--cpuset-cpus", "4000"]).fails("cpuset.cpus");
    assert_eq!(g.read("cpuset.cpus"), "0");
    c.down();
}

fn io_limits_are_changed(c: &Case) {
    let device = disk();
    let (major, minor) = device.split_once(':').unwrap();
    let one = |rate: u64| {
        json!([{"major": major.parse::<u32>().unwrap(), "minor": minor.parse::<u32>().unwrap(),
                "rate": rate}])
    };
    let g = up(c, json!({"blockIO": {"throttleReadBpsDevice": one(485_760)}}));
    assert_eq!(g.read("io.max"), format!("{device} rbps=485760 wbps=max riops=max wiops=max"));
    let resources = json!({"blockIO": {
        "throttleReadBpsDevice": one(10_485_760), "throttleWriteBpsDevice": one(9_437_184),
        "throttleReadIOPSDevice": one(1000), "throttleWriteIOPSDevice": one(900),
    }});
    update_with(c, resources).ok();
    let all = format!("{device} rbps=10485760 wbps=9437184 riops=1000 wiops=900");
    assert_eq!(g.read("io.max"), all);
    // Taken back: also the line of a device that was there before.
    let bad = json!({"blockIO": {"throttleReadBpsDevice": one(2048)},
                     "unified": {"pids.nosuchfile": "1"}});
    update_with(c, bad).fails("pids.nosuchfile");
    assert_eq!(g.read("io.max"), all);
    update_with(c, json!({"blockIO": {"throttleReadBpsDevice": one(0)}})).ok();
    assert!(g.read("io.max").contains("rbps=max"));
    if ["io.weight", "io.bfq.weight"].iter().any(|file| g.has(file)) {
        update(c, &["--blkio-weight", "10"]).ok();
        let file = if g.has("io.bfq.weight") { "io.bfq.weight" } else { "io.weight" };
        assert!(g.read(file).ends_with(if file == "io.weight" { "default 1" } else { "10" }));
    }
    c.down();
}

/// MAJOR:MINOR of a disk of this machine.
pub fn disk() -> String {
    let disks = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let mut numbers: Vec<_> = disks
        .filter(|disk| disk.path().join("device").exists())
        .filter_map(|disk| fs::read_to_string(disk.path().join("dev")).ok())
        .collect();
    numbers.sort();
    match numbers.first() {
        Some(number) => number.trim().to_string(),
        None => worker::skip("needs a disk"),
    }
}

fn resources_come_from_a_file_or_from_stdin(c: &Case) {
    let g = up(c, json!({}));
    let pids = |limit: u64| json!({"pids": {"limit": limit}}).to_string();
    let path = c.path_str("resources.json");
    fs::write(&path, pids(11)).unwrap();
    update(c, &["--resources", &path]).ok();
    assert_eq!(g.read("pids.max"), "11");
    for (number, args) in [(12, &["-r", "-"][..]), (13, &["--resources=-"]), (14, &["-r=-"])] {
        let cmd = c.rt_cmd(&["update"]).args(args).arg(ID);
        cmd.input(pids(number).as_bytes()).run().ok();
        assert_eq!(g.read("pids.max"), number.to_string());
    }
    // The pipe of an engine.
    let (reader, mut writer) = std::io::pipe().unwrap();
    let running = c.rt_cmd(&["update", "-r", "-", ID]).stdin(reader).spawn();
    std::io::Write::write_all(&mut writer, pids(15).as_bytes()).unwrap();
    drop(writer);
    running.wait().ok();
    assert_eq!(g.read("pids.max"), "15");
    for text in ["", "{", "[]", "{\"pids\":{\"limit\":1}} x", "{\"pids\":{\"limit\":\"1\"}}"] {
        c.rt_cmd(&["update", "-r", "-", ID]).input(text.as_bytes()).run().fails("resources");
    }
    update(c, &["-r", &c.path_str("absent")]).fails("absent");
    if c.is_rt() {
        update(c, &["-r", &path, "--pids-limit", "5"]).fails("--resources");
    }
    assert_eq!(g.read("pids.max"), "15");
    c.down();
}

fn quota_and_period_are_kept_for_each_other(c: &Case) {
    let g = up(c, json!({"cpu": {"quota": 500_000, "period": 1_000_000}}));
    for (args, max) in [
        (&["--cpu-period", "900000"][..], "500000 900000"),
        (&["--cpu-quota", "600000"], "600000 900000"),
        (&["--cpu-quota", "-1"], "max 900000"),
        (&["--cpu-quota", "-1", "--cpu-period", "100000"], "max 100000"),
        (&["--cpu-period", "50000"], "max 50000"),
        (&["--cpu-quota", "30000"], "30000 50000"),
    ] {
        update(c, args).ok();
        assert_eq!(g.read("cpu.max"), max, "{args:?}");
    }
    c.down();
}

fn burst_stays_within_the_quota(c: &Case) {
    let g = up(c, json!({"cpu": {"quota": 50_000, "period": 100_000, "burst": 40_000}}));
    g.need(c, &["cpu.max.burst"]);
    update(c, &["--cpu-quota", "10000"]).fails("cpu.burst");
    assert_eq!(g.read("cpu.max"), "50000 100000");
    // Both down, both up: each needs another order.
    for (quota, burst) in [("10000", "5000"), ("90000", "80000")] {
        update(c, &["--cpu-quota", quota, "--cpu-burst", burst]).ok();
        let now = (g.read("cpu.max"), g.read("cpu.max.burst"));
        assert_eq!(now, (format!("{quota} 100000"), burst.to_string()));
    }
    c.down();
}

fn an_idle_cgroup_gets_its_weight_back(c: &Case) {
    let g = up(c, json!({"cpu": {"shares": 2048}}));
    g.need(c, &["cpu.idle"]);
    let weight = g.read("cpu.weight");
    for idle in ["1", "0", "1"] {
        update(c, &["--cpu-idle", idle]).ok();
        assert_eq!(g.read("cpu.idle"), idle);
    }
    for idle in ["-1", "2"] {
        update(c, &["--cpu-idle", idle]).fails("cpu.idle");
    }
    update(c, &["--cpu-period", "50000"]).ok();
    assert_eq!(g.read("cpu.idle"), "1", "not touched");
    update_with(c, json!({"cpu": {"idle": 0}})).ok();
    assert_eq!(g.read("cpu.weight"), weight);
    // Also when it is taken back, and when the weight was set by the name of its file.
    let bad = json!({"cpu": {"idle": 1}, "unified": {"cpu.nosuchfile": "1"}});
    update_with(c, bad).fails("cpu.nosuchfile");
    assert_eq!((g.read("cpu.idle"), g.read("cpu.weight")), ("0".into(), weight.clone()));
    update_with(c, json!({"unified": {"cpu.weight": "7"}})).ok();
    for idle in ["1", "0"] {
        update_with(c, json!({"unified": {"cpu.idle": idle}})).ok();
    }
    assert_eq!(g.read("cpu.weight"), "7");
    update_with(c, json!({"cpu": {"shares": 2048}})).ok();
    assert_eq!(g.read("cpu.weight"), weight);
    let out = update(c, &["--cpu-idle", "1", "--cpu-share", "200"]).ok();
    assert!(out.err().contains("unable to apply both"), "{}", out.err());
    assert_eq!(g.read("cpu.idle"), "1");
    update(c, &["--cpu-share", "1024"]).ok();
    assert_eq!((g.read("cpu.idle"), g.read("cpu.weight")), ("0".into(), "100".into()));
    c.down();
}

fn huge_pages_are_limited_with_their_reservations(c: &Case) {
    let g = up(c, json!({}));
    g.need(c, &["hugetlb.2MB.max"]);
    let limit = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}]});
    update_with(c, limit).ok();
    for file in ["hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"] {
        assert_eq!(g.read(file), "4194304", "{file}");
    }
    let wrong = json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 4_194_304}]});
    update_with(c, wrong).fails("hugetlb.3MB");
    c.down();
}

fn unified_values_come_last(c: &Case) {
    let g = up(c, json!({"memory": {"limit": 32 * M}}));
    let resources = json!({
        "memory": {"limit": 40 * M},
        "unified": {"memory.max": (48 * M).to_string(), "memory.high": (44 * M).to_string(),
                    "memory.oom.group": "1"},
    });
    update_with(c, resources).ok();
    assert_eq!((g.number("memory.max"), g.number("memory.high")), (48 * M, 44 * M));
    assert_eq!(g.read("memory.oom.group"), "1");
    c.down();
}

fn a_later_update_knows_the_earlier(c: &Case) {
    let g = up(c, json!({"memory": {"limit": 32 * M}}));
    g.need(c, &["memory.swap.max"]);
    update(c, &["--memory", "40M", "--memory-swap", "100M"]).ok();
    update(c, &["--memory", "60M"]).ok();
    assert_eq!(g.number("memory.swap.max"), 40 * M);
    // The configuration as it was created is still the same.
    c.down();
    let g = up(c, json!({"memory": {"limit": 32 * M}}));
    update(c, &["--memory", "60M"]).ok();
    assert_eq!(g.read("memory.swap.max"), "max", "nothing is left of the one before");
    c.down();
}

fn what_cannot_be_is_refused_by_name(c: &Case) {
    up(c, json!({}));
    for (resources, word) in [
        (json!({"cpu": {"realtimeRuntime": 500_001}}), "cpu.realtimeRuntime"),
        (json!({"memory": {"kernel": 4_194_304}}), "memory.kernel"),
        (json!({"network": {"classID": 7}}), "cgroup v2 has no network controller"),
        (json!({"blockIO": {"leafWeight": 10}}), "blockIO.leafWeight"),
        (json!({"cpu": {"period": 100}}), "cpu.period"),
        (json!({"memory": {"limitt": 7}}), "memory.limitt"),
        (json!({"memroy": {}}), "is memory meant?"),
        (json!({"unified": {"cgroup.freeze": "1"}}), "unified[\"cgroup.freeze\"]"),
        (json!({"unified": {"a/b": "1"}}), "unified[\"a/b\"]"),
    ] {
        let out = update_with(c, resources).fails(word);
        assert_eq!(out.err().lines().count(), 1, "{}", out.err());
    }
    update(c, &["--cpu-rt-period", "1000"]).fails("cpu.realtimePeriod");
    c.down();
}

fn created_running_and_paused_but_not_stopped(c: &Case) {
    let mut b = c.bundle();
    c.create(b.args(&["/probe", "sleep"])).ok();
    let g = Group::of(c);
    update(c, &["--pids-limit", "10"]).ok();
    assert_eq!((g.read("pids.max"), c.status()), ("10".into(), "created".into()));
    c.rt(&["start", ID]).ok();
    update(c, &["--pids-limit", "11"]).ok();
    c.rt(&["pause", ID]).ok();
    update(c, &["--pids-limit", "12"]).ok();
    assert_eq!((g.read("pids.max"), c.status()), ("12".into(), "paused".into()));
    c.rt(&["resume", ID]).ok();
    c.rt(&["kill", ID, "KILL"]).ok();
    c.wait_for_status("stopped");
    update(c, &["--pids-limit", "13"]).fails("container not running");
    c.down();
    update(c, &["--pids-limit", "13"]).fails("does not exist");
}

fn without_anything_to_change_nothing_happens(c: &Case) {
    up(c, json!({}));
    update(c, &[]).ok();
    update_with(c, json!({})).ok();
    if c.is_rt() {
        // In the words of Go, which knows no case: no limit is not a limit of 0.
        for pids in [json!({"Pids": {}}), json!({"pids": {"Limit": null}})] {
            assert_eq!(update_with(c, pids).ok().err(), "");
        }
        let out = update_with(c, json!({"memory": {"swappiness": 60}})).ok();
        assert!(out.err().contains("memory.swappiness: 60 is ignored"), "{}", out.err());
    }
    c.down();
}

fn a_cgroup_that_was_there_is_updated_and_said_so(c: &Case) {
    let dir = c.cgroup_dir().unwrap().join(ID);
    fs::create_dir(&dir).unwrap();
    let g = up(c, json!({"pids": {"limit": 20}}));
    let out = update(c, &["--pids-limit", "30"]).ok();
    assert!(out.err().contains("was there before"), "{}", out.err());
    assert_eq!(g.read("pids.max"), "30");
    c.down();
    fs::remove_dir(dir).unwrap();
}

fn rdt_needs_a_group(c: &Case) {
    up(c, json!({}));
    let rdt = fs::exists("/sys/fs/resctrl/info/L3").unwrap();
    let word = if rdt { "non-existent Intel RDT" } else { "not enabled" };
    update(c, &["--l3-cache-schema", "L3:0=f"]).fails(word);
    c.down();
}

fn update_without_the_controller_names_it(c: &Case) {
    up(c, json!({}));
    let out = update(c, &["--memory", "64M"]).fails("memory");
    assert!(out.err().contains("controller memory"), "{}", out.err());
    assert!(out.err().contains("memory.limit in resources"), "{}", out.err());
    c.down();
}

/// The user of the suite of root has no cgroup; that of the other suite may have one.
fn an_ordinary_user_without_a_cgroup_is_told(c: &Case) {
    let mut b = c.bundle();
    c.up(b.args(&["/probe", "sleep"]));
    let out = update(c, &["--memory", "64M"]);
    if out.code != Some(0) {
        let said = ["controller memory", "no cgroup of its own"];
        assert!(said.iter().any(|words| out.err().contains(words)), "{}", out.err());
    }
    c.down();
}
