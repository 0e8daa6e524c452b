//! The cgroup of a running container, wherever the driver has put it.

use super::Case;
use std::fs;
use std::path::PathBuf;

pub struct Group(pub PathBuf);

impl Group {
    /// That of the test's container, which must have a first process.
    #[track_caller]
    pub fn of(c: &Case) -> Group {
        Group::of_process(c.pid())
    }

    #[track_caller]
    pub fn of_process(pid: i32) -> Group {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("read its cgroups");
        let path = text.lines().find_map(|line| line.strip_prefix("0::")).expect("a line of v2");
        Group(PathBuf::from("/sys/fs/cgroup").join(path.trim_start_matches('/')))
    }

    pub fn has(&self, file: &str) -> bool {
        self.0.join(file).exists()
    }

    /// The test is skipped, and its container removed, where the cgroup lacks one of these.
    pub fn need(&self, c: &Case, files: &[&str]) {
        if let Some(file) = files.iter().find(|file| !self.has(file)) {
            c.down();
            super::worker::skip(&format!("needs {file} in the container's cgroup"));
        }
    }

    #[track_caller]
    pub fn read(&self, file: &str) -> String {
        let path = self.0.join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        text.trim().to_string()
    }

    #[track_caller]
    pub fn number(&self, file: &str) -> u64 {
        let text = self.read(file);
        text.parse().unwrap_or_else(|_| panic!("{file}: {text:?} is no number"))
    }

    /// The value behind a key: of memory.events, cpu.stat.
    #[track_caller]
    pub fn value(&self, file: &str, key: &str) -> u64 {
        let text = self.read(file);
        let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        found.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{file}: no {key}"))
    }
}
