//! `SCMP_ACT_NOTIFY`: an agent answers for system calls of the container.

use crate::support::agent::Agent;
use crate::support::cmd::wait_until;
use crate::support::{Bundle, Case, ID};
use crate::tests;
use serde_json::{Value, json};

tests! {
    agent_answers_for_the_program: rt_only(),
    agent_does_not_answer_for_hooks: rt_only(),
    agent_is_told_who_it_is: rt_only(),
    agent_has_its_listener_before_start: except_crun("not in this version"),
    agent_of_the_runtimes_own_calls_waits_for_start: rt_only(),
    agent_of_a_joined_pid_namespace_waits_for_start: rt_only(),
    silent_agent_hangs_only_the_program: rt_only(),
    agent_that_is_gone_holds_nothing_up: rt_only(),
    agent_of_a_long_state_gets_all_of_it: rt_only(),
    no_notified_call_hangs_a_run: rt_only(),
    no_notified_call_hangs_a_start: rt_only(),
    no_notified_call_hangs_an_exec: rt_only(),
    everything_may_be_notified: rt_only(),
    exec_has_a_listener_of_its_own: rt_only(),
    listener_is_not_the_programs: rt_only(),
    agent_may_refuse_execve: rt_only(),
    agent_must_listen_at_create: rt_only(),
    agent_must_listen_at_start: rt_only(),
    listener_survives_a_full_processor: rt_only(),
    ordinary_users_have_agents_too: rootless().rt_only(),
    ordinary_users_exec_is_refused: rootless().rt_only(),
}

/// What a runtime might do between loading the filter and the program, and some that it
/// must not.
const CALLS: &[&str] =
    &["write", "sendmsg", "close", "execve", "read", "fcntl", "prctl", "capset", "exit_group"];

fn profile(c: &Case, names: &[&str]) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": c.path_str("agent"),
        "listenerMetadata": "what=ever",
        "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}]})
}

fn notified(c: &Case, names: &[&str], errnos: &[(i64, i32)]) -> (Bundle, Agent) {
    let mut b = c.bundle();
    b.set("/linux/seccomp", profile(c, names));
    (b, Agent::listen(&c.path("agent"), errnos))
}

fn call(number: i64) -> Vec<String> {
    vec!["/probe".to_string(), "call".to_string(), number.to_string()]
}

fn agent_answers_for_the_program(c: &Case) {
    let (mut b, agent) = notified(c, &["mkdirat"], &[(libc::SYS_mkdirat, libc::E2BIG)]);
    b.set("/process/args", json!(call(libc::SYS_mkdirat)));
    assert_eq!(c.run(&b).ok().out(), "E2BIG\n");
    c.up(&b);
    c.wait_for_status("stopped");
    c.down();
    assert_eq!(agent.seen().calls, [libc::SYS_mkdirat; 2]);
}

/// The listener is for the process: in a hook such calls fail, and no agent is told of them.
fn agent_does_not_answer_for_hooks(c: &Case) {
    let (mut b, agent) = notified(c, &["mkdirat"], &[(libc::SYS_mkdirat, libc::E2BIG)]);
    b.set("/process/args", json!(call(libc::SYS_mkdirat)));
    // What it has written is told when it fails.
    let script = format!("/probe call {}; exit 1", libc::SYS_mkdirat);
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
    b.set("/hooks/startContainer", json!([hook]));
    for no_new_privileges in [true, false] {
        b.set("/process/noNewPrivileges", json!(no_new_privileges));
        c.run(&b).fails("startContainer hook #0: /bin/sh: exit status 1: ENOSYS");
    }
    assert!(agent.seen().calls.is_empty());
}

fn agent_is_told_who_it_is(c: &Case) {
    let (mut b, agent) = notified(c, &["mkdirat"], &[]);
    b.set("/annotations", json!({"k": "v"})).args(&["/probe", "sleep"]);
    c.create(&b).ok();
    let state = agent.wait_for(1)[0].clone();
    let mut expected = told(c, &b, "creating");
    expected["state"]["annotations"] = json!({"k": "v"});
    assert_eq!(state, expected);
    c.down();
}

/// The container process state.
fn told(c: &Case, b: &Bundle, status: &str) -> Value {
    let (pid, bundle) = (c.pid(), b.dir.canonicalize().unwrap());
    json!({"ociVersion": "1.0.2", "fds": ["seccompFd"], "pid": pid, "metadata": "what=ever",
        "state": {"ociVersion": "1.0.2", "id": ID, "status": status, "pid": pid,
            "bundle": bundle}})
}

/// What agents rely on that prepare something for the container they are told of.
fn agent_has_its_listener_before_start(c: &Case) {
    let (mut b, agent) = notified(c, &["mkdirat"], &[(libc::SYS_mkdirat, libc::E2BIG)]);
    b.set("/process/args", json!(call(libc::SYS_mkdirat)));
    c.create(&b).ok();
    let state = agent.wait_for(1)[0].clone();
    assert_eq!(state["state"]["status"], "creating");
    assert_eq!((&state["pid"], &state["metadata"]), (&json!(c.pid()), &json!("what=ever")));
    assert_eq!(c.status(), "created");
    assert!(agent.seen().calls.is_empty());
    // Of the socket nobody wants anything any more.
    std::fs::remove_file(c.path("agent")).unwrap();
    c.rt(&["start", ID]).ok();
    c.wait_for_status("stopped");
    assert_eq!(agent.seen().calls, [libc::SYS_mkdirat]);
    agent.wait_for(1);
    c.down();
}

/// Calls that the child makes between the filter and the gate, or at the gate.
fn agent_of_the_runtimes_own_calls_waits_for_start(c: &Case) {
    let (mut b, agent) = notified(c, &[], &[]);
    b.args(&["/probe", "sleep"]);
    for (index, name) in ["read", "recvmsg", "close", "rt_sigaction"].into_iter().enumerate() {
        b.set("/linux/seccomp", profile(c, &[name]));
        c.create(&b).ok();
        assert_eq!(agent.seen().states.len(), index, "{name}");
        c.rt(&["start", ID]).ok();
        assert_eq!(agent.wait_for(index + 1)[index], told(c, &b, "created"));
        c.down();
    }
}

/// The process of which the agent is told is born in the namespace after the filter.
fn agent_of_a_joined_pid_namespace_waits_for_start(c: &Case) {
    let mut other = c.named_bundle("other");
    other.set("/linux/cgroupsPath", json!(c.cgroups_path("other"))).args(&["/probe", "sleep"]);
    c.rt(&["run", "-d", "-b", &other.save(), "other"]).ok();
    let pid = c.rt(&["state", "other"]).ok().json()["pid"].to_string();
    let (mut b, agent) = notified(c, &["mkdirat"], &[(libc::SYS_mkdirat, libc::E2BIG)]);
    b.namespace("pid", Some(&format!("/proc/{pid}/ns/pid")));
    b.set("/process/args", json!(call(libc::SYS_mkdirat)));
    c.create(&b).ok();
    assert!(agent.seen().states.is_empty());
    let pid = json!(c.pid());
    c.rt(&["start", ID]).ok();
    assert_eq!(agent.wait_for(1)[0]["pid"], pid);
    c.wait_for_status("stopped");
    assert_eq!(agent.seen().calls, [libc::SYS_mkdirat]);
    c.down();
    c.rt(&["delete", "--force", "other"]).ok();
}

/// An agent that takes listeners and does nothing else holds up what the profile asks it for, and
/// no verb of the runtime.
fn silent_agent_hangs_only_the_program(c: &Case) {
    let mut b = c.bundle();
    let agent = Agent::silent(&c.path("agent"));
    b.set("/process/args", json!(call(libc::SYS_mkdirat)));
    for (index, name) in ["mkdirat", "execve", "write"].into_iter().enumerate() {
        b.set("/linux/seccomp", profile(c, &[name]));
        c.create(&b).ok();
        agent.wait_for(index + 1);
        c.rt(&["start", ID]).ok();
        c.wait_for_status("running");
        c.rt(&["kill", ID, "KILL"]).ok();
        c.wait_for_status("stopped");
        c.rt(&["delete", ID]).ok();
        c.nothing_left();
    }
}

/// Nobody but the agent has the listener: calls do not wait for one that is gone (ENOSYS,
/// seccomp_unotify(2)).
fn agent_that_is_gone_holds_nothing_up(c: &Case) {
    let mut b = c.bundle();
    let agent = Agent::silent(&c.path("agent"));
    b.set("/process/args", json!(call(libc::SYS_mkdirat)));
    for (index, name) in ["mkdirat", "execve"].into_iter().enumerate() {
        b.set("/linux/seccomp", profile(c, &[name]));
        let out = c.create(&b).ok();
        agent.wait_for(index + 1);
        agent.quit();
        c.rt(&["start", ID]).ok();
        c.wait_for_status("stopped");
        if name == "mkdirat" {
            assert_eq!(out.out(), "ENOSYS\n");
        }
        c.down();
    }
}

fn agent_of_a_long_state_gets_all_of_it(c: &Case) {
    let (mut b, agent) = notified(c, &["mkdirat"], &[]);
    let long = "x".repeat(500_000);
    b.set("/annotations", json!({"long": long}));
    c.run(&b).ok();
    wait_until("the agent is told", || !agent.seen().states.is_empty());
    assert_eq!(agent.seen().states[0]["state"]["annotations"]["long"], json!(long));
}

/// Each call alone, with and without no_new_privs.
#[track_caller]
fn each(c: &Case, test: impl Fn(&mut Bundle)) {
    let (mut b, _agent) = notified(c, &[], &[]);
    for name in CALLS {
        for nnp in [true, false] {
            println!("{name} {nnp}");
            b.set("/linux/seccomp", profile(c, &[name]));
            b.set("/process/noNewPrivileges", json!(nnp));
            test(&mut b);
        }
    }
}

fn no_notified_call_hangs_a_run(c: &Case) {
    each(c, |b| {
        assert_eq!(c.run(b.args(&["/bin/echo", "hello"])).ok().out(), "hello\n");
    });
}

fn no_notified_call_hangs_a_start(c: &Case) {
    each(c, |b| {
        c.up(b.args(&["/bin/echo", "hello"]));
        c.wait_for_status("stopped");
        c.down();
    });
}

fn no_notified_call_hangs_an_exec(c: &Case) {
    each(c, |b| {
        c.up(b.args(&["/probe", "sleep"]));
        assert_eq!(c.exec(&["/bin/echo", "hello"]).ok().out(), "hello\n");
        c.down();
    });
}

fn everything_may_be_notified(c: &Case) {
    let (mut b, agent) = notified(c, &[], &[]);
    let all = json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": c.path_str("agent")});
    b.set("/linux/seccomp", all);
    for nnp in [true, false] {
        b.set("/process/noNewPrivileges", json!(nnp));
        assert_eq!(c.run(b.args(&["/bin/echo", "hello"])).ok().out(), "hello\n");
        c.up(b.args(&["/probe", "sleep"]));
        assert_eq!(c.exec(&["/bin/echo", "hello"]).ok().out(), "hello\n");
        c.down();
    }
    let seen = agent.seen();
    assert_eq!(seen.states.len(), 6);
    assert!(seen.calls.contains(&libc::SYS_execve));
    // Between the filter and the program there is nothing but execve, and capabilities
    // that had to stay for loading it.
    let first = seen.calls.first().copied();
    assert_eq!(first, Some(libc::SYS_execve));
}

fn exec_has_a_listener_of_its_own(c: &Case) {
    let (mut b, agent) = notified(c, &["mkdirat"], &[(libc::SYS_mkdirat, libc::E2BIG)]);
    c.up(b.args(&["/probe", "sleep"]));
    let number = libc::SYS_mkdirat.to_string();
    let pid_file = c.path_str("pid");
    let out = c.rt(&["exec", "--pid-file", &pid_file, ID, "/probe", "call", &number]).ok();
    assert_eq!(out.out(), "E2BIG\n");
    let states = agent.seen().states;
    assert_eq!(states.len(), 2);
    let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    assert_eq!((&states[1]["pid"], &states[1]["state"]["pid"]), (&json!(pid), &json!(c.pid())));
    assert_eq!(states[1]["state"]["status"], "running");
    assert_ne!(pid, c.pid());
    c.down();
}

fn listener_is_not_the_programs(c: &Case) {
    let (b, _agent) = notified(c, &["mkdirat"], &[]);
    let fds = c.see(&b)["fds"].clone();
    assert!(!fds.to_string().contains("seccomp"), "{fds}");
}

fn agent_may_refuse_execve(c: &Case) {
    let (b, _agent) = notified(c, &["execve"], &[(libc::SYS_execve, libc::EACCES)]);
    c.run(&b).fails("permission denied");
    c.nothing_left();
    c.up(&b);
    c.wait_for_status("stopped");
    c.down();
}

fn agent_must_listen_at_create(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/seccomp", profile(c, &["mkdirat"]));
    for verb in ["create", "run"] {
        let out = c.rt(&[verb, "-b", &b.save(), ID]).fails("linux.seccomp.listenerPath");
        out.fails("failed to connect with seccomp agent");
        c.nothing_left();
    }
    std::fs::write(c.path("agent"), "").unwrap();
    c.create(&b).fails("not a socket");
    std::fs::remove_file(c.path("agent")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(c.path("agent")).unwrap());
    c.run(&b).fails("failed to connect with seccomp agent").fails("nobody listens");
    c.nothing_left();
}

fn agent_must_listen_at_start(c: &Case) {
    // One for a call of the runtime's own.
    let (b, _agent) = notified(c, &["read"], &[]);
    c.create(&b).ok();
    std::fs::remove_file(c.path("agent")).unwrap();
    c.rt(&["start", ID]).fails("linux.seccomp.listenerPath");
    c.wait_for_status("stopped");
    c.rt(&["delete", ID]).ok();
    c.nothing_left();
}

/// The child waits without a system call: on the same processor as its parent, and with
/// a higher priority.
fn listener_survives_a_full_processor(c: &Case) {
    let mut one = nix::sched::CpuSet::new();
    one.set(0).unwrap();
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &one).unwrap();
    let (mut b, _agent) = notified(c, &["mkdirat"], &[]);
    b.set("/process/scheduler", json!({"policy": "SCHED_FIFO", "priority": 10}));
    c.run(&b).ok();
    c.up(&b);
    c.down();
}

fn ordinary_users_have_agents_too(c: &Case) {
    let (mut b, agent) = notified(c, &["mkdirat"], &[(libc::SYS_mkdirat, libc::E2BIG)]);
    b.set("/process/args", json!(call(libc::SYS_mkdirat)));
    assert_eq!(c.run(&b).ok().out(), "E2BIG\n");
    c.up(&b);
    c.wait_for_status("stopped");
    c.down();
    assert_eq!(agent.seen().calls.len(), 2);
}

fn ordinary_users_exec_is_refused(c: &Case) {
    let (mut b, _agent) = notified(c, &["mkdirat"], &[]);
    c.up(b.args(&["/probe", "sleep"]));
    c.exec(&["/bin/true"]).fails("SCMP_ACT_NOTIFY");
    c.down();
}
