//! Processes by descriptor: a pid is never an identity (pidfd_open(2)). Parent only.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;

use super::fd::own;
use super::{RawFd, check_fd, check_unit, fs, io};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// exit(2) with this code.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
}

impl Exit {
    /// The exit code of a shell: n, or 128+n for a signal.
    pub fn code(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}

/// pidfd_open(2). `ESRCH` when there is no such process.
pub fn open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: integers only.
    let fd = match check_fd(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }) {
        // The process is being reaped at this moment: it leads no thread group any more.
        Err(Errno::EINVAL) => return Err(Errno::ESRCH),
        other => other?,
    };
    // SAFETY: the kernel just gave us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// pidfd_send_signal(2); signal 0 only asks whether the process is there.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    send_signal_raw(pidfd.as_raw_fd(), signal)
}

/// The same for a process between clone3 and execve: child-safe.
pub fn send_signal_raw(pidfd: RawFd, signal: i32) -> Result<(), Errno> {
    let none = ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo means the same as kill(2).
    check_unit(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd, signal, none, 0) })
}

/// pidfd_getfd(2): a copy of descriptor `number` of that process.
pub fn get_fd(pidfd: BorrowedFd<'_>, number: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: integers only.
    let fd =
        check_fd(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) })?;
    // SAFETY: the kernel just gave us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The pid behind a pidfd as our procfs has it; `ESRCH` when the process is gone.
pub fn pid(pidfd: BorrowedFd<'_>) -> Result<i32, Errno> {
    let text = super::proc::read_small(&format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    let value = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    match value.and_then(|value| value.trim().parse().ok()) {
        Some(pid @ 1..) => Ok(pid),
        Some(_) => Err(Errno::ESRCH),
        None => Err(Errno::EINVAL),
    }
}

/// The root directory of a process, by its pid as our procfs has it: not that of a later process which
/// has got the pid.
pub fn root(pid: i32, pidfd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let path = CString::new(format!("/proc/{pid}/root")).map_err(|_| Errno::EINVAL)?;
    let root = fs::openat(libc::AT_FDCWD, &path, libc::O_PATH | libc::O_DIRECTORY, 0).map(own)?;
    // As long as it has not ended, nobody else can have its pid.
    match io::poll(&mut [io::interest(pidfd.as_raw_fd(), libc::POLLIN)], 0)? {
        0 => Ok(root),
        _ => Err(Errno::ESRCH),
    }
}

/// Whether it is a child of ours, dead or alive.
pub fn is_child(pidfd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let (id, options) = (pidfd.as_raw_fd() as libc::id_t, libc::WEXITED | libc::WNOHANG);
    // SAFETY: info is a whole siginfo_t.
    let answer =
        unsafe { libc::waitid(libc::P_PIDFD, id, info.as_mut_ptr(), options | libc::WNOWAIT) };
    match check_unit(answer.into()) {
        Err(Errno::ECHILD) => Ok(false),
        other => other.map(|()| true),
    }
}

/// waitid(2) on a child: reaps it, or with `nohang` answers `None` while it runs.
pub fn wait(pidfd: BorrowedFd<'_>, nohang: bool) -> Result<Option<Exit>, Errno> {
    wait_raw(pidfd.as_raw_fd(), nohang)
}

/// The same for a process between clone3 and execve: child-safe.
pub fn wait_raw(pidfd: RawFd, nohang: bool) -> Result<Option<Exit>, Errno> {
    let options = libc::WEXITED | if nohang { libc::WNOHANG } else { 0 };
    loop {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: info is a whole siginfo_t.
        let answer =
            unsafe { libc::waitid(libc::P_PIDFD, pidfd as libc::id_t, info.as_mut_ptr(), options) };
        match check_unit(answer.into()) {
            Err(Errno::EINTR) => continue,
            other => other?,
        }
        // SAFETY: zeroed plain data, filled by the kernel.
        let info = unsafe { info.assume_init() };
        if info.si_signo == 0 {
            return Ok(None);
        }
        // SAFETY: a siginfo of a child has si_status.
        let status = unsafe { info.si_status() };
        return Ok(Some(match info.si_code {
            libc::CLD_EXITED => Exit::Code(status),
            _ => Exit::Signal(status),
        }));
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_root_is_that_of_the_process_and_of_no_other() {
        let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat");
        let pid = cat.id() as i32;
        let pidfd = open(pid).expect("a pidfd");
        let ours = nix::sys::stat::stat("/").expect("our root").st_ino;
        let found = root(pid, pidfd.as_fd()).expect("its root");
        assert_eq!(nix::sys::stat::fstat(&found).expect("it").st_ino, ours);
        drop(cat.stdin.take());
        cat.wait().expect("its end");
        // As if this process had got the pid.
        let own_pid = std::process::id() as i32;
        assert_eq!(root(own_pid, pidfd.as_fd()).err(), Some(Errno::ESRCH));
    }
}
