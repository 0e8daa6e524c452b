//! Paths of the container, found or made below its root. Nothing here ever starts at the
//! host's root, and no link leads out (CVE-2021-30465, CVE-2024-45310, CVE-2025-31133).

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::core::ffi::CStr;
use ::nix::errno::Errno;

use super::Place;
use super::report::{At, Failure};
use crate::script::call::Call;
use crate::sys::RawFd;
use crate::sys::fs::{self, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2};

/// How a lookup treats links.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// Followed inside the root.
    Follow,
    /// Followed but for one at the end of the path, which is what is meant.
    NotLast,
    /// An error.
    Refuse,
}

/// What stands at the end of the path, or is to be made there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    Directory,
    File,
}

const MAX_PATH: usize = 4096;
/// What is longer is always walked.
const MAX_SHORT: usize = 256;
/// As many links as the kernel follows in one lookup.
const MAX_LINKS: u32 = 40;

/// Opens `path` below `root` as `O_PATH`.
pub(super) fn open(root: RawFd, path: &CStr, links: Links) -> Result<RawFd, Errno> {
    let resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | links.resolve();
    openat2(root, path, ::libc::O_PATH | links.flags(), 0, resolve)
}

/// Opens `path` below the root as `O_PATH`; what is missing of it is made, directories with
/// mode 0755, and noted. Says whether anything was.
pub(super) fn open_or_make(
    at: &Place,
    path: &CStr,
    links: Links,
    want: Want,
) -> Result<(RawFd, bool), Failure> {
    let mut noted = true;
    let (fd, fresh) = match open(at.root, path, links) {
        Err(Errno::ENOENT) => match make_last(at.root, path, want) {
            Some(fd) => {
                noted = false;
                (fd, true)
            }
            None => (walk(at, path, links, want)?, true),
        },
        other => (other.at(Call::OpenTarget)?, false),
    };
    let stat = fs::fstat(fd).at(Call::OpenTarget)?;
    if !noted {
        at.page.note(stat.st_dev, stat.st_ino, [path.to_bytes(), b"", b""]);
    }
    let is_directory = stat.st_mode & ::libc::S_IFMT == ::libc::S_IFDIR;
    if is_directory != (want == Want::Directory) {
        fs::close(fd);
        // In both cases what the kernel says, and what Docker knows of.
        return Err(Failure::new(Call::WrongKind, Errno::ENOTDIR));
    }
    Ok((fd, fresh))
}

/// The usual case of a [`Walk`], without one: only the last name is missing, and there is
/// no link on the way. `None` for all other cases.
fn make_last(root: RawFd, path: &CStr, want: Want) -> Option<RawFd> {
    let bytes = path.to_bytes();
    let cut = bytes.iter().rposition(|byte| *byte == b'/')?;
    let name = CStr::from_bytes_with_nul(path.to_bytes_with_nul().get(cut + 1..)?).ok()?;
    if name.is_empty() || name == c"." || name == c".." {
        return None;
    }
    let mut directory = [0; MAX_SHORT];
    directory.get_mut(..cut)?.copy_from_slice(bytes.get(..cut)?);
    let directory = CStr::from_bytes_until_nul(&directory).ok().filter(|path| !path.is_empty())?;
    let flags = ::libc::O_PATH | ::libc::O_DIRECTORY;
    let parent = openat2(root, directory, flags, 0, NO_LINKS).ok()?;
    let made = make(parent, name, want);
    fs::close(parent);
    made.ok()?;
    openat2(root, path, ::libc::O_PATH, 0, NO_LINKS).ok()
}

/// Out of line, since its buffers would otherwise be on the stack of every lookup.
#[inline(never)]
fn walk(at: &Place, path: &CStr, links: Links, want: Want) -> Result<RawFd, Failure> {
    Walk::new(path)?.run(at, links, want)
}

fn make(parent: RawFd, name: &CStr, want: Want) -> Result<(), Errno> {
    match want {
        Want::Directory => fs::mkdirat(parent, name, 0o755),
        Want::File => fs::mknodat(parent, name, ::libc::S_IFREG | 0o644, 0),
    }
}

/// The `S_IFMT` part of a file's mode.
pub(super) fn kind(fd: RawFd) -> Result<u32, Errno> {
    fs::fstat(fd).map(|stat| stat.st_mode & ::libc::S_IFMT)
}

impl Links {
    fn resolve(self) -> u64 {
        match self {
            Links::Follow | Links::NotLast => 0,
            Links::Refuse => RESOLVE_NO_SYMLINKS,
        }
    }

    fn flags(self) -> i32 {
        match self {
            Links::Follow | Links::Refuse => 0,
            Links::NotLast => ::libc::O_NOFOLLOW,
        }
    }
}

/// A path in a fixed buffer, always NUL-terminated.
#[derive(Clone, Copy)]
struct Buffer {
    bytes: [u8; MAX_PATH],
    length: usize,
}

impl Buffer {
    fn new() -> Self {
        Buffer { bytes: [0; MAX_PATH], length: 0 }
    }

    fn bytes(&self) -> &[u8] {
        match self.bytes.get(..self.length) {
            Some(bytes) => bytes,
            None => &[],
        }
    }

    fn append(&mut self, more: &[u8]) -> Result<(), Errno> {
        let end = self.length + more.len();
        // One byte stays for the NUL.
        match self.bytes.get_mut(self.length..end) {
            Some(room) if end < MAX_PATH => room.copy_from_slice(more),
            _ => return Err(Errno::ENAMETOOLONG),
        }
        self.truncate(end);
        Ok(())
    }

    /// Appends `/name`, or `name` at the front.
    fn push(&mut self, name: &[u8]) -> Result<(), Errno> {
        if self.length > 0 {
            self.append(b"/")?;
        }
        self.append(name)
    }

    /// Removes the last name.
    fn pop(&mut self) {
        let cut = self.bytes().iter().rposition(|byte| *byte == b'/');
        self.truncate(cut.unwrap_or_default());
    }

    fn truncate(&mut self, length: usize) {
        self.length = length;
        if let Some(end) = self.bytes.get_mut(length) {
            *end = 0;
        }
    }

    fn with_c_str<T>(&self, run: impl FnOnce(&CStr) -> T) -> Result<T, Errno> {
        match CStr::from_bytes_until_nul(&self.bytes) {
            // The root itself is "." to the *at calls.
            Ok(text) if text.is_empty() => Ok(run(c".")),
            Ok(text) => Ok(run(text)),
            Err(_) => Err(Errno::EINVAL),
        }
    }
}

/// A walk down a path of which something is missing. `done` holds no link: each lookup
/// starts at the root again and refuses links, so that a swapped directory is noticed.
struct Walk {
    done: Buffer,
    rest: Buffer,
    /// The next name was made by us.
    made: bool,
}

const NO_LINKS: u64 = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;

impl Walk {
    fn new(path: &CStr) -> Result<Self, Failure> {
        let mut rest = Buffer::new();
        rest.append(path.to_bytes()).at(Call::OpenTarget)?;
        Ok(Walk { done: Buffer::new(), rest, made: false })
    }

    fn run(mut self, at: &Place, links: Links, want: Want) -> Result<RawFd, Failure> {
        let root = at.root;
        let mut followed = 0;
        // Each name takes at most two rounds, one that makes it and one that finds it,
        // unless somebody keeps removing what is made.
        for _ in 0..2 * MAX_PATH {
            let Some(name) = self.next_name().at(Call::OpenTarget)? else {
                let flags = ::libc::O_PATH | links.flags();
                let open = |path: &CStr| openat2(root, path, flags, 0, NO_LINKS);
                return self.done.with_c_str(open).flatten().at(Call::OpenTarget);
            };
            if name.bytes() == b".." {
                self.done.pop();
                continue;
            }
            self.done.push(name.bytes()).at(Call::OpenTarget)?;
            let flags = ::libc::O_PATH | ::libc::O_NOFOLLOW;
            let open = |path: &CStr| openat2(root, path, flags, 0, NO_LINKS);
            match self.done.with_c_str(open).flatten() {
                Ok(fd) => {
                    if ::core::mem::take(&mut self.made) {
                        let stat = fs::fstat(fd).at(Call::OpenTarget)?;
                        at.page.note(stat.st_dev, stat.st_ino, [self.done.bytes(), b"", b""]);
                    }
                    let result = self.found(fd, links, &mut followed);
                    fs::close(fd);
                    result?;
                }
                Err(Errno::ENOENT) => self.make(root, &name, want)?,
                Err(errno) => return Err(errno).at(Call::OpenTarget),
            }
        }
        Err(Failure::new(Call::OpenTarget, Errno::EAGAIN))
    }

    /// The next name of `rest`, which loses it.
    fn next_name(&mut self) -> Result<Option<Buffer>, Errno> {
        while self.rest.length > 0 {
            let rest = self.rest;
            let mut parts = rest.bytes().splitn(2, |byte| *byte == b'/');
            let first = parts.next().unwrap_or_default();
            self.rest.truncate(0);
            self.rest.append(parts.next().unwrap_or_default())?;
            if !first.is_empty() && first != b"." {
                let mut name = Buffer::new();
                name.append(first)?;
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// A link is replaced by what it says; anything else stays in `done`.
    fn found(&mut self, fd: RawFd, links: Links, followed: &mut u32) -> Result<(), Failure> {
        if kind(fd).at(Call::OpenTarget)? != ::libc::S_IFLNK {
            return Ok(());
        }
        if links == Links::NotLast && self.rest.bytes().is_empty() {
            return Ok(());
        }
        *followed += 1;
        if links == Links::Refuse || *followed > MAX_LINKS {
            return Err(Failure::new(Call::OpenTarget, Errno::ELOOP));
        }
        let mut target = [0u8; MAX_PATH];
        let target = fs::readlinkat(fd, c"", &mut target).at(Call::OpenTarget)?;
        if target.first() == Some(&b'/') {
            self.done.truncate(0);
        } else {
            self.done.pop();
        }
        let after = self.rest;
        self.rest.truncate(0);
        self.rest.append(target).at(Call::OpenTarget)?;
        if !after.bytes().is_empty() {
            self.rest.append(b"/").at(Call::OpenTarget)?;
            self.rest.append(after.bytes()).at(Call::OpenTarget)?;
        }
        Ok(())
    }

    /// Makes `name` at the end of `done`, which the next round will find: `done` and
    /// `rest` are put back to before it.
    fn make(&mut self, root: RawFd, name: &Buffer, want: Want) -> Result<(), Failure> {
        let last = self.rest.bytes().is_empty();
        self.done.pop();
        let flags = ::libc::O_PATH | ::libc::O_DIRECTORY;
        let open = |path: &CStr| openat2(root, path, flags, 0, NO_LINKS);
        let parent = self.done.with_c_str(open).flatten().at(Call::OpenTarget)?;
        let (call, want) = match want {
            Want::File if last => (Call::MakeFile, want),
            _ => (Call::MakeDirectory, Want::Directory),
        };
        let made = name.with_c_str(|name| make(parent, name, want)).flatten();
        fs::close(parent);
        match made {
            Ok(()) => self.made = true,
            // Somebody else was faster; the next round looks at what it is.
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno).at(call),
        }
        let after = self.rest;
        self.rest.truncate(0);
        self.rest.append(name.bytes()).at(Call::OpenTarget)?;
        if !last {
            self.rest.append(b"/").at(Call::OpenTarget)?;
            self.rest.append(after.bytes()).at(Call::OpenTarget)?;
        }
        Ok(())
    }
}
