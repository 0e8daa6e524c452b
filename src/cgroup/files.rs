//! Files and directories of a cgroup tree, always by descriptor. Nothing below the root of
//! the tree is a link or another mount, and none is followed.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::uio::pread;
use nix::unistd;

fn open(dir: impl AsFd, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    openat2(dir, path, OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve))
}

/// A cgroup below `dir`, for clone3(2), bpf(2) and as a start of lookups (`O_PATH`).
pub fn open_cgroup(dir: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    open(dir, path, OFlag::O_PATH | OFlag::O_DIRECTORY)
}

/// The same, to list it.
pub fn open_listing(dir: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    open(dir, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
}

/// A file, to read and to poll it.
pub fn open_file(dir: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    open(dir, path, OFlag::O_RDONLY)
}

/// The text of a file that is short by nature: one read.
pub fn read_short(dir: impl AsFd, path: &str) -> Result<String, Errno> {
    let mut buffer = [0; 1024];
    let length = unistd::read(open_file(dir, path)?, &mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// The whole text of a file.
pub fn read(dir: impl AsFd, path: &str) -> Result<String, Errno> {
    let file = open_file(dir, path)?;
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match unistd::read(&file, &mut buffer)? {
            0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
            length => text.extend_from_slice(&buffer[..length]),
        }
    }
}

/// Writes a value; the kernel takes it as a whole or not at all.
pub fn write(dir: impl AsFd, path: &str, value: &str) -> Result<(), Errno> {
    let file = open(dir, path, OFlag::O_WRONLY)?;
    unistd::write(file, value.as_bytes()).map(drop)
}

/// A file of pressure that poll(2) reports when `threshold` is passed, as long as it is open.
pub fn trigger(dir: impl AsFd, path: &str, threshold: &str) -> Result<OwnedFd, Errno> {
    let file = open(dir, path, OFlag::O_RDWR)?;
    unistd::write(&file, threshold.as_bytes())?;
    Ok(file)
}

/// Has poll(2) report the next change of a file of events.
pub fn rearm(file: &OwnedFd) -> Result<(), Errno> {
    pread(file, &mut [0; 256], 0).map(drop)
}

/// cgroup.events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Events {
    /// There is a process in the cgroup or below.
    pub populated: bool,
    /// All of them stand still, or would if there were any.
    pub frozen: bool,
}

impl Events {
    /// Reads the file of a cgroup. The root has none (`ENOENT`).
    pub fn read(cgroup: impl AsFd) -> Result<Events, Errno> {
        read_short(cgroup, "cgroup.events").map(|text| Events::parse(&text))
    }

    /// Reads its text.
    pub fn parse(text: &str) -> Events {
        let is_set = |key: &str| {
            text.lines().filter_map(|line| line.split_once(' ')).any(|(k, v)| k == key && v == "1")
        };
        Events { populated: is_set("populated"), frozen: is_set("frozen") }
    }
}

/// The names of the sub-cgroups among struct linux_dirent64 records of getdents64(2).
pub fn directories(mut records: &[u8]) -> Vec<String> {
    // u64 d_ino, u64 d_off, u16 d_reclen, u8 d_type, then the name with a NUL.
    const HEADER: usize = 19;
    let mut names = Vec::new();
    while let Some(header) = records.get(..HEADER) {
        let length = usize::from(u16::from_ne_bytes([header[16], header[17]]));
        let Some(name) = records.get(HEADER..length) else { break };
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        if header[18] == libc::DT_DIR && name != b"." && name != b".." {
            names.push(String::from_utf8_lossy(name).into_owned());
        }
        records = &records[length..];
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_by_name() {
        let events = |populated, frozen| Events { populated, frozen };
        assert_eq!(Events::parse("populated 1\nfrozen 0\n"), events(true, false));
        assert_eq!(Events::parse("new 1\nfrozen 1\npopulated 0\n"), events(false, true));
        assert_eq!(Events::parse(""), events(false, false));
    }

    #[test]
    fn only_directories_are_listed() {
        let mut records = Vec::new();
        for (name, kind) in [
            (".", libc::DT_DIR),
            ("cgroup.procs", libc::DT_REG),
            ("sub", libc::DT_DIR),
            ("..", libc::DT_DIR),
        ] {
            let length = (19 + name.len() + 1).next_multiple_of(8);
            records.extend_from_slice(&[0; 16]);
            records.extend_from_slice(&(length as u16).to_ne_bytes());
            records.push(kind);
            records.extend_from_slice(name.as_bytes());
            records.resize(records.len() + length - 19 - name.len(), 0);
        }
        assert_eq!(directories(&records), ["sub"]);
        assert!(directories(&records[..10]).is_empty());
    }
}
