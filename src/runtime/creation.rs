//! One attempt at a container: everything that exists of it so far, so that it can be
//! taken back at any point.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::init::{self, Birth, Cradle, Event};
use super::listener::{self, Notified};
use super::made;
use super::net_devices::{self, Moved};
use super::nodes;
use super::notify::{self, Messenger};
use super::sources::{self, Sources};
use super::{Created, Request, fd_socket, hooks, idmap, stdio, userns_limits};
use crate::cgroup::{self, Cgroup, Driver, Fs, Placement, Systemd, stats};
use crate::error::{Doing, Error, Result};
use crate::host::cgroup::Tree;
use crate::host::mounts;
use crate::model::cgroup::Manager;
use crate::model::hooks::Kind as Hook;
use crate::model::namespaces::flag;
use crate::model::plan::Plan;
use crate::model::process::Process;
use crate::resctrl::Resctrl;
use crate::script;
use crate::script::init::{InitSetup, OpenNamespace};
use crate::state::{self, Agent, Container, OciState, Status};
use crate::sys::signal;

/// What there is of a container in the making.
pub(super) struct Attempt<'a> {
    request: &'a Request<'a>,
    plan: &'a Plan,
    process: &'a Process,
    container: Container,
    cgroup: Option<Box<dyn Driver>>,
    birth: Option<Birth>,
    devices: Option<Moved>,
    master: Option<OwnedFd>,
    messenger: Option<Messenger>,
    /// Gets the seccomp listener while the container is being created.
    agent: Option<Agent>,
    sources: Sources,
    /// A hook has been run: what it has made, those of `poststop` take back.
    has_run_hooks: bool,
}

/// Called at a time when there is no child.
fn no_child() -> Error {
    Error::new("there is no child")
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        request: &'a Request<'a>,
        plan: &'a Plan,
        process: &'a Process,
        container: Container,
    ) -> Self {
        Attempt {
            request,
            plan,
            process,
            container,
            cgroup: None,
            birth: None,
            devices: None,
            master: None,
            messenger: None,
            agent: None,
            sources: Sources::default(),
            has_run_hooks: false,
        }
    }

    /// From the state directory to a process that is ready.
    pub(super) fn run(&mut self, tree: Tree, config: &[u8], files: Vec<OwnedFd>) -> Result<()> {
        self.container.dir.save_config(config)?;
        if let Some(manager) = &self.request.notify_socket
            && self.plan.notifies
            && !self.request.detach
        {
            self.messenger = Some(Messenger::listen(&self.container.dir, manager)?);
        }

        // 3  the cgroup is limited while it is empty
        let placement = self.make_cgroup(tree)?;

        self.make_rdt_group()?;

        // 4  what the child needs of the host
        let gate = self.request.gate.then(|| {
            self.container.dir.make_gate()?;
            self.container.dir.open_gate_for_init()
        });
        let gate = gate.transpose()?;
        let (mut cradle, setup) = self.cradle_and_setup(placement, &files, gate.as_ref())?;
        if self.plan.namespaces.has(flag::USER) {
            userns_limits::raise_hard(&self.process.limits.rlimits);
        }
        let script = script::init::init(self.plan, self.process, &setup);
        if script.sends_listener() {
            // Nothing of it is left to `start`.
            self.agent = self.container.record.agent.take();
        } else if self.request.gate && self.container.record.agent.is_some() {
            cradle.page = Some(self.container.dir.make_listener_page()?);
        }

        // 5  from here on there is a process
        let birth = init::begin(script, &cradle)?;
        if self.request.detach {
            // Nobody waits in the foreground: a signal may end a create that hangs.
            signal::set_mask(birth.mask).doing(|| "restore the signal mask")?;
        }
        let stage = birth.is_stage();
        self.birth = Some(birth);
        drop((files, gate));
        // While the child is at work: the kernel takes its time to check a program.
        if let (Some(driver), Some(plan), Some(leaf)) =
            (&self.cgroup, &self.plan.cgroup, &cradle.cgroup)
        {
            driver.attach_devices(plan, leaf.as_fd())?;
        }
        // A stage will give the container another first process, and systemd its cgroup.
        if !stage && !setup.awaits_cgroup {
            self.know_init()?;
        }
        self.birth.as_ref().ok_or_else(no_child)?.seal();

        // 6  it is served until it is ready
        self.serve()
    }

    fn make_cgroup(&mut self, tree: Tree) -> Result<Placement> {
        let Some(plan) = &self.plan.cgroup else {
            self.container.dir.save_intent(&self.container.record)?;
            return Ok(Placement::Inherit);
        };
        let rootless = self.request.rootless.unwrap_or(self.request.host.is_rootless());
        let mut driver: Box<dyn Driver> = match self.request.cgroups {
            Manager::Systemd(instance) => Box::new(Systemd::new(instance, rootless, tree)),
            _ => Box::new(Fs::new(rootless, tree)),
        };
        driver.intend(plan)?;
        tracing::debug!("cgroup /{}, {} limits", driver.record().path, plan.settings.len());
        self.container.record.cgroup = Some(driver.record().clone());
        self.container.dir.save_intent(&self.container.record)?;
        let placement = driver.prepare(plan)?;
        self.container.record.cgroup = Some(driver.record().clone());
        self.cgroup = Some(driver);
        self.container.dir.save_intent(&self.container.record)?;
        Ok(placement)
    }

    fn make_rdt_group(&mut self) -> Result<()> {
        let Some(plan) = &self.plan.intel_rdt else { return Ok(()) };
        let mut record = Resctrl::host().intend(plan)?;
        self.container.record.intel_rdt = Some(record.clone());
        self.container.dir.save_intent(&self.container.record)?;
        let prepared = Resctrl::host().prepare(plan, &mut record);
        // On failure nothing of it is left, and what is there by its name is somebody else's.
        self.container.record.intel_rdt = prepared.is_ok().then_some(record);
        prepared?;
        self.container.dir.save_intent(&self.container.record)
    }

    /// How the child is born, and what it is given: see `Namespaces::by_clone` for who makes which
    /// namespaces.
    fn cradle_and_setup(
        &self,
        placement: Placement,
        files: &[OwnedFd],
        gate: Option<&OwnedFd>,
    ) -> Result<(Cradle, InitSetup)> {
        let (namespaces, host) = (&self.plan.namespaces, &self.request.host);
        let awaits_cgroup = matches!(placement, Placement::Later);
        let tree_namespace = host.tree_namespaces && sources::tree_namespace(self.plan);
        let new = namespaces.by_clone(tree_namespace, awaits_cgroup);
        let joins = namespaces.joined.iter().zip(files).map(|(joined, file)| {
            let (fd, field) = (file.as_raw_fd(), joined.field.clone());
            OpenNamespace { fd, flag: joined.flag, field }
        });
        let cgroup = match placement {
            Placement::Into(cgroup) => Some(cgroup),
            _ => None,
        };
        let cradle = Cradle { namespaces: new, cgroup, page: None };
        let setup = InitSetup {
            joins: joins.collect(),
            keyring: self.container.record.keyring(),
            gate: gate.map(AsRawFd::as_raw_fd),
            keep_below: self.request.passed.end(),
            unmount: if self.plan.no_pivot { mounts::proc_and_sysfs()? } else { Vec::new() },
            tree_namespace,
            unprivileged: host.unprivileged,
            awaits_cgroup,
            oom_score_by_parent: userns_limits::oom_score_is_ours(namespaces, host.unprivileged),
        };
        Ok((cradle, setup))
    }

    fn serve(&mut self) -> Result<()> {
        let unprivileged = self.request.host.unprivileged;
        loop {
            let birth = self.birth.as_mut().ok_or_else(no_child)?;
            match birth.listen()? {
                Event::Cgroup => self.adopt()?,
                Event::Maps => {
                    let namespaces = &self.plan.namespaces;
                    idmap::write(birth.pid, namespaces, unprivileged)?;
                    if userns_limits::oom_score_is_ours(namespaces, unprivileged) {
                        userns_limits::set_oom_score(birth.pid, &self.process.limits)?;
                    }
                    birth.answer(None)?;
                }
                Event::NetDevices => {
                    let moved = net_devices::move_in(&self.plan.net_devices, birth.pid)?;
                    self.devices = Some(moved);
                    birth.answer(None)?;
                }
                Event::Source(number) => {
                    let tree = self.sources.open(self.plan, number, birth.pidfd.as_fd())?;
                    birth.answer(Some(tree.as_fd()))?;
                }
                Event::Nodes => birth.answer(Some(nodes::make(self.plan, birth.pid)?.as_fd()))?,
                Event::Device(wanted) => birth.answer(Some(nodes::of_host(wanted)?.as_fd()))?,
                Event::Console(master, number) => self.terminal(master, number)?,
                Event::Hooks => self.hooks()?,
                Event::Listener(listener) => {
                    let agent = self.agent.take().ok_or_else(|| Error::new("there is no agent"))?;
                    let (fd, state) = (listener.as_fd(), (Status::Creating, birth.pid));
                    listener::give(fd, birth.pid, &agent, &self.container.record, state)?;
                    birth.answer(None)?;
                }
                // The page says so already: the child has looked a moment too early.
                Event::Appear => birth.answer(None)?,
                Event::Ready => return self.ready(),
                Event::Gone => return Err(Error::new("the child exited before it was ready")),
            }
        }
    }

    fn adopt(&mut self) -> Result<()> {
        let birth = self.birth.as_ref().ok_or_else(no_child)?;
        let (Some(driver), Some(plan)) = (&mut self.cgroup, &self.plan.cgroup) else {
            return Err(Error::new("the child asked for a cgroup that is not planned"));
        };
        let adopted = driver.adopt(plan, birth.pid);
        self.container.record.cgroup = Some(driver.record().clone());
        adopted?;
        self.container.dir.save_intent(&self.container.record)?;
        birth.answer(None)
    }

    fn terminal(&mut self, master: OwnedFd, number: u32) -> Result<()> {
        match &self.request.console_socket {
            Some(socket) => socket.send(master.as_fd(), format!("/dev/pts/{number}").as_bytes()),
            None => {
                fd_socket::fit(&master)?;
                self.master = Some(master);
                Ok(())
            }
        }
    }

    fn hooks(&mut self) -> Result<()> {
        self.has_run_hooks = true;
        let birth = self.birth.as_ref().ok_or_else(no_child)?;
        let state = OciState::new(&self.container.record, Status::Creating, birth.pid).to_json();
        let run = |kind: Hook, place| hooks::run(kind, self.plan.hooks.of(kind), &state, place);
        for kind in [Hook::Prestart, Hook::CreateRuntime] {
            run(kind, hooks::Place::Runtime { cwd: &self.request.bundle })?;
        }
        // A pid namespace that others are in is left out: the host is still in sight of these
        // hooks, and a peer with CAP_SYS_PTRACE would see it through them.
        let shared = self.plan.namespaces.joins(flag::PID);
        let namespaces =
            self.container.record.namespaces & if shared { !flag::PID } else { u64::MAX };
        let root = match self.plan.namespaces.is_new(flag::MOUNT) {
            true => hooks::Root::OfInit,
            false => hooks::Root::OfNamespace,
        };
        let pidfd = birth.pidfd.as_fd();
        run(
            Hook::CreateContainer,
            hooks::Place::Container { pidfd, namespaces, root, rights: None },
        )?;
        birth.answer(None)
    }

    /// The record of the container, prepared while the child is at work.
    fn know_init(&mut self) -> Result<()> {
        let birth = self.birth.as_ref().ok_or_else(no_child)?;
        self.container.record.init = Some(state::Process::with_pidfd(birth.pid, &birth.pidfd)?);
        self.container.dir.prepare(&self.container.record)
    }

    /// 7  the record is complete before the child may pass any gate
    fn ready(&mut self) -> Result<()> {
        if self.container.record.init.is_none() {
            self.know_init()?;
        }
        self.container.dir.commit()?;
        let start_hooks = !self.plan.hooks.of(Hook::StartContainer).is_empty();
        self.has_run_hooks |= start_hooks && !self.request.gate;
        let birth = self.birth.as_ref().ok_or_else(no_child)?;
        if self.plan.namespaces.joins(flag::PID) {
            userns_limits::set_scheduler(birth.pid, &self.process.limits)?;
        }
        if self.plan.namespaces.has(flag::USER)
            && !self.request.host.unprivileged
            && !self.process.terminal
        {
            stdio::give(birth.pid, self.process.creds.uid)?;
        }
        self.delegate(birth)?;
        if let Some(record) = &self.container.record.intel_rdt {
            Resctrl::host().add(record, birth.pid)?;
        }
        if let Some(socket) = &self.request.pidfd_socket {
            socket.send(birth.pidfd.as_fd(), b"standard")?;
        }
        if let Some(file) = &self.request.pid_file {
            file.write(birth.pid)?;
        }
        if !self.request.gate {
            self.start_hooks(birth)?;
        }
        if !self.request.gate && self.request.detach && self.plan.notifies {
            notify::main_pid(self.request.notify_socket.as_deref(), birth.pid);
        }
        birth.release(self.request.gate)?;
        match &self.container.record.agent {
            // With a gate such a filter comes after it: `start` hands the listener over.
            Some(agent) if !self.request.gate => {
                let Birth { page, pid, .. } = *birth;
                let process = Notified { page, pid, pidfd: birth.pidfd.as_fd() };
                let status = (Status::Created, pid);
                // A child that has ended has said why: whoever waits for its start hears it.
                listener::hand_over(&process, agent, &self.container.record, status)?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The container is in its cgroup by now, and in its user namespace.
    fn delegate(&self, birth: &Birth) -> Result<()> {
        match (&self.plan.delegation, &self.container.record.cgroup) {
            (Some(delegation), Some(record)) => {
                cgroup::delegate(record, delegation, birth.pid, self.request.host.unprivileged)
            }
            _ => Ok(()),
        }
    }

    /// Without a gate there is no `start` to run them.
    fn start_hooks(&self, birth: &Birth) -> Result<()> {
        let hooks @ [_, ..] = self.plan.hooks.of(Hook::StartContainer) else { return Ok(()) };
        let record = &self.container.record;
        let state = OciState::new(record, Status::Created, birth.pid).to_json();
        let rights = hooks::Rights::of(
            self.process,
            record,
            self.plan.seccomp.as_ref(),
            self.plan.namespaces.joins(flag::PID),
            birth.pid,
            self.cgroup.is_some(),
        )?;
        let (pidfd, namespaces) = (birth.pidfd.as_fd(), record.namespaces);
        let (root, rights) = (hooks::Root::OfInit, Some(&rights));
        let place = hooks::Place::Container { pidfd, namespaces, root, rights };
        hooks::run(Hook::StartContainer, hooks, &state, place)
    }

    pub(super) fn succeed(self) -> Result<Created> {
        let (container, master, messenger) = (self.container, self.master, self.messenger);
        Ok(Created { container, birth: self.birth.ok_or_else(no_child)?, master, messenger })
    }

    /// A process that was killed for want of memory could not say so.
    fn explain(&self, error: Error) -> Error {
        let cgroup = self.cgroup.as_ref().map(|driver| Cgroup::open(driver.record()));
        let Some(Ok(Some(cgroup))) = cgroup else { return error };
        match stats::memory_events(&cgroup).ok().and_then(|events| events.get("oom_kill").copied())
        {
            Some(1..) => error.hint(
                "the OOM killer killed a container process; raise linux.resources.memory.limit",
            ),
            _ => error,
        }
    }

    /// Ends the process first, then removes what it was in; the state goes last, so that
    /// `delete --force` finds what is left. The error of the attempt, which may be explained by what the kernel counted in the cgroup.
    pub(super) fn take_back(mut self, error: Error) -> Error {
        let error = self.explain(error);
        let clean = |what: &str, result: Result<()>| {
            if let Err(error) = result {
                tracing::warn!("clean up: {what}: {error}");
            }
        };
        if let Some(devices) = &mut self.devices {
            devices.give_back();
        }
        if let Some(birth) = &self.birth {
            clean("kill the container's first process", birth.abort());
            let (notes, root) = (birth.page.notes(), &self.plan.rootfs.path);
            let made = made::take_back(&notes, root, self.request.root, &self.request.id);
            clean("remove what was made in the root", made.doing(|| root.display().to_string()));
        }
        if let Some(driver) = &self.cgroup {
            driver.give_back();
            // What the kernel had no memory for at first may go through at the second try.
            let remove = || driver.remove();
            clean("remove the cgroup", remove().or_else(|_| remove()));
        }
        if let Some(record) = &self.container.record.intel_rdt {
            clean("remove the resctrl group", Resctrl::host().remove(record));
        }
        if let Some(file) = &self.request.pid_file {
            clean("remove the pid file", file.remove());
        }
        let state = OciState::new(&self.container.record, Status::Stopped, 0).to_json();
        clean("remove the state", self.container.dir.remove());
        // runtime.md, "Lifecycle": a failing hook stops the container, and it goes on with its
        // destruction. So do other failures once hooks have made something.
        if self.has_run_hooks {
            let place = hooks::Place::Runtime { cwd: &self.request.bundle };
            let poststop = self.plan.hooks.of(Hook::Poststop);
            clean("run hooks", hooks::run(Hook::Poststop, poststop, &state, place));
        }
        error
    }
}
