//! Things the probe does until something happens to it.

use crate::support::sys;
use nix::sys::signal::{SigSet, Signal};
use std::io::Write;

/// Sleeps until killed. As pid 1 of a namespace only SIGKILL ends it.
pub fn forever() {
    loop {
        // SAFETY: no arguments.
        unsafe { libc::pause() };
    }
}

/// Says `ready`, then the number of each signal that arrives; ends after the one named.
pub fn signals(args: &[&str]) {
    let last: i32 = args.first().map_or(0, |a| a.parse().expect("a signal number"));
    let all = SigSet::all();
    all.thread_block().expect("block signals");
    println!("ready");
    let _ = std::io::stdout().flush();
    loop {
        let mut signal = 0;
        // sigwait by hand: nix has no names for real-time signals.
        // SAFETY: both pointers are to live variables.
        let rc = unsafe { libc::sigwait(all.as_ref(), &mut signal) };
        assert_eq!(rc, 0, "sigwait");
        println!("{signal}");
        let _ = std::io::stdout().flush();
        if signal == last {
            return;
        }
    }
}

/// Kills itself with a signal, as a process that is not pid 1 would be killed.
pub fn die(signal: &str) {
    let signal: i32 = signal.parse().expect("a signal number");
    // SAFETY: no pointers. Rust's own handlers would keep the process alive.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    // SAFETY: no pointers. Not pid 1 here, or a signal that the kernel forces.
    unsafe { libc::raise(signal) };
}

/// Starts children that sleep, says `ready`, sleeps.
pub fn children(args: &[&str]) {
    let count: u32 = args[0].parse().expect("a number");
    for _ in 0..count {
        if sys::fork().expect("fork") == 0 {
            forever();
        }
    }
    println!("ready");
    let _ = std::io::stdout().flush();
    forever();
}

/// Forks until the kernel refuses; says how many were possible.
pub fn forks(limit: &str) {
    let limit: u32 = limit.parse().expect("a number");
    let mut pids = Vec::new();
    for _ in 0..limit {
        match sys::fork() {
            Ok(0) => forever(),
            Ok(pid) => pids.push(pid),
            Err(_) => break,
        }
    }
    println!("{}", pids.len());
    for pid in pids {
        let _ = sys::kill(pid, libc::SIGKILL);
        let _ = sys::wait4(pid, 0);
    }
}

/// Prints the size of the terminal on fd 0 now and after each SIGWINCH.
pub fn window_size() {
    let mut set = SigSet::empty();
    set.add(Signal::SIGWINCH);
    set.thread_block().expect("block SIGWINCH");
    loop {
        // SAFETY: winsize is plain integers.
        let mut size: libc::winsize = unsafe { std::mem::zeroed() };
        // SAFETY: the request fills one winsize.
        unsafe { libc::ioctl(0, libc::TIOCGWINSZ, &mut size) };
        println!("size {}x{}", size.ws_row, size.ws_col);
        let _ = std::io::stdout().flush();
        set.wait().expect("sigwait");
    }
}
