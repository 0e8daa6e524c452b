//! Whether the programs of hooks are there, asked before anything is created.

use crate::diag::field::Violation;
use crate::model::hooks::{Hook, Hooks, Kind};
use crate::sys::fs;

/// Looks for the program of each hook whose path counts from the host's root. Those of
/// `startContainer` are in the container, which is not there yet.
pub fn check_files(hooks: &Hooks) -> Vec<Violation> {
    let on_host = Kind::ALL.into_iter().filter(|kind| !kind.path_in_container());
    let hooks = on_host.flat_map(|kind| hooks.of(kind));
    hooks.filter_map(|hook| Some((hook, problem(hook)?))).map(violation).collect()
}

fn problem(hook: &Hook) -> Option<String> {
    let stat = match fs::stat(&hook.path) {
        Ok(stat) => stat,
        Err(errno) => return Some(crate::error::errno_text(errno)),
    };
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG => {}
        libc::S_IFDIR => return Some("is a directory".to_owned()),
        _ => return Some("is not a regular file".to_owned()),
    }
    fs::accessible(&hook.path, libc::X_OK).err().map(|_| "is not executable".to_owned())
}

fn violation((hook, reason): (&Hook, String)) -> Violation {
    Violation::value(hook.field.key("path"), hook.path.to_string_lossy(), reason)
}
