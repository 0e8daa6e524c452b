//! What `rt` does before, around and after the clone. Read [`create()`] first.

mod creation;
pub mod exec;
pub mod fd_socket;
pub mod fds;
pub mod hooks;
pub mod idmap;
pub mod init;
pub mod listener;
mod made;
mod net_devices;
mod nodes;
pub mod notify;
mod owners;
pub mod pid_file;
pub mod preflight;
pub mod protect;
mod relay;
pub mod sources;
mod stdio;
mod userns_limits;
pub mod wait;

use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use self::creation::Attempt;
use self::fd_socket::Socket;
use self::fds::Passed;
use self::init::Birth;
use self::notify::Messenger;
use self::pid_file::PidFile;
use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::error::{Doing, Result};
use crate::host::Host;
use crate::host::cgroup::Tree;
use crate::model::cgroup::Manager;
use crate::model::process::Process;
use crate::state::{Container, Id, Record, StateRoot};
use crate::sys::{memory, random};
use crate::{plan, spec};

/// What is asked of [`create()`].
#[derive(Debug)]
pub struct Request<'a> {
    /// Where we are.
    pub host: Host,
    /// Where states are kept.
    pub root: &'a StateRoot,
    /// Id of the container.
    pub id: Id,
    /// Directory of config.json, absolute.
    pub bundle: PathBuf,
    /// The program waits for `start`.
    pub gate: bool,
    /// `rt` goes away when the container is created.
    pub detach: bool,
    /// chroot(2) instead of pivot_root(2).
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// Gets the pid.
    pub pid_file: Option<PidFile>,
    /// Gets the terminal.
    pub console_socket: Option<Socket>,
    /// Gets a pidfd.
    pub pidfd_socket: Option<Socket>,
    /// Descriptors of the caller for the program, after stdio.
    pub passed: Passed,
    /// Where the service manager listens that has started us.
    pub notify_socket: Option<PathBuf>,
    /// Who makes the cgroup.
    pub cgroups: Manager,
    /// A lack of privileges over cgroups is forgiven; `None` finds out.
    pub rootless: Option<bool>,
}

/// A created container.
#[derive(Debug)]
pub struct Created {
    /// Its state, locked.
    pub container: Container,
    /// Its first process.
    pub birth: Birth,
    /// The terminal, where nobody else has got it.
    pub master: Option<OwnedFd>,
    /// Who hands on what the program says to the service manager.
    pub messenger: Option<Messenger>,
}

/// Makes a container. On failure nothing of it is left.
pub fn create(request: &Request<'_>) -> Result<Created> {
    // 1  what is wanted; nothing is made before it makes sense
    let host = &request.host;
    // Neither this nor the plan is freed at the end of it all: the process is about to go, or to do
    // nothing but wait, and to take them apart takes longer than most of what it asks of the kernel.
    let loaded = ManuallyDrop::new(spec::load(&request.bundle)?);
    let tree = Tree::open()?;
    // In the foreground, the program gets a socket of ours.
    let own_socket = match &request.notify_socket {
        Some(_) if !request.detach => Some(request.root.path_of(&request.id)?.join(notify::SOCKET)),
        _ => None,
    };
    let namespaces = plan::namespaces::plan(&loaded.spec, &mut Findings::default());
    let opts = plan::Opts {
        id: request.id.as_str(),
        bundle: &request.bundle,
        no_pivot: request.no_pivot,
        extra_env: &request.passed.env,
        unprivileged: host.unprivileged,
        makes_nodes: nodes::may_make(host),
        setgroups_denied: host.setgroups_denied,
        foreign_namespaces: owners::foreign(&namespaces, host),
        cgroups: request.cgroups,
        cgroup_root: Path::new(tree.mount),
        notify_socket: own_socket.as_deref().or(request.notify_socket.as_deref()),
    };
    let (plan, mut findings) = plan::build(&loaded.spec, &opts);
    let mut plan = ManuallyDrop::new(plan);
    let process = plan.process.take().unwrap_or_else(|| {
        // config.md, "Process": required when start is called, and not before.
        if !request.gate {
            findings.refuse(&Field::of("process"), "missing: there is nothing to run");
        }
        Process::absent()
    });
    let process = ManuallyDrop::new(process);
    sources::copy_links(&mut plan.mounts);
    let (files, found) = preflight::check(&plan, &process);
    findings.add(found);
    // The key that is nearly the right one is the likeliest reason for another error.
    let notices = findings.into_result().map_err(|error| error.with_notices(&loaded.notices))?;
    for notice in loaded.notices.iter().chain(&notices) {
        tracing::warn!("{notice}");
    }
    fd_socket::check(
        process.terminal,
        request.detach,
        request.console_socket.is_some(),
        "set process.terminal to false in config.json",
    )?;

    memory::separate_heap().doing(|| "reserve memory")?;

    // 2  the state directory says what is about to be made, so that delete can find it
    let rootfs = plan.rootfs.path.clone();
    let version = loaded.spec.version();
    let mut record = Record::intent(&request.id, version, request.bundle.clone(), rootfs)?;
    record.annotations.clone_from(&plan.annotations);
    record.namespaces = plan.namespaces.all();
    if !request.no_new_keyring {
        record.keyring = Some(keyring_name(&request.id)?);
    }
    record.agent = listener::agent(plan.seccomp.as_ref());
    record.notifies = plan.notifies && request.detach;
    record.deny_setgroups = plan.namespaces.deny_setgroups;
    record.no_process = process.args.is_empty();
    record.later_hooks = plan.hooks.any_after_create();
    let dir = request.root.create(&request.id)?;
    let mut attempt = Attempt::new(request, &plan, &process, Container::in_the_making(dir, record));
    match attempt.run(tree, &loaded.bytes, files) {
        Ok(()) => attempt.succeed(),
        Err(error) => Err(attempt.take_back(error)),
    }
}

/// The caller's keyring must not be reachable from inside, and joining one by its name makes it
/// only where nobody of this user has made it before.
fn keyring_name(id: &Id) -> Result<String> {
    let token = random::number().doing(|| "name the session keyring")?;
    Ok(format!("_ses.{id}.{token:016x}"))
}
