//! A system in a container: systemd is its first process.

use crate::support::cmd::wait_until;
use crate::support::{Bundle, Case, ID, Need, rootfs, sys};
use crate::tests;
use serde_json::{Value, json};
use std::fs;

tests! {
    systemd_boots_and_shuts_down: needs(Need::Debian).needs(Need::UserNamespace).rt_only(),
    systemd_boots_without_a_user_namespace: needs(Need::Debian).rt_only(),
    systemd_on_a_terminal_says_what_it_does: needs(Need::Debian).needs(Need::UserNamespace).rt_only(),
    services_are_limited_inside: needs(Need::Debian).needs(Need::Controller("memory")).needs(Need::Controller("pids")).rt_only(),
    services_cannot_raise_the_limit_of_the_container: needs(Need::Debian).needs(Need::Controller("memory")).rt_only(),
}

/// The bundle of examples/system.
fn system(c: &Case, user_namespace: bool) -> Bundle {
    let mut b = c.bundle();
    let root = c.path("root");
    rootfs::debian(&c.base, &c.path("layers"), &root, user_namespace.then_some(100_000));
    b.config = serde_json::from_str(include_str!("../../examples/system/config.json")).unwrap();
    b.set("/root/path", json!(root.to_string_lossy()));
    b.set("/linux/cgroupsPath", json!(c.cgroups_path(ID)));
    if !user_namespace {
        b.without_namespace("user").remove("/linux/uidMappings").remove("/linux/gidMappings");
        // Not every root has it to give.
        for set in ["bounding", "permitted", "effective"] {
            let list = b.config["process"]["capabilities"][set].as_array_mut().unwrap();
            list.retain(|name| name != "CAP_SYS_RESOURCE");
        }
    }
    b
}

fn boot(c: &Case, b: &Bundle) {
    c.rt(&["run", "-d", "-b", &b.save(), ID]).ok();
    wait_until("it is up", || {
        let active = c.exec(&["systemctl", "is-active", "multi-user.target"]);
        active.out() == "active\n"
    });
}

fn shut_down(c: &Case) {
    c.rt(&["kill", ID, "RTMIN+3"]).ok();
    c.wait_for_status("stopped");
    c.rt(&["delete", ID]).ok();
    put_away(c);
}

fn put_away(c: &Case) {
    c.nothing_left();
    sys::umount_detach(&c.path("root")).unwrap();
}

#[track_caller]
fn systemctl(c: &Case, args: &[&str]) -> String {
    c.rt_cmd(&["exec", ID, "systemctl"]).args(args).run().ok().out().trim().to_string()
}

fn boots(c: &Case, user_namespace: bool) {
    boot(c, &system(c, user_namespace));
    wait_until("nothing is left to be started", || {
        c.exec(&["systemctl", "list-jobs", "--no-legend"]).ok().out().is_empty()
    });
    assert_eq!(systemctl(c, &["--failed", "--no-legend"]), "", "every unit is up");
    assert_eq!(systemctl(c, &["show", "--value", "--property=Virtualization"]), "container-other");
    let own = c.exec(&["sh", "-c", "grep ^0:: /proc/1/cgroup; id -u"]).ok().out();
    assert_eq!(own, "0::/init.scope\n0\n");
    // A program goes where systemd is, if the container's own cgroup takes none any more.
    c.exec(&["systemd-run", "--quiet", "--wait", "true"]).ok();
    shut_down(c);
}

fn systemd_boots_and_shuts_down(c: &Case) {
    boots(c, true);
}

fn systemd_boots_without_a_user_namespace(c: &Case) {
    boots(c, false);
}

fn systemd_on_a_terminal_says_what_it_does(c: &Case) {
    let mut b = system(c, true);
    b.set("/process/terminal", json!(true));
    let (mut pty, slave) = crate::support::pty::Pty::open(24, 100);
    let run = c.rt_cmd(&["run", "-b", &b.save(), ID]).terminal(&slave).spawn();
    pty.expect("Welcome to");
    pty.expect("login:");
    c.rt(&["kill", ID, "RTMIN+3"]).ok();
    // reboot(2): in a pid namespace, a halt ends the first process by SIGINT.
    run.wait().exits(128 + libc::SIGINT);
    put_away(c);
}

fn services_are_limited_inside(c: &Case) {
    boot(c, &system(c, true));
    c.exec(&[
        "systemd-run",
        "--quiet",
        "--unit=worker",
        "--property=MemoryMax=64M",
        "sleep",
        "1000",
    ])
    .ok();
    let read = |file: &str| -> Value {
        let path = format!("/sys/fs/cgroup/system.slice/worker.service/{file}");
        json!(c.exec(&["cat", &path]).ok().out().trim())
    };
    assert_eq!(read("memory.max"), "67108864");
    systemctl(c, &["set-property", "worker", "MemoryMax=32M", "TasksMax=7"]);
    assert_eq!((read("memory.max"), read("pids.max")), (json!("33554432"), json!("7")));
    // And it bites: tail keeps the one long line of /dev/zero.
    let greedy =
        ["systemd-run", "--quiet", "--wait", "--property=MemoryMax=32M", "tail", "/dev/zero"];
    c.exec(&[&greedy[..4], &["--property=MemorySwapMax=0"], &greedy[4..]].concat()).fails("");
    shut_down(c);
}

fn services_cannot_raise_the_limit_of_the_container(c: &Case) {
    let mut b = system(c, true);
    b.set("/linux/resources/memory", json!({"limit": 300 << 20}));
    boot(c, &b);
    let write = "echo max >/sys/fs/cgroup/memory.max";
    c.exec(&["sh", "-c", write]).fails("ermission");
    let limit = c.cgroup_dir().unwrap().join(ID).join("memory.max");
    assert_eq!(fs::read_to_string(limit).unwrap().trim(), (300 << 20).to_string());
    shut_down(c);
}
