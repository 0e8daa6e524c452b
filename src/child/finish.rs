//! The last steps: working directory, program, execve(2).

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::core::ffi::CStr;
use ::nix::errno::Errno;

use super::Place;
use super::report::{At, Failure};
use crate::script::Script;
use crate::script::call::Call;
use crate::sys::fs::{self, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2};
use crate::sys::{RawFd, clone};

/// Enters the working directory. Root may not be let into a directory of the user's (on
/// NFS), nor the user into one of root's: the step comes once before the change of user,
/// where a refusal does not count, and once after it.
pub(super) fn enter_cwd(at: &mut Place, path: &CStr, last: bool) -> Result<(), Failure> {
    if at.in_cwd {
        return Ok(());
    }
    let flags = ::libc::O_PATH | ::libc::O_DIRECTORY;
    // A magic link could lead to a directory of the host (CVE-2024-21626).
    let resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    let root = open_root()?;
    let entered = openat2(root, path, flags, 0, resolve).and_then(|directory| {
        let entered = fs::fchdir(directory);
        fs::close(directory);
        entered
    });
    fs::close(root);
    match entered {
        Err(Errno::EACCES | Errno::EPERM) if !last => return Ok(()),
        // /proc/self leads nowhere before the birth in a joined pid namespace; after it, the step
        // comes once more.
        Err(Errno::ENOENT) if at.unborn => return Ok(()),
        other => other.at(Call::Chdir)?,
    }
    at.in_cwd = true;
    match fs::cwd_is_inside() {
        Err(Errno::EPERM) => Err(Failure::new(Call::Outside, Errno::EPERM)),
        other => other.at(Call::Chdir),
    }
}

fn open_root() -> Result<RawFd, Failure> {
    fs::openat(::libc::AT_FDCWD, c"/", ::libc::O_PATH | ::libc::O_DIRECTORY, 0).at(Call::Chdir)
}

/// Takes the first candidate that this user may execute. What a shell says about the
/// others is said here too: a found file that may not be executed beats a missing one.
///
/// Before the birth in a joined pid namespace, where /proc/self leads nowhere yet, a program that
/// is not found does not count; after it, the step comes once more.
pub(super) fn find_program(at: &mut Place, script: &Script, last: bool) -> Result<(), Failure> {
    if at.has_program {
        return Ok(());
    }
    let mut worst = Errno::ENOENT;
    for (index, candidate) in script.candidates.iter().enumerate() {
        match executable(candidate) {
            Ok(()) => {
                at.program = index;
                at.has_program = true;
                return Ok(());
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) if script.candidates.len() > 1 => {}
            Err(errno) => {
                worst = errno;
                at.program = index;
            }
        }
    }
    if last { Err(Failure::new(Call::Lookup, worst)) } else { Ok(()) }
}

fn executable(path: &CStr) -> Result<(), Errno> {
    fs::accessible(path, ::libc::X_OK)?;
    match fs::stat(path)?.st_mode & ::libc::S_IFMT {
        ::libc::S_IFREG => Ok(()),
        ::libc::S_IFDIR => Err(Errno::EISDIR),
        _ => Err(Errno::EACCES),
    }
}

/// Looks the user's home up in the container's /etc/passwd, bounded: the file belongs to
/// the image. Without an entry it is `/`.
pub(super) fn find_home(at: &mut Place, uid: u32) -> Result<(), Failure> {
    at.home.set(b"/");
    at.await_guard()?;
    let flags = ::libc::O_RDONLY | ::libc::O_NONBLOCK | ::libc::O_NOCTTY;
    let Ok(fd) = openat2(::libc::AT_FDCWD, c"/etc/passwd", flags, 0, RESOLVE_NO_MAGICLINKS) else {
        return Ok(());
    };
    let is_file = fs::fstat(fd).is_ok_and(|stat| stat.st_mode & ::libc::S_IFMT == ::libc::S_IFREG);
    if is_file {
        search_passwd(fd, uid, &mut at.home);
    }
    fs::close(fd);
    Ok(())
}

/// Out of line for its buffers.
#[inline(never)]
fn search_passwd(fd: RawFd, uid: u32, home: &mut Home) {
    let mut lines = Lines { line: [0; MAX_LINE], length: 0, skip: false };
    let mut left = MAX_PASSWD;
    let mut buffer = [0u8; 4096];
    while left > 0 {
        let Ok(count) = fs::read(fd, &mut buffer) else { return };
        left = left.saturating_sub(count);
        // The last line need not end as a line does.
        let (bytes, last) = (buffer.iter().take(count), if count == 0 { &b"\n"[..] } else { &[] });
        for byte in bytes.chain(last) {
            if let Some(found) = lines.take(*byte).and_then(|line| home_of(line, uid)) {
                home.set(found);
                return;
            }
        }
        if count == 0 {
            return;
        }
    }
}

/// The entry `HOME=…` of the environment.
pub(super) struct Home {
    text: [u8; Home::PREFIX.len() + MAX_LINE + 1],
    known: bool,
}

impl Home {
    const PREFIX: &[u8] = b"HOME=";

    pub(super) fn new() -> Self {
        Home { text: [0; Home::PREFIX.len() + MAX_LINE + 1], known: false }
    }

    fn set(&mut self, directory: &[u8]) {
        self.text.fill(0);
        for (slot, byte) in self.text.iter_mut().zip(Home::PREFIX.iter().chain(directory)) {
            *slot = *byte;
        }
        self.known = true;
    }

    fn entry(&self) -> Option<&CStr> {
        if self.known { CStr::from_bytes_until_nul(&self.text).ok() } else { None }
    }
}

/// No passwd of an image needs to be longer.
const MAX_PASSWD: usize = 4 << 20;
const MAX_LINE: usize = 4096;

/// Lines of a file, gathered byte by byte; one that is too long is left out.
struct Lines {
    line: [u8; MAX_LINE],
    length: usize,
    skip: bool,
}

impl Lines {
    /// The line that this byte ends.
    fn take(&mut self, byte: u8) -> Option<&[u8]> {
        if byte == b'\n' {
            let (length, skip) = (self.length, self.skip);
            self.length = 0;
            self.skip = false;
            return if skip { None } else { self.line.get(..length) };
        }
        match self.line.get_mut(self.length) {
            Some(slot) => {
                *slot = byte;
                self.length += 1;
            }
            None => self.skip = true,
        }
        None
    }
}

/// `name:password:UID:GID:GECOS:directory:shell`.
fn home_of(line: &[u8], uid: u32) -> Option<&[u8]> {
    let mut fields = line.split(|byte| *byte == b':');
    let text = ::core::str::from_utf8(fields.nth(2)?).ok()?;
    if text.parse::<u32>().ok()? != uid {
        return None;
    }
    let home = fields.nth(2)?;
    if home.first() == Some(&b'/') { Some(home) } else { None }
}

/// Becomes the program. Returns only when that failed.
pub(super) fn exec(at: &mut Place, script: &mut Script) -> Failure {
    if let Some(program) = script.program {
        return Failure::new(Call::Exec, exec_open(program, script));
    }
    let Some(program) = script.candidates.get(at.program) else {
        return Failure::new(Call::Exec, Errno::ENOENT);
    };
    let errno = clone::execve(program, &script.argv, &mut script.envp, at.home.entry());
    Failure::new(Call::Exec, errno)
}

/// A script is given to its interpreter by the number of the descriptor, which must be open then.
fn exec_open(program: RawFd, script: &mut Script) -> Errno {
    let errno = clone::execve_open(program, &script.argv, &mut script.envp);
    if errno == Errno::ENOENT && fs::keep_open(program).is_ok() {
        return clone::execve_open(program, &script.argv, &mut script.envp);
    }
    errno
}

#[cfg(test)]
mod tests {
    use ::core::prelude::rust_2024::*;

    use ::std::os::fd::IntoRawFd;

    use super::{Home, home_of, search_passwd};
    use crate::sys::{fs, memfd};

    #[test]
    fn the_last_line_of_a_passwd_need_not_end() {
        for (text, home) in [
            ("root:x:0:0::/root:/bin/sh\nu:x:7:7::/home/u:/bin/sh", Some("HOME=/home/u")),
            ("u:x:7:7::/home/u:/bin/sh\n", Some("HOME=/home/u")),
            ("u:x:7:7::/home/u", Some("HOME=/home/u")),
            ("u:x:8:7::/home/u:/bin/sh", None),
            ("", None),
        ] {
            let file = memfd::memory_file(c"passwd").map_or(-1, IntoRawFd::into_raw_fd);
            ::core::assert_eq!(fs::write(file, text.as_bytes()), Ok(text.len()));
            ::core::assert_eq!(fs::rewind(file), Ok(()));
            let mut found = Home::new();
            search_passwd(file, 7, &mut found);
            fs::close(file);
            let found = found.entry().and_then(|entry| entry.to_str().ok());
            ::core::assert_eq!(found, home, "{text:?}");
        }
    }

    #[test]
    fn a_home_belongs_to_a_number_not_to_a_name() {
        let line = b"1000:x:0:0:root:/evil:/bin/sh";
        ::core::assert_eq!(home_of(line, 1000), None);
        ::core::assert_eq!(home_of(b"u:x:1000:100::/home/u:/bin/sh", 1000), Some(&b"/home/u"[..]));
    }
}
