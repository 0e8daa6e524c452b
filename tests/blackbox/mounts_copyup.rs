//! `tmpcopyup`: a tmpfs that starts with what it covers.

use crate::support::{Case, Need, sys};
use crate::tests;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;

tests! {
    contents_and_modes_are_copied: except_runc("another mode in this version"),
    owners_times_and_kinds_are_copied: except_runc("does not copy times").except_crun("copies less"),
    extended_attributes_are_copied: except_runc("does not copy all").except_crun("copies less"),
    the_image_stays_as_it_is,
    a_missing_directory_is_made_and_empty,
    deep_and_wide_trees_are_copied,
    a_tree_without_an_end_is_an_error: rt_only(),
    links_are_not_followed: rt_only(),
    what_earlier_entries_mounted_is_copied: rt_only(),
    copy_may_be_read_only: rt_only(),
    copy_works_in_a_user_namespace: rt_only().needs(Need::UserNamespace),
    a_copy_that_does_not_fit_is_an_error: rt_only(),
    only_a_tmpfs_can_start_with_a_copy: rt_only(),
}

fn contents_and_modes_are_copied(c: &Case) {
    let mut b = c.bundle();
    fs::create_dir_all(b.rootfs("dir1/dir2")).unwrap();
    fs::set_permissions(b.rootfs("dir1/dir2"), fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(b.rootfs("dir1/dir2/file"), "content").unwrap();
    fs::write(b.rootfs("dir1/.hidden"), "").unwrap();
    fs::set_permissions(b.rootfs("dir1/.hidden"), fs::Permissions::from_mode(0o400)).unwrap();
    b.mount("/dir1", "tmpfs", "tmpfs", &["tmpcopyup"]);
    b.sh("cat /dir1/dir2/file; ls -A /dir1; echo x > /dir1/new");
    assert_eq!(c.run(&b).ok().out(), "content.hidden\ndir2\n");
    let out = c.run(b.args(&["/probe", "stat", "/dir1/dir2", "/dir1/.hidden"])).ok().out();
    let modes: Vec<_> = out.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(modes, ["40777", "100400"]);
}

fn owners_times_and_kinds_are_copied(c: &Case) {
    let mut b = c.bundle();
    let dir = b.rootfs("dir");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("suid"), "x").unwrap();
    chown(dir.join("suid"), Some(1000), Some(1001)).unwrap();
    fs::set_permissions(dir.join("suid"), fs::Permissions::from_mode(0o6755)).unwrap();
    symlink("/no/where", dir.join("link")).unwrap();
    lchown(dir.join("link"), Some(7), Some(8)).unwrap();
    sys::mkfifo(&dir.join("fifo"));
    sys::mknod(&dir.join("socket"), libc::S_IFSOCK | 0o640, 0);
    sys::mknod(&dir.join("device"), libc::S_IFCHR | 0o644, libc::makedev(1, 3));
    let then = fs::FileTimes::new()
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(86_400));
    fs::File::open(dir.join("suid")).unwrap().set_times(then).unwrap();
    b.mount("/dir", "tmpfs", "tmpfs", &["tmpcopyup"]);
    let paths = ["suid", "link", "fifo", "socket", "device"].map(|name| format!("/dir/{name}"));
    let mut args = vec!["/probe", "stat"];
    args.extend(paths.iter().map(String::as_str));
    let out = c.run(b.args(&args)).ok().out();
    let null = libc::makedev(1, 3);
    let expected =
        format!("106755 1000 1001 0\n120777 7 8 0\n10600 0 0 0\n140640 0 0 0\n20644 0 0 {null}\n");
    assert_eq!(out, expected);
    b.sh("readlink /dir/link; ls -l --full-time /dir/suid");
    let out = c.run(&b).ok().out();
    assert!(out.starts_with("/no/where\n") && out.contains("1970-01-02 00:00:00"), "{out}");
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    let (path, name) = (sys::cstr(path.to_str().unwrap()), CString::new(name).unwrap());
    // SAFETY: strings are NUL-terminated, and value is as long as said.
    let rc = unsafe {
        libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0)
    };
    assert_eq!(rc, 0, "{}", std::io::Error::last_os_error());
}

fn extended_attributes_are_copied(c: &Case) {
    let mut b = c.bundle();
    let dir = b.rootfs("dir");
    fs::create_dir_all(dir.join("sub")).unwrap();
    fs::write(dir.join("tool"), "x").unwrap();
    chown(dir.join("tool"), Some(7), Some(7)).unwrap();
    set_xattr(&dir.join("tool"), "trusted.one", b"1");
    set_xattr(&dir.join("sub"), "trusted.two", &[b'2'; 3000]);
    // VFS_CAP_REVISION_2, effective, CAP_NET_BIND_SERVICE.
    let capability = [[1, 0, 0, 2], [0, 4, 0, 0], [0; 4], [0; 4], [0; 4]].concat();
    set_xattr(&dir.join("tool"), "security.capability", &capability);
    b.mount("/dir", "tmpfs", "tmpfs", &["tmpcopyup"]).caps(&["CAP_SYS_ADMIN"]);
    b.args(&["/probe", "xattrs", "/dir/tool", "/dir/sub"]);
    let out = c.run(&b).ok().out();
    let mut lines: Vec<_> = out.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "/dir/sub trusted.two 3000",
            "/dir/tool security.capability 20",
            "/dir/tool trusted.one 1"
        ]
    );
}

fn the_image_stays_as_it_is(c: &Case) {
    let mut b = c.bundle();
    b.mount("/etc", "tmpfs", "tmpfs", &["tmpcopyup", "mode=700"]);
    b.sh("echo changed > /etc/passwd; rm /etc/group; cat /etc/passwd");
    let before = fs::metadata(b.rootfs("etc/passwd")).unwrap();
    assert_eq!(c.run(&b).ok().out(), "changed\n");
    let after = fs::metadata(b.rootfs("etc/passwd")).unwrap();
    assert_eq!((before.len(), before.mtime_nsec()), (after.len(), after.mtime_nsec()));
    assert!(b.rootfs("etc/group").exists());
}

fn a_missing_directory_is_made_and_empty(c: &Case) {
    let mut b = c.bundle();
    b.mount("/no/such", "tmpfs", "tmpfs", &["tmpcopyup"]).sh("ls -A /no/such");
    assert_eq!(c.run(&b).ok().out(), "");
}

fn deep_and_wide_trees_are_copied(c: &Case) {
    let mut b = c.bundle();
    let deep = format!("dir/{}", ["d"; 150].join("/"));
    fs::create_dir_all(b.rootfs(&deep)).unwrap();
    fs::write(b.rootfs(&format!("{deep}/end")), "end").unwrap();
    for n in 0..2000 {
        fs::write(b.rootfs(&format!("dir/a-file-with-a-longer-name-{n}")), "").unwrap();
    }
    fs::write(b.rootfs("dir/big"), vec![b'x'; 5_000_001]).unwrap();
    b.mount("/dir", "tmpfs", "tmpfs", &["tmpcopyup"]);
    b.sh(&format!("cat /{deep}/end; ls /dir | wc -l; wc -c < /dir/big"));
    assert_eq!(c.run(&b).ok().out(), "end2002\n5000001\n");
}

fn a_tree_without_an_end_is_an_error(c: &Case) {
    let mut b = c.bundle();
    let deep = format!("dir/{}", ["d"; 300].join("/"));
    fs::create_dir_all(b.rootfs(&deep)).unwrap();
    b.mount("/dir", "tmpfs", "tmpfs", &["tmpcopyup"]);
    c.create(&b).fails("copy what the tmpfs covers");
    c.nothing_left();
}

fn links_are_not_followed(c: &Case) {
    let canary = c.canary("canary");
    let mut b = c.bundle();
    fs::create_dir(b.rootfs("dir")).unwrap();
    symlink(&canary.dir, b.rootfs("dir/out")).unwrap();
    symlink(canary.dir.join("file"), b.rootfs("dir/file")).unwrap();
    b.mount("/dir", "tmpfs", "tmpfs", &["tmpcopyup"]).sh("cat /dir/file /dir/out/file");
    assert_eq!(c.run(&b).out(), "");
    canary.untouched();
}

fn what_earlier_entries_mounted_is_copied(c: &Case) {
    let mut b = c.bundle();
    fs::write(c.path("hosts"), "host").unwrap();
    b.mount("/etc/hosts", "none", &c.path_str("hosts"), &["bind", "ro"]);
    b.mount("/etc", "tmpfs", "tmpfs", &["tmpcopyup"]);
    b.sh("cat /etc/hosts; echo > /etc/hosts");
    assert_eq!(c.run(&b).ok().out(), "host");
    assert_eq!(fs::read_to_string(c.path("hosts")).unwrap(), "host");
}

fn copy_may_be_read_only(c: &Case) {
    let mut b = c.bundle();
    b.mount("/etc", "tmpfs", "tmpfs", &["ro", "tmpcopyup", "silent", "noexec"]);
    b.sh("head -c 5 /etc/passwd; echo > /etc/passwd");
    let out = c.run(&b).fails("Read-only file system");
    assert_eq!(out.out(), "root:");
}

fn copy_works_in_a_user_namespace(c: &Case) {
    let mut b = c.bundle();
    b.user_namespace();
    chown(b.rootfs("etc/group"), Some(100_007), Some(100_008)).unwrap();
    b.mount("/etc", "tmpfs", "tmpfs", &["tmpcopyup"]).args(&["/probe", "stat", "/etc/group"]);
    let out = c.run(&b).ok().out();
    assert!(out.contains(" 7 8 "), "{out}");
}

fn a_copy_that_does_not_fit_is_an_error(c: &Case) {
    let mut b = c.bundle();
    fs::create_dir_all(b.rootfs("dir/sub")).unwrap();
    fs::write(b.rootfs("dir/sub/big"), vec![0; 100_000]).unwrap();
    b.mount("/dir", "tmpfs", "tmpfs", &["size=16k", "tmpcopyup"]);
    let out = c.create(&b).fails("ENOSPC");
    assert!(out.err().contains("sub/big"), "{}", out.err());
    c.nothing_left();
}

fn only_a_tmpfs_can_start_with_a_copy(c: &Case) {
    for (kind, options) in [("proc", vec!["tmpcopyup"]), ("none", vec!["tmpcopyup", "bind"])] {
        let mut b = c.bundle();
        b.mount("/mnt", kind, "/etc", &options);
        let out = c.create(&b).fails("only a new tmpfs can start with a copy");
        assert!(out.err().contains("options[0]"), "{}", out.err());
    }
    c.nothing_left();
}
