//! `exec`: another process in a container.

use std::ffi::CString;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;

use super::fd_socket::{self, Socket};
use super::fds::Passed;
use super::init::{self, Birth, Cradle, Event};
use super::listener::{self, Notified};
use super::pid_file::PidFile;
use super::ready::Ready;
use super::{nodes, preflight, userns_limits};
use crate::cgroup::Cgroup;
use crate::cgroup::files::Events;
use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::error::{Doing, Error, Kind, Result};
use crate::host::Host;
use crate::model::namespaces::flag;
use crate::model::plan::Plan;
use crate::plan::mounts::clean;
use crate::plan::{self, process};
use crate::script;
use crate::script::exec::ExecSetup;
use crate::state::{Agent, Container};
use crate::sys::{fd, fs, memory, pidfd, sched, signal};

/// What is asked of [`exec()`].
#[derive(Debug)]
pub struct Request<'a> {
    /// The container.
    pub container: &'a Container,
    /// Its first process, which must be alive.
    pub init: OwnedFd,
    /// The configuration that it was created with.
    pub spec: &'a oci_spec::runtime::Spec,
    /// What to run.
    pub process: &'a oci_spec::runtime::Process,
    /// A cgroup below the container's.
    pub cgroup: Option<PathBuf>,
    /// Gets the pid.
    pub pid_file: Option<PidFile>,
    /// Gets the terminal.
    pub console_socket: Option<Socket>,
    /// Gets a pidfd.
    pub pidfd_socket: Option<Socket>,
    /// Descriptors of the caller for the program, after stdio.
    pub passed: Passed,
}

/// A process that runs in a container.
#[derive(Debug)]
pub struct Joined {
    /// It.
    pub birth: Birth,
    /// Its terminal, where nobody else has got it.
    pub master: Option<OwnedFd>,
}

/// Starts a process in a container. On failure it never was.
pub fn exec(request: &Request<'_>) -> Result<Joined> {
    let host = Host::probe()?;
    let mut findings = Findings::default();
    // Not freed at the end, as in `super::create`.
    let process = process::plan(request.process, &request.passed.env, &mut findings);
    let process = ManuallyDrop::new(process);
    let plan = ManuallyDrop::new(Plan {
        personality: plan::limits::personality(request.spec, &mut findings),
        memory_policy: plan::memory_policy::plan(request.spec, &mut findings),
        seccomp: plan::seccomp_filter(request.spec, &mut findings),
        ..Plan::default()
    });
    preflight::security_modules(&process, None, &mut findings);
    let record = &request.container.record;
    for notice in findings.into_result()? {
        tracing::warn!("{notice}");
    }
    let agent = listener::agent(plan.seccomp.as_ref());
    if agent.is_some() && host.unprivileged {
        // It would have to be dumpable in sight of the container's processes (CVE-2016-9962).
        let text = "exec by an ordinary user into a container with SCMP_ACT_NOTIFY";
        return Err(Error::new(text).detail("not supported: only root can take its listener"));
    }
    let root = entered_root(request)?;
    let setup = ExecSetup {
        init: request.init.as_raw_fd(),
        root: root.as_ref().map(AsRawFd::as_raw_fd),
        namespaces: record.namespaces,
        setgroups: !record.deny_setgroups && !plan::annotations::keeps_groups(&record.annotations),
        keyring: record.keyring(),
        keep_below: request.passed.end(),
    };
    if let Some(mask) = &process.limits.affinity.initial {
        // The child is born with it, before its cgroup has a say.
        let field = Field::of("process.execCPUAffinity.initial");
        let words: String = mask.iter().rev().map(|word| format!("{word:016x}")).collect();
        tracing::debug!("nsexec container setup: affinity: 0x{}", words.trim_start_matches('0'));
        let set = sched::sched_setaffinity(mask).doing(|| "set the CPU affinity");
        set.map_err(|error| error.field(&field).hint("none of these processors is there"))?;
    }
    if record.namespaces & flag::USER != 0 {
        userns_limits::raise_hard(&process.limits.rlimits);
    }
    memory::separate_heap().doing(|| "reserve memory")?;
    let begin = |cgroup| {
        let cradle = Cradle { cgroup, ..Cradle::default() };
        init::begin(script::exec::exec(&plan, &process, &setup), &cradle)
    };
    let mut birth = match begin(cgroup(request)?) {
        // The container has moved its processes down and enabled controllers for them
        // (cgroups(7), "no internal processes"): we follow its first process.
        Err(error) if error.errno_of() == Some(Errno::EBUSY) && request.cgroup.is_none() => {
            begin(cgroup_of_init(request)?)
        }
        other => other,
    }?;
    // A process that is born into a frozen cgroup waits for the thaw: who has asked for it
    // must be able to give up.
    signal::set_mask(birth.mask).doing(|| "restore the signal mask")?;
    birth.seal();
    let ready = Ready {
        process: &process,
        joins_pid: record.namespaces & flag::PID != 0,
        below_root: record.namespaces & flag::USER != 0 && !host.unprivileged,
        rdt: record.intel_rdt.as_ref(),
        pidfd_socket: request.pidfd_socket.as_ref().map(|socket| (socket, "setns")),
        pid_file: request.pid_file.as_ref(),
    };
    match serve(request, agent, &ready, &mut birth) {
        Ok(master) => Ok(Joined { birth, master }),
        Err(error) => {
            if let Err(error) = birth.abort() {
                tracing::warn!("clean up: {error}");
            }
            if let Some(file) = &request.pid_file {
                file.remove()?;
            }
            Err(error)
        }
    }
}

/// The root of a container that has no mount namespace to itself: joining its namespaces
/// does not lead there.
fn entered_root(request: &Request<'_>) -> Result<Option<OwnedFd>> {
    let namespaces = plan::namespaces::plan(request.spec, &mut Findings::default());
    if namespaces.is_new(flag::MOUNT) {
        return Ok(None);
    }
    let doing = || "open the root of the container's first process";
    let init = request.init.as_fd();
    let pid = pidfd::pid(init).doing(doing)?;
    pidfd::root(pid, init).map(Some).doing(doing)
}

/// The cgroup to be born in: the container's own, or one below it.
fn cgroup(request: &Request<'_>) -> Result<Option<OwnedFd>> {
    let cgroup = request.container.cgroup()?;
    let path = request.cgroup.as_deref().unwrap_or(Path::new("/"));
    let Some(cgroup) = cgroup else {
        let made = request.container.cgroup_record()?.is_some_and(|record| record.id.is_some());
        return match &request.cgroup {
            // The container's first process has left it, and somebody has removed it.
            None if made => cgroup_of_init(request),
            None => Ok(None),
            Some(path) => Err(Error::new(format!("--cgroup {}", path.display()))
                .detail("the container has no cgroup of its own")),
        };
    };
    if path.components().any(|part| part == Component::ParentDir) {
        let text = format!("bad sub cgroup path {}", path.display());
        return Err(Error::new(text).detail("it leads out of the container's cgroup"));
    }
    let below = clean(path);
    let doing = || format!("open the cgroup {} of the container", path.display());
    let name = CString::new(below.as_os_str().as_bytes()).unwrap_or_default();
    let name = if name.is_empty() { c"." } else { &*name };
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let resolve = fs::RESOLVE_BENEATH | fs::RESOLVE_NO_SYMLINKS | fs::RESOLVE_NO_XDEV;
    let fd = fs::openat2(cgroup.dir().as_raw_fd(), name, flags, 0, resolve).doing(doing)?;
    let fd = fd::own(fd);
    // Of the container's own cgroup its status has told.
    if request.cgroup.is_some() {
        refuse_frozen(&cgroup, &fd, path)?;
    }
    Ok(Some(fd))
}

/// A process that is born into a frozen cgroup never gets so far as to say that it is there.
/// Who wants that in a container that is paused as a whole has said so.
fn refuse_frozen(cgroup: &Cgroup, below: &OwnedFd, path: &Path) -> Result<()> {
    let events = Events::read(below).doing(|| "read cgroup.events")?;
    if !events.frozen || cgroup.is_frozen()? {
        return Ok(());
    }
    let text = format!("the cgroup {} of the container is frozen", path.display());
    Err(Error::new(text).kind(Kind::WrongStatus).hint("write 0 to its cgroup.freeze"))
}

/// The cgroup that the container's first process is in by now.
fn cgroup_of_init(request: &Request<'_>) -> Result<Option<OwnedFd>> {
    let doing = || "find the cgroup of the container's first process";
    let pid = pidfd::pid(request.init.as_fd()).doing(doing)?;
    let dir = match request.container.cgroup()? {
        Some(cgroup) => {
            let below = cgroup.dir_of(pid)?;
            refuse_frozen(&cgroup, &below, Path::new("of the first process"))?;
            below
        }
        None => Cgroup::dir_of_process(pid)?,
    };
    // Still the same process: the cgroup is not that of a later one.
    pidfd::pid(request.init.as_fd()).doing(doing)?;
    Ok(Some(dir))
}

fn serve(
    request: &Request<'_>,
    mut agent: Option<Agent>,
    ready: &Ready<'_>,
    birth: &mut Birth,
) -> Result<Option<OwnedFd>> {
    let mut terminal = None;
    loop {
        match birth.listen()? {
            Event::Console(master, number) => {
                let socket = request.console_socket.as_ref();
                terminal = fd_socket::hand_over_terminal(socket, master, number)?;
            }
            Event::Device(wanted) => birth.answer(Some(nodes::of_host(wanted)?.as_fd()))?,
            Event::Ready => {
                ready.settle(birth.pid)?;
                ready.announce(birth)?;
                // From here on signals are for the program.
                signal::set_mask(signal::Mask::ALL).doing(|| "block signals")?;
                tracing::debug!("setns_init: about to exec: pid {} may go on", birth.pid);
                birth.release(false)?;
                if let Some(agent) = &agent {
                    hand_over(request.container, agent, birth)?;
                }
            }
            Event::Listener(listener) => {
                if let Some(agent) = agent.take() {
                    let status = request.container.status()?;
                    let (fd, state) = (listener.as_fd(), (status, request.container.pid(status)));
                    listener::give(fd, birth.pid, &agent, &request.container.record, state)?;
                }
                birth.answer(None)?;
            }
            // The page says so already: the child has looked a moment too early.
            Event::Appear => birth.answer(None)?,
            Event::Gone => return Ok(terminal),
            other => return Err(Error::new(format!("the child asked for {other:?} in an exec"))),
        }
    }
}

/// A child that has ended instead has said why: it is heard next.
fn hand_over(container: &Container, agent: &Agent, birth: &Birth) -> Result<()> {
    let status = container.status()?;
    let process = Notified { page: birth.page, pid: birth.pid, pidfd: birth.pidfd.as_fd() };
    let state = (status, container.pid(status));
    listener::hand_over(&process, agent, &container.record, state).map(drop)
}
