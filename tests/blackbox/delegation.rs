//! Containers that manage cgroups of their own: what they own, and the leaf for their first
//! process.

use crate::support::cmd::wait_until;
use crate::support::{Bundle, Case, ID, Need};
use crate::tests;
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

tests! {
    root_of_a_user_namespace_owns_what_the_kernel_lists: needs(Need::UserNamespace).except_crun("only with annotations"),
    another_user_owns_it_as_well: rt_only(),
    read_only_mount_delegates_nothing: needs(Need::UserNamespace),
    sub_cgroups_are_made_inside: needs(Need::UserNamespace).except_crun("only with annotations"),
    cgroup_that_was_there_keeps_its_owner: rt_only().needs(Need::UserNamespace),
    leaf_takes_the_first_process: rt_only(),
    leaf_passes_controllers_on: rt_only().needs(Need::Controller("pids")),
    leaf_belongs_to_root_of_a_user_namespace: rt_only().needs(Need::UserNamespace),
    leaf_is_known_to_every_verb: rt_only(),
    leaf_needs_a_writable_mount: rt_only(),
    leaf_of_a_failed_create_is_removed: rt_only(),
}

const MOUNT: &str = "/sys/fs/cgroup";

/// With a cgroup mount that can be written.
fn writable(c: &Case) -> Bundle {
    let mut b = c.bundle();
    b.unmount(MOUNT).mount(MOUNT, "cgroup", "cgroup", &["rw", "nosuid", "nodev", "noexec"]);
    b
}

fn with_leaf(c: &Case) -> Bundle {
    let mut b = writable(c);
    b.set("/annotations", json!({"rt.cgroup.leaf": "init"}));
    b
}

fn dir(c: &Case) -> PathBuf {
    c.cgroup_dir().unwrap().join(ID)
}

fn owner(path: PathBuf) -> u32 {
    fs::metadata(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).uid()
}

/// The files that the kernel lets a delegatee write.
fn listed() -> Vec<String> {
    let list = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap();
    list.lines().map(str::to_owned).collect()
}

/// Which cgroup a process is in.
fn cgroup_of(pid: i32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    text.lines().find_map(|l| l.strip_prefix("0::")).unwrap().to_string()
}

fn root_of_a_user_namespace_owns_what_the_kernel_lists(c: &Case) {
    c.up(writable(c).user_namespace().args(&["/probe", "sleep"]));
    assert_eq!(owner(dir(c)), 100_000);
    for file in listed() {
        let path = dir(c).join(&file);
        if path.exists() {
            assert_eq!(owner(path), 100_000, "{file}");
        }
    }
    for file in ["cgroup.freeze", "cgroup.kill", "cgroup.max.depth"] {
        assert_eq!(owner(dir(c).join(file)), 0, "{file} stays the runtime's");
    }
    c.down();
}

fn another_user_owns_it_as_well(c: &Case) {
    let mut b = writable(c);
    b.set("/process/user", json!({"uid": 1000, "gid": 1000})).args(&["/probe", "sleep"]);
    c.up(&b);
    assert_eq!((owner(dir(c)), owner(dir(c).join("cgroup.procs"))), (1000, 1000));
    c.exec(&["/bin/mkdir", "/sys/fs/cgroup/sub"]).ok();
    c.down();
}

fn read_only_mount_delegates_nothing(c: &Case) {
    c.up(c.bundle().user_namespace().args(&["/probe", "sleep"]));
    assert_eq!((owner(dir(c)), owner(dir(c).join("cgroup.procs"))), (0, 0));
    c.down();
}

fn sub_cgroups_are_made_inside(c: &Case) {
    let mut b = writable(c);
    b.user_namespace().sh(
        "cd /sys/fs/cgroup; mkdir sub; echo 0 >sub/cgroup.procs; cat /proc/self/cgroup | tail -n 1",
    );
    assert!(c.run(&b).ok().out().ends_with("0::/sub\n"));
    c.nothing_left();
}

fn cgroup_that_was_there_keeps_its_owner(c: &Case) {
    fs::create_dir(dir(c)).unwrap();
    c.up(writable(c).user_namespace().args(&["/probe", "sleep"]));
    assert_eq!((owner(dir(c)), owner(dir(c).join("cgroup.procs"))), (0, 0));
    c.down();
    c.create(with_leaf(c).user_namespace()).fails("rt.cgroup.leaf");
    fs::remove_dir(dir(c)).unwrap();
}

fn leaf_takes_the_first_process(c: &Case) {
    let mut b = with_leaf(c);
    c.create(b.args(&["/probe", "sleep"])).ok();
    assert_eq!(cgroup_of(c.pid()), format!("{}/init", c.cgroups_path(ID)));
    c.rt(&["start", ID]).ok();
    let inside = c.exec(&["/bin/cat", "/proc/1/cgroup"]).ok().out();
    assert!(inside.ends_with("0::/init\n"), "the container's cgroup is the root: {inside}");
    c.down();
    c.nothing_left();
}

fn leaf_passes_controllers_on(c: &Case) {
    let mut b = with_leaf(c);
    b.set("/linux/resources/pids", json!({"limit": 50}));
    b.sh("cd /sys/fs/cgroup; mkdir sub; echo 5 >sub/pids.max; cat cgroup.subtree_control");
    let enabled = c.run(&b).ok().out();
    let has = fs::read_to_string("/sys/fs/cgroup/cgroup.subtree_control").unwrap();
    for controller in has.split_whitespace() {
        assert!(enabled.split_whitespace().any(|e| e == controller), "{controller}: {enabled}");
    }
    c.nothing_left();
}

fn leaf_belongs_to_root_of_a_user_namespace(c: &Case) {
    c.up(with_leaf(c).user_namespace().args(&["/probe", "sleep"]));
    for path in [".", "init", "init/cgroup.procs", "cgroup.subtree_control"] {
        assert_eq!(owner(dir(c).join(path)), 100_000, "{path}");
    }
    c.exec(&["/bin/mkdir", "/sys/fs/cgroup/sub"]).ok();
    c.down();
    c.nothing_left();
}

fn leaf_is_known_to_every_verb(c: &Case) {
    c.up(with_leaf(c).args(&["/probe", "children", "2"]));
    c.exec(&["/bin/true"]).ok();
    wait_until("all are there", || {
        c.rt(&["ps", "-f", "json", ID]).ok().json().as_array().map(Vec::len) == Some(3)
    });
    c.rt(&["pause", ID]).ok();
    assert_eq!(c.status(), "paused");
    c.rt(&["resume", ID]).ok();
    c.rt(&["kill", ID, "KILL"]).ok();
    c.wait_for_status("stopped");
    c.rt(&["delete", ID]).ok();
    c.nothing_left();
}

fn leaf_needs_a_writable_mount(c: &Case) {
    let annotation = json!({"rt.cgroup.leaf": "init"});
    let mut b = c.bundle();
    c.create(b.set("/annotations", annotation.clone())).fails(r#"annotations["rt.cgroup.leaf"]"#);
    let mut b = writable(c);
    c.create(b.without_namespace("cgroup").set("/annotations", annotation))
        .fails("cgroup namespace");
    let mut b = writable(c);
    b.set("/annotations", json!({"rt.cgroup.leaf": "../x"}));
    c.create(&b).fails("must be the name of one sub-cgroup");
    c.nothing_left();
}

fn leaf_of_a_failed_create_is_removed(c: &Case) {
    let mut b = with_leaf(c);
    c.create(b.args(&["/no/such/program"])).fails("no such file");
    let dir = b.args(&["/bin/true"]).save();
    // After the leaf was made: the pid file cannot be written.
    fs::create_dir(c.path("pid")).unwrap();
    c.rt(&["create", "-b", &dir, "--pid-file", &c.path_str("pid"), ID]).fails("pid");
    c.nothing_left();
}
