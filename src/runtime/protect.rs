//! The binary of `rt` cannot be written from inside a container (CVE-2019-5736): the
//! half of `rt` that enters one runs from a read-only copy. As it is shipped, `rt` has started from one
//! before it comes here (sys/first.rs), unless it was not permitted.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI32};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};

use crate::error::{Doing, Error, Result};
use crate::sys::c_array::CArray;
use crate::sys::mount::{self, MountAttr, attr};
use crate::sys::{RawFd, auxv, clone, fd, fs, memfd, memory};

/// Verbs whose process always enters a container; `start` asks for itself. sys/first.rs has them, too:
/// it cannot use a table of pointers.
const ENTERING: [&str; 3] = ["create", "run", "exec"];

/// This process runs from a copy already.
static PROTECTED: AtomicBool = AtomicBool::new(false);

/// The descriptor of the read-only mount that this process runs from, or -1. Whoever closes it
/// last has the mount go, and waits for the kernel (an RCU grace period): that is put off until
/// there is time.
static MOUNT: AtomicI32 = AtomicI32::new(-1);

/// CVE-2020-5291: nothing of `rt` is written for a caller that it must not trust. No verb is: even
/// the path of the log would be opened with the rights of another.
pub fn refuse_setuid() -> Result<()> {
    if auxv::is_setuid() {
        let hint = "take the mode or the capabilities away: chmod ug-s, setcap -r";
        let text = "rt must not be installed setuid or with file capabilities";
        return Err(Error::new(text).hint(hint));
    }
    Ok(())
}

/// [`ensure`] before the command line is understood, so that it is read once and not
/// twice: for everything that could be one of those verbs. A failure counts only when the
/// verb asks for it again.
pub fn early() {
    if std::env::args_os().skip(1).any(|word| ENTERING.iter().any(|verb| word == *verb)) {
        let _ = ensure();
    }
}

/// Starts this program again from a read-only copy of itself, unless it runs from one.
///
/// A detached read-only mount of the file costs almost nothing; a caller who may not
/// mount gets a sealed copy in memory.
pub fn ensure() -> Result<()> {
    if PROTECTED.load(Relaxed) {
        tracing::debug!("runc exeseal: using /proc/self/exe clone: read-only, or sealed in memory");
        return Ok(());
    }
    let flags = libc::O_RDONLY;
    let exe = fs::openat(libc::AT_FDCWD, c"/proc/self/exe", flags, 0).map(fd::own);
    let exe = exe.doing(|| "open /proc/self/exe")?;
    if fs::is_readonly(exe.as_raw_fd()).doing(|| "look at the mount of rt")? || is_sealed(&exe) {
        PROTECTED.store(true, Relaxed);
        MOUNT.store(kept_open(&exe).unwrap_or(-1), Relaxed);
        // One call instead of a page fault for each page.
        memory::populate_stack();
        return Ok(());
    }
    let copy = match readonly_mount(&exe) {
        Err(Errno::EPERM | Errno::EINVAL | Errno::ENOSYS) => sealed_copy(&exe)?,
        other => other.doing(|| "make a read-only mount of rt")?,
    };
    let words = std::env::args_os().filter_map(|word| CString::new(word.into_vec()).ok());
    let argv = CArray::new(words.collect());
    // Not close-on-exec. Where the limit on descriptors is too low for it, the kernel waits now.
    let kept = fcntl(&copy, FcntlArg::F_DUPFD(fd::HIGH)).map(fd::own).ok();
    let from = kept.as_ref().unwrap_or(&copy);
    let errno = clone::fexecve(from.as_raw_fd(), &argv);
    Err(Error::new("start rt from a read-only copy of itself").errno(errno))
}

/// Lets the mount go. The child does so at once, and the parent while the child is at work.
/// Child-safe.
pub fn let_go() {
    let fd = MOUNT.swap(-1, Relaxed);
    if fd >= 0 {
        fs::close(fd);
    }
}

/// The descriptor that the first start has kept open, if it is of our own program.
fn kept_open(exe: &OwnedFd) -> Option<RawFd> {
    let fd = auxv::started_from().filter(|fd| *fd >= fd::HIGH)?;
    let (kept, own) = (fs::fstat(fd).ok()?, fs::fstat(exe.as_raw_fd()).ok()?);
    ((kept.st_dev, kept.st_ino) == (own.st_dev, own.st_ino)).then_some(fd)
}

fn readonly_mount(exe: &OwnedFd) -> Result<OwnedFd, Errno> {
    let tree = fd::own(mount::clone_tree(exe.as_raw_fd(), c"", false)?);
    let readonly = MountAttr { set: attr::RDONLY, ..MountAttr::default() };
    mount::mount_setattr(tree.as_raw_fd(), false, &readonly)?;
    Ok(tree)
}

const SEALS: SealFlag = SealFlag::F_SEAL_SEAL
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE);

fn is_sealed(file: &OwnedFd) -> bool {
    // An ordinary file has no seals to ask for: EINVAL.
    fcntl(file, FcntlArg::F_GET_SEALS)
        .is_ok_and(|seals| SealFlag::from_bits_truncate(seals).contains(SEALS))
}

/// Out of line: the buffer of the copy would be on the stack of every start.
#[inline(never)]
fn sealed_copy(exe: &OwnedFd) -> Result<OwnedFd> {
    let doing = || "copy rt into memory";
    let copy = memfd::sealable_program(c"rt").doing(doing)?;
    let mut from = std::fs::File::from(exe.try_clone().doing(doing)?);
    let mut to = std::fs::File::from(copy.try_clone().doing(doing)?);
    std::io::copy(&mut from, &mut to).doing(doing)?;
    drop(to);
    fcntl(&copy, FcntlArg::F_ADD_SEALS(SEALS)).doing(|| "seal the copy of rt in memory")?;
    // execve(2) refuses a file that somebody has open for writing.
    let path = CString::new(format!("/proc/self/fd/{}", copy.as_raw_fd())).unwrap_or_default();
    let readable = fs::openat(libc::AT_FDCWD, &path, libc::O_RDONLY, 0);
    Ok(fd::own(readable.doing(|| "open the copy of rt in memory")?))
}
