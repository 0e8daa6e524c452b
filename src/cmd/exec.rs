//! `rt exec`: another process in a container.

use std::mem::ManuallyDrop;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use oci_spec::runtime::{Capability, LinuxCapabilities, Process, Spec};

use super::{if_it_runs, root};
use crate::cli::args::{Exec, Global};
use crate::error::{Doing, Error, Kind, Result};
use crate::runtime::exec::{self, Joined, Request};
use crate::runtime::fd_socket::{self, Socket};
use crate::runtime::pid_file::PidFile;
use crate::runtime::{fds, protect, wait};
use crate::spec::{self, lenient::near_capability};
use crate::state::{Container, Id, Status};
use crate::sys::signal;

/// Runs the process; its exit code, or 0 with `--detach`.
pub fn exec(global: &Global, args: &Exec) -> Result<ExitCode> {
    protect::ensure()?;
    let container = Container::load(&root::open(global)?, &Id::parse(&args.id)?)?;
    let status = container.status()?;
    let refused = match status {
        Status::Created | Status::Running => None,
        Status::Paused if args.ignore_paused => None,
        Status::Paused => {
            Some("cannot exec in a paused container (use --ignore-paused to override)")
        }
        Status::Stopped => Some("cannot exec in a stopped container"),
        Status::Creating => Some("cannot exec in a container that is being created"),
    };
    if let Some(text) = refused {
        return Err(Error::new(text).kind(Kind::WrongStatus));
    }
    let init = container
        .init()?
        .ok_or_else(|| Error::new("cannot exec in a stopped container").kind(Kind::WrongStatus))?;
    // Not freed at the end, as in `runtime::create`.
    let spec = spec::decode_kept(&container.dir.config()?)?;
    let spec = ManuallyDrop::new(spec);
    let (process, notices) = process(args, &spec)?;
    for notice in notices {
        tracing::warn!("{notice}");
    }
    let terminal = process.terminal().unwrap_or(false);
    let socket = args.console_socket.is_some();
    fd_socket::check(terminal, args.detach, socket, "leave the terminal out")?;
    let request = Request {
        container: &container,
        init,
        spec: &spec,
        process: &process,
        cgroup: sub_cgroup(&args.cgroup)?,
        pid_file: args.pid_file.as_deref().map(PidFile::new).transpose()?,
        console_socket: args.console_socket.as_deref().map(Socket::connect).transpose()?,
        pidfd_socket: args.pidfd_socket.as_deref().map(Socket::connect).transpose()?,
        passed: fds::passed(args.preserve_fds)?,
    };
    let joined = exec::exec(&request).map_err(|error| blame(error, args));
    let joined = if_it_runs(&container, joined);
    let ours = !args.detach && !terminal;
    let Joined { birth, master } =
        joined.map_err(|error| if ours { error } else { error.aloud() })?;
    if args.detach {
        return Ok(ExitCode::SUCCESS);
    }
    let exit = wait::foreground(birth.pidfd.as_fd(), birth.ignored, master, None)?;
    signal::set_mask(birth.mask).doing(|| "restore the signal mask")?;
    Ok(ExitCode::from(exit.code() as u8))
}

/// Says who asked for what failed: the file given to `--process`, the command line, or else the
/// configuration that the container was created with.
fn blame(error: Error, args: &Exec) -> Error {
    if let Some(path) = &args.process {
        return error.of_document("process.", &path.display().to_string());
    }
    let mut error = error;
    for (field, option, given) in [
        ("process.apparmorProfile", "--apparmor", args.apparmor.is_some()),
        ("process.selinuxLabel", "--process-label", args.process_label.is_some()),
    ] {
        if given {
            error = error.given_by_option(field, option);
        }
    }
    match error.field_of() {
        Some("process.args") => error.asked_by_command_line(""),
        Some("process.cwd") if args.cwd.is_some() => error.asked_by_command_line("--cwd"),
        _ => error,
    }
}

/// `[controller:]PATH`; on cgroup v2 there is one tree, so no controller is named.
fn sub_cgroup(given: &[String]) -> Result<Option<PathBuf>> {
    match given {
        [] => Ok(None),
        [path] if !path.contains(':') => Ok(Some(PathBuf::from(path))),
        [path] => Err(Error::new(format!("--cgroup {path}: cgroup v2 has no controller trees"))
            .kind(Kind::Invalid)),
        _ => Err(Error::new("--cgroup can be given only once on cgroup v2").kind(Kind::Invalid)),
    }
}

/// The process of `--process`, or that of the configuration with what the command line
/// says instead.
fn process(args: &Exec, spec: &Spec) -> Result<(Process, Vec<String>)> {
    if let Some(path) = &args.process {
        let (mut process, notices) = spec::load_process(path)?;
        if let Some(first) = spec.process() {
            inherit(&mut process, first);
        }
        return Ok((process, notices));
    }
    let missing = || Error::new("config.json has no process; use --process").kind(Kind::Invalid);
    let mut process = spec.process().clone().ok_or_else(missing)?;
    if args.command.is_empty() {
        return Err(Error::new("process args cannot be empty").kind(Kind::Invalid));
    }
    process.set_args(Some(args.command.clone())).set_terminal(Some(args.tty));
    if let Some(cwd) = &args.cwd {
        if !cwd.starts_with('/') {
            let text = format!("--cwd {cwd:?}: must be an absolute path");
            return Err(Error::new(text).kind(Kind::Invalid));
        }
        process.set_cwd(PathBuf::from(cwd));
    }
    let names_a_value = |entry: &&String| entry.find('=').is_some_and(|at| at > 0);
    if let Some(entry) = args.env.iter().find(|entry| !names_a_value(entry)) {
        let text = format!("--env {entry:?}: must be NAME=value");
        return Err(Error::new(text).kind(Kind::Invalid));
    }
    let mut env = process.env().clone().unwrap_or_default();
    env.extend(args.env.iter().cloned());
    process.set_env(Some(env));
    let mut user = process.user().clone();
    if let Some(ids) = args.user {
        user.set_uid(ids.uid);
        user.set_gid(ids.gid.unwrap_or(user.gid()));
    }
    if !args.additional_gids.is_empty() {
        let mut groups = user.additional_gids().clone().unwrap_or_default();
        groups.extend(args.additional_gids.iter().map(|gid| gid.0));
        user.set_additional_gids(Some(groups));
    }
    process.set_user(user);
    if args.no_new_privs {
        process.set_no_new_privileges(Some(true));
    }
    if let Some(profile) = &args.apparmor {
        process.set_apparmor_profile(Some(profile.clone()));
    }
    if let Some(label) = &args.process_label {
        process.set_selinux_label(Some(label.clone()));
    }
    add_capabilities(&mut process, &args.cap)?;
    Ok((process, Vec::new()))
}

/// What a process file says nothing of is as for the container's first process.
fn inherit(process: &mut Process, first: &Process) {
    if process.capabilities().is_none() {
        process.set_capabilities(first.capabilities().clone());
    }
    if process.rlimits().is_none() {
        process.set_rlimits(first.rlimits().clone());
    }
    if process.apparmor_profile().is_none() {
        process.set_apparmor_profile(first.apparmor_profile().clone());
    }
    if process.selinux_label().is_none() {
        process.set_selinux_label(first.selinux_label().clone());
    }
    if process.oom_score_adj().is_none() {
        process.set_oom_score_adj(first.oom_score_adj());
    }
}

/// Bounding, effective and permitted, never inheritable (CVE-2022-29162); ambient only
/// where the configuration has made it inheritable.
fn add_capabilities(process: &mut Process, names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let empty = || {
        let mut none = LinuxCapabilities::default();
        none.set_bounding(None).set_effective(None).set_permitted(None);
        none.set_inheritable(None).set_ambient(None);
        none
    };
    let mut caps = process.capabilities().clone().unwrap_or_else(empty);
    for name in names {
        let plain = name.strip_prefix("CAP_").unwrap_or_default();
        let Ok(capability) = Capability::from_str(plain) else {
            let error = Error::new(format!("--cap {name}: unknown capability")).kind(Kind::Invalid);
            return Err(match near_capability(name) {
                Some(near) => error.hint(format!("is {near} meant?")),
                None => error,
            });
        };
        let add = |set: &Option<_>| {
            let mut set: std::collections::HashSet<Capability> =
                Option::clone(set).unwrap_or_default();
            set.insert(capability);
            Some(set)
        };
        let (bounding, effective) = (add(caps.bounding()), add(caps.effective()));
        let permitted = add(caps.permitted());
        caps.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
        let inheritable = caps.inheritable().as_ref().is_some_and(|set| set.contains(&capability));
        if inheritable {
            let ambient = add(caps.ambient());
            caps.set_ambient(ambient);
        }
    }
    process.set_capabilities(Some(caps));
    Ok(())
}
