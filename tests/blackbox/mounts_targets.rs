//! Destinations: links of all kinds, files where directories belong, and the reverse.

use crate::support::{Case, Need};
use crate::tests;
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

tests! {
    links_on_the_way_are_followed_in_the_root: except_crun("refuses some").except_runc("makes less of what is missing"),
    dangling_links_are_made_to_lead_somewhere: except_crun("refuses them").except_runc("not in this version"),
    link_loops_are_an_error,
    a_file_on_a_directory_and_the_reverse_are_refused: rt_only(),
    set_group_id_is_inherited_by_what_is_made: except_crun("passes the bit on to nobody"),
    a_tmpfs_on_a_new_directory_has_the_default_mode: except_crun("another mode").except_runc("not in this version"),
    nothing_is_made_in_a_read_only_source: rt_only(),
    targets_on_earlier_mounts_are_made_there,
    targets_in_a_user_namespace_are_made_by_its_root: needs(Need::UserNamespace),
    masks_cover_every_kind_of_file,
    masks_and_read_only_paths_follow_links_in_the_root: except_crun("other rules").except_runc("other rules"),
    repeated_masks_are_made_once: rt_only(),
    read_only_paths_take_submounts_along: except_runc("top only").except_crun("other rules"),
}

fn links_on_the_way_are_followed_in_the_root(c: &Case) {
    let mut b = c.bundle();
    fs::create_dir_all(b.rootfs("real/deep")).unwrap();
    symlink("/real", b.rootfs("absolute")).unwrap();
    symlink("real/deep", b.rootfs("relative")).unwrap();
    symlink("../../../../../../real", b.rootfs("climbing")).unwrap();
    symlink("/absolute/deep", b.rootfs("chain")).unwrap();
    for (at, source) in [
        ("/absolute/one", "1"),
        ("/relative/two", "2"),
        ("/climbing/three/x", "3"),
        ("/chain/four", "4"),
    ] {
        b.mount(at, "tmpfs", source, &[]);
    }
    let mounts = c.see(&b)["mounts"].clone();
    for (at, source) in [
        ("/real/one", "1"),
        ("/real/deep/two", "2"),
        ("/real/three/x", "3"),
        ("/real/deep/four", "4"),
    ] {
        assert_eq!(mounts[at]["source"], source, "{at}");
    }
}

fn dangling_links_are_made_to_lead_somewhere(c: &Case) {
    let mut b = c.bundle();
    let canary = c.canary("canary");
    fs::write(c.path("file"), "content").unwrap();
    symlink("/tmp/foo/bar", b.rootfs("jump")).unwrap();
    symlink("/jump/baz/hosts", b.rootfs("etc/hosts")).unwrap();
    symlink("/tmp/dir", b.rootfs("etc/directory")).unwrap();
    symlink(canary.dir.join("new"), b.rootfs("etc/out")).unwrap();
    b.mount("/etc/hosts", "none", &c.path_str("file"), &["bind"]);
    b.mount("/etc/directory", "tmpfs", "t", &[]);
    b.mount("/etc/out", "tmpfs", "t", &[]);
    b.sh("cat /tmp/foo/bar/baz/hosts; grep -c /tmp/dir /proc/self/mounts");
    assert_eq!(c.run(&b).ok().out(), "content1\n");
    canary.untouched();
}

fn link_loops_are_an_error(c: &Case) {
    for (name, target) in [("self", "self"), ("a", "b/x"), ("b", "/a")] {
        let mut b = c.named_bundle(name);
        symlink(target, b.rootfs(name)).unwrap();
        symlink("/b", b.rootfs("a")).unwrap_or_default();
        symlink("/a", b.rootfs("b")).unwrap_or_default();
        b.mount(&format!("/{name}/c"), "tmpfs", "t", &[]);
        let out = c.create(&b);
        assert_ne!(out.code, Some(0), "{name}");
        assert!(!c.is_rt() || out.err().contains("ELOOP"), "{}", out.err());
    }
    c.nothing_left();
}

fn a_file_on_a_directory_and_the_reverse_are_refused(c: &Case) {
    fs::create_dir(c.path("dir")).unwrap();
    fs::write(c.path("file"), "").unwrap();
    for (at, kind, source) in [
        ("/etc", "none", c.path_str("file")),
        ("/etc/passwd", "none", c.path_str("dir")),
        ("/etc/passwd", "tmpfs", "t".to_string()),
    ] {
        let mut b = c.bundle();
        let index = b.config["mounts"].as_array().unwrap().len();
        b.mount(at, kind, &source, if kind == "none" { &["bind"] } else { &[] });
        let out = c.create(&b).fails("is a directory, the other is not: not a directory");
        assert!(out.err().contains(&format!("mounts[{index}].destination")), "{}", out.err());
    }
    let mut b = c.bundle();
    b.mount("/etc/passwd/below", "tmpfs", "t", &[]);
    c.create(&b).fails("ENOTDIR");
    c.nothing_left();
}

fn set_group_id_is_inherited_by_what_is_made(c: &Case) {
    let mut b = c.bundle();
    fs::create_dir(b.rootfs("setgid")).unwrap();
    fs::set_permissions(b.rootfs("setgid"), fs::Permissions::from_mode(0o7755)).unwrap();
    b.mount("/setgid/a/b", "tmpfs", "t", &["ro"]);
    c.run(&b).ok();
    for (dir, mode) in [("setgid", 0o7755), ("setgid/a", 0o2755), ("setgid/a/b", 0o2755)] {
        assert_eq!(fs::metadata(b.rootfs(dir)).unwrap().mode() & 0o7777, mode, "{dir}");
    }
}

fn a_tmpfs_on_a_new_directory_has_the_default_mode(c: &Case) {
    let mut b = c.bundle();
    b.mount("/new/dir", "tmpfs", "t", &["nodev"]);
    b.mount("/new/old/way", "tmpfs", "t", &["silent"]);
    let out = c.run(b.args(&["/probe", "stat", "/new/dir", "/new/old/way"])).ok().out();
    assert_eq!(out, "41777 0 0 0\n".repeat(2));
    assert_eq!(fs::metadata(b.rootfs("new/dir")).unwrap().mode() & 0o7777, 0o755);
}

fn nothing_is_made_in_a_read_only_source(c: &Case) {
    let canary = c.canary("canary");
    let mut b = c.bundle();
    b.mount("/mnt", "none", &canary.dir.to_string_lossy(), &["bind", "ro"]);
    b.mount("/mnt/new", "tmpfs", "t", &[]);
    let out = c.create(&b).fails("EROFS");
    assert!(out.err().contains("/mnt/new"), "{}", out.err());
    canary.untouched();
    c.nothing_left();
}

fn targets_on_earlier_mounts_are_made_there(c: &Case) {
    let mut b = c.bundle();
    fs::write(c.path("file"), "content").unwrap();
    b.mount("/mnt", "tmpfs", "t", &["ro"]);
    b.mount("/mnt/a/file", "none", &c.path_str("file"), &["bind"]);
    b.mount("/mnt/b", "tmpfs", "t", &[]);
    assert_eq!(c.run(b.sh("cat /mnt/a/file; touch /mnt/b/x")).ok().out(), "content");
    assert_eq!(fs::read_dir(b.rootfs("mnt")).unwrap().count(), 0);
}

fn targets_in_a_user_namespace_are_made_by_its_root(c: &Case) {
    let mut b = c.bundle();
    b.user_namespace().mount("/new/dir", "tmpfs", "t", &[]);
    c.run(&b).ok();
    assert_eq!(fs::metadata(b.rootfs("new/dir")).unwrap().uid(), 100_000);
}

fn masks_cover_every_kind_of_file(c: &Case) {
    let mut b = c.bundle();
    fs::create_dir(b.rootfs("dir")).unwrap();
    fs::write(b.rootfs("dir/inner"), "secret").unwrap();
    fs::write(b.rootfs("file"), "secret").unwrap();
    crate::support::sys::mkfifo(&b.rootfs("fifo"));
    b.set("/linux/maskedPaths", json!(["/dir", "/file", "/fifo", "/none/such", "/dev/zero"]));
    b.sh("cat /file /fifo /dev/zero; ls -A /dir; stat -c %F /fifo; touch /dir/x");
    let out = c.run(&b);
    assert_eq!(out.out(), "character special file\n");
    assert!(out.err().contains("Read-only"), "{}", out.err());
}

fn masks_and_read_only_paths_follow_links_in_the_root(c: &Case) {
    let mut b = c.bundle();
    fs::create_dir(b.rootfs("dir")).unwrap();
    fs::write(b.rootfs("dir/file"), "secret").unwrap();
    symlink("/dir", b.rootfs("masked")).unwrap();
    symlink("etc", b.rootfs("fixed")).unwrap();
    symlink("/no/where", b.rootfs("dangling")).unwrap();
    symlink("loop", b.rootfs("loop")).unwrap();
    b.set("/root/readonly", json!(false));
    b.set("/linux/maskedPaths", json!(["/masked", "/dangling"]));
    b.set("/linux/readonlyPaths", json!(["/fixed", "/dangling"]));
    b.sh("ls -A /dir; touch /etc/x");
    let out = c.run(&b).fails("Read-only");
    assert_eq!(out.out(), "");
    b.set("/linux/maskedPaths", json!(["/loop"]));
    c.create(&b).fails("linux.maskedPaths[0]");
    c.nothing_left();
}

fn repeated_masks_are_made_once(c: &Case) {
    let mut b = c.bundle();
    fs::create_dir(b.rootfs("dir")).unwrap();
    let paths = json!(["/dir", "/etc/passwd", "/dir", "/dir/", "//etc/./passwd"]);
    b.set("/linux/maskedPaths", paths).sh("grep -c -e /dir -e /etc/passwd /proc/self/mounts");
    assert_eq!(c.run(&b).ok().out(), "2\n");
}

fn read_only_paths_take_submounts_along(c: &Case) {
    let mut b = c.bundle();
    b.mount("/mnt", "tmpfs", "t", &[]).mount("/mnt/sub", "tmpfs", "t", &[]);
    b.set("/linux/readonlyPaths", json!(["/mnt"])).sh("touch /mnt/sub/x");
    c.run(&b).fails("Read-only");
}
