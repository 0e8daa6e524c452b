//! Things the probe tries; each prints `ok` or the name of the errno.

use super::outcome;
use crate::support::sys::cstr;
use serde_json::json;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;

/// `open FLAGS PATH...`: r, w or rw; one outcome for each path.
pub fn open(args: &[&str]) {
    let flags = match args[0] {
        "r" => libc::O_RDONLY,
        "w" => libc::O_WRONLY,
        _ => libc::O_RDWR,
    };
    for path in &args[1..] {
        let path = cstr(path);
        // SAFETY: a NUL-terminated string.
        let fd = unsafe { libc::open(path.as_ptr(), flags | libc::O_NONBLOCK | libc::O_NOCTTY) };
        println!("{}", outcome(fd.into()));
    }
}

pub fn write(path: &str, text: &str) {
    match fs::OpenOptions::new().write(true).open(path).and_then(|mut f| {
        use std::io::Write;
        f.write_all(text.as_bytes())
    }) {
        Ok(()) => println!("ok"),
        Err(e) => println!("{:?}", nix::errno::Errno::from_raw(e.raw_os_error().unwrap_or(0))),
    }
}

/// `mknod c|b MAJOR MINOR PATH`: the outcomes of mknod and of open.
pub fn mknod(args: &[&str]) {
    let kind = if args[0] == "c" { libc::S_IFCHR } else { libc::S_IFBLK };
    let number = |i: usize| args[i].parse::<u32>().expect("a number");
    let path = cstr(args[3]);
    let device = libc::makedev(number(1), number(2));
    // SAFETY: a NUL-terminated string.
    let rc = unsafe { libc::mknod(path.as_ptr(), kind | 0o666, device) };
    let made = outcome(rc.into());
    // SAFETY: a NUL-terminated string.
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_NONBLOCK) };
    println!("{made} {}", outcome(fd.into()));
}

/// `stat PATH...`: mode (octal), owner, group, device number for each.
pub fn stat(args: &[&str]) {
    for path in args {
        match fs::symlink_metadata(path) {
            Ok(m) => println!("{:o} {} {} {}", m.mode(), m.uid(), m.gid(), m.rdev()),
            Err(e) => println!("{}", e.kind()),
        }
    }
}

/// Tries to change each file (a path, or the number of a descriptor): its mode, its owner, its
/// times and an extended attribute; before that, to make its mount writable. One line of
/// outcomes for each.
pub fn tamper(args: &[&str]) {
    for target in args {
        let path = match target.parse::<u32>() {
            Ok(fd) => format!("/proc/self/fd/{fd}"),
            Err(_) => (*target).to_owned(),
        };
        let remount = libc::MS_REMOUNT | libc::MS_BIND;
        let _ = crate::support::sys::mount("", std::path::Path::new(&path), "", remount, "");
        let path = cstr(&path);
        let (name, value, now) = (c"trusted.tampered", c"yes".as_ptr().cast(), std::ptr::null());
        // SAFETY: a NUL-terminated string.
        let mode = outcome(unsafe { libc::chmod(path.as_ptr(), 0o640) }.into());
        // SAFETY: a NUL-terminated string.
        let owner = outcome(unsafe { libc::chown(path.as_ptr(), 1, 1) }.into());
        // SAFETY: a NUL-terminated string; no times are the present one.
        let times = unsafe { libc::utimensat(libc::AT_FDCWD, path.as_ptr(), now, 0) };
        let times = outcome(times.into());
        // SAFETY: NUL-terminated strings; the value has as many bytes as said.
        let attribute = unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value, 3, 0) };
        let outcomes = [mode, owner, times, outcome(attribute.into())];
        println!("{target} {}", outcomes.join(" "));
    }
}

/// Path, name and size of value of each extended attribute.
pub fn xattrs(args: &[&str]) {
    for path in args {
        let c_path = crate::support::sys::cstr(path);
        let mut names = [0_u8; 4096];
        // SAFETY: the kernel writes at most the length given.
        let length =
            unsafe { libc::listxattr(c_path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
        let filled = &names[..usize::try_from(length).expect("listxattr")];
        for name in filled.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let c_name = crate::support::sys::cstr(name);
            // SAFETY: a size of 0 asks for the size of the value only.
            let size = unsafe {
                libc::getxattr(c_path.as_ptr(), c_name.as_ptr(), std::ptr::null_mut(), 0)
            };
            println!("{path} {} {size}", String::from_utf8_lossy(name));
        }
    }
}

/// `call NUMBER [ARGS]`: one raw system call with integer arguments.
pub fn call(args: &[&str]) {
    let arg = |i: usize| args.get(i).map_or(0, |a| a.parse::<i64>().expect("a number"));
    // SAFETY: the tests only make calls whose arguments are integers or may be null.
    let rc = unsafe { libc::syscall(arg(0), arg(1), arg(2), arg(3), arg(4), arg(5)) };
    println!("{}", outcome(rc));
}

/// In a new user, mount and pid namespace, can a full proc be mounted?
pub fn mount_proc() {
    let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID;
    if let Err(e) = crate::support::sys::unshare(flags) {
        println!("unshare: {e}");
        return;
    }
    let pid = crate::support::sys::fork().expect("fork");
    if pid == 0 {
        let at = std::path::Path::new("/tmp");
        let rc = crate::support::sys::mount("proc", at, "proc", 0, "");
        println!("{}", rc.map_or_else(|e| e.to_string(), |()| "mounted".to_string()));
        std::process::exit(0);
    }
    let _ = crate::support::sys::wait4(pid, 0);
}

/// Body of a hook: appends one line of JSON about how it was called to a file.
pub fn hook(file: &str) {
    use std::io::Write;
    let mut stdin = String::new();
    std::io::stdin().read_to_string(&mut stdin).expect("read the state");
    let seen = super::see::all();
    let line = json!({
        "state": serde_json::from_str::<serde_json::Value>(&stdin).unwrap_or(json!(stdin)),
        "args": std::env::args().collect::<Vec<_>>(),
        "see": seen,
    });
    let mut out = fs::OpenOptions::new().append(true).create(true).open(file).expect("open");
    // One write: hooks of different processes may append at the same time.
    out.write_all(format!("{line}\n").as_bytes()).expect("write");
}

/// IFF_* flags of an interface.
pub fn interface_flags(name: &str) -> i32 {
    // SAFETY: ifreq is plain data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(15)) {
        *to = from as libc::c_char;
    }
    // SAFETY: no pointers.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    // SAFETY: the request reads the name and fills in the flags.
    let rc = unsafe { libc::ioctl(socket, libc::SIOCGIFFLAGS as _, &mut request) };
    // SAFETY: a descriptor of ours.
    unsafe { libc::close(socket) };
    // SAFETY: SIOCGIFFLAGS filled in this member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    if rc < 0 { -1 } else { flags.into() }
}

/// Can this process reach what other processes have open? One line for each success.
pub fn peer_fds() {
    let own = std::process::id().to_string();
    let mut seen = std::collections::BTreeSet::new();
    loop {
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_string_lossy().into_owned();
            if pid == "1" || pid == own || !pid.bytes().all(|b| b.is_ascii_digit()) {
                continue;
            }
            if seen.insert(pid.clone()) {
                println!("seen {pid}");
            }
            // A runtime on its way in is told by its program not being one of ours.
            for fd in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
                let target = fs::read_link(fd.path()).unwrap_or_default();
                let name = target.to_string_lossy();
                if target.is_dir() || name.contains("/runtime/") {
                    println!("fd of {pid}: {name}");
                }
            }
            let exe = format!("/proc/{pid}/exe");
            let link = fs::read_link(&exe).unwrap_or_default();
            if link.to_string_lossy().contains("rt-test")
                || link.to_string_lossy().contains("memfd")
            {
                println!("exe of {pid}: {}", link.display());
            }
        }
    }
}

/// Says what is below the root of each new process, as soon as may be: this file of the host, or
/// what the container has.
pub fn peer_roots(file: &str) {
    println!("ready");
    let mut seen = 0;
    loop {
        // Its last word is the youngest pid of the namespace.
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let last = load.split_whitespace().next_back().and_then(|pid| pid.parse().ok());
        let last = last.unwrap_or(seen);
        for pid in [last, last + 1].into_iter().flat_map(|pid| [pid; 32]).filter(|pid| *pid > seen)
        {
            let below = |path: &str| fs::File::open(format!("/proc/{pid}/root{path}")).is_ok();
            if below(file) {
                println!("host's root through {pid}");
            } else if below("/probe") {
                println!("own root through {pid}");
            } else {
                continue;
            }
            seen = pid;
            break;
        }
    }
}

/// Touches this many MiB.
pub fn memory(mib: &str) {
    let size = mib.parse::<usize>().expect("a number") << 20;
    let block = vec![1_u8; size];
    println!("touched {}", std::hint::black_box(&block).len() >> 20);
}

/// Touches this many MiB and keeps them.
pub fn hold(mib: &str) {
    let block = vec![1_u8; mib.parse::<usize>().expect("a number") << 20];
    super::wait::forever();
    std::hint::black_box(&block);
}

/// Writes this many MiB past the cache; says how many seconds that took.
pub fn write_direct(path: &str, mib: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    const BLOCK: usize = 64 << 10;
    const ALIGNMENT: usize = 4096;
    let block = vec![1_u8; BLOCK + ALIGNMENT];
    let block = &block[block.as_ptr().align_offset(ALIGNMENT)..][..BLOCK];
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).custom_flags(libc::O_DIRECT);
    let mut file = options.open(path).expect("open");
    let begun = std::time::Instant::now();
    for _ in 0..mib.parse::<usize>().expect("a number") * (1 << 20) / BLOCK {
        file.write_all(block).expect("write");
    }
    println!("{}", begun.elapsed().as_secs_f64());
}

/// Reads a file through a path, says how many bytes.
pub fn read_exe(path: &str) {
    println!("{}", fs::read(path).map_or_else(|e| e.to_string(), |b| b.len().to_string()));
}

/// Says it to the service manager, as sd_notify(3) does.
pub fn notify(text: &str, stay: bool) {
    let path = std::env::var_os("NOTIFY_SOCKET").expect("NOTIFY_SOCKET");
    let socket = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
    socket.send_to(text.as_bytes(), path).expect("send");
    if stay {
        super::wait::forever();
    }
}
