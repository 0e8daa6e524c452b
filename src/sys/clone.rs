//! clone3(2) as a fork with namespaces. The only other way out is [`exit`].

use core::arch::asm;
use core::ffi::{CStr, c_char};
use core::mem::size_of;
use core::sync::atomic::AtomicU32;

use nix::errno::Errno;

use super::c_array::CArray;
use super::{RawFd, check};

/// `CLONE_INTO_CGROUP` of `linux/sched.h`.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A child of our parent, whose pid is stored.
const SIBLING: u64 = (libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID) as u64;

/// The first argument of clone(2) when a process is [`reborn`].
pub const REBORN_FLAGS: u64 = SIBLING | libc::CLONE_VM as u64;

/// The first argument of clone(2) when a process makes a copy of itself by [`fork`].
pub const FORK_FLAGS: u64 = (libc::CLONE_PIDFD | libc::SIGCHLD) as u64;

/// struct clone_args of clone3(2).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Which side of the clone we are on.
#[derive(Debug)]
pub enum Side {
    /// The new process: a copy-on-write image of one thread.
    Child,
    /// The old process.
    Parent {
        /// Id of the child, as our pid namespace has it.
        pid: i32,
        /// Its pidfd, close-on-exec.
        pidfd: RawFd,
    },
}

/// Clones this process.
///
/// `namespaces` are `CLONE_NEW*` flags; with `sibling` the new process becomes a child of
/// our parent (`CLONE_PARENT`), and its pid is stored there before it runs; `cgroup` is a
/// directory of cgroup2 to be born in.
///
/// The caller must have one thread only: locks held by another would stay locked for
/// ever in the child.
pub fn clone3(
    namespaces: u64,
    sibling: Option<&AtomicU32>,
    cgroup: Option<RawFd>,
) -> Result<Side, Errno> {
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: namespaces | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        // CLONE_PARENT takes the exit signal of the caller and refuses one of its own.
        exit_signal: if sibling.is_some() { 0 } else { libc::SIGCHLD as u64 },
        ..CloneArgs::default()
    };
    if let Some(pid) = sibling {
        args.flags |= SIBLING;
        args.parent_tid = pid.as_ptr() as u64;
    }
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup as u64;
    }
    let args: *mut CloneArgs = &raw mut args;
    // SAFETY: args has the layout of struct clone_args; without CLONE_VM and without a
    // stack the child goes on here with its own copy of all memory, as after fork.
    let answer = unsafe { libc::syscall(libc::SYS_clone3, args, size_of::<CloneArgs>()) };
    Ok(match check(answer)? {
        0 => Side::Child,
        pid => Side::Parent { pid: pid as i32, pidfd },
    })
}

/// Clones this process into the namespaces that it has chosen for its children, by clone(2), so that a
/// filter can look at [`FORK_FLAGS`]. The caller must have one thread only.
pub fn fork() -> Result<Side, Errno> {
    let mut pidfd: RawFd = -1;
    let (flags, pidfd_at) = (FORK_FLAGS, &raw mut pidfd);
    // SAFETY: as for clone3. The kernel stores a descriptor where CLONE_PIDFD has it, in the third
    // argument on all three architectures.
    let answer = unsafe { libc::syscall(libc::SYS_clone, flags, 0, pidfd_at, 0, 0) };
    Ok(match check(answer)? {
        0 => Side::Child,
        pid => Side::Parent { pid: pid as i32, pidfd },
    })
}

/// Goes on as another process: a sibling, in the namespaces that this one has chosen for its
/// children (pid_namespaces(7)). It takes over all memory; the old process is gone, with code 0.
/// The new pid, as the pid namespace of the old process has it, is stored before it runs.
///
/// By clone(2) and not clone3(2): a filter may be loaded by now, which can look at the flags of
/// the one and cannot see those of the other, so that profiles allow the one alone.
///
/// The caller must have one thread only.
pub fn reborn(pid: &AtomicU32) -> Result<(), Errno> {
    let (number, flags, tid) = (libc::SYS_clone, REBORN_FLAGS, pid.as_ptr());
    let mut answer = number;
    // SAFETY: without a stack of its own the new process goes on with this one, in the same memory:
    // the old one ends without another look at it. The kernel stores a pid at `tid`.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jle 2f",
            "xor edi, edi",
            "mov eax, {exit}",
            "syscall",
            "2:",
            exit = const libc::SYS_exit_group,
            inlateout("rax") answer,
            inlateout("rdi") flags => _,
            in("rsi") 0,
            in("rdx") tid,
            in("r10") 0,
            in("r8") 0,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "svc 0",
            "cmp x0, 0",
            "b.le 2f",
            "mov x0, 0",
            "mov x8, {exit}",
            "svc 0",
            "2:",
            exit = const libc::SYS_exit_group,
            inlateout("x0") flags => answer,
            in("x1") 0,
            in("x2") tid,
            in("x3") 0,
            in("x4") 0,
            inlateout("x8") number => _,
            options(nostack),
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "riscv64")]
    unsafe {
        asm!(
            "ecall",
            "blez a0, 2f",
            "li a0, 0",
            "li a7, {exit}",
            "ecall",
            "2:",
            exit = const libc::SYS_exit_group,
            inlateout("a0") flags => answer,
            in("a1") 0,
            in("a2") tid,
            in("a3") 0,
            in("a4") 0,
            inlateout("a7") number => _,
            options(nostack),
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
    compile_error!("rt is for x86_64, aarch64 and riscv64");
    match answer {
        0 => Ok(()),
        errno => Err(Errno::from_raw(-errno as i32)),
    }
}

/// _exit(2): no atexit handlers, no flushing of buffers that belong to the parent.
pub fn exit(code: i32) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(code) }
}

/// execve(2), with one more string in the environment where there is one. Returns only
/// when it failed.
pub fn execve(path: &CStr, argv: &CArray, envp: &mut CArray, extra: Option<&CStr>) -> Errno {
    let envp = envp.with_extra(extra);
    // SAFETY: CArray keeps its strings NUL-terminated and the arrays null-terminated, and
    // `extra` outlives the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp) };
    Errno::last()
}

/// execveat(2) of the file behind `fd` itself. Returns only when it failed: with `ENOENT` for a
/// script whose descriptor is close-on-exec, since its interpreter could not open it.
pub fn execve_open(fd: RawFd, argv: &CArray, envp: &mut CArray) -> Errno {
    let (path, argv, envp) = (c"".as_ptr(), argv.as_ptr(), envp.with_extra(None));
    // SAFETY: as for execve; the path is the empty string.
    unsafe { libc::syscall(libc::SYS_execveat, fd, path, argv, envp, libc::AT_EMPTY_PATH) };
    Errno::last()
}

/// execveat(2) of the file behind `fd` itself, with our own environment. Returns only when it
/// failed.
pub fn fexecve(fd: RawFd, argv: &CArray) -> Errno {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    let (path, argv) = (c"".as_ptr(), argv.as_ptr());
    // SAFETY: the C library's array, which nobody changes: rt sets no variable of its own.
    let envp = unsafe { environ };
    // SAFETY: as for execve; the path is the empty string.
    unsafe { libc::syscall(libc::SYS_execveat, fd, path, argv, envp, libc::AT_EMPTY_PATH) };
    Errno::last()
}
