//! From root to the user of the configuration (capabilities(7), credentials(7)).

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::nix::errno::Errno;

use super::report::{At, Call, Failure};
use crate::plan::creds::Caps;
use crate::sys::{cred, fs};

/// Drops everything else, whether it seems to be there or not. The kernel says `EINVAL`
/// to the first number that it has no capability for.
pub(crate) fn bounding_set(keep: u64) -> Result<(), Failure> {
    for capability in 0..64 {
        if keep & 1 << capability != 0 {
            continue;
        }
        match cred::capbset_drop(capability) {
            Ok(()) => {}
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(errno).at(Call::None),
        }
    }
    Ok(())
}

/// Groups, group, user, in this order: each needs rights that the next gives up. The
/// permitted capabilities stay for the steps that follow.
pub(crate) fn become_user(uid: u32, gid: u32, groups: Option<&[u32]>) -> Result<(), Failure> {
    cred::keep_capabilities(true)?;
    if let Some(groups) = groups {
        cred::setgroups(groups)?;
    }
    cred::setresgid(gid)?;
    Ok(cred::setresuid(uid)?)
}

/// Puts those of the permitted capabilities into effect that are in `mask`.
pub(super) fn raise(mask: u64) -> Result<(), Failure> {
    let (_, permitted, inheritable) = cred::capget()?;
    Ok(cred::capset(permitted & mask, permitted, inheritable)?)
}

/// Puts the permitted capabilities, which survived the change of user, into effect.
pub(crate) fn raise_permitted() -> Result<(), Failure> {
    let (_, permitted, inheritable) = cred::capget()?;
    Ok(cred::capset(permitted, permitted, inheritable)?)
}

/// The last word on capabilities. Inheritable and ambient ones exist only where the
/// configuration has them (CVE-2022-29162).
pub(crate) fn drop_to(caps: &Caps) -> Result<(), Failure> {
    cred::ambient_clear()?;
    cred::capset(caps.effective, caps.permitted, caps.inheritable)?;
    for capability in 0..64 {
        if caps.ambient & 1 << capability != 0 {
            cred::ambient_raise(capability)?;
        }
    }
    Ok(())
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
