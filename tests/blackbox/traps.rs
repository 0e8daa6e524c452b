//! Paths of the command line that lie where an image, or whoever else, can have put something: a
//! link, a FIFO. Nothing of the host is written or connected to, and nobody waits for the image.

use crate::support::cmd::wait_until;
use crate::support::{Bundle, Case, ID, sys};
use crate::tests;
use serde_json::json;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::os::unix::net::UnixListener;

tests! {
    log_does_not_follow_a_link: rt_only(),
    log_may_be_what_the_caller_has_open: rt_only(),
    log_that_is_a_fifo_is_not_waited_for: rt_only(),
    pid_file_replaces_a_link: rt_only(),
    console_socket_does_not_follow_a_link: rt_only(),
}

/// A path in the image for each way in which a link can be there.
fn traps(b: &Bundle, target: &str) -> Vec<String> {
    fs::create_dir_all(b.rootfs("var/log")).unwrap();
    symlink(target, b.rootfs("var/log/direct")).unwrap();
    symlink("direct", b.rootfs("var/log/chain")).unwrap();
    let up = "../".repeat(20) + target.trim_start_matches('/');
    symlink(up, b.rootfs("var/log/relative")).unwrap();
    let names = ["direct", "chain", "relative"];
    names.map(|name| b.rootfs("var/log").join(name).to_string_lossy().into_owned()).to_vec()
}

fn log_does_not_follow_a_link(c: &Case) {
    let canary = c.canary("canary");
    let b = c.bundle();
    let dir = b.save();
    for (name, target) in [("file", "file"), ("new", "new")] {
        let target = canary.dir.join(target).to_string_lossy().into_owned();
        for log in traps(&b, &target) {
            for args in [&["run", "-b", &dir, ID][..], &["state", "x"], &["list"], &["no-verb"]] {
                let out = c.rt_cmd(&["--log", &log, "--debug"]).args(args).run();
                let out = out.fails("a link is not followed");
                assert!(out.err().contains(&log), "{name}: {}", out.err());
                canary.untouched();
            }
            fs::remove_file(log).unwrap();
        }
    }
    c.nothing_left();
}

fn log_may_be_what_the_caller_has_open(c: &Case) {
    for path in ["/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"] {
        let dir = c.bundle().save();
        let out = c.rt_cmd(&["--log", path, "--debug", "run", "-b", &dir, ID]).run().ok();
        assert!(out.err().contains("level=debug"), "{path}: {}", out.err());
    }
}

fn log_that_is_a_fifo_is_not_waited_for(c: &Case) {
    let mut b = c.bundle();
    let fifo = b.rootfs("fifo");
    sys::mkfifo(&fifo);
    let dir = b.args(&["/bin/echo", "hello"]).save();
    let log = fifo.to_string_lossy().into_owned();
    // Nobody reads: that is an error.
    c.rt_cmd(&["--log", &log, "--debug", "run", "-b", &dir, ID]).run().fails("ENXIO");
    c.nothing_left();
    // Somebody has it open and reads nothing, and it is full but for a few bytes.
    let mut options = fs::OpenOptions::new();
    let reader = options.read(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
    let writer = fs::OpenOptions::new().append(true).open(&fifo).unwrap();
    fill(writer.into());
    for args in [&["run", "-b", &dir, ID][..], &["state", "nobody"]] {
        let out = c.rt_cmd(&["--log", &log, "--debug"]).args(args).run();
        assert!(!out.timed_out, "{}", out.how());
        assert_eq!(out.code == Some(0), args[0] == "run", "{}", out.err());
    }
    assert!(sys::unread(reader.as_fd()) > 0);
    c.nothing_left();
}

/// Writes until there is no room.
fn fill(pipe: OwnedFd) {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    // Not less than what is written as a whole, then byte by byte.
    for size in [4096, 1] {
        while nix::unistd::write(&pipe, &vec![b'x'; size]).is_ok() {}
    }
    assert!(pipe.as_raw_fd() >= 0);
}

fn pid_file_replaces_a_link(c: &Case) {
    let canary = c.canary("canary");
    let mut b = c.bundle();
    let dir = b.args(&["/probe", "sleep"]).save();
    for target in ["file", "new"] {
        let target = canary.dir.join(target).to_string_lossy().into_owned();
        for file in traps(&b, &target) {
            c.rt(&["create", "-b", &dir, "--pid-file", &file, ID]).ok();
            assert_eq!(fs::read_to_string(&file).unwrap(), c.pid().to_string());
            assert!(!fs::symlink_metadata(&file).unwrap().is_symlink());
            c.rt(&["start", ID]).ok();
            fs::remove_file(&file).unwrap();
            symlink(&target, &file).unwrap();
            c.rt(&["exec", "-d", "--pid-file", &file, ID, "/probe", "sleep"]).ok();
            assert!(!fs::symlink_metadata(&file).unwrap().is_symlink());
            c.down();
            fs::remove_file(&file).unwrap();
            canary.untouched();
        }
    }
    // A directory, and a FIFO that nobody opens, in its place.
    sys::mkfifo(&b.rootfs("fifo"));
    let fifo = b.rootfs("fifo").to_string_lossy().into_owned();
    c.rt(&["create", "-b", &dir, "--pid-file", &fifo, ID]).ok();
    assert_eq!(fs::read_to_string(&fifo).unwrap(), c.pid().to_string());
    c.down();
    let directory = b.rootfs("var").to_string_lossy().into_owned();
    c.rt(&["create", "-b", &dir, "--pid-file", &directory, ID]).fails("pid file");
    c.nothing_left();
}

fn console_socket_does_not_follow_a_link(c: &Case) {
    let socket = c.path_str("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut b = c.bundle();
    b.set("/process/terminal", json!(true)).args(&["/probe", "sleep"]);
    let dir = b.save();
    let mut other = c.named_bundle("other");
    other.set("/linux/cgroupsPath", json!(c.cgroups_path("other")));
    let other = other.args(&["/probe", "sleep"]).save();
    c.rt(&["run", "-d", "-b", &other, "other"]).ok();
    for trap in traps(&b, &socket) {
        for args in [
            &["create", "-b", &dir, "--console-socket", &trap, ID][..],
            &["run", "-d", "-b", &dir, "--console-socket", &trap, ID],
            &["exec", "-d", "-t", "--console-socket", &trap, "other", "/probe", "sleep"],
            &["exec", "-d", "--pidfd-socket", &trap, "other", "/probe", "sleep"],
        ] {
            c.rt(args).fails("it is a symbolic link");
            assert!(listener.accept().is_err(), "{args:?}: somebody has connected");
        }
    }
    // What it says itself it gets.
    let created = c.rt_cmd(&["create", "-b", &dir, "--console-socket", &socket, ID]).spawn();
    wait_until("somebody connects", || listener.accept().is_ok());
    created.wait();
    c.rt(&["delete", "--force", ID]).ok();
    c.rt(&["delete", "--force", "other"]).ok();
    c.nothing_left();
}
