//! Nothing in a container changes a file of the host's /dev: not through what masks a file, not
//! through stdio, and not through devices that are bound in a user namespace.

use crate::support::{Bundle, Case, ID, Need, sys};
use crate::tests;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

tests! {
    masks_can_be_written_to_and_not_be_changed: except_runc("writable").except_crun("writable"),
    run_cannot_change_a_device_of_the_host: except_runc("masks").except_crun("masks and devices"),
    create_cannot_change_a_device_of_the_host: except_runc("masks").except_crun("masks and devices"),
    exec_cannot_change_a_device_of_the_host: except_runc("stdio of an exec").except_crun("stdio of an exec"),
    a_user_namespace_of_the_hosts_root_cannot_change_a_device_of_the_host: needs(Need::UserNamespace).except_runc("binds them").except_crun("binds them"),
    stdio_without_a_null_device_inside_cannot_be_changed: rt_only(),
    stdio_of_a_bound_dev_cannot_be_changed: rt_only(),
    stdio_without_a_mount_namespace_cannot_be_changed: rt_only(),
    null_stdio_is_the_containers_own: except_crun("the mount of an exec's stdio is the host's").except_runc("the mount of an exec's stdio is the host's"),
    nodes_in_a_user_namespace_are_as_configured: rt_only().needs(Need::UserNamespace),
    an_owner_that_is_not_mapped_is_refused_by_name: rt_only().needs(Need::UserNamespace),
    devices_below_a_procfs_are_refused: rt_only().needs(Need::UserNamespace),
    an_ordinary_user_binds_devices_as_they_are: rootless().rt_only(),
}

const NODES: [(&str, u32, u32); 7] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
    ("mine", 1, 5),
];

/// A /dev of the host's that is this test's alone, and how its files are. A runtime that is wrong
/// harms no other one.
pub struct HostDev {
    pub dir: PathBuf,
    before: Vec<String>,
}

impl HostDev {
    pub fn new(c: &Case) -> HostDev {
        let dir = c.path("dev");
        fs::create_dir(&dir).unwrap();
        sys::mount("dev", &dir, "tmpfs", 0, "mode=755").unwrap();
        for (name, major, minor) in NODES {
            sys::mknod(&dir.join(name), libc::S_IFCHR | 0o666, libc::makedev(major, minor));
            let all = std::os::unix::fs::PermissionsExt::from_mode(0o666);
            fs::set_permissions(dir.join(name), all).unwrap();
        }
        for name in ["pts", "shm", "mqueue"] {
            fs::create_dir(dir.join(name)).unwrap();
        }
        sys::bind(&dir, Path::new("/dev")).unwrap();
        let before = HostDev::look(&dir);
        HostDev { dir, before }
    }

    /// Everything that the container may not change: the time of change tells of all else.
    fn look(dir: &Path) -> Vec<String> {
        let one = |(name, ..): &(&str, u32, u32)| {
            let m = fs::metadata(dir.join(name)).unwrap();
            let times = (m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
            format!("{name} {:o} {}:{} {times:?}", m.mode(), m.uid(), m.gid())
        };
        NODES.iter().map(one).collect()
    }

    #[track_caller]
    pub fn untouched(&self, by: &str) {
        assert_eq!(self.before, HostDev::look(&self.dir), "changed by {by}");
    }

    pub fn leave(self) {
        sys::umount_detach(Path::new("/dev")).unwrap();
        sys::umount_detach(&self.dir).unwrap();
    }
}

/// Masked files, all devices, and stdin.
const TARGETS: [&str; 11] = [
    "/proc/kcore",
    "/proc/timer_list",
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/mine",
    "/etc/passwd",
    "0",
];

pub const RIGHTS: [&[&str]; 3] = [
    &[],
    &["CAP_CHOWN", "CAP_FOWNER", "CAP_DAC_OVERRIDE"],
    &["CAP_CHOWN", "CAP_FOWNER", "CAP_DAC_OVERRIDE", "CAP_SETUID", "CAP_MKNOD"],
];

fn tampering(c: &Case, caps: &[&str]) -> Bundle {
    let mut b = c.bundle();
    b.caps(caps).push("/linux/maskedPaths", json!("/etc/passwd"));
    b.push("/linux/devices", json!({"path": "/dev/mine", "type": "c", "major": 1, "minor": 5}));
    b
}

fn tamper(b: &mut Bundle) {
    b.args(&[&["/probe", "tamper"], &TARGETS[..]].concat());
}

/// Who could do nothing at all would prove nothing.
#[track_caller]
fn tried(said: &str) {
    let of_own = said.lines().find(|line| line.starts_with("/dev/zero ")).expect("an outcome");
    assert!(of_own.starts_with("/dev/zero ok"), "its own node can be changed: {said}");
    let mask = said.lines().find(|line| line.starts_with("/etc/passwd ")).expect("an outcome");
    assert_eq!(mask.matches("EROFS").count() + mask.matches("EPERM").count(), 4, "{said}");
}

fn masks_can_be_written_to_and_not_be_changed(c: &Case) {
    let dev = HostDev::new(c);
    let mut b = c.bundle();
    b.sh("echo x > /etc/passwd && cat /etc/passwd; busybox chmod 600 /etc/passwd");
    b.set("/linux/maskedPaths", json!(["/etc/passwd", "/etc/group"]));
    let out = c.run(&b);
    assert_eq!(out.out(), "");
    assert!(out.err().contains("Read-only file system") && out.err().lines().count() == 1);
    let seen = c.see(&b);
    for at in ["/etc/passwd", "/etc/group"] {
        let flags = seen["mounts"][at]["flags"].as_str().unwrap();
        let flags: Vec<_> = flags.split(',').collect();
        assert!(["ro", "nosuid", "noexec"].iter().all(|f| flags.contains(f)), "{at}: {flags:?}");
        assert!(!flags.contains(&"nodev"), "{at}: {flags:?}");
    }
    dev.untouched("chmod of a mask");
    dev.leave();
}

fn run_cannot_change_a_device_of_the_host(c: &Case) {
    let dev = HostDev::new(c);
    for caps in RIGHTS {
        let mut b = tampering(c, caps);
        tamper(&mut b);
        tried(&c.run(&b).ok().out());
        dev.untouched(&format!("run with {caps:?}"));
    }
    dev.leave();
}

fn create_cannot_change_a_device_of_the_host(c: &Case) {
    let dev = HostDev::new(c);
    for caps in RIGHTS {
        let mut b = tampering(c, caps);
        tamper(&mut b);
        let out = c.create(&b).ok();
        c.rt(&["start", ID]).ok();
        c.wait_for_status("stopped");
        tried(&out.out());
        c.down();
        dev.untouched(&format!("create with {caps:?}"));
    }
    dev.leave();
}

fn exec_cannot_change_a_device_of_the_host(c: &Case) {
    let dev = HostDev::new(c);
    for caps in RIGHTS {
        let mut b = tampering(c, caps);
        c.up(b.args(&["/probe", "sleep"]));
        let words = [&["/probe", "tamper"], &TARGETS[..]].concat();
        tried(&c.exec(&words).ok().out());
        c.down();
        dev.untouched(&format!("exec with {caps:?}"));
    }
    dev.leave();
}

/// Ids inside are those outside, so that root inside owns the files of the host's root.
pub fn of_the_hosts_root(b: &mut Bundle) -> &mut Bundle {
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65_536}]);
    b.namespace("user", None);
    b.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
}

fn a_user_namespace_of_the_hosts_root_cannot_change_a_device_of_the_host(c: &Case) {
    let dev = HostDev::new(c);
    // With CAP_SYS_ADMIN even a read-only mount can be made writable in there.
    let all = ["CAP_CHOWN", "CAP_FOWNER", "CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN"];
    for caps in [&all[..0], &all[..3], &all[..]] {
        let mut b = tampering(c, caps);
        tamper(of_the_hosts_root(&mut b));
        let said = c.run(&b).ok().out();
        assert!(said.contains("/dev/zero ok"), "{said}");
        dev.untouched(&format!("run with {caps:?}"));
        c.up(b.args(&["/probe", "sleep"]));
        c.exec(&[&["/probe", "tamper"], &TARGETS[..]].concat()).ok();
        c.down();
        dev.untouched(&format!("exec with {caps:?}"));
    }
    dev.leave();
}

/// stdin cannot be changed, and still is the null device.
#[track_caller]
fn stdin_is_safe(c: &Case, b: &mut Bundle, dev: &HostDev) {
    b.caps(RIGHTS[1]).args(&["/probe", "tamper", "0"]);
    assert_eq!(c.run(b).ok().out(), "0 EROFS EROFS EROFS EROFS\n");
    dev.untouched("run");
    c.up(b.sh("/probe tamper 0; head -c 1; exec /probe sleep"));
    let out = c.exec(&["/probe", "tamper", "0"]).ok().out();
    assert_eq!(out, "0 EROFS EROFS EROFS EROFS\n");
    c.down();
    dev.untouched("exec");
}

fn stdio_without_a_null_device_inside_cannot_be_changed(c: &Case) {
    let dev = HostDev::new(c);
    let mut b = c.bundle();
    fs::write(c.path("file"), "").unwrap();
    b.mount("/dev/null", "bind", &c.path_str("file"), &["bind"]);
    stdin_is_safe(c, &mut b, &dev);
    dev.leave();
}

fn stdio_of_a_bound_dev_cannot_be_changed(c: &Case) {
    let dev = HostDev::new(c);
    for options in [["rbind", "rw"], ["rbind", "rro"]] {
        let mut b = c.bundle();
        for at in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
            b.unmount(at);
        }
        b.mount("/dev", "bind", "/dev", &options);
        stdin_is_safe(c, &mut b, &dev);
    }
    dev.leave();
}

fn stdio_without_a_mount_namespace_cannot_be_changed(c: &Case) {
    let dev = HostDev::new(c);
    let mut b = c.bundle();
    for field in ["/mounts", "/linux/maskedPaths", "/linux/readonlyPaths", "/root/readonly"] {
        b.remove(field);
    }
    b.without_namespace("mount").caps(RIGHTS[1]);
    // There is no procfs to change it through: fchmod(2), fchown(2).
    let calls = [format!("{} 0 416", libc::SYS_fchmod), format!("{} 0 1 1", libc::SYS_fchown)];
    for call in calls {
        b.args(&["/probe", "call"]);
        for word in call.split(' ') {
            b.push("/process/args", json!(word));
        }
        assert_eq!(c.run(&b).ok().out(), "EROFS\n", "{call}");
    }
    dev.untouched("run");
    dev.leave();
}

/// Its mount is one of the container's, or a checkpoint could not restore it.
fn null_stdio_is_the_containers_own(c: &Case) {
    let script = "id=$(busybox sed -n 's/^mnt_id:[^0-9]*//p' /proc/self/fdinfo/0); \
        busybox grep -c \"^$id \" /proc/self/mountinfo; readlink /proc/self/fd/0";
    for user in [false, true] {
        let mut b = c.named_bundle(&format!("b{user}"));
        if user {
            b.user_namespace();
        }
        assert_eq!(c.run(b.sh(script)).ok().out(), "1\n/dev/null\n", "run, {user}");
        c.up(b.args(&["/probe", "sleep"]));
        let out = c.exec(&["/bin/sh", "-c", script]).ok().out();
        assert_eq!(out, "1\n/dev/null\n", "exec, {user}");
        c.down();
    }
}

fn nodes_in_a_user_namespace_are_as_configured(c: &Case) {
    let mut b = c.bundle();
    b.user_namespace();
    let node = |path: &str, kind: &str, more: Value| {
        let mut node = json!({"path": path, "type": kind, "major": 1, "minor": 5});
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        node
    };
    // None of them is there on the host.
    b.push(
        "/linux/devices",
        node("/dev/deep/er", "c", json!({"fileMode": 0o640, "uid": 1000, "gid": 1001})),
    );
    b.push("/linux/devices", node("/dev/plain", "c", json!({})));
    b.push("/linux/devices", node("/tmp/fifo", "p", json!({"fileMode": 0o600, "uid": 7})));
    b.set("/process/user", json!({"uid": 1000, "gid": 1000, "umask": 0o77}));
    b.push("/linux/maskedPaths", json!("/etc/passwd"));
    b.args(&["/probe", "stat", "/dev/deep/er", "/dev/plain", "/tmp/fifo", "/dev/null"]);
    let out = c.run(&b).ok().out();
    let (zero, null) = (libc::makedev(1, 5), libc::makedev(1, 3));
    assert_eq!(
        out,
        format!("20640 1000 1001 {zero}\n20666 0 0 {zero}\n10600 7 0 0\n20666 0 0 {null}\n")
    );
    let seen = c.see(&b);
    for at in ["/dev/deep/er", "/dev/plain", "/dev/null", "/etc/passwd"] {
        let flags = seen["mounts"][at]["flags"].as_str().unwrap_or_else(|| panic!("{at}: none"));
        assert!(flags.contains("nosuid") && flags.contains("noexec"), "{at}: {flags}");
        assert!(!flags.contains("nodev"), "{at}: {flags}");
    }
    // What they were copied from is gone again.
    let devices = seen["mounts"].as_object().unwrap().values();
    let roots: Vec<_> = devices.filter(|m| m["source"] == "devices").map(|m| &m["root"]).collect();
    assert!(!roots.is_empty() && roots.iter().all(|root| **root != json!("/")), "{roots:?}");
    b.args(&["/probe", "open", "rw", "/dev/deep/er", "/dev/plain"]);
    assert_eq!(c.run(&b).ok().out(), "ok\nok\n");
}

fn an_owner_that_is_not_mapped_is_refused_by_name(c: &Case) {
    for key in ["uid", "gid"] {
        let mut b = c.bundle();
        let mut node = json!({"path": "/dev/mine", "type": "c", "major": 1, "minor": 5});
        node[key] = json!(70_000);
        b.user_namespace().push("/linux/devices", node);
        let out = c.create(&b).fails("70000 is not mapped");
        assert!(out.err().contains(&format!("linux.devices[0].{key}")), "{}", out.err());
        c.nothing_left();
    }
}

fn devices_below_a_procfs_are_refused(c: &Case) {
    let node = |path: &str| json!({"path": path, "type": "c", "major": 1, "minor": 5});
    let mut b = c.bundle();
    b.user_namespace().push("/linux/devices", node("/proc/uptime"));
    c.create(&b).fails("linux.devices[0].path");
    let mut b = c.bundle();
    b.user_namespace().mount("/mnt", "proc", "proc", &[]);
    b.push("/linux/devices", node("/mnt/uptime"));
    c.create(&b).fails("procfs");
    c.nothing_left();
}

fn an_ordinary_user_binds_devices_as_they_are(c: &Case) {
    let mut b = c.bundle();
    let seen = c.see(&b);
    for at in ["/dev/null", "/dev/zero", "/dev/tty"] {
        let flags = seen["mounts"][at]["flags"].as_str().expect("a mount");
        let flags: Vec<_> = flags.split(',').collect();
        for flag in ["ro", "nosuid", "noexec"] {
            assert!(flags.contains(&flag), "{at}: {flags:?}");
        }
        assert!(!flags.contains(&"nodev"), "{at}: {flags:?}");
    }
    b.args(&["/probe", "open", "rw", "/dev/null", "/dev/zero"]);
    assert_eq!(c.run(&b).ok().out(), "ok\nok\n", "read-only is the file, not the device");
    let zero = fs::metadata("/dev/zero").unwrap();
    let node = |mode: u32| {
        json!({"path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "fileMode": mode,
            "uid": zero.uid(), "gid": zero.gid()})
    };
    c.run(b.set("/linux/devices", json!([node(zero.mode() & 0o7777)]))).ok();
    b.set("/linux/devices", json!([node(0o600)]));
    let out = c.create(&b).fails("linux.devices[0].fileMode");
    assert!(out.err().contains("only root of the machine can make a node"), "{}", out.err());
    c.nothing_left();
}
