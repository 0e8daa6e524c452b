//! Other limits for a container that runs: all of them or none.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use super::controllers::Controllers;
use super::devices::{self, Replaced};
use super::systemd::{self, UnitRecord};
use super::{Cgroup, files, setting, shrink};
use crate::error::{Doing, Error, Result, errno_text};
use crate::host::cgroup::Tree;
use crate::plan::field::Field;
use crate::plan::resources::update::{Change, CpuNow};
use crate::plan::resources::{DeviceRule, Otherwise, Setting};

/// What the kernel has, for what depends on it.
pub fn cpu_now(cgroup: &Cgroup) -> Result<CpuNow> {
    let read = |file: &str| match files::read_short(cgroup.dir(), file) {
        // Without the controller there is nothing to depend on.
        Err(Errno::ENOENT) => Ok(None),
        other => other.map(Some).doing(|| format!("read {file} of cgroup /{}", cgroup.path())),
    };
    let mut now = CpuNow::default();
    if let Some(max) = read("cpu.max")? {
        let mut words = max.split_whitespace();
        now.quota = words.next().and_then(|word| word.parse().ok()).unwrap_or(-1);
        now.period = words.next().and_then(|word| word.parse().ok()).unwrap_or(now.period);
    }
    now.burst = read("cpu.max.burst")?.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    now.idle = read("cpu.idle")?.is_some_and(|text| text.trim() == "1");
    Ok(now)
}

/// What was changed, so that it can be taken back.
#[derive(Debug)]
pub struct Applied<'a> {
    cgroup: &'a Cgroup,
    done: Vec<Done>,
    /// What systemd has been told.
    told: Option<(&'a UnitRecord, Vec<Setting>)>,
}

#[derive(Debug)]
enum Done {
    /// A file, and what has to be written to it, call by call.
    Written(String, Vec<String>),
    Guarded(Replaced),
}

/// Changes the limits of a container. If one of them cannot be changed, the others are
/// again what they were.
pub fn apply<'a>(cgroup: &'a Cgroup, change: &Change) -> Result<Applied<'a>> {
    let mut applied = Applied { cgroup, done: Vec::new(), told: None };
    // Memory is the last of the settings: what was reclaimed for it does not come back.
    let at = change.settings.iter().position(|setting| setting.file == "memory.max");
    let (first, memory) = change.settings.split_at(at.unwrap_or(change.settings.len()));
    let all = first
        .iter()
        .try_for_each(|setting| applied.write(setting, None))
        .and_then(|()| change.devices.iter().try_for_each(|rules| applied.guard(rules)))
        .and_then(|()| memory.iter().try_for_each(|setting| applied.write(setting, Some(change))));
    match all {
        Ok(()) => Ok(applied),
        Err(error) => {
            applied.take_back();
            Err(error)
        }
    }
}

impl<'a> Applied<'a> {
    /// systemd has been told of these settings, and has to be told again if they are taken
    /// back.
    pub(super) fn with_unit(self, unit: &'a UnitRecord, settings: Vec<Setting>) -> Self {
        Applied { told: Some((unit, settings)), ..self }
    }

    fn write(&mut self, setting: &Setting, memory: Option<&Change>) -> Result<()> {
        let dir = self.cgroup.dir();
        let refused = |errno: Errno| self.refused(setting, errno);
        let (mut file, mut value) = (setting.file.as_str(), setting.value.as_str());
        let before = match (previous(dir, file, value), &setting.otherwise) {
            (Err(Errno::ENOENT), Otherwise::Skip) => return Ok(()),
            (Err(Errno::ENOENT), Otherwise::Write { file: other, value: scaled }) => {
                (file, value) = (other, scaled);
                previous(dir, file, value)
            }
            (before, _) => before,
        };
        let before = before.map_err(refused)?;
        if before.as_deref() == Some(&[value.to_owned()]) {
            return Ok(());
        }
        let limit: Option<u64> = value.parse().ok();
        let slowed = match (memory, limit) {
            (Some(change), Some(limit)) => {
                Some(shrink::make_room(dir, limit, change.check.as_ref())?)
            }
            _ => None,
        };
        files::write(dir, file, value).map_err(refused)?;
        drop(slowed);
        if let Some(before) = before {
            self.done.push(Done::Written(file.to_owned(), before));
        }
        Ok(())
    }

    fn refused(&self, setting: &Setting, errno: Errno) -> Error {
        let path = self.cgroup.path();
        let controllers = match Tree::open() {
            Ok(tree) if errno == Errno::ENOENT => Controllers::read(&tree.root, path),
            _ => Controllers::default(),
        };
        setting::refused(path, setting, errno, &controllers)
    }

    fn guard(&mut self, rules: &[DeviceRule]) -> Result<()> {
        let replaced = devices::replace(self.cgroup.dir(), rules).map_err(|errno| {
            let text = format!("guard the devices of cgroup /{} anew", self.cgroup.path());
            let error = Error::new(text).errno(errno).field(&Field::of("devices"));
            match errno {
                Errno::ENOTUNIQ => error.hint("somebody else has attached a device program too"),
                Errno::EPERM => error.hint("this needs CAP_BPF or CAP_SYS_ADMIN"),
                _ => error,
            }
        })?;
        self.done.push(Done::Guarded(replaced));
        Ok(())
    }

    /// Undoes everything, last change first. The reason is the error that counts.
    pub fn take_back(self) {
        let dir = self.cgroup.dir();
        for done in self.done.into_iter().rev() {
            let (what, answer) = match &done {
                Done::Written(file, lines) => {
                    let write = |line: &String| files::write(dir, file, line);
                    (file.as_str(), lines.iter().try_for_each(write))
                }
                Done::Guarded(replaced) => ("the device rules", replaced.take_back(dir)),
            };
            if let Err(errno) = answer {
                tracing::warn!("{what} cannot be set back: {}", errno_text(errno));
            }
        }
        if let Some((unit, settings)) = &self.told
            && let Err(error) = systemd::update::tell(unit, self.cgroup, settings)
        {
            tracing::warn!("systemd cannot be told what is in force again: {error}");
        }
    }
}

/// What has to be written to get back to what is there now; `None` for a file that cannot
/// be read, as those that do something once cannot.
fn previous(dir: BorrowedFd<'_>, file: &str, value: &str) -> Result<Option<Vec<String>>, Errno> {
    match files::read(dir, file) {
        Ok(text) => Ok(Some(lines_back(file, &text, value))),
        Err(Errno::EACCES | Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Of a file with a line for each device or resource, only the line that `value` changes is
/// written back (cgroup-v2.rst, "Format").
fn lines_back(file: &str, text: &str, value: &str) -> Vec<String> {
    let key = value.split_whitespace().next().unwrap_or_default();
    let is_keyed = key.contains(':')
        || ["rdma.max", "misc.max", "dmem.max", "dmem.low", "dmem.min"].contains(&file);
    if !is_keyed {
        // A weight is shown behind a word, above those of the devices.
        let line = text.lines().find(|line| line.starts_with("default ")).unwrap_or(text.trim());
        // An empty list is written as an empty line: no byte at all would be no call.
        return vec![if line.is_empty() { "\n".to_owned() } else { line.to_owned() }];
    }
    let found = text.lines().find(|line| line.split_whitespace().next() == Some(key));
    vec![match (found, file) {
        (Some(line), _) => line.to_owned(),
        // What is not listed has no limit.
        (None, "io.max") => format!("{key} rbps=max wbps=max riops=max wiops=max"),
        (None, "io.latency") => format!("{key} target=0"),
        (None, "rdma.max") => format!("{key} hca_handle=max hca_object=max"),
        (None, "misc.max" | "dmem.max") => format!("{key} max"),
        (None, "dmem.low" | "dmem.min") => format!("{key} 0"),
        (None, _) => format!("{key} default"),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_back() {
        for (file, text, value, back) in [
            ("memory.max", "max\n", "100", "max"),
            ("cpu.max", "max 100000\n", "5 6", "max 100000"),
            ("cpuset.cpus", "\n", "0", "\n"),
            ("io.weight", "default 100\n8:0 5\n", "7", "default 100"),
            ("io.weight", "default 100\n8:0 5\n", "8:0 7", "8:0 5"),
            ("io.bfq.weight", "default 100\n", "8:0 7", "8:0 default"),
            ("io.max", "", "8:0 rbps=1", "8:0 rbps=max wbps=max riops=max wiops=max"),
            (
                "io.max",
                "8:16 rbps=3 wbps=max riops=max wiops=max\n",
                "8:16 rbps=1",
                "8:16 rbps=3 wbps=max riops=max wiops=max",
            ),
            (
                "rdma.max",
                "mlx hca_handle=3 hca_object=max\n",
                "mlx hca_object=2",
                "mlx hca_handle=3 hca_object=max",
            ),
            ("rdma.max", "", "mlx hca_object=2", "mlx hca_handle=max hca_object=max"),
        ] {
            assert_eq!(lines_back(file, text, value), [back], "{file} {value}");
        }
    }
}
