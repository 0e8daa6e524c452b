//! A procfs of a pid namespace that this process is not in.
//!
//! fsopen(2) makes a procfs for the pid namespace of its caller. The container's process enters a
//! namespace that it joins last of all, when it is all that its peers there may see: its procfs has
//! to come from elsewhere. Since Linux 6.17 a namespace can be named (`pidns`). Before that, a
//! helper opens the context, who is in the namespace for a moment and has nothing there that a peer
//! could want: an empty root, no descriptor but a socket, no right but the one that fsopen(2) asks
//! for, and next to no system call to use that by. The context is worth nothing to a peer, since only
//! whoever has CAP_SYS_ADMIN over the pid namespace can make a file system of it.
//!
//! Runs on the host's side, before any namespace is joined.

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::nix::errno::Errno;
use ::seccompiler::sock_filter;

use super::report::{At, Failure};
use super::{Place, mounts, process};
use crate::model::mount::{Mount, What};
use crate::script::call::Call;
use crate::sys::clone::{self, Side};
use crate::sys::mount;
use crate::sys::pidfd::{self, Exit};
use crate::sys::seccomp::NATIVE_AUDIT_ARCH;
use crate::sys::{RawFd, cred, fs, io, memory, ns, seccomp, sock};

/// How many a configuration can have.
pub(super) const MOST: usize = 16;

/// Keeps what will be mounted by `mount`: a context for a procfs of this pid namespace. Where the
/// namespace belongs to another user namespace than the container's, whose root may make no file
/// system of it (user_namespaces(7)), the procfs is made here, by the rights of the runtime. To
/// attach it takes rights over the container's mount namespace only.
pub(super) fn keep(
    at: &mut Place,
    mount: &Mount,
    namespace: RawFd,
    make: bool,
) -> Result<(), Failure> {
    let context = open(at, namespace)?;
    let kept = match &mount.what {
        What::FileSystem(made) if make => mounts::detached(at, mount, made, context, None)?,
        _ => context,
    };
    at.procfs_made = make;
    match at.procfs.iter_mut().find(|slot| **slot < 0) {
        Some(slot) => {
            *slot = kept;
            Ok(())
        }
        None => Err(Failure::new(Call::Procfs, Errno::EMFILE)),
    }
}

/// A context for a procfs of this pid namespace.
fn open(at: &mut Place, namespace: RawFd) -> Result<RawFd, Failure> {
    let context = mount::fsopen(c"proc").at(Call::FsOpen)?;
    match mount::fsconfig_set_fd(context, c"pidns", namespace) {
        Ok(()) => Ok(context),
        // Before Linux 6.17 there is no such parameter.
        Err(Errno::EINVAL) => {
            fs::close(context);
            // The helper will be seen.
            process::await_seal(at)?;
            by_helper(namespace)
        }
        Err(errno) => Err(errno).at(Call::Procfs),
    }
}

fn by_helper(namespace: RawFd) -> Result<RawFd, Failure> {
    let (ours, theirs) = sock::pair().at(Call::Procfs)?;
    let helper = match clone::clone3(0, None, None).at(Call::Clone)? {
        Side::Child => leave(confine(namespace, theirs).and_then(|()| bear(theirs))),
        Side::Parent { pidfd, .. } => pidfd,
    };
    fs::close(theirs);
    let answer = answer_of(ours, helper);
    fs::close(helper);
    fs::close(ours);
    let context = answer.at(Call::Procfs)?;
    if is_procfs(context) { Ok(context) } else { Err(Failure::new(Call::Procfs, Errno::EBADMSG)) }
}

/// The context, once the helper has ended. A peer may stop it for as long as it likes.
fn answer_of(socket: RawFd, helper: RawFd) -> Result<RawFd, Errno> {
    let within = |fd: RawFd| match io::poll(&mut [io::interest(fd, ::libc::POLLIN)], PATIENCE_MS)? {
        0 => Err(Errno::ETIMEDOUT),
        _ => Ok(()),
    };
    let received = within(socket).and_then(|()| sock::receive(socket, &mut [0]));
    let in_time = within(helper);
    if in_time.is_err() {
        pidfd::send_signal_raw(helper, ::libc::SIGKILL)?;
    }
    let ended = pidfd::wait_raw(helper, false)?;
    in_time?;
    match (received?, ended) {
        ((_, Some(context)), _) => Ok(context),
        (_, Some(Exit::Code(errno @ 1..))) => Err(Errno::from_raw(errno)),
        _ => Err(Errno::ECHILD),
    }
}

/// Whoever has taken the helper over could have sent anything else, of which the runtime would
/// make a file system by its own rights: what type a context is of, the kernel says when it is
/// given a parameter that no type knows.
fn is_procfs(context: RawFd) -> bool {
    let mut text = [0u8; 256];
    // The messages that may be there already: no more than 8 are kept.
    for _ in 0..16 {
        if fs::read(context, &mut text) == Err(Errno::ENODATA) {
            break;
        }
    }
    mount::fsconfig_set(context, c"rt-asks-for-its-type", None) == Err(Errno::EINVAL)
        && fs::read(context, &mut text).is_ok()
        && text.starts_with(b"e proc: ")
}

/// The errno is the exit code.
fn leave(result: Result<(), Errno>) -> ! {
    clone::exit(match result {
        Ok(()) => 0,
        Err(errno) => errno as i32,
    })
}

/// Leaves all of the host behind, and all rights but one, which can be used for nothing but what
/// [`FILTER`] lets through. The root is a mount that is attached nowhere: no way leads up from it.
/// A user namespace would do for the rights, but there may be none on this machine; and whoever took
/// the helper over would have all that root of one can do to the kernel.
fn confine(namespace: RawFd, socket: RawFd) -> Result<(), Errno> {
    let context = mount::fsopen(c"tmpfs")?;
    mount::fsconfig_create(context)?;
    let empty = mount::fsmount(context, mount::attr::RDONLY)?;
    fs::fchdir(empty)?;
    fs::chroot(c".")?;
    ns::setns(namespace, ::libc::CLONE_NEWPID as u64)?;
    let kept = socket as u32;
    if kept > 0 {
        fs::close_range(0, kept - 1, 0)?;
    }
    fs::close_range(kept + 1, u32::MAX, 0)?;
    memory::forget_plan();
    cred::capset(SYS_ADMIN, SYS_ADMIN, 0)?;
    seccomp::set_mode_filter(&FILTER, 0).map(|_| ())
}

/// Only a child is in the pid namespace.
fn bear(socket: RawFd) -> Result<(), Errno> {
    match clone::fork()? {
        Side::Child => leave(
            mount::fsopen(c"proc").and_then(|context| sock::send(socket, b"c", Some(context))),
        ),
        Side::Parent { pidfd, .. } => match pidfd::wait_raw(pidfd, false)? {
            Some(Exit::Code(0)) => Ok(()),
            Some(Exit::Code(errno)) => Err(Errno::from_raw(errno)),
            _ => Err(Errno::ECHILD),
        },
    }
}

/// What fsopen(2) asks for.
const SYS_ADMIN: u64 = 1 << 21;

/// How long the helper may take, which has next to nothing to do.
const PATIENCE_MS: i32 = 10_000;

/// The only system calls of the helper, in the one architecture that this is; all else kills it.
/// It may make copies of itself, which can do as little.
const FILTER: [sock_filter; 13] = {
    // linux/bpf_common.h, linux/seccomp.h.
    const fn op(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
        sock_filter { code, jt, jf, k }
    }
    const LOAD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const ARCH: u32 = 4;
    const NUMBER: u32 = 0;
    const FIRST_ARGUMENT: u32 = if ::core::cfg!(target_endian = "little") { 16 } else { 20 };
    const fn number(call: ::libc::c_long) -> u32 {
        call as u32
    }
    [
        op(LOAD, 0, 0, ARCH),
        op(EQUAL, 0, 9, NATIVE_AUDIT_ARCH),
        op(LOAD, 0, 0, NUMBER),
        op(EQUAL, 8, 0, number(::libc::SYS_fsopen)),
        op(EQUAL, 7, 0, number(::libc::SYS_sendmsg)),
        op(EQUAL, 6, 0, number(::libc::SYS_exit_group)),
        op(EQUAL, 5, 0, number(::libc::SYS_waitid)),
        // A process that was stopped meanwhile goes on with its wait.
        op(EQUAL, 4, 0, number(::libc::SYS_restart_syscall)),
        op(EQUAL, 0, 2, number(::libc::SYS_clone)),
        op(LOAD, 0, 0, FIRST_ARGUMENT),
        op(EQUAL, 1, 0, clone::FORK_FLAGS as u32),
        op(RETURN, 0, 0, ::libc::SECCOMP_RET_KILL_PROCESS),
        op(RETURN, 0, 0, ::libc::SECCOMP_RET_ALLOW),
    ]
};

#[cfg(test)]
mod tests {
    use ::core::prelude::rust_2024::*;

    use ::nix::errno::Errno;

    use super::is_procfs;
    use crate::sys::{fs, mount};

    #[test]
    fn only_a_context_for_a_procfs_is_taken() {
        for (name, is_proc) in [(c"proc", true), (c"tmpfs", false), (c"sysfs", false)] {
            let opened = mount::fsopen(name);
            // Only root may ask.
            let Ok(context) = opened else {
                return ::core::assert_eq!(opened, Err(Errno::EPERM));
            };
            // What somebody else has had written there does not count.
            for _ in 0..10 {
                ::core::assert_eq!(
                    mount::fsconfig_set(context, c"e proc: ", None),
                    Err(Errno::EINVAL)
                );
            }
            ::core::assert_eq!(is_procfs(context), is_proc, "{name:?}");
            fs::close(context);
        }
    }
}
