//! `rt list`.

use nix::errno::Errno;

use super::print;
use crate::cli::words::ListFormat;
use crate::error::{Error, Kind, Result};
use crate::state::{Container, OciState, StateRoot, Status};

/// Prints all containers: a table, or one line with an array of the objects that `rt state` prints,
/// or `null`; with `quiet` only the ids, one on a line. One with a damaged state is warned about,
/// and the others are still listed.
pub fn list(root: &StateRoot, format: ListFormat, quiet: bool) -> Result<()> {
    let ids = root.list()?;
    if quiet {
        return print(&ids.iter().map(|id| format!("{id}\n")).collect::<String>());
    }
    let mut found: Vec<(Container, Status)> = Vec::with_capacity(ids.len());
    let mut failures = Vec::new();
    for id in &ids {
        let loaded = Container::load(root, id)
            .and_then(|container| container.status().map(|status| (container, status)));
        match loaded {
            Ok(one) => found.push(one),
            // No directory: no container.
            Err(error) if error.errno_of() == Some(Errno::ENOTDIR) => {}
            // Deleted since we looked; or its creation was interrupted before it was recorded.
            Err(error) if error.kind_of() == Kind::NotFound && !root.holds(id) => {}
            Err(error) => failures.push(error),
        }
    }
    match failures.as_slice() {
        // A mistaken --root: what is in there is somebody else's.
        [_, _, ..] if found.is_empty() => {
            let count = failures.len();
            tracing::warn!("none of {count} directories in the state root is a container");
        }
        failures => failures.iter().for_each(|error| tracing::warn!("{error}")),
    }
    let states: Vec<OciState<'_>> = found
        .iter()
        .map(|(container, status)| {
            OciState::full(&container.record, *status, container.pid(*status))
        })
        .collect();
    match format {
        ListFormat::Json if states.is_empty() => print("null\n"),
        ListFormat::Json => {
            let text = serde_json::to_string(&states)
                .map_err(|error| Error::new("print the list").detail(error.to_string()))?;
            print(&(text + "\n"))
        }
        ListFormat::Table => print(&table(&states)),
    }
}

fn table(states: &[OciState<'_>]) -> String {
    let heading = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(heading)
        .chain(states.iter().map(|state| {
            [
                state.id.to_owned(),
                state.pid.to_string(),
                state.status.to_owned(),
                printable(&state.bundle.display().to_string()),
                state.created().to_owned(),
                printable(state.owner()),
            ]
        }))
        .collect();
    align(&rows)
}

/// A path may hold what a terminal takes for a command.
fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut all, c| {
        match c.is_control() {
            true => all.extend(c.escape_default()),
            false => all.push(c),
        }
        all
    })
}

/// Every column but the last is as wide as its widest cell and three spaces, and at
/// least twelve, as scripts know it from runc.
fn align<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count() + 3).max().unwrap_or(0).max(12)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if column + 1 == N {
                text += cell;
            } else {
                text += &format!("{cell:<width$}");
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_says_nothing_to_the_terminal() {
        for (text, shown) in
            [("/a b/é", "/a b/é"), ("/\x1b[2J\n\u{9b}x", r"/\u{1b}[2J\n\u{9b}x"), (r"\n", r"\n")]
        {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn columns_are_aligned() {
        let rows =
            [["ID", "PID", "X"], ["a-long-name-", "7", "y"]].map(|row| row.map(str::to_owned));
        assert_eq!(align(&rows), "ID             PID         X\na-long-name-   7           y\n");
    }
}
