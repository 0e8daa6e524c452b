//! `mounts`: types, options, targets.

use crate::support::{Bundle, Case, Need, sys};
use crate::tests;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

tests! {
    empty_option_says_nothing,
    default_mounts_are_there_in_order,
    tmpfs_takes_size_mode_and_flags,
    tmpfs_takes_the_mode_of_the_covered_directory: except_runc("1777 in this version").except_crun("1777 in this version"),
    bind_of_a_directory_shows_it,
    bind_of_a_file_shows_it,
    bind_source_may_be_relative_to_the_bundle,
    bind_can_be_read_only_and_restricted,
    rbind_takes_submounts_along,
    recursive_read_only_reaches_submounts: except_runc("unknown to it"),
    bind_type_without_an_option_is_a_bind: except_runc("ENODEV").except_crun("ENODEV"),
    of_contradicting_options_the_last_one_wins: except_crun("ro wins"),
    missing_mount_points_are_made: except_crun("another mode"),
    mount_order_is_kept,
    symlinked_destination_stays_inside: except_crun("refused"),
    legal_absolute_symlinks_work,
    dotdot_in_a_destination_stays_inside,
    relative_destination_starts_at_the_root,
    procfs_takes_hidepid,
    devpts_is_a_new_instance,
    mqueue_is_mounted,
    mqueue_belongs_to_root_of_the_user_namespace: needs(Need::UserNamespace),
    cgroup_mount_shows_the_own_cgroup_as_root,
    cgroup_mount_without_cgroup_namespace_is_what_its_options_say: rt_only(),
    bind_in_the_hosts_paths_of_the_root_stays_in_it: rt_only(),
    propagation_of_a_mount_is_set: except_crun("lost"),
    rootfs_propagation_is_set: except_runc("only where the parent mount is shared"),
    root_propagation_never_reaches_the_host,
    many_mounts_work,
    unknown_option_is_refused_by_name: rt_only(),
    kernel_reason_for_a_bad_option_is_told: rt_only(),
    missing_bind_source_is_named,
    no_pivot_works,
    mount_over_an_allowed_file_of_proc_works,
}

fn empty_option_says_nothing(c: &Case) {
    let mut b = c.bundle();
    b.mount("/mnt", "tmpfs", "tmpfs", &[""]).mount("/tmp", "bind", "/tmp", &["rbind", ""]);
    c.run(b.args(&["/bin/true"])).ok();
}

fn mount_at<'v>(seen: &'v Value, at: &str) -> &'v Value {
    let mount = &seen["mounts"][at];
    assert!(mount.is_object(), "nothing mounted at {at}: {:#}", seen["mounts"]);
    mount
}

#[track_caller]
fn has(mount: &Value, key: &str, words: &[&str]) {
    let text = mount[key].as_str().unwrap();
    for word in words {
        assert!(text.split([',', ' ']).any(|w| w == *word), "{key} of {mount} lacks {word}");
    }
}

fn default_mounts_are_there_in_order(c: &Case) {
    let seen = c.see(&c.bundle());
    for (at, kind, flags) in [
        ("/proc", "proc", vec!["rw"]),
        ("/dev", "tmpfs", vec!["rw", "nosuid"]),
        ("/dev/pts", "devpts", vec!["nosuid", "noexec"]),
        ("/dev/shm", "tmpfs", vec!["nosuid", "nodev", "noexec"]),
        ("/dev/mqueue", "mqueue", vec!["nosuid", "nodev", "noexec"]),
        ("/sys", "sysfs", vec!["ro", "nosuid", "nodev", "noexec"]),
        ("/sys/fs/cgroup", "cgroup2", vec!["ro", "nosuid", "nodev", "noexec"]),
    ] {
        let mount = mount_at(&seen, at);
        assert_eq!(mount["type"], kind, "{at}");
        has(mount, "flags", &flags);
    }
    has(mount_at(&seen, "/"), "flags", &["ro"]);
    has(mount_at(&seen, "/dev"), "options", &["mode=755", "size=65536k"]);
}

fn tmpfs_takes_size_mode_and_flags(c: &Case) {
    let mut b = c.bundle();
    let at = if c.is_rt() { "/mnt" } else { "/fresh" };
    b.mount(
        at,
        "tmpfs",
        "some",
        &["noexec", "nosuid", "nodev", "size=1m", "mode=0751", "uid=7", "noatime"],
    );
    let seen = c.see(&b);
    let mount = mount_at(&seen, at);
    has(mount, "flags", &["rw", "noexec", "nosuid", "nodev", "noatime"]);
    has(mount, "options", &["size=1024k", "mode=751", "uid=7"]);
    assert_eq!(mount["source"], "some");
    let out = c.run(b.args(&["/probe", "stat", at])).ok().out();
    // runc of 2023 sets the mode of the covered directory even then.
    assert!(out.starts_with(if c.is_rt() { "40751 7 " } else { "40" }), "{out}");
}

fn tmpfs_takes_the_mode_of_the_covered_directory(c: &Case) {
    let mut b = c.bundle();
    fs::create_dir(b.rootfs("secret")).unwrap();
    fs::set_permissions(b.rootfs("secret"), fs::Permissions::from_mode(0o700)).unwrap();
    b.mount("/secret", "tmpfs", "tmpfs", &[]).mount("/fresh", "tmpfs", "tmpfs", &[]);
    b.mount("/open", "tmpfs", "tmpfs", &["mode=711"]);
    let out = c.run(b.args(&["/probe", "stat", "/secret", "/open"])).ok().out();
    let modes: Vec<_> = out.lines().map(|l| &l[..5]).collect();
    assert_eq!(modes, ["40700", "40711"]);
}

/// A directory of the host with a file in it.
fn source(c: &Case) -> String {
    let dir = c.path("source");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), "content").unwrap();
    dir.to_string_lossy().into_owned()
}

fn bind_of_a_directory_shows_it(c: &Case) {
    let mut b = c.bundle();
    b.mount("/data", "none", &source(c), &["rbind", "rw"]);
    b.sh("cat /data/file && echo written > /data/new");
    assert_eq!(c.run(&b).ok().out(), "content");
    assert_eq!(fs::read_to_string(c.path("source/new")).unwrap(), "written\n");
}

fn bind_of_a_file_shows_it(c: &Case) {
    let mut b = c.bundle();
    b.mount("/etc/one", "bind", &format!("{}/file", source(c)), &["bind", "ro"]);
    assert_eq!(c.run(b.args(&["/bin/cat", "/etc/one"])).ok().out(), "content");
    assert!(b.rootfs("etc/one").is_file(), "the mount point is a file");
    assert_eq!(fs::read(b.rootfs("etc/one")).unwrap(), b"");
}

fn bind_source_may_be_relative_to_the_bundle(c: &Case) {
    let mut b = c.bundle();
    b.mount("/data", "bind", "rootfs/etc", &["bind", "ro"]);
    assert!(c.run(b.args(&["/bin/cat", "/data/passwd"])).ok().out().starts_with("root:"));
}

fn bind_can_be_read_only_and_restricted(c: &Case) {
    let mut b = c.bundle();
    b.mount("/data", "bind", &source(c), &["rbind", "ro", "nosuid", "nodev", "noexec"]);
    let seen = c.see(&b);
    has(mount_at(&seen, "/data"), "flags", &["ro", "nosuid", "nodev", "noexec"]);
    assert_eq!(c.run(b.args(&["/probe", "write", "/data/file", "x"])).ok().out(), "EROFS\n");
    assert_eq!(fs::read_to_string(c.path("source/file")).unwrap(), "content", "CVE-2013-6441");
}

fn submount(c: &Case) -> String {
    let dir = source(c);
    let sub = Path::new(&dir).join("sub");
    fs::create_dir(&sub).unwrap();
    sys::mount("sub", &sub, "tmpfs", 0, "").unwrap();
    fs::write(sub.join("deep"), "deep").unwrap();
    dir
}

fn end_submount(c: &Case) {
    sys::umount_detach(&c.path("source/sub")).unwrap();
}

fn rbind_takes_submounts_along(c: &Case) {
    let dir = submount(c);
    let mut b = c.bundle();
    b.mount("/all", "bind", &dir, &["rbind"]).mount("/top", "bind", &dir, &["bind"]);
    assert_eq!(c.run(b.sh("cat /all/sub/deep; ls /top/sub")).ok().out(), "deep");
    end_submount(c);
}

fn recursive_read_only_reaches_submounts(c: &Case) {
    let dir = submount(c);
    let mut b = c.bundle();
    b.mount("/top", "bind", &dir, &["rbind", "ro"]).mount("/all", "bind", &dir, &["rbind", "rro"]);
    let seen = c.see(&b);
    has(mount_at(&seen, "/top"), "flags", &["ro"]);
    has(mount_at(&seen, "/top/sub"), "flags", &["rw"]);
    has(mount_at(&seen, "/all"), "flags", &["ro"]);
    has(mount_at(&seen, "/all/sub"), "flags", &["ro"]);
    end_submount(c);
}

fn bind_type_without_an_option_is_a_bind(c: &Case) {
    let mut b = c.bundle();
    b.mount("/data", "bind", &source(c), &["ro"]);
    assert_eq!(c.run(b.args(&["/bin/cat", "/data/file"])).ok().out(), "content");
}

fn of_contradicting_options_the_last_one_wins(c: &Case) {
    let mut b = c.bundle();
    b.mount("/a", "tmpfs", "a", &["ro", "rw"]).mount("/b", "tmpfs", "b", &["rw", "ro"]);
    b.mount("/c", "tmpfs", "c", &["noexec", "exec"]);
    let seen = c.see(&b);
    has(mount_at(&seen, "/a"), "flags", &["rw"]);
    has(mount_at(&seen, "/b"), "flags", &["ro"]);
    assert!(!mount_at(&seen, "/c")["flags"].as_str().unwrap().contains("noexec"));
}

fn missing_mount_points_are_made(c: &Case) {
    let mut b = c.bundle();
    b.mount("/a/b/c", "tmpfs", "t", &[]).mount(
        "/d/e/f",
        "bind",
        &format!("{}/file", source(c)),
        &["bind"],
    );
    c.run(&b).ok();
    for dir in ["a", "a/b", "a/b/c", "d", "d/e"] {
        let meta = fs::metadata(b.rootfs(dir)).unwrap();
        assert_eq!((meta.is_dir(), meta.mode() & 0o7777), (true, 0o755), "{dir}");
    }
    assert!(b.rootfs("d/e/f").is_file());
}

fn mount_order_is_kept(c: &Case) {
    let mut b = c.bundle();
    b.mount("/mnt", "tmpfs", "first", &[]).mount("/mnt/in", "tmpfs", "second", &[]);
    b.mount("/mnt", "tmpfs", "third", &[]);
    let seen = c.see(&b);
    assert_eq!(mount_at(&seen, "/mnt")["source"], "third");
}

fn symlinked_destination_stays_inside(c: &Case) {
    let mut b = c.bundle();
    let canary = c.canary("canary");
    symlink(&canary.dir, b.rootfs("absolute")).unwrap();
    symlink(
        "../../../../../../../../..".to_string() + canary.dir.to_str().unwrap(),
        b.rootfs("upward"),
    )
    .unwrap();
    b.mount("/absolute/one", "tmpfs", "t", &[]).mount("/upward/two", "tmpfs", "t", &[]);
    c.run(&b).ok();
    canary.untouched();
    let inside = b.rootfs(canary.dir.to_str().unwrap());
    assert!(inside.join("one").is_dir() && inside.join("two").is_dir(), "resolved in the root");
}

fn legal_absolute_symlinks_work(c: &Case) {
    let mut b = c.bundle();
    symlink("/run", b.rootfs("var/run")).unwrap();
    symlink("usr/bin", b.rootfs("sbin")).unwrap();
    b.mount("/var/run", "tmpfs", "t", &[]).mount("/sbin", "tmpfs", "u", &[]);
    let seen = c.see(&b);
    assert_eq!(mount_at(&seen, "/run")["type"], "tmpfs");
    assert_eq!(mount_at(&seen, "/usr/bin")["type"], "tmpfs");
}

fn dotdot_in_a_destination_stays_inside(c: &Case) {
    let mut b = c.bundle();
    b.mount("/../../mnt/../mnt/x", "tmpfs", "t", &[]);
    assert_eq!(mount_at(&c.see(&b), "/mnt/x")["type"], "tmpfs");
    assert!(!b.dir.join("mnt").exists());
}

fn relative_destination_starts_at_the_root(c: &Case) {
    let mut b = c.bundle();
    b.mount("mnt/y", "tmpfs", "t", &[]);
    assert_eq!(mount_at(&c.see(&b), "/mnt/y")["type"], "tmpfs");
}

fn procfs_takes_hidepid(c: &Case) {
    let mut b = c.bundle();
    b.unmount("/proc").unmount("/dev").unmount("/sys");
    let mut rest: Vec<_> = b.config["mounts"].as_array().unwrap().clone();
    rest.retain(|m| !m["destination"].as_str().unwrap().starts_with("/sys"));
    rest.retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
    rest.push(json!({"destination": "/proc", "type": "proc", "source": "proc", "options": ["hidepid=2", "nosuid"]}));
    b.set("/mounts", json!(rest)).remove("/linux/maskedPaths").remove("/linux/readonlyPaths");
    let seen = c.see(&b);
    let options = mount_at(&seen, "/proc")["options"].as_str().unwrap();
    assert!(options.contains("hidepid=invisible") || options.contains("hidepid=2"), "{options}");
}

fn devpts_is_a_new_instance(c: &Case) {
    let mut b = c.bundle();
    assert_eq!(c.run(b.args(&["/bin/ls", "/dev/pts"])).ok().out(), "ptmx\n");
    let out = c.run(b.args(&["/probe", "stat", "/dev/pts/ptmx"])).ok().out();
    assert!(out.starts_with("20666 0 0 "), "{out}");
}

fn mqueue_belongs_to_root_of_the_user_namespace(c: &Case) {
    let mut b = c.bundle();
    b.user_namespace();
    let out = c.run(b.args(&["/probe", "stat", "/dev/mqueue"])).ok().out();
    assert!(out.starts_with("41777 0 "), "{out}");
}

fn mqueue_is_mounted(c: &Case) {
    assert_eq!(mount_at(&c.see(&c.bundle()), "/dev/mqueue")["type"], "mqueue");
}

fn cgroup_mount_shows_the_own_cgroup_as_root(c: &Case) {
    let seen = c.see(&c.bundle());
    assert_eq!(mount_at(&seen, "/sys/fs/cgroup")["root"], "/");
    assert!(seen["cgroup"].as_str().unwrap().lines().any(|l| l == "0::/"), "{}", seen["cgroup"]);
    let mut b = c.bundle();
    assert_eq!(c.run(b.args(&["/bin/cat", "/sys/fs/cgroup/cgroup.procs"])).ok().out(), "1\n");
    b.args(&["/probe", "write", "/sys/fs/cgroup/cgroup.procs", "1"]);
    assert_eq!(c.run(&b).ok().out(), "EROFS\n");
}

fn cgroup_mount_without_cgroup_namespace_is_what_its_options_say(c: &Case) {
    for word in ["ro", "rw", "nodev"] {
        let mut b = c.bundle();
        b.without_namespace("cgroup").unmount("/sys/fs/cgroup");
        b.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", word]);
        let seen = c.see(&b);
        let mount = mount_at(&seen, "/sys/fs/cgroup");
        let access = if word == "ro" { "ro" } else { "rw" };
        has(mount, "flags", &[access, "nosuid", "nodev", "noexec"]);
        assert_eq!(mount["type"], "cgroup2", "CVE-2023-25809");
    }
}

/// As runc takes it, for a bind of a part of the root; else it is a path in the container.
fn bind_in_the_hosts_paths_of_the_root_stays_in_it(c: &Case) {
    let mut b = c.bundle();
    let root = b.rootfs("").to_string_lossy().trim_end_matches('/').to_owned();
    fs::create_dir_all(b.rootfs("from/x")).unwrap();
    b.mount(&format!("{root}/to"), "bind", &format!("{root}/from"), &["bind"]);
    b.mount(&root, "bind", &format!("{root}/from"), &["bind"]);
    b.mount(&format!("{root}/a"), "tmpfs", "a", &[]);
    let out = c.run(b.args(&["/bin/ls", "/to", &root, &format!("{root}/a")]));
    let (out, err) = (out.out(), out.ok().err());
    let warning = ".destination: begins with root.path of the host, taken as /to";
    assert!(err.contains(warning) && err.lines().count() == 1, "{err}");
    assert_eq!(out.matches("x\n").count(), 2, "{out}");
    let mut b = c.bundle();
    b.mount(&format!("{root}/proc/self"), "bind", &format!("{root}/from"), &["bind"]);
    c.create(&b).fails("must not be mounted below /proc");
    c.nothing_left();
}

fn propagation_of_a_mount_is_set(c: &Case) {
    let mut b = c.bundle();
    b.mount("/a", "tmpfs", "a", &["shared"]).mount("/b", "tmpfs", "b", &["unbindable"]);
    b.mount("/c", "tmpfs", "c", &["private"]);
    let seen = c.see(&b);
    assert!(mount_at(&seen, "/a")["propagation"].as_str().unwrap().starts_with("shared:"));
    assert_eq!(mount_at(&seen, "/b")["propagation"], "unbindable");
    assert_eq!(mount_at(&seen, "/c")["propagation"], "");
}

fn rootfs_propagation_is_set(c: &Case) {
    for (value, expected) in [
        ("shared", "shared:"),
        ("private", ""),
        ("unbindable", "unbindable"),
        ("rshared", "shared:"),
    ] {
        let mut b = c.bundle();
        let seen = c.see(b.set("/linux/rootfsPropagation", json!(value)));
        let got = mount_at(&seen, "/")["propagation"].as_str().unwrap();
        assert!(
            got.starts_with(expected) && got.is_empty() == expected.is_empty(),
            "{value}: {got}"
        );
    }
}

fn root_propagation_never_reaches_the_host(c: &Case) {
    // All of the host is shared here, as systemd makes it.
    sys::mount("none", Path::new("/"), "", libc::MS_REC | libc::MS_SHARED, "").unwrap();
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    for value in [json!(null), json!("rprivate"), json!("rslave"), json!("shared")] {
        let mut b = c.bundle();
        b.set("/linux/rootfsPropagation", value);
        c.run(b.mount("/mnt", "tmpfs", "t", &[])).ok();
        assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    }
    sys::mount("none", Path::new("/"), "", libc::MS_REC | libc::MS_PRIVATE, "").unwrap();
}

fn many_mounts_work(c: &Case) {
    let mut b = c.bundle();
    for i in 0..300 {
        b.mount(&format!("/mnt/{i}"), "tmpfs", "t", &["size=4k"]);
    }
    let seen = c.see(&b);
    assert_eq!(mount_at(&seen, "/mnt/299")["type"], "tmpfs");
}

fn unknown_option_is_refused_by_name(c: &Case) {
    let mut b = c.bundle();
    let index = b.config["mounts"].as_array().unwrap().len();
    b.mount("/mnt", "bind", &source(c), &["rbind", "frobnicate"]);
    let out = c.create(&b).fails("frobnicate");
    assert!(out.err().contains(&format!("mounts[{index}].options[1]")), "{}", out.err());
    c.nothing_left();
}

fn kernel_reason_for_a_bad_option_is_told(c: &Case) {
    let mut b = c.bundle();
    let index = b.config["mounts"].as_array().unwrap().len();
    b.mount("/mnt", "tmpfs", "t", &["nosuid", "size=banana"]);
    let out = c.create(&b).fails("Bad value for 'size'");
    assert!(out.err().contains(&format!("mounts[{index}].options[1]")), "{}", out.err());
    c.nothing_left();
}

fn missing_bind_source_is_named(c: &Case) {
    let mut b = c.bundle();
    b.mount("/mnt", "bind", "/no/such/source", &["bind"]);
    c.create(&b).fails("/no/such/source");
    c.nothing_left();
}

fn no_pivot_works(c: &Case) {
    let b: Bundle = c.bundle();
    let mut b = b;
    let dir = b.args(&["/probe", "see"]).save();
    let seen = c.rt(&["run", "--no-pivot", "-b", &dir, crate::support::ID]).ok().json();
    assert_eq!(mount_at(&seen, "/proc")["type"], "proc");
    assert!(seen["cwd"] == "/" && seen["pid"] == 1);
}

fn mount_over_an_allowed_file_of_proc_works(c: &Case) {
    let mut b = c.bundle();
    b.mount("/proc/uptime", "bind", &format!("{}/file", source(c)), &["bind", "ro"]);
    assert_eq!(c.run(b.args(&["/bin/cat", "/proc/uptime"])).ok().out(), "content");
}
