//! SIGKILL of the runtime at every n-th system call. Afterwards `delete --force` must
//! succeed, nothing may be left, and the id must be usable again.

use crate::support::cmd::{Cmd, slow};
use crate::support::sys;
use crate::support::{Case, ID, Need};
use crate::tests;
use std::time::Duration;

tests! {
    create_killed_anywhere_leaves_nothing: needs(Need::Tool("strace")).rt_only(),
    start_killed_anywhere_leaves_nothing: needs(Need::Tool("strace")).rt_only(),
    delete_killed_anywhere_leaves_nothing: needs(Need::Tool("strace")).rt_only(),
    detached_run_killed_anywhere_leaves_nothing: needs(Need::Tool("strace")).rt_only(),
    exec_killed_anywhere_leaves_nothing: needs(Need::Tool("strace")).rt_only(),
    init_killed_at_any_moment_of_create_leaves_nothing: rt_only(),
}

/// At most this many attempts for one command on an emulated machine.
const FEW: usize = 12;

/// Runs the command again and again, each time killed later, until it comes through.
/// `prepare` runs before each attempt, `after` when the runtime has been killed.
fn at_every_call(c: &Case, args: &[&str], calls: usize, prepare: impl Fn()) {
    // `calls` is about how many there are; every one of few calls, every fifth of many.
    let step = if slow() > 1 {
        calls / FEW
    } else if calls > 100 {
        5
    } else {
        1
    };
    for (attempts, call) in (1..5000).step_by(step).enumerate() {
        prepare();
        let inject = format!("--inject=all:signal=KILL:when={call}");
        let cmd = Cmd::new(&["strace", "-o", "/dev/null", &inject, &c.runtime.to_string_lossy()]);
        let out = cmd.args(&["--root", &c.state.to_string_lossy()]).args(args).run();
        let through = out.code == Some(0);
        // strace ends as its tracee did; any other failure is the runtime's own.
        let killed = out.signal == Some(libc::SIGKILL) && !out.timed_out;
        assert!(through || killed, "call {call}: {}: {}", out.how(), out.err());
        let delete = c.rt(&["delete", "--force", ID]);
        assert_eq!(delete.code, Some(0), "call {call}: {}: {}", delete.how(), delete.err());
        c.nothing_left();
        if through {
            assert!(attempts >= 3, "killed {attempts} times only");
            return;
        }
    }
    panic!("{args:?} never came through");
}

fn create_killed_anywhere_leaves_nothing(c: &Case) {
    let dir = c.bundle().args(&["/probe", "sleep"]).save();
    at_every_call(c, &["create", "-b", &dir, "--pid-file", &c.path_str("pid"), ID], 120, || ());
    c.run(&c.bundle()).ok();
}

fn start_killed_anywhere_leaves_nothing(c: &Case) {
    let dir = c.bundle().args(&["/probe", "sleep"]).save();
    at_every_call(c, &["start", ID], 20, || {
        c.rt(&["create", "-b", &dir, ID]).ok();
    });
}

fn delete_killed_anywhere_leaves_nothing(c: &Case) {
    let dir = c.bundle().args(&["/probe", "sleep"]).save();
    at_every_call(c, &["delete", "--force", ID], 40, || {
        c.rt(&["run", "-d", "-b", &dir, ID]).ok();
    });
}

fn detached_run_killed_anywhere_leaves_nothing(c: &Case) {
    let mut b = c.bundle();
    b.mount("/a/b", "tmpfs", "tmpfs", &["size=4k"]);
    let dir = b.args(&["/probe", "sleep"]).save();
    at_every_call(c, &["run", "-d", "-b", &dir, ID], 120, || ());
}

fn exec_killed_anywhere_leaves_nothing(c: &Case) {
    let dir = c.bundle().args(&["/probe", "sleep"]).save();
    at_every_call(c, &["exec", ID, "/bin/true"], 60, || {
        c.rt(&["run", "-d", "-b", &dir, ID]).ok();
    });
}

/// Here it is the container's first process that dies, while the runtime sets it up.
fn init_killed_at_any_moment_of_create_leaves_nothing(c: &Case) {
    let dir = c.bundle().args(&["/probe", "sleep"]).save();
    let procs = c.cgroup_dir().expect("root").join(ID).join("cgroup.procs");
    let mut killed = 0;
    for moment in 0..40 {
        let create = c.rt_cmd(&["create", "-b", &dir, ID]).spawn();
        let mut init = None;
        while init.is_none() && !create.has_ended() {
            let text = std::fs::read_to_string(&procs).unwrap_or_default();
            init = text.lines().next().and_then(|line| line.parse::<i32>().ok());
        }
        std::thread::sleep(Duration::from_micros(moment * 100) * slow());
        let hit = init.is_some_and(|pid| sys::kill(pid, libc::SIGKILL).is_ok());
        killed += u32::from(hit);
        let out = create.wait();
        assert!(!out.timed_out, "moment {moment}: {}", out.how());
        if out.code == Some(0) {
            c.wait_for_status(if hit { "stopped" } else { "created" });
            c.down();
        } else {
            assert_eq!(out.err().lines().count(), 1, "moment {moment}: {}", out.err());
        }
        c.nothing_left();
    }
    assert!(killed > 20, "killed {killed} times only");
}
