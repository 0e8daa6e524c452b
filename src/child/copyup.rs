//! tmpcopyup: what a tmpfs covers is copied into it before it is attached.
//!
//! The covered directory may be one that others change meanwhile: every name is opened in
//! its directory without following links, and looked at by descriptor. Times, owners, modes
//! and extended attributes come along; hard links become copies.

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::core::ffi::CStr;
use ::nix::errno::Errno;

use super::Place;
use super::report::{At, Detail, Failure};
use crate::script::call::Call;
use crate::sys::{RawFd, copy, dir, fs};

/// Two descriptors and about 5 KiB of stack for each level.
const MAX_DEPTH: u32 = 200;

/// `XATTR_SIZE_MAX` and `XATTR_LIST_MAX` of the kernel.
const MAX_VALUE: usize = 64 * 1024;

const DIRECTORY: i32 = ::libc::O_RDONLY | ::libc::O_DIRECTORY | ::libc::O_NOFOLLOW;

/// Copies what is in the directory `covered` into the empty one `fresh`; both are `O_PATH`.
pub(super) fn copy(at: &mut Place, covered: RawFd, fresh: RawFd) -> Result<(), Failure> {
    at.await_guard()?;
    let from = fs::openat(covered, c".", DIRECTORY, 0).at(Call::CopyUp)?;
    let to = fs::openat(fresh, c".", DIRECTORY, 0).at(Call::CopyUp)?;
    let copied = directory(from, to, &mut at.detail, 0);
    fs::close(from);
    fs::close(to);
    copied
}

/// The entries of one directory.
fn directory(from: RawFd, to: RawFd, detail: &mut Detail, depth: u32) -> Result<(), Failure> {
    if depth > MAX_DEPTH {
        return Err(Failure::new(Call::CopyUp, Errno::ELOOP));
    }
    let mut buffer = [0u8; 4096];
    loop {
        let length = dir::getdents(from, &mut buffer).at(Call::CopyUp)?;
        let filled = match buffer.get(..length) {
            Some(filled) if length > 0 => filled,
            _ => return Ok(()),
        };
        for found in dir::entries(filled) {
            let copied = entry(from, to, found.name, detail, depth);
            if copied.is_err() {
                detail.prepend(found.name.to_bytes());
            }
            copied?;
        }
    }
}

fn entry(
    from: RawFd,
    to: RawFd,
    name: &CStr,
    detail: &mut Detail,
    depth: u32,
) -> Result<(), Failure> {
    let flags = ::libc::O_PATH | ::libc::O_NOFOLLOW;
    let found = match fs::openat(from, name, flags, 0) {
        // Removed since it was listed.
        Err(Errno::ENOENT) => return Ok(()),
        other => other.at(Call::CopyUp)?,
    };
    let copied =
        fs::fstat(found).at(Call::CopyUp).and_then(|stat| match stat.st_mode & ::libc::S_IFMT {
            ::libc::S_IFDIR => subdirectory(from, to, name, &stat, detail, depth),
            ::libc::S_IFREG => regular(from, to, name, &stat).at(Call::CopyUp),
            ::libc::S_IFLNK => link(found, to, name, &stat).at(Call::CopyUp),
            _ => special(to, name, &stat).at(Call::CopyUp),
        });
    fs::close(found);
    copied
}

fn subdirectory(
    from: RawFd,
    to: RawFd,
    name: &CStr,
    stat: &::libc::stat,
    detail: &mut Detail,
    depth: u32,
) -> Result<(), Failure> {
    fs::mkdirat(to, name, 0o700).at(Call::CopyUp)?;
    let inner_from = fs::openat(from, name, DIRECTORY, 0).at(Call::CopyUp)?;
    let inner_to = fs::openat(to, name, DIRECTORY, 0).at(Call::CopyUp)?;
    directory(inner_from, inner_to, detail, depth + 1)?;
    let done = like(inner_from, inner_to, stat);
    fs::close(inner_from);
    fs::close(inner_to);
    done.at(Call::CopyUp)
}

#[inline(never)]
fn regular(from: RawFd, to: RawFd, name: &CStr, stat: &::libc::stat) -> Result<(), Errno> {
    let flags = ::libc::O_RDONLY | ::libc::O_NOFOLLOW | ::libc::O_NONBLOCK | ::libc::O_NOCTTY;
    let source = fs::openat(from, name, flags, 0)?;
    // Exchanged since it was looked at: a device or a FIFO must not be read.
    if fs::fstat(source)?.st_mode & ::libc::S_IFMT != ::libc::S_IFREG {
        return Err(Errno::EAGAIN);
    }
    let flags = ::libc::O_WRONLY | ::libc::O_CREAT | ::libc::O_EXCL | ::libc::O_NOFOLLOW;
    let target = fs::openat(to, name, flags, 0o600)?;
    while copy::sendfile(target, source)? > 0 {}
    let done = like(source, target, stat);
    fs::close(source);
    fs::close(target);
    done
}

#[inline(never)]
fn link(found: RawFd, to: RawFd, name: &CStr, stat: &::libc::stat) -> Result<(), Errno> {
    let mut text = [0u8; 4097];
    let length = match text.get_mut(..4096) {
        Some(room) => fs::readlinkat(found, c"", room)?.len(),
        None => 0,
    };
    if let Some(end) = text.get_mut(length) {
        *end = 0;
    }
    let Ok(text) = CStr::from_bytes_until_nul(&text) else { return Err(Errno::ENAMETOOLONG) };
    fs::symlinkat(text, to, name)?;
    fs::lchownat(to, name, stat.st_uid, stat.st_gid)?;
    copy::set_times(to, name, stat)
}

/// Devices, FIFOs and sockets.
fn special(to: RawFd, name: &CStr, stat: &::libc::stat) -> Result<(), Errno> {
    fs::mknodat(to, name, stat.st_mode, stat.st_rdev)?;
    fs::lchownat(to, name, stat.st_uid, stat.st_gid)?;
    // Nobody else has seen this directory yet.
    fs::fchmodat(to, name, stat.st_mode & 0o7777)?;
    copy::set_times(to, name, stat)
}

/// Owner first: changing it clears set-id bits and file capabilities. Times last.
fn like(source: RawFd, target: RawFd, stat: &::libc::stat) -> Result<(), Errno> {
    fs::fchown(target, stat.st_uid, stat.st_gid)?;
    fs::fchmod(target, stat.st_mode & 0o7777)?;
    attributes(source, target)?;
    copy::set_times(target, c"", stat)
}

/// Extended attributes.
fn attributes(source: RawFd, target: RawFd) -> Result<(), Errno> {
    let mut names = [0u8; 1024];
    let length = match copy::flistxattr(source, &mut names) {
        Err(Errno::EOPNOTSUPP) => return Ok(()),
        Ok(0) => return Ok(()),
        // More than a file of an image has: the long way.
        Err(Errno::ERANGE) => return many_attributes(source, target),
        other => other?,
    };
    each_attribute(source, target, names.get(..length).unwrap_or_default())
}

#[inline(never)]
fn many_attributes(source: RawFd, target: RawFd) -> Result<(), Errno> {
    let mut names = [0u8; MAX_VALUE];
    let length = copy::flistxattr(source, &mut names)?;
    each_attribute(source, target, names.get(..length).unwrap_or_default())
}

#[inline(never)]
fn each_attribute(source: RawFd, target: RawFd, names: &[u8]) -> Result<(), Errno> {
    let mut value = [0u8; MAX_VALUE];
    for name in names.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        let length = match copy::fgetxattr(source, name, &mut value) {
            // Removed meanwhile; or meant for a user that this namespace does not have.
            Err(Errno::ENODATA | Errno::EOVERFLOW) => continue,
            other => other?,
        };
        match copy::fsetxattr(target, name, value.get(..length).unwrap_or_default()) {
            // tmpfs has no such kind of attribute (user ones: from Linux 6.6).
            Ok(()) | Err(Errno::EOPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
