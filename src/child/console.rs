//! The terminal of the process: always a fresh one of the container's own devpts, found
//! and opened without a path that the image could bend (CVE-2025-52565, CVE-2026-88264).

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::nix::errno::Errno;

use super::Place;
use super::devices;
use super::report::{At, Failure};
use crate::script::call::Call;
use crate::sync::Kind;
use crate::sys::fs::{self, RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, openat2};
use crate::sys::{RawFd, mount, pty};

pub(super) fn make(
    at: &mut Place,
    size: Option<(u16, u16)>,
    uid: u32,
    mount: bool,
) -> Result<(), Failure> {
    let master = open_master(at)?;
    pty::unlock(master)?;
    let number = pty::number(master)?;
    let slave = pty::open_peer(master)?;
    if let Some((rows, columns)) = size {
        pty::set_size(slave, rows, columns)?;
    }
    // The group is as the `gid=` of the devpts has it.
    match fs::fchown(slave, uid, fs::SAME_ID) {
        // An id that the user namespace does not map cannot own anything. On a read-only devpts
        // root keeps it; the process has it open already.
        Ok(()) | Err(Errno::EINVAL | Errno::EPERM | Errno::EROFS) => {}
        Err(errno) => return Err(errno).at(Call::Chown),
    }
    if mount {
        let directory = devices::open_directory(at, c"dev")?;
        let tree = mount::clone_tree(slave, c"", false).at(Call::OpenSource)?;
        let place = devices::Directory::of(at, directory, c"dev")?;
        devices::mount_on_file(at, &place, c"console", tree)?;
        fs::close(directory);
    }
    at.tell(Kind::Console, number.into(), Some(master))?;
    fs::close(master);
    for stdio in 0..3 {
        fs::dup3(slave, stdio, 0)?;
    }
    fs::close(slave);
    Ok(())
}

/// /dev/pts/ptmx of the container, checked to be what its name says (CVE-2025-52565).
fn open_master(at: &mut Place) -> Result<RawFd, Failure> {
    // `exec` has the container's root as its own root already.
    let (root, path) = if at.root >= 0 {
        (at.root, c"dev/pts/ptmx")
    } else {
        (::libc::AT_FDCWD, c"/dev/pts/ptmx")
    };
    let flags = ::libc::O_RDWR | ::libc::O_NOCTTY | ::libc::O_NONBLOCK;
    let resolve = RESOLVE_NO_SYMLINKS | if at.root >= 0 { RESOLVE_IN_ROOT } else { 0 };
    let probe = openat2(root, path, ::libc::O_PATH, 0, resolve);
    let probe = match probe {
        Ok(probe) => probe,
        Err(errno) => return Err(Failure::new(Call::NotDevpts, errno)),
    };
    let stat = fs::fstat(probe).at(Call::NotDevpts)?;
    let magic = fs::fs_magic(probe).at(Call::NotDevpts)?;
    fs::close(probe);
    let is_ptmx =
        stat.st_mode & ::libc::S_IFMT == ::libc::S_IFCHR && stat.st_rdev == ::libc::makedev(5, 2);
    if !is_ptmx || magic != fs::magic::DEVPTS {
        return Err(Failure::new(Call::NotDevpts, Errno::ENODEV));
    }
    at.await_guard()?;
    let master = openat2(root, path, flags, 0, resolve).at(Call::NotDevpts)?;
    // The file could have been exchanged after the check.
    if fs::fstat(master).at(Call::NotDevpts)?.st_rdev != ::libc::makedev(5, 2) {
        return Err(Failure::new(Call::NotDevpts, Errno::ENODEV));
    }
    Ok(master)
}
