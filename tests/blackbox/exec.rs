//! exec: another process in a running container.

use crate::engines::process_json;
use crate::support::cmd::{exit_code_of, wait_until};
use crate::support::{Case, ID, Need};
use crate::tests;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

tests! {
    exec_into_a_container_that_ends_meanwhile_says_so: needs(Need::Tool("strace")).rt_only(),
    exec_joins_every_namespace_and_the_cgroup,
    exec_returns_the_exit_code,
    exec_returns_128_plus_the_signal,
    exec_output_and_stdin_pass,
    exec_takes_env_and_keeps_the_containers: except_crun("replaces them"),
    exec_takes_a_cwd,
    exec_takes_user_and_group,
    exec_user_grammar_is_strict: rt_only(),
    exec_takes_additional_gids: except_crun("no such flag"),
    exec_adds_a_capability_but_not_as_inheritable,
    exec_has_the_capabilities_of_the_config,
    exec_takes_no_new_privs,
    exec_reads_a_process_file,
    exec_process_file_sets_every_field,
    exec_process_file_inherits_what_it_does_not_say: except_crun("the score is 0"),
    exec_detached_returns_and_writes_the_pid_file,
    exec_pid_file_is_absent_after_a_failure,
    exec_works_in_a_created_container,
    exec_in_a_stopped_container_is_an_error,
    exec_in_a_paused_container_is_an_error: except_crun("waits"),
    exec_of_an_absent_container_is_an_error: except_crun("other words"),
    exec_flags_end_at_the_id,
    exec_of_a_missing_program_fails_as_engines_expect: except_crun("other words"),
    exec_of_a_directory_or_a_file_without_x_fails_as_engines_expect: rt_only(),
    exec_leaves_nothing_behind,
    exec_survives_the_end_of_the_container: except_runc("hangs").except_crun("hangs"),
    exec_keeps_the_seccomp_filter,
    exec_works_in_a_user_namespace: needs(Need::UserNamespace),
    exec_is_not_visible_as_a_child_of_init,
    exec_without_a_command_is_an_error,
    exec_works_after_init_moved_its_cgroup: except_runc("fails").except_crun("fails"),
    exec_follows_init_out_of_a_removed_cgroup: rt_only(),
    exec_forwards_signals,
    exec_cannot_leave_the_cgroup: except_crun("another error"),
    exec_reads_a_process_from_a_pipe: except_crun("needs a size"),
    exec_can_enter_a_sub_cgroup: except_crun("another path"),
}

/// A container that sleeps.
fn sleeper(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
}

#[track_caller]
fn see(c: &Case, flags: &[&str]) -> Value {
    c.rt_cmd(&["exec"]).args(flags).args(&[ID, "/probe", "see"]).run().ok().json()
}

fn exec_joins_every_namespace_and_the_cgroup(c: &Case) {
    sleeper(c);
    let seen = see(c, &[]);
    let pid = c.pid();
    for kind in ["pid", "net", "ipc", "uts", "mnt", "cgroup", "user", "time"] {
        let init = fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_eq!(seen["namespaces"][kind], json!(init.to_string_lossy()), "{kind}");
    }
    assert!(seen["cgroup"].as_str().unwrap().lines().any(|l| l == "0::/"), "{}", seen["cgroup"]);
    assert_ne!(seen["pid"], 1);
    assert_eq!(seen["umask"], 0o022);
    assert_eq!(seen["dumpable"], 1);
    c.down();
}

fn exec_returns_the_exit_code(c: &Case) {
    sleeper(c);
    c.exec(&["/bin/sh", "-c", "exit 0"]).ok();
    c.exec(&["/bin/sh", "-c", "exit 42"]).exits(42);
    c.down();
}

fn exec_returns_128_plus_the_signal(c: &Case) {
    sleeper(c);
    for signal in [1, 9, 11, 15] {
        c.exec(&["/probe", "die", &signal.to_string()]).exits(128 + signal);
    }
    c.down();
}

fn exec_output_and_stdin_pass(c: &Case) {
    sleeper(c);
    let out =
        c.rt_cmd(&["exec", ID, "/bin/sh", "-c", "cat; echo error >&2"]).input(b"typed").run().ok();
    assert_eq!((out.out(), out.err()), ("typed".to_string(), "error\n".to_string()));
    c.down();
}

fn exec_takes_env_and_keeps_the_containers(c: &Case) {
    sleeper(c);
    let env = see(c, &["-e", "A=1", "-e", "B=two words"])["env"].clone();
    let env = env.as_array().unwrap();
    for entry in ["A=1", "B=two words", "TERM=xterm"] {
        assert!(env.contains(&json!(entry)), "{entry} in {env:?}");
    }
    assert!(env.iter().any(|e| e.as_str().unwrap().starts_with("PATH=")));
    c.down();
}

fn exec_takes_a_cwd(c: &Case) {
    sleeper(c);
    assert_eq!(see(c, &["--cwd", "/var"])["cwd"], "/var");
    assert_eq!(see(c, &[])["cwd"], "/");
    c.rt(&["exec", "--cwd", "relative", ID, "/bin/true"]).fails("");
    c.down();
}

fn exec_takes_user_and_group(c: &Case) {
    sleeper(c);
    let ids = see(c, &["--user", "1000:2000"])["ids"].clone();
    assert_eq!(
        (&ids["uid"], &ids["gid"]),
        (&json!([1000, 1000, 1000, 1000]), &json!([2000, 2000, 2000, 2000]))
    );
    assert_eq!(see(c, &["-u", "77"])["ids"]["uid"], json!([77, 77, 77, 77]));
    c.down();
}

fn exec_user_grammar_is_strict(c: &Case) {
    sleeper(c);
    for user in [
        ":1",
        "1:",
        "0x1",
        "01x",
        " 1",
        "1 ",
        "+1",
        "-1",
        "4294967295",
        "1:4294967295",
        "root",
        "",
        "1:2:3",
        "1e3",
    ] {
        c.rt(&["exec", &format!("--user={user}"), ID, "/bin/true"]).fails("user");
    }
    assert_eq!(see(c, &["-u", "1"])["ids"]["uid"][1], 1, "CVE-2026-30892");
    assert_eq!(see(c, &["-u", "1:1"])["ids"]["gid"][1], 1);
    c.down();
}

fn exec_takes_additional_gids(c: &Case) {
    sleeper(c);
    assert_eq!(see(c, &["-g", "5", "-g", "6"])["ids"]["groups"], json!([5, 6]));
    assert_eq!(see(c, &[])["ids"]["groups"], json!([]));
    c.down();
}

fn exec_adds_a_capability_but_not_as_inheritable(c: &Case) {
    sleeper(c);
    let caps = see(c, &["--cap", "CAP_CHOWN"])["caps"].clone();
    for set in ["bounding", "permitted", "effective"] {
        assert_eq!(caps[set].as_u64().unwrap() & 1, 1, "{set}");
    }
    assert_eq!((&caps["inheritable"], &caps["ambient"]), (&json!(0), &json!(0)));
    c.down();
}

fn exec_has_the_capabilities_of_the_config(c: &Case) {
    let mut b = c.bundle();
    c.up(b.caps(&["CAP_KILL"]).args(&["/probe", "sleep"]));
    let caps = see(c, &[])["caps"].clone();
    assert_eq!(
        caps,
        json!({"bounding": 32, "permitted": 32, "effective": 32, "inheritable": 0, "ambient": 0})
    );
    c.down();
}

fn exec_takes_no_new_privs(c: &Case) {
    let mut b = c.bundle();
    c.up(b.set("/process/noNewPrivileges", json!(false)).args(&["/probe", "sleep"]));
    assert_eq!(see(c, &[])["nnp"], 0);
    assert_eq!(see(c, &["--no-new-privs"])["nnp"], 1);
    c.down();
}

fn exec_reads_a_process_file(c: &Case) {
    sleeper(c);
    fs::write(c.path("p.json"), process_json(&["/bin/sh", "-c", "echo from the file; exit 6"]))
        .unwrap();
    let out = c.rt(&["exec", "--process", &c.path_str("p.json"), ID]).exits(6);
    assert_eq!(out.out(), "from the file\n");
    c.rt(&["exec", "-p", &c.path_str("p.json"), ID]).exits(6);
    fs::write(c.path("p.json"), "{").unwrap();
    c.rt(&["exec", "-p", &c.path_str("p.json"), ID]).fails("");
    c.down();
}

fn exec_reads_a_process_from_a_pipe(c: &Case) {
    sleeper(c);
    let process = json!({"cwd": "/", "args": ["/bin/sh", "-c", "id -u; exit 6"]}).to_string();
    let script = format!("(sleep 0.3; echo '{process}') | exec \"$@\"");
    let out = c.rt_cmd(&["exec", "--process", "/dev/stdin", ID]);
    let out = out.through(&["/bin/sh", "-c", &script, "sh"]).run().exits(6);
    assert_eq!(out.out(), "0\n");
    c.down();
}

fn exec_cannot_leave_the_cgroup(c: &Case) {
    sleeper(c);
    for path in ["..", "../x", "/../..", "a/../.."] {
        c.rt(&["exec", "--cgroup", path, ID, "/bin/true"]).fails("bad sub cgroup path");
    }
    c.down();
}

fn exec_process_file_inherits_what_it_does_not_say(c: &Case) {
    let mut b = c.bundle();
    b.caps(&["CAP_CHOWN", "CAP_KILL"]).set("/process/oomScoreAdj", json!(300));
    b.set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 77}]));
    c.up(b.args(&["/probe", "sleep"]));
    let process = json!({"cwd": "/", "user": {}, "args": ["/probe", "see"]});
    fs::write(c.path("p.json"), process.to_string()).unwrap();
    let out = c.rt(&["exec", "--process", &c.path_str("p.json"), ID]).ok().out();
    let seen: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(seen["caps"]["effective"], 0x21);
    assert_eq!(seen["oom_score_adj"], "300");
    assert_eq!(seen["rlimits"]["Max open files"], json!(["77", "77"]));
    c.down();
}

fn exec_process_file_sets_every_field(c: &Case) {
    sleeper(c);
    let process = json!({
        "args": ["/probe", "see"], "cwd": "/var", "env": ["HOME=/x", "ONLY=this"],
        "user": {"uid": 5, "gid": 6, "additionalGids": [7], "umask": 0o77},
        "capabilities": {"bounding": ["CAP_KILL"]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}],
        "noNewPrivileges": true, "oomScoreAdj": 200
    });
    fs::write(c.path("p.json"), process.to_string()).unwrap();
    let seen = c.rt(&["exec", "-p", &c.path_str("p.json"), ID]).ok().json();
    assert_eq!(seen["cwd"], "/var");
    assert_eq!(seen["env"], json!(["HOME=/x", "ONLY=this"]));
    assert_eq!((&seen["ids"]["uid"][0], &seen["ids"]["gid"][0]), (&json!(5), &json!(6)));
    assert_eq!(seen["ids"]["groups"], json!([7]));
    assert_eq!(seen["caps"]["bounding"], 32);
    assert_eq!(seen["nnp"], 1);
    if c.is_rt() {
        // runc's Go raises the soft limit (runc#4195).
        assert_eq!(seen["rlimits"]["Max open files"], json!(["50", "60"]));
        assert_eq!(seen["umask"], 0o77);
        assert_eq!(seen["oom_score_adj"], "200");
    }
    c.down();
}

fn exec_detached_returns_and_writes_the_pid_file(c: &Case) {
    sleeper(c);
    let args = [
        "exec",
        "--detach",
        "--pid-file",
        &c.path_str("pid"),
        ID,
        "/bin/sh",
        "-c",
        "sleep 0.1; exit 9",
    ];
    c.rt(&args).ok();
    let pid: i32 = fs::read_to_string(c.path("pid")).unwrap().parse().unwrap();
    assert!(crate::support::leak::children().contains(&pid), "a child of the caller's subreaper");
    assert_eq!(exit_code_of(pid), 9);
    c.rt(&["exec", "-d", ID, "/probe", "sleep"]).ok();
    assert_eq!(c.rt(&["ps", "-f", "json", ID]).ok().json().as_array().unwrap().len(), 2);
    c.down();
}

fn exec_pid_file_is_absent_after_a_failure(c: &Case) {
    sleeper(c);
    let out =
        c.rt(&["exec", "-d", "--pid-file", &c.path_str("pid"), ID, "/no/such/program"]).fails("");
    assert!(!c.path("pid").exists() || !c.is_rt(), "{}", out.err());
    c.down();
}

fn exec_works_in_a_created_container(c: &Case) {
    c.create(&c.bundle()).ok();
    assert_eq!(c.exec(&["/bin/echo", "before start"]).ok().out(), "before start\n");
    assert_eq!(c.status(), "created");
    c.down();
}

fn exec_in_a_stopped_container_is_an_error(c: &Case) {
    c.up(&c.bundle());
    c.wait_for_status("stopped");
    c.exec(&["/bin/true"]).fails(if c.kind == crate::support::Kind::Crun {
        "not running"
    } else {
        "cannot exec"
    });
    c.rt(&["delete", ID]).ok();
}

fn exec_in_a_paused_container_is_an_error(c: &Case) {
    sleeper(c);
    c.rt(&["pause", ID]).ok();
    c.exec(&["/bin/true"]).fails("paused container");
    let late = c.rt_cmd(&["exec", "--ignore-paused", ID, "/bin/echo", "late"]).spawn();
    std::thread::sleep(Duration::from_millis(100));
    c.rt(&["resume", ID]).ok();
    assert_eq!(late.wait().ok().out(), "late\n");
    c.down();
}

fn exec_of_an_absent_container_is_an_error(c: &Case) {
    c.rt(&["exec", "nobody", "/bin/true"]).fails("does not exist");
}

fn exec_flags_end_at_the_id(c: &Case) {
    sleeper(c);
    assert_eq!(c.exec(&["/bin/echo", "-d", "--tty", "--", "-x"]).ok().out(), "-d --tty -- -x\n");
    c.down();
}

fn exec_of_a_missing_program_fails_as_engines_expect(c: &Case) {
    sleeper(c);
    c.exec(&["no-such-program"]).fails("executable file");
    let out = c.exec(&["/no/such/program"]).fails("no such file or directory");
    if c.is_rt() {
        assert_eq!(out.code, Some(255));
    }
    c.down();
}

fn exec_of_a_directory_or_a_file_without_x_fails_as_engines_expect(c: &Case) {
    sleeper(c);
    c.exec(&["/etc"]).fails("is a directory: permission denied");
    c.exec(&["/etc/passwd"]).fails("permission denied");
    c.down();
}

fn exec_leaves_nothing_behind(c: &Case) {
    sleeper(c);
    let files = || -> Vec<_> {
        let mut names: Vec<_> =
            fs::read_dir(c.state.join(ID)).unwrap().flatten().map(|e| e.file_name()).collect();
        names.sort();
        names
    };
    let before = files();
    for _ in 0..5 {
        c.exec(&["/bin/true"]).ok();
        c.exec(&["/no/such"]).fails("");
    }
    assert_eq!(files(), before);
    assert_eq!(c.rt(&["ps", "-f", "json", ID]).ok().json().as_array().unwrap().len(), 1);
    c.down();
}

fn exec_survives_the_end_of_the_container(c: &Case) {
    sleeper(c);
    let exec = c.rt_cmd(&["exec", ID, "/probe", "sleep"]).spawn();
    wait_until("both run their program", || {
        let table = c.rt(&["ps", ID]).out();
        table.lines().filter(|l| l.contains(" /probe sleep") && !l.contains("exec")).count() == 2
    });
    c.rt(&["kill", ID, "KILL"]).ok();
    exec.wait().exits(137);
    c.wait_for_status("stopped");
    c.down();
}

fn exec_keeps_the_seccomp_filter(c: &Case) {
    let mut b = c.bundle();
    b.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["getcwd"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7}]}),
    );
    c.up(b.args(&["/probe", "sleep"]));
    assert_eq!(see(c, &[])["seccomp"], 2);
    assert_eq!(c.exec(&["/probe", "call", "79"]).ok().out(), "E2BIG\n");
    c.down();
}

fn exec_works_in_a_user_namespace(c: &Case) {
    let mut b = c.bundle();
    b.namespace("user", None);
    for ids in ["uidMappings", "gidMappings"] {
        b.set(
            &format!("/linux/{ids}"),
            json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]),
        );
    }
    c.up(b.args(&["/probe", "sleep"]));
    let seen = see(c, &["-u", "3:4"]);
    assert_eq!((&seen["ids"]["uid"][1], &seen["ids"]["gid"][1]), (&json!(3), &json!(4)));
    let init = fs::read_link(format!("/proc/{}/ns/user", c.pid())).unwrap();
    assert_eq!(seen["namespaces"]["user"], json!(init.to_string_lossy()));
    c.down();
}

fn exec_is_not_visible_as_a_child_of_init(c: &Case) {
    sleeper(c);
    assert_eq!(see(c, &[])["ppid"], 0, "its parent is outside");
    c.down();
}

fn exec_without_a_command_is_an_error(c: &Case) {
    sleeper(c);
    c.rt(&["exec", ID]).fails("");
    c.down();
}

fn exec_works_after_init_moved_its_cgroup(c: &Case) {
    let mut b = c.bundle();
    b.unmount("/sys/fs/cgroup");
    b.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "rw"]);
    let out = c.up(b.sh(
        "mkdir /sys/fs/cgroup/leaf && echo 0 > /sys/fs/cgroup/leaf/cgroup.procs && \
         for k in $(cat /sys/fs/cgroup/cgroup.controllers); do echo +$k > /sys/fs/cgroup/cgroup.subtree_control; done; \
         echo ready; exec sleep 1000",
    ));
    wait_until("init has moved", || out.out() == "ready\n");
    c.exec(&["/bin/true"]).ok();
    if c.is_rt()
        && fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
            .is_ok_and(|k| k.contains("memory"))
    {
        let out = c.rt(&["exec", "--cgroup", "/", ID, "/bin/true"]).exits(255);
        out.fails("adding pid of the new process to cgroups of the container: device or resource");
    }
    c.down();
    c.nothing_left();
}

/// And never stays in the caller's cgroup, which has other limits.
fn exec_follows_init_out_of_a_removed_cgroup(c: &Case) {
    let dir = c.cgroup_dir().expect("a cgroup");
    let other = dir.join("other");
    fs::create_dir(&other).unwrap();
    let inside = format!("/sys/fs/cgroup{}", c.cgroups_path("other"));
    let mut b = c.bundle();
    b.without_namespace("cgroup").unmount("/sys/fs/cgroup");
    b.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev"]);
    let out = c.up(b.sh(&format!("echo 0 > {inside}/cgroup.procs && echo ready; exec sleep 1000")));
    wait_until("init has moved", || out.out() == "ready\n");
    wait_until("its cgroup is removed", || fs::remove_dir(dir.join(ID)).is_ok());
    let seen = c.exec(&["/bin/cat", "/proc/self/cgroup"]).ok().out();
    assert!(seen.ends_with(&format!("0::{}\n", c.cgroups_path("other"))), "{seen}");
    c.down();
    wait_until("the other cgroup is empty", || fs::remove_dir(&other).is_ok());
    c.nothing_left();
}

fn exec_forwards_signals(c: &Case) {
    sleeper(c);
    let exec = c.rt_cmd(&["exec", ID, "/probe", "signals", "15"]).spawn();
    wait_until("the process is ready", || exec.so_far().starts_with("ready"));
    exec.kill(libc::SIGUSR1);
    wait_until("SIGUSR1 arrives", || exec.so_far().contains("10\n"));
    exec.kill(libc::SIGTERM);
    exec.wait().ok();
    c.down();
}

fn exec_can_enter_a_sub_cgroup(c: &Case) {
    sleeper(c);
    fs::create_dir(c.cgroup_dir().unwrap().join(ID).join("sub")).unwrap();
    let out = c.rt(&["exec", "--cgroup", "sub", ID, "/bin/grep", "0::", "/proc/self/cgroup"]).ok();
    assert_eq!(out.out(), "0::/sub\n");
    c.rt(&["exec", "--cgroup", "no-such", ID, "/bin/true"]).fails("");
    c.rt(&["exec", "--cgroup", "../../runner", ID, "/bin/true"]).fails("");
    c.down();
}

/// Wherever in its work it meets the end of the container.
fn exec_into_a_container_that_ends_meanwhile_says_so(c: &Case) {
    for call in ["clone3", "setns"] {
        c.up(c.bundle().args(&["/probe", "sleep"]));
        let log = c.path_str(&format!("strace.{call}"));
        let slow = format!("--inject={call}:delay_enter=5000000:when=1");
        let strace = ["strace", "-f", "-o", &log, &slow];
        let exec = c.rt_cmd(&["exec", ID, "/bin/true"]).through(&strace).spawn();
        wait_until("it is about to clone", || {
            fs::read_to_string(&log).is_ok_and(|text| text.contains("socketpair("))
        });
        c.rt(&["kill", ID, "KILL"]).ok();
        c.wait_for_status("stopped");
        exec.wait().fails("container not running");
        c.down();
    }
}
