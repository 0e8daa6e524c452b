//! A mount namespace that is there already, or none at all: what is mounted stays as it is,
//! and the root is a directory of it.

use crate::support::{Bundle, Case, ID};
use crate::tests;
use serde_json::json;
use std::fs;
use std::path::Path;

tests! {
    joined_mount_namespace_is_used_as_it_is: rt_only(),
    root_is_a_directory_of_the_joined_namespace: rt_only(),
    nothing_can_be_mounted_in_a_joined_namespace: rt_only(),
    missing_root_in_a_joined_namespace_is_named: rt_only(),
    exec_enters_the_root_without_a_mount_namespace: rt_only(),
    hooks_see_the_root_without_a_mount_namespace: rt_only(),
}

/// Nothing that needs a mount namespace of the container's own.
fn bare<'b>(c: &Case, b: &'b mut Bundle, id: &str) -> &'b mut Bundle {
    for field in ["/mounts", "/linux/maskedPaths", "/linux/readonlyPaths", "/root/readonly"] {
        b.remove(field);
    }
    b.set("/linux/cgroupsPath", json!(c.cgroups_path(id)))
}

/// A container to join, and a bundle that joins it.
fn joining(c: &Case, root: &str) -> (Bundle, String) {
    let mut first = c.bundle();
    first.mount("/mnt", "tmpfs", "t", &["mode=755"]);
    c.up(first.sh("mkdir -p /mnt/inner && echo first > /mnt/inner/file; exec /probe sleep"));
    let namespace = format!("/proc/{}/ns/mnt", c.pid());
    c.wait_for_file(Path::new(&format!("/proc/{}/root/mnt/inner/file", c.pid())));
    let mut b = c.named_bundle("second");
    bare(c, &mut b, "second").namespace("mount", Some(&namespace)).set("/root/path", json!(root));
    (b, namespace)
}

fn joined_mount_namespace_is_used_as_it_is(c: &Case) {
    let (mut b, namespace) = joining(c, "/");
    let table = || fs::read_to_string(format!("/proc/{}/mountinfo", c.pid())).unwrap();
    let (before, own) = (table(), fs::read_to_string("/proc/self/mountinfo").unwrap());
    let link = fs::read_link(&namespace).unwrap();
    b.sh("readlink /proc/1/ns/mnt; cat /mnt/inner/file; pwd");
    // The procfs there is that of the first container's pid namespace.
    b.namespace("pid", Some(&namespace.replace("mnt", "pid")));
    let out = c.rt(&["run", "-b", &b.save(), "second"]).ok().out();
    assert_eq!(out, format!("{}\nfirst\n/\n", link.display()));
    assert_eq!(before, table());
    assert_eq!(own, fs::read_to_string("/proc/self/mountinfo").unwrap());
    c.down();
}

fn root_is_a_directory_of_the_joined_namespace(c: &Case) {
    let mut host = c.bundle();
    let root = host.rootfs("/").to_string_lossy().into_owned();
    bare(c, &mut host, ID).namespace("mount", Some("/proc/self/ns/mnt"));
    host.set("/root/path", json!(root)).args(&["/probe", "sleep"]);
    c.up(&host);
    let entered = fs::read_link(format!("/proc/{}/root", c.pid())).unwrap();
    assert_eq!(entered.to_string_lossy(), root.trim_end_matches('/'));
    let out = c.exec(&["/bin/sh", "-c", "ls -d /probe; ls -d /usr/lib/os-release"]);
    assert_eq!(out.out(), "/probe\n");
    c.down();
}

fn nothing_can_be_mounted_in_a_joined_namespace(c: &Case) {
    for (field, value) in [
        ("/mounts", json!([{"destination": "/mnt", "type": "tmpfs"}])),
        ("/linux/maskedPaths", json!(["/mnt"])),
        ("/linux/readonlyPaths", json!(["/mnt"])),
        ("/linux/rootfsPropagation", json!("private")),
        ("/linux/devices", json!([{"path": "/dev/x", "type": "p"}])),
        ("/root/readonly", json!(true)),
    ] {
        for namespace in [Some("/proc/self/ns/mnt"), None] {
            let mut b = c.bundle();
            bare(c, &mut b, ID).without_namespace("mount").set(field, value.clone());
            if namespace.is_some() {
                b.namespace("mount", namespace);
            }
            let out = c.create(&b).fails("needs a new mount namespace");
            let name = field.trim_start_matches('/').replace('/', ".");
            assert!(out.err().contains(&name), "{}", out.err());
        }
    }
    c.nothing_left();
}

fn missing_root_in_a_joined_namespace_is_named(c: &Case) {
    let (b, _) = joining(c, "/mnt/no/such");
    let out = c.rt(&["create", "-b", &b.save(), "second"]).fails("/mnt/no/such");
    assert!(out.err().contains("root.path"), "{}", out.err());
    c.down();
    c.nothing_left();
}

fn exec_enters_the_root_without_a_mount_namespace(c: &Case) {
    let mut b = c.bundle();
    bare(c, &mut b, ID).without_namespace("mount").args(&["/probe", "sleep"]);
    c.up(&b);
    let out = c.exec(&["/bin/ls", "/"]).ok().out();
    assert!(out.lines().any(|name| name == "probe"), "not the host's: {out}");
    c.down();
}

fn hooks_see_the_root_without_a_mount_namespace(c: &Case) {
    let mut b = c.bundle();
    bare(c, &mut b, ID).namespace("mount", Some("/proc/self/ns/mnt"));
    b.set(
        "/hooks/startContainer",
        json!([{"path": "/bin/sh", "args": ["sh", "-c", "ls -d /probe > /seen"]}]),
    );
    c.run(&b).ok();
    assert_eq!(fs::read_to_string(b.rootfs("seen")).unwrap(), "/probe\n");
}
