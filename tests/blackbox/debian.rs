//! A Debian root file system, as mmdebstrap makes it.

use crate::support::cmd::{Cmd, patience, wait_until};
use crate::support::pty::Pty;
use crate::support::{Bundle, Case, ID, Need, sys};
use crate::tests;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;

tests! {
    apt_get_says_its_version: needs(Need::Debian),
    a_shell_on_a_real_terminal_answers: needs(Need::Debian).except_crun("no window size"),
    a_web_server_answers_a_request: needs(Need::Debian),
    programs_are_found_and_linked: needs(Need::Debian),
    exec_runs_a_dynamic_program: needs(Need::Debian),
}

fn debian(c: &Case) -> Bundle {
    let mut b = c.bundle();
    b.set("/root/path", json!(c.base.join("debian").to_string_lossy()));
    b.mount("/tmp", "tmpfs", "tmpfs", &["nosuid", "nodev", "mode=1777"]);
    b.mount("/run", "tmpfs", "tmpfs", &["nosuid", "nodev", "mode=755"]);
    b
}

fn apt_get_says_its_version(c: &Case) {
    let mut b = debian(c);
    let out = c.run(b.args(&["apt-get", "--version"])).ok().out();
    assert!(out.starts_with("apt "), "{out}");
}

fn programs_are_found_and_linked(c: &Case) {
    let mut b = debian(c);
    b.args(&[
        "bash",
        "-c",
        "set -e; . /etc/os-release; echo $ID; dpkg --version | head -1; id -u; ls /dev/fd/0",
    ]);
    let out = c.run(&b).ok().out();
    assert!(out.starts_with("debian\nDebian 'dpkg'"), "{out}");
}

fn a_shell_on_a_real_terminal_answers(c: &Case) {
    let mut b = debian(c);
    b.set("/process/terminal", json!(true)).args(&["bash", "--norc", "-i"]);
    let (mut pty, slave) = Pty::open(30, 100);
    let run = c.rt_cmd(&["run", "-b", &b.save(), ID]).terminal(&slave).spawn();
    pty.type_in("echo $((6*7)) is the answer\n");
    pty.expect("42 is the answer");
    pty.type_in("stty size; tty\n");
    pty.expect("30 100");
    pty.expect("/dev/pts/0");
    // Job control needs a controlling terminal.
    pty.type_in("bash -c 'echo $((7*7)) sleeps; sleep 1000'\n");
    pty.expect("49 sleeps");
    pty.type_in("\x1a");
    pty.expect("Stopped");
    pty.type_in("kill %1; exit 6\n");
    pty.type_in("exit 6\n");
    run.wait().exits(6);
}

/// A server for one page in whatever interpreter is there.
fn server(c: &Case) -> Vec<String> {
    let lib = std::fs::read_dir(c.base.join("debian/usr/lib")).expect("read usr/lib").flatten();
    let has_http = lib.map(|e| e.path()).any(|dir| dir.join("http/server.py").exists());
    let has_perl = c.base.join("debian/usr/bin/perl").exists();
    let perl = "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => 8000, Listen => 5, ReuseAddr => 1) or die $!; \
        while (my $c = $s->accept) { while (<$c>) { last if /^\\r?\\n$/ } print $c \"HTTP/1.0 200 OK\\r\\n\\r\\nos-release\\n\"; close $c }";
    let argv: &[&str] = match () {
        () if has_http => &["python3", "-m", "http.server", "--directory", "/etc", "8000"],
        () if has_perl => &["perl", "-e", perl],
        () => crate::support::worker::skip("needs python3 or perl in the Debian"),
    };
    argv.iter().map(|a| a.to_string()).collect()
}

fn a_web_server_answers_a_request(c: &Case) {
    // A network namespace shared by this test and the container.
    sys::unshare(libc::CLONE_NEWNET).expect("unshare the network namespace");
    let busybox = c.base.join("busybox");
    Cmd::new(&[&busybox.to_string_lossy(), "ip", "link", "set", "lo", "up"]).run().ok();
    let mut b = debian(c);
    b.set("/process/args", json!(server(c))).without_namespace("network");
    c.up(&b);
    wait_until("the server answers", || request().is_some_and(|text| text.contains("200 OK")));
    let page = request().expect("an answer");
    assert!(page.contains("os-release"), "{page}");
    c.rt(&["kill", ID, "KILL"]).ok();
    c.wait_for_status("stopped");
    assert!(request().is_none(), "the server is gone");
    c.down();
}

fn request() -> Option<String> {
    let mut stream = TcpStream::connect("127.0.0.1:8000").ok()?;
    stream.set_read_timeout(Some(patience())).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

fn exec_runs_a_dynamic_program(c: &Case) {
    let mut b = debian(c);
    c.up(b.args(&["sleep", "1000"]));
    let out = c.exec(&["bash", "-c", "echo $$ > /run/pid && cat /proc/1/comm"]).ok().out();
    assert_eq!(out, "sleep\n");
    c.down();
}
