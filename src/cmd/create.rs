//! `rt create` and `rt run`: from a bundle to a container.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{delete, root, start};
use crate::cli::args::{Bundle, Create, Global, Run};
use crate::cli::values::Rootless;
use crate::cli::words::CgroupManager;
use crate::error::{Doing, Kind, Result};
use crate::host::Host;
use crate::host::systemd::Instance;
use crate::model::cgroup::Manager;
use crate::runtime::fd_socket::Socket;
use crate::runtime::pid_file::PidFile;
use crate::runtime::{self, Created, Request, fds, notify, protect, wait};
use crate::state::{Container, Id, StateRoot};
use crate::sys::pidfd::Exit;
use crate::sys::{path, signal};

/// `rt create`: returns when the first process waits at the gate.
pub fn create(global: &Global, args: &Create) -> Result<ExitCode> {
    protect::ensure()?;
    let root = root::make(global)?;
    let request = request(global, &args.bundle, &root, true, true)?;
    runtime::create(&request)?;
    Ok(ExitCode::SUCCESS)
}

/// `rt run`: creates, starts, and unless told otherwise waits and deletes.
pub fn run(global: &Global, args: &Run) -> Result<ExitCode> {
    protect::ensure()?;
    let root = root::make(global)?;
    let request = request(global, &args.bundle, &root, false, args.detach)?;
    let Created { container, mut birth, master, messenger } = runtime::create(&request)?;
    let started = birth.wait_until_started().and_then(|()| start::poststart(&container));
    if let Err(error) = started {
        birth.abort()?;
        if let Some(file) = &request.pid_file {
            file.remove()?;
        }
        delete::remove(container)?;
        if let Some(master) = master {
            wait::last_words(master)?;
        }
        return Err(if args.detach { error.aloud() } else { error });
    }
    if args.detach {
        return Ok(ExitCode::SUCCESS);
    }
    // Others may work on the container while it runs, and also delete it.
    container.dir.unlock();
    let exit = wait::foreground(birth.pidfd.as_fd(), birth.ignored, master, messenger.as_ref());
    if exit.is_err() {
        birth.abort()?;
    }
    if args.keep {
        if let Ok(exit) = &exit {
            keep_ending(&container, *exit);
        }
    } else {
        match container.dir.lock() {
            Err(error) if error.kind_of() == Kind::NotFound => {}
            locked => {
                // Its first process is gone and reaped: nobody can be hurt.
                locked.unwrap_or_else(|error| tracing::warn!("{error}"));
                delete::remove(container)?;
            }
        }
    }
    signal::set_mask(birth.mask).doing(|| "restore the signal mask")?;
    exit.map(|exit| ExitCode::from(exit.code() as u8))
}

/// Nobody else will ever know it.
fn keep_ending(container: &Container, exit: Exit) {
    // Read again: it may have changed while it ran.
    let kept = container.dir.lock().and_then(|()| {
        let mut record = container.dir.load()?;
        record.ending = Some(exit.into());
        container.dir.save(&record)
    });
    match kept {
        Err(error) if error.kind_of() != Kind::NotFound => tracing::warn!("{error}"),
        _ => {}
    }
}

fn request<'a>(
    global: &Global,
    args: &Bundle,
    root: &'a StateRoot,
    gate: bool,
    detach: bool,
) -> Result<Request<'a>> {
    let host = Host::probe()?;
    Ok(Request {
        host,
        root,
        id: Id::parse(&args.id)?,
        bundle: bundle(&args.bundle)?,
        gate,
        detach,
        no_pivot: args.no_pivot,
        no_new_keyring: args.no_new_keyring,
        pid_file: args.pid_file.as_deref().map(PidFile::new).transpose()?,
        console_socket: args.console_socket.as_deref().map(Socket::connect).transpose()?,
        pidfd_socket: args.pidfd_socket.as_deref().map(Socket::connect).transpose()?,
        passed: fds::passed(args.preserve_fds)?,
        notify_socket: notify::socket(),
        cgroups: match global.cgroup_manager {
            CgroupManager::Disabled => Manager::None,
            CgroupManager::Cgroupfs if !global.systemd_cgroup => Manager::Files,
            _ => Manager::Systemd(Instance::find(&host)?),
        },
        rootless: match global.rootless {
            Rootless::Auto => None,
            Rootless::True => Some(true),
            Rootless::False => Some(false),
        },
    })
}

/// The bundle's directory without links: the state must not depend on where a link
/// points later.
fn bundle(path: &Path) -> Result<PathBuf> {
    path::realpath(path).doing(|| format!("open the bundle {}", path.display()))
}
