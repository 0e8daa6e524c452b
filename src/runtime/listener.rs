//! The seccomp listener on its way from the child to the agent (seccomp_unotify(2),
//! config-linux.md, "The Container Process State"). How it comes here: see `child::listener`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde::Serialize;

use super::fd_socket::Socket;
use crate::diag::field::Field;
use crate::error::{Doing, Error, Result};
use crate::seccomp::Filter;
use crate::state::{Agent, OciState, Record, Status};
use crate::sys::page::SharedPage;
use crate::sys::{io, pidfd};

/// The words by which callers know that the agent is not there.
pub const NO_AGENT: &str = "failed to connect with seccomp agent";

/// How long the child may take to load its filter.
const PATIENCE: Duration = Duration::from_secs(10);

/// For this long it is looked for without a pause: usually it takes some microseconds.
const EAGER: Duration = Duration::from_millis(1);

/// A process with a listener to be handed over.
#[derive(Debug)]
pub struct Notified<'a> {
    /// What it shares with us.
    pub page: &'static SharedPage,
    /// Its pid.
    pub pid: i32,
    /// The process.
    pub pidfd: BorrowedFd<'a>,
}

/// What the agent is told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'a str,
    fds: [&'a str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
    state: OciState<'a>,
}

/// The agent of a filter, if it has one.
pub fn agent(filter: Option<&Filter>) -> Option<Agent> {
    let filter = filter.filter(|filter| filter.notify)?;
    let (path, metadata) = (filter.listener_path.clone()?, filter.listener_metadata.clone());
    Some(Agent { path, metadata })
}

/// Takes the listener out of the process, gives it to the agent, and lets the process go
/// on. `false` when the process has ended instead.
pub fn hand_over(
    process: &Notified<'_>,
    agent: &Agent,
    record: &Record,
    (status, init): (Status, i32),
) -> Result<bool> {
    let Some(number) = wait_for(process)? else { return Ok(false) };
    let listener = pidfd::get_fd(process.pidfd, number).map_err(|errno| {
        let error = Error::new("take the seccomp listener out of the process").errno(errno);
        match errno {
            Errno::EPERM => error.hint("rt must be allowed to trace it (CAP_SYS_PTRACE)"),
            _ => error,
        }
    })?;
    give(listener.as_fd(), process.pid, agent, record, (status, init))?;
    process.page.taken.store(1, Ordering::Release);
    Ok(true)
}

/// Gives the listener of process `pid` to the agent.
pub fn give(
    listener: BorrowedFd<'_>,
    pid: i32,
    agent: &Agent,
    record: &Record,
    (status, init): (Status, i32),
) -> Result<()> {
    let state = ProcessState {
        oci_version: &record.oci_version,
        fds: ["seccompFd"],
        pid,
        metadata: agent.metadata.as_deref(),
        state: OciState::new(record, status, init),
    };
    let text = serde_json::to_vec(&state)
        .map_err(|error| Error::new("write JSON").detail(error.to_string()))?;
    let socket = Socket::connect_through_links(&agent.path).map_err(|error| error.within(NO_AGENT));
    let sent = socket.and_then(|socket| socket.send(listener, &text));
    sent.map_err(|error| error.field(&Field::of("linux.seccomp.listenerPath")))
}

/// The number that the listener has in the process.
fn wait_for(process: &Notified<'_>) -> Result<Option<i32>> {
    let doing = || "wait for the seccomp listener";
    let begin = Instant::now();
    loop {
        if let Some(number) = process.page.listener.load(Ordering::Acquire).checked_sub(1) {
            return Ok(Some(number as i32));
        }
        let waited = begin.elapsed();
        if waited > PATIENCE {
            let text = format!("the filter was not loaded within {} s", PATIENCE.as_secs());
            return Err(Error::new(doing()).detail(text));
        }
        let pause = if waited < EAGER { 0 } else { 1 };
        let mut fds = [io::interest(process.pidfd.as_raw_fd(), libc::POLLIN)];
        if io::poll(&mut fds, pause).doing(doing)? > 0 {
            return Ok(None);
        }
    }
}
