//! Files and directories of a cgroup tree, always by descriptor. Nothing below the root of
//! the tree is a link or another mount, and none is followed.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::uio::pread;
use nix::unistd;

fn open(dir: impl AsFd, path: impl AsRef<OsStr>, flags: OFlag) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    openat2(dir, path.as_ref(), OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve))
}

/// A cgroup below `dir`, for clone3(2), bpf(2) and as a start of lookups (`O_PATH`).
pub fn open_cgroup(dir: impl AsFd, path: impl AsRef<OsStr>) -> Result<OwnedFd, Errno> {
    open(dir, path, OFlag::O_PATH | OFlag::O_DIRECTORY)
}

/// The cgroup itself, to list it.
pub fn open_listing(dir: impl AsFd) -> Result<OwnedFd, Errno> {
    open(dir, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY)
}

/// A file, to read and to poll it.
pub fn open_file(dir: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    open(dir, path, OFlag::O_RDONLY)
}

/// The text of a file that is short by nature: one read. `EOVERFLOW` when it is not, since half of
/// a value is another value.
pub fn read_short(dir: impl AsFd, path: &str) -> Result<String, Errno> {
    let mut buffer = [0; 1024];
    let length = unistd::read(open_file(dir, path)?, &mut buffer)?;
    whole(&buffer, length)
}

/// What one read has brought, unless there may be more.
fn whole(buffer: &[u8], length: usize) -> Result<String, Errno> {
    match buffer.get(..length) {
        Some(text) if length < buffer.len() => Ok(String::from_utf8_lossy(text).into_owned()),
        _ => Err(Errno::EOVERFLOW),
    }
}

/// Whether there is anything in a file.
pub fn is_empty(dir: impl AsFd, path: &str) -> Result<bool, Errno> {
    unistd::read(open_file(dir, path)?, &mut [0; 64]).map(|length| length == 0)
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
    /// Reads the open file from its start, which also arms the next notice of poll(2).
    pub fn read_again(file: &OwnedFd) -> Result<Events, Errno> {
        let mut buffer = [0; 256];
        let length = pread(file, &mut buffer, 0)?;
        whole(&buffer, length).map(|text| Events::parse(&text))
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_may_have_been_cut_is_an_error() {
        let path = std::env::temp_dir().join(format!("rt-short-{}", std::process::id()));
        std::fs::create_dir(&path).expect("mkdir");
        let dir = std::fs::File::open(&path).expect("open");
        for (length, read) in [(0, Ok(0)), (1023, Ok(1023)), (1024, Err(Errno::EOVERFLOW))] {
            std::fs::write(path.join("file"), "7".repeat(length)).expect("write");
            assert_eq!(read_short(&dir, "file").map(|text| text.len()), read, "{length}");
            assert_eq!(super::read(&dir, "file").map(|text| text.len()), Ok(length));
            assert_eq!(is_empty(&dir, "file"), Ok(length == 0));
        }
        std::fs::remove_dir_all(path).expect("removed");
    }

    #[test]
    fn events_are_read_by_name() {
        let events = |populated, frozen| Events { populated, frozen };
        assert_eq!(Events::parse("populated 1\nfrozen 0\n"), events(true, false));
        assert_eq!(Events::parse("new 1\nfrozen 1\npopulated 0\n"), events(false, true));
        assert_eq!(Events::parse(""), events(false, false));
    }
}
