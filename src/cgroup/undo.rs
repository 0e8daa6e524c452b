//! What the files of a cgroup had before they were changed, to be written back.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use super::files;
use crate::error::errno_text;
use crate::model::cgroup::{Otherwise, Setting};

/// What a setting changes.
#[derive(Debug)]
pub(super) struct Target<'a> {
    /// Whichever of its files there is.
    pub(super) file: &'a str,
    /// What is written to it.
    pub(super) value: &'a str,
    /// What it has now, as it can be written back.
    before: Option<Vec<String>>,
}

/// One file, and what has to be written to it, call by call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Before {
    file: String,
    lines: Vec<String>,
}

impl Before {
    /// Writes it back.
    pub(super) fn write(&self, dir: BorrowedFd<'_>) {
        let write = |line: &String| files::write(dir, &self.file, line);
        if let Err(errno) = self.lines.iter().try_for_each(write) {
            tracing::warn!("{} cannot be set back: {}", self.file, errno_text(errno));
        }
    }
}

impl<'a> Target<'a> {
    /// Finds it; `None` where there is nothing to write.
    pub(super) fn of(dir: BorrowedFd<'_>, setting: &'a Setting) -> Result<Option<Self>, Errno> {
        let (file, value) = (setting.file.as_str(), setting.value.as_str());
        let found = |file, value, before| Some(Target { file, value, before });
        match (previous(dir, file, value), &setting.otherwise) {
            (Err(Errno::ENOENT), Otherwise::Skip) => Ok(None),
            (Err(Errno::ENOENT), Otherwise::Write { file, value }) => {
                previous(dir, file, value).map(|before| found(file, value, before))
            }
            (before, _) => before.map(|before| found(file, value, before)),
        }
    }

    /// Whether that is there already.
    pub(super) fn is_there(&self) -> bool {
        self.before.as_deref() == Some(&[self.value.to_owned()])
    }

    /// What is there now. It is written back in the opposite order: the kernel forgets the weight
    /// of a cgroup that becomes idle, and takes it only for one that is not.
    pub(super) fn before(&self, dir: BorrowedFd<'_>) -> Vec<Before> {
        let mut all = Vec::new();
        if self.file == "cpu.idle"
            && let Ok(weight) = files::read_short(dir, "cpu.weight")
            && weight.trim() != "0"
        {
            let lines = vec![weight.trim().to_owned()];
            all.push(Before { file: "cpu.weight".to_owned(), lines });
        }
        if let Some(lines) = self.before.clone() {
            all.push(Before { file: self.file.to_owned(), lines });
        }
        all
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
    let is_keyed = is_device(key)
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

/// `8:0`, and not the stride of a cpuset, `0-15:2/4`.
fn is_device(key: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    key.split_once(':').is_some_and(|(major, minor)| is_number(major) && is_number(minor))
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
            ("cpuset.cpus", "0-7\n", "0-15:2/4", "0-7"),
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
