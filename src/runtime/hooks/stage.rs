//! Between clone3 and execve of a hook: the quiet zone (its rules are in [`crate::child`]).
//! Processes: first the stage, a child of `rt`, which stays in the namespaces of `rt`; then a child
//! of the stage, which joins those of the container and becomes the hook.

#![no_implicit_prelude]

use ::core::iter::IntoIterator;
use ::core::iter::Iterator;
use ::core::option::Option::{self, None, Some};
use ::core::result::Result::{self, Err, Ok};
use ::core::sync::atomic::Ordering;
use ::nix::errno::Errno;
use ::std::ffi::CString;
use ::std::os::fd::AsRawFd;

use super::Rights;
use crate::child::creds;
use crate::child::label;
use crate::child::process::session_keyring;
use crate::sys::clone::{self, Side};
use crate::sys::page::{CArray, SharedPage};
use crate::sys::pidfd::{self, Exit};
use crate::sys::signal::{self, Mask};
use crate::sys::{RawFd, cred, fs, io, memory, ns, sched, seccomp};

/// Where the report is in the hook: right after stdio.
const REPORT: RawFd = 3;

/// The length of a report: what, and a number.
pub(super) const RECORD: usize = 8;

/// What a report is about. Everything from `Isolate` on is a call that failed, with its errno.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum What {
    Exited = 1,
    Killed = 2,
    Isolate = 3,
    Chdir = 4,
    Stdio = 5,
    Join = 6,
    Root = 7,
    BecomeRoot = 8,
    Fork = 9,
    Wait = 10,
    Exec = 11,
    Rights = 12,
}

impl What {
    pub(super) const ALL: [What; 12] = [
        What::Exited,
        What::Killed,
        What::Isolate,
        What::Chdir,
        What::Stdio,
        What::Join,
        What::Root,
        What::BecomeRoot,
        What::Fork,
        What::Wait,
        What::Exec,
        What::Rights,
    ];
}

/// The container that a hook runs in.
pub(super) struct Join {
    pub(super) pidfd: RawFd,
    pub(super) namespaces: u64,
    /// The directory to make the root; none where the namespaces say what it is.
    pub(super) root: Option<RawFd>,
    /// The cgroup to be born in.
    pub(super) cgroup: Option<RawFd>,
}

/// What the stage needs.
pub(super) struct Stage<'a> {
    pub(super) path: CString,
    /// The program, where its path would lead to another file once the namespaces are joined.
    pub(super) program: Option<RawFd>,
    pub(super) argv: CArray,
    pub(super) envp: CArray,
    pub(super) stdin: RawFd,
    pub(super) output: RawFd,
    pub(super) report: RawFd,
    pub(super) cwd: CString,
    pub(super) join: Option<Join>,
    pub(super) rights: Option<&'a Rights<'a>>,
    /// What the hook is not to find ignored.
    pub(super) ignored: Mask,
    /// Where the process that enters the container leaves the pid of the hook.
    pub(super) page: &'static SharedPage,
}

impl Stage<'_> {
    /// Whether the hook is in another pid namespace than the runtime.
    fn enters_pid_namespace(&self) -> bool {
        self.join.as_ref().is_some_and(|join| join.namespaces & ::libc::CLONE_NEWPID as u64 != 0)
    }
}

/// Runs the hook and reports how it ended.
pub(super) fn enter(stage: &mut Stage<'_>) -> ! {
    // The memory is a copy of `rt`'s (CVE-2016-9962).
    memory::overwrite_arguments();
    let begun = cred::set_dumpable(false)
        .and_then(|()| cred::set_child_subreaper(true))
        .and_then(|()| die_with_parent(stage.report));
    if let Err(errno) = begun {
        report(stage.report, What::Isolate, errno as i32);
        clone::exit(1);
    }
    let cgroup = stage.join.as_ref().and_then(|join| join.cgroup);
    match clone::clone3(0, None, cgroup) {
        Ok(Side::Child) => become_hook(stage),
        Ok(Side::Parent { pidfd, .. }) => supervise(stage, pidfd),
        Err(errno) => report(stage.report, What::Fork, errno as i32),
    }
    // What was left behind by a hook that failed comes to this process, and `rt` finds it
    // here. It kills this process when it is done, and its own death does so too.
    wait_for_end(stage.report, -1);
    clone::exit(1)
}

/// Waits for the hook itself, not for those who hold its output.
fn supervise(stage: &Stage<'_>, entrant: RawFd) {
    // Otherwise the output would never end.
    fs::close(stage.output);
    let ended = match pidfd::wait_raw(entrant, false) {
        // It has gone on as another process, in the pid namespace of the container.
        Ok(Some(Exit::Code(0))) if stage.enters_pid_namespace() => {
            match pidfd::open(stage.page.pid.load(Ordering::Relaxed) as i32) {
                Ok(hook) => pidfd::wait_raw(hook.as_raw_fd(), false),
                Err(errno) => Err(errno),
            }
        }
        // It has reported why there is no hook.
        Ok(Some(Exit::Code(_))) if stage.enters_pid_namespace() => return,
        other => other,
    };
    match ended {
        Ok(Some(Exit::Code(code))) => {
            report(stage.report, What::Exited, code);
            if code == 0 {
                clone::exit(0);
            }
        }
        Ok(Some(Exit::Signal(signal))) => report(stage.report, What::Killed, signal),
        Ok(None) => report(stage.report, What::Wait, Errno::ECHILD as i32),
        Err(errno) => report(stage.report, What::Wait, errno as i32),
    }
}

/// Enters the container, if there is one, and becomes the program. Where others are in the pid
/// namespace that it enters, they see it with the rights of the program and no others.
fn become_hook(stage: &mut Stage<'_>) -> ! {
    let (failed, errno) = match prepare(stage) {
        Ok(()) => {
            let errno = match stage.program {
                Some(program) => execute(program, stage),
                None => clone::execve(&stage.path, &stage.argv, &mut stage.envp, None),
            };
            (What::Exec, errno)
        }
        Err(failure) => failure,
    };
    report(stage.report, failed, errno as i32);
    clone::exit(127)
}

/// A script is given to its interpreter by the number of the descriptor, which must be open then.
fn execute(program: RawFd, stage: &mut Stage<'_>) -> Errno {
    let errno = clone::execve_open(program, &stage.argv, &mut stage.envp);
    if errno == Errno::ENOENT && fs::keep_open(program).is_ok() {
        return clone::execve_open(program, &stage.argv, &mut stage.envp);
    }
    errno
}

fn prepare(stage: &mut Stage<'_>) -> Result<(), (What, Errno)> {
    let at = |what: What| move |errno: Errno| (what, errno);
    // While the host's procfs is in sight; the hook inherits it.
    if let Some(rights) = stage.rights {
        for label in &rights.labels {
            label::set(rights.proc.as_raw_fd(), label.file, &label.value)
                .map_err(|failure| (What::Rights, failure.errno))?;
        }
    }
    if let Some(join) = &stage.join {
        enter_container(join)?;
    }
    fs::chdir(&stage.cwd).map_err(at(What::Chdir))?;
    fs::cwd_is_inside().map_err(at(What::Chdir))?;
    keep_only_stdio(stage).map_err(at(What::Stdio))?;
    if let Some(rights) = stage.rights {
        become_user(rights).map_err(at(What::Rights))?;
        drop_rights(rights).map_err(at(What::Rights))?;
    }
    if stage.enters_pid_namespace() {
        clone::reborn(&stage.page.pid).map_err(at(What::Fork))?;
    }
    isolate(stage.ignored).map_err(at(What::Isolate))?;
    stage.rights.map_or(Ok(()), finish_rights).map_err(at(What::Rights))
}

/// Nothing else is open when others can look (CVE-2016-9962), but for the report and the program,
/// which close with execve(2).
fn keep_only_stdio(stage: &mut Stage<'_>) -> Result<(), Errno> {
    for (from, to) in [(stage.stdin, 0), (stage.output, 1), (stage.output, 2)] {
        fs::dup3(from, to, 0)?;
    }
    fs::dup3(stage.report, REPORT, ::libc::O_CLOEXEC)?;
    stage.report = REPORT;
    let first = REPORT as u32 + 1;
    match stage.program.map(|program| program as u32) {
        Some(program) => {
            fs::close_range(first, program - 1, 0)?;
            fs::close_range(program + 1, u32::MAX, 0)
        }
        None => fs::close_range(first, u32::MAX, 0),
    }
}

fn enter_container(join: &Join) -> Result<(), (What, Errno)> {
    if join.namespaces != 0 {
        ns::setns(join.pidfd, join.namespaces).map_err(|errno| (What::Join, errno))?;
    }
    if let Some(root) = join.root {
        fs::fchdir(root).map_err(|errno| (What::Root, errno))?;
        fs::chroot(c".").map_err(|errno| (What::Root, errno))?;
    }
    if join.namespaces & ::libc::CLONE_NEWUSER as u64 == 0 {
        return Ok(());
    }
    // Whoever joins a user namespace has its rights, but is nobody in it.
    match cred::setgroups(&[]) {
        // user_namespaces(7): setgroups is denied where an ordinary user made the mapping.
        Ok(()) | Err(Errno::EPERM) => {}
        Err(errno) => return Err((What::BecomeRoot, errno)),
    }
    for result in [cred::setresgid(0), cred::setresuid(0)] {
        match result {
            // A namespace need not map 0: nobody has all rights in it, too.
            Ok(()) | Err(Errno::EINVAL) => {}
            Err(errno) => return Err((What::BecomeRoot, errno)),
        }
    }
    // The kernel decides anew at a change of user.
    cred::set_dumpable(false).map_err(|errno| (What::Isolate, errno))
}

/// From here on nobody waits for us when `rt`, or the stage, is killed.
fn die_with_parent(report: RawFd) -> Result<(), Errno> {
    cred::set_parent_death_signal(::libc::SIGKILL)?;
    // It could have died before: then nobody holds the other end of the report.
    if wait_for_end(report, 0) {
        clone::exit(1);
    }
    Ok(())
}

/// Waits until nobody can read the report any more.
fn wait_for_end(report: RawFd, timeout_ms: i32) -> bool {
    let mut fds = [io::interest(report, 0)];
    ::core::matches!(io::poll(&mut fds, timeout_ms), Ok(1..))
}

fn become_user(rights: &Rights<'_>) -> Result<(), Errno> {
    if let Some(name) = &rights.keyring {
        session_keyring(name).map_err(|failure| failure.errno)?;
    }
    for limit in &rights.process.limits.rlimits {
        // The birth in a pid namespace makes one process more of the user, for a moment: the limit
        // on them comes after it (`finish_rights`).
        if limit.resource == sched::NPROC {
            let (_, own) = sched::getrlimit(limit.resource)?;
            let hard = ::core::cmp::max(own, limit.hard);
            sched::setrlimit(limit.resource, hard, hard)?;
        } else {
            sched::setrlimit(limit.resource, limit.soft, limit.hard)?;
        }
    }
    let creds = &rights.process.creds;
    creds::bounding_set(creds.caps.bounding).map_err(|failure| failure.errno)?;
    let groups = if rights.deny_setgroups { None } else { Some(&creds.groups[..]) };
    creds::become_user(creds.uid, creds.gid, groups).map_err(|failure| failure.errno)?;
    fs::umask(creds.umask);
    // The kernel decides anew, by fs.suid_dumpable; the memory is still a copy of `rt`'s.
    cred::set_dumpable(false)
}

/// In the order of the process itself (see `script::rights`).
fn drop_rights(rights: &Rights<'_>) -> Result<(), Errno> {
    let (creds, late) = (&rights.process.creds, rights.filter.is_some() && !rights.early_filter);
    let privileged = !creds.no_new_privileges;
    let early = || if late { Ok(()) } else { load_filter(rights) };
    if privileged {
        creds::raise_permitted().map_err(|failure| failure.errno)?;
        early()?;
    }
    creds::drop_to(&creds.caps, privileged && late, true).map_err(|failure| failure.errno)?;
    if !privileged {
        creds::no_new_privileges().map_err(|failure| failure.errno)?;
        early()?;
    }
    Ok(())
}

/// What could not come before the birth.
fn finish_rights(rights: &Rights<'_>) -> Result<(), Errno> {
    for limit in &rights.process.limits.rlimits {
        if limit.resource == sched::NPROC {
            sched::setrlimit(limit.resource, limit.soft, limit.hard)?;
        }
    }
    if rights.early_filter {
        return Ok(());
    }
    load_filter(rights)?;
    let creds = &rights.process.creds;
    match (creds.no_new_privileges, rights.filter) {
        (false, Some(_)) => {
            creds::drop_to(&creds.caps, false, false).map_err(|failure| failure.errno)
        }
        _ => Ok(()),
    }
}

fn load_filter(rights: &Rights<'_>) -> Result<(), Errno> {
    const LISTENER: u64 =
        ::libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | ::libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    match rights.filter {
        Some(filter) => {
            seccomp::set_mode_filter(&filter.program, filter.flags & !LISTENER).map(|_| ())
        }
        None => Ok(()),
    }
}

/// A session of its own: no terminal of the caller's, a process group to be killed.
fn isolate(ignored: Mask) -> Result<(), Errno> {
    // Only now: a change of user clears it, and so does a birth.
    die_with_parent(REPORT)?;
    cred::setsid()?;
    signal::set_defaults(ignored)?;
    signal::set_mask(Mask::NONE).map(::core::mem::drop)
}

/// What of the above comes after the filter, if that is loaded early.
pub(super) const AFTER_FILTER: &[&str] = &[
    "capget",
    "capset",
    "execve",
    "execveat",
    "exit_group",
    "fcntl",
    "poll",
    "prctl",
    "prlimit64",
    "rt_sigaction",
    "rt_sigprocmask",
    "setsid",
    "write",
];

fn report(fd: RawFd, what: What, number: i32) {
    let mut record = [0u8; RECORD];
    let bytes = (what as i32).to_ne_bytes().into_iter().chain(number.to_ne_bytes());
    for (slot, byte) in record.iter_mut().zip(bytes) {
        *slot = byte;
    }
    // Without a reader there is nobody to be told.
    let _ = fs::write(fd, &record);
}
