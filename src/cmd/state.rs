//! `rt state ID`.

use super::print;
use crate::error::{Error, Result};
use crate::state::{Container, Id, OciState, StateRoot};

/// Prints the state as an indented JSON object, without a newline at the end.
pub fn state(root: &StateRoot, id: &Id) -> Result<()> {
    let container = Container::load(root, id)?;
    let status = container.status()?;
    let state = OciState::full(&container.record, status, container.pid(status));
    let text = serde_json::to_string_pretty(&state)
        .map_err(|error| Error::new("print the state").detail(error.to_string()))?;
    print(&text)
}
