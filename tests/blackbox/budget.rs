//! What one standard `run` and `exec` may cost, in counts that do not depend on the machine.
//! The ceilings only ever go down, unless safety costs more.

use crate::support::cmd::Cmd;
use crate::support::{Case, ID, Need};
use crate::tests;
use std::fs;

tests! {
    run_stays_in_its_budget: needs(Need::Tool("strace")).rt_only(),
    exec_stays_in_its_budget: needs(Need::Tool("strace")).rt_only(),
    the_first_start_is_over_before_the_c_library: needs(Need::Tool("strace")).rt_only(),
    peak_memory_is_small: needs(Need::Tool("time")).rt_only(),
    nothing_stays_resident_after_create: rt_only(),
    binary_is_static: rt_only().anyone(),
}

/// Upper limits of one command with all its processes, the container's `/bin/true` included.
struct Budget {
    syscalls: usize,
    /// clone, clone3, fork, vfork.
    clones: usize,
    /// Of those, threads.
    threads: usize,
    /// execve of the runtime's own binary, after the first one.
    own_execs: usize,
    cgroup_procs_writes: usize,
    bytes_read: usize,
    /// setns calls.
    joins: usize,
}

const RUN: Budget = Budget {
    // Six look at stdio, seven read back what was set.
    syscalls: 580,
    clones: 1,
    threads: 0,
    own_execs: 1,
    cgroup_procs_writes: 0,
    bytes_read: 12 << 10,
    joins: 0,
};

const EXEC: Budget = Budget {
    // Ten of them look at stdio, and at /dev/null of the container before it is stdin; six read back
    // what was set, and two ask for the size of a terminal.
    syscalls: 330,
    // The second one enters the pid namespace, when it has nothing of the host any more.
    clones: 2,
    threads: 0,
    own_execs: 1,
    cgroup_procs_writes: 0,
    bytes_read: 8 << 10,
    joins: 3,
};

/// kB of resident memory at the peak of `rt run`, of a release build.
const PEAK_KB: u64 = 1800;

/// What strace saw, a line for each system call.
fn trace(c: &Case, args: &[&str]) -> String {
    let log = c.path_str("strace");
    let cmd =
        Cmd::new(&["strace", "-f", "-y", "-s", "300", "-o", &log, &c.runtime.to_string_lossy()]);
    cmd.args(&["--root", &c.state.to_string_lossy()]).args(args).run().ok();
    fs::read_to_string(&log).expect("read the trace")
}

/// Counts what strace saw.
fn count(c: &Case, args: &[&str]) -> Budget {
    let text = trace(c, args);
    let own = c.runtime.to_string_lossy().into_owned();
    let mut seen = Budget {
        syscalls: 0,
        clones: 0,
        threads: 0,
        own_execs: 0,
        cgroup_procs_writes: 0,
        bytes_read: 0,
        joins: 0,
    };
    let mut execs = 0;
    for line in text.lines() {
        let line = line.trim_start_matches(|ch: char| ch.is_ascii_digit() || ch == ' ');
        let returned =
            line.rsplit_once(" = ").and_then(|(_, n)| n.split(' ').next()?.parse::<usize>().ok());
        if line.starts_with("<... read resumed>") || line.starts_with("<... pread64 resumed>") {
            seen.bytes_read += returned.unwrap_or(0);
        }
        if line.starts_with(['<', '-', '+']) {
            continue;
        }
        let name = line.split('(').next().unwrap_or_default();
        seen.syscalls += 1;
        match name {
            "clone" | "clone3" | "fork" | "vfork" => {
                seen.clones += 1;
                seen.threads += usize::from(line.contains("CLONE_THREAD"));
            }
            "execve" | "execveat" => {
                let own_path =
                    line.contains(&own) || line.contains("/proc/self/") || line.contains("memfd");
                execs += usize::from(own_path);
            }
            "write" | "pwrite64" => {
                seen.cgroup_procs_writes += usize::from(line.contains("cgroup.procs>"));
            }
            "read" | "pread64" => seen.bytes_read += returned.unwrap_or(0),
            "setns" => seen.joins += 1,
            _ => {}
        }
    }
    seen.own_execs = execs - 1;
    seen
}

#[track_caller]
fn within(what: &str, seen: &Budget, budget: &Budget) {
    let rows = [
        ("system calls", seen.syscalls, budget.syscalls),
        ("clones", seen.clones, budget.clones),
        ("threads", seen.threads, budget.threads),
        ("execs of its own binary", seen.own_execs, budget.own_execs),
        ("writes to cgroup.procs", seen.cgroup_procs_writes, budget.cgroup_procs_writes),
        ("bytes read", seen.bytes_read, budget.bytes_read),
        ("setns", seen.joins, budget.joins),
    ];
    let over: Vec<_> = rows
        .iter()
        .filter(|(_, seen, limit)| seen > limit)
        .map(|(name, seen, limit)| format!("{name}: {seen}, budget {limit}"))
        .collect();
    assert!(over.is_empty(), "{what} is over its budget: {}\nall: {rows:?}", over.join("; "));
}

fn run_stays_in_its_budget(c: &Case) {
    let dir = c.bundle().save();
    within("run", &count(c, &["run", "-b", &dir, ID]), &RUN);
}

fn exec_stays_in_its_budget(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    within("exec", &count(c, &["exec", ID, "/bin/true"]), &EXEC);
    c.down();
}

/// Skips the test unless the runtime was built as it is shipped.
fn only_as_shipped(c: &Case) {
    let binary = fs::read(&c.runtime).expect("read the binary");
    let glibc = binary.windows(13).any(|text| text == b"GNU C Library");
    if glibc || binary.len() > 10 << 20 {
        crate::support::worker::skip("needs a release build for musl");
    }
}

fn the_first_start_is_over_before_the_c_library(c: &Case) {
    only_as_shipped(c);
    let dir = c.bundle().save();
    let text = trace(c, &["run", "-b", &dir, ID]);
    let names = text.lines().filter_map(|line| line.split(' ').find(|word| word.contains('(')));
    let names: Vec<_> = names.filter_map(|word| word.split('(').next()).collect();
    let first = names.iter().skip(1).take_while(|name| **name != "execveat");
    let first: Vec<_> = first.copied().collect();
    assert_eq!(first, ["openat", "fstatfs", "open_tree", "mount_setattr", "fcntl"]);
}

fn peak_memory_is_small(c: &Case) {
    // glibc's own start-up takes half a megabyte more.
    only_as_shipped(c);
    let dir = c.bundle().save();
    let file = c.path_str("time");
    let cmd = Cmd::new(&["time", "-f", "%M", "-o", &file, &c.runtime.to_string_lossy()]);
    cmd.args(&["--root", &c.state.to_string_lossy(), "run", "-b", &dir, ID]).run().ok();
    let peak: u64 = fs::read_to_string(&file).expect("read").trim().parse().expect("a number");
    assert!(peak <= PEAK_KB, "{peak} kB");
}

fn nothing_stays_resident_after_create(c: &Case) {
    c.create(&c.bundle()).ok();
    let pids = crate::support::leak::children();
    assert_eq!(pids, [c.pid()], "init only");
    c.rt(&["start", ID]).ok();
    c.wait_for_status("stopped");
    c.down();
}

fn binary_is_static(c: &Case) {
    let elf = fs::read(&c.runtime).expect("read the binary");
    let number = |at: usize, size: usize| {
        elf[at..at + size].iter().rev().fold(0, |n, b| n << 8 | usize::from(*b))
    };
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let kinds: Vec<_> = (0..count).map(|i| number(table + i * size, 4)).collect();
    assert!(!kinds.contains(&(libc::PT_INTERP as usize)), "it asks for a dynamic loader");
}
