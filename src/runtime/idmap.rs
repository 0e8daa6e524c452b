//! Writes uid_map and gid_map of a new user namespace, and reads those of any (user_namespaces(7)).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;

use crate::diag::field::Field;
use crate::error::{Doing, Error, Result};
use crate::model::namespaces::{IdMapping, Namespaces};

/// One of the two maps.
struct Map<'a> {
    file: &'static str,
    helper: &'static str,
    field: &'static str,
    lines: &'a [IdMapping],
    own_id: u32,
}

fn maps(namespaces: &Namespaces) -> [Map<'_>; 2] {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    // The group map first: after it setgroups(2) cannot be given up any more.
    [
        Map {
            file: "gid_map",
            helper: "newgidmap",
            field: "linux.gidMappings",
            lines: &namespaces.gid_map,
            own_id: gid,
        },
        Map {
            file: "uid_map",
            helper: "newuidmap",
            field: "linux.uidMappings",
            lines: &namespaces.uid_map,
            own_id: uid,
        },
    ]
}

/// A map of the user namespace that a process is in, as we see it (user_namespaces(7)).
pub fn of_process(pid: i32, file: &str) -> Result<Vec<IdMapping>> {
    let path = format!("/proc/{pid}/{file}");
    let text = std::fs::read_to_string(&path).doing(|| format!("read {path}"))?;
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse);
        let (Some(Ok(container)), Some(Ok(host)), Some(Ok(size))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return None;
        };
        Some(IdMapping { container, host, size })
    };
    Ok(text.lines().filter_map(line).collect())
}

/// Writes the maps of an idmapped mount for the process `pid`: the caller is root.
pub fn write_both(pid: i32, uid_map: &[IdMapping], gid_map: &[IdMapping]) -> Result<()> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    for (file, lines) in [("gid_map", gid_map), ("uid_map", uid_map)] {
        let text = text_of(lines);
        let path = proc.join(file);
        fs::write(&path, &text)
            .doing(|| format!("write {:?} to {}", text.trim_end(), path.display()))?;
    }
    Ok(())
}

/// Writes the maps for the process `pid`, which waits for them.
pub fn write(pid: i32, namespaces: &Namespaces, unprivileged: bool) -> Result<()> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    if namespaces.deny_setgroups {
        write_file(&proc.join("setgroups"), "deny", "linux.gidMappings")?;
    }
    for map in maps(namespaces) {
        if unprivileged && !map.is_own() {
            map.run_helper(pid)?;
        } else {
            write_file(&proc.join(map.file), &text_of(map.lines), map.field)?;
        }
    }
    Ok(())
}

/// The kernel takes a map in one write only.
fn write_file(path: &Path, text: &str, field: &'static str) -> Result<()> {
    let written = fs::write(path, text);
    let written = written.doing(|| format!("write {:?} to {}", text.trim_end(), path.display()));
    written.map_err(|error| {
        let error = error.field(&Field::of(field));
        match error.errno_of() {
            Some(Errno::EPERM) => error.hint(
                "the ids must be mapped in rt's own user namespace; and in one, id 0 of it may be \
                 mapped only by a process with CAP_SETFCAP (user_namespaces(7))",
            ),
            _ => error,
        }
    })
}

fn text_of(lines: &[IdMapping]) -> String {
    let line = |m: &IdMapping| format!("{} {} {}\n", m.container, m.host, m.size);
    lines.iter().map(line).collect()
}

impl Map<'_> {
    /// Whether it maps the caller's own id and no other.
    fn is_own(&self) -> bool {
        matches!(self.lines, [line] if line.size == 1 && line.host == self.own_id)
    }

    /// newuidmap(1) and newgidmap(1) check the ranges against /etc/subuid and
    /// /etc/subgid.
    fn run_helper(&self, pid: i32) -> Result<()> {
        let mut command = Command::new(self.helper);
        command.arg(pid.to_string());
        for line in self.lines {
            command.args([line.container, line.host, line.size].map(|number| number.to_string()));
        }
        let field = Field::of(self.field);
        let output =
            command.output().doing(|| format!("run {}", self.helper)).map_err(|error| {
                error.field(&field).hint(
                    "an ordinary user can map other ids than its own only with the package uidmap",
                )
            })?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Error::new(format!("{} failed", self.helper))
            .detail(said.lines().next().unwrap_or("without a word"))
            .field(&field)
            .hint("see the ranges of this user in /etc/subuid and /etc/subgid"))
    }
}
