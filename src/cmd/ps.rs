//! `rt ps ID [PS-OPTION...]`.

use std::io::ErrorKind;
use std::process::{Command, Stdio};

use super::print;
use crate::cli::words::ListFormat;
use crate::error::{Doing, Error, Result};
use crate::state::{Container, Id, StateRoot};

/// Prints the processes of a container, by their pids on the host: what ps(1) says of them, or
/// as one line with an array of pids, or `null`.
pub fn ps(root: &StateRoot, id: &Id, format: ListFormat, options: &[String]) -> Result<()> {
    let container = Container::load(root, id)?;
    let pids = match container.cgroup()? {
        Some(cgroup) => cgroup.pids()?,
        None if container.init()?.is_none() => Vec::new(),
        None => {
            let text = format!("container {id} has no cgroup of its own");
            return Err(Error::new(text).detail("its processes are not known"));
        }
    };
    match format {
        ListFormat::Json if pids.is_empty() => print("null\n"),
        ListFormat::Json => {
            let numbers: Vec<String> = pids.iter().map(i32::to_string).collect();
            print(&format!("[{}]\n", numbers.join(",")))
        }
        ListFormat::Table => print(&filter(&table(options)?, &pids)?),
    }
}

/// What the ps(1) of the host says of all processes.
fn table(options: &[String]) -> Result<String> {
    let mut ps = Command::new("ps");
    if options.is_empty() {
        ps.arg("-ef");
    } else {
        ps.args(options);
    }
    let output = match ps.stdin(Stdio::null()).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let text = "ps(1) is not installed on this host (package procps)";
            return Err(Error::new(text).hint("--format json needs none"));
        }
        other => other.doing(|| "run ps")?,
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Err(Error::new(format!("ps ended with {}", output.status)).detail(first))
}

/// The heading, and the lines whose PID is one of `pids`.
fn filter(table: &str, pids: &[i32]) -> Result<String> {
    let mut lines = table.lines();
    let heading = lines.next().unwrap_or_default();
    let column = heading.split_whitespace().position(|word| word == "PID").ok_or_else(|| {
        Error::new("the output of ps has no column PID").hint("ask for it, as in: -o pid,args")
    })?;
    let ours = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse().ok());
        pid.is_some_and(|pid: i32| pids.contains(&pid))
    };
    let kept = std::iter::once(heading).chain(lines.filter(ours));
    Ok(kept.map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_chosen_by_pid() {
        let table = "UID   PID  PPID CMD\nroot    7     1 a\nroot    8     7 b 9\nroot   9 1 c\n";
        assert_eq!(
            filter(table, &[7, 9]).expect("pids"),
            "UID   PID  PPID CMD\nroot    7     1 a\nroot   9 1 c\n"
        );
        assert_eq!(filter("PID\n", &[]).expect("none"), "PID\n");
        assert!(filter("CMD\n", &[7]).expect_err("no column").to_string().contains("PID"));
    }
}
