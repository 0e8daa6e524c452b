//! Programs that the probe starts and whose world is not what it seems: a user with few rights, a
//! security module that says what it likes; and paths that are never the same for long.

use crate::support::agent::{RECEIVE, SEND};
use crate::support::{cmd, sys};
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

fn become_program(words: &[&str]) -> ! {
    let words: Vec<CString> = words.iter().map(|w| CString::new(*w).expect("no NUL")).collect();
    let Err(errno) = nix::unistd::execv(&words[0], &words);
    panic!("become {:?}: {errno}", words[0]);
}

/// `UID PROGRAM ARGS...`
pub fn as_user(args: &[&str]) {
    sys::become_user(args[0].parse().expect("a user id")).expect("become the user");
    become_program(&args[1..]);
}

/// Exchanges two paths until it is killed.
pub fn exchange(one: &str, other: &str) {
    sys::exchange(Path::new(one), Path::new(other)).expect("exchange");
    println!("ready");
    loop {
        let _ = sys::exchange(Path::new(one), Path::new(other));
    }
}

/// `ANSWERS PROGRAM ARGS...`: a kernel with a security module that takes every label. When it is
/// asked for one it says the ANSWERS one after the other (with `;` between them), the last again
/// and again.
pub fn labels(args: &[&str]) -> u8 {
    let child = sys::fork().expect("fork");
    if child == 0 {
        std::mem::forget(notified(&[libc::SYS_read as u32, libc::SYS_write as u32]));
        // Until the parent has the listener, which is closed by execve.
        // SAFETY: integers only.
        unsafe { libc::raise(libc::SIGSTOP) };
        become_program(&args[1..]);
    }
    let (_, status, _) = sys::wait4(child, libc::WUNTRACED).expect("wait4");
    assert!(libc::WIFSTOPPED(status), "the child has ended: {status:x}");
    let listener = listener_of(child);
    sys::kill(child, libc::SIGCONT).expect("kill");
    let mut answers: Vec<&str> = args[0].split(';').rev().collect();
    while is_asked(&listener) {
        // SAFETY: plain integers, which the kernel wants zeroed.
        let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the request fills one seccomp_notif.
        if unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE as _, &mut asked) } != 0 {
            continue;
        }
        let value = answer(&asked, &mut answers);
        let go_on = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        let flags = if value.is_none() { go_on } else { 0 };
        let val = value.unwrap_or(0);
        let mut answer = libc::seccomp_notif_resp { id: asked.id, val, error: 0, flags };
        // SAFETY: the request reads one seccomp_notif_resp.
        unsafe { libc::ioctl(listener.as_raw_fd(), SEND as _, &mut answer) };
    }
    cmd::exit_code_of(child) as u8
}

/// Loads a filter that asks about these calls: the listener.
fn notified(calls: &[u32]) -> OwnedFd {
    let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // linux/bpf_common.h: load a word, jump if equal, return.
    let mut program = vec![op(0x20, 0, 0, 0)];
    for call in calls {
        program.push(op(0x15, 0, 1, *call));
        program.push(op(0x06, 0, 0, libc::SECCOMP_RET_USER_NOTIF));
    }
    program.push(op(0x06, 0, 0, libc::SECCOMP_RET_ALLOW));
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // SAFETY: filter describes the program.
    let fd = unsafe { libc::syscall(libc::SYS_seccomp, 1, flags, &raw const filter) };
    assert!(fd >= 0, "load the filter");
    // SAFETY: the kernel just gave us this descriptor.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

fn listener_of(pid: i32) -> OwnedFd {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).expect("list descriptors").flatten();
    let is_listener = |path: &Path| {
        fs::read_link(path).is_ok_and(|to| to.to_string_lossy().contains("seccomp notify"))
    };
    let number = fds.map(|fd| fd.path()).find(|path| is_listener(path)).expect("a listener");
    let number: i32 = number.file_name().unwrap().to_str().unwrap().parse().expect("a number");
    let pidfd = sys::pidfd_open(pid).expect("pidfd_open");
    // SAFETY: integers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) };
    assert!(fd >= 0, "take the listener");
    // SAFETY: the kernel just gave us this descriptor.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// False when nobody is left who could ask.
fn is_asked(listener: &OwnedFd) -> bool {
    let mut poll = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid pollfd.
    let rc = unsafe { libc::poll(&mut poll, 1, -1) };
    rc < 0 || poll.revents & libc::POLLHUP == 0
}

/// What a read or write returns that is about a label; of others `None`.
fn answer(asked: &libc::seccomp_notif, answers: &mut Vec<&str>) -> Option<i64> {
    let [fd, at, size, ..] = asked.data.args;
    let path = fs::read_link(format!("/proc/{}/fd/{}", asked.pid, fd as i32)).ok()?;
    if !path.to_string_lossy().contains("/attr/") {
        return None;
    }
    if i64::from(asked.data.nr) == libc::SYS_write {
        return Some(size as i64);
    }
    let said = match answers.len() {
        1 => answers[0],
        _ => answers.pop().expect("an answer"),
    };
    let said = format!("{said}\0");
    let memory = fs::OpenOptions::new().write(true).open(format!("/proc/{}/mem", asked.pid));
    memory.expect("open the memory").write_all_at(said.as_bytes(), at).expect("write");
    Some(said.len() as i64)
}
