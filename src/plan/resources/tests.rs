//! Tables: a piece of `linux.resources`, and what becomes of it.

use super::*;

fn planned(resources: &str) -> (Vec<Setting>, Vec<String>) {
    let given: LinuxResources = serde_json::from_str(resources).expect("resources");
    let mut findings = Findings::default();
    let settings = settings(&given, &Field::root(), &mut findings);
    (settings, findings.violations.iter().map(|v| v.field.to_string()).collect())
}

fn lines(resources: &str) -> Vec<String> {
    let (settings, refused) = planned(resources);
    assert!(refused.is_empty(), "{resources}: {refused:?}");
    settings.iter().map(|s| format!("{}={}", s.file, s.value)).collect()
}

#[test]
fn values_become_files_in_a_working_order() {
    #[rustfmt::skip]
    let table: &[(&str, &[&str])] = &[
        (r#"{}"#, &[]),
        (r#"{"memory":{}}"#, &[]),
        (r#"{"memory":{"limit":1048576}}"#, &["memory.max=1048576"]),
        (r#"{"memory":{"limit":-1}}"#, &["memory.max=max", "memory.swap.max=max"]),
        (r#"{"memory":{"limit":100,"swap":300,"reservation":50}}"#, &["memory.max=100", "memory.swap.max=200", "memory.low=50"]),
        (r#"{"memory":{"limit":100,"swap":100}}"#, &["memory.max=100", "memory.swap.max=0"]),
        (r#"{"memory":{"limit":100,"swap":-1}}"#, &["memory.max=100", "memory.swap.max=max"]),
        (r#"{"memory":{"swap":-1}}"#, &["memory.swap.max=max"]),
        // What Docker and Podman send without being asked.
        (r#"{"memory":{"limit":0,"swap":0,"kernel":0,"kernelTCP":-1,"swappiness":18446744073709551615,"disableOOMKiller":false,"useHierarchy":true,"checkBeforeUpdate":false}}"#, &[]),
        // What tools send on that make a container anew.
        (r#"{"memory":{"swappiness":0}}"#, &[]),
        (r#"{"memory":{"swappiness":60,"useHierarchy":false}}"#, &[]),
        (r#"{"memory":{"limit":-1,"swap":99}}"#, &["memory.max=max", "memory.swap.max=99"]),
        (r#"{"cpu":{"shares":0,"quota":0,"period":0,"cpus":"","mems":"","realtimeRuntime":0,"realtimePeriod":0}}"#, &[]),
        (r#"{"cpu":{"shares":1024}}"#, &["cpu.weight=100"]),
        (r#"{"cpu":{"shares":512,"idle":1}}"#, &["cpu.weight=59", "cpu.idle=1"]),
        (r#"{"cpu":{"quota":50000}}"#, &["cpu.max=50000 100000"]),
        (r#"{"cpu":{"quota":-1,"period":20000}}"#, &["cpu.max=max 20000"]),
        (r#"{"cpu":{"period":20000}}"#, &["cpu.max=max 20000"]),
        (r#"{"cpu":{"quota":5000,"period":20000,"burst":1000}}"#, &["cpu.max=5000 20000", "cpu.max.burst=1000"]),
        (r#"{"cpu":{"cpus":"0-3,7","mems":"0"}}"#, &["cpuset.cpus=0-3,7", "cpuset.mems=0"]),
        (r#"{"pids":{"limit":10}}"#, &["pids.max=10"]),
        (r#"{"pids":{"limit":-1}}"#, &["pids.max=max"]),
        (r#"{"pids":{"limit":0}}"#, &["pids.max=1"]),
        (r#"{"blockIO":{"weight":0,"leafWeight":0}}"#, &[]),
        (r#"{"blockIO":{"weight":500,"weightDevice":[{"major":8,"minor":0,"weight":10}]}}"#, &["io.bfq.weight=500", "io.bfq.weight=8:0 10"]),
        (r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":16,"rate":600}],"throttleWriteBpsDevice":[{"major":8,"minor":16,"rate":0}],"throttleReadIOPSDevice":[{"major":8,"minor":16,"rate":7}],"throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":8}]}}"#,
            &["io.max=8:16 rbps=600", "io.max=8:16 wbps=max", "io.max=8:16 riops=7", "io.max=8:16 wiops=8"]),
        (r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4096}]}"#, &["hugetlb.2MB.max=4096", "hugetlb.2MB.rsvd.max=4096"]),
        (r#"{"rdma":{"mlx5_1":{"hcaHandles":3},"mlx4_0":{"hcaHandles":1,"hcaObjects":2},"none":{}}}"#, &["rdma.max=mlx4_0 hca_handle=1 hca_object=2", "rdma.max=mlx5_1 hca_handle=3"]),
        (r#"{"network":{"classID":0,"priorities":[]}}"#, &[]),
        (r#"{"unified":{"pids.max":"0x0"}}"#, &["pids.max=1"]),
        (r#"{"unified":{"cpu.idle":"1","cpu.weight":"8"}}"#, &["cpu.weight=8", "cpu.idle=1"]),
        (r#"{"unified":{"pids.max":"5","memory.high":"1G","io.max":"8:0 rbps=1"},"pids":{"limit":3}}"#, &["pids.max=3", "io.max=8:0 rbps=1", "memory.high=1G", "pids.max=5"]),
    ];
    for (resources, expected) in table {
        assert_eq!(lines(resources), *expected, "{resources}");
    }
}

#[test]
fn what_cannot_be_applied_is_refused_by_name() {
    for (resources, field) in [
        (r#"{"memory":{"limit":-2}}"#, "memory.limit"),
        (r#"{"memory":{"limit":100,"swap":99}}"#, "memory.swap"),
        (r#"{"memory":{"limit":100,"swap":-2}}"#, "memory.swap"),
        (r#"{"memory":{"swap":99}}"#, "memory.swap"),
        (r#"{"memory":{"limit":-1,"swap":-2}}"#, "memory.swap"),
        (r#"{"memory":{"reservation":-5}}"#, "memory.reservation"),
        (r#"{"memory":{"kernel":1024}}"#, "memory.kernel"),
        (r#"{"memory":{"kernelTCP":1024}}"#, "memory.kernelTCP"),
        (r#"{"memory":{"disableOOMKiller":true}}"#, "memory.disableOOMKiller"),
        (r#"{"cpu":{"period":1}}"#, "cpu.period"),
        (r#"{"cpu":{"quota":-2}}"#, "cpu.quota"),
        (r#"{"cpu":{"quota":5000,"burst":5001}}"#, "cpu.burst"),
        (r#"{"cpu":{"idle":2}}"#, "cpu.idle"),
        (r#"{"cpu":{"realtimeRuntime":950000}}"#, "cpu.realtimeRuntime"),
        (r#"{"cpu":{"realtimePeriod":1000000}}"#, "cpu.realtimePeriod"),
        (r#"{"cpu":{"cpus":"0\n1"}}"#, "cpu.cpus"),
        (r#"{"cpu":{"mems":"all"}}"#, "cpu.mems"),
        (r#"{"pids":{"limit":-2}}"#, "pids.limit"),
        (r#"{"blockIO":{"weight":9}}"#, "blockIO.weight"),
        (r#"{"blockIO":{"leafWeight":100}}"#, "blockIO.leafWeight"),
        (
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"leafWeight":100}]}}"#,
            "blockIO.weightDevice[0].leafWeight",
        ),
        (
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":-1,"minor":0,"rate":1}]}}"#,
            "blockIO.throttleReadBpsDevice[0].major",
        ),
        (r#"{"hugepageLimits":[{"pageSize":"../../x","limit":1}]}"#, "hugepageLimits[0].pageSize"),
        (r#"{"hugepageLimits":[{"pageSize":"02MB","limit":1}]}"#, "hugepageLimits[0].pageSize"),
        (r#"{"hugepageLimits":[{"pageSize":"2MB","limit":-1}]}"#, "hugepageLimits[0].limit"),
        (r#"{"rdma":{"../x":{"hcaHandles":3}}}"#, "rdma[\"../x\"]"),
        (r#"{"network":{"classID":1}}"#, "network.classID"),
        (r#"{"network":{"priorities":[{"name":"eth0","priority":1}]}}"#, "network.priorities"),
        (r#"{"unified":{"../cgroup.kill":"1"}}"#, "unified[\"../cgroup.kill\"]"),
        (r#"{"unified":{"cgroup.procs":"1"}}"#, "unified[\"cgroup.procs\"]"),
        (r#"{"unified":{"memory./x":"1"}}"#, "unified[\"memory./x\"]"),
        (r#"{"unified":{"memory":"1"}}"#, "unified.memory"),
        (r#"{"unified":{"memory.max\n":"1"}}"#, "unified[\"memory.max\\n\"]"),
        (r#"{"unified":{"memory.max":"1\t2"}}"#, "unified[\"memory.max\"]"),
        (r#"{"unified":{"memory.max":""}}"#, "unified[\"memory.max\"]"),
    ] {
        assert_eq!(planned(resources).1, [field], "{resources}");
    }
}

/// What cgroup v2 does not have and what limits nothing is told, and the container starts.
#[test]
fn what_is_ignored_is_told() {
    for (resources, notice) in [
        (r#"{"memory":{"swappiness":60}}"#, "memory.swappiness: 60 is ignored"),
        (r#"{"memory":{"swappiness":0}}"#, "memory.swappiness: 0 is ignored"),
        (r#"{"memory":{"useHierarchy":false}}"#, "memory.useHierarchy: false is ignored"),
    ] {
        let given: LinuxResources = serde_json::from_str(resources).expect("resources");
        let mut findings = Findings::default();
        settings(&given, &Field::root(), &mut findings);
        assert!(findings.violations.is_empty(), "{resources}");
        assert_eq!(findings.notices.len(), 1, "{resources}");
        assert!(findings.notices[0].starts_with(notice), "{:?}", findings.notices);
    }
}

/// No limit needs no controller: a hybrid host has the controllers of v1 elsewhere.
#[test]
fn what_limits_nothing_may_be_without_its_file() {
    for resources in [
        r#"{"cpu":{"quota":-1}}"#,
        r#"{"cpu":{"period":20000}}"#,
        r#"{"cpu":{"idle":0}}"#,
        r#"{"cpu":{"burst":0}}"#,
        r#"{"memory":{"limit":-1}}"#,
        r#"{"memory":{"swap":-1}}"#,
        r#"{"pids":{"limit":-1}}"#,
    ] {
        let (settings, _) = planned(resources);
        assert!(!settings.is_empty(), "{resources}");
        for setting in settings {
            assert_eq!(setting.otherwise, Otherwise::Skip, "{resources}: {}", setting.file);
        }
    }
    for resources in [
        r#"{"cpu":{"quota":5000}}"#,
        r#"{"cpu":{"idle":1}}"#,
        r#"{"cpu":{"quota":5000,"burst":1000}}"#,
        r#"{"memory":{"limit":1}}"#,
        r#"{"memory":{"reservation":-1}}"#,
        r#"{"pids":{"limit":0}}"#,
    ] {
        let (settings, _) = planned(resources);
        let all = settings.iter().all(|setting| setting.otherwise == Otherwise::Fail);
        assert!(all && !settings.is_empty(), "{resources}");
    }
}

#[test]
fn shares_become_weights_by_the_agreed_formula() {
    for (shares, weight) in [
        (1, 1),
        (2, 1),
        (3, 2),
        (10, 4),
        (100, 17),
        (512, 59),
        (1024, 100),
        (1025, 101),
        (2048, 174),
        (10_000, 627),
        (262_143, 10_000),
        (262_144, 10_000),
        (u64::MAX, 10_000),
    ] {
        assert_eq!(weight_of_shares(shares), weight, "{shares}");
    }
}

#[test]
fn a_missing_file_is_no_failure_where_the_kernel_does_the_same_without() {
    let (settings, _) = planned(r#"{"memory":{"limit":100,"swap":100},"blockIO":{"weight":1000}}"#);
    assert_eq!(settings[1].otherwise, Otherwise::Skip);
    let Otherwise::Write { file, value } = &settings[2].otherwise else { panic!("io.weight") };
    assert_eq!((file.as_str(), value.as_str()), ("io.weight", "10000"));
    assert_eq!(settings[2].controller, "io");
}
