//! Cgroups: where the container is placed, what it may use.

use crate::support::cmd::wait_until;
use crate::support::{Case, ID, Need};
use crate::tests;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

tests! {
    init_is_in_the_configured_cgroup,
    relative_path_is_below_the_hierarchy,
    default_path_is_not_the_callers_cgroup,
    the_form_of_a_unit_is_the_name_of_a_directory: needs(Need::FileDriver),
    swappiness_is_told_and_ignored,
    no_limit_needs_no_controller: anyone(),
    huge_page_limits_have_64_bits: needs(Need::Controller("hugetlb")).rt_only(),
    a_failed_create_leaves_an_existing_cgroup_as_it_was:
        needs(Need::Controller("hugetlb")).needs(Need::FileDriver).rt_only(),
    deep_path_is_made_and_removed_with_its_parents: rt_only(),
    populated_cgroup_is_refused: except_runc("a warning").except_crun("accepted"),
    existing_empty_cgroup_is_used_but_not_removed: rt_only(),
    device_programs_go_with_their_containers: rt_only(),
    kill_all_reaches_those_in_an_existing_cgroup: rt_only(),
    foreign_processes_are_never_killed: rt_only(),
    memory_limits_are_set: needs(Need::Controller("memory")),
    memory_limit_is_enforced: needs(Need::Controller("memory")),
    cpu_limits_are_set: needs(Need::Controller("cpu")),
    cpuset_is_set: needs(Need::Controller("cpuset")),
    pids_limit_is_set_and_enforced: needs(Need::Controller("pids")),
    io_weight_is_set: needs(Need::Controller("io")),
    unified_values_are_written: needs(Need::Controller("memory")),
    unified_value_of_a_core_file_is_written,
    limit_without_its_controller_is_named: needs(Need::NoController("memory")).rt_only(),
    unified_file_that_does_not_exist_is_named: rt_only(),
    devices_are_denied_by_default: except_crun("needs RLIMIT_MEMLOCK"),
    devices_are_denied_without_rules: except_crun("needs RLIMIT_MEMLOCK"),
    device_rules_allow_in_order: except_crun("needs RLIMIT_MEMLOCK"),
    a_fifo_is_no_device: rt_only(),
    default_devices_stay_allowed: except_crun("needs RLIMIT_MEMLOCK"),
    exec_is_under_the_same_device_rules: except_crun("needs RLIMIT_MEMLOCK"),
    limits_are_in_force_before_the_process_runs: needs(Need::Controller("memory")),
    tiny_memory_limit_starts: needs(Need::Controller("memory")).rt_only(),
    cgroup_is_empty_of_the_runtime_itself,
    cgroup_namespace_shows_the_root,
}

fn dir(c: &Case) -> PathBuf {
    c.cgroup_dir().unwrap().join(ID)
}

#[track_caller]
fn read(c: &Case, file: &str) -> String {
    let path = dir(c).join(file);
    fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        .trim()
        .to_string()
}

/// The v2 line of a process' cgroups.
fn cgroup_of(pid: i32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    text.lines().find_map(|l| l.strip_prefix("0::")).unwrap().to_string()
}

fn init_is_in_the_configured_cgroup(c: &Case) {
    c.create(&c.bundle()).ok();
    assert_eq!(cgroup_of(c.pid()), c.cgroups_path(ID));
    assert_eq!(read(c, "cgroup.procs"), c.pid().to_string());
    c.down();
    assert!(!dir(c).exists());
}

fn relative_path_is_below_the_hierarchy(c: &Case) {
    let mut b = c.bundle();
    let path = c.cgroups_path("relative");
    b.set("/linux/cgroupsPath", json!(path.trim_start_matches('/')));
    c.create(&b).ok();
    assert!(cgroup_of(c.pid()).ends_with(&path), "{}", cgroup_of(c.pid()));
    c.down();
    for below in ["", "/runner"] {
        let dir =
            PathBuf::from(format!("/sys/fs/cgroup{below}{}", path.rsplit_once('/').unwrap().0));
        let _ = fs::remove_dir(dir);
    }
    c.reset_cgroup();
}

fn default_path_is_not_the_callers_cgroup(c: &Case) {
    let id = "box-with-default-cgroup";
    let mut b = c.bundle();
    let dir = b.remove("/linux/cgroupsPath").args(&["/probe", "sleep"]).save();
    c.rt(&["run", "-d", "-b", &dir, id]).ok();
    let pid = c.rt(&["state", id]).ok().json()["pid"].as_i64().unwrap() as i32;
    let cgroup = cgroup_of(pid);
    assert_ne!(cgroup, cgroup_of(std::process::id() as i32));
    assert!(cgroup.contains(id), "{cgroup}");
    c.rt(&["delete", "--force", id]).ok();
    assert!(!PathBuf::from(format!("/sys/fs/cgroup{cgroup}")).exists());
}

/// What containerd's CRI plugin writes when the kubelet has the systemd driver, and it has not.
fn the_form_of_a_unit_is_the_name_of_a_directory(c: &Case) {
    let mut b = c.bundle();
    let name = format!("kubepods-pod1.slice:cri-containerd:{}", c.name.replace("::", "."));
    b.set("/linux/cgroupsPath", json!(name));
    let out = c.create(&b).ok();
    let cgroup = cgroup_of(c.pid());
    assert!(cgroup.ends_with(&format!("/{name}")), "{cgroup}");
    if c.is_rt() {
        assert!(out.err().contains("SystemdCgroup = true"), "{}", out.err());
    }
    c.down();
    assert!(!PathBuf::from(format!("/sys/fs/cgroup{cgroup}")).exists());
    c.reset_cgroup();
}

fn swappiness_is_told_and_ignored(c: &Case) {
    let mut b = c.bundle();
    for swappiness in [0, 60, 100] {
        b.set("/linux/resources/memory", json!({"swappiness": swappiness}));
        let out = c.run(&b).ok();
        if c.is_rt() {
            let told = format!("linux.resources.memory.swappiness: {swappiness} is ignored");
            assert!(out.err().contains(&told), "{}", out.err());
        }
    }
    b.set("/linux/resources/memory", json!({"useHierarchy": false}));
    c.run(&b).ok();
}

/// Also where the controllers are those of cgroup v1, or nobody has delegated them.
fn no_limit_needs_no_controller(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/resources/cpu", json!({"quota": -1, "period": 50_000}));
    b.set("/linux/resources/pids", json!({"limit": -1}));
    b.set("/linux/resources/memory", json!({"limit": -1, "swap": -1}));
    c.run(&b).ok();
}

fn huge_page_limits_have_64_bits(c: &Case) {
    let mut b = c.bundle();
    c.create(&b).ok();
    if !dir(c).join("hugetlb.2MB.max").exists() {
        c.down();
        crate::support::worker::skip("needs hugetlb.2MB.max");
    }
    c.down();
    for (limit, value) in [(json!(u64::MAX), "max"), (json!(2_097_152), "2097152")] {
        let limit = json!([{"pageSize": "2MB", "limit": limit}]);
        c.create(b.set("/linux/resources/hugepageLimits", limit)).ok();
        assert_eq!(read(c, "hugetlb.2MB.max"), value);
        c.down();
    }
}

fn a_failed_create_leaves_an_existing_cgroup_as_it_was(c: &Case) {
    // Made once, so that the controller is enabled above it.
    c.create(&c.bundle()).ok();
    c.down();
    fs::create_dir(dir(c)).unwrap();
    let file = dir(c).join("hugetlb.2MB.max");
    if !file.exists() {
        fs::remove_dir(dir(c)).unwrap();
        crate::support::worker::skip("needs hugetlb.2MB.max");
    }
    fs::write(&file, "4194304").unwrap();
    let limit = |b: &mut crate::support::bundle::Bundle| {
        let limit = json!([{"pageSize": "2MB", "limit": 2_097_152}]);
        b.set("/linux/resources/hugepageLimits", limit);
    };
    // At the next limit, and when the limits are set.
    let mut b = c.bundle();
    limit(&mut b);
    b.set("/linux/resources/unified", json!({"hugetlb.nosuchfile": "1"}));
    c.create(&b).fails("hugetlb.nosuchfile");
    assert_eq!((read(c, "hugetlb.2MB.max"), read(c, "hugetlb.2MB.rsvd.max")), as_it_was());
    let mut b = c.bundle();
    limit(&mut b);
    c.create(b.args(&["/no/such/program"])).fails("/no/such/program");
    assert_eq!((read(c, "hugetlb.2MB.max"), read(c, "hugetlb.2MB.rsvd.max")), as_it_was());
    // One that succeeds has its limits.
    let mut b = c.bundle();
    limit(&mut b);
    c.create(&b).ok();
    assert_eq!(read(c, "hugetlb.2MB.max"), "2097152");
    c.down();
    fs::remove_dir(dir(c)).unwrap();
}

fn as_it_was() -> (String, String) {
    ("4194304".into(), "max".into())
}

fn deep_path_is_made_and_removed_with_its_parents(c: &Case) {
    let mut b = c.bundle();
    let path = c.cgroups_path(&vec!["d"; 39].join("/"));
    c.create(b.set("/linux/cgroupsPath", json!(path))).ok();
    assert_eq!(cgroup_of(c.pid()), path);
    c.down();
    c.nothing_left();
}

/// A process of somebody else in the cgroup that the container is to have.
fn stranger(c: &Case) -> crate::support::cmd::Running {
    fs::create_dir(dir(c)).unwrap();
    let stranger = crate::support::cmd::Cmd::new(&["/bin/sleep", "1000"]).spawn();
    fs::write(dir(c).join("cgroup.procs"), stranger.pid.to_string()).unwrap();
    stranger
}

fn end(c: &Case, stranger: crate::support::cmd::Running) {
    stranger.kill(libc::SIGKILL);
    stranger.wait();
    wait_until("its cgroup is removed", || fs::remove_dir(dir(c)).is_ok());
}

fn populated_cgroup_is_refused(c: &Case) {
    let stranger = stranger(c);
    let out = c.create(&c.bundle()).fails("cgroup is not empty");
    if c.is_rt() {
        assert!(out.err().contains(&format!(": pid {}", stranger.pid)), "{}", out.err());
    }
    assert_eq!(read(c, "cgroup.procs"), stranger.pid.to_string(), "it lives");
    end(c, stranger);
    c.nothing_left();
}

fn device_programs_go_with_their_containers(c: &Case) {
    fs::create_dir(dir(c)).unwrap();
    let mut b = c.bundle();
    b.caps(&["CAP_MKNOD"])
        .set("/root/readonly", json!(false))
        .sh("mknod /n c 10 63; /probe open r /n; rm /n");
    let rule = |allow| json!([{"allow": allow, "access": "rwm"}]);
    // Without a program before it, and then with all of those, of which the kernel takes 64.
    b.set("/linux/resources/devices", rule(true));
    let open = c.run(&b).ok().out();
    assert_ne!(open, "EPERM\n");
    for _ in 0..70 {
        b.set("/linux/resources/devices", rule(false));
        assert_ne!(c.run(&b).ok().out(), open);
    }
    b.set("/linux/resources/devices", rule(true));
    assert_eq!(c.run(&b).ok().out(), open);
    fs::remove_dir(dir(c)).unwrap();
}

fn kill_all_reaches_those_in_an_existing_cgroup(c: &Case) {
    fs::create_dir(dir(c)).unwrap();
    let mut b = c.bundle();
    b.without_namespace("pid").unmount("/proc").remove("/linux/maskedPaths");
    b.remove("/linux/readonlyPaths").sh("sleep 1000 & sleep 1001 & echo ready; exec sleep 1002");
    let out = c.up(&b);
    wait_until("its children run", || out.out() == "ready\n");
    c.rt(&["kill", "--all", ID, "KILL"]).ok();
    wait_until("all are gone", || read(c, "cgroup.procs").is_empty());
    c.rt(&["delete", ID]).ok();
    // The first one also where it has moved to.
    let other = dir(c).with_extension("other");
    fs::create_dir(&other).unwrap();
    let out = c.up(&b);
    wait_until("its children run", || out.out() == "ready\n");
    fs::write(other.join("cgroup.procs"), c.pid().to_string()).unwrap();
    c.rt(&["kill", "--all", ID, "KILL"]).ok();
    wait_until("all are gone", || read(c, "cgroup.procs").is_empty());
    wait_until("the first one, too", || fs::remove_dir(&other).is_ok());
    c.rt(&["delete", ID]).ok();
    // Without --all only the first one ends, and delete tells of the others.
    let out = c.up(&b);
    wait_until("its children run", || out.out() == "ready\n");
    c.rt(&["kill", ID, "KILL"]).ok();
    c.wait_for_status("stopped");
    let err = c.rt(&["delete", ID]).ok().err();
    assert!(err.contains("processes stay in cgroup"), "{err}");
    fs::write(dir(c).join("cgroup.kill"), "1").unwrap();
    wait_until("its cgroup is removed", || fs::remove_dir(dir(c)).is_ok());
}

fn existing_empty_cgroup_is_used_but_not_removed(c: &Case) {
    fs::create_dir(dir(c)).unwrap();
    let out = c.create(&c.bundle());
    if out.code == Some(0) {
        c.down();
        fs::remove_dir(dir(c)).expect("what was there before is there afterwards");
    } else {
        assert!(out.err().contains("cgroup"), "{}", out.err());
        fs::remove_dir(dir(c)).unwrap();
    }
}

fn foreign_processes_are_never_killed(c: &Case) {
    let stranger = stranger(c);
    c.create(&c.bundle()).fails("");
    c.rt(&["delete", "--force", ID]).ok();
    assert!(fs::exists(format!("/proc/{}", stranger.pid)).unwrap());
    assert_eq!(read(c, "cgroup.procs"), stranger.pid.to_string());
    end(c, stranger);
}

#[track_caller]
fn with(c: &Case, resources: Value) {
    let mut b = c.bundle();
    for (key, value) in resources.as_object().unwrap() {
        b.set(&format!("/linux/resources/{key}"), value.clone());
    }
    c.create(b.args(&["/probe", "sleep"])).ok();
}

fn memory_limits_are_set(c: &Case) {
    with(
        c,
        json!({"memory": {"limit": 67_108_864, "reservation": 33_554_432, "swap": 134_217_728}}),
    );
    assert_eq!(read(c, "memory.max"), "67108864");
    assert_eq!(read(c, "memory.low"), "33554432");
    if dir(c).join("memory.swap.max").exists() {
        assert_eq!(read(c, "memory.swap.max"), "67108864", "swap counts memory and swap");
    }
    c.down();
    with(c, json!({"memory": {"limit": -1}}));
    assert_eq!(read(c, "memory.max"), "max");
    c.down();
}

fn memory_limit_is_enforced(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/resources/memory", json!({"limit": 33_554_432, "swap": 33_554_432}));
    assert_eq!(c.run(b.args(&["/probe", "memory", "8"])).ok().out(), "touched 8\n");
    c.run(b.args(&["/probe", "memory", "100"])).exits(137);
}

fn cpu_limits_are_set(c: &Case) {
    with(c, json!({"cpu": {"shares": 1024, "quota": 50_000, "period": 200_000}}));
    assert_eq!(read(c, "cpu.max"), "50000 200000");
    let weight = read(c, "cpu.weight");
    // 1.5 of the spec's text and runc 1.3.2 on: 1024 is the default weight; linear before.
    assert_eq!(weight, if c.is_rt() { "100" } else { "39" });
    c.down();
    with(c, json!({"cpu": {"quota": -1, "shares": 2}}));
    assert_eq!(read(c, "cpu.max"), "max 100000");
    assert_eq!(read(c, "cpu.weight"), "1");
    c.down();
}

fn cpuset_is_set(c: &Case) {
    with(c, json!({"cpu": {"cpus": "0", "mems": "0"}}));
    assert_eq!((read(c, "cpuset.cpus"), read(c, "cpuset.mems")), ("0".into(), "0".into()));
    c.rt(&["start", ID]).ok();
    assert_eq!(
        c.exec(&["/bin/sh", "-c", "grep Cpus_allowed_list /proc/self/status"])
            .ok()
            .out()
            .trim_end(),
        "Cpus_allowed_list:\t0"
    );
    c.down();
}

fn pids_limit_is_set_and_enforced(c: &Case) {
    with(c, json!({"pids": {"limit": 10}}));
    assert_eq!(read(c, "pids.max"), "10");
    c.rt(&["start", ID]).ok();
    // init and the probe itself are two.
    assert_eq!(c.exec(&["/probe", "forks", "50"]).ok().out(), "8\n");
    c.down();
    with(c, json!({"pids": {"limit": -1}}));
    assert_eq!(read(c, "pids.max"), "max");
    c.down();
}

fn io_weight_is_set(c: &Case) {
    let weights = fs::exists(c.cgroup_dir().unwrap().join("io.bfq.weight")).unwrap()
        || fs::exists(c.cgroup_dir().unwrap().join("io.weight")).unwrap();
    if !weights {
        crate::support::worker::skip("needs io.weight or io.bfq.weight");
    }
    with(c, json!({"blockIO": {"weight": 200}}));
    let file = if dir(c).join("io.bfq.weight").exists() { "io.bfq.weight" } else { "io.weight" };
    assert!(read(c, file).starts_with("default "), "{}", read(c, file));
    c.down();
}

fn unified_values_are_written(c: &Case) {
    with(c, json!({"unified": {"memory.high": "50000000", "memory.oom.group": "1"}}));
    assert_eq!(read(c, "memory.high"), (50_000_000 / 4096 * 4096).to_string());
    assert_eq!(read(c, "memory.oom.group"), "1");
    c.down();
}

fn unified_value_of_a_core_file_is_written(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/resources/unified", json!({"cgroup.max.depth": "3"}));
    // The core files belong to the runtime.
    let out = c.create(&b);
    if c.is_rt() {
        out.fails("linux.resources.unified");
        c.nothing_left();
    } else {
        out.ok();
        assert_eq!(read(c, "cgroup.max.depth"), "3");
        c.down();
    }
}

fn limit_without_its_controller_is_named(c: &Case) {
    for (key, value, controller) in [
        ("memory", json!({"limit": 100_000_000}), "memory"),
        ("pids", json!({"limit": 10}), "pids"),
        ("cpu", json!({"quota": 10_000}), "cpu"),
    ] {
        let mut b = c.bundle();
        let out = c.create(b.set(&format!("/linux/resources/{key}"), value)).fails(controller);
        assert!(out.err().contains(&format!("linux.resources.{key}")), "{}", out.err());
        c.nothing_left();
    }
}

fn unified_file_that_does_not_exist_is_named(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/resources/unified", json!({"memory.nosuchfile": "1"}));
    c.create(&b).fails("memory.nosuchfile");
    c.nothing_left();
}

/// `mknod` and `open` of a device inside, with the right to make it.
#[track_caller]
fn try_device(c: &Case, devices: Option<Value>, kind: &str, major: u32, minor: u32) -> String {
    let mut b = c.bundle();
    b.caps(&["CAP_MKNOD"]);
    match devices {
        Some(rules) => b.set("/linux/resources/devices", rules),
        None => b.remove("/linux/resources"),
    };
    b.args(&["/probe", "mknod", kind, &major.to_string(), &minor.to_string(), "/dev/x"]);
    c.run(&b).ok().out().trim().to_string()
}

fn deny_all() -> Value {
    json!({"allow": false, "access": "rwm"})
}

fn devices_are_denied_by_default(c: &Case) {
    // /dev/mem may be made (mknod is in the default list), not opened.
    assert!(try_device(c, Some(json!([deny_all()])), "c", 1, 1).ends_with("EPERM"));
    assert!(try_device(c, Some(json!([deny_all()])), "b", 8, 0).ends_with("EPERM"));
}

fn devices_are_denied_without_rules(c: &Case) {
    assert!(try_device(c, None, "b", 8, 0).ends_with("EPERM"), "GHSA-g54h-m393-cpwq");
    assert!(try_device(c, Some(json!([])), "c", 1, 1).ends_with("EPERM"));
}

fn device_rules_allow_in_order(c: &Case) {
    // A number for local use, without a driver: when it is allowed, the open ends with ENXIO.
    let rule =
        |allow| json!({"allow": allow, "type": "c", "major": 63, "minor": 7, "access": "rwm"});
    let tried = |rules| try_device(c, Some(rules), "c", 63, 7);
    assert_eq!(tried(json!([deny_all()])), "ok EPERM");
    assert_eq!(tried(json!([deny_all(), rule(true)])), "ok ENXIO");
    assert_eq!(tried(json!([deny_all(), rule(true), rule(false)])), "ok EPERM");
}

/// Type `p` is of `linux.devices`, from where engines copy it. No device program ever sees one.
fn a_fifo_is_no_device(c: &Case) {
    let mut b = c.bundle();
    b.set(
        "/linux/resources/devices",
        json!([deny_all(), {"allow": true, "type": "p", "access": "rwm"}]),
    );
    let out = c.run(b.sh("mkfifo /dev/pipe && echo made")).ok();
    assert_eq!(out.out(), "made\n");
    assert!(out.err().contains("a FIFO is no device, and always allowed"), "{}", out.err());
    b.set("/linux/resources/devices", json!([{"allow": false, "type": "p", "access": "rwm"}]));
    c.create(&b).fails("a FIFO cannot be denied");
    c.nothing_left();
}

fn default_devices_stay_allowed(c: &Case) {
    assert_eq!(try_device(c, Some(json!([deny_all()])), "c", 1, 5), "ok ok");
    let mut b = c.bundle();
    b.caps(&["CAP_MKNOD"]).args(&["/probe", "mknod", "c", "10", "200", "/dev/tun"]);
    let out = c.run(&b).ok().out();
    assert!(out.starts_with("ok ") && !out.contains("EPERM"), "tun: {out}");
}

fn exec_is_under_the_same_device_rules(c: &Case) {
    let mut b = c.bundle();
    c.up(b.caps(&["CAP_MKNOD"]).args(&["/probe", "sleep"]));
    let out = c.exec(&["/probe", "mknod", "c", "1", "1", "/dev/x"]).ok().out();
    assert!(out.trim().ends_with("EPERM"), "{out}");
    c.down();
}

fn limits_are_in_force_before_the_process_runs(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/resources/memory", json!({"limit": 16_777_216}));
    b.args(&["/bin/cat", "/sys/fs/cgroup/memory.max"]);
    assert_eq!(c.run(&b).ok().out(), "16777216\n");
}

fn cgroup_is_empty_of_the_runtime_itself(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    assert_eq!(read(c, "cgroup.procs"), c.pid().to_string());
    c.down();
}

fn cgroup_namespace_shows_the_root(c: &Case) {
    let mut b = c.bundle();
    let seen = c.see(&b);
    assert!(seen["cgroup"].as_str().unwrap().lines().any(|l| l == "0::/"));
    let seen = c.see(b.without_namespace("cgroup").unmount("/sys/fs/cgroup"));
    assert!(seen["cgroup"].as_str().unwrap().contains(&c.cgroups_path(ID)), "CVE-2025-47291");
}

fn tiny_memory_limit_starts(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/resources/memory", json!({"limit": 1_048_576}));
    c.run(&b).ok();
}
