//! From root to the user of the configuration (capabilities(7), credentials(7)).

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::nix::errno::Errno;

use super::report::{At, Failure};
use crate::model::creds::Caps;
use crate::script::call::Call;
use crate::sys::{cred, fs};

/// Drops everything else, whether it seems to be there or not. The kernel says `EINVAL`
/// to the first number that it has no capability for.
pub(super) fn bounding_set(keep: u64) -> Result<(), Failure> {
    let mut dropped = None;
    for capability in 0..64 {
        if keep & 1 << capability != 0 {
            continue;
        }
        match cred::capbset_drop(capability) {
            Ok(()) => dropped = Some(capability),
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(errno).at(Call::None),
        }
    }
    // A filter around rt that answers for one drop answers for all.
    match dropped.map(cred::capbset_read) {
        Some(Ok(true)) => Err(otherwise()),
        Some(Err(errno)) => Err(errno).at(Call::Verify),
        _ => Ok(()),
    }
}

/// A filter that somebody has put around the runtime can answer in the kernel's place that all
/// went well: what was set is asked for again.
fn otherwise() -> Failure {
    Failure::new(Call::Verify, Errno::EPERM)
}

/// Fails unless what was read back is what was set.
fn verify(same: bool) -> Result<(), Failure> {
    if same { Ok(()) } else { Err(otherwise()) }
}

/// Groups, group, user, in this order: each needs rights that the next gives up. The
/// permitted capabilities stay for the steps that follow.
pub(super) fn become_user(uid: u32, gid: u32, groups: Option<&[u32]>) -> Result<(), Failure> {
    cred::keep_capabilities(true)?;
    if let Some(groups) = groups {
        cred::setgroups(groups)?;
    }
    cred::setresgid(gid)?;
    cred::setresuid(uid)?;
    verify(cred::getresgid().at(Call::Verify)? == [gid; 3])?;
    verify(cred::getresuid().at(Call::Verify)? == [uid; 3])?;
    groups.map_or(Ok(()), verify_groups)
}

/// The kernel sorts what it is given, and so does the plan. Of a list that is longer than most
/// only the length is compared.
fn verify_groups(groups: &[u32]) -> Result<(), Failure> {
    let mut found = [0; 32];
    let count = cred::getgroups(&mut found).at(Call::Verify)?;
    verify(count == groups.len())?;
    match found.get(..count) {
        Some(found) => verify(found == groups),
        None => Ok(()),
    }
}

/// execve(2) grants nothing from here on.
pub(super) fn no_new_privileges() -> Result<(), Failure> {
    cred::no_new_privileges()?;
    verify(cred::has_no_new_privileges().at(Call::Verify)?)
}

/// Puts those of the permitted capabilities into effect that are in `mask`.
pub(super) fn raise(mask: u64) -> Result<(), Failure> {
    let (_, permitted, inheritable) = cred::capget()?;
    Ok(cred::capset(permitted & mask, permitted, inheritable)?)
}

/// Puts the permitted capabilities, which survived the change of user, into effect.
pub(super) fn raise_permitted() -> Result<(), Failure> {
    let (_, permitted, inheritable) = cred::capget()?;
    Ok(cred::capset(permitted, permitted, inheritable)?)
}

/// What loading a filter needs without no_new_privs (seccomp(2)).
const SYS_ADMIN: u64 = 1 << 21;

/// The last word on capabilities, but for the one that the filter still needs `before_filter`.
/// Inheritable and ambient ones exist only where the configuration has them (CVE-2022-29162).
pub(super) fn drop_to(caps: &Caps, before_filter: bool, verified: bool) -> Result<(), Failure> {
    let kept = if before_filter { SYS_ADMIN } else { 0 };
    let (effective, permitted) = (caps.effective | kept, caps.permitted | kept);
    cred::ambient_clear()?;
    cred::capset(effective, permitted, caps.inheritable)?;
    for capability in 0..64 {
        if caps.ambient & 1 << capability != 0 {
            cred::ambient_raise(capability)?;
            if verified {
                verify(cred::ambient_is_set(capability).at(Call::Verify)?)?;
            }
        }
    }
    if !verified {
        return Ok(());
    }
    let found = cred::capget().at(Call::Verify)?;
    verify(found == (effective, permitted, caps.inheritable))
}

/// A namespace that is joined need not map 0: whoever has joined it has all rights in it, also
/// as nobody.
pub(super) fn become_root(uid: u32, gid: u32) -> Result<(), Failure> {
    for result in [cred::setresgid(gid), cred::setresuid(uid)] {
        match result {
            Ok(()) | Err(Errno::EINVAL) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// The caller's groups are nobody's in a user namespace, and would count all the same.
pub(super) fn drop_groups() -> Result<(), Failure> {
    match cred::setgroups(&[]) {
        // user_namespaces(7): setgroups is denied where an ordinary user made the mapping.
        Ok(()) | Err(Errno::EPERM) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Only what cannot be a file of somebody else's: pipes, sockets, terminals. /dev/null
/// and regular files of the host keep their owner (CVE-2026-88265).
pub(super) fn own_stdio(uid: u32) -> Result<(), Failure> {
    for fd in 0..3 {
        let Ok(stat) = fs::fstat(fd) else { continue };
        let takes = match stat.st_mode & ::libc::S_IFMT {
            ::libc::S_IFIFO | ::libc::S_IFSOCK => true,
            // UNIX98 terminals have majors 136 to 143.
            ::libc::S_IFCHR => (136..=143).contains(&::libc::major(stat.st_rdev)),
            _ => false,
        };
        if !takes || stat.st_uid == uid {
            continue;
        }
        match fs::fchown(fd, uid, fs::SAME_ID) {
            // Best effort: an unmapped owner or a read-only file system stays as it is.
            Ok(()) | Err(Errno::EINVAL | Errno::EPERM | Errno::EROFS) => {}
            Err(errno) => return Err(errno).at(Call::Chown),
        }
    }
    Ok(())
}
