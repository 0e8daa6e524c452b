//! Everything a process can find out about itself, as JSON.

use serde_json::{Map, Value, json};
use std::ffi::CStr;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

pub fn all() -> Value {
    // First, before this very function opens anything.
    let fds = descriptors();
    let status = status();
    json!({
        "fds": fds,
        "pid": std::process::id(),
        "sid": nix::unistd::getsid(None).map_or(-1, |p| p.as_raw()),
        "pgid": nix::unistd::getpgrp().as_raw(),
        "ppid": nix::unistd::getppid().as_raw(),
        "args": std::env::args().collect::<Vec<_>>(),
        "env": environment(),
        "cwd": std::env::current_dir().map_or_else(|e| e.to_string(), |d| d.display().to_string()),
        "umask": umask(),
        "ids": ids(&status),
        "caps": caps(&status),
        "nnp": number(&status, "NoNewPrivs"),
        "seccomp": number(&status, "Seccomp"),
        "seccomp_filters": number(&status, "Seccomp_filters"),
        "signals": signals(&status),
        "namespaces": namespaces(),
        "mounts": mounts(),
        "rlimits": rlimits(),
        "hostname": text("/proc/sys/kernel/hostname"),
        "domainname": text("/proc/sys/kernel/domainname"),
        "oom_score_adj": text("/proc/self/oom_score_adj"),
        "cgroup": text("/proc/self/cgroup"),
        "uid_map": text("/proc/self/uid_map"),
        "gid_map": text("/proc/self/gid_map"),
        "setgroups": text("/proc/self/setgroups"),
        "label": text("/proc/self/attr/current"),
        "exe": fs::read_link("/proc/self/exe").map_or(String::new(), |p| p.display().to_string()),
        "terminal": terminal(),
        "controlling_terminal": controlling_terminal(),
        "dumpable": get(libc::PR_GET_DUMPABLE),
        "pdeathsig": pdeathsig(),
        "keyring": session_keyring(),
        "affinity": text_of(&status, "Cpus_allowed_list"),
        "dev": devices(),
        "interfaces": interfaces(),
        "scheduler": scheduler(),
    })
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim_end_matches(['\n', '\0']).to_string()
}

fn status() -> Vec<(String, String)> {
    let text = text("/proc/self/status");
    let pairs = text.lines().filter_map(|l| l.split_once(':'));
    pairs.map(|(k, v)| (k.to_string(), v.trim().to_string())).collect()
}

fn text_of(status: &[(String, String)], key: &str) -> String {
    status.iter().find(|(k, _)| k == key).map_or(String::new(), |(_, v)| v.clone())
}

fn number(status: &[(String, String)], key: &str) -> Value {
    text_of(status, key).parse::<i64>().map_or(Value::Null, |n| json!(n))
}

fn list(status: &[(String, String)], key: &str) -> Vec<i64> {
    text_of(status, key).split_whitespace().filter_map(|n| n.parse().ok()).collect()
}

fn ids(status: &[(String, String)]) -> Value {
    json!({"uid": list(status, "Uid"), "gid": list(status, "Gid"), "groups": list(status, "Groups")})
}

fn caps(status: &[(String, String)]) -> Value {
    let set = |key| u64::from_str_radix(&text_of(status, key), 16).unwrap_or(u64::MAX);
    json!({"inheritable": set("CapInh"), "permitted": set("CapPrm"), "effective": set("CapEff"),
        "bounding": set("CapBnd"), "ambient": set("CapAmb")})
}

fn signals(status: &[(String, String)]) -> Value {
    json!({"blocked": text_of(status, "SigBlk"), "ignored": text_of(status, "SigIgn"),
        "pending": text_of(status, "SigPnd")})
}

fn environment() -> Vec<String> {
    let all = std::env::vars_os();
    all.map(|(k, v)| format!("{}={}", k.to_string_lossy(), v.to_string_lossy())).collect()
}

fn umask() -> u32 {
    let old = nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    nix::sys::stat::umask(old);
    old.bits()
}

/// Number and target of every descriptor but the one that lists them.
fn descriptors() -> Value {
    let mut fds = Map::new();
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let paths: Vec<_> = entries.map(|e| e.path()).collect();
    for path in paths {
        if let Ok(target) = fs::read_link(&path) {
            let number = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            fds.insert(number, json!(target.to_string_lossy()));
        }
    }
    Value::Object(fds)
}

fn namespaces() -> Value {
    let mut all = Map::new();
    for entry in fs::read_dir("/proc/self/ns").into_iter().flatten().flatten() {
        let link = fs::read_link(entry.path()).unwrap_or_default();
        all.insert(entry.file_name().to_string_lossy().into_owned(), json!(link.to_string_lossy()));
    }
    Value::Object(all)
}

/// mountinfo, by mount point; of stacked mounts the topmost, which comes last.
fn mounts() -> Value {
    let mut all = Map::new();
    for line in text("/proc/self/mountinfo").lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let left: Vec<_> = left.split(' ').collect();
        let right: Vec<_> = right.split(' ').collect();
        let (optional, flags) = (left.get(6..).unwrap_or_default().join(" "), left[5]);
        all.insert(
            left[4].to_string(),
            json!({"root": left[3], "flags": flags, "propagation": optional, "type": right[0],
                "source": right[1], "options": right.get(2).unwrap_or(&"")}),
        );
    }
    Value::Object(all)
}

fn rlimits() -> Value {
    let mut all = Map::new();
    for line in text("/proc/self/limits").lines().skip(1) {
        let (name, rest) = line.split_at(line.len().min(26));
        let mut fields = rest.split_whitespace();
        all.insert(name.trim().to_string(), json!([fields.next(), fields.next()]));
    }
    Value::Object(all)
}

fn terminal() -> Value {
    // SAFETY: winsize is plain integers.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: the request fills one winsize.
    if unsafe { libc::ioctl(0, libc::TIOCGWINSZ, &mut size) } != 0 {
        return Value::Null;
    }
    let name = fs::read_link("/proc/self/fd/0").unwrap_or_default();
    json!({"rows": size.ws_row, "columns": size.ws_col, "name": name.to_string_lossy()})
}

fn controlling_terminal() -> Value {
    let stat = text("/proc/self/stat");
    let after = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    json!(after.split(' ').nth(4).and_then(|n| n.parse::<i64>().ok()))
}

fn get(option: i32) -> i64 {
    // SAFETY: this option takes no arguments.
    unsafe { libc::prctl(option) }.into()
}

fn pdeathsig() -> i32 {
    let mut signal = 0;
    // SAFETY: the option stores one int.
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &mut signal) };
    signal
}

/// The description of the session keyring: type;uid;gid;perm;name.
fn session_keyring() -> Value {
    let mut bytes = [0_u8; 256];
    let (describe, session) = (6, -3);
    // SAFETY: the kernel writes at most the length given.
    let rc = unsafe {
        libc::syscall(libc::SYS_keyctl, describe, session, bytes.as_mut_ptr(), bytes.len())
    };
    if rc < 0 {
        return json!(super::outcome(rc));
    }
    CStr::from_bytes_until_nul(&bytes).map_or(Value::Null, |s| json!(s.to_string_lossy()))
}

fn devices() -> Value {
    let mut all = Map::new();
    for entry in fs::read_dir("/dev").into_iter().flatten().flatten() {
        let Ok(meta) = fs::symlink_metadata(entry.path()) else { continue };
        let kind = meta.file_type();
        let value = if kind.is_symlink() {
            json!({"link": fs::read_link(entry.path()).unwrap_or_default().to_string_lossy()})
        } else {
            let (major, minor) = (libc::major(meta.rdev()), libc::minor(meta.rdev()));
            let letter = match () {
                () if kind.is_char_device() => "c",
                () if kind.is_block_device() => "b",
                () if kind.is_dir() => "d",
                () if kind.is_fifo() => "p",
                () => "-",
            };
            json!({"type": letter, "major": major, "minor": minor, "mode": meta.mode() & 0o7777,
                "uid": meta.uid(), "gid": meta.gid()})
        };
        all.insert(entry.file_name().to_string_lossy().into_owned(), value);
    }
    Value::Object(all)
}

/// Name and flags of each network interface.
fn interfaces() -> Value {
    let mut all = Map::new();
    let text = text("/proc/net/dev");
    for name in text.lines().skip(2).filter_map(|l| l.split_once(':')).map(|(n, _)| n.trim()) {
        all.insert(name.to_string(), json!(super::act::interface_flags(name)));
    }
    Value::Object(all)
}

fn scheduler() -> Value {
    // SAFETY: pid 0 is this process; no pointers.
    let policy = unsafe { libc::sched_getscheduler(0) };
    // SAFETY: no pointers.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    // SAFETY: no pointers; 1 is IOPRIO_WHO_PROCESS.
    let io = unsafe { libc::syscall(libc::SYS_ioprio_get, 1, 0) };
    // struct sched_attr: size and policy, flags, nice and priority, runtime, deadline, period.
    let mut attr = [0_u64; 7];
    let size = std::mem::size_of_val(&attr);
    // SAFETY: attr is as long as said.
    unsafe { libc::syscall(libc::SYS_sched_getattr, 0, attr.as_mut_ptr(), size, 0) };
    json!({"policy": policy, "nice": nice, "ioprio": io, "flags": attr[1],
        "priority": attr[2] >> 32, "times": attr[3..6]})
}
