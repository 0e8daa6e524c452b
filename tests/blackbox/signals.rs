//! kill, pause, resume.

use crate::support::cmd::{exit_code_of, wait_until};
use crate::support::{Case, ID, Kind, Need, sys};
use crate::tests;

tests! {
    kill_takes_names_and_numbers,
    kill_sends_term_by_default,
    kill_refuses_unknown_signals: except_crun("accepted"),
    kill_of_a_stopped_container_says_so: except_crun("other words"),
    kill_of_an_absent_container_says_so: except_crun("other words"),
    kill_all_is_accepted: except_crun("means something else"),
    kill_works_on_a_created_container,
    created_container_hears_requests_to_end: rt_only(),
    kill_ends_all_processes_of_a_shared_pid_namespace: except_runc("only with --all").except_crun("only with --all"),
    kill_reaches_a_paused_container: except_runc("the signal waits").except_crun("the signal waits"),
    pause_stops_and_resume_continues,
    pause_of_a_paused_container_is_an_error: except_crun("accepted"),
    resume_of_a_running_container_is_an_error: except_crun("accepted"),
    pause_works_on_a_created_container: except_crun("status stays created"),
    pause_of_a_stopped_container_is_an_error,
    pause_and_resume_do_not_overtake_each_other: needs(Need::Tool("strace")).rt_only(),
    start_of_a_paused_created_container_does_not_hang: rt_only(),
    delete_force_ends_a_paused_container,
    dead_init_in_a_frozen_cgroup_is_stopped: rt_only(),
}

fn kill_takes_names_and_numbers(c: &Case) {
    let out = c.up(c.bundle().args(&["/probe", "signals", "9"]));
    wait_until("the process is ready", || out.out().starts_with("ready"));
    for (word, number) in [
        ("HUP", 1),
        ("SIGHUP", 1),
        ("2", 2),
        ("USR1", 10),
        ("SIGUSR2", 12),
        ("TERM", 15),
        ("WINCH", 28),
        ("SIGCONT", 18),
        ("34", 34),
        ("64", 64),
    ] {
        let before = out.out().lines().count();
        c.rt(&["kill", ID, word]).ok();
        wait_until(&format!("{word} arrives"), || out.out().lines().count() > before);
        assert_eq!(out.out().lines().last().unwrap(), number.to_string(), "{word}");
    }
    if c.is_rt() {
        for word in ["RTMIN", "SIGRTMIN+1", "RTMAX"] {
            c.rt(&["kill", ID, word]).ok();
        }
        c.rt(&["kill", ID, "usr1"]).ok();
    }
    c.down();
}

fn kill_sends_term_by_default(c: &Case) {
    let out = c.up(c.bundle().args(&["/probe", "signals", "15"]));
    wait_until("the process is ready", || out.out().starts_with("ready"));
    c.rt(&["kill", ID]).ok();
    wait_until("SIGTERM arrives", || out.out().ends_with("15\n"));
    c.wait_for_status("stopped");
    c.down();
}

fn kill_refuses_unknown_signals(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    if !c.is_rt() {
        c.rt(&["kill", ID, "NOSUCH"]).fails("");
        return c.down();
    }
    for word in ["NOSUCH", "SIG", "-1", "65", "1000", "9x", "+9", " 9", "0x9"] {
        let out = c.rt(&["kill", "--", ID, word]).fails("");
        assert!(out.err().contains("unknown signal") || word == "-1", "{word:?}: {}", out.err());
    }
    assert_eq!(c.status(), "running");
    c.down();
}

fn kill_of_a_stopped_container_says_so(c: &Case) {
    c.up(&c.bundle());
    c.wait_for_status("stopped");
    c.rt(&["kill", ID, "9"]).fails(if c.kind == Kind::Crun {
        "not running"
    } else {
        "container not running"
    });
    c.rt(&["delete", ID]).ok();
}

fn kill_of_an_absent_container_says_so(c: &Case) {
    c.rt(&["kill", "nobody", "9"]).fails("does not exist");
}

fn kill_all_is_accepted(c: &Case) {
    c.up(c.bundle().args(&["/probe", "children", "2"]));
    c.rt(&["kill", "--all", ID, "KILL"]).ok();
    c.wait_for_status("stopped");
    c.rt(&["kill", "-a", ID, "KILL"]).ok();
    c.rt(&["delete", ID]).ok();
}

fn kill_works_on_a_created_container(c: &Case) {
    c.create(&c.bundle()).ok();
    let pid = c.pid();
    c.rt(&["kill", ID, "KILL"]).ok();
    assert_eq!(exit_code_of(pid), 137);
    c.wait_for_status("stopped");
    c.down();
}

/// Pid 1 of a namespace ignores what it has no handler for.
fn created_container_hears_requests_to_end(c: &Case) {
    for (word, number) in [("HUP", 1), ("INT", 2), ("QUIT", 3), ("TERM", 15)] {
        c.create(&c.bundle()).ok();
        let pid = c.pid();
        for other in ["USR1", "CONT", "CHLD"] {
            c.rt(&["kill", ID, other]).ok();
        }
        c.wait_for_status("created");
        c.rt(&["kill", ID, word]).ok();
        assert_eq!(exit_code_of(pid), 128 + number, "{word}");
        c.wait_for_status("stopped");
        c.rt(&["delete", ID]).ok();
    }
    c.nothing_left();
}

fn kill_ends_all_processes_of_a_shared_pid_namespace(c: &Case) {
    let mut b = c.bundle();
    b.without_namespace("pid").unmount("/proc").mount("/proc", "bind", "/proc", &["rbind"]);
    b.remove("/linux/maskedPaths").remove("/linux/readonlyPaths");
    let out = c.up(b.args(&["/probe", "children", "3"]));
    wait_until("its children run", || out.out() == "ready\n");
    c.rt(&["kill", ID, "KILL"]).ok();
    c.wait_for_status("stopped");
    wait_until("all are gone", || crate::support::leak::children().is_empty());
    c.rt(&["delete", ID]).ok();
}

fn kill_reaches_a_paused_container(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    c.rt(&["pause", ID]).ok();
    c.rt(&["kill", ID, "KILL"]).ok();
    c.wait_for_status("stopped");
    c.rt(&["delete", ID]).ok();
}

fn pause_stops_and_resume_continues(c: &Case) {
    let mut b = c.bundle();
    let out = c.up(b.sh("while true; do echo x; sleep 0.01; done"));
    c.rt(&["pause", ID]).ok();
    assert_eq!(c.status(), "paused");
    let frozen = out.out().len();
    std::thread::sleep(std::time::Duration::from_millis(60));
    assert_eq!(out.out().len(), frozen, "nothing runs");
    let resumed = c.rt(&["resume", ID]).ok();
    assert_eq!((resumed.out(), resumed.err()), (String::new(), String::new()));
    assert_eq!(c.status(), "running");
    wait_until("it goes on", || out.out().len() > frozen);
    c.down();
}

fn pause_of_a_paused_container_is_an_error(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    c.rt(&["pause", ID]).ok();
    c.rt(&["pause", ID]).fails("container not running");
    c.rt(&["resume", ID]).ok();
    c.down();
}

fn resume_of_a_running_container_is_an_error(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    c.rt(&["resume", ID]).fails("container not paused");
    c.down();
}

fn pause_works_on_a_created_container(c: &Case) {
    c.create(&c.bundle()).ok();
    c.rt(&["pause", ID]).ok();
    assert_eq!(c.status(), "paused");
    c.rt(&["resume", ID]).ok();
    assert_eq!(c.status(), "created");
    c.rt(&["start", ID]).ok();
    c.wait_for_status("stopped");
    c.rt(&["delete", ID]).ok();
}

fn pause_of_a_stopped_container_is_an_error(c: &Case) {
    c.up(&c.bundle());
    c.wait_for_status("stopped");
    c.rt(&["pause", ID]).fails("not running");
    c.rt(&["resume", ID]).fails(if c.is_rt() { "container not paused" } else { "" });
    c.rt(&["delete", ID]).ok();
}

fn start_of_a_paused_created_container_does_not_hang(c: &Case) {
    c.create(&c.bundle()).ok();
    c.rt(&["pause", ID]).ok();
    let _ = c.rt_cmd(&["start", ID]).run().fails("");
    c.down();
}

fn delete_force_ends_a_paused_container(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    c.rt(&["pause", ID]).ok();
    c.rt(&["delete", "--force", ID]).ok();
    c.nothing_left();
}

fn dead_init_in_a_frozen_cgroup_is_stopped(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    c.rt(&["kill", ID, "KILL"]).ok();
    c.wait_for_status("stopped");
    let freeze = c.cgroup_dir().unwrap().join(ID).join("cgroup.freeze");
    if freeze.exists() {
        std::fs::write(freeze, "1").unwrap();
    }
    assert_eq!(c.status(), "stopped");
    c.rt(&["delete", ID]).ok();
    c.nothing_left();
}

/// One that is deleted while it is being frozen would never be said to be frozen.
fn pause_and_resume_do_not_overtake_each_other(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    let freeze = c.cgroup_dir().expect("root").join(ID).join("cgroup.freeze");
    // -D: the process that is waited for is rt, and not strace.
    let slow = ["strace", "-D", "-f", "-o", "/dev/null", "--inject=pread64:delay_enter=5000000"];
    let pause = c.rt_cmd(&["pause", ID]).through(&slow).spawn();
    wait_until("the cgroup is frozen", || {
        std::fs::read_to_string(&freeze).is_ok_and(|text| text == "1\n")
    });
    let ended = sys::pidfd_open(pause.pid).unwrap();
    c.rt(&["resume", ID]).ok();
    // It gives the lock back as it ends; before that it sleeps for five seconds.
    let moment = std::time::Duration::from_secs(2);
    let ended = sys::readable(std::os::fd::AsFd::as_fd(&ended), moment);
    assert!(ended, "resume came before the end of pause");
    pause.wait().ok();
    assert_eq!(c.status(), "running");
    c.down();
}
