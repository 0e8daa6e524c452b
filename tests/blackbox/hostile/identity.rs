//! Rows 118 to 125: ids and what is on disk.

use crate::support::cmd::Cmd;
use crate::support::{Case, ID, sys, worker};
use crate::tests;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

tests! {
    ids_that_lead_elsewhere_are_refused_by_delete,
    truncated_state,
    state_directory_that_is_a_symlink,
    empty_state_directory,
    killed_init_is_stopped_and_a_stranger_lives,
    pid_used_again_within_one_clock_tick_is_told_apart,
}

fn ids_that_lead_elsewhere_are_refused_by_delete(c: &Case) {
    let foreign = c.dir.join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("file"), "x").unwrap();
    for id in ["..", ".", "", "../foreign", "./../foreign", "a/../../foreign"] {
        c.rt(&["delete", "--force", "--", id]).fails("invalid container ID format");
    }
    assert!(foreign.join("file").exists() && c.state.exists());
    fs::remove_dir_all(foreign).unwrap();
}

fn truncated_state(c: &Case) {
    for length in [0, 1, 30] {
        c.create(&c.bundle()).ok();
        let file = c.state.join(ID).join("state.json");
        let text = fs::read(&file).unwrap();
        fs::write(&file, &text[..length.min(text.len() - 2)]).unwrap();
        c.rt(&["state", ID]).fails("");
        c.rt(&["list"]).ok();
        c.rt(&["delete", "--force", ID]).ok();
        assert!(!c.state.join(ID).exists());
        // Nothing on disk says any more which cgroup it was in.
        c.reset_cgroup();
        c.nothing_left();
    }
}

fn state_directory_that_is_a_symlink(c: &Case) {
    let canary = c.canary("canary");
    symlink(&canary.dir, c.state.join(ID)).unwrap();
    let _ = c.rt(&["delete", "--force", ID]);
    canary.untouched();
    c.rt(&["state", ID]).fails("");
    let _ = c.create(&c.bundle());
    canary.untouched();
    c.rt(&["delete", "--force", ID]).ok();
    let _ = fs::remove_file(c.state.join(ID));
}

fn empty_state_directory(c: &Case) {
    fs::create_dir(c.state.join(ID)).unwrap();
    c.create(&c.bundle()).fails("exist");
    c.rt(&["delete", "--force", ID]).ok();
    c.nothing_left();
    c.run(&c.bundle()).ok();
}

fn killed_init_is_stopped_and_a_stranger_lives(c: &Case) {
    stranger_with_the_pid_of_init(c, Duration::from_millis(30));
}

fn pid_used_again_within_one_clock_tick_is_told_apart(c: &Case) {
    // The start time counts ticks of 10 ms; the inode of a pidfd is unique.
    let pidfd = sys::pidfd_open(std::process::id() as i32).expect("pidfd_open");
    let kind = nix::sys::statfs::fstatfs(&pidfd).expect("fstatfs").filesystem_type().0;
    // PID_FS_MAGIC, include/uapi/linux/magic.h
    if kind != 0x5049_4446 {
        worker::skip("needs pidfs, Linux 6.9");
    }
    for _ in 0..5 {
        stranger_with_the_pid_of_init(c, Duration::ZERO);
    }
}

/// Kills init, gives its pid to another process, and deletes the container.
fn stranger_with_the_pid_of_init(c: &Case, pause: Duration) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    let pid = c.pid();
    sys::kill(pid, libc::SIGKILL).unwrap();
    c.wait_for_status("stopped");
    // Longer than a clock tick, in which start times are counted.
    std::thread::sleep(pause);
    let stranger = (0..200).find_map(|_| {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).ok()?;
        let child = Cmd::new(&["/bin/sleep", "1000"]).spawn();
        if child.pid == pid {
            return Some(child);
        }
        child.kill(libc::SIGKILL);
        child.wait();
        None
    });
    let Some(stranger) = stranger else {
        c.down();
        worker::skip("the pid could not be used again");
    };
    assert_eq!(c.status(), "stopped");
    c.rt(&["kill", ID, "KILL"]).fails("container not running");
    c.rt(&["delete", "--force", ID]).ok();
    assert!(fs::exists(format!("/proc/{pid}")).unwrap(), "the stranger was killed");
    stranger.kill(libc::SIGKILL);
    assert_eq!(stranger.wait().signal, Some(libc::SIGKILL));
}
