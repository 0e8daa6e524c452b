//! Attributes and propagation of mounts.

use crate::support::{Bundle, Case, Need, sys};
use crate::tests;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

tests! {
    bind_without_attribute_words_keeps_all_attributes: except_crun("other rules"),
    bind_with_attribute_words_has_just_these: except_crun("other rules").except_runc("nosymfollow is unknown to it"),
    access_times_stay_until_a_word_sets_them: rt_only(),
    a_user_namespace_keeps_what_it_locks: rt_only().needs(Need::UserNamespace),
    clearing_what_is_locked_is_an_error: rt_only().needs(Need::UserNamespace),
    an_ordinary_user_keeps_what_is_locked: rootless().rt_only(),
    an_ordinary_user_binds_a_locked_tree_only_as_a_whole: rootless().rt_only(),
    every_recursive_word_reaches_submounts: rt_only(),
    every_plain_word_works_on_a_new_file_system: rt_only(),
    propagation_words_work_on_every_kind: rt_only(),
    recursive_propagation_reaches_submounts: rt_only(),
    root_takes_all_eight_propagations: rt_only(),
    mounts_under_a_shared_bind_reach_the_host: except_crun("lost"),
    mounts_of_the_host_reach_a_slave_bind: except_crun("lost"),
    mounts_of_the_host_do_not_reach_a_private_bind,
}

/// A tmpfs of the host with these flags on the mount alone.
fn flagged(c: &Case, flags: libc::c_ulong) -> PathBuf {
    let at = c.path("flagged");
    fs::create_dir_all(&at).unwrap();
    sys::mount("flagged", &at, "tmpfs", 0, "mode=755").unwrap();
    fs::write(at.join("file"), "content").unwrap();
    sys::mount("none", &at, "", libc::MS_REMOUNT | libc::MS_BIND | flags, "").unwrap();
    at
}

#[track_caller]
fn flags_of(c: &Case, b: &Bundle, at: &str) -> Vec<String> {
    let seen = c.see(b);
    let flags = seen["mounts"][at]["flags"].as_str();
    flags.expect("a mount there").split(',').map(str::to_string).collect()
}

/// Binds a source with some flags by some options; what comes of it.
#[track_caller]
fn bound(c: &Case, user: bool, flags: libc::c_ulong, options: &[&str]) -> Vec<String> {
    let source = flagged(c, flags);
    let mut b = c.named_bundle(&format!("b{user}"));
    if user {
        b.user_namespace();
    }
    b.mount("/mnt", "bind", &source.to_string_lossy(), options);
    let seen = flags_of(c, &b, "/mnt");
    sys::umount_detach(&source).unwrap();
    seen
}

const MANY: libc::c_ulong =
    libc::MS_RDONLY | libc::MS_NOEXEC | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_RELATIME;
/// Not in the libc crate for every target.
const NOSYMFOLLOW: libc::c_ulong = 256;

fn bind_without_attribute_words_keeps_all_attributes(c: &Case) {
    for user in [false, true] {
        let seen = bound(c, user, MANY, &["bind", "rprivate"]);
        assert_eq!(seen, ["ro", "nosuid", "nodev", "noexec", "relatime"], "{user}");
        if !c.is_rt() {
            return;
        }
    }
}

fn bind_with_attribute_words_has_just_these(c: &Case) {
    assert_eq!(bound(c, false, MANY, &["bind", "dev"]), ["rw", "relatime"]);
    assert_eq!(
        bound(c, false, MANY, &["bind", "nosuid", "nodev"]),
        ["rw", "nosuid", "nodev", "relatime"]
    );
    assert_eq!(bound(c, false, MANY | NOSYMFOLLOW, &["rbind", "ro"]), ["ro", "relatime"]);
    assert_eq!(bound(c, false, MANY, &["rbind", "rw", "suid"]), ["rw", "relatime"]);
}

fn access_times_stay_until_a_word_sets_them(c: &Case) {
    let (noatime, nodiratime) = (libc::MS_NOATIME, libc::MS_NODIRATIME);
    let strict = libc::MS_STRICTATIME;
    for (flags, options, expected) in [
        (noatime, vec!["bind"], "noatime"),
        (noatime, vec!["bind", "atime"], "noatime"),
        (noatime, vec!["bind", "norelatime"], "noatime"),
        (noatime, vec!["bind", "ro", "exec"], "noatime"),
        (noatime, vec!["bind", "noatime", "atime"], "noatime"),
        (noatime, vec!["bind", "relatime"], "relatime"),
        (noatime, vec!["bind", "strictatime"], ""),
        (noatime, vec!["bind", "nodiratime"], "nodiratime,relatime"),
        (noatime, vec!["bind", "nodiratime", "strictatime"], "nodiratime"),
        (nodiratime | libc::MS_RELATIME, vec!["bind", "strictatime"], ""),
        (nodiratime | libc::MS_RELATIME, vec!["bind", "diratime"], "nodiratime,relatime"),
        (strict, vec!["bind"], ""),
        (strict, vec!["bind", "nostrictatime"], ""),
        (strict, vec!["bind", "noatime"], "noatime"),
    ] {
        let mut seen = bound(c, false, flags, &options);
        seen.retain(|flag| flag.contains("atime"));
        assert_eq!(seen.join(","), expected, "{options:?} of {flags:x}");
    }
}

fn a_user_namespace_keeps_what_it_locks(c: &Case) {
    let all = ["ro", "nosuid", "nodev", "noexec", "relatime"];
    let source = MANY | NOSYMFOLLOW;
    // Nobody locks nosymfollow.
    assert_eq!(bound(c, true, source, &["bind", "symfollow"]), all);
    assert_eq!(bound(c, true, source, &["bind", "nosuid", "nodev"]), all);
    assert_eq!(bound(c, true, MANY, &["rbind", "ro"]), all);
    let strict = libc::MS_STRICTATIME;
    assert_eq!(bound(c, true, strict, &["rbind", "ro"]), ["ro"]);
    assert_eq!(bound(c, true, strict, &["rbind", "nosuid", "atime"]), ["rw", "nosuid"]);
}

fn clearing_what_is_locked_is_an_error(c: &Case) {
    for (flags, option) in [
        (libc::MS_RDONLY, "rw"),
        (libc::MS_NODEV, "dev"),
        (libc::MS_NOSUID, "suid"),
        (libc::MS_NOEXEC, "exec"),
        (libc::MS_NOATIME, "relatime"),
        (libc::MS_STRICTATIME, "noatime"),
        (libc::MS_RELATIME, "nodiratime"),
    ] {
        let source = flagged(c, flags);
        let mut b = c.bundle();
        b.user_namespace().mount("/mnt", "bind", &source.to_string_lossy(), &["bind", option]);
        let out = c.create(&b).fails("EPERM");
        assert!(out.err().contains("locked"), "{option}: {}", out.err());
        sys::umount_detach(&source).unwrap();
        c.nothing_left();
    }
}

/// A directory of the host's that is mounted nosuid and nodev, with nothing mounted below it
/// (without that, the kernel copies a locked tree only as a whole); and its flags, rw first.
fn locked_on_the_host() -> (String, Vec<String>) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(' ').collect()).collect();
    let found = rows.iter().find(|row| {
        let flags: Vec<&str> = row[5].split(',').collect();
        ["rw", "nosuid", "nodev"].iter().all(|flag| flags.contains(flag))
            && row.contains(&"tmpfs")
            && fs::read_dir(row[4]).is_ok()
            && rows.iter().all(|other| other[1] != row[0])
    });
    let row = found.expect("a tmpfs that is mounted nosuid,nodev");
    (row[4].to_string(), row[5].split(',').map(str::to_string).collect())
}

fn an_ordinary_user_keeps_what_is_locked(c: &Case) {
    let (source, flags) = locked_on_the_host();
    let mut b = c.bundle();
    b.mount("/mnt", "bind", &source, &["rbind", "ro"]).mount("/tmp", "bind", &source, &["bind"]);
    assert_eq!(flags_of(c, &b, "/tmp"), flags);
    assert_eq!(flags_of(c, &b, "/mnt"), [&["ro".to_string()], &flags[1..]].concat());
    b.mount("/home", "bind", &source, &["bind", "suid"]);
    c.create(&b).fails("keeps locked");
    c.nothing_left();
}

fn an_ordinary_user_binds_a_locked_tree_only_as_a_whole(c: &Case) {
    // The root has mounts below it on every host.
    let mut b = c.bundle();
    b.mount("/mnt", "bind", "/", &["bind"]);
    let out = c.create(&b).fails("EINVAL");
    assert!(out.err().contains("use rbind"), "{}", out.err());
    c.nothing_left();
}

fn submount(c: &Case) -> PathBuf {
    let dir = c.path("tree");
    fs::create_dir_all(&dir).unwrap();
    sys::mount("tree", &dir, "tmpfs", 0, "").unwrap();
    fs::create_dir(dir.join("sub")).unwrap();
    sys::mount("sub", &dir.join("sub"), "tmpfs", 0, "").unwrap();
    dir
}

fn every_recursive_word_reaches_submounts(c: &Case) {
    let dir = submount(c);
    let mut b = c.bundle();
    let words = [
        ("rro", "ro,relatime"),
        ("rnosuid", "rw,nosuid,relatime"),
        ("rnodev", "rw,nodev,relatime"),
        ("rnoexec", "rw,noexec,relatime"),
        ("rnodiratime", "rw,nodiratime,relatime"),
        ("rnoatime", "rw,noatime"),
        ("rstrictatime", "rw"),
        ("rrelatime", "rw,relatime"),
        ("ratime", "rw,relatime"),
        ("rnorelatime", "rw,relatime"),
        ("rnostrictatime", "rw,relatime"),
        ("rnosymfollow", "rw,relatime,nosymfollow"),
        ("rrw", "rw,relatime"),
        ("rsuid", "rw,relatime"),
        ("rdev", "rw,relatime"),
        ("rexec", "rw,relatime"),
        ("rdiratime", "rw,relatime"),
        ("rsymfollow", "rw,relatime"),
    ];
    b.mount("/mnt", "tmpfs", "t", &[]);
    for (word, _) in words {
        b.mount(&format!("/mnt/{word}"), "bind", &dir.to_string_lossy(), &["rbind", word]);
    }
    let seen = c.see(&b);
    for (word, flags) in words {
        for at in [format!("/mnt/{word}"), format!("/mnt/{word}/sub")] {
            assert_eq!(seen["mounts"][&at]["flags"], flags, "{at}");
        }
    }
    sys::umount_detach(&dir).unwrap();
}

fn every_plain_word_works_on_a_new_file_system(c: &Case) {
    let mut b = c.bundle();
    let words = [
        ("ro", "ro,relatime"),
        ("nosuid", "rw,nosuid,relatime"),
        ("nodev", "rw,nodev,relatime"),
        ("noexec", "rw,noexec,relatime"),
        ("nodiratime", "rw,nodiratime,relatime"),
        ("noatime", "rw,noatime"),
        ("strictatime", "rw"),
        ("relatime", "rw,relatime"),
        ("nosymfollow", "rw,relatime,nosymfollow"),
        ("defaults", "rw,relatime"),
    ];
    for (word, _) in words {
        b.mount(&format!("/mnt/{word}"), "tmpfs", "t", &[word]);
    }
    let seen = c.see(&b);
    for (word, flags) in words {
        assert_eq!(seen["mounts"][format!("/mnt/{word}")]["flags"], flags, "{word}");
    }
}

fn is_propagation(got: &Value, word: &str) -> bool {
    let got = got.as_str().unwrap();
    match word {
        "shared" => got.starts_with("shared:"),
        "slave" => got.is_empty() || got.starts_with("master:"),
        "unbindable" => got == "unbindable",
        _ => got.is_empty(),
    }
}

fn propagation_words_work_on_every_kind(c: &Case) {
    fs::create_dir(c.path("source")).unwrap();
    for word in ["shared", "slave", "private", "unbindable"] {
        for word in [word.to_string(), format!("r{word}")] {
            let mut b = c.bundle();
            b.mount("/mnt/tmpfs", "tmpfs", "t", &[&word]);
            b.mount("/mnt/proc", "proc", "p", &[&word]);
            b.mount("/mnt/mqueue", "mqueue", "m", &[&word]);
            b.mount("/mnt/sysfs", "sysfs", "s", &[&word]);
            b.mount("/mnt/devpts", "devpts", "d", &[&word, "newinstance"]);
            b.mount("/mnt/cgroup", "cgroup", "c", &[&word]);
            b.mount("/mnt/bind", "bind", &c.path_str("source"), &["bind", &word]);
            b.mount("/mnt/silent", "tmpfs", "t", &["silent", &word]);
            let seen = c.see(&b);
            let kinds = ["tmpfs", "proc", "mqueue", "sysfs", "devpts", "cgroup", "bind", "silent"];
            for kind in kinds {
                let got = &seen["mounts"][format!("/mnt/{kind}")]["propagation"];
                let plain = word.strip_prefix('r').unwrap_or(&word);
                assert!(is_propagation(got, plain), "{word} on {kind}: {got}");
            }
        }
    }
}

fn recursive_propagation_reaches_submounts(c: &Case) {
    let dir = submount(c);
    for (word, sub) in [("shared", "private"), ("rshared", "shared"), ("runbindable", "unbindable")]
    {
        let mut b = c.bundle();
        b.mount("/mnt", "bind", &dir.to_string_lossy(), &["rbind", word]);
        let got = c.see(&b)["mounts"]["/mnt/sub"]["propagation"].clone();
        assert!(is_propagation(&got, sub), "{word}: {got}");
    }
    sys::umount_detach(&dir).unwrap();
}

fn root_takes_all_eight_propagations(c: &Case) {
    for word in ["shared", "slave", "private", "unbindable"] {
        for (recursive, word) in [(false, word.to_string()), (true, format!("r{word}"))] {
            let mut b = c.bundle();
            let seen = c.see(b.set("/linux/rootfsPropagation", json!(word)));
            let plain = word.strip_prefix('r').unwrap_or(&word);
            let root = &seen["mounts"]["/"]["propagation"];
            assert!(is_propagation(root, plain), "{word}: {root}");
            let dev = &seen["mounts"]["/dev"]["propagation"];
            if recursive || matches!(plain, "unbindable" | "private") {
                assert!(
                    is_propagation(dev, if recursive { plain } else { "private" }),
                    "{word}: {dev}"
                );
            }
        }
    }
}

/// A shared tmpfs of the host.
fn shared(c: &Case) -> PathBuf {
    let at = c.path("shared");
    fs::create_dir(&at).unwrap();
    sys::mount("shared", &at, "tmpfs", 0, "").unwrap();
    sys::mount("none", &at, "", libc::MS_SHARED, "").unwrap();
    fs::create_dir(at.join("new")).unwrap();
    at
}

fn is_mounted(at: &Path) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().any(|line| line.split(' ').nth(4) == at.to_str())
}

fn mounts_under_a_shared_bind_reach_the_host(c: &Case) {
    let at = shared(c);
    let mut b = c.bundle();
    b.set("/linux/rootfsPropagation", json!("rshared"));
    b.mount("/mnt", "bind", &at.to_string_lossy(), &["rbind", "rshared"]);
    b.caps(&["CAP_SYS_ADMIN"]).sh("mount -t tmpfs t /mnt/new && sleep 1000");
    c.up(&b);
    crate::support::cmd::wait_until("the mount is there", || is_mounted(&at.join("new")));
    c.down();
    sys::umount_detach(&at.join("new")).unwrap();
    sys::umount_detach(&at).unwrap();
}

fn mounts_of_the_host_reach_a_slave_bind(c: &Case) {
    let at = shared(c);
    let mut b = c.bundle();
    b.mount("/mnt", "bind", &at.to_string_lossy(), &["rbind", "rslave"]);
    b.args(&["/probe", "sleep"]);
    c.up(&b);
    sys::mount("late", &at.join("new"), "tmpfs", 0, "").unwrap();
    c.exec(&["/bin/grep", "/mnt/new", "/proc/self/mountinfo"]).ok();
    c.down();
    sys::umount_detach(&at.join("new")).unwrap();
    sys::umount_detach(&at).unwrap();
}

fn mounts_of_the_host_do_not_reach_a_private_bind(c: &Case) {
    let at = shared(c);
    let mut b = c.bundle();
    b.mount("/mnt", "bind", &at.to_string_lossy(), &["rbind", "rprivate"]);
    b.args(&["/probe", "sleep"]);
    c.up(&b);
    sys::mount("late", &at.join("new"), "tmpfs", 0, "").unwrap();
    assert_ne!(c.exec(&["/bin/grep", "/mnt/new", "/proc/self/mountinfo"]).code, Some(0));
    c.down();
    sys::umount_detach(&at.join("new")).unwrap();
    sys::umount_detach(&at).unwrap();
}
