//! Descriptors of the container's process.

use crate::support::cmd::Cmd;
use crate::support::{Case, ID, Need};
use crate::tests;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

tests! {
    stdio_is_inherited_unchanged,
    stdin_reaches_the_process,
    pipe_closes_when_the_container_ends,
    only_0_1_and_2_are_open,
    descriptors_of_the_caller_stay_out,
    preserved_descriptors_are_kept,
    missing_preserved_descriptor_is_refused: rt_only(),
    listen_fds_are_passed_on: except_crun("LISTEN_FDS is lost"),
    exec_has_only_0_1_and_2,
    exec_keeps_preserved_descriptors,
    huge_output_passes,
    closed_stdio_of_the_caller_is_null: rt_only(),
    pipes_can_be_opened_again_in_a_user_namespace: rt_only().needs(Need::UserNamespace),
    pipes_can_be_opened_again_in_a_joined_user_namespace: rt_only().needs(Need::UserNamespace),
    pipes_of_exec_can_be_opened_again_in_a_user_namespace: rt_only().needs(Need::UserNamespace),
}

fn fds(seen: &Value) -> Vec<String> {
    seen["fds"].as_object().unwrap().keys().cloned().collect()
}

fn stdio_is_inherited_unchanged(c: &Case) {
    let mut b = c.bundle();
    let out = c.create(b.args(&["/probe", "see"])).ok();
    c.rt(&["start", ID]).ok();
    c.wait_for_status("stopped");
    let seen = out.json();
    assert_eq!(seen["fds"]["0"], "/dev/null");
    assert!(seen["fds"]["1"].as_str().unwrap().ends_with(".out"), "{}", seen["fds"]);
    assert!(seen["fds"]["2"].as_str().unwrap().ends_with(".err"), "{}", seen["fds"]);
    c.down();
}

fn stdin_reaches_the_process(c: &Case) {
    let mut b = c.bundle();
    let dir = b.args(&["/bin/cat"]).save();
    let out = c.rt_cmd(&["run", "-b", &dir, ID]).input(b"typed\n").run().ok();
    assert_eq!(out.out(), "typed\n");
}

fn pipe_closes_when_the_container_ends(c: &Case) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut b = c.bundle();
    let dir = b.sh("echo one; sleep 0.2; echo two").save();
    c.rt_cmd(&["create", "-b", &dir, ID]).output(OwnedFd::from(writer)).run().ok();
    c.rt(&["start", ID]).ok();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "one\ntwo\n");
    c.wait_for_status("stopped");
    c.down();
}

fn only_0_1_and_2_are_open(c: &Case) {
    assert_eq!(fds(&c.see(&c.bundle())), ["0", "1", "2"], "CVE-2024-21626");
    let mut b = c.bundle();
    let out = c.create(b.args(&["/probe", "see"])).ok();
    c.rt(&["start", ID]).ok();
    c.wait_for_status("stopped");
    assert_eq!(fds(&out.json()), ["0", "1", "2"]);
    c.down();
}

/// Opens `/` as the descriptors of a careless caller.
fn root_dir() -> OwnedFd {
    File::open("/").unwrap().into()
}

fn descriptors_of_the_caller_stay_out(c: &Case) {
    let dir = c.bundle().args(&["/probe", "see"]).save();
    let cmd =
        c.rt_cmd(&["run", "-b", &dir, ID]).fd(root_dir(), 8).fd(root_dir(), 9).fd(root_dir(), 100);
    assert_eq!(fds(&cmd.run().ok().json()), ["0", "1", "2"]);
}

fn preserved_descriptors_are_kept(c: &Case) {
    let dir = c.bundle().args(&["/probe", "see"]).save();
    let file = |n| {
        fs::write(c.path(n), "x").unwrap();
        OwnedFd::from(File::open(c.path(n)).unwrap())
    };
    let cmd = c.rt_cmd(&["run", "--preserve-fds", "2", "-b", &dir, ID]);
    let seen = cmd.fd(file("three"), 3).fd(file("four"), 4).fd(file("five"), 5).run().ok().json();
    assert_eq!(fds(&seen), ["0", "1", "2", "3", "4"]);
    assert!(seen["fds"]["3"].as_str().unwrap().ends_with("three"));
    assert!(seen["fds"]["4"].as_str().unwrap().ends_with("four"));
}

fn missing_preserved_descriptor_is_refused(c: &Case) {
    let dir = c.bundle().save();
    c.rt(&["create", "--preserve-fds", "3", "-b", &dir, ID]).fails("");
    c.nothing_left();
}

fn listen_fds_are_passed_on(c: &Case) {
    let dir = c.bundle().args(&["/probe", "see"]).save();
    fs::write(c.path("socket"), "x").unwrap();
    let socket = File::open(c.path("socket")).unwrap();
    // LISTEN_PID must name the runtime, as systemd has it.
    let script = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web exec \"$@\"";
    let (rt, root) = (c.runtime.to_string_lossy(), c.state.to_string_lossy());
    let cmd =
        Cmd::new(&["/bin/sh", "-c", script, "sh", &rt, "--root", &root, "run", "-b", &dir, ID]);
    let seen = cmd.fd(OwnedFd::from(socket), 3).run().ok().json();
    assert_eq!(fds(&seen), ["0", "1", "2", "3"]);
    let env = seen["env"].as_array().unwrap();
    assert!(
        env.contains(&json!("LISTEN_FDS=1")) && env.contains(&json!("LISTEN_PID=1")),
        "{env:?}"
    );
    // runc does not pass the names on, so that the program takes every descriptor for "unknown".
    assert!(!c.is_rt() || env.contains(&json!("LISTEN_FDNAMES=web")), "{env:?}");
}

fn exec_has_only_0_1_and_2(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    let cmd = c.rt_cmd(&["exec", ID, "/probe", "see"]).fd(root_dir(), 7).fd(root_dir(), 50);
    assert_eq!(fds(&cmd.run().ok().json()), ["0", "1", "2"], "CVE-2016-8649");
    c.down();
}

fn exec_keeps_preserved_descriptors(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    fs::write(c.path("three"), "x").unwrap();
    let file = File::open(c.path("three")).unwrap();
    let cmd =
        c.rt_cmd(&["exec", "--preserve-fds", "1", ID, "/probe", "see"]).fd(OwnedFd::from(file), 3);
    assert_eq!(fds(&cmd.run().ok().json()), ["0", "1", "2", "3"]);
    c.down();
}

fn huge_output_passes(c: &Case) {
    let mut b = c.bundle();
    let out = c.run(b.args(&["/bin/dd", "if=/dev/zero", "bs=1M", "count=40"])).ok();
    assert_eq!(out.out().len(), 40 << 20);
}

fn closed_stdio_of_the_caller_is_null(c: &Case) {
    let mut b = c.bundle();
    let files = c.dir.join("files").to_string_lossy().into_owned();
    b.mount("/out", "bind", &files, &["bind", "rw"]);
    let dir = b.args(&["/probe", "see-to", "/out/seen"]).save();
    let (rt, root) = (c.runtime.to_string_lossy(), c.state.to_string_lossy());
    let script = "exec \"$@\" <&- >&- 2>&-";
    Cmd::new(&["/bin/sh", "-c", script, "sh", &rt, "--root", &root, "run", "-b", &dir, ID])
        .run()
        .ok();
    let seen: Value = serde_json::from_str(&fs::read_to_string(c.path("seen")).unwrap()).unwrap();
    assert_eq!(seen["fds"], json!({"0": "/dev/null", "1": "/dev/null", "2": "/dev/null"}));
}

/// What images do that log to /dev/stdout. A file of the host, also a FIFO, keeps its owner.
fn pipes_can_be_opened_again_in_a_user_namespace(c: &Case) {
    for uid in [0, 33] {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut b = c.bundle();
        b.user_namespace().set("/process/user", json!({"uid": uid, "gid": uid}));
        let dir = b.sh(TWICE).save();
        let fifo = c.path_str(&format!("fifo{uid}"));
        Cmd::new(&["mkfifo", &fifo]).run().ok();
        let fifo = File::options().read(true).write(true).open(&fifo).unwrap();
        let cmd = c.rt_cmd(&["create", "-b", &dir, ID]).output(OwnedFd::from(writer));
        cmd.stdin(fifo.try_clone().unwrap()).run().ok();
        c.rt(&["start", ID]).ok();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\ntwo\n", "uid {uid}");
        assert_eq!(fifo.metadata().unwrap().uid(), 0, "a file of the host");
        c.wait_for_status("stopped");
        c.down();
    }
}

const TWICE: &str = "echo one >/dev/stdout && echo two >/proc/self/fd/1";

/// What a pipe takes up to its end.
fn read_all(mut reader: std::io::PipeReader) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text
}

/// What `podman run --userns container:ID` writes. Its map is not in the configuration.
fn pipes_can_be_opened_again_in_a_joined_user_namespace(c: &Case) {
    let mut first = c.named_bundle("first");
    first.user_namespace().set("/linux/cgroupsPath", json!(c.cgroups_path("first")));
    first.args(&["/probe", "sleep"]);
    c.rt(&["run", "-d", "-b", &first.save(), "first"]).ok();
    let pid = c.rt(&["state", "first"]).ok().json()["pid"].to_string();
    for (uid, shares_pid) in [(0, false), (33, false), (33, true)] {
        let mut b = c.bundle();
        b.namespace("user", Some(&format!("/proc/{pid}/ns/user")));
        if shares_pid {
            b.namespace("pid", Some(&format!("/proc/{pid}/ns/pid")));
        }
        b.set("/process/user", json!({"uid": uid, "gid": uid}));
        let (reader, writer) = std::io::pipe().unwrap();
        let dir = b.sh(TWICE).save();
        c.rt_cmd(&["create", "-b", &dir, ID]).output(OwnedFd::from(writer)).run().ok();
        c.rt(&["start", ID]).ok();
        assert_eq!(read_all(reader), "one\ntwo\n", "uid {uid}, {shares_pid}");
        c.wait_for_status("stopped");
        c.down();
    }
    c.rt(&["delete", "--force", "first"]).ok();
}

fn pipes_of_exec_can_be_opened_again_in_a_user_namespace(c: &Case) {
    let mut b = c.bundle();
    c.up(b.user_namespace().args(&["/probe", "sleep"]));
    let fifo = c.path_str("fifo");
    Cmd::new(&["mkfifo", &fifo]).run().ok();
    let fifo = File::options().read(true).write(true).open(&fifo).unwrap();
    for user in ["0", "33"] {
        let (reader, writer) = std::io::pipe().unwrap();
        let cmd = c.rt_cmd(&["exec", "--user", user, ID, "/bin/sh", "-c", TWICE]);
        cmd.output(OwnedFd::from(writer)).stdin(fifo.try_clone().unwrap()).run().ok();
        assert_eq!(read_all(reader), "one\ntwo\n", "uid {user}");
        assert_eq!(fifo.metadata().unwrap().uid(), 0, "a file of the host");
    }
    c.down();
}
