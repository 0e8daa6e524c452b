//! create, start, state, kill, delete and run: the life of a container.

use crate::support::cmd::wait_until;
use crate::support::{Case, ID, Kind};
use crate::tests;
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt;

tests! {
    run_returns_the_exit_code,
    run_returns_128_plus_the_signal,
    run_deletes_the_container_at_exit: except_crun("other words"),
    run_keep_leaves_a_stopped_container: except_crun("this version has no --keep"),
    run_detached_returns_at_once_and_the_container_lives,
    create_waits_at_the_gate,
    start_runs_the_process,
    second_start_is_refused,
    start_of_an_absent_container_fails: except_crun("other words"),
    create_with_a_used_id_is_refused,
    created_container_becomes_stopped_when_init_is_killed: except_runc("a race leaves the cgroup"),
    state_has_the_documented_shape: except_crun("ociVersion is fixed, rootfs is missing"),
    state_of_a_stopped_container_has_pid_0,
    state_carries_the_annotations,
    state_of_an_absent_container_fails: except_crun("other words"),
    delete_removes_a_stopped_container,
    delete_kills_a_created_container,
    delete_of_a_running_container_is_refused: except_crun("other words"),
    delete_force_ends_a_running_container,
    delete_force_of_an_absent_container_succeeds,
    delete_of_an_absent_container_fails,
    delete_ends_every_process_of_the_container: except_runc("leaves the cgroup"),
    init_becomes_a_child_of_the_callers_subreaper,
    foreground_run_forwards_signals,
    an_id_can_be_used_again,
    container_without_a_process_cannot_start: except_runc("refused by create"),
    state_directory_is_private,
    config_may_change_after_create,
    a_thousand_byte_environment_and_a_long_argument_arrive,
}

fn run_returns_the_exit_code(c: &Case) {
    let mut b = c.bundle();
    c.run(b.args(&["/bin/true"])).ok();
    c.run(b.sh("exit 7")).exits(7);
    c.run(b.sh("exit 255")).exits(255);
}

fn run_returns_128_plus_the_signal(c: &Case) {
    let mut b = c.bundle();
    // pid 1 of a namespace cannot kill itself: use the host's pid namespace.
    b.without_namespace("pid").unmount("/proc").mount("/proc", "bind", "/proc", &["rbind"]);
    b.remove("/linux/maskedPaths").remove("/linux/readonlyPaths");
    for signal in [1, 9, 11, 15] {
        c.run(b.args(&["/probe", "die", &signal.to_string()])).exits(128 + signal);
    }
}

fn run_deletes_the_container_at_exit(c: &Case) {
    c.run(&c.bundle()).ok();
    c.nothing_left();
    c.rt(&["state", ID]).fails("does not exist");
}

fn run_keep_leaves_a_stopped_container(c: &Case) {
    c.rt(&["run", "--keep", "-b", &c.bundle().save(), ID]).ok();
    assert_eq!(c.status(), "stopped");
    c.rt(&["delete", ID]).ok();
    c.nothing_left();
}

fn run_detached_returns_at_once_and_the_container_lives(c: &Case) {
    let mut b = c.bundle();
    let out = c.rt(&["run", "-d", "-b", &b.args(&["/bin/sleep", "1000"]).save(), ID]).ok();
    assert_eq!(out.out(), "", "nothing is printed");
    assert_eq!(c.status(), "running");
    c.down();
    c.rt(&["run", "--detach", "--bundle", &b.save(), ID]).ok();
    c.down();
}

fn create_waits_at_the_gate(c: &Case) {
    let mut b = c.bundle();
    let out = c.create(b.sh("echo it runs")).ok();
    assert_eq!((out.out(), out.err()), (String::new(), String::new()), "create is silent");
    assert_eq!(c.status(), "created");
    let pid = c.pid();
    assert!(fs::exists(format!("/proc/{pid}")).unwrap(), "init is there");
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(out.out(), "", "the process has not run");
    c.down();
}

fn start_runs_the_process(c: &Case) {
    let mut b = c.bundle();
    let created = c.create(b.sh("echo it runs; exec sleep 1000")).ok();
    let pid = c.pid();
    let started = c.rt(&["start", ID]).ok();
    assert_eq!((started.out(), started.err()), (String::new(), String::new()));
    wait_until("the process has run", || created.out() == "it runs\n");
    assert_eq!(c.status(), "running");
    assert_eq!(c.pid(), pid, "init keeps its pid");
    c.down();
}

fn second_start_is_refused(c: &Case) {
    c.up(c.bundle().args(&["/bin/sleep", "1000"]));
    c.rt(&["start", ID]).fails(if c.is_rt() { "already running" } else { "" });
    c.rt(&["kill", ID, "KILL"]).ok();
    c.wait_for_status("stopped");
    c.rt(&["start", ID]).fails("");
    c.down();
}

fn start_of_an_absent_container_fails(c: &Case) {
    c.rt(&["start", "nobody"]).fails("does not exist");
}

fn create_with_a_used_id_is_refused(c: &Case) {
    let b = c.bundle();
    c.create(&b).ok();
    let pid = c.pid();
    c.create(&b).fails(if c.kind == Kind::Crun {
        "exist"
    } else {
        "container with given ID already exists"
    });
    c.run(&b).fails("exist");
    assert_eq!((c.pid(), c.status().as_str()), (pid, "created"), "the first one is untouched");
    c.down();
}

fn created_container_becomes_stopped_when_init_is_killed(c: &Case) {
    c.create(&c.bundle()).ok();
    c.rt(&["kill", ID, "KILL"]).ok();
    c.wait_for_status("stopped");
    c.rt(&["delete", ID]).ok();
    c.nothing_left();
}

fn state_has_the_documented_shape(c: &Case) {
    let mut b = c.bundle();
    b.set("/annotations", json!({"org.example": "yes"}));
    c.create(&b).ok();
    let text = c.rt(&["state", ID]).ok().out();
    assert!(text.starts_with("{\n  \"ociVersion\": \""), "2 spaces of indentation: {text}");
    assert!(text.ends_with("\n}"), "no newline at the end: {text:?}");
    let state: serde_json::Value = serde_json::from_str(&text).unwrap();
    let keys: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("  \""))
        .map(|line| line.split('"').nth(1).unwrap())
        .collect();
    let expected = [
        "ociVersion",
        "id",
        "pid",
        "status",
        "bundle",
        "rootfs",
        "created",
        "annotations",
        "owner",
    ];
    assert_eq!(keys, expected, "{text}");
    assert_eq!(state["id"], ID);
    assert_eq!(state["status"], "created");
    assert_eq!(state["bundle"], b.dir.to_str().unwrap());
    assert_eq!(state["rootfs"], b.rootfs("").to_str().unwrap().trim_end_matches('/'));
    assert_eq!(state["owner"], if c.is_rt() { json!("root") } else { json!("") });
    let created = state["created"].as_str().unwrap();
    assert!(created.ends_with('Z') && created.as_bytes()[10] == b'T', "RFC 3339 in UTC: {created}");
    c.down();
}

fn state_of_a_stopped_container_has_pid_0(c: &Case) {
    c.up(c.bundle().args(&["/bin/true"]));
    c.wait_for_status("stopped");
    assert_eq!(c.state()["pid"], 0);
    c.rt(&["delete", ID]).ok();
}

fn state_carries_the_annotations(c: &Case) {
    let mut b = c.bundle();
    b.set("/annotations", json!({"org.example.one": "1", "b": "two\nlines \"quoted\" ü"}));
    c.create(&b).ok();
    assert_eq!(c.state()["annotations"], b.config["annotations"]);
    c.down();
}

fn state_of_an_absent_container_fails(c: &Case) {
    let out = c.rt(&["state", "nobody"]).fails("does not exist");
    assert_eq!(out.out(), "");
}

fn delete_removes_a_stopped_container(c: &Case) {
    c.up(&c.bundle());
    c.wait_for_status("stopped");
    let out = c.rt(&["delete", ID]).ok();
    assert_eq!((out.out(), out.err()), (String::new(), String::new()));
    c.nothing_left();
}

fn delete_kills_a_created_container(c: &Case) {
    c.create(&c.bundle()).ok();
    c.rt(&["delete", ID]).ok();
    c.nothing_left();
}

fn delete_of_a_running_container_is_refused(c: &Case) {
    c.up(c.bundle().args(&["/bin/sleep", "1000"]));
    let text = match c.kind {
        Kind::Crun => "running",
        _ => "that is not stopped: running",
    };
    c.rt(&["delete", ID]).fails(text);
    assert_eq!(c.status(), "running");
    c.down();
}

fn delete_force_ends_a_running_container(c: &Case) {
    for flag in ["-f", "--force"] {
        c.up(c.bundle().args(&["/probe", "sleep"]));
        c.rt(&["delete", flag, ID]).ok();
        c.nothing_left();
    }
}

fn delete_force_of_an_absent_container_succeeds(c: &Case) {
    let out = c.rt(&["delete", "--force", "nobody"]).ok();
    assert_eq!(out.out(), "");
}

fn delete_of_an_absent_container_fails(c: &Case) {
    // crun: another sentence, which containerd does not understand.
    c.rt(&["delete", "nobody"]).fails(if c.kind == Kind::Crun { "" } else { "does not exist" });
}

fn delete_ends_every_process_of_the_container(c: &Case) {
    let mut b = c.bundle();
    b.without_namespace("pid").unmount("/proc").mount("/proc", "bind", "/proc", &["rbind"]);
    b.remove("/linux/maskedPaths").remove("/linux/readonlyPaths");
    // The first process ends; its children, in the host's pid namespace, go on.
    let out = c.up(b.sh("sleep 1000 & sleep 1000 & echo ready; exit 0"));
    wait_until("its children run", || out.out() == "ready\n");
    c.wait_for_status("stopped");
    c.down();
    c.nothing_left();
}

fn init_becomes_a_child_of_the_callers_subreaper(c: &Case) {
    c.create(&c.bundle()).ok();
    let stat = fs::read_to_string(format!("/proc/{}/stat", c.pid())).unwrap();
    let parent = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap();
    assert_eq!(parent, std::process::id().to_string(), "{stat}");
    c.down();
}

fn foreground_run_forwards_signals(c: &Case) {
    let mut b = c.bundle();
    let run = c.rt_cmd(&["run", "-b", &b.args(&["/probe", "signals", "15"]).save(), ID]).spawn();
    wait_until("the process is ready", || run.so_far().starts_with("ready"));
    for signal in [libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, libc::SIGINT, libc::SIGQUIT] {
        run.kill(signal);
        let text = format!("\n{signal}\n");
        wait_until(&format!("signal {signal} has arrived"), || run.so_far().contains(&text));
    }
    run.kill(libc::SIGTERM);
    run.wait().ok();
}

fn an_id_can_be_used_again(c: &Case) {
    let mut b = c.bundle();
    for code in 0..5 {
        c.run(b.sh(&format!("exit {code}"))).exits(code);
    }
}

fn container_without_a_process_cannot_start(c: &Case) {
    let mut b = c.bundle();
    b.remove("/process");
    c.create(&b).ok();
    assert_eq!(c.status(), "created");
    c.rt(&["start", ID]).fails("process");
    c.rt(&["delete", ID]).ok();
    c.run(&b).fails("process");
    c.nothing_left();
}

fn state_directory_is_private(c: &Case) {
    let root = c.path("newroot");
    let b = c.bundle();
    let root_arg = root.to_string_lossy();
    c.bare_cmd(&["--root", &root_arg, "create", "-b", &b.save(), ID]).run().ok();
    if c.is_rt() {
        assert_eq!(fs::metadata(&root).unwrap().mode() & 0o077, 0, "the root");
    }
    let dir = fs::metadata(root.join(ID)).unwrap();
    // Search permission alone shows nothing (runc: 0711).
    assert_eq!(dir.mode() & if c.is_rt() { 0o077 } else { 0o066 }, 0, "the state directory");
    c.bare_cmd(&["--root", &root_arg, "delete", "--force", ID]).run().ok();
}

fn config_may_change_after_create(c: &Case) {
    let mut b = c.bundle();
    let out = c.create(b.sh("echo first")).ok();
    b.sh("echo second").save();
    c.rt(&["start", ID]).ok();
    wait_until("it has run", || !out.out().is_empty());
    assert_eq!(out.out(), "first\n");
    c.down();
}

fn a_thousand_byte_environment_and_a_long_argument_arrive(c: &Case) {
    let mut b = c.bundle();
    let long = "x".repeat(120_000);
    b.push("/process/env", json!(format!("LONG={}", "y".repeat(100_000))));
    b.args(&["/bin/sh", "-c", "echo ${#LONG} ${#1}", "sh", &long]);
    assert_eq!(c.run(&b).ok().out(), "100000 120000\n");
}
