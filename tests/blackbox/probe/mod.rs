//! The program inside the container: `/probe WHAT [ARGS...]`.
//!
//! `see` prints one JSON object with everything a process can find out about itself; the
//! other words do one thing each (open, call, listen, wait for signals, ...) and print how
//! it went. It is this same static binary, started under the name `probe`.

mod act;
mod older;
mod pretend;
mod see;
mod wait;
mod watch;

use std::process::ExitCode;

pub fn main(args: &[String]) -> ExitCode {
    let Some((what, rest)) = args.split_first() else {
        eprintln!("usage: probe WHAT [ARGS...]");
        return ExitCode::from(2);
    };
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    match what.as_str() {
        "see" => println!("{}", see::all()),
        "see-to" => std::fs::write(rest[0], see::all().to_string()).expect("write"),
        "exit" => return ExitCode::from(rest[0].parse::<u8>().expect("a code")),
        "exe" => act::read_exe(rest[0]),
        "open" => act::open(&rest),
        "write" => act::write(rest[0], rest[1]),
        "mknod" => act::mknod(&rest),
        "stat" => act::stat(&rest),
        "tamper" => act::tamper(&rest),
        "xattrs" => act::xattrs(&rest),
        "call" => act::call(&rest),
        "mount-proc" => act::mount_proc(),
        "hook" => act::hook(rest[0]),
        "notify" => act::notify(rest[0], rest.get(1) == Some(&"stay")),
        "die" => wait::die(rest[0]),
        "sleep" => wait::forever(),
        "signals" => wait::signals(&rest),
        "children" => wait::children(&rest),
        "size" => wait::window_size(),
        "peer-fds" => act::peer_fds(),
        "as-user" => pretend::as_user(&rest),
        "exchange" => pretend::exchange(rest[0], rest[1]),
        "labels" => return ExitCode::from(pretend::labels(&rest)),
        "refuse" => older::refuse(&rest),
        "steal" => watch::steal(),
        "watch" => watch::watch(rest[0], rest[1]),
        "peer-roots" => act::peer_roots(rest[0]),
        "memory" => act::memory(rest[0]),
        "hold" => act::hold(rest[0]),
        "write-direct" => act::write_direct(rest[0], rest[1]),
        "forks" => wait::forks(rest[0]),
        _ => {
            eprintln!("probe: no {what}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// `0` or the name of the errno.
pub fn outcome(rc: i64) -> String {
    if rc >= 0 { "ok".to_string() } else { nix::errno::Errno::last().to_string_name() }
}

trait ErrnoName {
    fn to_string_name(self) -> String;
}

impl ErrnoName for nix::errno::Errno {
    fn to_string_name(self) -> String {
        format!("{self:?}")
    }
}
