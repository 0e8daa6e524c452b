//! `process.terminal`: console socket, foreground pty, window size.

use crate::support::cmd::wait_until;
use crate::support::pty::Pty;
use crate::support::socket::FdSocket;
use crate::support::sys;
use crate::support::{Bundle, Case, ID, Need};
use crate::tests;
use serde_json::{Value, json};
use std::os::fd::OwnedFd;

tests! {
    console_socket_gets_the_master,
    console_socket_payload_is_a_name,
    console_size_is_set_before_the_process_runs,
    console_device_is_the_terminal,
    terminal_belongs_to_the_user,
    terminal_is_the_controlling_one,
    foreground_run_relays_the_terminal,
    foreground_run_copies_the_window_size: except_crun("not in this version"),
    foreground_size_is_set_before_the_process_runs: except_crun("not in this version"),
    foreground_run_follows_window_changes: except_crun("not in this version"),
    foreground_run_restores_the_callers_terminal,
    foreground_run_returns_the_exit_code,
    foreground_run_that_comes_to_the_foreground_reads: needs(Need::Tool("bash")),
    foreground_run_hangs_up_with_its_terminal: rt_only(),
    a_terminal_without_anybody_is_refused: except_crun("it waits for ever"),
    a_stdin_that_is_empty_is_typed_as_its_end: rt_only(),
    a_detached_container_on_a_terminal_is_warned_of: rt_only(),
    a_terminal_shown_in_a_pipe_keeps_newlines: except_crun("carriage returns"),
    create_with_a_terminal_needs_a_socket,
    console_socket_without_a_terminal_is_refused: except_crun("ignored"),
    missing_console_socket_is_an_error,
    exec_with_a_terminal_relays_it,
    exec_whose_reader_has_stalled_lets_the_container_end: except_runc("its end waits for the reader"),
    exec_detached_sends_its_terminal,
    pidfd_socket_gets_a_pidfd_of_init: rt_only(),
    pidfd_socket_gets_a_pidfd_of_exec: rt_only(),
    a_console_socket_that_never_reads_does_not_hang_create,
    terminal_on_a_read_only_devpts_stays_roots: rt_only(),
}

fn terminal(b: &mut Bundle) -> &mut Bundle {
    b.set("/process/terminal", json!(true))
}

/// Creates a container with a terminal and returns its master.
#[track_caller]
fn create_with_console(c: &Case, b: &Bundle) -> (Pty, String) {
    let socket = FdSocket::listen(&c.path("console"));
    let cmd = c.rt_cmd(&["create", "-b", &b.save(), "--console-socket", &socket.arg(), ID]).spawn();
    let (master, name) = socket.receive();
    cmd.wait().ok();
    std::fs::remove_file(&socket.path).unwrap();
    (Pty::from(master), name)
}

/// The probe's JSON out of what a terminal showed.
fn json_in(text: &str) -> Value {
    let line =
        text.lines().find(|l| l.starts_with('{')).unwrap_or_else(|| panic!("no JSON in {text:?}"));
    serde_json::from_str(line).expect("JSON")
}

fn console_socket_gets_the_master(c: &Case) {
    let mut b = c.bundle();
    let (mut pty, _) = create_with_console(c, terminal(&mut b).args(&["/bin/sh"]));
    c.rt(&["start", ID]).ok();
    pty.type_in("echo $((6*7)) done; tty\n");
    pty.expect("42 done");
    pty.expect("/dev/pts/0");
    pty.type_in("exit 3\n");
    c.wait_for_status("stopped");
    c.down();
}

fn console_socket_payload_is_a_name(c: &Case) {
    let mut b = c.bundle();
    let (_pty, name) = create_with_console(c, terminal(&mut b));
    assert!(!name.is_empty() && name.is_ascii() && !name.contains('\0'), "{name:?}");
    c.down();
}

fn console_size_is_set_before_the_process_runs(c: &Case) {
    let mut b = c.bundle();
    terminal(&mut b).set("/process/consoleSize", json!({"height": 33, "width": 99}));
    let (mut pty, _) = create_with_console(c, b.args(&["/probe", "size"]));
    c.rt(&["start", ID]).ok();
    pty.expect("size 33x99");
    pty.resize(40, 120);
    pty.expect("size 40x120");
    c.down();
}

fn see_on_terminal(c: &Case, b: &mut Bundle) -> Value {
    let (mut pty, _) = create_with_console(c, terminal(b).args(&["/probe", "see"]));
    c.rt(&["start", ID]).ok();
    let seen = json_in(&pty.rest());
    c.down();
    seen
}

fn console_device_is_the_terminal(c: &Case) {
    let seen = see_on_terminal(c, &mut c.bundle());
    assert_eq!(seen["terminal"]["name"], "/dev/pts/0");
    assert_eq!(seen["mounts"]["/dev/console"]["type"], "devpts");
    let console = &seen["dev"]["console"];
    assert_eq!((&console["type"], &console["major"]), (&json!("c"), &json!(136)));
    for fd in ["0", "1", "2"] {
        assert_eq!(seen["fds"][fd], "/dev/pts/0");
    }
    assert_eq!(seen["fds"].as_object().unwrap().len(), 3, "{}", seen["fds"]);
}

fn terminal_belongs_to_the_user(c: &Case) {
    let mut b = c.bundle();
    b.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let (mut pty, _) =
        create_with_console(c, terminal(&mut b).args(&["/probe", "stat", "/dev/pts/0"]));
    c.rt(&["start", ID]).ok();
    let text = pty.rest();
    assert_eq!(text.split_whitespace().nth(1), Some("1000"), "{text}");
    c.down();
}

fn terminal_is_the_controlling_one(c: &Case) {
    let seen = see_on_terminal(c, &mut c.bundle());
    assert_eq!(seen["sid"], 1);
    assert_ne!(seen["controlling_terminal"], 0);
    let mut b = c.bundle();
    let (mut pty, _) =
        create_with_console(c, terminal(&mut b).args(&["/probe", "open", "rw", "/dev/tty"]));
    c.rt(&["start", ID]).ok();
    pty.expect("ok");
    c.down();
}

/// Starts `run` on a pty of the caller.
fn run_on_pty(
    c: &Case,
    b: &mut Bundle,
    rows: u16,
    columns: u16,
) -> (Pty, crate::support::cmd::Running) {
    let (pty, slave) = Pty::open(rows, columns);
    let dir = terminal(b).save();
    let run = c.rt_cmd(&["run", "-b", &dir, ID]).terminal(&slave).spawn();
    (pty, run)
}

fn foreground_run_relays_the_terminal(c: &Case) {
    let mut b = c.bundle();
    let (mut pty, run) = run_on_pty(c, b.args(&["/bin/sh"]), 24, 80);
    pty.type_in("echo $((6*7)) done\n");
    pty.expect("42 done");
    // Raw mode: ^C goes to the shell inside, which lives on.
    pty.type_in("\x03");
    pty.type_in("echo $((6*8)) alive\n");
    pty.expect("48 alive");
    pty.type_in("exit 5\n");
    run.wait().exits(5);
}

fn foreground_run_copies_the_window_size(c: &Case) {
    let mut b = c.bundle();
    let (mut pty, run) = run_on_pty(c, b.args(&["/probe", "size"]), 31, 97);
    pty.expect("size 31x97");
    run.kill(libc::SIGKILL);
    run.wait();
    c.down();
}

/// A program asks once, when it starts.
fn foreground_size_is_set_before_the_process_runs(c: &Case) {
    let mut b = c.bundle();
    b.set("/root/readonly", json!(false)).sh("stty size; echo > /asked; read wait");
    if c.is_rt() {
        // `rt` itself does not go on before the program has asked.
        let asked = b.rootfs("asked");
        let script = format!("until [ -e {} ]; do sleep 0.01; done", asked.display());
        b.push("/hooks/poststart", json!({"path": "/bin/sh", "args": ["sh", "-c", script]}));
    }
    let (mut pty, run) = run_on_pty(c, &mut b, 31, 97);
    pty.expect("31 97");
    pty.type_in("\n");
    run.wait().ok();
    c.up(c.bundle().args(&["/probe", "sleep"]));
    for rows in 30..40 {
        let (mut pty, slave) = Pty::open(rows, 97);
        let exec = c.rt_cmd(&["exec", "-t", ID, "/bin/stty", "size"]).terminal(&slave).spawn();
        exec.wait().ok();
        pty.expect(&format!("{rows} 97"));
    }
    c.down();
}

fn foreground_run_follows_window_changes(c: &Case) {
    let mut b = c.bundle();
    let (mut pty, run) = run_on_pty(c, b.args(&["/probe", "size"]), 24, 80);
    pty.expect("size ");
    pty.resize(50, 132);
    pty.expect("size 50x132");
    c.rt(&["kill", ID, "KILL"]).ok();
    run.wait().exits(137);
}

fn foreground_run_restores_the_callers_terminal(c: &Case) {
    let (pty, slave) = Pty::open(24, 80);
    let before = nix::sys::termios::tcgetattr(&slave).unwrap();
    let mut b = c.bundle();
    let dir = terminal(&mut b).args(&["/bin/true"]).save();
    c.rt_cmd(&["run", "-b", &dir, ID]).terminal(&slave).run().ok();
    let after = nix::sys::termios::tcgetattr(&slave).unwrap();
    assert_eq!(before, after);
    drop(pty);
}

fn foreground_run_returns_the_exit_code(c: &Case) {
    let mut b = c.bundle();
    let (mut pty, run) = run_on_pty(c, b.sh("echo last words; exit 9"), 24, 80);
    run.wait().exits(9);
    pty.expect("last words");
}

/// `rt run &`, then `fg`: a shell sends no SIGCONT to a job that runs.
fn foreground_run_that_comes_to_the_foreground_reads(c: &Case) {
    let mut b = c.bundle();
    let script = "(while sleep 0.1; do echo tick; done) & read line; echo got $line; exit 3";
    let dir = terminal(&mut b).sh(script).save();
    let front = c.path("front");
    let job = format!(
        "set -m; \"$@\" & until [ -e {} ]; do sleep 0.05; done; fg >/dev/null",
        front.display()
    );
    let (mut pty, slave) = Pty::open(24, 80);
    let bash = ["bash", "--norc", "-c", &job, "bash"];
    let run = c.rt_cmd(&["run", "-b", &dir, ID]).through(&bash).terminal(&slave).spawn();
    pty.expect("tick");
    // What is typed now is the shell's; it does not read it, and leaves it to the job.
    pty.type_in("hello\n");
    pty.expect("tick");
    pty.expect("tick");
    std::fs::write(front, "").unwrap();
    pty.expect("got hello");
    run.wait().exits(3);
}

/// The window is closed: what reads the container's terminal sees its end.
fn foreground_run_hangs_up_with_its_terminal(c: &Case) {
    let mut b = c.bundle();
    let (mut pty, run) = run_on_pty(c, b.sh("echo ready; cat; exit 6"), 24, 80);
    pty.expect("ready");
    drop(pty);
    run.wait().exits(6);
}

fn a_terminal_without_anybody_is_refused(c: &Case) {
    let mut b = c.bundle();
    let dir = terminal(&mut b).args(&["/bin/sh"]).save();
    let text =
        if c.is_rt() { "none of standard input, output and error is a terminal" } else { "" };
    c.rt(&["run", "-b", &dir, ID]).fails(text);
    c.nothing_left();
    c.up(c.bundle().args(&["/probe", "sleep"]));
    c.rt(&["exec", "-t", ID, "/bin/sh"]).fails(text);
    c.down();
}

fn a_stdin_that_is_empty_is_typed_as_its_end(c: &Case) {
    let mut b = c.bundle();
    let dir = terminal(&mut b).sh("cat; exit 4").save();
    c.rt_cmd(&["run", "-b", &dir, ID]).input(b"").run().exits(4);
}

fn a_detached_container_on_a_terminal_is_warned_of(c: &Case) {
    let (_pty, slave) = Pty::open(24, 80);
    let dir = c.bundle().args(&["/probe", "sleep"]).save();
    for args in [vec!["create"], vec!["run", "-d"]] {
        let started = |stdin: Option<&OwnedFd>| {
            let cmd = c.rt_cmd(&args).args(&["-b", &dir, ID]);
            let out = match stdin {
                Some(slave) => cmd.stdin(slave.try_clone().unwrap()).run().ok(),
                None => cmd.run().ok(),
            };
            c.down();
            out.err()
        };
        let err = started(Some(&slave));
        assert!(err.contains("standard input is a terminal"), "{err}");
        assert_eq!(started(None), "");
    }
}

fn a_terminal_shown_in_a_pipe_keeps_newlines(c: &Case) {
    let mut b = c.bundle();
    b.sh("echo one; echo two");
    let dir = terminal(&mut b).save();
    let out = c.rt_cmd(&["run", "-b", &dir, ID]).input(b"").run().ok();
    assert_eq!(out.out(), "one\ntwo\n");
    c.up(c.bundle().args(&["/probe", "sleep"]));
    let exec = c.rt_cmd(&["exec", "-t", ID, "/bin/sh", "-c", "echo one; echo two"]);
    let out = exec.input(b"").run().ok();
    assert_eq!(out.out(), "one\ntwo\n");
    c.down();
}

fn create_with_a_terminal_needs_a_socket(c: &Case) {
    let mut b = c.bundle();
    let dir = terminal(&mut b).save();
    let text = if c.is_rt() { "cannot allocate tty if" } else { "" };
    c.rt(&["create", "-b", &dir, ID]).fails(text);
    c.rt(&["run", "-d", "-b", &dir, ID]).fails(text);
    c.nothing_left();
}

fn console_socket_without_a_terminal_is_refused(c: &Case) {
    let socket = FdSocket::listen(&c.path("console"));
    let dir = c.bundle().save();
    c.rt(&["create", "-b", &dir, "--console-socket", &socket.arg(), ID]).fails("");
    c.nothing_left();
}

fn missing_console_socket_is_an_error(c: &Case) {
    let mut b = c.bundle();
    let dir = terminal(&mut b).save();
    c.rt(&["create", "-b", &dir, "--console-socket", "/no/such/socket", ID]).fails("");
    c.nothing_left();
}

fn exec_with_a_terminal_relays_it(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    let (mut pty, slave) = Pty::open(24, 80);
    let exec = c.rt_cmd(&["exec", "-t", ID, "/bin/sh"]).terminal(&slave).spawn();
    pty.type_in("echo $((6*7)) done; tty; exit 4\n");
    pty.expect("42 done");
    pty.expect("/dev/pts/");
    exec.wait().exits(4);
    c.down();
}

/// The dead process of an `exec` is its parent's to reap, and the namespace waits for that. What
/// it has written and nobody takes is no reason to be late.
fn exec_whose_reader_has_stalled_lets_the_container_end(c: &Case) {
    // `rt` does not wait for ever, so that one try may come too late on a busy machine.
    let in_time = (0..5).any(|_| {
        c.up(c.bundle().args(&["/probe", "sleep"]));
        let (stalled, output) = nix::unistd::pipe().unwrap();
        let (input, _typist) = nix::unistd::pipe().unwrap();
        let pipe = std::os::fd::AsFd::as_fd(&stalled);
        let endless = ["exec", "-t", ID, "/bin/sh", "-c", "while :; do echo $PATH; done"];
        let exec = c.rt_cmd(&endless).stdin(input).output(output).spawn();
        let mut length = 0;
        // Not full to the last byte: what is written last needs a page to itself.
        wait_until("the pipe is full", || {
            let before = std::mem::replace(&mut length, sys::unread(pipe));
            std::thread::sleep(std::time::Duration::from_millis(50));
            length > 1 << 15 && length == before
        });
        c.rt(&["kill", ID, "KILL"]).ok();
        c.wait_for_status("stopped");
        let in_time = !exec.has_ended();
        // A signal ends the wait for the reader.
        exec.kill(libc::SIGTERM);
        exec.wait().exits(137);
        c.down();
        in_time
    });
    assert!(in_time, "the container ended only after the output was given up");
}

fn exec_detached_sends_its_terminal(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    let socket = FdSocket::listen(&c.path("console"));
    let cmd = c
        .rt_cmd(&["exec", "-t", "-d", "--console-socket", &socket.arg(), ID, "/probe", "see"])
        .spawn();
    let (master, _) = socket.receive();
    cmd.wait().ok();
    let seen = json_in(&Pty::from(master).rest());
    assert!(seen["terminal"]["name"].as_str().unwrap().starts_with("/dev/pts/"));
    assert_ne!(seen["controlling_terminal"], 0);
    c.down();
}

/// Which process a pidfd is of.
fn pid_of(fd: &std::os::fd::OwnedFd) -> String {
    use std::os::fd::AsRawFd;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap();
    let line = info.lines().find(|l| l.starts_with("Pid:")).unwrap_or_default().to_string();
    line.split_whitespace().nth(1).unwrap_or_default().to_string()
}

fn pidfd_socket_gets_a_pidfd_of_init(c: &Case) {
    let socket = FdSocket::listen(&c.path("pidfd"));
    let dir = c.bundle().save();
    let cmd = c.rt_cmd(&["create", "-b", &dir, "--pidfd-socket", &socket.arg(), ID]).spawn();
    let (fd, payload) = socket.receive();
    cmd.wait().ok();
    assert_eq!(payload.trim_end_matches('\0'), "standard");
    assert_eq!(pid_of(&fd), c.pid().to_string());
    c.down();
}

fn pidfd_socket_gets_a_pidfd_of_exec(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    let socket = FdSocket::listen(&c.path("pidfd"));
    let args = [
        "exec",
        "-d",
        "--pidfd-socket",
        &socket.arg(),
        "--pid-file",
        &c.path_str("pid"),
        ID,
        "/probe",
        "sleep",
    ];
    let cmd = c.rt_cmd(&args).spawn();
    let (fd, payload) = socket.receive();
    cmd.wait().ok();
    assert_eq!(payload.trim_end_matches('\0'), "setns");
    assert_eq!(pid_of(&fd), std::fs::read_to_string(c.path("pid")).unwrap());
    c.down();
}

fn a_console_socket_that_never_reads_does_not_hang_create(c: &Case) {
    let socket = FdSocket::listen(&c.path("console"));
    let mut b = c.bundle();
    let dir = terminal(&mut b).save();
    let out = c.rt_cmd(&["create", "-b", &dir, "--console-socket", &socket.arg(), ID]).run();
    assert!(!out.timed_out, "{}", out.how());
    wait_until("delete works", || c.rt(&["delete", "--force", ID]).code == Some(0));
}

/// What `docker run -t -v /dev:/dev:ro` leads to (moby#47158).
fn terminal_on_a_read_only_devpts_stays_roots(c: &Case) {
    for uid in [0, 1000] {
        let mut b = c.bundle();
        let options = ["newinstance", "ptmxmode=0666", "mode=0620", "ro"];
        b.unmount("/dev/pts").mount("/dev/pts", "devpts", "devpts", &options);
        b.set("/process/user", json!({"uid": uid, "gid": uid}));
        let probe = ["/probe", "stat", "/dev/pts/0"];
        let (mut pty, _) = create_with_console(c, terminal(&mut b).args(&probe));
        c.rt(&["start", ID]).ok();
        let text = pty.rest();
        assert_eq!(text.split_whitespace().nth(1), Some("0"), "{text}");
        c.down();
    }
}
