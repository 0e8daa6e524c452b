//! `linux.intelRdt`, on a tree of files at /sys/fs/resctrl: no machine of ours has the real
//! one. A group that is made there stays empty, where the kernel puts `tasks` and `schemata`
//! into it; what comes after that is tested beside the code.

use crate::support::{Bundle, Case, ID, sys};
use crate::tests;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

tests! {
    process_joins_a_group_that_is_there: rt_only(),
    schemas_are_written_in_their_order: rt_only(),
    group_must_have_what_the_config_wants: rt_only(),
    group_without_a_schema_must_be_there: rt_only(),
    default_group_is_the_root: rt_only(),
    failed_create_removes_its_groups: rt_only(),
    resctrl_must_be_mounted: rt_only(),
    groups_have_plain_names: rt_only(),
}

const ROOT: &str = "/sys/fs/resctrl";

/// The tree; what lies beneath is there again in the end.
struct Tree {
    group: PathBuf,
}

impl Drop for Tree {
    fn drop(&mut self) {
        for at in ["/sys/fs/cgroup", "/sys/fs", "/mnt/cgroup", "/mnt"] {
            sys::umount_detach(Path::new(at)).expect("umount");
        }
    }
}

/// An empty directory at /sys/fs/resctrl, where sysfs has none, in this mount namespace.
fn make_place() {
    let (fs_dir, cgroup) = (Path::new("/sys/fs"), Path::new("/sys/fs/cgroup"));
    let aside = Path::new("/mnt");
    sys::mount("aside", aside, "tmpfs", 0, "").expect("mount");
    fs::create_dir(aside.join("cgroup")).expect("mkdir");
    sys::bind(cgroup, &aside.join("cgroup")).expect("bind");
    sys::mount("fs", fs_dir, "tmpfs", 0, "mode=755").expect("mount");
    for name in ["cgroup", "resctrl"] {
        fs::create_dir(fs_dir.join(name)).expect("mkdir");
    }
    sys::bind(&aside.join("cgroup"), cgroup).expect("bind");
}

/// A tree of files, with one group in it.
fn files() -> Tree {
    make_place();
    let group = Path::new(ROOT).join("gold");
    fs::create_dir(&group).expect("mkdir");
    for dir in [Path::new(ROOT), &group] {
        fs::write(dir.join("tasks"), "").expect("write");
        fs::write(dir.join("schemata"), "    MB:0= 100;1= 100\n    L3:0=7ff;1=001f\n")
            .expect("write");
    }
    Tree { group }
}

fn bundle(c: &Case, rdt: Value) -> Bundle {
    let mut b = c.bundle();
    b.set("/linux/intelRdt", rdt).unmount("/sys/fs/cgroup");
    b.args(&["/probe", "sleep"]);
    b
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(path).expect("read")
}

fn process_joins_a_group_that_is_there(c: &Case) {
    let tree = files();
    let group = &tree.group;
    let before = read(group.join("schemata"));
    c.up(&bundle(c, json!({"closID": "gold"})));
    assert_eq!(read(group.join("tasks")), c.pid().to_string());
    assert_eq!(read(group.join("schemata")), before, "MUST NOT write");
    c.rt(&["exec", "--pid-file", &c.path_str("pid"), ID, "/bin/true"]).ok();
    assert_eq!(read(group.join("tasks")), read(c.path("pid")));
    c.down();
    assert!(group.is_dir());
}

fn schemas_are_written_in_their_order(c: &Case) {
    let tree = files();
    let group = &tree.group;
    // A file that shows every write: the last one stays at the beginning.
    let rdt = json!({"closID": "gold", "l3CacheSchema": "L3:0=7ff", "memBwSchema": "MB:1=100",
        "schemata": ["L3:0=7f0", "MB:0=20;1=70"]});
    c.run(bundle(c, rdt).args(&["/bin/true"])).ok();
    assert!(read(group.join("schemata")).starts_with("L3:0=7f0\nMB:0=20;1=70\n"));
}

fn group_must_have_what_the_config_wants(c: &Case) {
    let _tree = files();
    for (rdt, field) in [
        (json!({"closID": "gold", "l3CacheSchema": "L3:0=1"}), "linux.intelRdt.l3CacheSchema"),
        (json!({"closID": "gold", "memBwSchema": "MB:1=10"}), "linux.intelRdt.memBwSchema"),
    ] {
        c.create(&bundle(c, rdt)).fails(field);
        c.nothing_left();
    }
    c.run(bundle(c, json!({"closID": "gold", "l3CacheSchema": "L3:1=1f"})).args(&["/bin/true"]))
        .ok();
}

fn group_without_a_schema_must_be_there(c: &Case) {
    let _tree = files();
    c.create(&bundle(c, json!({"closID": "silver"}))).fails("linux.intelRdt.closID");
    c.nothing_left();
    assert!(!Path::new(ROOT).join("silver").exists());
}

fn default_group_is_the_root(c: &Case) {
    let _tree = files();
    c.up(&bundle(c, json!({"closID": "/"})));
    assert_eq!(read(Path::new(ROOT).join("tasks")), c.pid().to_string());
    c.down();
}

fn failed_create_removes_its_groups(c: &Case) {
    let _tree = files();
    let mut b = bundle(c, json!({}));
    b.mount("/mnt", "tmpfs", "tmpfs", &["nosuch=1"]);
    c.create(&b).fails("nosuch");
    assert!(!Path::new(ROOT).join(ID).exists());
    c.create(&bundle(c, json!({}))).fails("tasks");
    assert!(!Path::new(ROOT).join(ID).exists());
    c.create(&bundle(c, json!({"schemata": ["L3:0=f"]}))).fails("linux.intelRdt.schemata");
    assert!(!Path::new(ROOT).join(ID).exists());
    c.nothing_left();
}

fn resctrl_must_be_mounted(c: &Case) {
    if Path::new(ROOT).join("tasks").exists() {
        crate::support::worker::skip("needs a machine without resctrl");
    }
    c.create(&bundle(c, json!({"closID": "gold"}))).fails("mount -t resctrl");
    c.nothing_left();
}

fn groups_have_plain_names(c: &Case) {
    let _tree = files();
    for name in ["..", "a/b", "info", "mon_groups"] {
        c.create(&bundle(c, json!({"closID": name}))).fails("linux.intelRdt.closID");
        c.nothing_left();
    }
}
