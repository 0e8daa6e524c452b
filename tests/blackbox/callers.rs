//! Odd callers: what the process that starts the runtime has ignored, blocked, limited or left
//! open must neither reach the container nor keep the runtime from its work.

use crate::support::cmd::{Cmd, wait_until};
use crate::support::{Bundle, Case, ID};
use crate::tests;
use serde_json::json;
use std::fs;

tests! {
    ignored_signals_are_not_the_containers: anyone().except_runc("one stays").except_crun("hangs"),
    ignored_signals_are_not_the_hooks: except_runc("one stays").except_crun("broken pipe"),
    blocked_signals_are_not_the_containers: anyone().except_runc("they are").except_crun("some are"),
    exit_codes_are_known_when_children_are_ignored: anyone().except_crun("0 for all"),
    what_the_caller_ignores_is_not_handed_on: rt_only(),
    pid_files_of_others_do_not_matter_and_stay: except_runc("EEXIST"),
    limited_file_size_is_an_error_that_leaves_nothing: except_runc("another error").except_crun("is killed"),
    full_pipe_that_nobody_reads_does_not_hang: except_runc("hangs").except_crun("hangs"),
    listen_fds_without_descriptors_are_not_ours,
}

/// As by nohup(1), a job in the background of a script, a service (`IgnoreSIGPIPE=`), a daemon that
/// never waits for its children.
const IGNORED: [i32; 10] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGPIPE,
    libc::SIGTERM,
    libc::SIGCHLD,
    libc::SIGTSTP,
    libc::SIGXFSZ,
    // One that C libraries keep for themselves, and the last.
    32,
    64,
];

const STATUS: [&str; 3] = ["/bin/grep", "-E", "Sig(Blk|Ign)"];
const NONE: &str = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n";

fn status(b: &mut Bundle) -> String {
    b.args(&[&STATUS[..], &["/proc/self/status"]].concat()).save()
}

/// What run, create and exec start has this to say of its signals.
#[track_caller]
fn all_start_with(c: &Case, expected: &str, caller: impl Fn(Cmd) -> Cmd) {
    let said = |args: &[&str]| caller(c.rt_cmd(args)).run().ok().out();
    let mut b = c.bundle();
    assert_eq!(said(&["run", "-b", &status(&mut b), ID]), expected, "run");
    let created = caller(c.rt_cmd(&["create", "-b", &status(&mut b), ID])).run().ok();
    caller(c.rt_cmd(&["start", ID])).run().ok();
    wait_until("it has said so", || created.out().lines().count() == 2);
    assert_eq!(created.out(), expected, "create and start");
    c.down();
    c.up(c.bundle().args(&["/probe", "sleep"]));
    let exec = [&["exec", ID], &STATUS[..], &["/proc/self/status"]].concat();
    assert_eq!(said(&exec), expected, "exec");
    c.down();
}

fn ignored_signals_are_not_the_containers(c: &Case) {
    all_start_with(c, NONE, |cmd| cmd.ignoring(&IGNORED));
}

fn blocked_signals_are_not_the_containers(c: &Case) {
    all_start_with(c, NONE, Cmd::blocking);
}

fn ignored_signals_are_not_the_hooks(c: &Case) {
    let dir = c.path_str("shared");
    fs::create_dir(&dir).unwrap();
    let mut b = c.bundle();
    b.mount(&dir, "bind", &dir, &["rbind", "rw"]);
    let kinds = ["createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    for kind in kinds {
        // Without a shell, which has signals ignored of its own.
        let args = json!(["dd", "if=/proc/self/status", format!("of={dir}/{kind}")]);
        b.push(&format!("/hooks/{kind}"), json!({"path": "/bin/dd", "args": args}));
    }
    c.rt_cmd(&["run", "-b", &b.save(), ID]).ignoring(&IGNORED).run().ok();
    for kind in kinds {
        let status = fs::read_to_string(format!("{dir}/{kind}")).unwrap();
        assert!(status.contains(NONE), "{kind}:\n{status}");
    }
}

/// Where SIGCHLD is ignored, the kernel reaps children itself, and nobody learns how they ended
/// (wait(2)).
fn exit_codes_are_known_when_children_are_ignored(c: &Case) {
    let said = |args: &[&str]| c.rt_cmd(args).ignoring(&[libc::SIGCHLD]).run();
    let mut b = c.bundle();
    said(&["run", "-b", &b.sh("exit 7").save(), ID]).exits(7);
    let hook = |code: i32| json!({"path": "/bin/sh", "args": ["sh", "-c", format!("exit {code}")]});
    b.push("/hooks/createRuntime", hook(0));
    said(&["run", "-b", &b.save(), ID]).exits(7);
    b.push("/hooks/createRuntime", hook(3));
    said(&["run", "-b", &b.save(), ID]).fails("3");
    c.up(c.bundle().args(&["/probe", "sleep"]));
    said(&["exec", ID, "/bin/sh", "-c", "exit 9"]).exits(9);
    c.down();
}

/// The terminal of `nohup rt run` is closed: neither rt nor the container is to hear of it.
fn what_the_caller_ignores_is_not_handed_on(c: &Case) {
    let mut b = c.bundle();
    b.args(&["/probe", "signals", "15"]);
    let run = c.rt_cmd(&["run", "-b", &b.save(), ID]).ignoring(&[libc::SIGHUP]).spawn();
    wait_until("the process is ready", || run.so_far().starts_with("ready"));
    run.kill(libc::SIGHUP);
    run.kill(libc::SIGUSR1);
    wait_until("a later signal arrives", || run.so_far().contains("\n10\n"));
    run.kill(libc::SIGTERM);
    let out = run.wait();
    assert!(out.signal.is_none(), "{}", out.how());
    assert_eq!(out.out(), "ready\n10\n15\n");
}

/// `.NAME` is what a killed runc leaves, and may as well be anybody's.
fn pid_files_of_others_do_not_matter_and_stay(c: &Case) {
    let (pid, hidden) = (c.path("pid"), c.path(".pid"));
    fs::write(&hidden, "").unwrap();
    let mut b = c.bundle();
    let run = |b: &Bundle| c.rt(&["run", "--pid-file", &c.path_str("pid"), "-b", &b.save(), ID]);
    run(&b).ok();
    assert!(fs::read_to_string(&pid).unwrap().parse::<u32>().is_ok());
    fs::write(&pid, "another's").unwrap();
    run(b.args(&["/no/such/program"])).fails("");
    assert_eq!(fs::read_to_string(&pid).unwrap(), "another's");
    assert!(hidden.exists());
    assert_eq!(fs::read_dir(c.dir.join("files")).unwrap().count(), 2);
}

/// The kernel's own way to say it is SIGXFSZ, which would end the runtime half-way.
fn limited_file_size_is_an_error_that_leaves_nothing(c: &Case) {
    let dir = c.bundle().save();
    for verb in ["create", "run"] {
        let cmd = c.rt_cmd(&[verb, "-b", &dir, ID]).limited(libc::RLIMIT_FSIZE, 700);
        cmd.run().fails("file too large (EFBIG)");
        c.nothing_left();
    }
}

/// Standard output and error of a caller that has stopped to read.
fn full_pipe_that_nobody_reads_does_not_hang(c: &Case) {
    let (_reader, writer) = nix::unistd::pipe().unwrap();
    let nonblocking = |on: bool| {
        let flags = if on { nix::fcntl::OFlag::O_NONBLOCK } else { nix::fcntl::OFlag::empty() };
        nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(flags)).unwrap();
    };
    nonblocking(true);
    while nix::unistd::write(&writer, &[b'x'; 4096]).is_ok() {}
    nonblocking(false);
    let mut b = c.bundle();
    fs::write(b.rootfs("script"), "#!/no/such/interpreter\n").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(b.rootfs("script"), executable).unwrap();
    // Said by the runtime, and by the process that cannot become the program.
    for program in ["/no/such/program", "/script"] {
        let dir = b.args(&[program]).save();
        let run = c.rt_cmd(&["run", "-b", &dir, ID]).output(writer.try_clone().unwrap()).run();
        run.exits(1);
        c.nothing_left();
    }
}

/// sd_listen_fds(3): they are for the process that LISTEN_PID names; engines name none.
fn listen_fds_without_descriptors_are_not_ours(c: &Case) {
    let dir = c.bundle().args(&["/bin/env"]).save();
    let run = c.rt_cmd(&["run", "-b", &dir, ID]).env("LISTEN_FDS", "2");
    let out = run.run().ok().out();
    assert!(!out.contains("LISTEN_FDS"), "{out}");
}
