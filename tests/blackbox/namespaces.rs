//! `linux.namespaces`: new, joined by path, or the caller's own.

use crate::support::bundle::own_tree;
use crate::support::{Bundle, Case, ID, Need};
use crate::tests;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

tests! {
    each_listed_namespace_is_new,
    unlisted_namespaces_are_the_callers,
    namespaces_are_joined_by_path,
    pid_namespace_is_joined_by_path,
    user_namespace_maps_ids: needs(Need::UserNamespace),
    user_namespace_is_joined_by_path: needs(Need::UserNamespace),
    groups_that_are_not_mapped_are_named: needs(Need::UserNamespace).rt_only(),
    user_namespace_need_not_map_root: needs(Need::UserNamespace).except_runc("must map 0"),
    user_namespace_need_not_reach_the_root: needs(Need::UserNamespace),
    time_namespace_is_new: except_runc("unknown to it").except_crun("unknown to it"),
    loopback_is_up_in_a_new_network_namespace,
    hostname_is_set,
    domainname_is_set: except_runc("unknown to it"),
    sysctls_are_set_in_their_namespaces,
    path_of_another_type_is_refused: rt_only(),
    namespace_twice_is_refused: except_crun("accepted"),
    without_any_namespace_the_host_is_untouched: rt_only(),
    linux_section_may_be_absent: except_crun("required").except_runc("needs /proc"),
}

const ALL: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
];

fn of_host(file: &str) -> Value {
    json!(fs::read_link(Path::new("/proc/self/ns").join(file)).unwrap().to_string_lossy())
}

fn each_listed_namespace_is_new(c: &Case) {
    let seen = c.see(&c.bundle());
    for (_, file) in ALL {
        assert_ne!(seen["namespaces"][file], of_host(file), "{file}");
    }
    assert_eq!(seen["namespaces"]["user"], of_host("user"));
    assert_eq!(seen["pid"], 1);
}

/// The bundle as it must be to run in the host's namespace of this type.
fn host_namespace<'b>(b: &'b mut Bundle, kind: &str) -> &'b mut Bundle {
    match kind {
        "uts" => b.remove("/hostname"),
        "network" => b.unmount("/sys").unmount("/sys/fs/cgroup").mount(
            "/sys",
            "bind",
            "/sys",
            &["rbind", "ro"],
        ),
        _ => b,
    };
    b.without_namespace(kind)
}

fn unlisted_namespaces_are_the_callers(c: &Case) {
    for (kind, file) in
        [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup"), ("pid", "pid")]
    {
        let mut b = c.bundle();
        let seen = c.see(host_namespace(&mut b, kind));
        assert_eq!(seen["namespaces"][file], of_host(file), "{kind}");
    }
}

fn namespaces_are_joined_by_path(c: &Case) {
    let mut first = c.named_bundle("first");
    first.set("/linux/cgroupsPath", json!(c.cgroups_path("first")));
    let dir = first.args(&["/probe", "sleep"]).save();
    c.rt(&["run", "-d", "-b", &dir, "first"]).ok();
    let pid = c.rt(&["state", "first"]).ok().json()["pid"].clone();
    for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup")] {
        let mut b = c.bundle();
        if kind == "uts" {
            b.remove("/hostname");
        }
        let path = format!("/proc/{pid}/ns/{file}");
        let seen = c.see(b.namespace(kind, Some(&path)));
        let expected = fs::read_link(&path).unwrap();
        assert_eq!(seen["namespaces"][file], json!(expected.to_string_lossy()), "{kind}");
    }
    c.rt(&["delete", "-f", "first"]).ok();
}

fn pid_namespace_is_joined_by_path(c: &Case) {
    let mut first = c.named_bundle("first");
    first.set("/linux/cgroupsPath", json!(c.cgroups_path("first")));
    c.rt(&["run", "-d", "-b", &first.args(&["/probe", "sleep"]).save(), "first"]).ok();
    let pid = c.rt(&["state", "first"]).ok().json()["pid"].clone();
    let path = format!("/proc/{pid}/ns/pid");
    let mut b = c.bundle();
    let seen = c.see(b.namespace("pid", Some(&path)));
    assert_eq!(seen["namespaces"]["pid"], json!(fs::read_link(&path).unwrap().to_string_lossy()));
    assert_ne!(seen["pid"], 1);
    c.rt(&["delete", "-f", "first"]).ok();
}

fn with_user_namespace(b: &mut Bundle) -> &mut Bundle {
    b.namespace("user", None);
    b.set("/linux/uidMappings", json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]));
    b.set("/linux/gidMappings", json!([{"containerID": 0, "hostID": 200_000, "size": 65_536}]));
    b
}

fn groups_that_are_not_mapped_are_named(c: &Case) {
    let mut b = c.bundle();
    with_user_namespace(&mut b).args(&["/probe", "sleep"]);
    b.set("/process/user/additionalGids", json!([7, 70_000]));
    let out = c.create(&b).fails("not in linux.gidMappings");
    assert!(out.err().contains("process.user.additionalGids[1] 70000"), "{}", out.err());
    c.nothing_left();
    c.up(b.remove("/process/user/additionalGids"));
    let text = "the container's user namespace does not map all of these ids";
    c.rt(&["exec", "--additional-gids", "70000", ID, "/bin/true"]).fails(text);
    c.rt(&["exec", "--user", "70000", ID, "/bin/true"]).fails(text);
    c.down();
}

fn user_namespace_maps_ids(c: &Case) {
    let mut b = c.bundle();
    with_user_namespace(&mut b);
    b.set("/process/user", json!({"uid": 5, "gid": 6, "additionalGids": [7]}));
    let seen = c.see(&b);
    assert_ne!(seen["namespaces"]["user"], of_host("user"));
    assert_eq!(seen["ids"]["uid"], json!([5, 5, 5, 5]));
    assert_eq!(seen["ids"]["gid"], json!([6, 6, 6, 6]));
    assert_eq!(seen["ids"]["groups"], json!([7]));
    let map: Vec<_> = seen["uid_map"].as_str().unwrap().split_whitespace().collect();
    assert_eq!(map, ["0", "100000", "65536"]);
    let map: Vec<_> = seen["gid_map"].as_str().unwrap().split_whitespace().collect();
    assert_eq!(map, ["0", "200000", "65536"]);
    assert_eq!(seen["dev"]["null"]["minor"], 3, "devices are there, bound from the host");
    // From outside it is the mapped user.
    b.args(&["/probe", "sleep"]);
    c.up(&b);
    let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
    assert!(status.contains("Uid:\t100005\t100005"), "{status}");
    c.down();
}

fn user_namespace_is_joined_by_path(c: &Case) {
    let mut first = c.named_bundle("first");
    with_user_namespace(&mut first).set("/linux/cgroupsPath", json!(c.cgroups_path("first")));
    c.rt(&["run", "-d", "-b", &first.args(&["/probe", "sleep"]).save(), "first"]).ok();
    let pid = c.rt(&["state", "first"]).ok().json()["pid"].clone();
    let path = format!("/proc/{pid}/ns/user");
    let mut b = c.bundle();
    b.namespace("user", Some(&path));
    if !c.is_rt() {
        b.set("/linux/uidMappings", first.config["linux"]["uidMappings"].clone());
        b.set("/linux/gidMappings", first.config["linux"]["gidMappings"].clone());
    }
    // Who joins a user namespace owns what belongs to it: also the network of the first.
    b.namespace("network", Some(&format!("/proc/{pid}/ns/net")));
    let seen = c.see(&b);
    assert_eq!(seen["namespaces"]["user"], json!(fs::read_link(&path).unwrap().to_string_lossy()));
    assert_eq!(seen["ids"]["uid"], json!([0, 0, 0, 0]));
    c.rt(&["delete", "-f", "first"]).ok();
}

/// `podman run --uidmap 1000:0:1 --user 1000` (podman#16608).
fn user_namespace_need_not_map_root(c: &Case) {
    let mut b = c.bundle();
    own_tree(&b.rootfs("/"), 100_000);
    let map = json!([{"containerID": 1000, "hostID": 100_000, "size": 1}]);
    b.namespace("user", None).set("/linux/uidMappings", map.clone());
    b.set("/linux/gidMappings", map).set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let options = ["newinstance", "ptmxmode=0666", "mode=0620"];
    b.unmount("/dev/pts").mount("/dev/pts", "devpts", "devpts", &options);
    let seen = c.see(&b);
    assert_eq!(seen["ids"]["uid"], json!([1000, 1000, 1000, 1000]));
    assert_eq!(seen["ids"]["gid"], json!([1000, 1000, 1000, 1000]));
    c.up(b.args(&["/probe", "sleep"]));
    let out = c.rt(&["exec", "--user", "1000:1000", ID, "/bin/id", "-u"]).ok();
    assert_eq!(out.out(), "1000\n");
    c.down();
}

/// The runtime reaches the root, which lies below a directory of its own.
fn user_namespace_need_not_reach_the_root(c: &Case) {
    let mut b = c.bundle();
    let deep = c.path("deep");
    fs::create_dir(&deep).unwrap();
    fs::set_permissions(&deep, fs::Permissions::from_mode(0o700)).unwrap();
    b.user_namespace();
    fs::rename(b.rootfs("/"), deep.join("root")).unwrap();
    b.set("/root/path", json!(deep.join("root"))).args(&["/bin/echo", "started"]);
    assert_eq!(c.run(&b).ok().out(), "started\n");
}

fn time_namespace_is_new(c: &Case) {
    let mut b = c.bundle();
    let seen = c.see(b.namespace("time", None));
    assert_ne!(seen["namespaces"]["time"], of_host("time"));
}

fn loopback_is_up_in_a_new_network_namespace(c: &Case) {
    let seen = c.see(&c.bundle());
    let flags = seen["interfaces"]["lo"].as_i64().expect("an interface lo");
    assert_eq!(flags & i64::from(libc::IFF_UP), i64::from(libc::IFF_UP));
}

fn hostname_is_set(c: &Case) {
    let mut b = c.bundle();
    assert_eq!(c.see(b.set("/hostname", json!("some-name")))["hostname"], "some-name");
    assert_ne!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim(), "some-name");
    let long = "n".repeat(64);
    assert_eq!(c.see(b.set("/hostname", json!(long)))["hostname"], json!(long));
}

fn domainname_is_set(c: &Case) {
    let mut b = c.bundle();
    assert_eq!(c.see(b.set("/domainname", json!("example.org")))["domainname"], "example.org");
}

fn sysctls_are_set_in_their_namespaces(c: &Case) {
    let mut b = c.bundle();
    b.set(
        "/linux/sysctl",
        json!({"net.ipv4.ip_forward": "1", "kernel.msgmax": "4096", "net/ipv4/ip_default_ttl": "33",
            "fs.mqueue.queues_max": "9"}),
    );
    b.args(&[
        "/bin/cat",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/kernel/msgmax",
        "/proc/sys/net/ipv4/ip_default_ttl",
        "/proc/sys/fs/mqueue/queues_max",
    ]);
    assert_eq!(c.run(&b).ok().out(), "1\n4096\n33\n9\n");
    assert_ne!(fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap(), "33\n");
}

fn path_of_another_type_is_refused(c: &Case) {
    let mut b = c.bundle();
    c.create(b.namespace("network", Some("/proc/self/ns/uts"))).fails("linux.namespaces");
    c.nothing_left();
}

fn namespace_twice_is_refused(c: &Case) {
    let mut b = c.bundle();
    c.create(b.push("/linux/namespaces", json!({"type": "pid"}))).fails("");
    c.nothing_left();
}

fn without_any_namespace_the_host_is_untouched(c: &Case) {
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut b = c.bundle();
    b.set("/linux/namespaces", json!([])).remove("/hostname").remove("/mounts");
    b.remove("/linux/maskedPaths")
        .remove("/linux/readonlyPaths")
        .set("/root/readonly", json!(false));
    let out = c.create(&b);
    assert!(out.code.is_some(), "{}", out.how());
    c.rt(&["delete", "--force", ID]).ok();
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before, "runc 1.5.3");
}

fn linux_section_may_be_absent(c: &Case) {
    let mut b = c.bundle();
    b.remove("/linux").remove("/mounts").remove("/hostname").set("/root/readonly", json!(false));
    let out = c.run(&b);
    // Without namespaces no rootfs can be entered safely: an error must at least say so.
    assert!(out.code == Some(0) || out.err().contains("namespace"), "{}", out.err());
    c.nothing_left();
}
