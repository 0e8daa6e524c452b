//! What a peer sees of `rt` in a pid namespace that several containers share: processes with the
//! rights of the container's program, and never more (CVE-2016-9962 and its kind). The peer has
//! CAP_SYS_PTRACE, so that everything that it sees could be its own.

use crate::support::cmd::{self, Running};
use crate::support::{Bundle, Case, ID};
use crate::tests;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

tests! {
    creates_in_a_joined_pid_namespace: rt_only(),
    runs_in_a_joined_pid_namespace: rt_only(),
    creates_before_a_procfs_could_be_asked_for: rt_only(),
    execs: rt_only(),
    execs_without_no_new_privileges: rt_only(),
    start_hooks_in_a_joined_pid_namespace: rt_only(),
    create_hooks_in_a_joined_pid_namespace: rt_only(),
    gate_of_a_new_pid_namespace: rt_only(),
    gate_outlives_a_pause_whatever_the_filter_says: rt_only(),
    proc_self_is_that_of_the_process: rt_only(),
    nothing_is_done_for_who_has_the_socket: rt_only(),
    runtime_as_the_program_of_the_image: rt_only(),
}

/// Rights of the peer; those of what it watches are others.
const PEER: [&str; 3] = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_KILL"];
/// CAP_KILL alone.
pub const FINAL: &str = "0000000000000020";
pub const ROUNDS: usize = 30;
/// In the environment of the runtime, and in that of hooks which never run in a container.
pub const WORD: &str = "what-the-caller-of-rt-knows";

pub struct Watch {
    running: Running,
    namespace: String,
}

/// Starts the peer: a container of its own, whose pid namespace others will join.
pub fn watch(c: &Case) -> Watch {
    let secret = c.path("secret");
    fs::write(&secret, "").unwrap();
    let mut peer = c.named_bundle("peer");
    peer.set("/linux/cgroupsPath", json!(c.cgroups_path("peer")));
    peer.caps(&PEER).set("/process/noNewPrivileges", json!(false));
    peer.args(&["/probe", "watch", &secret.to_string_lossy(), WORD]);
    let dir = peer.save();
    let running = c.rt_cmd(&["run", "-b", &dir, "peer"]).spawn();
    cmd::wait_until("it watches", || running.so_far().contains("ready"));
    let pid = c.rt(&["state", "peer"]).ok().json()["pid"].clone();
    Watch { running, namespace: format!("/proc/{pid}/ns/pid") }
}

impl Watch {
    /// What it has seen, once the peer is gone.
    pub fn end(self, c: &Case) -> Vec<Value> {
        // It goes through them in their order: this one comes last.
        c.rt(&["exec", "-d", "peer", "/probe", "sleep", "last"]).ok();
        let is_last = |line: &str| line.contains(r"sleep\u0000last");
        cmd::wait_until("it has seen them all", || self.running.so_far().lines().any(is_last));
        c.rt(&["delete", "-f", "peer"]).ok();
        let out = self.running.wait().out();
        let lines = out.lines().filter(|line| line.starts_with('{') && line.ends_with('}'));
        let parsed = |line| serde_json::from_str::<Value>(line).expect("JSON");
        let last = parsed(lines.clone().find(|line| is_last(line)).expect("the last one"));
        lines.map(parsed).filter(|process| process["pid"] != last["pid"]).collect()
    }
}

/// A container with few rights and a filter, in the watched namespace.
pub fn watched(c: &Case, watch: &Watch) -> Bundle {
    let mut b = c.bundle();
    b.caps(&["CAP_KILL"]).namespace("pid", Some(&watch.namespace));
    filter(&mut b);
    b.set("/hooks/poststop", json!([{"path": "/bin/true", "env": [format!("KEY={WORD}")]}]));
    b
}

fn filter(b: &mut Bundle) {
    let rule = json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38});
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    b.set("/linux/seccomp", profile);
}

/// Whether it was caught before it was the program: `rt` has overwritten its arguments.
pub fn is_still_rt(process: &Value) -> bool {
    process["cmdline"] == "rt\0init"
}

#[track_caller]
pub fn final_from_the_first_moment(seen: &[Value], least: usize) {
    // A process that was gone at once has nothing to show.
    let seen: Vec<&Value> = seen.iter().filter(|process| process["gone"] == false).collect();
    assert!(seen.len() >= least, "it has seen {} processes", seen.len());
    // Some were caught before they were the program.
    let early = seen.iter().filter(|process| is_still_rt(process)).count();
    println!("{} seen, {early} of them still rt", seen.len());
    // CVE-2019-5736: the read-only mount that rt runs from cannot be made writable, since it is
    // attached nowhere any more when the first process can be seen.
    let tried = seen.iter().filter(|p| is_still_rt(p) && p["mount_of_exe"] == 22).count();
    assert!(early == 0 || tried > 0, "none of {early} binaries was tried");
    for process in seen {
        assert_ne!(process["mount_of_exe"], 0, "{process}");
        assert_eq!(process["own_user_namespace"], true, "{process}");
        for set in ["permitted", "effective", "bounding"] {
            assert_eq!(process[set], FINAL, "{set}: {process}");
        }
        for set in ["inheritable", "ambient"] {
            assert_eq!(process[set], "0000000000000000", "{set}: {process}");
        }
        assert_eq!(process["nnp"], "1", "{process}");
        assert_eq!(process["seccomp"], "2", "{process}");
        assert_eq!(process["leads_to_the_host"], false, "{process}");
        assert_eq!(process["knows_the_word"], false, "{process}");
        assert!(!process["environ"].as_str().unwrap().contains(WORD), "{process}");
        for fd in process["fds"].as_array().unwrap() {
            // The socket to rt, the gate, the report of a hook: they lead nowhere.
            let target = fd["target"].as_str().unwrap();
            let harmless = target.starts_with("socket:")
                || target.starts_with("pipe:")
                || target == "anon_inode:[signalfd]"
                || target.trim_end_matches(" (deleted)").ends_with("/exec.fifo");
            let is_fine = !is_still_rt(process) || harmless && fd["directory"] == false;
            assert!(is_fine, "{fd} of {process}");
        }
    }
}

/// CAP_SYS_ADMIN alone.
const OF_HELPER: &str = "0000000000200000";

/// The helper that opens a procfs before Linux 6.17, which has nothing to be taken.
fn is_helper(process: &Value) -> bool {
    process["effective"] == OF_HELPER
}

#[track_caller]
fn can_do_nothing(helpers: &[Value]) {
    for process in helpers.iter().filter(|process| process["gone"] == false) {
        assert_eq!(process["permitted"], OF_HELPER, "{process}");
        assert_eq!(process["inheritable"], "0000000000000000", "{process}");
        assert_eq!(process["seccomp"], "2", "{process}");
        assert_eq!(process["own_user_namespace"], true, "{process}");
        assert_eq!(process["leads_to_the_host"], false, "{process}");
        assert_eq!(process["leads_home"], false, "{process}");
        assert_eq!(process["knows_the_word"], false, "{process}");
        assert_ne!(process["mount_of_exe"], 0, "{process}");
        for fd in process["fds"].as_array().unwrap() {
            let target = fd["target"].as_str().unwrap();
            let harmless = target.starts_with("socket:") || target == "anon_inode:[fscontext]";
            assert!(harmless, "{fd} of {process}");
        }
    }
}

fn many_creates(c: &Case, through: &[&str]) -> Vec<Value> {
    let watch = watch(c);
    let dir = watched(c, &watch).args(&["/bin/ls", "/proc/self"]).save();
    for _ in 0..ROUNDS {
        let create = c.rt_cmd(&["create", "-b", &dir, ID]).env("SECRET", WORD);
        let out = create.through(through).run().ok();
        c.rt_cmd(&["start", ID]).env("SECRET", WORD).run().ok();
        c.wait_for_status("stopped");
        assert!(out.out().contains("mountinfo"), "a procfs of its namespace: {}", out.out());
        c.rt(&["delete", ID]).ok();
    }
    watch.end(c)
}

fn creates_in_a_joined_pid_namespace(c: &Case) {
    final_from_the_first_moment(&many_creates(c, &[]), ROUNDS / 2);
}

/// Linux 6.17 has a parameter for it; before, somebody has to go there (`child::procfs`).
fn creates_before_a_procfs_could_be_asked_for(c: &Case) {
    let probe = c.base.join("probe").to_string_lossy().into_owned();
    let number = libc::SYS_fsconfig.to_string();
    let (set_fd, einval) = ("5", libc::EINVAL.to_string());
    let seen = many_creates(c, &[&probe, "refuse", &number, "1", set_fd, &einval]);
    let (helpers, seen): (Vec<_>, Vec<_>) = seen.into_iter().partition(is_helper);
    println!("{} helpers", helpers.len());
    can_do_nothing(&helpers);
    final_from_the_first_moment(&seen, ROUNDS / 2);
}

fn runs_in_a_joined_pid_namespace(c: &Case) {
    let watch = watch(c);
    let dir = watched(c, &watch).args(&["/probe", "exit", "0"]).save();
    for _ in 0..ROUNDS {
        c.rt_cmd(&["run", "-b", &dir, ID]).env("SECRET", WORD).run().ok();
    }
    final_from_the_first_moment(&watch.end(c), ROUNDS / 2);
}

fn many_execs(c: &Case, nnp: bool) {
    let watch = watch(c);
    let mut b = watched(c, &watch);
    b.set("/process/noNewPrivileges", json!(nnp));
    c.up(b.args(&["/probe", "sleep"]));
    for _ in 0..ROUNDS {
        c.rt_cmd(&["exec", ID, "/probe", "exit", "0"]).env("SECRET", WORD).run().ok();
    }
    c.down();
    let mut seen = watch.end(c);
    for process in &mut seen {
        if !nnp && process["nnp"] == "0" {
            process["nnp"] = json!("1");
        }
    }
    final_from_the_first_moment(&seen, ROUNDS / 2);
}

fn execs(c: &Case) {
    many_execs(c, true);
}

/// The filter is loaded with CAP_SYS_ADMIN then, which is gone before anybody can look.
fn execs_without_no_new_privileges(c: &Case) {
    many_execs(c, false);
}

fn start_hooks_in_a_joined_pid_namespace(c: &Case) {
    let watch = watch(c);
    let mut b = watched(c, &watch);
    b.set(
        "/hooks",
        json!({"startContainer": [{"path": "/probe", "args": ["probe", "exit", "0"]}]}),
    );
    let dir = b.args(&["/probe", "exit", "0"]).save();
    for _ in 0..ROUNDS {
        c.rt_cmd(&["create", "-b", &dir, ID]).env("SECRET", WORD).run().ok();
        c.rt_cmd(&["start", ID]).env("SECRET", WORD).run().ok();
        c.rt(&["delete", "--force", ID]).ok();
    }
    final_from_the_first_moment(&watch.end(c), ROUNDS);
}

fn create_hooks_in_a_joined_pid_namespace(c: &Case) {
    let watch = watch(c);
    let mut b = watched(c, &watch);
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "exit 0"]}]);
    b.set("/hooks/createContainer", hook.clone()).set("/hooks/createRuntime", hook);
    let dir = b.args(&["/probe", "exit", "0"]).save();
    for _ in 0..ROUNDS {
        c.rt_cmd(&["create", "-b", &dir, ID]).env("SECRET", WORD).run().ok();
        c.rt(&["delete", "--force", ID]).ok();
    }
    final_from_the_first_moment(&watch.end(c), ROUNDS / 2);
}

/// What waits at the gate can be looked at by whoever joins later.
fn gate_of_a_new_pid_namespace(c: &Case) {
    let secret = c.path("secret");
    fs::write(&secret, "").unwrap();
    for nnp in [true, false] {
        let mut b = c.bundle();
        b.caps(&["CAP_KILL"]).set("/process/noNewPrivileges", json!(nnp));
        filter(&mut b);
        b.set("/hooks/poststop", json!([{"path": "/bin/true", "env": [format!("KEY={WORD}")]}]));
        b.push("/hooks/poststop", json!({"path": "/bin/true", "args": ["true", WORD]}));
        c.rt_cmd(&["create", "-b", &b.args(&["/probe", "sleep"]).save(), ID])
            .env("SECRET", WORD)
            .run()
            .ok();
        let pid = c.pid();
        let mut peer = c.named_bundle("peer");
        peer.set("/linux/cgroupsPath", json!(c.cgroups_path("peer")));
        peer.caps(&PEER).namespace("pid", Some(&format!("/proc/{pid}/ns/pid")));
        peer.args(&["/probe", "watch", &secret.to_string_lossy(), WORD]);
        let running = c.rt_cmd(&["run", "-b", &peer.save(), "peer"]).spawn();
        cmd::wait_until("it has looked", || running.so_far().contains("\n{"));
        c.rt(&["delete", "-f", "peer"]).ok();
        let out = running.wait().out();
        let line = out.lines().find(|line| line.starts_with('{')).expect("a line");
        let mut process: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(process["pid"], 1);
        assert_eq!(process["memory_was_read"], true, "{process}");
        assert_eq!(process["nnp"], if nnp { "1" } else { "0" }, "{process}");
        process["nnp"] = json!("1");
        final_from_the_first_moment(&[process], 1);
        c.rt(&["start", ID]).ok();
        c.down();
    }
}

/// CVE-2019-5736 at its easiest: what the container runs, and its hooks, is `rt` itself.
fn runtime_as_the_program_of_the_image(c: &Case) {
    let watch = watch(c);
    let mut b = watched(c, &watch);
    fs::write(b.rootfs("trap"), "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(b.rootfs("trap"), fs::Permissions::from_mode(0o755)).unwrap();
    b.set("/hooks/startContainer", json!([{"path": "/trap"}]));
    let hooked = b.args(&["/probe", "exit", "0"]).save();
    for _ in 0..ROUNDS {
        c.rt(&["create", "-b", &hooked, ID]).ok();
        c.rt(&["start", ID]);
        c.rt(&["delete", "--force", ID]).ok();
    }
    let mut b = watched(c, &watch);
    let dir = b.args(&["/proc/self/exe", "state", "x"]).save();
    // It is looked at once, and that may be in the middle of its execve; or it has ended before.
    let is_tried = || watch.running.so_far().contains(r#""mount_of_exe":22,"name":"exe""#);
    for _ in 1..ROUNDS {
        c.rt(&["run", "-d", "-b", &dir, ID]).ok();
        cmd::wait_until("it has ended", || is_tried() || c.status() == "stopped");
        c.rt(&["delete", "--force", ID]).ok();
        if is_tried() {
            break;
        }
    }
    let seen = watch.end(c);
    for name in ["exe", "trap"] {
        let tried = |process: &&Value| process["name"] == name && process["mount_of_exe"] == 22;
        assert!(seen.iter().any(|process| tried(&process)), "{name} was not tried: {seen:?}");
    }
    for process in seen {
        assert_ne!(process["mount_of_exe"], 0, "{process}");
    }
}

/// A process that was stopped goes on waiting by restart_syscall(2), which profiles that were made by
/// tracing do not know.
fn gate_outlives_a_pause_whatever_the_filter_says(c: &Case) {
    for call in ["restart_syscall", "rt_sigprocmask", "setsid", "read", "clone"] {
        let rule = json!({"names": [call], "action": "SCMP_ACT_ERRNO"});
        let mut b = c.bundle();
        b.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}));
        c.create(b.args(&["/probe", "exit", "7"])).ok();
        c.rt(&["pause", ID]).ok();
        c.rt(&["resume", ID]).ok();
        assert_eq!(c.status(), "created", "{call}");
        c.rt(&["start", ID]).ok();
        c.wait_for_status("stopped");
        c.down();
    }
}

/// The working directory and the program may be named by way of the process, which is born last.
fn proc_self_is_that_of_the_process(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    let out =
        c.rt(&["exec", "--cwd", "/proc/self", ID, "/bin/sh", "-c", "pwd; echo /proc/$$"]).ok();
    let lines: Vec<_> = out.out().lines().map(str::to_string).collect();
    assert_eq!(lines[0], lines[1]);
    c.rt(&["exec", ID, "/proc/self/root/bin/true"]).ok();
    c.down();
}

/// Whoever traces the process that is born can take its end of the socket: `rt` does nothing for
/// them, and does not wait for them either.
fn nothing_is_done_for_who_has_the_socket(c: &Case) {
    let mut peer = c.named_bundle("peer");
    peer.set("/linux/cgroupsPath", json!(c.cgroups_path("peer")));
    peer.caps(&PEER).set("/process/noNewPrivileges", json!(false));
    let running = c.rt_cmd(&["run", "-b", &peer.args(&["/probe", "steal"]).save(), "peer"]).spawn();
    cmd::wait_until("it watches", || running.so_far().contains("ready"));
    let pid = c.rt(&["state", "peer"]).ok().json()["pid"].clone();
    let log = c.path_str("log");
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("echo run >> {log}")]}]);
    let mut b = c.bundle();
    b.caps(&["CAP_KILL"]).namespace("pid", Some(&format!("/proc/{pid}/ns/pid")));
    b.set("/hooks/createRuntime", hook.clone()).set("/hooks/createContainer", hook);
    let dir = b.args(&["/probe", "sleep"]).save();
    let probe = c.base.join("probe").to_string_lossy().into_owned();
    let (number, einval) = (libc::SYS_fsconfig.to_string(), libc::EINVAL.to_string());
    // Also of the helper that opens a procfs before Linux 6.17.
    let older = [&*probe, "refuse", &number, "1", "5", &einval];
    let mut before = 0;
    for round in 0..ROUNDS {
        // It may well fail: the peer can do to this container what it likes.
        let through = if round % 2 == 0 { &older[..0] } else { &older[..] };
        let created = c.rt_cmd(&["create", "-b", &dir, ID]).through(through).run();
        c.rt(&["delete", "--force", ID]).ok();
        let runs = fs::read_to_string(&log).unwrap_or_default().lines().count() - before;
        before += runs;
        // Each once; not all where the peer's message came when none could be right, and ended it.
        let whole = created.code == Some(0);
        assert!(runs == 2 || runs < 2 && !whole, "{runs} hooks have run: {}", created.err());
    }
    c.rt(&["delete", "-f", "peer"]).ok();
    let out = running.wait().out();
    assert!(out.contains("stolen"), "no socket was taken: {out}");
    assert!(before > 0, "no hook has run");
}
