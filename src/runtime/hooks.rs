//! Runs hooks. Process: `rt`, in the namespaces of the host.
//!
//! ```text
//!  rt ── clone3 ──▶ stage ── clone3 ──▶ setns, rights ── birth ──▶ the hook
//!   │                 │ subreaper: gets the hook's orphans            │
//!   │ ◀── report ──── │ how the hook ended, or which call failed      │
//!   │ ◀───────────────────────── output ───────────────────────────── │ the tail is kept
//! ```
//!
//! The stage is there so that nothing about `rt` itself changes: no orphans of a hook among its
//! children. Its child runs a script, as the container's own process does: it enters the container,
//! if there is one to enter, and gives up what the hook must not have; the hook is born last, and
//! only where it has to be in another pid namespace.
//! What the hook leaves behind when it succeeds is let go; when it fails or takes too long, all
//! that came from it is killed ([`tree`]).

mod cgroup;
mod files;
mod outcome;
mod stage;
mod tail;
#[cfg(test)]
mod tests;
mod tree;

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use self::cgroup::OwnCgroup;
pub use self::files::check_files;
use self::outcome::Outcome;
use self::stage::Stage;
use self::tail::Tail;
use super::init;
use crate::cgroup::Cgroup;
use crate::error::{Doing, Error, Result};
use crate::model::hooks::{Hook, Kind};
use crate::model::namespaces::flag;
use crate::model::process::Process;
use crate::script::hook::{Container, HookSetup};
use crate::script::{self, Script};
use crate::seccomp::Filter;
use crate::state::Record;
use crate::sys::clone::{self, Side};
use crate::sys::page::SharedPage;
use crate::sys::signal::{self, Blocked, Mask};
use crate::sys::{fd, fs, io, memfd, memory, pidfd, proc};

/// Signals that end a hook early: without a timeout there would be no other way out.
const INTERRUPTS: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// Where a hook runs.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// In the namespaces of the runtime.
    Runtime {
        /// Working directory.
        cwd: &'a Path,
    },
    /// In those of a container. The working directory is the root: never a directory of the
    /// image's choice (CVE-2025-23266).
    Container {
        /// Its first process.
        pidfd: BorrowedFd<'a>,
        /// Which namespaces are joined: `CLONE_NEW*`.
        namespaces: u64,
        /// Which root it has, and in which its path counts.
        root: Root,
        /// What the hook may do; none for all that root of the container's user namespace may.
        rights: Option<&'a Rights<'a>>,
    },
}

/// The root directory of a hook in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// That of the container's first process: before the pivot still the host's, in the
    /// container's own mount namespace. The path of the hook counts from there.
    OfInit,
    /// That of the mount namespace that is joined, if one is. The path of the hook counts from the
    /// root of the runtime (config.md, "Hooks"): what is there in the container is the image's.
    OfNamespace,
}

/// What the container's own process may do, for hooks whose program is the container's.
#[derive(Debug)]
pub struct Rights<'a> {
    /// User, capabilities, limits, filter.
    given: script::hook::Rights<'a>,
    /// The host's procfs, where AppArmor and SELinux are told their labels.
    proc: OwnedFd,
    /// Its pid namespace has a first process that is not of this container: orphans go there.
    shares_pid: bool,
    /// Its cgroup, with its limits and its devices.
    cgroup: Option<OwnedFd>,
}

impl<'a> Rights<'a> {
    /// Those of the process `init`; `limited` when the container has a cgroup of its own.
    pub fn of(
        process: &'a Process,
        record: &Record,
        filter: Option<&'a Filter>,
        shares_pid: bool,
        init: i32,
        limited: bool,
    ) -> Result<Self> {
        let cgroup = limited.then(|| Cgroup::dir_of_process(init)).transpose()?;
        Ok(Rights {
            given: script::hook::Rights {
                process,
                keyring: record.keyring(),
                setgroups: !record.deny_setgroups,
                filter,
            },
            proc: init::open_proc()?,
            shares_pid,
            cgroup,
        })
    }
}

/// Runs the hooks of one kind in their order, each with the state on stdin.
///
/// # Errors
/// The first hook that fails, with what it wrote last. A `poststop` hook only causes a
/// warning, and the others still run (runtime.md, "Lifecycle").
pub fn run(kind: Kind, hooks: &[Hook], state_json: &[u8], place: Place<'_>) -> Result<()> {
    for (index, hook) in hooks.iter().enumerate() {
        let begun = Instant::now();
        let result = run_one(kind, index, hook, state_json, place);
        let path = hook.path.to_string_lossy();
        let (microseconds, ok) = (begun.elapsed().as_micros() as u64, result.is_ok());
        tracing::debug!(hook = %hook.field, %path, microseconds, ok, "hook has run");
        match result {
            Err(error) if kind == Kind::Poststop => tracing::warn!("{error}"),
            other => other?,
        }
    }
    Ok(())
}

fn run_one(
    kind: Kind,
    index: usize,
    hook: &Hook,
    state_json: &[u8],
    place: Place<'_>,
) -> Result<()> {
    let path = hook.path.to_string_lossy();
    let what = || format!("error running {kind} hook #{index}: {path}");
    let begun = Instant::now();
    let _blocked = Blocked::all().doing(what)?;
    let ignored = proc::ignored_signals().doing(what)?;
    let interrupts = interrupts(ignored).doing(what)?;
    let mut running = Running::start(hook, state_json, place, ignored).doing(what)?;
    let deadline = hook.timeout.and_then(|timeout| begun.checked_add(timeout));
    let outcome = running.wait(deadline, interrupts.as_raw_fd()).doing(what)?;
    let left = running.end(&outcome);
    let Some(failure) = outcome.failure(hook.timeout, &running.script, running.step()) else {
        return Ok(());
    };
    let mut error = Error::new(what()).field(&hook.field).step(format!("{kind} hook"));
    let mut detail = failure.text;
    let last_words = running.tail.line();
    if !last_words.is_empty() {
        detail = format!("{detail}: {last_words}");
    }
    if left {
        detail += "; some of its processes could not be killed";
    }
    if let Some(hint) = failure.hint {
        error = error.hint(hint);
    }
    Err(error.detail(detail))
}

/// A descriptor that tells of [`INTERRUPTS`]. What the caller has ignored stays ignored,
/// although a blocked signal would be told of all the same.
fn interrupts(ignored: Mask) -> Result<OwnedFd, Errno> {
    signal::signalfd(Mask::of(&INTERRUPTS).except(ignored)).map(fd::own)
}

/// A hook on its way.
struct Running {
    script: Script,
    /// What the hook's process says without being asked.
    page: &'static SharedPage,
    stage: OwnedFd,
    stage_pid: i32,
    /// The container's first process, to which its pid namespace gives a hook's orphans.
    adopter: Option<i32>,
    /// A cgroup for all that comes from the hook, where orphans are adopted by a stranger.
    cgroup: Option<OwnCgroup>,
    report: OwnedFd,
    output: Option<OwnedFd>,
    tail: Tail,
}

impl Running {
    /// Prepares everything that needs memory, then clones.
    fn start(
        hook: &Hook,
        state_json: &[u8],
        place: Place<'_>,
        ignored: Mask,
    ) -> Result<Self, Errno> {
        let stdin = state_file(state_json)?;
        let (report, report_writer) = io::pipe()?;
        let (output, output_writer) = io::pipe()?;
        io::set_nonblocking(&output, true)?;
        let rights = match place {
            Place::Container { rights, .. } => rights,
            Place::Runtime { .. } => None,
        };
        let of_container = rights.and_then(|rights| rights.cgroup.as_ref());
        let cgroup = of_container
            .filter(|_| rights.is_some_and(|rights| rights.shares_pid))
            .and_then(OwnCgroup::make);
        let mut adopter = None;
        let (init_root, program);
        let mut opened = None;
        let container = match place {
            Place::Runtime { .. } => None,
            Place::Container { pidfd, namespaces, root, .. } => {
                let pid = pidfd::pid(pidfd)?;
                adopter = Some(pid).filter(|_| namespaces & flag::PID != 0);
                let root = if root == Root::OfInit {
                    init_root = pidfd::root(pid, pidfd)?;
                    Some(init_root.as_raw_fd())
                } else {
                    if namespaces & flag::MOUNT != 0 {
                        program = open_program(&hook.path)?;
                        opened = Some(program.as_raw_fd());
                    }
                    None
                };
                Some(Container { init: pidfd.as_raw_fd(), namespaces, root })
            }
        };
        let setup = HookSetup {
            container,
            cwd: match place {
                Place::Runtime { cwd } => c_path(cwd)?,
                Place::Container { .. } => c"/".to_owned(),
            },
            stdin: stdin.as_raw_fd(),
            output: output_writer.as_raw_fd(),
            program: opened,
            rights: rights.map(|rights| &rights.given),
        };
        let born_in = cgroup.as_ref().map(OwnCgroup::fd);
        let mut stage = Stage {
            script: script::hook::hook(hook, &setup),
            enters_pid_namespace: adopter.is_some(),
            cgroup: born_in.or(of_container.map(AsRawFd::as_raw_fd)),
            proc: rights.map_or(-1, |rights| rights.proc.as_raw_fd()),
            output: output_writer.as_raw_fd(),
            report: report_writer.as_raw_fd(),
            page: SharedPage::map(None)?,
        };
        stage.page.ignored.store(ignored.bits(), Ordering::Relaxed);
        memory::find_arguments();
        match clone::clone3(0, None, None)? {
            Side::Child => stage::enter(&mut stage),
            Side::Parent { pid, pidfd } => Ok(Running {
                script: stage.script,
                page: stage.page,
                stage: fd::own(pidfd),
                stage_pid: pid,
                adopter,
                cgroup,
                report,
                output: Some(output),
                tail: Tail::default(),
            }),
        }
    }

    /// Waits for the report. The output is read meanwhile: a hook must not block on it.
    fn wait(&mut self, deadline: Option<Instant>, interrupts: RawFd) -> Result<Outcome, Errno> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(Outcome::TimedOut);
            }
            let output = self.output.as_ref().map_or(-1, AsRawFd::as_raw_fd);
            let mut fds = [
                io::interest(self.report.as_raw_fd(), libc::POLLIN),
                io::interest(interrupts, libc::POLLIN),
                io::interest(output, libc::POLLIN),
            ];
            io::poll(&mut fds, io::timeout_ms(left))?;
            let [report, interrupt, output] = fds.map(|fd| fd.revents != 0);
            if output && !self.tail.read(self.output.as_ref())? {
                self.output = None;
            }
            if report {
                let mut record = [0; stage::RECORD];
                let length = fs::read(self.report.as_raw_fd(), &mut record)?;
                return Ok(Outcome::from_record(&record[..length]));
            }
            if interrupt && let Some(received) = signal::next(interrupts)? {
                return Ok(Outcome::Interrupted(received.signal));
            }
        }
    }

    /// Where in its script the hook's process is, or was in the end.
    fn step(&self) -> usize {
        self.page.step.load(Ordering::Relaxed) as usize
    }

    /// Takes what was written last, and kills all that came from a hook unless it has
    /// succeeded. Whether anything is left that should not be.
    fn end(&mut self, outcome: &Outcome) -> bool {
        // Bounded: what a hook leaves behind may go on writing. An error here would hide
        // how the hook itself ended.
        for _ in 0..16 {
            if !self.tail.read(self.output.as_ref()).unwrap_or(false) {
                break;
            }
        }
        if outcome.is_success() {
            return false;
        }
        let killed = self.cgroup.as_ref().is_none_or(|cgroup| cgroup.kill().is_ok());
        !(tree::kill(self.stage_pid, self.adopter) && killed)
    }
}

impl Drop for Running {
    /// The stage goes last, also after an error on the way: as long as it is there, no
    /// orphan can get away. With it goes a hook that still runs.
    fn drop(&mut self) {
        // It may be gone already.
        let _ = pidfd::send_signal(self.stage.as_fd(), libc::SIGKILL);
        let _ = pidfd::wait(self.stage.as_fd(), false);
        if let Some(cgroup) = &self.cgroup {
            cgroup.remove();
        }
    }
}

/// The state in memory: unlike a pipe it takes any size, and nobody has to read it.
fn state_file(state_json: &[u8]) -> Result<OwnedFd, Errno> {
    let file = memfd::memory_file(c"state")?;
    let mut rest = state_json;
    while !rest.is_empty() {
        let written = fs::write(file.as_raw_fd(), rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    fs::rewind(file.as_raw_fd())?;
    Ok(file)
}

/// The program of a hook, by its path on the host. Its number is above those that the hook gets.
fn open_program(path: &CStr) -> Result<OwnedFd, Errno> {
    let program = fs::openat(libc::AT_FDCWD, path, libc::O_PATH, 0).map(fd::own)?;
    fcntl(&program, FcntlArg::F_DUPFD_CLOEXEC(fd::HIGH)).map(fd::own)
}

fn c_path(path: &Path) -> Result<CString, Errno> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)
}
