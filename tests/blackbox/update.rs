//! `update`: limits of a container that runs, read back from the kernel.

use crate::support::bundle::Bundle;
use crate::support::cgroup::Group;
use crate::support::cmd::{Out, wait_until};
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
    quota_and_period_are_kept_for_each_other: anyone().needs(Need::Controller("cpu")),
    burst_stays_within_the_quota: anyone().needs(Need::Controller("cpu")).rt_only(),
    an_idle_cgroup_gets_its_weight_back: anyone().needs(Need::Controller("cpu")).rt_only(),
    swap_is_counted_with_memory: anyone().needs(Need::Controller("memory")),
    huge_pages_are_limited_with_their_reservations: needs(Need::Controller("hugetlb")),
    unified_values_come_last: anyone().needs(Need::Controller("memory")),
    all_or_nothing: anyone().needs(Need::Controller("memory")).rt_only(),
    a_failing_call_changes_nothing:
        anyone().needs(Need::Controller("memory")).needs(Need::Tool("strace")).rt_only().takes(240),
    a_state_that_cannot_be_kept_changes_nothing: anyone().needs(Need::Controller("pids")).rt_only(),
    a_later_update_knows_the_earlier: anyone().needs(Need::Controller("memory")),
    what_cannot_be_is_refused_by_name: rt_only(),
    created_running_and_paused_but_not_stopped: anyone().needs(Need::Controller("pids")),
    without_anything_to_change_nothing_happens,
    devices_are_replaced_when_they_are_given: rt_only(),
    devices_that_stay_the_same_are_left_alone: needs(Need::Tool("strace")).rt_only(),
    a_cgroup_that_was_there_is_updated_and_said_so:
        needs(Need::Controller("pids")).needs(Need::FileDriver).rt_only(),
    rdt_needs_a_group: rt_only(),
    page_cache_goes_before_processes: anyone().needs(Need::Controller("memory")).takes(180).rt_only(),
    a_limit_below_what_is_in_use_is_rejected_when_asked: anyone().needs(Need::Controller("memory")).rt_only(),
    a_limit_that_cannot_be_met_kills: anyone().needs(Need::Controller("memory")).rt_only(),
    update_without_the_controller_names_it: needs(Need::NoController("memory")).rt_only(),
    an_ordinary_user_without_a_cgroup_is_told: rootless().needs(Need::FileDriver).rt_only(),
}

/// A container that sleeps under these resources.
fn up(c: &Case, resources: Value) -> Group {
    let mut b = c.bundle();
    limit(&mut b, resources);
    c.up(b.args(&["/probe", "sleep"]));
    Group::of(c)
}

fn limit(b: &mut Bundle, resources: Value) {
    for (key, value) in resources.as_object().unwrap() {
        b.set(&format!("/linux/resources/{key}"), value.clone());
    }
}

fn update(c: &Case, args: &[&str]) -> Out {
    c.rt_cmd(&["update"]).args(args).arg(ID).run()
}

fn update_with(c: &Case, resources: Value) -> Out {
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
    let out = update(c, &["--cpu-idle", "1", "--cpu-share", "200"]).ok();
    assert!(out.err().contains("unable to apply both"), "{}", out.err());
    assert_eq!(g.read("cpu.idle"), "1");
    update(c, &["--cpu-share", "1024"]).ok();
    assert_eq!((g.read("cpu.idle"), g.read("cpu.weight")), ("0".into(), "100".into()));
    c.down();
}

fn swap_is_counted_with_memory(c: &Case) {
    let g = up(c, json!({"memory": {"limit": 32 * M, "swap": 80 * M}}));
    g.need(c, &["memory.swap.max"]);
    for (args, memory, swap) in [
        (&["--memory", "50M"][..], 50 * M, (30 * M).to_string()),
        (&["--memory-swap", "-1"], 50 * M, "max".into()),
        (&["--memory", "30M", "--memory-swap", "50M"], 30 * M, (20 * M).to_string()),
        (&["--memory", "60M", "--memory-swap", "80M"], 60 * M, (20 * M).to_string()),
    ] {
        update(c, args).ok();
        let now = (g.number("memory.max"), g.read("memory.swap.max"));
        assert_eq!(now, (memory, swap), "{args:?}");
    }
    update(c, &["--memory", "90M"]).fails("swap");
    update(c, &["--memory", "-1"]).ok();
    assert_eq!((g.read("memory.max"), g.read("memory.swap.max")), ("max".into(), "max".into()));
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
    let calls = [("write", 12), ("openat2", 30), ("renameat", 1), ("pread64", 2)];
    for (call, count) in calls {
        for occurrence in 1..=count {
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
    assert!(failed > 12, "{failed} faults had an effect");
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
        (json!({"memory": {"swappiness": 10}}), "memory.swappiness"),
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

/// A directory on a disk: what is in memory of it can be dropped.
pub fn on_disk(c: &Case) -> std::path::PathBuf {
    let dir = std::path::PathBuf::from(format!("/var/tmp/{}", c.name.replace("::", ".")));
    fs::create_dir_all(&dir).unwrap();
    let kind = nix::sys::statfs::statfs(&dir).unwrap().filesystem_type();
    if [nix::sys::statfs::TMPFS_MAGIC, nix::sys::statfs::OVERLAYFS_SUPER_MAGIC].contains(&kind) {
        let _ = fs::remove_dir_all(&dir);
        worker::skip("needs /var/tmp on a disk");
    }
    dir
}

fn page_cache_goes_before_processes(c: &Case) {
    let dir = on_disk(c);
    fs::write(dir.join("data"), vec![b'x'; (64 * M) as usize]).unwrap();
    // Not in memory on our account.
    let file = fs::File::open(dir.join("data")).unwrap();
    file.sync_all().unwrap();
    nix::fcntl::posix_fadvise(&file, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED)
        .unwrap();
    let mut b = c.bundle();
    limit(&mut b, json!({"memory": {"limit": 200 * M, "swap": 200 * M}}));
    b.mount("/data", "bind", &dir.to_string_lossy(), &["bind", "ro"]);
    c.up(b.sh("while :; do cat /data/data >/dev/null; echo read; done"));
    let g = Group::of(c);
    wait_until("the file is in memory", || g.number("memory.current") > 60 * M);
    update(c, &["--memory", "24M", "--memory-swap", "24M"]).seconds_ok();
    assert_eq!((g.number("memory.max"), g.read("memory.high")), (24 * M, "max".into()));
    assert!(g.number("memory.current") <= 24 * M);
    assert_eq!((g.value("memory.events", "oom_kill"), c.status()), (0, "running".into()));
    c.down();
    fs::remove_dir_all(dir).unwrap();
}

trait SecondsOk {
    fn seconds_ok(self) -> Self;
}

impl SecondsOk for Out {
    /// Succeeds within the deadline of reclaiming, with some time to spare.
    #[track_caller]
    fn seconds_ok(self) -> Self {
        let out = self.ok();
        let most = crate::support::cmd::scaled(std::time::Duration::from_secs(12));
        assert!(out.took < most, "{:?}", out.took);
        out
    }
}

/// A container that holds memory which cannot be reclaimed.
fn up_with_memory(c: &Case) -> Group {
    let mut b = c.bundle();
    limit(&mut b, json!({"memory": {"limit": 200 * M, "swap": 200 * M}}));
    c.up(b.args(&["/probe", "hold", "32"]));
    let g = Group::of(c);
    wait_until("it holds memory", || g.number("memory.current") > 32 * M);
    g
}

fn a_limit_below_what_is_in_use_is_rejected_when_asked(c: &Case) {
    let g = up_with_memory(c);
    for (memory, words) in [
        (json!({"limit": 1024, "checkBeforeUpdate": true}), "rejecting memory limit"),
        (
            json!({"limit": 1024, "swap": 2048, "checkBeforeUpdate": true}),
            "rejecting memory+swap limit",
        ),
    ] {
        update_with(c, json!({"memory": memory, "pids": {"limit": 7}})).fails(words);
        assert_eq!((g.number("memory.max"), g.read("memory.high")), (200 * M, "max".into()));
        assert_eq!((g.read("pids.max"), c.status()), ("max".into(), "running".into()));
    }
    update_with(c, json!({"memory": {"limit": 100 * M, "checkBeforeUpdate": true}})).ok();
    assert_eq!(g.number("memory.max"), 100 * M);
    c.down();
}

fn a_limit_that_cannot_be_met_kills(c: &Case) {
    up_with_memory(c);
    update(c, &["--memory", "1024"]).seconds_ok();
    c.wait_for_status("stopped");
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
