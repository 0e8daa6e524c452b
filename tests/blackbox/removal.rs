//! Cgroups always come to an end, whatever a container has made of its own.

use crate::support::bundle::Bundle;
use crate::support::cgroup::Group;
use crate::support::cmd::{Out, wait_until};
use crate::support::{Case, ID};
use crate::tests;
use std::fs;

tests! {
    sub_cgroups_with_processes_are_removed,
    many_sub_cgroups_are_removed,
    sub_cgroups_of_any_name_are_found: rt_only(),
    a_frozen_sub_cgroup_is_removed,
    a_threaded_sub_cgroup_is_removed: rt_only(),
    a_container_that_keeps_making_cgroups_is_removed: rt_only(),
    exec_into_a_frozen_sub_cgroup_is_refused: rt_only(),
    pause_reaches_sub_cgroups,
}

/// A container that may change its own cgroup.
fn bundle(c: &Case, script: &str) -> Bundle {
    let mut b = c.bundle();
    b.unmount("/sys/fs/cgroup");
    b.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "rw"]);
    b.sh(&format!("cd /sys/fs/cgroup && {{ {script}; }} && echo ready; exec sleep 1000"));
    b
}

fn up(c: &Case, script: &str) -> Out {
    let out = c.up(&bundle(c, script));
    wait_until("it is ready", || out.out().contains("ready"));
    out
}

/// Deletes: what does not come to its end before the runtime's deadline is an error.
#[track_caller]
fn deleted(c: &Case) {
    c.rt(&["delete", "--force", ID]).ok();
    c.nothing_left();
}

/// Starts a process in the sub-cgroup $d.
const PROCESS: &str = "{ sleep 1000 & echo $! > $d/cgroup.procs; }";

fn sub_cgroups_with_processes_are_removed(c: &Case) {
    up(c, &format!("for d in a a/b a/b/c d; do mkdir $d && {PROCESS} || exit 1; done"));
    deleted(c);
    // And when init is gone already.
    up(c, &format!("for d in a a/b d; do mkdir $d && {PROCESS} || exit 1; done"));
    c.rt(&["kill", ID, "KILL"]).ok();
    c.wait_for_status("stopped");
    c.rt(&["delete", ID]).ok();
    c.nothing_left();
}

fn many_sub_cgroups_are_removed(c: &Case) {
    let deep = vec!["d"; 30].join("/");
    up(c, &format!("mkdir -p {deep} && for i in $(seq 300); do mkdir w$i || exit 1; done"));
    deleted(c);
}

fn sub_cgroups_of_any_name_are_found(c: &Case) {
    // No UTF-8, and together longer than PATH_MAX.
    let bytes = format!("d=$(printf 'a\\377b'); mkdir $d && {PROCESS}");
    let long = "l".repeat(250);
    let deep = format!("for i in $(seq 18); do mkdir {long} && cd {long}; done; d=.; {PROCESS}");
    up(c, &format!("{bytes} && {deep}"));
    let pids: Vec<i32> =
        serde_json::from_str(&c.rt(&["ps", "--format", "json", ID]).out()).unwrap();
    assert_eq!(pids.len(), 3);
    c.rt(&["pause", ID]).ok();
    c.rt(&["resume", ID]).ok();
    c.rt(&["kill", "--all", ID, "URG"]).ok();
    deleted(c);
}

fn a_frozen_sub_cgroup_is_removed(c: &Case) {
    up(c, &format!("d=a; mkdir a && {PROCESS} && echo 1 > a/cgroup.freeze"));
    let g = Group::of(c);
    wait_until("it is frozen", || g.value("a/cgroup.events", "frozen") == 1);
    assert_eq!(c.status(), "running");
    deleted(c);
}

fn a_threaded_sub_cgroup_is_removed(c: &Case) {
    up(c, "mkdir -p t/u && echo threaded > t/cgroup.type && echo $$ > t/cgroup.threads");
    let out = c.rt(&["ps", "-f", "json", ID]).ok();
    assert!(out.json().as_array().unwrap().iter().any(|pid| *pid == c.pid()), "{}", out.out());
    deleted(c);
}

fn a_container_that_keeps_making_cgroups_is_removed(c: &Case) {
    let worker = "while :; do mkdir -p x$w/$i && echo $i > /dev/null; i=$((i+1)); done";
    up(c, &format!("for w in 1 2 3; do (i=0; {worker}) & done"));
    let g = Group::of(c);
    wait_until("there are some", || fs::read_dir(g.0.join("x1")).is_ok_and(|l| l.count() > 50));
    deleted(c);
}

fn exec_into_a_frozen_sub_cgroup_is_refused(c: &Case) {
    up(c, "mkdir a && echo 1 > a/cgroup.freeze");
    c.rt(&["exec", "--cgroup", "a", ID, "/bin/true"]).fails("frozen");
    c.exec(&["/bin/true"]).ok();
    c.down();
}

fn pause_reaches_sub_cgroups(c: &Case) {
    up(c, &format!("d=a; mkdir a && {PROCESS}"));
    let g = Group::of(c);
    c.rt(&["pause", ID]).ok();
    assert_eq!(g.value("a/cgroup.events", "frozen"), 1);
    c.rt(&["resume", ID]).ok();
    assert_eq!(g.value("a/cgroup.events", "frozen"), 0);
    c.down();
}
