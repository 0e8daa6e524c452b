//! The memory of `rt` does not grow with what a hook, a program or an image says: it is the same after
//! a few bytes and after many. What it has needed at most is what the kernel has counted (VmHWM).

use crate::support::cmd::{Running, wait_until};
use crate::support::pty::Pty;
use crate::support::{Case, ID};
use crate::tests;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

tests! {
    output_of_hooks_is_not_kept: rt_only(),
    output_of_an_exec_is_not_kept: rt_only(),
    output_of_a_run_is_not_kept: rt_only(),
    script_that_cannot_be_executed_is_not_kept: rt_only(),
}

const FEW: usize = 100;
const MANY: usize = 48 << 20;
/// Buffers are used to their end only when there is enough to fill them.
const SLACK_KB: u64 = 1024;

/// What the process has needed at most, in kB.
fn peak(running: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", running.pid)).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap().trim_end_matches("kB").trim().parse().unwrap()
}

/// Says this much on both streams, tells that in a file, waits for another, and fails.
fn talker(dir: &str, bytes: usize) -> String {
    format!(
        "head -c {bytes} /dev/zero; head -c {bytes} /dev/zero >&2; echo > {dir}/said; \
         while [ ! -e {dir}/go ]; do sleep 0.02; done; exit 3"
    )
}

/// The peak of `rt` when all has been said.
fn measured(dir: &Path, running: Running, code: Option<i32>) -> u64 {
    wait_until("it has said all", || dir.join("said").exists());
    let peak = peak(&running);
    fs::write(dir.join("go"), "").unwrap();
    let out = running.wait();
    assert!(code.is_none_or(|code| out.code == Some(code)), "{}: {}", out.how(), out.err());
    for name in ["said", "go"] {
        fs::remove_file(dir.join(name)).unwrap();
    }
    peak
}

#[track_caller]
fn is_bounded(what: &str, few: u64, many: u64) {
    println!("{what}: {few} kB, {many} kB");
    assert!(many <= few + SLACK_KB, "{what}: {few} kB after little, {many} kB after much");
}

fn shared(c: &Case) -> String {
    fs::create_dir_all(c.path("shared")).unwrap();
    c.path_str("shared")
}

fn output_of_hooks_is_not_kept(c: &Case) {
    let dir = shared(c);
    for (kind, verb) in [
        ("prestart", "create"),
        ("createRuntime", "create"),
        ("createContainer", "create"),
        ("startContainer", "start"),
        ("poststart", "start"),
        ("poststop", "delete"),
    ] {
        let peak = |bytes: usize| {
            let mut b = c.bundle();
            b.mount(&dir, "bind", &dir, &["rbind", "rw"]).args(&["/bin/true"]);
            let env = json!(["PATH=/bin:/usr/bin"]);
            let args = json!(["sh", "-c", talker(&dir, bytes)]);
            let hook = json!({"path": "/bin/sh", "args": args, "env": env});
            b.set(&format!("/hooks/{kind}"), json!([hook]));
            let bundle = b.save();
            if verb != "create" {
                c.create(&b).ok();
            }
            let args: &[&str] = match verb {
                "create" => &["create", "-b", &bundle, ID],
                "start" => &["start", ID],
                _ => &["delete", "--force", ID],
            };
            let running = c.rt_cmd(args).spawn();
            // A failing poststop hook is a warning only.
            let code = if verb == "delete" { 0 } else { 1 };
            let peak = measured(&c.path("shared"), running, Some(code));
            c.rt(&["delete", "--force", ID]).ok();
            peak
        };
        is_bounded(kind, peak(FEW), peak(MANY));
    }
}

/// A program that fails after much output: through a terminal, which `rt` relays, and without one.
fn output_of_an_exec_is_not_kept(c: &Case) {
    let dir = shared(c);
    let mut b = c.bundle();
    c.up(b.mount(&dir, "bind", &dir, &["rbind", "rw"]).args(&["/probe", "sleep"]));
    let peak = |flags: &[&str], bytes: usize| {
        let script = talker(&dir, bytes);
        let cmd = c.rt_cmd(&["exec"]).args(flags).args(&[ID, "/bin/sh", "-c", &script]);
        let (_pty, slave) = Pty::open(24, 80);
        let cmd = match flags {
            [] => cmd,
            _ => cmd.terminal(&slave).output(fs::File::create(c.path("output")).unwrap()),
        };
        measured(&c.path("shared"), cmd.spawn(), Some(3))
    };
    is_bounded("exec", peak(&[], FEW), peak(&[], MANY));
    is_bounded("exec -t", peak(&["-t"], FEW), peak(&["-t"], MANY));
    c.down();
}

fn output_of_a_run_is_not_kept(c: &Case) {
    let dir = shared(c);
    let peak = |bytes: usize| {
        let mut b = c.bundle();
        b.set("/process/terminal", json!(true)).mount(&dir, "bind", &dir, &["rbind", "rw"]);
        let bundle = b.sh(&talker(&dir, bytes)).save();
        let (_pty, slave) = Pty::open(24, 80);
        let output = fs::File::create(c.path("output")).unwrap();
        let cmd = c.rt_cmd(&["run", "-b", &bundle, ID]).terminal(&slave).output(output);
        measured(&c.path("shared"), cmd.spawn(), Some(3))
    };
    is_bounded("run", peak(FEW), peak(MANY));
}

/// Why a script cannot be executed is looked for in its first line, which may have no end.
fn script_that_cannot_be_executed_is_not_kept(c: &Case) {
    let mut b = c.bundle();
    let peak = |bytes: usize| {
        let script = b.rootfs("script");
        fs::write(&script, format!("#!/{}", "x".repeat(bytes))).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let out = c.exec(&["/script"]);
        assert!(out.code.is_some_and(|code| code != 0), "{}", out.how());
        assert!(out.err().len() < 10_000, "{} bytes", out.err().len());
        out.peak_kb as u64
    };
    c.up(b.clone().args(&["/probe", "sleep"]));
    is_bounded("script", peak(FEW), peak(MANY));
    c.down();
    b.args(&["/script"]);
    c.create(&b);
    c.rt(&["delete", "--force", ID]).ok();
}
