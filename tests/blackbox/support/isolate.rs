//! A machine of our own, as far as the runtime can tell.
//!
//! Runs as root on the host: one cgroup `rt-test-<pid>` in the v2 hierarchy, and below it new
//! mount, pid and cgroup namespaces with a pure cgroup2 mount, a fresh /proc, an empty /run
//! and a tmpfs for scratch files. A runtime that kills too much or forgets to clean up can
//! then harm nothing outside, and the outer process removes what is left.

use super::{cmd, sys};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Runs `inside` in the isolated world and returns its exit code.
pub fn run(scratch: &Path, inside: impl FnOnce() -> ExitCode) -> ExitCode {
    let cgroup = match own_cgroup() {
        Ok(path) => path,
        Err(error) => {
            eprintln!("no cgroup of our own below a cgroup2 mount: {error}");
            return ExitCode::from(2);
        }
    };
    let code = outer(&cgroup, scratch, inside);
    if let Err(error) = remove_cgroup(&cgroup) {
        eprintln!("{} could not be removed: {error}", cgroup.display());
        return ExitCode::from(2);
    }
    code
}

fn own_cgroup() -> io::Result<PathBuf> {
    let hierarchy = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .iter()
        .map(Path::new)
        .find(|dir| dir.join("cgroup.controllers").exists())
        .ok_or_else(|| io::Error::other("no cgroup2 mount at /sys/fs/cgroup or below it"))?;
    let path = hierarchy.join(format!("rt-test-{}", std::process::id()));
    fs::create_dir(&path)?;
    Ok(path)
}

fn outer(cgroup: &Path, scratch: &Path, inside: impl FnOnce() -> ExitCode) -> ExitCode {
    // The next child is pid 1 of a new pid namespace: when it ends, all in there end.
    sys::unshare(libc::CLONE_NEWPID).expect("unshare the pid namespace");
    let signals = block_signals();
    let pid = sys::fork().expect("fork");
    if pid == 0 {
        sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64).expect("set PDEATHSIG");
        signals.thread_unblock().expect("unblock signals");
        if let Err(error) = furnish(cgroup, scratch) {
            eprintln!("cannot set up the test environment: {error}");
            std::process::exit(2);
        }
        let code = inside();
        // ExitCode has no number to read back; ask the one question that matters.
        std::process::exit(i32::from(code != ExitCode::SUCCESS) * 101);
    }
    loop {
        match signals.wait() {
            Ok(nix::sys::signal::Signal::SIGCHLD) => {}
            _ => sys::kill(pid, libc::SIGKILL).unwrap_or_default(),
        }
        match sys::wait4(pid, libc::WNOHANG) {
            Ok((0, ..)) => continue,
            Ok((_, status, _)) if libc::WIFEXITED(status) => {
                return ExitCode::from(libc::WEXITSTATUS(status) as u8);
            }
            _ => return ExitCode::from(2),
        }
    }
}

fn block_signals() -> nix::sys::signal::SigSet {
    use nix::sys::signal::{SigSet, Signal};
    let mut set = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block().expect("block signals");
    set
}

fn furnish(cgroup: &Path, scratch: &Path) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.procs"), "0")?;
    // The cgroup namespace is rooted at the cgroup we are in now.
    sys::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWCGROUP)?;
    sys::mount("none", Path::new("/"), "", libc::MS_REC | libc::MS_PRIVATE, "")?;
    let at = Path::new("/sys/fs/cgroup");
    while sys::umount_detach(at).is_ok() {}
    let usual = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    sys::mount("cgroup2", at, "cgroup2", usual, "")?;
    sys::mount("proc", Path::new("/proc"), "proc", usual, "")?;
    sys::mount("run", Path::new("/run"), "tmpfs", libc::MS_NOSUID | libc::MS_NODEV, "mode=755")?;
    sys::mount("scratch", scratch, "tmpfs", 0, "mode=755")?;

    fs::create_dir(at.join("runner"))?;
    fs::write(at.join("runner/cgroup.procs"), "0")?;
    for controller in fs::read_to_string(at.join("cgroup.controllers"))?.split_whitespace() {
        fs::write(at.join("cgroup.subtree_control"), format!("+{controller}"))?;
    }
    Ok(())
}

/// Ends everything in a cgroup and removes it with its children.
pub fn remove_cgroup(path: &Path) -> io::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    fs::write(path.join("cgroup.kill"), "1")?;
    let deadline = Instant::now() + cmd::patience();
    loop {
        match remove_tree(path) {
            Err(error)
                if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}

fn remove_tree(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}
