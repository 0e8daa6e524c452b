//! Descriptors that the caller hands in, and that are devices which every container has nodes of
//! its own of: nobody inside changes a file of the host's through them.

use crate::host_devices::{HostDev, RIGHTS, of_the_hosts_root};
use crate::support::cmd::Cmd;
use crate::support::{Case, ID, Need};
use crate::tests;
use std::fs::{self, File};
use std::os::fd::OwnedFd;

tests! {
    they_cannot_be_changed: rt_only().needs(Need::UserNamespace),
    they_stay_as_they_were_opened: rt_only(),
}

/// What the caller hands in: at stdio, and as preserved descriptors.
fn handed_in(cmd: Cmd, dev: &HostDev, stdin: &str) -> Cmd {
    let open = |name: &str| {
        let open = File::options().read(true).write(true).open(dev.dir.join(name));
        OwnedFd::from(open.expect("open a device"))
    };
    let cmd = cmd.stdin(open(stdin));
    (3..).zip(COMMON).fold(cmd, |cmd, (fd, name)| cmd.fd(open(name), fd))
}

/// Devices that every container has nodes of its own of.
const COMMON: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
const HANDED_IN: [&str; 8] = ["/probe", "tamper", "0", "3", "4", "5", "6", "7"];

#[track_caller]
fn each_is(said: &str, outcome: &str) {
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 6, "{said}");
    for (line, fd) in lines.iter().zip(["0", "3", "4", "5", "6", "7"]) {
        assert!(line.starts_with(&format!("{fd} {outcome}")), "{said}");
    }
}

/// Its own nodes can be changed, and those of the host on read-only mounts cannot.
fn they_cannot_be_changed(c: &Case) {
    let dev = HostDev::new(c);
    fs::write(c.path("file"), "").unwrap();
    for (own, user) in [(true, false), (false, false), (true, true), (false, true)] {
        let outcome = if own { "ok ok ok" } else { "EROFS EROFS EROFS EROFS" };
        for stdin in COMMON {
            let mut b = c.named_bundle(&format!("{own}-{user}-{stdin}"));
            b.caps(RIGHTS[1]).args(&HANDED_IN);
            if user {
                of_the_hosts_root(&mut b);
            }
            for name in COMMON.into_iter().filter(|_| !own) {
                b.mount(&format!("/dev/{name}"), "bind", &c.path_str("file"), &["bind"]);
            }
            let preserve = ["--preserve-fds", "5", "-b", &b.save(), ID];
            let run = c.rt_cmd(&[&["run"], &preserve[..]].concat());
            each_is(&handed_in(run, &dev, stdin).run().ok().out(), outcome);
            dev.untouched(&format!("run, {stdin}"));
            let create = c.rt_cmd(&[&["create"], &preserve[..]].concat());
            let created = handed_in(create, &dev, stdin).run().ok();
            c.rt(&["start", ID]).ok();
            c.wait_for_status("stopped");
            each_is(&created.out(), outcome);
            c.down();
            dev.untouched(&format!("create, {stdin}"));
            c.up(b.args(&["/probe", "sleep"]));
            let exec = [&["exec", "--preserve-fds", "5", ID], &HANDED_IN[..]].concat();
            each_is(&handed_in(c.rt_cmd(&exec), &dev, stdin).run().ok().out(), outcome);
            c.down();
            dev.untouched(&format!("exec, {stdin}"));
        }
    }
    // Socket activation is another way to hand them in.
    let mut b = c.named_bundle("listen");
    b.caps(RIGHTS[1]).args(&HANDED_IN);
    let run = c.rt_cmd(&["run", "-b", &b.save(), ID]).env("LISTEN_FDS", "5");
    each_is(&handed_in(run, &dev, "zero").run().ok().out(), "ok ok ok");
    dev.untouched("LISTEN_FDS");
    dev.leave();
}

/// They are the same devices, to be read, written and appended to as before. Other files are the
/// caller's.
fn they_stay_as_they_were_opened(c: &Case) {
    let dev = HostDev::new(c);
    fs::write(c.path("file"), "").unwrap();
    for own in [true, false] {
        let mut b = c.named_bundle(&format!("{own}"));
        if !own {
            for name in ["zero", "full"] {
                b.mount(&format!("/dev/{name}"), "bind", &c.path_str("file"), &["bind"]);
            }
        }
        let open = |name: &str, options: &mut fs::OpenOptions| {
            let file = if name == "file" { c.path(name) } else { dev.dir.join(name) };
            OwnedFd::from(options.open(file).expect("open"))
        };
        let flags = "for fd in 0 3 4; do busybox sed -n 's/^flags:[^0-9]*//p' \
            /proc/self/fdinfo/$fd; busybox stat -Lc %t:%T /proc/self/fd/$fd; done";
        let dir = b.sh(&format!("{flags}; head -c 3 | busybox od -An -tx1; echo x >&3")).save();
        let cmd = c.rt_cmd(&["run", "--preserve-fds", "2", "-b", &dir, ID]);
        let cmd = cmd.stdin(open("zero", File::options().read(true)));
        let cmd = cmd.fd(open("full", File::options().append(true)), 3);
        let out = cmd.fd(open("file", File::options().write(true)), 4).run();
        let said = out.out();
        let lines: Vec<_> = said.lines().collect();
        let accesses = [lines[0], lines[2], lines[4]].map(|flags| {
            let flags = i32::from_str_radix(flags, 8).expect("octal");
            flags & (libc::O_ACCMODE | libc::O_APPEND)
        });
        let append = libc::O_WRONLY | libc::O_APPEND;
        assert_eq!(accesses, [libc::O_RDONLY, append, libc::O_WRONLY], "{said}");
        assert_eq!([lines[1], lines[3], lines[5]], ["1:5", "1:7", "0:0"], "{said}");
        assert_eq!(lines[6].trim(), "00 00 00");
        assert!(out.err().contains("No space left"), "/dev/full is full: {}", out.err());
    }
    dev.leave();
}
