//! `linux.netDevices`: devices of the host in the container's network namespace.

use crate::support::cmd::{Cmd, wait_until};
use crate::support::{Bundle, Case, ID, Need, sys};
use crate::tests;
use serde_json::{Value, json};

const IP: Need = Need::Tool("ip");

tests! {
    device_moves_with_its_addresses: needs(IP).rt_only(),
    device_that_was_down_is_up: needs(IP).rt_only(),
    kernel_chooses_the_number_of_a_template: needs(IP).rt_only(),
    device_moves_into_a_joined_namespace: needs(IP).rt_only(),
    device_moves_into_a_users_namespace: needs(IP).needs(Need::UserNamespace).rt_only(),
    device_is_there_before_the_hooks: needs(IP).rt_only(),
    missing_device_fails: needs(IP).rt_only(),
    name_that_is_taken_fails: needs(IP).rt_only(),
    device_that_cannot_move_fails: needs(IP).rt_only(),
    failed_create_gives_devices_back: needs(IP).rt_only(),
    devices_need_a_network_namespace: rt_only(),
    ordinary_users_move_no_devices: rootless().rt_only(),
}

fn ip(line: &str) -> String {
    let args: Vec<_> = line.split(' ').collect();
    Cmd::new(&["ip"]).args(&args).run().ok().out()
}

/// A host of our own: a network namespace with a pair of devices, v0 and v1.
fn host(c: &Case, devices: Value) -> Bundle {
    sys::unshare(libc::CLONE_NEWNET).expect("unshare the network namespace");
    ip("link add v0 type veth peer name v1");
    ip("addr add 10.1.2.3/24 brd + dev v0");
    ip("-6 addr add fd00::1/64 dev v0 nodad");
    ip("link set v0 up");
    let mut b = c.bundle();
    b.set("/linux/netDevices", devices);
    b
}

/// What the container says of its devices.
#[track_caller]
fn inside(c: &Case, b: &mut Bundle) -> String {
    c.run(b.args(&["/bin/busybox", "ip", "addr"])).ok().out()
}

#[track_caller]
fn v0_is_as_it_was() {
    let shown = ip("addr show v0");
    for part in ["10.1.2.3/24 brd 10.1.2.255", "fd00::1/64", ",UP"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

fn device_moves_with_its_addresses(c: &Case) {
    let mut b = host(c, json!({"v0": {"name": "eth0"}}));
    ip("addr add 10.9.9.9/32 dev v0 scope link");
    let seen = inside(c, &mut b);
    for part in [" eth0@", ",UP", "inet 10.1.2.3/24 brd 10.1.2.255 scope global", "fd00::1/64"] {
        assert!(seen.contains(part), "{part} in {seen}");
    }
    assert!(!seen.contains("10.9.9.9") && !seen.contains("v0"), "{seen}");
    assert!(!ip("link").contains("v0"));
}

fn device_that_was_down_is_up(c: &Case) {
    let mut b = host(c, json!({"v0": {}, "v1": {}}));
    ip("link set v0 down");
    let seen = c.see(b.args(&["/probe", "see"]))["interfaces"].clone();
    for name in ["lo", "v0", "v1"] {
        assert_eq!(seen[name].as_i64().unwrap() & i64::from(libc::IFF_UP), 1, "{seen}");
    }
}

fn kernel_chooses_the_number_of_a_template(c: &Case) {
    let b = host(c, json!({"v0": {"name": "net%d"}, "v1": {"name": "net%d"}}));
    let seen = c.see(&b)["interfaces"].clone();
    let names: Vec<_> = seen.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["lo", "net0", "net1"]);
}

fn device_moves_into_a_joined_namespace(c: &Case) {
    let mut b = host(c, json!({"v0": {"name": "eth0"}}));
    let other = Cmd::new(&["unshare", "-n", "sleep", "60"]).spawn();
    let path = format!("/proc/{}/ns/net", other.pid);
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    wait_until("it has a namespace", || std::fs::read_link(&path).unwrap() != own);
    let target = format!("netns {}", other.pid);
    ip("link add v2 type veth peer name eth1");
    ip(&format!("link set eth1 {target}"));
    b.namespace("network", Some(&path));
    let seen = inside(c, &mut b);
    assert!(seen.contains("10.1.2.3/24") && seen.contains("eth1"), "{seen}");
    other.kill(libc::SIGKILL);
    other.wait();
}

fn device_moves_into_a_users_namespace(c: &Case) {
    let mut b = host(c, json!({"v0": {"name": "eth0"}}));
    for map in ["uidMappings", "gidMappings"] {
        let ids = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        b.set(&format!("/linux/{map}"), ids);
    }
    b.namespace("user", None).unmount("/sys").unmount("/sys/fs/cgroup");
    std::os::unix::fs::chown(b.rootfs(""), Some(100_000), Some(100_000)).unwrap();
    assert!(inside(c, &mut b).contains("10.1.2.3/24"));
}

fn device_is_there_before_the_hooks(c: &Case) {
    let mut b = host(c, json!({"v0": {"name": "eth0"}}));
    let file = c.path_str("hook");
    let probe = b.rootfs("probe");
    let hook = json!([{"path": probe, "args": ["probe", "see-to", file]}]);
    b.set("/hooks/createContainer", hook);
    c.run(&b).ok();
    let seen: Value = serde_json::from_str(&c.wait_for_file(&c.path("hook"))).unwrap();
    assert!(seen["interfaces"]["eth0"].is_i64(), "{}", seen["interfaces"]);
}

fn missing_device_fails(c: &Case) {
    let mut b = host(c, json!({"nosuch0": {}, "v0": {}, "nosuch1": {}}));
    // With everything else that is wrong, and before anything is made.
    let out = c.create(b.set("/root/path", json!("nosuch")));
    for field in ["linux.netDevices.nosuch0", "linux.netDevices.nosuch1", "root.path"] {
        assert!(out.err().contains(field), "{field}: {}", out.err());
    }
    out.fails("\"nosuch1\": the host's network namespace: no such device (ENODEV)");
    c.nothing_left();
    v0_is_as_it_was();
}

fn name_that_is_taken_fails(c: &Case) {
    let b = host(c, json!({"v0": {"name": "lo"}}));
    c.create(&b).fails("already has a device lo");
    c.nothing_left();
    v0_is_as_it_was();
}

fn device_that_cannot_move_fails(c: &Case) {
    let b = host(c, json!({"lo": {"name": "lo1"}}));
    c.create(&b).fails("linux.netDevices.lo");
    c.nothing_left();
}

fn failed_create_gives_devices_back(c: &Case) {
    // The name is taken in there: v0 is moved before that is found.
    let mut b = host(c, json!({"v0": {"name": "eth0"}, "v1": {"name": "lo"}}));
    c.create(&b).fails("linux.netDevices.v1");
    v0_is_as_it_was();
    b.set("/linux/netDevices", json!({"v0": {"name": "eth0"}}));
    b.mount("/mnt", "tmpfs", "tmpfs", &["nosuch=1"]);
    c.create(&b).fails("nosuch");
    c.nothing_left();
    v0_is_as_it_was();
}

fn devices_need_a_network_namespace(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/netDevices", json!({"v0": {}})).without_namespace("network");
    c.create(&b).fails("need a network namespace");
    c.nothing_left();
}

fn ordinary_users_move_no_devices(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/netDevices", json!({"lo": {}}));
    c.rt(&["create", "-b", &b.save(), ID]).fails("only root can move");
}
