//! `rt state [--resources] ID`.

use super::print;
use crate::cgroup::effective;
use crate::error::{Error, Result};
use crate::state::{Container, Id, OciState, StateRoot, Status, Why};

/// Prints the state as an indented JSON object, without a newline at the end. With
/// `resources` also what the kernel enforces.
pub fn state(root: &StateRoot, id: &Id, resources: bool) -> Result<()> {
    let container = Container::load(root, id)?;
    let status = container.status()?;
    let mut state = OciState::full(&container.record, status, container.pid(status));
    if status == Status::Stopped {
        state.exit = Why::of(&container)?;
    }
    if resources && let Some(cgroup) = container.cgroup()? {
        state.resources = Some(effective::read(&cgroup)?);
    }
    let text = serde_json::to_string_pretty(&state)
        .map_err(|error| Error::new("print the state").detail(error.to_string()))?;
    print(&text)
}
