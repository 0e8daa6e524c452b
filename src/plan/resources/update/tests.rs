//! Tables: what was set so far, what is given, and what is written.

use super::*;

fn read(json: &str) -> LinuxResources {
    serde_json::from_str(json).expect("resources")
}

fn lines(old: &str, given: &str, now: CpuNow) -> Vec<String> {
    let mut findings = Findings::default();
    let change = plan(&read(old), &read(given), &now, &mut findings);
    let refused = findings.violations.iter().map(|v| format!("refused {}", v.field));
    let settings = change.settings.iter().map(|s| format!("{}={}", s.file, s.value));
    settings.chain(refused).collect()
}

#[test]
fn only_what_is_given_is_written_with_what_belongs_to_it() {
    let old = r#"{"memory":{"limit":100,"swap":300},"cpu":{"shares":1024},"pids":{"limit":9}}"#;
    #[rustfmt::skip]
    let table: &[(&str, &[&str])] = &[
        ("{}", &[]),
        (r#"{"pids":{"limit":0}}"#, &["pids.max=1"]),
        (r#"{"memory":{"limit":200}}"#, &["memory.swap.max=100", "memory.max=200"]),
        (r#"{"memory":{"limit":400}}"#, &["memory.max=400", "refused memory.swap"]),
        (r#"{"memory":{"swap":400}}"#, &["memory.swap.max=300"]),
        (r#"{"memory":{"swap":-1}}"#, &["memory.swap.max=max"]),
        (r#"{"memory":{"limit":-1}}"#, &["memory.swap.max=max", "memory.max=max"]),
        (r#"{"memory":{"limit":0,"reservation":7}}"#, &["memory.low=7"]),
        (r#"{"memory":{"limit":7,"swap":9},"unified":{"memory.max":"8"}}"#, &["memory.swap.max=2", "memory.max=8"]),
        (r#"{"cpu":{"quota":5000}}"#, &["cpu.max=5000 100000"]),
        (r#"{"cpu":{"period":5000}}"#, &["cpu.max=max 5000"]),
        (r#"{"cpu":{"idle":1}}"#, &["cpu.idle=1"]),
        (r#"{"cpu":{"shares":2,"idle":1}}"#, &["cpu.idle=1"]),
        (r#"{"cpu":{"cpus":"0"}}"#, &["cpuset.cpus=0"]),
    ];
    for (given, files) in table {
        assert_eq!(lines(old, given, CpuNow::default()), *files, "{given}");
    }
}

#[test]
fn the_order_fits_what_is_in_force() {
    let now = CpuNow { quota: 50_000, period: 100_000, burst: 20_000, weight: None, idle: true };
    let old = r#"{"cpu":{"shares":1024}}"#;
    #[rustfmt::skip]
    let table: &[(&str, &[&str])] = &[
        (r#"{"cpu":{"shares":2}}"#, &["cpu.idle=0", "cpu.weight=1"]),
        (r#"{"cpu":{"idle":0}}"#, &["cpu.idle=0", "cpu.weight=100"]),
        (r#"{"unified":{"cpu.weight":"8"}}"#, &["cpu.idle=0", "cpu.weight=8"]),
        (r#"{"unified":{"cpu.weight":"8","cpu.idle":"1"}}"#, &["cpu.idle=1"]),
        (r#"{"cpu":{"quota":10000}}"#, &["cpu.max=10000 100000", "cpu.max.burst=20000", "refused cpu.burst"]),
        (r#"{"cpu":{"quota":10000,"burst":0}}"#, &["cpu.max.burst=0", "cpu.max=10000 100000"]),
        (r#"{"cpu":{"quota":90000,"burst":60000}}"#, &["cpu.max=90000 100000", "cpu.max.burst=60000"]),
        (r#"{"cpu":{"burst":30000}}"#, &["cpu.max.burst=30000"]),
        (r#"{"cpu":{"quota":-1}}"#, &["cpu.max=max 100000", "cpu.max.burst=20000"]),
    ];
    for (given, files) in table {
        assert_eq!(lines(old, given, now), *files, "{given}");
    }
}

#[test]
fn what_was_given_earlier_is_kept() {
    let old = read(
        r#"{"memory":{"limit":100,"swap":300},"cpu":{"shares":5,"quota":7000,"idle":1},
            "blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1},
                                                {"major":8,"minor":1,"rate":2}]},
            "unified":{"memory.high":"1","memory.low":"2"}}"#,
    );
    let now = CpuNow { idle: true, ..CpuNow::default() };
    let merged = |given: &str| serde_json::to_value(merge(&old, &read(given), &now)).expect("JSON");
    assert_eq!(merged("{}"), serde_json::to_value(&old).expect("JSON"));
    let all = merged(r#"{"memory":{"limit":200},"cpu":{"shares":6,"quota":0,"mems":""}}"#);
    assert_eq!(all["memory"], serde_json::json!({"limit": 200, "swap": 300}));
    assert_eq!(all["cpu"], serde_json::json!({"shares": 6, "quota": 7000}));
    assert_eq!(merged(r#"{"memory":{"limit":-1}}"#)["memory"], serde_json::json!({"limit": -1}));
    let all = merged(
        r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":3}]},
            "unified":{"memory.high":"3"}}"#,
    );
    let rates: Vec<_> = all["blockIO"]["throttleReadBpsDevice"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|device| device["rate"].as_u64())
        .collect();
    assert_eq!(rates, [Some(2), Some(3)]);
    assert_eq!(all["unified"], serde_json::json!({"memory.high": "3", "memory.low": "2"}));
    let all = merged(r#"{"memory":{"reservation":7}}"#);
    assert_eq!(all["unified"], serde_json::json!({"memory.high": "1"}));
}

#[test]
fn devices_are_only_touched_when_they_change() {
    let rules = r#"{"devices":[{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]}"#;
    let change = |old: &str, given: &str| {
        plan(&read(old), &read(given), &CpuNow::default(), &mut Findings::default()).devices
    };
    assert!(change(rules, "{}").is_none() && change(rules, rules).is_none());
    assert!(change("{}", rules).is_some_and(|rules| rules.len() > 1));
    assert!(change(rules, r#"{"devices":[]}"#).is_some());
}

#[test]
fn what_was_only_completed_never_replaces_what_was_named() {
    let old = r#"{"memory":{"limit":100,"swap":300},"cpu":{"period":20000},
        "unified":{"memory.swap.max":"50","cpu.max":"max 30000"}}"#;
    for (given, files) in [
        (r#"{"memory":{"limit":200}}"#, &["memory.max=200"][..]),
        // Also where the sum would not fit: it is not in force.
        (r#"{"memory":{"limit":400}}"#, &["memory.max=400"]),
        (r#"{"memory":{"limit":-1}}"#, &["memory.max=max"]),
        (r#"{"memory":{"limit":200,"swap":300}}"#, &["memory.swap.max=100", "memory.max=200"]),
        (r#"{"memory":{"swap":400}}"#, &["memory.swap.max=300"]),
        (r#"{"cpu":{"burst":7}}"#, &["cpu.max.burst=7"]),
    ] {
        assert_eq!(lines(old, given, CpuNow::default()), files, "{given}");
        let merged = merge(&read(old), &read(given), &CpuNow::default());
        let stays = !files.iter().any(|file| file.starts_with("memory.swap.max"));
        assert_eq!(named(&merged, "memory.swap.max").is_some(), stays, "{given}");
        assert_eq!(named(&merged, "cpu.max"), Some("max 30000"), "{given}");
    }
    // The sum is one with the limit in force.
    let old = r#"{"memory":{"limit":100},"unified":{"memory.max":"200"}}"#;
    let swap = r#"{"memory":{"swap":500}}"#;
    assert_eq!(lines(old, swap, CpuNow::default()), ["memory.swap.max=300"]);
    let old = r#"{"memory":{"limit":100},"unified":{"memory.max":"max"}}"#;
    assert_eq!(lines(old, swap, CpuNow::default()), ["memory.swap.max=500"]);
}

#[test]
fn a_weight_comes_back_when_the_cgroup_is_idle_no_more() {
    let idle = CpuNow { idle: true, ..CpuNow::default() };
    for (old, given, files) in [
        (
            r#"{"cpu":{"shares":512}}"#,
            r#"{"cpu":{"idle":0}}"#,
            &["cpu.idle=0", "cpu.weight=59"][..],
        ),
        (
            r#"{"cpu":{"shares":512}}"#,
            r#"{"unified":{"cpu.idle":"0x0"}}"#,
            &["cpu.idle=0x0", "cpu.weight=59"],
        ),
        (
            r#"{"cpu":{"shares":512},"unified":{"cpu.weight":"8"}}"#,
            r#"{"cpu":{"idle":0}}"#,
            &["cpu.idle=0", "cpu.weight=8"],
        ),
        ("{}", r#"{"cpu":{"idle":0}}"#, &["cpu.idle=0"]),
        (r#"{"cpu":{"shares":512}}"#, r#"{"cpu":{"idle":1}}"#, &["cpu.idle=1"]),
    ] {
        assert_eq!(lines(old, given, idle), files, "{old} {given}");
    }
    // It is still known after the second change.
    let old = read(r#"{"unified":{"cpu.weight":"8","cpu.idle":"1"}}"#);
    let merged = merge(&old, &read(r#"{"cpu":{"idle":0}}"#), &idle);
    assert_eq!((named(&merged, "cpu.weight"), named(&merged, "cpu.idle")), (Some("8"), None));
    // One that only the kernel knows, as a hook has set it, is kept.
    let busy = CpuNow { weight: Some(7), ..CpuNow::default() };
    let merged = merge(&read("{}"), &read(r#"{"cpu":{"idle":1}}"#), &busy);
    assert_eq!(named(&merged, "cpu.weight"), Some("7"));
    let merged = merge(&read(r#"{"cpu":{"shares":2}}"#), &read(r#"{"cpu":{"idle":1}}"#), &busy);
    assert_eq!(named(&merged, "cpu.weight"), None);
}

#[test]
fn a_quota_without_a_period_has_that_of_the_configuration() {
    let old = r#"{"cpu":{"period":20000}}"#;
    let by_name = r#"{"cpu":{"period":20000},"unified":{"cpu.max":"max 30000"}}"#;
    // As systemd leaves it after a reload.
    let none = CpuNow::default();
    let some = CpuNow { quota: 5000, period: 40_000, ..none };
    for (old, given, now, max) in [
        (old, r#"{"cpu":{"quota":5000}}"#, none, "5000 20000"),
        (by_name, r#"{"cpu":{"quota":5000}}"#, none, "5000 30000"),
        (old, r#"{"cpu":{"quota":5000}}"#, some, "5000 40000"),
        (old, r#"{"cpu":{"quota":5000,"period":10000}}"#, none, "5000 10000"),
        (old, r#"{"unified":{"cpu.max":"5000"}}"#, none, "5000 20000"),
        (old, r#"{"unified":{"cpu.max":"max"}}"#, some, "max 40000"),
        // The kernel is to refuse it.
        (old, r#"{"unified":{"cpu.max":"0"}}"#, some, "0"),
    ] {
        assert_eq!(lines(old, given, now), [format!("cpu.max={max}")], "{given}");
    }
}

#[test]
fn memory_is_compared_however_its_limit_is_written() {
    let check = |old: &str, given: &str| {
        plan(&read(old), &read(given), &CpuNow::default(), &mut Findings::default()).check
    };
    let both = |with_swap, swap| Some(Check { with_swap, swap });
    let old = r#"{"memory":{"limit":100,"checkBeforeUpdate":true}}"#;
    for (given, expected) in [
        (r#"{"memory":{"limit":50}}"#, both(None, None)),
        (r#"{"memory":{"swap":150}}"#, both(Some(150), Some(50))),
        (r#"{"memory":{"limit":50,"swap":150}}"#, both(Some(150), Some(100))),
        (r#"{"unified":{"memory.max":"1K"}}"#, both(None, None)),
        (r#"{"unified":{"memory.swap.max":"1K"}}"#, both(None, Some(1024))),
        (r#"{"unified":{"memory.swap.max":"max"}}"#, both(None, None)),
        (r#"{"memory":{"limit":50,"checkBeforeUpdate":false}}"#, None),
        (r#"{"pids":{"limit":5}}"#, None),
    ] {
        assert_eq!(check(old, given), expected, "{given}");
    }
    assert_eq!(check("{}", r#"{"memory":{"limit":50}}"#), None);
    let given = r#"{"memory":{"checkBeforeUpdate":true},"unified":{"memory.max":"1K"}}"#;
    assert_eq!(check("{}", given), both(None, None));
}
