//! The same look as in `watched`, at what is set up otherwise: with a terminal, in a user namespace of
//! the container's own, and with a filter that must come late because somebody listens to it.

use crate::support::agent::Agent;
use crate::support::pty::Pty;
use crate::support::{Case, ID};
use crate::tests;
use crate::watched::{FINAL, WORD, final_from_the_first_moment, is_still_rt, watch, watched};
use serde_json::{Value, json};

tests! {
    runs_with_a_terminal: rt_only(),
    execs_with_a_terminal: rt_only(),
    runs_in_a_user_namespace: rt_only(),
    creates_in_a_user_namespace: rt_only(),
    execs_in_a_user_namespace: rt_only(),
    runs_with_a_listener: rt_only(),
    runs_with_a_listener_without_no_new_privileges: rt_only(),
    creates_with_a_listener: rt_only(),
    execs_with_a_listener: rt_only(),
}

const ROUNDS: usize = 15;

fn runs_with_a_terminal(c: &Case) {
    let watch = watch(c);
    let mut b = watched(c, &watch);
    b.set("/process/terminal", json!(true)).args(&["/probe", "exit", "0"]);
    let dir = b.save();
    for _ in 0..ROUNDS {
        let (_pty, slave) = Pty::open(24, 80);
        let run = c.rt_cmd(&["run", "-b", &dir, ID]).env("SECRET", WORD);
        run.terminal(&slave).run().ok();
    }
    final_from_the_first_moment(&watch.end(c), ROUNDS / 2);
}

fn execs_with_a_terminal(c: &Case) {
    let watch = watch(c);
    c.up(watched(c, &watch).args(&["/probe", "sleep"]));
    for _ in 0..ROUNDS {
        let (_pty, slave) = Pty::open(24, 80);
        let exec = c.rt_cmd(&["exec", "-t", ID, "/probe", "exit", "0"]).env("SECRET", WORD);
        exec.terminal(&slave).run().ok();
    }
    c.down();
    final_from_the_first_moment(&watch.end(c), ROUNDS / 2);
}

/// Who is in a user namespace below the peer's has what the container has there, and nothing in that
/// of the peer.
#[track_caller]
fn final_in_a_user_namespace(mut seen: Vec<Value>) {
    let theirs = |process: &&Value| process["gone"] == false && is_still_rt(process);
    let early = seen.iter().filter(theirs).count();
    println!("{early} were seen while they were rt");
    for process in seen.iter_mut().filter(|process| process["gone"] == false) {
        assert_eq!(process["own_user_namespace"], false, "{process}");
        // Of root in the user namespace: nobody is 0 on the host.
        assert!(!process["uid"].as_str().unwrap().starts_with("0\t"), "{process}");
        process["own_user_namespace"] = json!(true);
    }
    final_from_the_first_moment(&seen, ROUNDS / 2);
}

/// A procfs of the joined namespace is nothing that a user namespace below may mount.
fn in_a_user_namespace(c: &Case, namespace: &crate::watched::Watch) -> crate::support::Bundle {
    let mut b = watched(c, namespace);
    b.user_namespace().unmount("/proc");
    b.remove("/linux/maskedPaths").remove("/linux/readonlyPaths");
    b
}

fn runs_in_a_user_namespace(c: &Case) {
    let watch = watch(c);
    let dir = in_a_user_namespace(c, &watch).args(&["/probe", "exit", "0"]).save();
    for _ in 0..ROUNDS {
        c.rt_cmd(&["run", "-b", &dir, ID]).env("SECRET", WORD).run().ok();
    }
    final_in_a_user_namespace(watch.end(c));
}

fn creates_in_a_user_namespace(c: &Case) {
    let watch = watch(c);
    let dir = in_a_user_namespace(c, &watch).args(&["/probe", "exit", "0"]).save();
    for _ in 0..ROUNDS {
        c.rt_cmd(&["create", "-b", &dir, ID]).env("SECRET", WORD).run().ok();
        c.rt_cmd(&["start", ID]).env("SECRET", WORD).run().ok();
        c.rt(&["delete", "--force", ID]).ok();
    }
    final_in_a_user_namespace(watch.end(c));
}

fn execs_in_a_user_namespace(c: &Case) {
    let watch = watch(c);
    c.up(in_a_user_namespace(c, &watch).args(&["/probe", "sleep"]));
    for _ in 0..ROUNDS {
        c.rt_cmd(&["exec", ID, "/probe", "exit", "0"]).env("SECRET", WORD).run().ok();
    }
    c.down();
    final_in_a_user_namespace(watch.end(c));
}

/// A container with a filter that an agent listens to.
fn listened(c: &Case, namespace: &crate::watched::Watch) -> (crate::support::Bundle, Agent) {
    let mut b = watched(c, namespace);
    let agent = Agent::listen(&c.path("agent"), &[]);
    let rule = json!({"names": ["mkdirat"], "action": "SCMP_ACT_NOTIFY"});
    b.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": c.path_str("agent"),
            "syscalls": [rule]}),
    );
    (b, agent)
}

/// CAP_SYS_ADMIN, beside what the container has.
const LOADS_FILTERS: u64 = 1 << 21;

/// The exceptions that docs/security.md names: the filter comes right before execve, until then
/// CAP_SYS_ADMIN stays where it is needed for that, and for a moment the listener is there. All else
/// is final.
#[track_caller]
fn final_but_for_the_filter(mut seen: Vec<Value>, nnp: bool) {
    let mut late = 0;
    for process in seen.iter_mut().filter(|process| process["gone"] == false) {
        if is_still_rt(process) {
            late += usize::from(process["seccomp"] == "0");
            // Until the runtime has taken it, the listener is the process'.
            let fds = process["fds"].as_array_mut().unwrap();
            fds.retain(|fd| fd["target"] != "anon_inode:seccomp notify");
            process["seccomp"] = json!("2");
            for set in ["permitted", "effective"].into_iter().filter(|_| !nnp) {
                let has = u64::from_str_radix(process[set].as_str().unwrap(), 16).unwrap();
                process[set] = json!(format!("{:016x}", has & !LOADS_FILTERS));
            }
        }
        if !nnp {
            assert_eq!(process["nnp"], "0", "{process}");
            process["nnp"] = json!("1");
        }
        assert_eq!(process["permitted"], FINAL, "{process}");
    }
    println!("{late} were seen before their filter");
    final_from_the_first_moment(&seen, ROUNDS / 2);
}

fn many_runs_with_a_listener(c: &Case, nnp: bool) {
    let watch = watch(c);
    let (mut b, _agent) = listened(c, &watch);
    b.set("/process/noNewPrivileges", json!(nnp));
    let dir = b.args(&["/probe", "exit", "0"]).save();
    for _ in 0..ROUNDS {
        c.rt_cmd(&["run", "-b", &dir, ID]).env("SECRET", WORD).run().ok();
    }
    final_but_for_the_filter(watch.end(c), nnp);
}

fn runs_with_a_listener(c: &Case) {
    many_runs_with_a_listener(c, true);
}

fn runs_with_a_listener_without_no_new_privileges(c: &Case) {
    many_runs_with_a_listener(c, false);
}

fn creates_with_a_listener(c: &Case) {
    let watch = watch(c);
    let (mut b, _agent) = listened(c, &watch);
    let dir = b.args(&["/probe", "exit", "0"]).save();
    for _ in 0..ROUNDS {
        c.rt_cmd(&["create", "-b", &dir, ID]).env("SECRET", WORD).run().ok();
        c.rt_cmd(&["start", ID]).env("SECRET", WORD).run().ok();
        c.wait_for_status("stopped");
        c.down();
    }
    final_but_for_the_filter(watch.end(c), true);
}

fn execs_with_a_listener(c: &Case) {
    let watch = watch(c);
    let (mut b, _agent) = listened(c, &watch);
    c.up(b.args(&["/probe", "sleep"]));
    for _ in 0..ROUNDS {
        c.rt_cmd(&["exec", ID, "/probe", "exit", "0"]).env("SECRET", WORD).run().ok();
    }
    c.down();
    final_but_for_the_filter(watch.end(c), true);
}
