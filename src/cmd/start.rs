//! `rt start ID`.

use std::os::fd::AsFd;

use super::delete::{destroy, end};
use super::hooks::hooks_of;
use crate::diag::findings::Findings;
use crate::error::{Error, Kind, Result};
use crate::model::hooks::{Hooks, Kind as Hook};
use crate::model::namespaces::flag;
use crate::plan;
use crate::runtime::hooks::{self, Place, Rights, Root};
use crate::runtime::listener::{self, Notified};
use crate::runtime::{notify, protect};
use crate::spec;
use crate::state::{Agent, Container, Id, OciState, StateRoot, Status};

/// Lets a created container run its process. Nobody else can start or delete it
/// meanwhile: of several starts exactly one succeeds.
pub fn start(root: &StateRoot, id: &Id) -> Result<()> {
    let container = Container::load_locked(root, id)?;
    let refused = match container.status()? {
        Status::Created => None,
        Status::Running => Some("cannot start an already running container".to_owned()),
        Status::Stopped => Some("cannot start a container that has stopped".to_owned()),
        status => Some(format!("cannot start a container in the {status} state")),
    };
    if let Some(text) = refused {
        return Err(Error::new(format!("{text}: {id}")).kind(Kind::WrongStatus));
    }
    release(container)
}

/// Why a start has failed.
enum Failure {
    /// A hook has.
    Hook(Error),
    /// Anything else.
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Other(error)
    }
}

/// Runs the hooks around the start, and opens the gate, of a created container whose
/// lock is held. When that fails, the container is killed. When it was a hook, it is also removed:
/// then the lifecycle goes on with the destruction (runtime.md, "Lifecycle", steps 7 and 9).
fn release(container: Container) -> Result<()> {
    if container.record.no_process {
        let text = "there is nothing to start: config.json has no process";
        return Err(Error::new(text).kind(Kind::Invalid));
    }
    let hooks = hooks_of(&container)?;
    let (error, ended) = match pass_gate(&container, &hooks) {
        Ok(()) => return Ok(()),
        Err(Failure::Hook(error)) => (error, destroy(container)),
        Err(Failure::Other(error)) => (error, end(&container)),
    };
    if let Err(second) = ended {
        tracing::warn!("{second}");
    }
    Err(error)
}

fn pass_gate(container: &Container, found: &Hooks) -> Result<(), Failure> {
    let record = &container.record;
    let state = |status| OciState::new(record, status, container.pid(status)).to_json();
    if let hooks @ [_, ..] = &found.start_container[..]
        && let Some(init) = container.init()?
    {
        // A process of rt enters the container for them. Nothing was done so far.
        protect::ensure()?;
        protect::let_go();
        let spec = spec::decode_kept(&container.dir.config()?)?;
        let mut findings = Findings::default();
        let process = spec.process().as_ref();
        let process = process.map(|process| plan::process::plan(process, &[], &mut findings));
        let (process, filter) =
            (process.unwrap_or_default(), plan::seccomp_filter(&spec, &mut findings));
        let shares_pid = plan::namespaces::plan(&spec, &mut findings).joins(flag::PID);
        findings.into_result()?;
        let limited = container.cgroup_record()?.is_some_and(|record| record.id.is_some());
        let pid = container.pid(Status::Created);
        let rights = Rights::of(&process, record, filter.as_ref(), shares_pid, pid, limited)?;
        let (pidfd, namespaces) = (init.as_fd(), record.namespaces);
        let (root, rights) = (Root::OfInit, Some(&rights));
        let place = Place::Container { pidfd, namespaces, root, rights };
        hooks::run(Hook::StartContainer, hooks, &state(Status::Created), place)
            .map_err(Failure::Hook)?;
    }
    if record.notifies {
        notify::main_pid(notify::socket().as_deref(), container.pid(Status::Created));
    }
    let gate = container.dir.open_gate()?;
    if let Some(agent) = &record.agent {
        hand_over(container, agent)?;
    }
    if found.poststart.is_empty() {
        return Ok(());
    }
    gate.wait_until_executed()?;
    run_poststart(container, found).map_err(Failure::Hook)
}

/// Gives the seccomp listener, which init has from now on, to the agent.
fn hand_over(container: &Container, agent: &Agent) -> Result<()> {
    let page = container.dir.take_listener_page()?;
    let ended = || Error::new("container init has ended before it had a seccomp listener");
    let init = container.init()?.ok_or_else(ended)?;
    let pid = container.pid(Status::Created);
    let process = Notified { page, pid, pidfd: init.as_fd() };
    let handed = listener::hand_over(&process, agent, &container.record, (Status::Created, pid))?;
    if handed { Ok(()) } else { Err(ended()) }
}

/// Runs the poststart hooks of a container whose program runs.
pub fn poststart(container: &Container) -> Result<()> {
    run_poststart(container, &hooks_of(container)?)
}

fn run_poststart(container: &Container, found: &Hooks) -> Result<()> {
    if found.poststart.is_empty() {
        return Ok(());
    }
    let record = &container.record;
    let state = OciState::new(record, Status::Running, container.pid(Status::Running)).to_json();
    let place = Place::Runtime { cwd: &record.bundle };
    hooks::run(Hook::Poststart, &found.poststart, &state, place)
}
