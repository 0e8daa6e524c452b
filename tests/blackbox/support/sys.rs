//! The few system calls that neither std nor nix wraps here.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

pub fn cstr(text: impl AsRef<[u8]>) -> CString {
    CString::new(text.as_ref()).expect("no NUL in a path")
}

fn path(p: &Path) -> CString {
    cstr(p.as_os_str().as_encoded_bytes())
}

fn check(rc: i64) -> io::Result<i64> {
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(rc) }
}

pub fn mount(
    source: &str,
    target: &Path,
    fstype: &str,
    flags: libc::c_ulong,
    data: &str,
) -> io::Result<()> {
    let (source, target, fstype, data) = (cstr(source), path(target), cstr(fstype), cstr(data));
    // SAFETY: all pointers are to NUL-terminated strings that outlive the call.
    let rc = unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), fstype.as_ptr(), flags, data.as_ptr().cast())
    };
    check(rc.into()).map(drop)
}

pub fn bind(source: &Path, target: &Path) -> io::Result<()> {
    mount(&source.to_string_lossy(), target, "", libc::MS_BIND | libc::MS_REC, "")
}

/// Whether open_tree(2) knows `OPEN_TREE_NAMESPACE` (Linux 7.0), and does not refuse it (`EINVAL`)
/// before it looks for the directory.
pub fn knows_tree_namespaces() -> bool {
    const OPEN_TREE_NAMESPACE: libc::c_int = 2;
    let path = cstr("/proc/no/such/directory");
    // SAFETY: the path is NUL-terminated.
    let answer = unsafe {
        libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), OPEN_TREE_NAMESPACE)
    };
    answer < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOENT)
}

pub fn umount_detach(target: &Path) -> io::Result<()> {
    let target = path(target);
    // SAFETY: a NUL-terminated string that outlives the call.
    let rc = unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
    check(rc.into()).map(drop)
}

/// Has only these signals ignored, and all or none of them blocked: by the system call, since the
/// C library keeps two signals for itself. For a process that is about to execute a program.
pub fn set_signals(ignored: &[i32], blocked: bool) -> io::Result<()> {
    for signal in (1..=64).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
        let handler = if ignored.contains(&signal) { libc::SIG_IGN } else { libc::SIG_DFL };
        // struct sigaction of the kernel: handler, flags, restorer, mask.
        let action = [handler as u64, 0, 0, 0];
        let none = std::ptr::null_mut::<u64>();
        // SAFETY: a whole struct, and no old one is asked for.
        check(unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), none, 8) })?;
    }
    let mask = if blocked { u64::MAX } else { 0 };
    let none = std::ptr::null_mut::<u64>();
    // SAFETY: the mask is 8 bytes, as the last argument says.
    let answer = unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, none, 8)
    };
    check(answer).map(drop)
}

/// Sets a soft limit.
pub fn limit(resource: u32, soft: u64) -> io::Result<()> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let new = std::ptr::null::<libc::rlimit64>();
    // SAFETY: a whole struct to be filled.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, new, &raw mut limit) })?;
    limit.rlim_cur = soft;
    let old = std::ptr::null_mut::<libc::rlimit64>();
    // SAFETY: a whole struct, and no old one is asked for.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, old) })
        .map(drop)
}

pub fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: no pointers.
    let rc = unsafe { libc::unshare(flags) };
    check(rc.into()).map(drop)
}

pub fn prctl(option: i32, value: u64) -> io::Result<i64> {
    // SAFETY: the options used here take integers only.
    let rc = unsafe { libc::prctl(option, value, 0, 0, 0) };
    check(rc.into())
}

/// Forks. The child must be the copy of a process with one thread.
pub fn fork() -> io::Result<i32> {
    // SAFETY: callers are single-threaded, so the child may go on as the parent could.
    let rc = unsafe { libc::fork() };
    check(rc.into()).map(|pid| pid as i32)
}

pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    assert!(pid > 1, "kill of pid {pid} would reach more than one process");
    // SAFETY: no pointers.
    let rc = unsafe { libc::kill(pid, signal) };
    check(rc.into()).map(drop)
}

pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let rc = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = check(rc)? as RawFd;
    // SAFETY: the kernel just gave us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// How many bytes wait in a pipe.
pub fn unread(pipe: BorrowedFd<'_>) -> i32 {
    let mut length: libc::c_int = 0;
    // SAFETY: the request writes one int.
    let rc = unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut length) };
    assert_eq!(rc, 0, "FIONREAD");
    length
}

/// True when the descriptor becomes readable in time.
pub fn readable(fd: BorrowedFd<'_>, within: Duration) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let millis = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one valid pollfd.
    unsafe { libc::poll(&mut poll, 1, millis) > 0 }
}

/// Reaps one child: its pid, wait status and peak memory in kB.
pub fn wait4(pid: i32, options: i32) -> io::Result<(i32, i32, libc::rusage)> {
    let mut status = 0;
    // SAFETY: rusage is plain integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live variables.
    let rc = unsafe { libc::wait4(pid, &mut status, options, &mut usage) };
    check(rc.into()).map(|pid| (pid as i32, status, usage))
}

/// Becomes an ordinary user for good.
pub fn become_user(id: u32) -> io::Result<()> {
    // SAFETY: an empty list needs no pointer.
    check(unsafe { libc::setgroups(0, std::ptr::null()) }.into())?;
    // SAFETY: no pointers.
    check(unsafe { libc::setresgid(id, id, id) }.into())?;
    // SAFETY: no pointers.
    check(unsafe { libc::setresuid(id, id, id) }.into())?;
    // The kernel makes such a process undumpable, which would hide its own /proc files.
    prctl(libc::PR_SET_DUMPABLE, 1).map(drop)
}

pub fn is_root() -> bool {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() == 0 }
}

pub fn mkfifo(at: &Path) {
    mknod(at, libc::S_IFIFO | 0o600, 0);
}

pub fn mknod(at: &Path, mode: u32, device: u64) {
    let at = path(at);
    // SAFETY: a NUL-terminated string that outlives the call.
    let rc = unsafe { libc::mknod(at.as_ptr(), mode, device) };
    check(rc.into()).expect("mknod");
}

/// Exchanges two paths in one step.
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    let (one, other) = (path(one), path(other));
    // SAFETY: NUL-terminated strings that outlive the call.
    let rc = unsafe {
        libc::renameat2(
            libc::AT_FDCWD,
            one.as_ptr(),
            libc::AT_FDCWD,
            other.as_ptr(),
            libc::RENAME_EXCHANGE,
        )
    };
    check(rc.into()).map(drop)
}

/// Puts descriptors at given numbers, without close-on-exec; for `pre_exec`.
pub fn place_fds(fds: &[(RawFd, RawFd)]) -> io::Result<()> {
    for &(from, to) in fds {
        if from == to {
            // SAFETY: no pointers.
            check(unsafe { libc::fcntl(from, libc::F_SETFD, 0) }.into())?;
        } else {
            // SAFETY: no pointers.
            check(unsafe { libc::dup2(from, to) }.into())?;
        }
    }
    Ok(())
}

/// All signals at their defaults, for `pre_exec`: nohup and the background of a script start programs, and
/// so us, with some that are ignored.
pub fn default_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: no handler is installed. Those that cannot be changed are an error, which is fine.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Starts a session with the terminal on fd 0 as its controlling one; for `pre_exec`.
pub fn take_terminal() -> io::Result<()> {
    // SAFETY: no arguments.
    check(unsafe { libc::setsid() }.into())?;
    // SAFETY: the request takes an integer.
    check(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) }.into()).map(drop)
}

/// A process of this user that has taken the user's whole quota of keys: at most `most`.
pub fn hoard_keys(user: u32, most: u32) -> i32 {
    let (reader, writer) = nix::unistd::pipe().expect("pipe");
    let pid = fork().expect("fork");
    if pid != 0 {
        drop(writer);
        assert!(readable(reader.as_fd(), super::cmd::patience()), "the keys are taken");
        return pid;
    }
    become_user(user).expect("become the user");
    const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1;
    const KEY_SPEC_SESSION_KEYRING: i32 = -3;
    // SAFETY: a null name asks for a keyring without one.
    unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0) };
    for number in 0..=most {
        let name = cstr(format!("hoarded {number}"));
        let (kind, payload, ring) = (c"user".as_ptr(), c"x".as_ptr(), KEY_SPEC_SESSION_KEYRING);
        // SAFETY: NUL-terminated strings; the payload has one byte.
        unsafe { libc::syscall(libc::SYS_add_key, kind, name.as_ptr(), payload, 1usize, ring) };
    }
    nix::unistd::write(&writer, b"x").expect("write");
    loop {
        // SAFETY: no arguments.
        unsafe { libc::pause() };
    }
}

/// An extended attribute of what is at a path, as text.
pub fn xattr(path: &Path, name: &std::ffi::CStr) -> io::Result<String> {
    let path = cstr(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()));
    let mut value = vec![0u8; 4096];
    // SAFETY: NUL-terminated strings, and a buffer as long as said.
    let length = unsafe {
        libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len())
    };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let text = String::from_utf8_lossy(&value[..length]).into_owned();
    Ok(text.trim_end_matches('\0').to_owned())
}
