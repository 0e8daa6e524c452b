//! `rt pause ID` and `rt resume ID`.

use super::{if_it_runs, not_running};
use crate::cgroup::Cgroup;
use crate::error::{Error, Kind, Result};
use crate::state::{Container, Id, StateRoot, Status};

/// Freezes all processes of a created or running container. Nobody thaws or deletes it meanwhile.
pub fn pause(root: &StateRoot, id: &Id) -> Result<()> {
    let container = Container::load_locked(root, id)?;
    match container.status()? {
        Status::Created | Status::Running => freeze(&container, true),
        Status::Paused => Err(not_running(id).detail("it is paused already")),
        status => Err(not_running(id).detail(format!("it is {status}"))),
    }
}

/// Lets a paused container go on.
pub fn resume(root: &StateRoot, id: &Id) -> Result<()> {
    let container = Container::load_locked(root, id)?;
    match container.status()? {
        Status::Paused => freeze(&container, false),
        status => Err(Error::new(format!("container not paused: {id}"))
            .kind(Kind::WrongStatus)
            .detail(format!("it is {status}"))),
    }
}

fn freeze(container: &Container, on: bool) -> Result<()> {
    let frozen = cgroup(container).and_then(|cgroup| cgroup.freeze(on));
    if_it_runs(container, frozen)
}

fn cgroup(container: &Container) -> Result<Cgroup> {
    container.cgroup()?.ok_or_else(|| {
        Error::new(format!("container {} has no cgroup of its own to freeze", container.id()))
    })
}
