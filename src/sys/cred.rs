//! Who a process is: ids, groups, capabilities, securebits, no_new_privs. Child-safe.

use nix::errno::Errno;

use super::{check, check_unit};

/// Version 3 of the capability calls: two words of 32 bits (capget(2)).
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
const PR_CAP_AMBIENT: i32 = 47;
const PR_CAP_AMBIENT_IS_SET: libc::c_ulong = 1;
const PR_CAP_AMBIENT_RAISE: libc::c_ulong = 2;
const PR_CAP_AMBIENT_CLEAR_ALL: libc::c_ulong = 4;

/// prctl(2) with integer arguments.
fn prctl(option: i32, a: libc::c_ulong, b: libc::c_ulong) -> Result<libc::c_long, Errno> {
    let zero: libc::c_ulong = 0;
    // SAFETY: none of the options used in this file takes a pointer.
    check(unsafe { libc::syscall(libc::SYS_prctl, option, a, b, zero, zero) })
}

/// setgroups(2): exactly these supplementary groups.
pub fn setgroups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: groups is as long as said. The raw call changes this thread alone, and
    // there is no other.
    check_unit(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })
}

/// setresgid(2) with one id for all three.
pub fn setresgid(gid: u32) -> Result<(), Errno> {
    // SAFETY: integers only.
    check_unit(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })
}

/// setresuid(2) with one id for all three.
pub fn setresuid(uid: u32) -> Result<(), Errno> {
    // SAFETY: integers only.
    check_unit(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })
}

/// getresuid(2): real, effective and saved.
pub fn getresuid() -> Result<[u32; 3], Errno> {
    let mut ids = [u32::MAX; 3];
    let [real, effective, saved] = &mut ids;
    let (real, effective, saved) = (&raw mut *real, &raw mut *effective, &raw mut *saved);
    // SAFETY: the kernel writes three ids.
    check_unit(unsafe { libc::syscall(libc::SYS_getresuid, real, effective, saved) })?;
    Ok(ids)
}

/// getresgid(2): real, effective and saved.
pub fn getresgid() -> Result<[u32; 3], Errno> {
    let mut ids = [u32::MAX; 3];
    let [real, effective, saved] = &mut ids;
    let (real, effective, saved) = (&raw mut *real, &raw mut *effective, &raw mut *saved);
    // SAFETY: the kernel writes three ids.
    check_unit(unsafe { libc::syscall(libc::SYS_getresgid, real, effective, saved) })?;
    Ok(ids)
}

/// getgroups(2), sorted by the kernel: how many there are; `buffer` gets them if it has room for
/// all of them.
pub fn getgroups(buffer: &mut [u32]) -> Result<usize, Errno> {
    let get = |length: usize, buffer: *mut u32| {
        // SAFETY: buffer is as long as said; with length 0 the kernel only counts.
        check(unsafe { libc::syscall(libc::SYS_getgroups, length, buffer) })
    };
    match get(buffer.len(), buffer.as_mut_ptr()) {
        Err(Errno::EINVAL) => get(0, core::ptr::null_mut()),
        other => other,
    }
    .map(|count| count as usize)
}

/// The effective user id.
pub fn geteuid() -> u32 {
    // SAFETY: cannot fail.
    unsafe { libc::geteuid() }
}

/// The effective group id.
pub fn getegid() -> u32 {
    // SAFETY: cannot fail.
    unsafe { libc::getegid() }
}

/// capset(2): bit n is capability n.
pub fn capset(effective: u64, permitted: u64, inheritable: u64) -> Result<(), Errno> {
    let header = [CAPABILITY_VERSION_3, 0];
    let (low, high) = (|set: u64| set as u32, |set: u64| (set >> 32) as u32);
    let data = [
        [low(effective), low(permitted), low(inheritable)],
        [high(effective), high(permitted), high(inheritable)],
    ];
    // SAFETY: header and data have the layouts of the two structures of capset(2).
    check_unit(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) })
}

/// capget(2) of this process: (effective, permitted, inheritable).
pub fn capget() -> Result<(u64, u64, u64), Errno> {
    let header = [CAPABILITY_VERSION_3, 0];
    let mut data = [[0u32; 3]; 2];
    // SAFETY: header and data have the layouts of the two structures of capget(2).
    check_unit(unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr()) })?;
    let set = |index: usize| u64::from(data[0][index]) | u64::from(data[1][index]) << 32;
    Ok((set(0), set(1), set(2)))
}

/// Drops one capability from the bounding set. `EINVAL` means the kernel has no such one.
pub fn capbset_drop(capability: u32) -> Result<(), Errno> {
    prctl(libc::PR_CAPBSET_DROP, capability.into(), 0).map(drop)
}

/// Empties the ambient set.
pub fn ambient_clear() -> Result<(), Errno> {
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0).map(drop)
}

/// Raises one ambient capability.
pub fn ambient_raise(capability: u32) -> Result<(), Errno> {
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability.into()).map(drop)
}

/// `PR_SET_KEEPCAPS`: whether permitted capabilities survive leaving uid 0.
pub fn keep_capabilities(keep: bool) -> Result<(), Errno> {
    prctl(libc::PR_SET_KEEPCAPS, keep.into(), 0).map(drop)
}

/// Whether a capability is in the bounding set.
pub fn capbset_read(capability: u32) -> Result<bool, Errno> {
    prctl(libc::PR_CAPBSET_READ, capability.into(), 0).map(|there| there == 1)
}

/// Whether an ambient capability is raised.
pub fn ambient_is_set(capability: u32) -> Result<bool, Errno> {
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability.into()).map(|there| there == 1)
}

/// `PR_GET_NO_NEW_PRIVS`.
pub fn has_no_new_privileges() -> Result<bool, Errno> {
    prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0).map(|set| set == 1)
}

/// `PR_SET_NO_NEW_PRIVS`.
pub fn no_new_privileges() -> Result<(), Errno> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop)
}

/// `PR_SET_DUMPABLE`: without it nobody of the same user may trace us or open our fds.
pub fn set_dumpable(dumpable: bool) -> Result<(), Errno> {
    prctl(libc::PR_SET_DUMPABLE, dumpable.into(), 0).map(drop)
}

/// `PR_SET_PDEATHSIG`: this signal comes when our parent dies. A change of user clears it.
pub fn set_parent_death_signal(signal: i32) -> Result<(), Errno> {
    prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong, 0).map(drop)
}

/// `PR_SET_CHILD_SUBREAPER`: orphans among our descendants become our children.
pub fn set_child_subreaper(on: bool) -> Result<(), Errno> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, on.into(), 0).map(drop)
}

/// setsid(2).
pub fn setsid() -> Result<(), Errno> {
    // SAFETY: no arguments.
    check_unit(unsafe { libc::syscall(libc::SYS_setsid) })
}
