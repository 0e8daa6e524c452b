//! Where the caller looks from: with another /proc, another tree of cgroups, another pid or cgroup
//! namespace, less capabilities. What cannot be known from there is an error, and never a guess.

use crate::support::cmd::Cmd;
use crate::support::{Case, ID, Need};
use crate::tests;
use serde_json::json;
use std::fs;

tests! {
    procfs_with_processes_alone_is_enough: needs(Need::Tool("unshare")).except_crun("wants /proc/mounts"),
    without_a_procfs_nothing_is_taken_for_stopped: needs(Need::Tool("unshare")).rt_only(),
    another_pid_namespace_does_not_know_the_status: needs(Need::Tool("unshare")).rt_only(),
    another_cgroup_namespace_loses_no_cgroup: needs(Need::Tool("unshare")).needs(Need::FileDriver).rt_only(),
    kill_needs_no_cgroup: needs(Need::Tool("unshare")),
    status_needs_no_cgroup: needs(Need::Tool("unshare")).except_crun("says stopped"),
    all_ids_make_no_root_of_the_machine: needs(Need::Tool("unshare")).needs(Need::UserNamespace).rt_only(),
    root_without_mknod_gets_the_hosts_devices: needs(Need::Tool("setpriv")).except_crun("EPERM"),
    root_without_sys_admin_is_told_so: needs(Need::Tool("setpriv")).rt_only(),
}

/// The command in a mount namespace of its own, after this line of shell.
fn after(setup: &str, cmd: Cmd) -> Cmd {
    let line = format!("{setup} && exec \"$@\"");
    cmd.through(&["unshare", "-m", "--propagation", "private", "sh", "-c", &line, "sh"])
}

fn sleeping(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
}

/// As a service with `ProcSubset=pid` has it.
fn procfs_with_processes_alone_is_enough(c: &Case) {
    let rt = |args: &[&str]| after("mount -t proc -o subset=pid proc /proc", c.rt_cmd(args)).run();
    let dir = c.bundle().args(&["/probe", "sleep"]).save();
    rt(&["create", "-b", &dir, ID]).ok();
    rt(&["start", ID]).ok();
    assert_eq!(rt(&["state", ID]).ok().json()["status"], "running");
    // It is the same boot, from wherever it is looked at.
    assert_eq!(c.status(), "running");
    rt(&["exec", ID, "/bin/true"]).ok();
    rt(&["delete", "--force", ID]).ok();
    c.nothing_left();
}

fn without_a_procfs_nothing_is_taken_for_stopped(c: &Case) {
    sleeping(c);
    for args in [&["state", ID][..], &["delete", ID], &["kill", ID, "KILL"], &["exec", ID, "true"]]
    {
        after("mount -t tmpfs none /proc", c.rt_cmd(args)).run().fails("/proc");
    }
    assert_eq!(c.status(), "running");
    c.down();
}

/// A user namespace is one also where it has all ids: what its root makes is kept where an ordinary
/// user's is.
fn all_ids_make_no_root_of_the_machine(c: &Case) {
    let dir = c.path("runtime-dir");
    fs::create_dir(&dir).unwrap();
    // A file in the place of the default root says which one is opened.
    fs::write(dir.join("rt"), "").unwrap();
    let map = "mkfifo a b; unshare -U sh -c 'echo >a; read x <b; exec \"$@\"' sh \"$@\" & read x <a; \
               for kind in uid gid; do echo 0 0 4294967295 >/proc/$!/${kind}_map; done; \
               echo >b; wait $!";
    let list = || c.bare_cmd(&["list"]).env("XDG_RUNTIME_DIR", &dir.to_string_lossy()).cwd(&dir);
    let out = list().through(&["sh", "-c", map, "sh"]).run();
    out.fails(&format!("open the state root {}", dir.join("rt").display()));
    list().run().ok();
}

fn another_pid_namespace_does_not_know_the_status(c: &Case) {
    sleeping(c);
    let inside = ["unshare", "--pid", "--fork", "--mount-proc"];
    for verb in ["state", "delete", "start", "pause"] {
        let out = c.rt_cmd(&[verb, ID]).through(&inside).run();
        out.fails("was created in another pid namespace");
    }
    assert_eq!(c.status(), "running");
    // Its cgroup is the same everywhere.
    c.rt_cmd(&["delete", "--force", ID]).through(&inside).run().ok();
    c.nothing_left();
    c.up(c.bundle().args(&["/bin/true"]));
    c.wait_for_status("stopped");
    c.rt(&["delete", ID]).ok();
}

fn another_cgroup_namespace_loses_no_cgroup(c: &Case) {
    sleeping(c);
    let other = c.cgroup_dir().expect("root").join("other");
    fs::create_dir(&other).unwrap();
    let enter = format!(
        "echo $$ > {}/cgroup.procs && exec unshare -C -m --propagation private sh -c '\
         umount /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"' sh \"$@\"",
        other.display()
    );
    let delete = c.rt_cmd(&["delete", "--force", ID]).through(&["sh", "-c", &enter, "sh"]);
    delete.run().fails("it is there, but has another path in this cgroup namespace");
    assert!(c.cgroup_dir().unwrap().join(ID).exists());
    c.down();
    fs::remove_dir(&other).unwrap();
    c.nothing_left();
}

const READ_ONLY: &str = "mount -o remount,bind,ro /sys/fs/cgroup";
const NONE: &str = "mount -t tmpfs none /sys/fs/cgroup";

fn kill_needs_no_cgroup(c: &Case) {
    for setup in [READ_ONLY, NONE] {
        sleeping(c);
        after(setup, c.rt_cmd(&["kill", ID, "KILL"])).run().ok();
        c.wait_for_status("stopped");
        c.down();
        if !c.is_rt() {
            continue;
        }
        // The cgroup cannot be removed from there, but nothing runs in it any more.
        sleeping(c);
        after(setup, c.rt_cmd(&["delete", "--force", ID])).run().fails("cgroup");
        c.wait_for_status("stopped");
        c.down();
    }
    c.nothing_left();
}

fn status_needs_no_cgroup(c: &Case) {
    sleeping(c);
    for setup in [READ_ONLY, NONE] {
        let state = after(setup, c.rt_cmd(&["state", ID])).run().ok();
        assert_eq!(state.json()["status"], "running");
        let list = after(setup, c.rt_cmd(&["list"])).run().ok();
        assert!(list.out().contains(ID), "{}", list.out());
    }
    c.down();
}

fn root_without_mknod_gets_the_hosts_devices(c: &Case) {
    let mut b = c.bundle();
    b.sh("[ -c /dev/null ] && [ -c /dev/urandom ] && head -c 4 /dev/zero | wc -c");
    let cut = ["setpriv", "--bounding-set", "-mknod"];
    let out = c.rt_cmd(&["run", "-b", &b.save(), ID]).through(&cut).run().ok();
    assert_eq!(out.out(), "4\n");
}

fn root_without_sys_admin_is_told_so(c: &Case) {
    let mut b = c.bundle();
    b.set("/process/noNewPrivileges", json!(true));
    let cut = ["setpriv", "--bounding-set", "-sys_admin"];
    let out = c.rt_cmd(&["run", "-b", &b.save(), ID]).through(&cut).run();
    out.fails("root without CAP_SYS_ADMIN");
    c.nothing_left();
}
