//! What callers get from a create, run or exec: the pid file.

use std::cell::Cell;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Doing, Error, Result};

/// A pid file, named before anything changes directory.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    written: Cell<bool>,
}

impl PidFile {
    /// The file at `path`, which counts from the working directory of now.
    pub fn new(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path).doing(|| "find the working directory")?;
        Ok(PidFile { path, written: Cell::new(false) })
    }

    /// Writes the decimal pid without a newline. The file appears whole or not at all:
    /// engines open it as soon as they see it.
    pub fn write(&self, pid: i32) -> Result<()> {
        let doing = || format!("write the pid file {}", self.path.display());
        let Some(name) = self.path.file_name() else {
            return Err(Error::new(doing()).detail("not the name of a file"));
        };
        // Of a name that no other process uses now: what is there already was left by one that
        // was killed.
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".rt-{}", std::process::id()));
        let temporary = self.path.with_file_name(temporary);
        let _ = fs::remove_file(&temporary);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o644).custom_flags(libc::O_NOFOLLOW);
        let mut file = options.open(&temporary).doing(doing)?;
        let written = file
            .write_all(pid.to_string().as_bytes())
            .and_then(|()| fs::rename(&temporary, &self.path))
            .doing(doing);
        match written.is_ok() {
            true => self.written.set(true),
            // Best effort: the error that counts is the one above.
            false => drop(fs::remove_file(&temporary)),
        }
        written
    }

    /// Takes it back, if it was written: a pid file without a process means success to conmon.
    pub fn remove(&self) -> Result<()> {
        if !self.written.get() {
            return Ok(());
        }
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.doing(|| format!("remove the pid file {}", self.path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_is_taken_back() {
        let dir = std::env::temp_dir().join(format!("rt-pid-file-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("mkdir");
        let path = dir.join("pid");
        let names = || fs::read_dir(&dir).expect("list").count();
        fs::write(&path, "another's").expect("write");
        // What a version of runc or rt that was killed has left, and what may be anybody's.
        fs::write(dir.join(".pid"), "").expect("write");
        let own = dir.join(format!(".pid.rt-{}", std::process::id()));
        fs::write(own, "1").expect("write");
        let file = PidFile::new(&path).expect("a path");
        file.remove().expect("nothing to do");
        assert_eq!(fs::read_to_string(&path).expect("still there"), "another's");
        file.write(42).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("replaced"), "42");
        assert_eq!(names(), 2);
        file.remove().expect("removed");
        assert!(!path.exists() && names() == 1);
        fs::remove_dir_all(&dir).expect("rmdir");
    }
}
