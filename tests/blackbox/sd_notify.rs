//! `NOTIFY_SOCKET`: the program of a container tells the service manager that it is ready.

use crate::support::cmd::{Cmd, patience};
use crate::support::{Bundle, Case, ID, sys};
use crate::tests;
use serde_json::json;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

tests! {
    program_speaks_to_the_service_manager: rt_only(),
    rt_in_the_foreground_hands_on_what_is_said: rt_only(),
    a_long_state_root_is_no_hindrance: rt_only(),
    program_in_a_user_namespace_speaks_as_well: rt_only().needs(crate::support::Need::UserNamespace),
    detached_program_becomes_the_main_process: rt_only(),
    start_does_not_wait_for_the_program: rt_only(),
    socket_of_an_engine_is_left_alone: rt_only(),
    without_a_socket_there_is_a_warning: rt_only(),
    manager_that_is_gone_hinders_nothing: rt_only(),
    ordinary_users_program_speaks: rootless().rt_only(),
}

/// What systemd listens on.
struct Manager {
    socket: UnixDatagram,
    path: String,
}

impl Manager {
    fn listen(c: &Case) -> Manager {
        let path = c.path_str("notify");
        let socket = UnixDatagram::bind(&path).expect("bind the socket");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("chmod");
        Manager { socket, path }
    }

    fn rt(&self, c: &Case, args: &[&str]) -> Cmd {
        c.rt_cmd(args).env("NOTIFY_SOCKET", &self.path)
    }

    #[track_caller]
    fn hears(&self) -> String {
        assert!(sys::readable(self.socket.as_fd(), patience()), "nothing was said");
        let mut text = [0; 4096];
        let length = self.socket.recv(&mut text).expect("receive");
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    fn hears_nothing(&self) -> bool {
        !sys::readable(self.socket.as_fd(), Duration::ZERO)
    }
}

/// Says that it is ready, over the socket in its environment.
fn speaker(c: &Case) -> Bundle {
    let mut b = c.bundle();
    b.mount("/run", "tmpfs", "tmpfs", &["mode=755"]);
    b.args(&["/probe", "notify", "READY=1"]);
    b
}

fn program_speaks_to_the_service_manager(c: &Case) {
    let manager = Manager::listen(c);
    let b = speaker(c);
    manager.rt(c, &["run", "-b", &b.save(), ID]).run().ok();
    assert_eq!(manager.hears(), "READY=1");
    // Whoever started rt has it as the main process, and so it stays.
    assert!(manager.hears_nothing());
    c.nothing_left();
}

fn rt_in_the_foreground_hands_on_what_is_said(c: &Case) {
    let manager = Manager::listen(c);
    let mut b = speaker(c);
    let said = "READY=1\nMAINPID=1\nSTATUS=it works\n";
    b.args(&["/probe", "notify", said, "stay"]);
    let run = manager.rt(c, &["run", "-b", &b.save(), ID]).spawn();
    assert_eq!(manager.hears(), "READY=1\nSTATUS=it works", "1 is another process outside");
    // Later as well, and from other processes; a message that is only about the inside is none.
    let say = |text: &str| {
        let env = "NOTIFY_SOCKET=/run/notify/notify.sock";
        c.rt_cmd(&["exec", "--env", env, ID, "/probe", "notify", text]).run().ok()
    };
    say("FDSTORE=1");
    say("WATCHDOG=1");
    assert_eq!(manager.hears(), "WATCHDOG=1");
    assert!(manager.hears_nothing());
    c.rt(&["kill", ID, "KILL"]).ok();
    run.wait().exits(137);
    c.nothing_left();
}

fn a_long_state_root_is_no_hindrance(c: &Case) {
    let manager = Manager::listen(c);
    let root = c.state.join("r".repeat(200));
    let (root, dir) = (root.to_string_lossy(), speaker(c).save());
    let rt = c.bare_cmd(&["--root", &root, "run", "-b", &dir, &"i".repeat(60)]);
    rt.env("NOTIFY_SOCKET", &manager.path).run().ok();
    assert_eq!(manager.hears(), "READY=1");
    fs::remove_dir(&*root).unwrap();
    c.nothing_left();
}

fn program_in_a_user_namespace_speaks_as_well(c: &Case) {
    let manager = Manager::listen(c);
    let mut b = speaker(c);
    manager.rt(c, &["run", "-b", &b.user_namespace().save(), ID]).run().ok();
    assert_eq!(manager.hears(), "READY=1");
}

fn detached_program_becomes_the_main_process(c: &Case) {
    let manager = Manager::listen(c);
    let mut b = speaker(c);
    b.args(&["/probe", "notify", "READY=1", "stay"]);
    manager.rt(c, &["run", "-d", "-b", &b.save(), ID]).run().ok();
    assert_eq!(manager.hears(), format!("MAINPID={}", c.pid()));
    assert_eq!(manager.hears(), "READY=1");
    c.down();
}

fn start_does_not_wait_for_the_program(c: &Case) {
    let manager = Manager::listen(c);
    let mut b = speaker(c);
    // It never says that it is ready.
    manager.rt(c, &["create", "-b", &b.args(&["/probe", "sleep"]).save(), ID]).run().ok();
    assert!(manager.hears_nothing());
    manager.rt(c, &["start", ID]).run().ok();
    assert_eq!(manager.hears(), format!("MAINPID={}", c.pid()));
    let seen = c.exec(&["/bin/sh", "-c", "test -S /run/notify/notify.sock && echo there"]);
    assert_eq!(seen.ok().out(), "there\n");
    c.down();
}

fn socket_of_an_engine_is_left_alone(c: &Case) {
    let manager = Manager::listen(c);
    let mut b = c.bundle();
    b.push("/process/env", json!("NOTIFY_SOCKET=/of/the/engine")).args(&["/probe", "see"]);
    let seen = manager.rt(c, &["run", "-b", &b.save(), ID]).run().ok().json();
    assert!(seen["env"].as_array().unwrap().contains(&json!("NOTIFY_SOCKET=/of/the/engine")));
    assert!(seen["mounts"]["/run/notify/notify.sock"].is_null());
    b.args(&["/probe", "sleep"]);
    manager.rt(c, &["run", "-d", "-b", &b.save(), ID]).run().ok();
    assert!(manager.hears_nothing());
    c.down();
}

fn without_a_socket_there_is_a_warning(c: &Case) {
    let mut b = c.bundle();
    for bad in ["@abstract", "/no/such/socket", "relative"] {
        let dir = b.args(&["/probe", "see"]).save();
        let out = c.rt_cmd(&["run", "-b", &dir, ID]).env("NOTIFY_SOCKET", bad).run().ok();
        assert!(out.err().contains(&format!("NOTIFY_SOCKET={bad}")), "{}", out.err());
        let env = out.json()["env"].to_string();
        assert!(!env.contains("NOTIFY_SOCKET"), "{env}");
    }
    c.nothing_left();
}

fn manager_that_is_gone_hinders_nothing(c: &Case) {
    let manager = Manager::listen(c);
    let mut b = speaker(c);
    let dir = b.args(&["/probe", "sleep"]).save();
    let (run, path) = (manager.rt(c, &["run", "-d", "-b", &dir, ID]), manager.path.clone());
    drop(manager);
    let out = run.run().ok();
    assert!(out.err().contains(&path), "{}", out.err());
    assert_eq!(c.status(), "running");
    c.down();
}

fn ordinary_users_program_speaks(c: &Case) {
    let manager = Manager::listen(c);
    manager.rt(c, &["run", "-b", &speaker(c).save(), ID]).run().ok();
    assert_eq!(manager.hears(), "READY=1");
}
