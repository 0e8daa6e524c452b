//! Between clone3 and execve of a hook: the quiet zone (its rules are in [`crate::child`]).
//! Process: first the stage, a child of `rt`; then the hook, a child of the stage. Both
//! in the namespaces of the container once they are joined.

#![no_implicit_prelude]

use ::core::iter::IntoIterator;
use ::core::iter::Iterator;
use ::core::option::Option::{self, None, Some};
use ::core::result::Result::{self, Err, Ok};
use ::nix::errno::Errno;
use ::std::ffi::CString;
use ::std::os::fd::AsRawFd;

use super::Rights;
use crate::child::creds;
use crate::child::process::{session_keyring, write_proc};
use crate::sys::clone::{self, Side};
use crate::sys::page::CArray;
use crate::sys::pidfd::{self, Exit};
use crate::sys::signal::{self, Mask};
use crate::sys::{RawFd, cred, fs, io, ns, sched, seccomp};

/// Where the report is in the stage and in the hook: right after stdio.
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

/// Namespaces to join.
pub(super) struct Join {
    pub(super) pidfd: RawFd,
    pub(super) namespaces: u64,
    /// The directory to make the root.
    pub(super) root: RawFd,
}

/// What the stage needs.
pub(super) struct Stage<'a> {
    pub(super) path: CString,
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
}

/// Runs the hook and reports how it ended.
pub(super) fn enter(stage: &mut Stage<'_>) -> ! {
    if let Err((what, errno)) = prepare(stage) {
        report(stage.report, what, errno as i32);
        clone::exit(1);
    }
    match clone::clone3(0, None, None) {
        Ok(Side::Child) => become_hook(stage),
        Ok(Side::Parent { pidfd, .. }) => supervise(pidfd),
        Err(errno) => report(REPORT, What::Fork, errno as i32),
    }
    // What was left behind by a hook that failed comes to this process, and `rt` finds it
    // here. It kills this process when it is done, and its own death does so too.
    wait_for_end(-1);
    clone::exit(1)
}

/// Waits for the hook itself, not for those who hold its output.
fn supervise(hook: RawFd) {
    // Otherwise the output would never end.
    let _ = fs::close_range(0, 2, 0);
    match pidfd::wait_raw(hook, false) {
        Ok(Some(Exit::Code(code))) => {
            report(REPORT, What::Exited, code);
            if code == 0 {
                clone::exit(0);
            }
        }
        Ok(Some(Exit::Signal(signal))) => report(REPORT, What::Killed, signal),
        Ok(None) => report(REPORT, What::Wait, Errno::ECHILD as i32),
        Err(errno) => report(REPORT, What::Wait, errno as i32),
    }
}

fn prepare(stage: &Stage<'_>) -> Result<(), (What, Errno)> {
    let at = |what: What| move |errno: Errno| (what, errno);
    cred::set_child_subreaper(true).map_err(at(What::Isolate))?;
    // While the host's procfs is in sight; the hook inherits it.
    if let Some(rights) = stage.rights {
        for label in &rights.labels {
            write_proc(rights.proc.as_raw_fd(), label.file, &label.value)
                .map_err(|failure| (What::Rights, failure.errno))?;
        }
    }
    if let Some(join) = &stage.join {
        enter_container(join)?;
    }
    fs::chdir(&stage.cwd).map_err(at(What::Chdir))?;
    fs::cwd_is_inside().map_err(at(What::Chdir))?;
    for (from, to) in [(stage.stdin, 0), (stage.output, 1), (stage.output, 2)] {
        fs::dup3(from, to, 0).map_err(at(What::Stdio))?;
    }
    fs::dup3(stage.report, REPORT, ::libc::O_CLOEXEC).map_err(at(What::Stdio))?;
    // Before anything is born in the pid namespace, where it could be looked into (CVE-2016-9962).
    fs::close_range(4, u32::MAX, 0).map_err(at(What::Stdio))?;
    // Only now: a change of user clears it.
    die_with_parent().map_err(at(What::Isolate))
}

fn enter_container(join: &Join) -> Result<(), (What, Errno)> {
    // The memory is a copy of `rt`'s (CVE-2016-9962).
    cred::set_dumpable(false).map_err(|errno| (What::Isolate, errno))?;
    if join.namespaces != 0 {
        ns::setns(join.pidfd, join.namespaces).map_err(|errno| (What::Join, errno))?;
    }
    fs::fchdir(join.root).map_err(|errno| (What::Root, errno))?;
    fs::chroot(c".").map_err(|errno| (What::Root, errno))?;
    if join.namespaces & ::libc::CLONE_NEWUSER as u64 == 0 {
        return Ok(());
    }
    // Whoever joins a user namespace has its rights, but is nobody in it.
    match cred::setgroups(&[]) {
        // user_namespaces(7): setgroups is denied where an ordinary user made the mapping.
        Ok(()) | Err(Errno::EPERM) => {}
        Err(errno) => return Err((What::BecomeRoot, errno)),
    }
    cred::setresgid(0).map_err(|errno| (What::BecomeRoot, errno))?;
    cred::setresuid(0).map_err(|errno| (What::BecomeRoot, errno))?;
    // The kernel decides anew at a change of user.
    cred::set_dumpable(false).map_err(|errno| (What::Isolate, errno))
}

/// From here on nobody waits for us when `rt`, or the stage, is killed.
fn die_with_parent() -> Result<(), Errno> {
    cred::set_parent_death_signal(::libc::SIGKILL)?;
    // It could have died before: then nobody holds the other end of the report.
    if wait_for_end(0) {
        clone::exit(1);
    }
    Ok(())
}

/// Waits until nobody can read the report any more.
fn wait_for_end(timeout_ms: i32) -> bool {
    let mut fds = [io::interest(REPORT, 0)];
    ::core::matches!(io::poll(&mut fds, timeout_ms), Ok(1..))
}

fn become_hook(stage: &mut Stage<'_>) -> ! {
    let user = stage.rights.map_or(Ok(()), become_user);
    // After the change of user, which clears the signal for the death of the parent, and
    // before the filter, which may refuse any call.
    let isolated = user.map_err(|errno| (What::Rights, errno)).and_then(|()| {
        isolate(stage.ignored).map_err(|errno| (What::Isolate, errno))?;
        stage.rights.map_or(Ok(()), drop_rights).map_err(|errno| (What::Rights, errno))
    });
    if let Err((what, errno)) = isolated {
        report(REPORT, what, errno as i32);
        clone::exit(1);
    }
    let errno = clone::execve(&stage.path, &stage.argv, &mut stage.envp, None);
    report(REPORT, What::Exec, errno as i32);
    clone::exit(127)
}

fn become_user(rights: &Rights<'_>) -> Result<(), Errno> {
    if let Some(name) = &rights.keyring {
        session_keyring(name).map_err(|failure| failure.errno)?;
    }
    for limit in &rights.process.limits.rlimits {
        sched::setrlimit(limit.resource, limit.soft, limit.hard)?;
    }
    let creds = &rights.process.creds;
    creds::bounding_set(creds.caps.bounding).map_err(|failure| failure.errno)?;
    let groups = if rights.deny_setgroups { None } else { Some(&creds.groups[..]) };
    creds::become_user(creds.uid, creds.gid, groups).map_err(|failure| failure.errno)?;
    fs::umask(creds.umask);
    // The kernel decides anew, by fs.suid_dumpable; the memory is still a copy of `rt`'s.
    cred::set_dumpable(false)
}

/// In the order of the process itself (see `plan::script`).
fn drop_rights(rights: &Rights<'_>) -> Result<(), Errno> {
    const LISTENER: u64 =
        ::libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | ::libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let creds = &rights.process.creds;
    let load = || match rights.filter {
        Some(filter) => {
            seccomp::set_mode_filter(&filter.program, filter.flags & !LISTENER).map(|_| ())
        }
        None => Ok(()),
    };
    if !creds.no_new_privileges {
        creds::raise_permitted().map_err(|failure| failure.errno)?;
        load()?;
    }
    creds::drop_to(&creds.caps).map_err(|failure| failure.errno)?;
    if creds.no_new_privileges {
        cred::no_new_privileges()?;
        load()?;
    }
    Ok(())
}

/// A session of its own: no terminal of the caller's, a process group to be killed.
fn isolate(ignored: Mask) -> Result<(), Errno> {
    die_with_parent()?;
    cred::setsid()?;
    signal::set_defaults(ignored)?;
    signal::set_mask(Mask::NONE).map(::core::mem::drop)
}

fn report(fd: RawFd, what: What, number: i32) {
    let mut record = [0u8; RECORD];
    let bytes = (what as i32).to_ne_bytes().into_iter().chain(number.to_ne_bytes());
    for (slot, byte) in record.iter_mut().zip(bytes) {
        *slot = byte;
    }
    // Without a reader there is nobody to be told.
    let _ = fs::write(fd, &record);
}
