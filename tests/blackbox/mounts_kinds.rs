//! File system types: what they become with and without namespaces of their own.

use crate::support::{Case, Need, sys};
use crate::tests;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

tests! {
    proc_takes_its_options: except_crun("another order of options"),
    proc_of_the_host_is_bound_in_a_user_namespace: rt_only().needs(Need::UserNamespace),
    sysfs_of_the_host_is_bound_in_a_user_namespace: rt_only().needs(Need::UserNamespace),
    mqueue_follows_the_ipc_namespace: rt_only().needs(Need::UserNamespace),
    what_shows_a_foreign_namespace_is_bound_from_the_host: rt_only().needs(Need::UserNamespace),
    what_shows_a_joined_namespace_of_the_same_owner_is_mounted: rt_only().needs(Need::UserNamespace),
    sysfs_of_the_host_is_read_only_unless_asked: rt_only().needs(Need::UserNamespace),
    an_ordinary_user_has_all_of_the_hosts_sysfs_read_only: rootless().rt_only(),
    cgroup_in_a_user_namespace_works: needs(Need::UserNamespace),
    cgroup_without_its_namespace_in_a_user_namespace_works: rt_only().needs(Need::UserNamespace),
    cgroup_may_be_writable: rt_only(),
    cgroup_mount_changes_nothing_on_the_host,
    devpts_takes_its_options,
    devpts_with_a_group_that_is_not_mapped_is_refused_by_name: rt_only().needs(Need::UserNamespace),
    every_default_mount_works_in_a_user_namespace: needs(Need::UserNamespace),
    sockets_fifos_and_devices_can_be_bound,
    source_may_be_a_symlink,
    source_may_be_in_what_was_mounted_before: except_crun("another order"),
    source_may_be_in_what_was_mounted_before_in_a_user_namespace: rt_only().needs(Need::UserNamespace),
    source_may_be_out_of_reach_of_the_user_namespace: rt_only().needs(Need::UserNamespace),
    nested_submounts_come_along_by_rbind: needs(Need::UserNamespace),
    procfs_may_be_bound_on_proc,
    anything_else_on_proc_is_refused: rt_only(),
    lxcfs_may_replace_files_of_proc: except_runc("knows fewer").except_crun("knows no list"),
    unknown_type_is_named: rt_only(),
}

fn mount_at<'v>(seen: &'v Value, at: &str) -> &'v Value {
    let mount = &seen["mounts"][at];
    assert!(mount.is_object(), "nothing mounted at {at}: {:#}", seen["mounts"]);
    mount
}

fn proc_takes_its_options(c: &Case) {
    let mut b = c.bundle();
    b.mount("/mnt/a", "proc", "proc", &["subset=pid", "nosuid", "noexec"]);
    b.sh("ls /mnt/a | grep -c meminfo; grep /mnt/a /proc/self/mounts");
    let out = c.run(&b).ok().out();
    assert!(out.starts_with("0\n") && out.contains("subset=pid"), "{out}");
}

fn proc_of_the_host_is_bound_in_a_user_namespace(c: &Case) {
    let mut b = c.bundle();
    b.user_namespace().without_namespace("pid");
    let seen = c.see(&b);
    assert_eq!(mount_at(&seen, "/proc")["type"], "proc");
    assert!(seen["pid"].as_u64().unwrap() > 1);
    let index = b.config["mounts"].as_array().unwrap().len();
    b.mount("/mnt", "proc", "proc", &["hidepid=2"]);
    let out = c
        .create(&b)
        .fails("the host's /proc, which is bound where there is no pid namespace of its own");
    assert!(out.err().contains(&format!("mounts[{index}].options[0]")), "{}", out.err());
}

fn sysfs_of_the_host_is_bound_in_a_user_namespace(c: &Case) {
    let mut b = c.bundle();
    b.user_namespace().without_namespace("network");
    let seen = c.see(&b);
    assert_eq!(mount_at(&seen, "/sys")["type"], "sysfs");
    assert!(mount_at(&seen, "/sys")["flags"].as_str().unwrap().starts_with("ro,"));
}

fn mqueue_follows_the_ipc_namespace(c: &Case) {
    let mut b = c.bundle();
    b.without_namespace("ipc");
    assert_eq!(mount_at(&c.see(&b), "/dev/mqueue")["type"], "mqueue");
    // In a user namespace that of the host is bound.
    host_mqueue(c);
    let seen = c.see(b.user_namespace());
    let mount = mount_at(&seen, "/dev/mqueue");
    assert_eq!((&mount["type"], &mount["source"]), (&json!("mqueue"), &json!("of-the-host")));
    for flag in ["nosuid", "noexec", "nodev"] {
        assert!(mount["flags"].as_str().unwrap().contains(flag), "{mount}");
    }
    sys::umount_detach(Path::new("/dev")).unwrap();
}

/// A /dev with a mqueue in it, whether the machine has one or not.
fn host_mqueue(c: &Case) {
    let dev = c.path("dev");
    fs::create_dir(&dev).unwrap();
    sys::bind(Path::new("/dev"), &dev).unwrap();
    sys::mount("dev", Path::new("/dev"), "tmpfs", 0, "mode=755").unwrap();
    for (name, minor) in [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)] {
        sys::mknod(&Path::new("/dev").join(name), libc::S_IFCHR | 0o666, libc::makedev(1, minor));
    }
    sys::umount_detach(&dev).unwrap();
    fs::create_dir("/dev/mqueue").unwrap();
    sys::mount("of-the-host", Path::new("/dev/mqueue"), "mqueue", 0, "").unwrap();
}

/// A running container with namespaces to join, and the file of one of them.
fn other(c: &Case, user: bool) -> impl Fn(&str) -> String {
    let mut b = c.named_bundle("other");
    if user {
        b.user_namespace();
    }
    b.set("/linux/cgroupsPath", json!(c.cgroups_path("other"))).args(&["/probe", "sleep"]);
    c.rt(&["run", "-d", "-b", &b.save(), "other"]).ok();
    let pid = c.rt(&["state", "other"]).ok().json()["pid"].as_i64().unwrap();
    move |kind: &str| format!("/proc/{pid}/ns/{kind}")
}

const SHOWN: [(&str, &str); 4] =
    [("network", "net"), ("pid", "pid"), ("ipc", "ipc"), ("cgroup", "cgroup")];

fn what_shows_a_foreign_namespace_is_bound_from_the_host(c: &Case) {
    let file = other(c, false);
    host_mqueue(c);
    let mut b = c.bundle();
    b.user_namespace();
    for (kind, name) in SHOWN {
        b.namespace(kind, Some(&file(name)));
    }
    let seen = c.see(&b);
    assert_eq!(mount_at(&seen, "/dev/mqueue")["source"], "of-the-host");
    let kinds = [("/sys", "sysfs"), ("/proc", "proc"), ("/sys/fs/cgroup", "cgroup2")];
    for (at, kind) in kinds {
        assert_eq!(mount_at(&seen, at)["type"], kind, "{at}");
    }
    for at in ["/sys", "/sys/fs/cgroup"] {
        assert!(mount_at(&seen, at)["flags"].as_str().unwrap().starts_with("ro,"), "{at}");
    }
    sys::umount_detach(Path::new("/dev")).unwrap();
    c.rt(&["delete", "--force", "other"]).ok();
}

fn what_shows_a_joined_namespace_of_the_same_owner_is_mounted(c: &Case) {
    let file = other(c, true);
    let mut b = c.bundle();
    b.user_namespace().namespace("user", Some(&file("user")));
    for (kind, name) in SHOWN {
        b.namespace(kind, Some(&file(name)));
    }
    let seen = c.see(&b);
    assert_eq!(mount_at(&seen, "/dev/mqueue")["source"], "mqueue");
    for (at, source) in [("/sys", "sysfs"), ("/proc", "proc"), ("/sys/fs/cgroup", "cgroup")] {
        assert_eq!(mount_at(&seen, at)["source"], source, "a mount of its own at {at}");
    }
    assert_eq!(mount_at(&seen, "/sys/fs/cgroup")["root"], "/");
    c.rt(&["delete", "--force", "other"]).ok();
}

fn flags_below<'v>(seen: &'v Value, top: &str) -> Vec<(&'v String, &'v str)> {
    let mounts = seen["mounts"].as_object().unwrap().iter();
    let below = mounts.filter(|(at, _)| Path::new(at).starts_with(top));
    below.map(|(at, mount)| (at, mount["flags"].as_str().unwrap())).collect()
}

fn sysfs_of_the_host_is_read_only_unless_asked(c: &Case) {
    for (options, readonly) in [(&["nosuid"][..], true), (&[], true), (&["rw"], false)] {
        let mut b = c.bundle();
        b.user_namespace().without_namespace("network");
        b.unmount("/sys/fs/cgroup").unmount("/sys").mount("/sys", "sysfs", "sysfs", options);
        let seen = c.see(&b);
        let all = flags_below(&seen, "/sys");
        let submounts = all.iter().filter(|(at, _)| at.starts_with("/sys/fs/cgroup"));
        assert!(submounts.count() > 0, "the host's cgroup tree is there: {all:?}");
        if readonly {
            assert!(all.iter().all(|(_, flags)| flags.starts_with("ro,")), "{options:?}: {all:?}");
        }
    }
}

fn an_ordinary_user_has_all_of_the_hosts_sysfs_read_only(c: &Case) {
    for options in [&["nosuid", "noexec", "nodev", "ro"][..], &["nosuid"], &["rw"]] {
        let mut b = c.bundle();
        b.without_namespace("network").unmount("/sys").mount("/sys", "sysfs", "sysfs", options);
        let seen = c.see(&b);
        let all = flags_below(&seen, "/sys");
        let readonly = all.iter().all(|(_, flags)| flags.starts_with("ro,"));
        assert!(all.len() > 1 && readonly, "CVE-2023-25809: {options:?}: {all:?}");
    }
}

fn cgroup_in_a_user_namespace_works(c: &Case) {
    let mut b = c.bundle();
    b.user_namespace();
    let seen = c.see(&b);
    assert_eq!(mount_at(&seen, "/sys/fs/cgroup")["type"], "cgroup2");
    assert_eq!(mount_at(&seen, "/sys/fs/cgroup")["root"], "/");
}

fn cgroup_without_its_namespace_in_a_user_namespace_works(c: &Case) {
    let mut b = c.bundle();
    b.user_namespace().without_namespace("cgroup");
    let seen = c.see(&b);
    let mount = mount_at(&seen, "/sys/fs/cgroup");
    assert_eq!(mount["type"], "cgroup2");
    assert!(mount["flags"].as_str().unwrap().starts_with("ro,"), "{mount}");
}

fn cgroup_may_be_writable(c: &Case) {
    let mut b = c.bundle();
    b.unmount("/sys/fs/cgroup").mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw", "nosuid"]);
    assert!(
        c.run(b.sh("mkdir /sys/fs/cgroup/sub && rmdir /sys/fs/cgroup/sub")).ok().out().is_empty()
    );
    b.without_namespace("cgroup").caps(&["CAP_SYS_ADMIN"]);
    let seen = c.see(&b);
    assert!(mount_at(&seen, "/sys/fs/cgroup")["flags"].as_str().unwrap().starts_with("rw,"));
}

fn cgroup_mount_changes_nothing_on_the_host(c: &Case) {
    let table = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = table();
    for without in [false, true] {
        let mut b = c.bundle();
        if without {
            b.without_namespace("cgroup");
        }
        c.run(&b).ok();
        assert_eq!(before, table());
    }
}

fn devpts_takes_its_options(c: &Case) {
    let mut b = c.bundle();
    b.mount(
        "/mnt",
        "devpts",
        "d",
        &["newinstance", "ptmxmode=0640", "mode=0611", "gid=7", "max=3"],
    );
    let seen = c.see(&b);
    let options = mount_at(&seen, "/mnt")["options"].as_str().unwrap();
    for option in ["gid=7", "mode=611", "ptmxmode=640", "max=3"] {
        assert!(options.split(',').any(|o| o == option), "{option} in {options}");
    }
}

fn devpts_with_a_group_that_is_not_mapped_is_refused_by_name(c: &Case) {
    let mut b = c.bundle();
    b.user_namespace().mount("/mnt", "devpts", "d", &["newinstance", "gid=99999"]);
    // Newer kernels say more: "devpts: Invalid gid '99999'".
    c.create(&b).fails("mounts[");
}

fn every_default_mount_works_in_a_user_namespace(c: &Case) {
    let mut b = c.bundle();
    let seen = c.see(b.user_namespace());
    for (at, kind) in [
        ("/proc", "proc"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/mqueue", "mqueue"),
        ("/sys", "sysfs"),
    ] {
        assert_eq!(mount_at(&seen, at)["type"], kind);
    }
}

fn sockets_fifos_and_devices_can_be_bound(c: &Case) {
    let mut b = c.bundle();
    let _listener = UnixListener::bind(c.path("socket")).unwrap();
    sys::mkfifo(&c.path("fifo"));
    sys::mknod(&c.path("device"), libc::S_IFCHR | 0o600, libc::makedev(1, 5));
    for name in ["socket", "fifo", "device"] {
        b.mount(&format!("/mnt/{name}"), "none", &c.path_str(name), &["bind"]);
    }
    b.args(&["/probe", "stat", "/mnt/socket", "/mnt/fifo", "/mnt/device"]);
    let out = c.run(&b).ok().out();
    let kinds: Vec<_> = out.lines().map(|line| &line[..2]).collect();
    assert_eq!(kinds, ["14", "10", "20"], "{out}");
}

fn source_may_be_a_symlink(c: &Case) {
    let mut b = c.bundle();
    fs::create_dir(c.path("real")).unwrap();
    fs::write(c.path("real/file"), "content").unwrap();
    std::os::unix::fs::symlink("real", c.path("link")).unwrap();
    b.mount("/mnt", "none", &c.path_str("link"), &["bind"]);
    assert_eq!(c.run(b.args(&["/bin/cat", "/mnt/file"])).ok().out(), "content");
}

/// Trees bound into each other below the root, by its path on the host.
fn chained(c: &Case, user: bool) {
    let mut b = c.bundle();
    for dir in ["a/x", "b/y"] {
        fs::create_dir_all(c.path("source").join(dir)).unwrap();
        fs::write(c.path("source").join(dir).join("file"), dir).unwrap();
    }
    if user {
        b.user_namespace();
        fs::set_permissions(c.path("source"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .unwrap();
    }
    let source = |name: &str| c.path("source").join(name).to_string_lossy().into_owned();
    let inside = |name: &str| b.rootfs(name).to_string_lossy().into_owned();
    let (below, all) = (inside("mnt/x"), inside("mnt"));
    b.mount("/mnt", "none", &source("a"), &["bind"]);
    b.mount("/mnt/x", "none", &source("b"), &["bind"]);
    b.mount("/tmp", "none", &below, &["rbind"]);
    b.mount("/home", "none", &all, &["rbind"]);
    let out = c.run(b.sh("cat /tmp/y/file /home/x/y/file")).ok().out();
    assert_eq!(out, "b/yb/y");
}

fn source_may_be_in_what_was_mounted_before(c: &Case) {
    chained(c, false);
}

fn source_may_be_in_what_was_mounted_before_in_a_user_namespace(c: &Case) {
    chained(c, true);
}

fn source_may_be_out_of_reach_of_the_user_namespace(c: &Case) {
    let mut b = c.bundle();
    let dir = c.path("closed/open");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("file"), "content").unwrap();
    std::os::unix::fs::chown(c.path("closed"), Some(5), Some(5)).unwrap();
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(c.path("closed"), closed).unwrap();
    b.user_namespace().mount("/mnt", "none", &dir.to_string_lossy(), &["rbind"]);
    assert_eq!(c.run(b.args(&["/bin/cat", "/mnt/file"])).ok().out(), "content");
}

fn nested_submounts_come_along_by_rbind(c: &Case) {
    let mut dir = c.path("tree");
    for depth in 0..4 {
        fs::create_dir(&dir).unwrap();
        sys::mount("tree", &dir, "tmpfs", 0, "").unwrap();
        fs::write(dir.join("file"), depth.to_string()).unwrap();
        dir.push("sub");
    }
    for user in [false, true] {
        let mut b = c.named_bundle(&format!("b{user}"));
        if user {
            b.user_namespace();
        }
        b.mount("/mnt", "none", &c.path_str("tree"), &["rbind"]);
        // Without what is mounted below, too, which the kernel forbids the namespace itself.
        b.mount("/tmp", "none", &c.path_str("tree"), &["bind"]);
        b.sh("cd /mnt; cat file sub/file sub/sub/file sub/sub/sub/file; ls -A /tmp/sub");
        if c.is_rt() || !user {
            assert_eq!(c.run(&b).ok().out(), "0123");
        }
    }
    sys::umount_detach(&c.path("tree")).unwrap();
}

fn procfs_may_be_bound_on_proc(c: &Case) {
    let mut b = c.bundle();
    b.without_namespace("pid").unmount("/proc");
    let mut mounts = b.config["mounts"].as_array().unwrap().clone();
    mounts.insert(0, json!({"destination": "/proc", "source": "/proc", "options": ["rbind"]}));
    b.set("/mounts", json!(mounts));
    assert_eq!(mount_at(&c.see(&b), "/proc")["type"], "proc");
}

fn anything_else_on_proc_is_refused(c: &Case) {
    for (at, kind, source, options) in [
        ("/proc", "none", "/etc", vec!["bind"]),
        ("/proc", "none", "/proc/sys", vec!["bind"]),
        ("/proc", "tmpfs", "t", vec![]),
        ("/proc/self/attr", "none", "/etc", vec!["bind"]),
        ("/proc/sys", "none", "", vec!["bind", "remount", "rw"]),
    ] {
        let mut b = c.bundle();
        b.mount(at, kind, source, &options);
        let out = c.run(&b);
        if source == "/proc/sys" {
            // A directory of a procfs is not one, but nothing hides behind it either.
            continue;
        }
        assert_ne!(out.code, Some(0), "{kind} {source} on {at}");
        assert!(out.err().contains("/proc"), "{}", out.err());
    }
    c.nothing_left();
}

fn lxcfs_may_replace_files_of_proc(c: &Case) {
    let mut b = c.bundle();
    fs::write(c.path("fake"), "fake\n").unwrap();
    let files = ["cpuinfo", "diskstats", "loadavg", "meminfo", "stat", "swaps", "uptime"];
    for file in files {
        b.mount(&format!("/proc/{file}"), "none", &c.path_str("fake"), &["bind"]);
    }
    b.sh(&format!("cd /proc; cat {}", files.join(" ")));
    assert_eq!(c.run(&b).ok().out(), "fake\n".repeat(files.len()));
}

fn unknown_type_is_named(c: &Case) {
    let mut b = c.bundle();
    let index = b.config["mounts"].as_array().unwrap().len();
    b.mount("/mnt", "foofs", "x", &[]);
    let out = c.create(&b).fails("the kernel does not know this type");
    assert!(out.err().contains(&format!("mounts[{index}].type")), "{}", out.err());
    let mut b = c.bundle();
    b.mount("/mnt", "foofs", "x", &["silent"]);
    c.create(&b).fails("ENODEV");
    c.nothing_left();
}
