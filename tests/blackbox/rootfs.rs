//! The root file system: devices, links, masked and read-only paths.

use crate::support::{Case, Need};
use crate::tests;
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

tests! {
    default_devices_have_type_number_and_mode,
    default_devices_work,
    default_links_are_there,
    nothing_else_is_in_dev,
    configured_devices_are_made,
    configured_fifo_is_made,
    configured_device_may_replace_a_default: rt_only(),
    bound_device_takes_the_place_of_a_default,
    device_outside_dev_is_made_in_the_root,
    root_is_read_only_or_not,
    masked_files_are_empty_and_directories_too,
    masked_paths_that_are_missing_are_ignored,
    masked_paths_that_cannot_be_looked_at_are_an_error: rt_only().needs(crate::support::Need::UserNamespace),
    what_was_mounted_is_masked_wherever_it_was_moved: rt_only(),
    default_masks_hide_what_they_must,
    read_only_paths_are_read_only,
    masked_path_through_a_symlink_stays_inside,
    absolute_root_path_works,
    root_path_below_the_bundle_works,
    root_path_may_be_a_symlink,
    host_is_not_visible,
    no_file_is_written_into_the_rootfs,
    devices_in_a_user_namespace_work: needs(Need::UserNamespace),
    network_root_pseudo_files_belong_to_the_container,
}

fn default_devices_have_type_number_and_mode(c: &Case) {
    let dev = c.see(&c.bundle())["dev"].clone();
    for (name, major, minor) in [
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
        ("tty", 5, 0),
    ] {
        let expected =
            json!({"type": "c", "major": major, "minor": minor, "mode": 0o666, "uid": 0, "gid": 0});
        assert_eq!(dev[name], expected, "{name}");
    }
}

fn default_devices_work(c: &Case) {
    let mut b = c.bundle();
    b.args(&[
        "/probe",
        "open",
        "rw",
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/random",
        "/dev/urandom",
        "/dev/ptmx",
    ]);
    assert_eq!(c.run(&b).ok().out(), "ok\n".repeat(6));
    b.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    assert_eq!(c.run(&b).ok().out(), "ok\n".repeat(6), "an ordinary user may, too");
}

fn default_links_are_there(c: &Case) {
    let dev = c.see(&c.bundle())["dev"].clone();
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        assert_eq!(dev[name]["link"], target, "{name}");
    }
    assert!(dev["ptmx"]["link"].as_str().unwrap().ends_with("pts/ptmx"), "{}", dev["ptmx"]);
}

fn nothing_else_is_in_dev(c: &Case) {
    let dev = c.see(&c.bundle())["dev"].clone();
    let known = [
        "null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "stderr",
        "ptmx", "pts", "shm", "mqueue", "core",
    ];
    let strange: Vec<_> =
        dev.as_object().unwrap().keys().filter(|k| !known.contains(&k.as_str())).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

fn configured_devices_are_made(c: &Case) {
    let mut b = c.bundle();
    b.push("/linux/devices", json!({"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4}));
    b.push(
        "/linux/devices",
        json!({"path": "/dev/deep/er/block", "type": "b", "major": 7, "minor": 200}),
    );
    let seen = c.see(&b);
    let expected = json!({"type": "c", "major": 1, "minor": 5, "mode": 0o640, "uid": 3, "gid": 4});
    assert_eq!(seen["dev"]["mine"], expected);
    let out = c.run(b.args(&["/probe", "stat", "/dev/deep/er/block"])).ok().out();
    assert!(out.starts_with("60"), "a block device: {out}");
}

fn configured_fifo_is_made(c: &Case) {
    let mut b = c.bundle();
    b.push("/linux/devices", json!({"path": "/dev/pipe", "type": "p", "fileMode": 0o600}));
    assert_eq!(c.see(&b)["dev"]["pipe"]["type"], "p");
}

fn configured_device_may_replace_a_default(c: &Case) {
    let mut b = c.bundle();
    b.push("/linux/devices", json!({"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 9}));
    let null = c.see(&b)["dev"]["null"].clone();
    assert_eq!((&null["mode"], &null["uid"]), (&json!(0o600), &json!(9)));
}

fn bound_device_takes_the_place_of_a_default(c: &Case) {
    let mut b = c.bundle();
    b.mount("/dev/random", "bind", "/dev/urandom", &["rbind", "rprivate"]);
    b.push("/linux/devices", json!({"path": "/dev/mine", "type": "c", "major": 1, "minor": 5}));
    b.mount("/dev/mine", "bind", "/dev/zero", &["bind"]);
    assert_eq!(c.see(&b)["dev"]["random"]["minor"], 9);
}

fn device_outside_dev_is_made_in_the_root(c: &Case) {
    let mut b = c.bundle();
    b.push(
        "/linux/devices",
        json!({"path": "/mnt/../tmp/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o666}),
    );
    let out = c.run(b.args(&["/probe", "stat", "/tmp/zero"])).ok().out();
    assert!(out.starts_with("20666"), "{out}");
}

fn root_is_read_only_or_not(c: &Case) {
    let mut b = c.bundle();
    c.run(b.sh("touch /file")).fails("Read-only file system");
    c.run(b.set("/root/readonly", json!(false)).sh("touch /file")).ok();
    assert!(b.rootfs("file").exists());
    c.run(b.remove("/root/readonly").sh("touch /file2")).ok();
}

fn masked_files_are_empty_and_directories_too(c: &Case) {
    let mut b = c.bundle();
    fs::create_dir(b.rootfs("secret")).unwrap();
    fs::write(b.rootfs("secret/inner"), "secret").unwrap();
    b.set("/linux/maskedPaths", json!(["/etc/passwd", "/secret", "/proc/kcore"]));
    b.sh("cat /etc/passwd; ls -A /secret; echo end");
    assert_eq!(c.run(&b).ok().out(), "end\n");
    let seen = c.see(&b);
    assert!(
        seen["mounts"]["/secret"]["flags"].as_str().unwrap().contains("ro"),
        "{}",
        seen["mounts"]["/secret"]
    );
}

fn masked_paths_that_are_missing_are_ignored(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/maskedPaths", json!(["/no/such/path", "/etc/passwd/below"]));
    b.set("/linux/readonlyPaths", json!(["/no/such/path", "/etc/passwd/below"]));
    if !c.is_rt() {
        b.set("/linux/maskedPaths", json!(["/no/such/path"]));
        b.set("/linux/readonlyPaths", json!(["/no/such/path"]));
    }
    c.run(&b).ok();
}

/// Who runs in the container may have rights there that its set-up has not.
fn masked_paths_that_cannot_be_looked_at_are_an_error(c: &Case) {
    let mut b = c.bundle();
    b.user_namespace();
    fs::create_dir(b.rootfs("closed")).unwrap();
    fs::write(b.rootfs("closed/file"), "secret").unwrap();
    // An owner that the namespace does not know: its root may not search it.
    std::os::unix::fs::chown(b.rootfs("closed"), Some(5), Some(5)).unwrap();
    fs::set_permissions(b.rootfs("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    for field in ["maskedPaths", "readonlyPaths"] {
        let mut b = b.clone();
        b.set(&format!("/linux/{field}"), json!(["/closed/file"]));
        let out = c.create(&b).fails("EACCES");
        assert!(out.err().contains(&format!("linux.{field}[0]")), "{}", out.err());
        c.nothing_left();
    }
}

/// A peer that may write the same root renames mount points: they belong to the root, and what is
/// mounted there goes with them.
fn what_was_mounted_is_masked_wherever_it_was_moved(c: &Case) {
    let mut b = c.bundle();
    b.set("/root/readonly", json!(false))
        .set("/mounts/1/options", json!(["nosuid", "strictatime", "mode=755", "ro"]));
    let script = "cd rootfs && mv proc p && mv sys s && mv dev d && mkdir proc sys dev";
    b.set("/hooks/createRuntime", json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]));
    b.set("/linux/maskedPaths", json!(["/proc/timer_list", "/sys/firmware"]));
    b.sh("/probe stat /p/timer_list; ls /s/firmware | wc -l; echo > /d/x; echo > /p/sys/kernel/printk");
    let out = c.run(&b);
    let said = out.out();
    assert!(said.starts_with("20666 ") && said.ends_with("\n0\n"), "{said}{}", out.err());
    assert_eq!(out.err().matches("Read-only file system").count(), 2, "{}", out.err());
}

fn default_masks_hide_what_they_must(c: &Case) {
    let mut b = c.bundle();
    let paths = [
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/latency_stats",
        "/proc/sched_debug",
    ];
    for path in paths.iter().filter(|p| fs::exists(p).unwrap()) {
        let out = c.run(b.args(&["/bin/head", "-c", "1", path]));
        assert_eq!(out.out(), "", "CVE-2015-3630: {path}");
    }
    let out = c
        .run(b.sh("ls -A /sys/firmware /proc/scsi /proc/asound /proc/acpi 2>/dev/null | grep -v :"))
        .out();
    assert_eq!(out.trim(), "");
    let writes =
        ["/proc/sys/kernel/printk", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity"];
    for path in writes.iter().filter(|p| fs::exists(p).unwrap()) {
        assert_eq!(c.run(b.args(&["/probe", "open", "w", path])).ok().out(), "EROFS\n", "{path}");
    }
}

fn read_only_paths_are_read_only(c: &Case) {
    let mut b = c.bundle();
    fs::write(b.rootfs("file"), "x").unwrap();
    b.set("/root/readonly", json!(false))
        .set("/linux/readonlyPaths", json!(["/proc/sys", "/file", "/etc"]));
    b.args(&["/probe", "open", "w", "/file", "/etc/passwd", "/proc/sys/kernel/hostname"]);
    assert_eq!(c.run(&b).ok().out(), "EROFS\nEROFS\nEROFS\n");
    let seen = c.see(&b);
    let flags = seen["mounts"]["/proc/sys"]["flags"].as_str().unwrap();
    for flag in ["ro", "nosuid", "nodev", "noexec"] {
        let expected =
            flag == "ro" || seen["mounts"]["/proc"]["flags"].as_str().unwrap().contains(flag);
        assert_eq!(flags.contains(flag), expected, "{flag} in {flags}");
    }
}

fn masked_path_through_a_symlink_stays_inside(c: &Case) {
    let mut b = c.bundle();
    let canary = c.canary("canary");
    symlink(canary.dir.join("file"), b.rootfs("out")).unwrap();
    symlink("/etc/passwd", b.rootfs("in")).unwrap();
    b.set("/linux/maskedPaths", json!(["/in"])).set("/linux/readonlyPaths", json!(["/etc/group"]));
    assert_eq!(c.run(b.args(&["/bin/cat", "/etc/passwd"])).ok().out(), "", "resolved in the root");
    b.set("/linux/maskedPaths", json!(["/out"])).set("/linux/readonlyPaths", json!(["/out"]));
    let _ = c.run(&b);
    c.nothing_left();
    canary.untouched();
}

fn absolute_root_path_works(c: &Case) {
    let mut b = c.bundle();
    let path = b.rootfs("");
    c.run(b.set("/root/path", json!(path.to_string_lossy()))).ok();
}

fn root_path_below_the_bundle_works(c: &Case) {
    let mut b = c.bundle();
    c.run(b.set("/root/path", json!("./rootfs/../rootfs/"))).ok();
}

fn root_path_may_be_a_symlink(c: &Case) {
    let mut b = c.bundle();
    symlink("rootfs", b.dir.join("canary")).unwrap();
    let out = c.run(b.set("/root/path", json!("canary")));
    // Resolved once, or refused: both are sound.
    assert!(out.code == Some(0) || out.err().contains("root.path") || !c.is_rt(), "{}", out.err());
    c.nothing_left();
}

fn host_is_not_visible(c: &Case) {
    let seen = c.see(&c.bundle());
    for (at, mount) in seen["mounts"].as_object().unwrap() {
        let ours = ["/", "/proc", "/dev", "/sys"]
            .iter()
            .any(|p| at == p || at.starts_with(&format!("{p}/")));
        assert!(ours, "{at}: {mount}");
    }
    let mut b = c.bundle();
    b.sh("cat /proc/1/mountinfo | wc -l; cat /proc/self/mountinfo | wc -l; ls /proc | grep -c '^[0-9]'");
    let out = c.run(&b).ok().out();
    assert!(out.lines().last().unwrap().parse::<u32>().unwrap() < 6, "only own processes: {out}");
}

fn no_file_is_written_into_the_rootfs(c: &Case) {
    let b = c.bundle();
    let files = |dir: &str| {
        let mut names: Vec<_> =
            fs::read_dir(b.rootfs(dir)).unwrap().flatten().map(|e| e.file_name()).collect();
        names.sort();
        names
    };
    let before: Vec<_> = ["", "dev", "proc", "sys", "etc", "run", "tmp"].map(files).into();
    c.run(&b).ok();
    let after: Vec<_> = ["", "dev", "proc", "sys", "etc", "run", "tmp"].map(files).into();
    assert_eq!(before, after, "CVE-2025-24965");
}

fn devices_in_a_user_namespace_work(c: &Case) {
    let mut b = c.bundle();
    b.namespace("user", None);
    for ids in ["uidMappings", "gidMappings"] {
        b.set(
            &format!("/linux/{ids}"),
            json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]),
        );
    }
    b.args(&["/probe", "open", "rw", "/dev/null", "/dev/zero", "/dev/random", "/dev/ptmx"]);
    assert_eq!(c.run(&b).ok().out(), "ok\n".repeat(4));
}

fn network_root_pseudo_files_belong_to_the_container(c: &Case) {
    let mut b = c.bundle();
    let out = c.run(b.args(&["/bin/ls", "/sys/class/net"])).ok().out();
    assert_eq!(out.split_whitespace().filter(|n| *n == "lo").count(), 1, "{out}");
    assert!(fs::metadata(b.rootfs("proc")).unwrap().is_dir());
    assert_eq!(fs::metadata(b.rootfs("proc")).unwrap().mode() & 0o777, 0o755);
}
