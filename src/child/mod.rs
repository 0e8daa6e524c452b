//! The quiet zone: what runs between clone3 and execve, in the container's first process
//! (or in a process that `exec` puts into a container).
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

#![no_implicit_prelude]
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable
)]

use ::core::prelude::rust_2024::*;

mod calls;
mod console;
mod copyup;
pub(crate) mod creds;
mod devices;
mod diagnose;
mod finish;
mod gate;
mod guard;
mod listener;
mod mounts;
mod null;
mod op;
pub(crate) mod process;
mod procfs;
mod report;
mod resolve;
mod root;
mod script;

use ::core::cell::Cell;
use ::core::sync::atomic::Ordering;
use ::nix::errno::Errno;
use ::std::rc::Rc;

use crate::sync::{self, Frame, Kind};
use crate::sys::page::SharedPage;
use crate::sys::{RawFd, clone, fs, mount, ns};

pub use self::calls::{LAST, LAST_OF_AGENT, LISTENER, Needed};
use self::finish::Home;
pub use self::listener::Listener;
pub use self::op::{Guarded, Op};
use self::report::{At, Detail};
pub use self::report::{Call, Failure};
pub use self::script::{Script, Step};

/// How many sources can be kept open: many would meet RLIMIT_NOFILE.
pub const MOST_TREES: usize = 32;

/// A descriptor that one step opens and a later one needs; -1 until then.
pub type Kept = Rc<Cell<RawFd>>;

/// What the child knows of where it is. Descriptors are -1 when there is none.
pub(crate) struct Place {
    /// The socket to the parent.
    link: RawFd,
    /// What the parent sees without being told.
    page: &'static SharedPage,
    /// The host's procfs, until the pivot.
    proc: RawFd,
    /// Contexts of procfs for a pid namespace that is joined, as many as there are to be mounted.
    procfs: [RawFd; procfs::MOST],
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
    let mut place = Place {
        link,
        page,
        proc,
        procfs: [-1; procfs::MOST],
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
    };
    for (index, step) in script.steps.iter().enumerate() {
        place.page.step.store(index as u32, Ordering::Relaxed);
        if let Err(failure) = step.op.run(&mut place, &script) {
            place.fail(failure, &script);
        }
    }
    let index = script.steps.len();
    place.page.step.store(index as u32, Ordering::Relaxed);
    let failure = finish::exec(&mut place, &mut script);
    place.fail(failure, &script)
}

impl Place {
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

    /// Opens what is needed of a pid namespace, and chooses it for the child that is born last.
    fn join_pid(&mut self, namespace: RawFd, count: usize) -> Result<(), Failure> {
        if count > self.procfs.len() {
            return Err(Failure::new(Call::Procfs, Errno::EMFILE));
        }
        for slot in 0..count {
            let context = procfs::open(self, namespace)?;
            if let Some(slot) = self.procfs.get_mut(slot) {
                *slot = context;
            }
        }
        self.joins_pid = true;
        ns::setns(namespace, ::libc::CLONE_NEWPID as u64).at(Call::Setns)
    }

    /// A context for a procfs of the container's pid namespace.
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
