//! Facts of /proc about processes of the host. Parent only, and only before any
//! namespace is joined: the /proc of a container is never read.

use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;

use nix::errno::Errno;

use super::fd::own;
use super::mount;
use super::signal::Mask;

/// What tells a process from a later one with the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The state letter of proc_pid_stat(5): `Z` and `X` are dead.
    pub state: u8,
    /// The parent (field 4); 0 when it is outside of our pid namespace.
    pub parent: i32,
    /// Start time in clock ticks since boot (field 22).
    pub start_time: u64,
}

impl Stat {
    /// Whether only the exit status is left of the process.
    pub fn is_dead(self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

/// Reads /proc/PID/stat; `ESRCH` when there is no such process.
pub fn stat(pid: i32) -> Result<Stat, Errno> {
    let text = read_small(&format!("/proc/{pid}/stat")).map_err(|errno| match errno {
        Errno::ENOENT => Errno::ESRCH,
        other => other,
    })?;
    parse_stat(&text).ok_or(Errno::EINVAL)
}

/// The command name is in parentheses and may itself hold parentheses and spaces.
fn parse_stat(text: &str) -> Option<Stat> {
    let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let parent = fields.next()?.parse().ok()?;
    let start_time = fields.nth(17)?.parse().ok()?;
    Some(Stat { state, parent, start_time })
}

/// The wait status (waitpid(2)) of a dead process that nobody has waited for, if this is the
/// one with that start time. The kernel shows it to those who may trace the process, and a 0
/// to others: for them there is none.
pub fn exit_status(pid: i32, start_time: u64) -> Result<Option<i32>, Errno> {
    let text = match read_small(&format!("/proc/{pid}/stat")) {
        Err(Errno::ENOENT | Errno::ESRCH) => return Ok(None),
        other => other?,
    };
    let found = parse_stat(&text).is_some_and(|s| s.is_dead() && s.start_time == start_time);
    if !found || !(nix::unistd::geteuid().is_root() || is_of_our_user(pid)?) {
        return Ok(None);
    }
    // Field 52, the last one.
    Ok(text.trim_end().rsplit(' ').next().and_then(|status| status.parse().ok()))
}

/// Whether all its user and group ids are ours (ptrace(2), "access mode checking"). A process that
/// was waited for in this moment is nobody's.
fn is_of_our_user(pid: i32) -> Result<bool, Errno> {
    let text = match read_small(&format!("/proc/{pid}/status")) {
        Err(Errno::ENOENT | Errno::ESRCH) => return Ok(false),
        other => other?,
    };
    let all = |key: &str, own: u32| {
        let ids = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        ids.split_whitespace().take(3).all(|id| id.parse() == Ok(own))
    };
    Ok(all("Uid:", nix::unistd::geteuid().as_raw()) && all("Gid:", nix::unistd::getegid().as_raw()))
}

/// All processes that our procfs shows.
pub fn pids() -> Result<Vec<i32>, Errno> {
    let errno = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
    let names = fs::read_dir("/proc").map_err(errno)?.flatten().map(|entry| entry.file_name());
    Ok(names.filter_map(|name| name.to_str()?.parse().ok()).collect())
}

/// Whether the process is the first one of its pid namespace, to which the kernel gives
/// all orphans there.
pub fn is_first_of_namespace(pid: i32) -> Result<bool, Errno> {
    let text = read_small(&format!("/proc/{pid}/status"))?;
    let pids = text.lines().find_map(|line| line.strip_prefix("NSpid:"));
    Ok(pids.and_then(|pids| pids.split_ascii_whitespace().last()) == Some("1"))
}

/// The signals that this process ignores, as nohup(1) has SIGHUP ignored: execve(2) and clone(2)
/// hand that on.
pub fn ignored_signals() -> Result<Mask, Errno> {
    let text = read_small("/proc/self/status")?;
    let bits = text.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let bits = bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.map(Mask::from_bits).ok_or(Errno::EINVAL)
}

/// The id of this boot: after a reboot no recorded process is alive.
pub fn boot_id() -> Result<String, Errno> {
    let id = match read_small("/proc/sys/kernel/random/boot_id") {
        // A procfs with subset=pid, as of a service with ProcSubset=pid, has nothing but processes.
        Err(Errno::ENOENT) => boot_id_of_a_whole_procfs(),
        other => other,
    };
    id.map(|id| id.trim_end().to_owned())
}

/// One that is mounted nowhere, and ends with the descriptor. Where /proc is no procfs at all, no
/// process would be found either.
fn boot_id_of_a_whole_procfs() -> Result<String, Errno> {
    let flags = nix::libc::O_PATH | nix::libc::O_DIRECTORY;
    let there = own(super::fs::openat(nix::libc::AT_FDCWD, c"/proc", flags, 0)?);
    if super::fs::fs_magic(there.as_raw_fd())? != super::fs::magic::PROC {
        return Err(Errno::ENOENT);
    }
    let context = own(mount::fsopen(c"proc")?);
    mount::fsconfig_create(context.as_raw_fd())?;
    let root = own(mount::fsmount(context.as_raw_fd(), 0)?);
    let name = c"sys/kernel/random/boot_id";
    let file = own(super::fs::openat(root.as_raw_fd(), name, nix::libc::O_RDONLY, 0)?);
    let mut buffer = [0u8; 64];
    let length = super::fs::read(file.as_raw_fd(), &mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// Reads a small text file of the kernel's in one call.
pub fn read_small(path: &str) -> Result<String, Errno> {
    let errno = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
    let mut buffer = [0u8; 4096];
    let length = fs::File::open(path).map_err(errno)?.read(&mut buffer).map_err(errno)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_cannot_forge_fields() {
        let text = "7 (a) Z 1 (b)) S 1 7 7 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 4711 1 1";
        assert_eq!(parse_stat(text), Some(Stat { state: b'S', parent: 1, start_time: 4711 }));
    }

    #[test]
    fn a_zombie_tells_how_it_ended() {
        for (script, status) in [("exit 7", 7 << 8), ("kill -KILL $$", 9)] {
            let mut child =
                std::process::Command::new("/bin/sh").args(["-c", script]).spawn().expect("spawn");
            let pid = child.id() as i32;
            let start_time = stat(pid).expect("stat").start_time;
            while !stat(pid).expect("stat").is_dead() {
                std::thread::yield_now();
            }
            assert_eq!(exit_status(pid, start_time), Ok(Some(status)), "{script}");
            assert_eq!(exit_status(pid, start_time + 1), Ok(None), "another process");
            child.wait().expect("wait");
            assert_eq!(exit_status(pid, start_time), Ok(None));
        }
    }

    #[test]
    fn a_process_that_has_gone_meanwhile_is_nobodys() {
        let none = nix::libc::pid_t::MAX;
        assert_eq!(is_of_our_user(none), Ok(false));
        assert_eq!(exit_status(none, 1), Ok(None));
        assert_eq!(is_first_of_namespace(none), Err(Errno::ENOENT));
    }

    #[test]
    fn this_process_is_alive() {
        let stat = stat(std::process::id() as i32).expect("own stat");
        assert!(!stat.is_dead() && stat.start_time > 0);
    }
}
