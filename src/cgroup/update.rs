//! Other limits for a container that runs: all of them or none.

use nix::errno::Errno;

use super::controllers::Controllers;
use super::devices::{self, Replaced};
use super::undo::{Before, Target};
use super::{Cgroup, files, reclaim, write};
use crate::diag::field::Field;
use crate::error::{Doing, Error, Result, errno_text};
use crate::host::cgroup::Tree;
use crate::model::cgroup::Setting;
use crate::model::cgroup::{Change, CpuNow};
use crate::model::device_rules::DeviceRule;
use crate::model::kernel_values as kernel;

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
    // That of an idle cgroup is 0.
    now.weight = read("cpu.weight")?.and_then(|text| text.trim().parse().ok()).filter(|w| *w > 0);
    Ok(now)
}

/// What was changed, so that it can be taken back.
#[derive(Debug)]
pub struct Applied<'a> {
    cgroup: &'a Cgroup,
    done: Vec<Done>,
}

#[derive(Debug)]
enum Done {
    Written(Before),
    Guarded(Replaced),
}

/// Changes the limits of a container. If one of them cannot be changed, the others are
/// again what they were.
pub fn apply<'a>(cgroup: &'a Cgroup, change: &Change) -> Result<Applied<'a>> {
    let mut applied = Applied { cgroup, done: Vec::new() };
    // Memory is the last of the settings: what was reclaimed for it does not come back.
    let at = change.settings.iter().position(|setting| setting.file == "memory.max");
    let (first, memory) = change.settings.split_at(at.unwrap_or(change.settings.len()));
    let check = match &change.check {
        // The limit on memory compares when what can go is gone.
        Some(check) if memory.is_empty() => reclaim::compare_swap(cgroup.dir(), check),
        _ => Ok(()),
    };
    let all = check
        .and_then(|()| first.iter().try_for_each(|setting| applied.write(setting, None)))
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
    fn write(&mut self, setting: &Setting, memory: Option<&Change>) -> Result<()> {
        let dir = self.cgroup.dir();
        let refused = |errno: Errno| self.refused(setting, errno);
        let Some(target) = Target::of(dir, setting).map_err(refused)? else { return Ok(()) };
        if target.is_there() {
            return Ok(());
        }
        let limit = kernel::bytes(target.value).filter(|limit| *limit != kernel::MAX);
        let slowed = match (memory, limit) {
            (Some(change), Some(limit)) => {
                Some(reclaim::make_room(dir, limit, change.check.as_ref())?)
            }
            _ => None,
        };
        let before = target.before(dir);
        files::write(dir, target.file, target.value).map_err(refused)?;
        drop(slowed);
        self.done.extend(before.into_iter().map(Done::Written));
        Ok(())
    }

    fn refused(&self, setting: &Setting, errno: Errno) -> Error {
        let path = self.cgroup.path();
        let controllers = match Tree::open() {
            Ok(tree) if errno == Errno::ENOENT => Controllers::read(&tree.root, path),
            _ => Controllers::default(),
        };
        write::refused(path, setting, errno, &controllers)
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
            match done {
                Done::Written(before) => before.write(dir),
                Done::Guarded(replaced) => {
                    if let Err(errno) = replaced.take_back(dir) {
                        let why = errno_text(errno);
                        tracing::warn!("the device rules cannot be set back: {why}");
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::model::cgroup::Otherwise;

    fn setting(file: &str, value: &str) -> Setting {
        let (controller, file, value) = ("cpu".to_owned(), file.to_owned(), value.to_owned());
        Setting { controller, file, value, otherwise: Otherwise::Fail, field: Field::root() }
    }

    fn directory(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("rt-{name}-{}", std::process::id()));
        fs::create_dir(&path).expect("mkdir");
        files.iter().for_each(|(file, text)| fs::write(path.join(file), text).expect("write"));
        path
    }

    /// The kernel makes the weight of an idle cgroup 0, and then the default: it is to be written
    /// back after cpu.idle.
    #[test]
    fn the_weight_of_a_cgroup_that_became_idle_is_written_back() {
        let path = directory("idle", &[("cpu.idle", "0"), ("cpu.weight", "59")]);
        let cgroup = Cgroup::pretended(&path);
        let settings = vec![setting("cpu.idle", "1")];
        let applied = apply(&cgroup, &Change { settings, devices: None, check: None });
        let applied = applied.expect("applied");
        assert_eq!(fs::read_to_string(path.join("cpu.idle")).expect("read"), "1");
        fs::write(path.join("cpu.weight"), "00").expect("what the kernel does");
        applied.take_back();
        let read = |file: &str| fs::read_to_string(path.join(file)).expect("read");
        assert_eq!((read("cpu.idle"), read("cpu.weight")), ("0".to_owned(), "59".to_owned()));
        fs::remove_dir_all(path).expect("removed");
    }

    #[test]
    fn swap_is_compared_also_when_it_alone_is_limited() {
        use crate::model::cgroup::Check;
        let files = [
            ("memory.current", "1000"),
            ("memory.swap.current", "500"),
            ("memory.swap.max", "900"),
        ];
        let path = directory("swap", &files);
        let cgroup = Cgroup::pretended(&path);
        let changed = |value: &str, with_swap, swap| {
            let settings = vec![setting("memory.swap.max", value)];
            let check = Some(Check { with_swap, swap });
            let applied = apply(&cgroup, &Change { settings, devices: None, check });
            applied.map(drop).map_err(|error| error.to_string())
        };
        let read = || fs::read_to_string(path.join("memory.swap.max")).expect("read");
        let error = changed("400", Some(1400), Some(400)).expect_err("more is in use");
        assert!(error.contains("rejecting memory+swap limit 1400 <= usage 1500"), "{error}");
        let error = changed("400", None, Some(400)).expect_err("more is in use");
        assert!(error.contains("rejecting swap limit 400 <= usage 500"), "{error}");
        assert_eq!(read(), "900");
        assert_eq!(changed("600", Some(1600), Some(600)), Ok(()));
        assert_eq!(read(), "600");
        fs::remove_dir_all(path).expect("removed");
    }
}
