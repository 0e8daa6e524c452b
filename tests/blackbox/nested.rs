//! The runtime where it is not root of the machine: inside a container, and in a user
//! namespace that an ordinary user has made.

use crate::support::cmd::Cmd;
use crate::support::{Bundle, Case, ID, Need, sys};
use crate::tests;
use serde_json::{Value, json};
use std::fs;

tests! {
    rt_in_a_container_of_root: rt_only(),
    rt_in_a_container_manages_cgroups: rt_only().needs(Need::Controller("pids")),
    rt_in_a_user_namespace_container: rt_only().needs(Need::UserNamespace),
    rt_in_a_user_namespace_container_makes_another: rt_only().needs(Need::UserNamespace),
    mapping_of_root_without_its_capability_is_explained: rt_only().needs(Need::UserNamespace),
    three_containers_deep: rt_only().needs(Need::UserNamespace),
    hidden_proc_is_explained: rt_only().needs(Need::UserNamespace),
    read_only_sys_is_explained: rt_only().needs(Need::UserNamespace),
    keyring_quota_is_explained: rt_only().needs(Need::UserNamespace),
    root_of_unshare_runs_containers: rootless().rt_only().needs(Need::Tool("unshare")),
    root_of_unshare_cannot_set_groups: rootless().rt_only().needs(Need::Tool("unshare")),
    ordinary_user_without_newuidmap_hears_of_it: rootless().rt_only(),
}

/// What a container needs to make others.
pub const CAPS: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
];

/// The usual configuration, for a container in a container, with this root.
pub fn inner(root: &str) -> Value {
    let mut config = crate::support::bundle::default_config();
    config["root"]["path"] = json!(root);
    config["hostname"] = json!("inner");
    config["process"]["capabilities"] = json!({});
    config
}

/// A container with `/rt`, and a bundle for each configuration: `/b0`, `/b1`, ...
pub fn outer(c: &Case, configs: &[Value]) -> Bundle {
    let mut b = c.bundle();
    b.caps(CAPS).unmount("/sys/fs/cgroup");
    b.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw", "nosuid", "nodev", "noexec"]);
    // What these hide, the kernel would not let a user namespace show again.
    b.remove("/linux/maskedPaths").remove("/linux/readonlyPaths");
    b.mount("/run", "tmpfs", "tmpfs", &["mode=755"]);
    b.mount("/tmp", "tmpfs", "tmpfs", &["mode=1777"]);
    b.mount("/rt", "bind", &c.runtime.to_string_lossy(), &["bind", "ro"]);
    // With mount points for one more in it, who may not be allowed to make them.
    let root = c.named_bundle("inner").rootfs("/");
    for dir in ["inner", "b0"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::write(root.join("rt"), "").unwrap();
    b.mount("/inner", "bind", &root.to_string_lossy(), &["bind"]);
    for (index, config) in configs.iter().enumerate() {
        let dir = c.path(&format!("b{index}"));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("config.json"), config.to_string()).unwrap();
        b.mount(&format!("/b{index}"), "bind", &dir.to_string_lossy(), &["bind", "ro"]);
    }
    b
}

fn life() -> &'static str {
    "set -e; /rt run -b /b0 one; \
     /rt create -b /b0 two >/tmp/two; /rt start two; while [ ! -s /tmp/two ]; do sleep 0.05; done; cat /tmp/two; \
     /rt delete --force two; /rt run -d -b /b1 three; /rt exec three hostname; /rt ps three | wc -l; \
     /rt kill three KILL; /rt delete --force three; /rt list -q; ls -d /sys/fs/cgroup/*/ | wc -l"
}

fn two_configs() -> [Value; 2] {
    let (mut echo, mut sleep) = (inner("/inner"), inner("/inner"));
    echo["process"]["args"] = json!(["/bin/sh", "-c", "echo $(hostname) $(id -u)"]);
    sleep["process"]["args"] = json!(["/probe", "sleep"]);
    [echo, sleep]
}

#[track_caller]
fn lives(c: &Case, b: &mut Bundle) {
    // One sub-cgroup at the end: that of the shell.
    let script = format!(
        "mkdir /sys/fs/cgroup/shell; echo 0 >/sys/fs/cgroup/shell/cgroup.procs; {}",
        life()
    );
    let out = c.run(b.sh(&script)).ok();
    assert_eq!(out.out(), "inner 0\ninner 0\ninner\n2\n1\n", "{}", out.err());
    c.nothing_left();
}

fn rt_in_a_container_of_root(c: &Case) {
    lives(c, &mut outer(c, &two_configs()));
}

fn rt_in_a_container_manages_cgroups(c: &Case) {
    let [mut limited, _] = two_configs();
    limited["process"]["args"] = json!(["/bin/cat", "/sys/fs/cgroup/pids.max"]);
    limited["linux"]["resources"]["pids"] = json!({"limit": 17});
    for user in [false, true] {
        let mut b = outer(c, &[limited.clone()]);
        if user {
            b.user_namespace();
        }
        // The leaf makes room for controllers below the container's own cgroup.
        b.set("/annotations", json!({"rt.cgroup.leaf": "init"}));
        assert_eq!(c.run(b.args(&["/rt", "run", "-b", "/b0", "in"])).ok().out(), "17\n");
        b.remove("/annotations");
        let out = c.run(b.args(&["/rt", "run", "-b", "/b0", "in"]));
        out.fails("cgroup.subtree_control of / has []");
        fs::remove_dir_all(c.path("b0")).unwrap();
    }
    c.nothing_left();
}

fn rt_in_a_user_namespace_container(c: &Case) {
    lives(c, outer(c, &two_configs()).user_namespace());
}

fn with_user_namespace(mut config: Value) -> Value {
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1}, {"containerID": 1, "hostID": 5000, "size": 100}]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    config
}

fn rt_in_a_user_namespace_container_makes_another(c: &Case) {
    let configs = two_configs().map(with_user_namespace);
    lives(c, outer(c, &configs).user_namespace());
}

fn mapping_of_root_without_its_capability_is_explained(c: &Case) {
    let [echo, _] = two_configs();
    let mut b = outer(c, &[with_user_namespace(echo)]);
    let caps: Vec<_> = CAPS.iter().copied().filter(|name| *name != "CAP_SETFCAP").collect();
    let out = c.run(b.user_namespace().caps(&caps).args(&["/rt", "run", "-b", "/b0", "in"]));
    let err = out.fails("linux.uidMappings").err();
    assert!(err.contains("EPERM") && err.contains("CAP_SETFCAP"), "{err}");
}

fn three_containers_deep(c: &Case) {
    let [echo, mut middle] = two_configs();
    middle["process"]["args"] = json!(["/rt", "run", "-b", "/b0", "innermost"]);
    middle["process"]["capabilities"] =
        json!({"bounding": CAPS, "effective": CAPS, "permitted": CAPS});
    let linux = middle["linux"].as_object_mut().unwrap();
    linux.remove("maskedPaths");
    linux.remove("readonlyPaths");
    let mounts = middle["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
    mounts.push(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["rw"]}));
    mounts.push(json!({"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": []}));
    for path in ["/rt", "/inner", "/b0"] {
        mounts.push(
            json!({"destination": path, "type": "bind", "source": path, "options": ["rbind"]}),
        );
    }
    let mut b = outer(c, &[echo, with_user_namespace(middle)]);
    b.user_namespace().args(&["/rt", "run", "-b", "/b1", "middle"]);
    assert_eq!(c.run(&b).ok().out(), "inner 0\n");
    c.nothing_left();
}

fn hidden_proc_is_explained(c: &Case) {
    let [echo, _] = two_configs();
    let mut b = outer(c, &[with_user_namespace(echo)]);
    b.user_namespace().set("/linux/maskedPaths", json!(["/proc/keys", "/proc/interrupts"]));
    let out = c.run(b.args(&["/rt", "run", "-b", "/b0", "in"]));
    let err = out.fails("mount_too_revealing").err();
    for words in ["mount proc on /proc", "EPERM", "/proc/keys, /proc/interrupts", "maskedPaths"] {
        assert!(err.contains(words), "{words} is not in: {err}");
    }
}

fn read_only_sys_is_explained(c: &Case) {
    let [mut echo, _] = two_configs();
    let mounts = echo["mounts"].as_array_mut().unwrap();
    mounts.iter_mut().find(|m| m["destination"] == "/sys").unwrap()["options"] = json!(["rw"]);
    let mut b = outer(c, &[with_user_namespace(echo)]);
    let out = c.run(b.user_namespace().args(&["/rt", "run", "-b", "/b0", "in"]));
    let err = out.fails("mount sysfs on /sys").err();
    assert!(err.contains("not read-only unless"), "{err}");
}

/// The quota of keys is one of users, who may have many containers.
fn keyring_quota_is_explained(c: &Case) {
    const USER: u32 = 310_000;
    let mut b = c.bundle();
    b.user_namespace();
    let map = json!([{"containerID": 0, "hostID": USER, "size": 10}]);
    b.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    crate::support::bundle::own_tree(&b.rootfs("/"), USER);
    let max = fs::read_to_string("/proc/sys/kernel/keys/maxkeys").unwrap();
    let hoarder = sys::hoard_keys(USER, max.trim().parse().unwrap());
    let err = c.run(&b).fails("join the session keyring").err();
    for words in ["EDQUOT", "/proc/sys/kernel/keys/maxkeys", "--no-new-keyring"] {
        assert!(err.contains(words), "{words} is not in: {err}");
    }
    c.rt(&["run", "--no-new-keyring", "-b", &b.save(), ID]).ok();
    sys::kill(hoarder, libc::SIGKILL).unwrap();
    sys::wait4(hoarder, 0).unwrap();
    c.nothing_left();
}

/// As `unshare -Ur`: root of a user namespace with one id, where setgroups(2) is forbidden.
fn unshared(c: &Case, args: &[&str]) -> Cmd {
    let unshare = crate::support::suite::find_tool("unshare").unwrap();
    c.rt_cmd(args).through(&[&unshare.to_string_lossy(), "--user", "--map-root-user"])
}

fn plain(c: &Case) -> Bundle {
    let mut b = c.bundle();
    b.without_namespace("user").remove("/linux/uidMappings").remove("/linux/gidMappings");
    b
}

fn root_of_unshare_runs_containers(c: &Case) {
    let mut b = plain(c);
    let dir = b.sh("id -u; hostname").save();
    assert_eq!(unshared(c, &["run", "-b", &dir, ID]).run().ok().out(), "0\nbox\n");
    // With one user namespace more.
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    b.namespace("user", None).set("/linux/uidMappings", map.clone());
    let dir = b.set("/linux/gidMappings", map).save();
    assert_eq!(unshared(c, &["run", "-b", &dir, ID]).run().ok().out(), "0\nbox\n");
    // All verbs, by the same root.
    let mut b = plain(c);
    let dir = b.args(&["/probe", "sleep"]).save();
    let rt = format!("{} --root {}", c.runtime.display(), c.state.display());
    let script = format!(
        "set -e; {rt} create -b {dir} box; {rt} start box; {rt} exec box id -u; \
         {rt} kill box KILL; {rt} delete --force box"
    );
    let unshare = crate::support::suite::find_tool("unshare").unwrap();
    let out = Cmd::new(&[&unshare.to_string_lossy(), "-Ur", "/bin/sh", "-c", &script]).run().ok();
    assert_eq!(out.out(), "0\n", "{}", out.err());
    c.nothing_left();
}

fn root_of_unshare_cannot_set_groups(c: &Case) {
    let mut b = plain(c);
    let dir = b.set("/process/user/additionalGids", json!([0])).save();
    unshared(c, &["run", "-b", &dir, ID]).run().fails("process.user.additionalGids");
    c.nothing_left();
}

fn ordinary_user_without_newuidmap_hears_of_it(c: &Case) {
    let mut b = c.bundle();
    let own = nix::unistd::geteuid().as_raw();
    let map = json!([{"containerID": 0, "hostID": own, "size": 1}, {"containerID": 1, "hostID": 100_000, "size": 9}]);
    let dir = b.set("/linux/uidMappings", map).save();
    let out = c.rt_cmd(&["run", "-b", &dir, ID]).env("PATH", "/no/such/directory").run();
    let err = out.fails("linux.uidMappings").err();
    assert!(err.contains("newuidmap") && err.contains("package uidmap"), "{err}");
    c.nothing_left();
}
