//! A peer of the container's processes who looks at each new one as soon as it is there, and stops
//! it meanwhile, so that what lasts a moment only lasts as long as it takes to look.

use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Seek, SeekFrom};

/// Prints one JSON line for each new process: its rights, what it has open, where its root leads
/// (`secret` is a file of the host), and whether `word` is anywhere in its memory.
pub fn watch(secret: &str, word: &str) {
    println!("ready");
    let mut seen = BTreeSet::new();
    loop {
        for pid in pids().into_iter().filter(|pid| *pid != std::process::id()) {
            // Once more when it has become another program, which has other arguments.
            let name = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if seen.insert((pid, name)) {
                // SAFETY: integers only.
                let stopped = unsafe { libc::kill(pid as i32, libc::SIGSTOP) } == 0;
                println!("{}", look(pid, stopped, secret, word));
                // SAFETY: integers only.
                unsafe { libc::kill(pid as i32, libc::SIGCONT) };
            }
        }
    }
}

fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok()).collect()
}

fn look(pid: u32, stopped: bool, secret: &str, word: &str) -> serde_json::Value {
    let file = |name: &str| format!("/proc/{pid}/{name}");
    let status = fs::read_to_string(file("status")).unwrap_or_default();
    let of = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.map_or(String::new(), |value| value.trim().to_string())
    };
    let own_user = fs::read_link("/proc/self/ns/user").unwrap_or_default();
    let user = fs::read_link(file("ns/user")).unwrap_or_default();
    let fds = fs::read_dir(file("fd")).into_iter().flatten().flatten();
    let fds = fds.filter_map(|fd| {
        let number: u32 = fd.file_name().to_string_lossy().parse().ok()?;
        let target = fs::read_link(fd.path()).ok()?.to_string_lossy().into_owned();
        (number > 2)
            .then(|| json!({"number": number, "target": target, "directory": fd.path().is_dir()}))
    });
    let environ = fs::read(file("environ")).unwrap_or_default();
    let cmdline = fs::read(file("cmdline")).unwrap_or_default();
    let mut seen = json!({
        "pid": pid,
        "stopped": stopped,
        "name": of("Name:"),
        "own_user_namespace": user == own_user,
        "permitted": of("CapPrm:"),
        "effective": of("CapEff:"),
        "inheritable": of("CapInh:"),
        "bounding": of("CapBnd:"),
        "ambient": of("CapAmb:"),
        "nnp": of("NoNewPrivs:"),
        "seccomp": of("Seccomp:"),
        "uid": of("Uid:"),
        "groups": of("Groups:"),
        "fds": fds.collect::<Vec<_>>(),
        "leads_to_the_host": fs::exists(format!("/proc/{pid}/root{secret}")).unwrap_or(false),
        "leads_home": fs::exists(format!("/proc/{pid}/root/probe")).unwrap_or(false),
        "environ": String::from_utf8_lossy(&environ).trim_end_matches('\0'),
        "cmdline": String::from_utf8_lossy(&cmdline).trim_end_matches('\0'),
        "exe": fs::read_link(file("exe")).unwrap_or_default(),
        "mount_of_exe": make_writable(&file("exe")),
        "knows_the_word": stopped && remembers(pid, word.as_bytes()),
        "memory_was_read": stopped && remembers(pid, b"\x7fELF"),
    });
    // It may have ended while it was looked at.
    let status = fs::read_to_string(file("status")).unwrap_or_default();
    seen["gone"] = json!(status.is_empty() || status.contains("\nState:\tZ"));
    seen
}

/// Tries to make the mount writable that the program of another process is on, as root of a user
/// namespace of its own: the errno, 0 if it was done, -1 if it was not tried.
fn make_writable(path: &str) -> i32 {
    const AT_EMPTY_PATH: u32 = 0x1000;
    const RDONLY: u64 = 1;
    let path = std::ffi::CString::new(path).expect("no NUL");
    // SAFETY: path is NUL-terminated.
    let exe = unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
    if exe < 0 {
        return -1;
    }
    let code = match crate::support::sys::fork().expect("fork") {
        0 => {
            // SAFETY: integers only.
            if unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) } < 0 {
                std::process::exit(255);
            }
            // struct mount_attr: set, clear, propagation, user namespace.
            let attr = [0, RDONLY, 0, 0_u64];
            // SAFETY: attr has the layout of struct mount_attr and says its size.
            let rc = unsafe {
                libc::syscall(libc::SYS_mount_setattr, exe, c"".as_ptr(), AT_EMPTY_PATH, &attr, 32)
            };
            let errno = if rc == 0 { 0 } else { nix::errno::Errno::last() as i32 };
            std::process::exit(errno)
        }
        child => crate::support::cmd::exit_code_of(child),
    };
    // SAFETY: a descriptor of ours.
    unsafe { libc::close(exe) };
    if code == 255 { -1 } else { code }
}

/// Whether the bytes are in a readable part of its memory.
fn remembers(pid: u32, word: &[u8]) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let Ok(mut memory) = fs::File::open(format!("/proc/{pid}/mem")) else { return false };
    maps.lines().any(|line| {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
        let Some((from, to)) = range.split_once('-') else { return false };
        let number = |text| u64::from_str_radix(text, 16).unwrap_or(0);
        let (from, to) = (number(from), number(to));
        // What is not writable is a file.
        if !rights.starts_with(if word == b"\x7fELF" { "r-" } else { "rw" }) {
            return false;
        }
        let mut bytes = vec![0; (to - from) as usize];
        memory.seek(SeekFrom::Start(from)).is_ok()
            && memory.read_exact(&mut bytes).is_ok()
            && contains(&bytes, word)
    })
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    let (text, sought) = (bytes.as_ptr().cast(), word.as_ptr().cast());
    // SAFETY: both are as long as said.
    let found = unsafe { libc::memmem(text, bytes.len(), sought, word.len()) };
    !found.is_null()
}

/// Takes the sockets of each new process, and asks `rt` for something in its name.
pub fn steal() {
    println!("ready");
    let mut seen = BTreeSet::new();
    loop {
        for pid in pids().into_iter().filter(|pid| *pid != std::process::id()) {
            if seen.insert(pid) {
                // SAFETY: integers only.
                unsafe { libc::kill(pid as i32, libc::SIGSTOP) };
                for fd in sockets(pid) {
                    println!("stolen {fd} of {pid}");
                    // That it is time for hooks: of all that a child says, what does most.
                    let mut frame = [0_u8; 16];
                    frame[0] = 3;
                    let (bytes, length) = (frame.as_ptr().cast(), frame.len());
                    // SAFETY: the frame is as long as said. Without a reader there is no harm.
                    unsafe { libc::send(fd, bytes, length, libc::MSG_NOSIGNAL) };
                }
                // SAFETY: integers only.
                unsafe { libc::kill(pid as i32, libc::SIGCONT) };
            }
        }
    }
}

fn sockets(pid: u32) -> Vec<i32> {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let is_socket = |fd: &fs::DirEntry| {
        fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
    };
    // SAFETY: integers only.
    let process = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let numbers = fds.filter(is_socket).filter_map(|fd| fd.file_name().to_str()?.parse().ok());
    // SAFETY: integers only.
    let steal = |fd: i32| unsafe { libc::syscall(libc::SYS_pidfd_getfd, process, fd, 0) } as i32;
    numbers.map(steal).filter(|fd| *fd >= 0).collect()
}
