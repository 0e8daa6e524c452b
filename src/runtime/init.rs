//! The clone, and the conversation with the child until it is ready (see
//! [`crate::sync`]).

mod failure;

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use nix::errno::Errno;

use self::failure::clone_error;
use super::protect;
use crate::child::{self};
use crate::error::{Doing, Error, Result};
use crate::script::Script;
use crate::sync::{self, Frame, Kind};
use crate::sys::clone::{self, Side};
use crate::sys::page::SharedPage;
use crate::sys::proc::ignored_signals;
use crate::sys::{fd, fs, io, memory, pidfd, signal, sock};

/// The inode number of the root of a procfs.
const PROC_ROOT_INODE: u64 = 1;

/// How long a killed child may take to end.
const ENDING_MS: i32 = 10_000;

/// How the child comes into the world.
#[derive(Debug, Default)]
pub struct Cradle {
    /// `CLONE_NEW*` of the first clone.
    pub namespaces: u64,
    /// The cgroup to be born in.
    pub cgroup: Option<OwnedFd>,
    /// The file behind the page that is shared with the child, where another `rt` has to
    /// find it again.
    pub page: Option<OwnedFd>,
}

/// A process between clone3 and execve.
#[derive(Debug)]
pub struct Birth {
    /// Never freed: by then this process ends, and its memory goes at once.
    script: ManuallyDrop<Script>,
    link: OwnedFd,
    /// What the child says without a system call.
    pub page: &'static SharedPage,
    /// Its pid in our namespace.
    pub pid: i32,
    /// The process.
    pub pidfd: OwnedFd,
    /// The signals that the caller had blocked.
    pub mask: signal::Mask,
    /// The signals that the caller has us ignore, and that we ignore ourselves.
    pub ignored: signal::Mask,
    /// It is only a stage so far.
    stage: bool,
    /// Others can see it.
    seen: bool,
    ready: bool,
}

/// What the child wants, or has become.
#[derive(Debug)]
pub enum Event {
    /// A cgroup around it.
    Cgroup,
    /// Id mappings.
    Maps,
    /// Network devices of the host.
    NetDevices,
    /// The tree of a mount source.
    Source(u32),
    /// The mount with its device nodes.
    Nodes,
    /// A device of the host: which, and how it is to be opened.
    Device(u64),
    /// Its terminal is made: the master, and N of /dev/pts/N.
    Console(OwnedFd, u32),
    /// Its seccomp listener, for the agent.
    Listener(OwnedFd),
    /// Hooks to be run.
    Hooks,
    /// To be told that the runtime's binary is out of reach.
    Appear,
    /// All is done; an [`Birth::release`] lets it go on.
    Ready,
    /// It runs the program, or has ended since it was ready: its pidfd tells.
    Gone,
}

/// Clones. All signals are blocked from here on, in both processes: a signal must find
/// neither a child without a parent's ear nor a parent without its child (a lost
/// SIGCHLD is the classic hang).
pub fn begin(script: Script, cradle: &Cradle) -> Result<Birth> {
    let proc = open_proc()?;
    let (ours, theirs) = sock::pair().doing(|| "make a socket pair")?;
    let (ours, theirs) = (fd::own(ours), fd::own(theirs));
    let page = cradle.page.as_ref().map(AsRawFd::as_raw_fd);
    let page = SharedPage::map(page).doing(|| "map a shared page")?;
    memory::find_arguments();
    let mask = signal::set_mask(signal::Mask::ALL).doing(|| "block signals")?;
    let cgroup = cradle.cgroup.as_ref().map(AsRawFd::as_raw_fd);
    // The words of runc's log for these stages, which people and tools look for.
    tracing::debug!("nsexec container setup: clone3, namespaces {:#x}", cradle.namespaces);
    if tracing::enabled!(tracing::Level::DEBUG) {
        for (index, step) in script.steps.iter().enumerate() {
            let field =
                if step.field.is_root() { String::new() } else { format!(" (at {})", step.field) };
            tracing::debug!("step {index}: {}{field}", step.op.describe());
        }
    }
    let side = clone::clone3(cradle.namespaces, None, cgroup);
    let (pid, pidfd) = match side {
        Ok(Side::Child) => {
            let link = theirs.as_raw_fd();
            fs::close(ours.as_raw_fd());
            protect::let_go();
            child::enter(script, link, proc.as_raw_fd(), page)
        }
        Ok(Side::Parent { pid, pidfd }) => (pid, fd::own(pidfd)),
        Err(errno) => {
            // Nothing was started: the caller's mask is its own again.
            signal::set_mask(mask).doing(|| "restore the signal mask")?;
            return Err(clone_error(errno, cradle));
        }
    };
    drop(theirs);
    // While the child is at work: it takes the kernel 20 us to write this file.
    let ignored = ignored_signals().doing(|| "read /proc/self/status")?;
    page.ignored.store(ignored.bits(), Ordering::Relaxed);
    tracing::debug!("child process in init(): pid {pid}, {} steps to do", script.steps.len());
    let stage = script.steps.iter().any(|step| step.op.ends_stage());
    let script = ManuallyDrop::new(script);
    Ok(Birth {
        script,
        link: ours,
        page,
        pid,
        pidfd,
        mask,
        ignored,
        stage,
        seen: false,
        ready: false,
    })
}

/// The host's procfs, before anything of a container is near: it must be a whole procfs
/// with nothing mounted over it (CVE-2025-52881).
pub(super) fn open_proc() -> Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let fd = fd::own(fs::openat(libc::AT_FDCWD, c"/proc", flags, 0).doing(|| "open /proc")?);
    let magic = fs::fs_magic(fd.as_raw_fd()).doing(|| "look at /proc")?;
    let inode = fs::fstat(fd.as_raw_fd()).doing(|| "look at /proc")?.st_ino;
    if magic != fs::magic::PROC || inode != PROC_ROOT_INODE {
        return Err(Error::new("/proc is not a proc file system").hint("mount one there"));
    }
    Ok(fd)
}

impl Birth {
    /// The next thing that the child wants. Who listens has guarded the devices of its cgroup:
    /// from now on it may open what belongs to the image.
    pub fn listen(&mut self) -> Result<Event> {
        self.page.guarded.store(1, Ordering::Release);
        if tracing::enabled!(tracing::Level::DEBUG) {
            self.watch()?;
        }
        let received = sync::receive(self.link.as_raw_fd()).doing(|| "hear from the child")?;
        let Some(sync::Received { frame, fd, text, text_length }) = received else {
            if !self.ready {
                return Err(self.death());
            }
            tracing::debug!("init: closing the pipe to signal completion: execve, or its end");
            return Ok(Event::Gone);
        };
        let fd = fd.map(fd::own);
        tracing::debug!("the child says: {:?} {}, at step {}", frame.kind, frame.arg, self.step());
        // A peer may have the child's end of the socket by now, or the child itself: there is
        // nothing left that the child could want.
        if self.seen && !matches!(frame.kind, Kind::Born | Kind::Ready | Kind::Failed) {
            return Err(Error::new(format!("the child sent an unexpected {:?}", frame.kind)));
        }
        match (frame.kind, fd) {
            (Kind::Cgroup, _) => Ok(Event::Cgroup),
            (Kind::Guard, _) => {
                self.answer(None)?;
                self.listen()
            }
            (Kind::Maps, _) => Ok(Event::Maps),
            (Kind::NetDevices, _) => Ok(Event::NetDevices),
            (Kind::Source, _) => Ok(Event::Source(frame.arg as u32)),
            (Kind::Nodes, _) => Ok(Event::Nodes),
            (Kind::Device, _) => Ok(Event::Device(frame.arg)),
            (Kind::Hooks, _) => Ok(Event::Hooks),
            (Kind::Appear, _) => Ok(Event::Appear),
            (Kind::Listener, Some(listener)) => Ok(Event::Listener(listener)),
            (Kind::Console, Some(master)) => Ok(Event::Console(master, frame.arg as u32)),
            (Kind::Born, _) if self.stage => {
                self.adopt()?;
                self.listen()
            }
            (Kind::Last, _) => {
                self.seen = true;
                self.listen()
            }
            (Kind::Ready, _) => {
                self.ready = true;
                self.seen = true;
                Ok(Event::Ready)
            }
            (Kind::Failed, _) => {
                // It is on its way out; nobody else reaps it.
                let _ = pidfd::wait(self.pidfd.as_fd(), false);
                Err(self.failure(frame, &text[..text_length]))
            }
            (kind, _) => Err(Error::new(format!("the child sent an unexpected {kind:?}"))),
        }
    }

    /// For who debugs a start that hangs: says every second which step it is that takes so long.
    fn watch(&self) -> Result<()> {
        const EVERY_MS: i32 = 1000;
        loop {
            let mut news = [io::interest(self.link.as_raw_fd(), libc::POLLIN)];
            if io::poll(&mut news, EVERY_MS).doing(|| "hear from the child")? > 0 {
                return Ok(());
            }
            let (index, all) = (self.step(), self.script.steps.len());
            tracing::debug!("still at step {index} of {all}: {}", self.script.describe(index));
        }
    }

    /// Whether the container's own process is not born yet.
    pub fn is_stage(&self) -> bool {
        self.stage
    }

    /// Lets the read-only mount go that this program runs from, before anybody in a container can
    /// see one of our processes: as long as a descriptor of it is open somewhere, it is a detached
    /// mount, which root of any user namespace may make writable again (mount_setattr(2); the class
    /// of CVE-2019-5736). The child waits for the word in the page before it appears.
    pub fn seal(&self) {
        protect::let_go();
        self.page.sealed.store(1, Ordering::Release);
    }

    /// Waits until the child runs the program; its failure is the error.
    pub fn wait_until_started(&mut self) -> Result<()> {
        loop {
            if let Event::Gone = self.listen()? {
                return Ok(());
            }
        }
    }

    /// Answers what the child asked for.
    pub fn answer(&self, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        self.ack(0, fd)
    }

    /// Lets the child go on to the program. With `leaving`, nobody will hear what it has
    /// to say after this.
    pub fn release(&self, leaving: bool) -> Result<()> {
        self.ack(leaving.into(), None)
    }

    fn ack(&self, arg: u64, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        let fd = fd.map(|fd| fd.as_raw_fd());
        match sync::send(self.link.as_raw_fd(), Frame::new(Kind::Ack, arg), &[], fd) {
            // It died while we worked: the next frame, or its end, says why.
            Err(Errno::EPIPE) => Ok(()),
            other => other.doing(|| "answer the child"),
        }
    }

    /// The stage has made the real child, once, and exits.
    fn adopt(&mut self) -> Result<()> {
        let doing = || "find the child of the stage";
        self.stage = false;
        self.pid = self.page.pid.load(Ordering::Relaxed) as i32;
        let pidfd = pidfd::open(self.pid).doing(doing)?;
        // The page is shared: whoever writes there from inside can name nobody else.
        if !pidfd::is_child(pidfd.as_fd()).doing(doing)? {
            return Err(Errno::ECHILD).doing(doing);
        }
        let stage = std::mem::replace(&mut self.pidfd, pidfd);
        pidfd::wait(stage.as_fd(), false).doing(|| "wait for the stage").map(drop)
    }

    /// Kills and reaps.
    pub fn abort(&self) -> Result<()> {
        match pidfd::send_signal(self.pidfd.as_fd(), libc::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno).doing(|| "kill the child"),
        }
        // Whoever traces it keeps it from being reaped.
        let mut ended = [io::interest(self.pidfd.as_raw_fd(), libc::POLLIN)];
        io::poll(&mut ended, ENDING_MS).doing(|| "wait for the end of the child")?;
        match pidfd::wait(self.pidfd.as_fd(), true) {
            Ok(Some(_)) | Err(Errno::ECHILD) => Ok(()),
            Ok(None) => {
                let text = format!("the child was killed, and is still there after {ENDING_MS} ms");
                Err(Error::new(text).hint("it may be traced, or stuck in the kernel (state D)"))
            }
            Err(errno) => Err(errno).doing(|| "reap the child"),
        }
    }
}
