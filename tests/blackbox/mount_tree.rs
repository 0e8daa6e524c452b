//! How a container comes by its mount tree: made of its root alone where the kernel can do that
//! (Linux 7.0), a copy of the host's elsewhere and where the configuration needs it. From inside
//! there is no difference.

use crate::support::cmd::{Cmd, wait_until};
use crate::support::{Bundle, Case, ID, sys, worker};
use crate::tests;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

tests! {
    way_is_the_one_that_the_kernel_has: rt_only(),
    reason_for_a_copy_is_told: rt_only(),
    both_ways_look_alike: rt_only(),
    host_is_out_of_reach_both_ways: rt_only(),
    source_that_keeps_a_mount_namespace_can_be_bound: rt_only(),
    source_below_the_root_shows_what_was_mounted_there: rt_only(),
}

const OF_ROOT: &str = "mount namespace: of the root alone";

fn log_of(c: &Case, b: &Bundle) -> String {
    c.rt(&["--debug", "run", "-b", &b.save(), ID]).ok().err()
}

/// Makes the runtime copy the host's tree: a hook of this kind may look at it.
fn copied(b: &mut Bundle) -> &mut Bundle {
    b.set("/hooks", json!({"createContainer": [{"path": "/bin/true"}]}))
}

fn way_is_the_one_that_the_kernel_has(c: &Case) {
    let mut b = c.bundle();
    b.args(&["/bin/true"]);
    assert_eq!(log_of(c, &b).contains(OF_ROOT), sys::knows_tree_namespaces());
}

fn reason_for_a_copy_is_told(c: &Case) {
    if !sys::knows_tree_namespaces() {
        worker::skip("needs Linux 7.0");
    }
    let reason = |change: &dyn Fn(&mut Bundle)| {
        let mut b = c.bundle();
        change(&mut b);
        b.args(&["/bin/true"]);
        let log = log_of(c, &b);
        let line = log.lines().find_map(|line| line.split_once("a copy of the host's, for "));
        line.unwrap_or_else(|| panic!("{log}")).1.trim_end_matches('"').to_owned()
    };
    assert_eq!(reason(&|b| _ = copied(b)), "hooks");
    let shared = |b: &mut Bundle| _ = b.set("/linux/rootfsPropagation", json!("shared"));
    assert_eq!(reason(&shared), "linux.rootfsPropagation");
    assert_eq!(reason(&|b| _ = b.user_namespace()), "a user namespace");
}

/// Directories and files of the host, with a mount below.
struct Sources(PathBuf);

impl Drop for Sources {
    fn drop(&mut self) {
        let _ = sys::umount_detach(&self.0.join("tree/pin"));
        let _ = sys::umount_detach(&self.0.join("tree/inner"));
    }
}

fn sources(c: &Case) -> Sources {
    let dir = c.path("sources");
    fs::create_dir_all(dir.join("tree/inner")).unwrap();
    fs::write(dir.join("tree/file"), "tree\n").unwrap();
    fs::write(dir.join("file"), "file\n").unwrap();
    sys::mount("t", &dir.join("tree/inner"), "tmpfs", 0, "").unwrap();
    fs::write(dir.join("tree/inner/below"), "below\n").unwrap();
    Sources(dir)
}

/// A bundle with something of everything.
fn rich(c: &Case, dir: &Path) -> Bundle {
    let mut b = c.bundle();
    let source = |name: &str| dir.join(name).to_string_lossy().into_owned();
    fs::write(b.rootfs("/secret"), "secret\n").unwrap();
    fs::write(b.rootfs("/secret2"), "secret\n").unwrap();
    fs::create_dir_all(b.rootfs("/hidden")).unwrap();
    fs::write(b.rootfs("/hidden/file"), "hidden\n").unwrap();
    b.mount("/mnt/tree", "bind", &source("tree"), &["rbind", "nosuid"]);
    b.mount("/mnt/flat", "bind", &source("tree"), &["bind", "ro"]);
    b.mount("/mnt/shared", "bind", &source("tree"), &["rbind", "rshared"]);
    b.mount("/mnt/file", "bind", &source("file"), &["bind", "rro"]);
    b.mount("/mnt/tmp", "tmpfs", "t", &["ro", "mode=700", "size=64k"]);
    b.set("/linux/maskedPaths", json!(["/secret", "/secret2", "/hidden", "/proc/kcore"]));
    b.set("/linux/readonlyPaths", json!(["/proc/sys", "/bin"]));
    b.set("/root/readonly", json!(true));
    b
}

/// What is mounted, without the numbers that are new each time.
fn plain(seen: &Value) -> Value {
    let mut mounts = seen["mounts"].clone();
    for mount in mounts.as_object_mut().unwrap().values_mut() {
        let fields = mount.as_object_mut().unwrap();
        for value in fields.values_mut() {
            let Some(text) = value.as_str() else { continue };
            let words =
                text.split(' ').map(|word| word.split_once(':').map_or(word, |(key, _)| key));
            *value = json!(words.collect::<Vec<_>>().join(" "));
        }
        fields.retain(|key, _| !matches!(key.as_str(), "id" | "parent" | "device"));
    }
    mounts
}

fn both_ways_look_alike(c: &Case) {
    let dir = sources(c);
    let mut b = rich(c, &dir.0);
    let first = c.see(&b);
    let second = c.see(copied(&mut b));
    assert_eq!(plain(&first), plain(&second));
    let script = "cat /mnt/tree/inner/below /mnt/file /secret /secret2; ls /hidden /mnt/flat/inner /mnt/tmp; \
        touch /x /mnt/flat/x /mnt/file /bin/x; stat -c '%a %U %n' / /mnt/tmp /mnt/tree; pwd; ls -a /";
    b.sh(&format!("({script}) 2>&1"));
    let second = c.run(&b).ok().out();
    b.remove("/hooks");
    assert_eq!(c.run(&b).ok().out(), second);
    assert!(second.starts_with("below\nfile\n"), "{second}");
}

fn host_is_out_of_reach_both_ways(c: &Case) {
    let dir = sources(c);
    for copy in [false, true] {
        let mut b = rich(c, &dir.0);
        if copy {
            copied(&mut b);
        }
        // Above the root there is nothing, and no descriptor leads elsewhere.
        b.sh("stat -c %i / /..; cd ..; pwd; ls /proc/self/fd | wc -l; ls -l /proc/self/fd | grep -c sources; true");
        let out = c.run(&b).ok().out();
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines[0], lines[1], "{out}");
        assert_eq!(lines[2..], ["/", "4", "0"], "{out}");
    }
}

fn source_that_keeps_a_mount_namespace_can_be_bound(c: &Case) {
    let dir = sources(c);
    let pin = dir.0.join("tree/pin");
    fs::write(&pin, "not a namespace").unwrap();
    // The kernel lets a namespace be kept by a mount in an older one only, and since Linux 6.18 each
    // processor counts its own.
    let kept = || {
        let script = "echo there; exec sleep 600";
        let holder = Cmd::new(&["unshare", "-m", "sh", "-c", script]).spawn();
        wait_until("the other namespace", || holder.so_far().contains("there"));
        let bound = sys::bind(Path::new(&format!("/proc/{}/ns/mnt", holder.pid)), &pin);
        holder.kill(9);
        holder.wait();
        bound.is_ok()
    };
    assert!((0..20).any(|_| kept()), "no mount keeps a mount namespace");
    let mut b = rich(c, &dir.0);
    b.sh("cat /mnt/tree/inner/below /mnt/tree/pin; test -e /mnt/tree/pin");
    let out = c.run(&b).ok().out();
    // It stays behind.
    assert_eq!(out, "below\nnot a namespace");
}

fn source_below_the_root_shows_what_was_mounted_there(c: &Case) {
    let mut b = c.bundle();
    let below = b.rootfs("/mnt/a").to_string_lossy().into_owned();
    fs::create_dir_all(&below).unwrap();
    b.mount("/mnt/a", "tmpfs", "t", &["mode=751"]);
    b.mount("/mnt/b", "bind", &below, &["rbind"]);
    b.sh("stat -c %a /mnt/b");
    assert_eq!(c.run(&b).ok().out(), "751\n");
}
