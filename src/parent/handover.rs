//! What callers get from a create, run or exec: the pid file.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Doing, Error, Result};

/// A pid file, named before anything changes directory.
#[derive(Debug)]
pub struct PidFile(PathBuf);

impl PidFile {
    /// The file at `path`, which counts from the working directory of now.
    pub fn new(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path);
        path.map(PidFile).doing(|| "find the working directory")
    }

    /// Writes the decimal pid without a newline. The file appears whole or not at all:
    /// engines open it as soon as they see it.
    pub fn write(&self, pid: i32) -> Result<()> {
        let doing = || format!("write the pid file {}", self.0.display());
        let Some(name) = self.0.file_name() else {
            return Err(Error::new(doing()).detail("not the name of a file"));
        };
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        let temporary = self.0.with_file_name(temporary);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o644).custom_flags(libc::O_NOFOLLOW);
        let mut file = options.open(&temporary).doing(doing)?;
        let written = file
            .write_all(pid.to_string().as_bytes())
            .and_then(|()| fs::rename(&temporary, &self.0))
            .doing(doing);
        if written.is_err() {
            // Best effort: the error that counts is the one above.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Takes it back: a pid file without a process means success to conmon.
    pub fn remove(&self) -> Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.doing(|| format!("remove the pid file {}", self.0.display())),
        }
    }
}
