//! The quiet zone: what runs between clone3 and execve, in the container's first process, in a
//! process that `exec` puts into a container, and in one that becomes a hook.
//!
//! The child is a copy-on-write image of a process with one thread, made without the C
//! library's knowledge. The rules, which `#![no_implicit_prelude]` in each file of this
//! folder and the lints below help to keep:
//!
//! 1. No allocation, no locks, no formatting, no logging, no panics. Everything a step
//!    needs is in the [`Script`], made before the clone; buffers are fixed arrays. Only
//!    core's prelude is in scope: no `Vec`, no `String`, no `format!`.
//! 2. Only [`crate::sys`], which takes `&CStr`, raw fds and integers, and [`crate::sync`]; of
//!    the plan only data.
//! 3. The only ways out are execve(2) and _exit(2).
//! 4. Every fd is close-on-exec; the end of file on the socket is the success message.
//! 5. No path of the container is ever looked up from the host's root, and none of the
//!    host's after the pivot.
//! 6. After [`Op::ForgetPlan`] there is nothing but the stack, and what the script was given for
//!    itself: an operation that shares something with the plan (`Rc`) comes before.

#![no_implicit_prelude]
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable
)]

use ::core::prelude::rust_2024::*;

mod console;
mod copyup;
mod creds;
mod devices;
mod diagnose;
mod finish;
mod gate;
mod guard;
pub(crate) mod hook;
mod label;
mod listener;
mod mounts;
mod null;
mod process;
mod procfs;
mod report;
mod resolve;
mod root;
mod run;

use ::core::sync::atomic::Ordering;
use ::nix::errno::Errno;

use crate::script::Script;
use crate::script::call::Call;
use crate::script::op::Op;
use crate::sync::{self, Frame, Kind};
use crate::sys::page::SharedPage;
use crate::sys::{RawFd, clone, fs, mount};

use self::finish::Home;
pub use self::report::Failure;
use self::report::{At, Detail};

/// What the child knows of where it is. Descriptors are -1 when there is none.
pub(crate) struct Place {
    /// The socket to the parent; for a hook, the pipe for its report.
    link: RawFd,
    /// What the parent sees without being told.
    page: &'static SharedPage,
    /// The host's procfs, until the pivot.
    proc: RawFd,
    /// Contexts of procfs for a pid namespace that is joined, as many as there are to be mounted.
    procfs: [RawFd; procfs::MOST],
    /// They are mounts already.
    procfs_made: bool,
    /// A pid namespace was joined: the process itself enters it last of all.
    joins_pid: bool,
    /// The container's root, mounted.
    root: RawFd,
    /// What masks directories: an empty, read-only tmpfs, once it is attached.
    empty: RawFd,
    /// What masks files: a read-only mount of a null device, checked.
    null: RawFd,
    /// It is attached somewhere, and copies of it are taken.
    null_attached: bool,
    /// Device nodes that the parent has made, attached for as long as copies are taken.
    nodes: RawFd,
    /// The start gate, once it is passed: it stays open until the program is executed.
    gate: RawFd,
    /// Nobody reads the socket any more: failures go to the container's stderr.
    alone: bool,
    /// The working directory was entered as root; else it is tried again as the user.
    in_cwd: bool,
    /// Which candidate of the program can be executed, or is to be talked about.
    program: usize,
    /// The birth in a joined pid namespace is still to come.
    unborn: bool,
    /// One was found.
    has_program: bool,
    /// What the kernel said beyond the errno.
    detail: Detail,
    /// HOME, where the environment has none.
    home: Home,
}

/// Runs every step; on the first failure reports it and exits. Never returns.
pub fn enter(mut script: Script, link: RawFd, proc: RawFd, page: &'static SharedPage) -> ! {
    let mut place = Place::new(link, proc, page, &script);
    let failure = place.become_program(&mut script);
    place.fail(failure, &script)
}

impl Place {
    /// Where a script begins.
    pub(crate) fn new(
        link: RawFd,
        proc: RawFd,
        page: &'static SharedPage,
        script: &Script,
    ) -> Self {
        Place {
            link,
            page,
            proc,
            procfs: [-1; procfs::MOST],
            procfs_made: false,
            joins_pid: false,
            root: -1,
            empty: -1,
            null: -1,
            null_attached: false,
            nodes: -1,
            gate: -1,
            alone: false,
            in_cwd: false,
            program: 0,
            unborn: script
                .steps
                .iter()
                .any(|step| ::core::matches!(step.op, Op::EnterPidNamespace { .. })),
            has_program: false,
            detail: Detail::new(),
            home: Home::new(),
        }
    }

    /// Runs every step, and becomes the program. Returns only when something has failed: the page says
    /// which step.
    pub(crate) fn become_program(&mut self, script: &mut Script) -> Failure {
        for (index, step) in script.steps.iter().enumerate() {
            self.page.step.store(index as u32, Ordering::Relaxed);
            if let Err(failure) = step.op.run(self, script) {
                return failure;
            }
        }
        self.page.step.store(script.steps.len() as u32, Ordering::Relaxed);
        finish::exec(self, script)
    }

    /// The socket to the parent, or the report of a hook.
    pub(crate) fn link(&self) -> RawFd {
        self.link
    }

    /// Tells the parent something and waits for its answer; the descriptor that came
    /// with it. Without a parent there is no reason to go on.
    fn ask(&mut self, kind: Kind, arg: u64) -> Result<sync::Received, Failure> {
        self.tell(kind, arg, None)?;
        self.hear()
    }

    /// Waits until the devices of the cgroup are guarded. Before that nothing of the image is
    /// opened but by `O_PATH`: it could be, or become, a device that the container may not open.
    fn await_guard(&mut self) -> Result<(), Failure> {
        if self.page.guarded.load(Ordering::Acquire) == 1 {
            return Ok(());
        }
        self.ask(Kind::Guard, 0).map(|_| ())
    }

    /// Waits for the parent's word.
    fn hear(&mut self) -> Result<sync::Received, Failure> {
        match sync::receive(self.link) {
            Ok(Some(received)) => Ok(received),
            Ok(_) => clone::exit(1),
            Err(errno) => Err(errno).at(Call::Receive),
        }
    }

    /// A context for a procfs of the container's pid namespace, or that procfs itself.
    fn procfs(&mut self) -> Result<RawFd, Failure> {
        if !self.joins_pid {
            return mount::fsopen(c"proc").at(Call::FsOpen);
        }
        match self.procfs.iter_mut().find(|context| **context >= 0) {
            Some(context) => Ok(::core::mem::replace(context, -1)),
            None => Err(Failure::new(Call::Procfs, Errno::EMFILE)),
        }
    }

    /// Closes the descriptor of the root, which is the root of the process by now.
    fn close_root(&mut self) {
        fs::close(self.root);
        self.root = -1;
    }

    /// Tells the parent something.
    fn tell(&mut self, kind: Kind, arg: u64, fd: Option<RawFd>) -> Result<(), Failure> {
        match sync::send(self.link, Frame::new(kind, arg), &[], fd) {
            Err(Errno::EPIPE | Errno::ECONNRESET) => clone::exit(1),
            other => other.at(Call::Send),
        }
    }
}
