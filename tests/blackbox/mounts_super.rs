//! What is said to the file system itself: flags of its superblock, long values, overlays,
//! changes by `remount`.

use crate::support::{Case, Need, sys};
use crate::tests;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

tests! {
    superblock_words_work_on_a_tmpfs: rt_only(),
    superblock_words_work_on_every_kind: rt_only(),
    flags_without_a_name_are_set_all_the_same: rt_only(),
    old_and_new_ways_of_mounting_give_the_same: rt_only(),
    superblock_words_are_refused_for_a_bind: rt_only(),
    overlay_is_mounted: needs(Need::FileSystem("overlay")),
    overlay_may_be_read_only: needs(Need::FileSystem("overlay")),
    overlay_with_a_long_list_of_layers_works: needs(Need::FileSystem("overlay")),
    overlay_with_a_list_longer_than_a_page_works: needs(Need::FileSystem("overlay")).rt_only(),
    values_longer_than_a_page_are_refused: rt_only(),
    remount_changes_a_file_system: rt_only(),
    remount_of_a_bind_changes_the_mount: rt_only(),
    remount_of_what_is_not_the_containers_is_refused: rt_only(),
    remount_of_nothing_is_an_error: rt_only(),
}

fn mount_at<'v>(seen: &'v Value, at: &str) -> &'v Value {
    let mount = &seen["mounts"][at];
    assert!(mount.is_object(), "nothing mounted at {at}: {:#}", seen["mounts"]);
    mount
}

#[track_caller]
fn options(seen: &Value, at: &str) -> Vec<String> {
    let text = mount_at(seen, at)["options"].as_str().unwrap();
    text.split(',').map(str::to_string).collect()
}

fn superblock_words_work_on_a_tmpfs(c: &Case) {
    let mut b = c.bundle();
    let words = [
        (vec!["sync"], vec!["sync"]),
        (vec!["sync", "async"], vec![]),
        (vec!["dirsync"], vec!["dirsync"]),
        (vec!["mand"], vec!["mand"]),
        (vec!["mand", "nomand"], vec![]),
        (vec!["lazytime"], vec!["lazytime"]),
        (vec!["nolazytime"], vec![]),
        (vec!["lazytime", "nolazytime", "loud", "noiversion"], vec![]),
    ];
    for (i, (given, _)) in words.iter().enumerate() {
        b.mount(&format!("/mnt/{i}"), "tmpfs", "t", given);
    }
    let seen = c.see(&b);
    for (i, (given, expected)) in words.iter().enumerate() {
        let mut shown = options(&seen, &format!("/mnt/{i}"));
        shown.retain(|word| ["sync", "dirsync", "mand", "lazytime"].contains(&word.as_str()));
        assert_eq!(&shown, expected, "{given:?}");
    }
}

fn superblock_words_work_on_every_kind(c: &Case) {
    let kinds = ["proc", "sysfs", "mqueue", "devpts", "cgroup", "tmpfs"];
    for word in ["sync", "async", "dirsync", "lazytime", "silent", "loud", "iversion"] {
        let mut b = c.bundle();
        for kind in kinds.iter().filter(|kind| **kind != "cgroup") {
            b.mount(&format!("/mnt/{kind}"), kind, "x", &[word]);
        }
        let seen = c.see(&b);
        for kind in kinds.iter().filter(|kind| **kind != "cgroup") {
            assert_eq!(mount_at(&seen, &format!("/mnt/{kind}"))["type"], *kind, "{word}");
        }
    }
}

fn flags_without_a_name_are_set_all_the_same(c: &Case) {
    let mut b = c.bundle();
    b.mount("/mnt", "tmpfs", "some", &["silent", "iversion", "sync", "size=1m", "nosuid", "ro"]);
    let seen = c.see(&b);
    let mount = mount_at(&seen, "/mnt");
    assert_eq!((&mount["type"], &mount["source"]), (&"tmpfs".into(), &"some".into()));
    assert_eq!(mount["flags"], "ro,nosuid,relatime");
    let shown = options(&seen, "/mnt");
    assert!(shown.contains(&"sync".into()) && shown.contains(&"size=1024k".into()), "{shown:?}");
}

fn old_and_new_ways_of_mounting_give_the_same(c: &Case) {
    let mut b = c.bundle();
    fs::create_dir_all(b.rootfs("a/old")).unwrap();
    fs::create_dir_all(b.rootfs("a/new")).unwrap();
    let words = ["nosuid", "noexec", "noatime", "size=64k", "uid=7"];
    for (at, first) in [("/a/old", "silent"), ("/a/new", "loud")] {
        b.mount(at, "tmpfs", "t", &[&[first][..], &words].concat());
    }
    b.args(&["/probe", "stat", "/a/old", "/a/new"]);
    let out = c.run(&b).ok().out();
    assert_eq!(out, "40755 7 0 0\n".repeat(2));
    let seen = c.see(&b);
    let [old, new] = ["/a/old", "/a/new"].map(|at| mount_at(&seen, at));
    assert_eq!((&old["flags"], &old["source"]), (&new["flags"], &new["source"]));
}

fn superblock_words_are_refused_for_a_bind(c: &Case) {
    for word in ["sync", "lazytime", "silent", "iversion", "size=1m"] {
        let mut b = c.bundle();
        let index = b.config["mounts"].as_array().unwrap().len();
        b.mount("/mnt", "none", "/etc", &["bind", word]);
        let out = c.create(&b).fails("for a bind mount");
        assert!(out.err().contains(&format!("mounts[{index}].options[1]")), "{}", out.err());
    }
    c.nothing_left();
}

/// Directories with a file each, below a base whose name is long.
fn layers(c: &Case, count: usize, long: usize) -> Vec<String> {
    let base = c.path(&"l".repeat(long));
    let make = |n: usize| {
        let dir: PathBuf = base.join(format!("layer{n}"));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("file{n}")), format!("{n}\n")).unwrap();
        fs::write(dir.join("top"), format!("{n}\n")).unwrap();
        dir.to_string_lossy().into_owned()
    };
    (0..count).map(make).collect()
}

fn writable(c: &Case) -> [String; 2] {
    ["upper", "work"].map(|name| {
        fs::create_dir_all(c.path(name)).unwrap();
        format!("{name}dir={}", c.path_str(name))
    })
}

fn overlay_is_mounted(c: &Case) {
    let (mut b, [upper, work]) = (c.bundle(), writable(c));
    let lower = format!("lowerdir={}", layers(c, 2, 1).join(":"));
    b.mount("/mnt", "overlay", "overlay", &[&lower, &upper, &work]);
    b.sh("cat /mnt/top /mnt/file1; echo new > /mnt/new");
    assert_eq!(c.run(&b).ok().out(), "0\n1\n");
    assert_eq!(fs::read_to_string(c.path("upper/new")).unwrap(), "new\n");
}

fn overlay_may_be_read_only(c: &Case) {
    let (mut b, [upper, work]) = (c.bundle(), writable(c));
    let lower = format!("lowerdir={}", layers(c, 1, 1).join(":"));
    b.mount("/mnt", "overlay", "overlay", &[&lower, &upper, &work, "ro"]);
    b.args(&["/probe", "write", "/mnt/top", "x"]);
    assert_eq!(c.run(&b).ok().out(), "EROFS\n");
}

fn overlay_with_a_long_list_of_layers_works(c: &Case) {
    let (mut b, [upper, work]) = (c.bundle(), writable(c));
    let lower = format!("lowerdir={}", layers(c, 10, 60).join(":"));
    assert!((1000..3000).contains(&lower.len()), "{}", lower.len());
    b.mount("/mnt", "overlay", "overlay", &[&lower, &upper, &work, "nosuid"]);
    b.sh("cat /mnt/top /mnt/file9; echo new > /mnt/new; grep /mnt /proc/self/mounts");
    let out = c.run(&b).ok().out();
    assert!(out.starts_with("0\n9\n") && out.contains("nosuid"), "{out}");
    assert!(c.path("upper/new").exists());
}

fn overlay_with_a_list_longer_than_a_page_works(c: &Case) {
    let mut b = c.bundle();
    let layers = layers(c, 60, 60);
    let lower = format!("lowerdir={}", layers.join(":"));
    assert!(lower.len() > 4096);
    b.mount("/mnt", "overlay", "overlay", &[&lower, "ro"]).sh("cat /mnt/top /mnt/file59");
    assert_eq!(c.run(&b).ok().out(), "0\n59\n");
}

fn values_longer_than_a_page_are_refused(c: &Case) {
    let mut b = c.bundle();
    let index = b.config["mounts"].as_array().unwrap().len();
    b.mount("/mnt", "tmpfs", "t", &["nosuid", &format!("mpol={}", "x".repeat(5000))]);
    let out = c.create(&b).fails("4095 bytes of mount(2)");
    assert!(out.err().contains(&format!("mounts[{index}].options[1]")), "{}", out.err());
    c.nothing_left();
}

fn remount_changes_a_file_system(c: &Case) {
    let mut b = c.bundle();
    b.mount("/mnt", "tmpfs", "t", &["size=1m", "nosuid"]);
    b.mount("/mnt", "none", "", &["remount", "size=2m", "noexec", "ro"]);
    let seen = c.see(&b);
    assert!(options(&seen, "/mnt").contains(&"size=2048k".into()), "{:?}", options(&seen, "/mnt"));
    assert_eq!(mount_at(&seen, "/mnt")["flags"], "ro,noexec,relatime");
}

fn remount_of_a_bind_changes_the_mount(c: &Case) {
    fs::create_dir(c.path("source")).unwrap();
    let mut b = c.bundle();
    b.mount("/mnt", "none", &c.path_str("source"), &["bind", "nosuid"]);
    b.mount("/mnt", "none", "", &["bind", "remount", "ro", "nodev", "shared"]);
    b.mount("/dev", "none", "", &["bind", "remount", "noexec"]);
    let seen = c.see(&b);
    assert_eq!(mount_at(&seen, "/mnt")["flags"], "ro,nodev,relatime");
    assert!(mount_at(&seen, "/mnt")["propagation"].as_str().unwrap().starts_with("shared:"));
    assert!(mount_at(&seen, "/dev")["flags"].as_str().unwrap().contains("noexec"));
}

fn remount_of_what_is_not_the_containers_is_refused(c: &Case) {
    let canary = c.path("canary");
    fs::create_dir(&canary).unwrap();
    sys::mount("canary", &canary, "tmpfs", 0, "size=1m").unwrap();
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut b = c.bundle();
    b.mount("/mnt", "none", &canary.to_string_lossy(), &["bind"]);
    b.mount("/mnt", "none", "", &["remount", "ro", "size=2m"]);
    c.create(&b).fails("the superblock of any other is the host's");
    assert_eq!(before, fs::read_to_string("/proc/self/mountinfo").unwrap());
    sys::umount_detach(&canary).unwrap();
    c.nothing_left();
}

fn remount_of_nothing_is_an_error(c: &Case) {
    let mut b = c.bundle();
    b.mount("/etc", "none", "", &["remount", "bind", "ro"]);
    c.create(&b).fails("only a mount point can be changed");
    c.nothing_left();
}
