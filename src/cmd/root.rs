//! Which directory holds the state of all containers.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::cli::args::Global;
use crate::cli::values::RootDir;
use crate::error::{Doing, Error, Result};
use crate::host;
use crate::state::StateRoot;

/// Opens the root to look at what is there.
pub fn open(global: &Global) -> Result<StateRoot> {
    hinted(global, StateRoot::open(&path(global)?, false))
}

/// Opens the root to list what is there. One that was given and does not exist is a
/// mistake; the default one does not exist until the first container does.
pub fn open_given(global: &Global) -> Result<StateRoot> {
    let root = open(global)?;
    match &global.root {
        Some(RootDir(path)) if root.is_absent() => {
            Err(Errno::ENOENT).doing(|| format!("open the state root {}", path.display()))
        }
        _ => Ok(root),
    }
}

/// Opens the root to put something there.
pub fn make(global: &Global) -> Result<StateRoot> {
    hinted(global, StateRoot::open(&path(global)?, true))
}

/// Where nobody has said where the state is to be, an ordinary user is told how to.
fn hinted(global: &Global, opened: Result<StateRoot>) -> Result<StateRoot> {
    let denied = |error: &Error| {
        matches!(error.errno_of(), Some(Errno::EACCES | Errno::EPERM | Errno::EROFS))
    };
    opened.map_err(|error| match (&global.root, denied(&error)) {
        (None, true) if !nix::unistd::geteuid().is_root() => error.hint(
            "an ordinary user's state is in $XDG_RUNTIME_DIR/rt: set that variable to a directory \
             of yours, or give --root DIR",
        ),
        _ => error,
    })
}

/// The absolute path of the root: `--root`, or the default for this user.
pub fn path(global: &Global) -> Result<PathBuf> {
    let path = match &global.root {
        Some(RootDir(path)) => path.clone(),
        None => {
            let foreign = || {
                let root = nix::unistd::geteuid().is_root();
                let user = std::env::var_os("USER");
                // Without a /proc nothing is made, and what is there can still be looked at.
                let in_userns = || host::in_userns().unwrap_or(false);
                !root || (user.is_none_or(|user| user != "root") && in_userns())
            };
            default(std::env::var_os("XDG_RUNTIME_DIR"), foreign)
        }
    };
    std::path::absolute(&path).doing(|| format!("find the state root {}", path.display()))
}

/// `foreign` says whether this is not the root user of the machine; it may ask the
/// kernel, and so it is asked last.
fn default(runtime_dir: Option<OsString>, foreign: impl FnOnce() -> bool) -> PathBuf {
    match runtime_dir.map(PathBuf::from) {
        // A relative one is to be ignored (XDG Base Directory Specification).
        Some(dir) if dir.is_absolute() && foreign() => dir.join("rt"),
        _ => Path::new("/run/rt").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_of_the_machine_and_others() {
        let dir = || Some(OsString::from("/run/user/1000"));
        assert_eq!(default(dir(), || true), Path::new("/run/user/1000/rt"));
        assert_eq!(default(dir(), || false), Path::new("/run/rt"));
        assert_eq!(default(Some("relative".into()), || true), Path::new("/run/rt"));
        assert_eq!(default(None, || true), Path::new("/run/rt"));
    }
}
