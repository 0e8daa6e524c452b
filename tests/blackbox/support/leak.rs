//! What a test finds before and after: processes, mounts, cgroups, files.

use super::{Case, isolate, suite, sys};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

pub struct Fingerprint {
    mounts: BTreeSet<String>,
    shm: BTreeSet<String>,
}

impl Fingerprint {
    pub fn take(_case: &Case) -> Fingerprint {
        Fingerprint { mounts: mounts(), shm: names(Path::new("/dev/shm")) }
    }

    /// Cleans up and says what had to be cleaned. After a failed test nobody is blamed:
    /// the test stopped half-way.
    pub fn compare(&self, case: &Case, failed: bool) -> Vec<String> {
        let mut left = processes();
        left.extend(cgroups(case));
        left.extend(self.new_mounts());
        left.extend(files(case));
        let shm = names(Path::new("/dev/shm"));
        left.extend(shm.difference(&self.shm).map(|name| format!("/dev/shm/{name}")));
        if failed { Vec::new() } else { left }
    }

    fn new_mounts(&self) -> Vec<String> {
        let now = mounts();
        let changed = now.symmetric_difference(&self.mounts);
        changed.map(|line| format!("a mount that came, went or changed: {line}")).collect()
    }
}

/// This process' mount table, without the ids that differ between namespaces. On a machine that is used
/// as it is (RT_TEST_HOST), systemd mounts credentials for services that timers start.
fn mounts() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("read mountinfo");
    let lines = table.lines().map(|l| l.splitn(3, ' ').nth(2).unwrap_or(l).to_string());
    let of_systemd = |line: &String| suite::on_host() && line.contains(" /run/credentials/");
    lines.filter(|line| !of_systemd(line)).collect()
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

/// Reaps the dead, then finds and ends the living: those who sleep at 150 looks in a row. Who is about to
/// end has something to do, and does not sleep, however long it waits for a processor.
fn processes() -> Vec<String> {
    let mut left = Vec::new();
    let mut looks = 0;
    loop {
        match sys::wait4(-1, libc::WNOHANG) {
            Ok((0, ..)) if looks < 150 => {
                let asleep = descendants().into_iter().all(sleeps);
                looks = if asleep { looks + 1 } else { 0 };
                std::thread::sleep(Duration::from_millis(2));
            }
            Ok((0, ..)) => {
                for pid in children() {
                    left.push(format!("process {pid} {}", command_of(pid)));
                    let _ = sys::kill(pid, libc::SIGKILL);
                }
                let _ = sys::wait4(-1, 0);
            }
            Ok(_) => {}
            Err(_) => return left,
        }
    }
}

/// In an interruptible sleep or stopped, and not killed.
fn sleeps(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let value = |key| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let killed = ["SigPnd:", "ShdPnd:"].into_iter().filter_map(value).any(|mask| {
        u64::from_str_radix(mask, 16).is_ok_and(|mask| mask & 1 << (libc::SIGKILL - 1) != 0)
    });
    !killed && value("State:").is_some_and(|state| state.starts_with(['S', 'T', 't']))
}

fn descendants() -> Vec<i32> {
    let mut all = children();
    let mut next = 0;
    while let Some(pid) = all.get(next) {
        all.extend(children_of(*pid));
        next += 1;
    }
    all
}

pub fn children() -> Vec<i32> {
    children_of(std::process::id() as i32)
}

fn children_of(pid: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|p| p.parse().ok()).collect()
}

fn command_of(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    format!("{} [{}]", String::from_utf8_lossy(&line).replace('\0', " "), stat.trim())
}

fn cgroups(case: &Case) -> Vec<String> {
    let Some(dir) = case.cgroup_dir() else { return Vec::new() };
    let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
    let left: Vec<_> = entries
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .map(|e| format!("cgroup {}", e.path().display()))
        .collect();
    if let Err(error) = isolate::remove_cgroup(&dir) {
        eprintln!("cannot remove {}: {error}", dir.display());
    }
    left
}

/// State directories, and files that appeared beside the ones the test made.
fn files(case: &Case) -> Vec<String> {
    let mut left: Vec<String> = names(&case.state)
        .into_iter()
        .map(|n| format!("state {}/{n}", case.state.display()))
        .collect();
    for bundle in names(&case.dir.join("bundles")) {
        let dir = case.dir.join("bundles").join(&bundle);
        let known = ["config.json", "rootfs", "canary"];
        let strange = names(&dir).into_iter().filter(|n| !known.contains(&n.as_str()));
        left.extend(strange.map(|n| format!("file {}/{n}", dir.display())));
    }
    left
}
