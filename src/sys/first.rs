//! The first start of `rt` as it is shipped, before the C library and before anything of the program
//! is relocated. Where rt starts again from a read-only mount of itself ([`crate::runtime::protect`]),
//! all of that would be made to be thrown away: a quarter of the page faults of an `exec`.
//!
//! What is not relocated cannot be used: no table of pointers, no panic, no function of another
//! crate unless it is inlined. What fails here is left to the ordinary start, which does the same
//! and has words for it.

use core::arch::{asm, naked_asm};
use core::mem::MaybeUninit;

use super::fd::HIGH;
use super::mount::{MountAttr, OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE, attr};

/// Where the kernel begins: build.rs names it to the linker. The stack pointer is at the number of
/// arguments; it goes on where an ordinary program begins.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn rt_start() -> ! {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("mov rdi, rsp", "call {first}", "jmp _start", first = sym first);
    #[cfg(target_arch = "aarch64")]
    naked_asm!("mov x0, sp", "bl {first}", "b _start", first = sym first);
}

/// The stack as the kernel has made it: the number of arguments, they, a null, the environment,
/// a null, the auxiliary vector as pairs.
extern "C" fn first(stack: *const usize) {
    let argv = stack.wrapping_add(1);
    let envp = argv.wrapping_add(word(stack, 0)).wrapping_add(1);
    if enters_a_container(argv) && !is_begun_otherwise(envp) {
        start_again(argv, envp);
    }
}

/// Like `protect::early`: whether one of the words could be such a verb.
fn enters_a_container(argv: *const usize) -> bool {
    let mut at = argv;
    while word(at, 0) != 0 {
        let given = word(at, 0);
        if begins(given, b"create\0") || begins(given, b"run\0") || begins(given, b"exec\0") {
            return true;
        }
        at = at.wrapping_add(1);
    }
    false
}

/// Whether this is a second start, by descriptor, or one with more rights than the caller has.
fn is_begun_otherwise(envp: *const usize) -> bool {
    let mut at = envp;
    while word(at, 0) != 0 {
        at = at.wrapping_add(1);
    }
    at = at.wrapping_add(1);
    while word(at, 0) != libc::AT_NULL as usize {
        let (kind, value) = (word(at, 0), word(at, 1));
        if kind == libc::AT_SECURE as usize && value != 0
            || kind == libc::AT_EXECFN as usize && begins(value, b"/dev/fd/")
        {
            return true;
        }
        at = at.wrapping_add(2);
    }
    false
}

/// The steps of `protect::ensure`.
fn start_again(argv: *const usize, envp: *const usize) {
    let (here, flags) = (libc::AT_FDCWD as usize, libc::O_RDONLY | libc::O_CLOEXEC);
    let name = c"/proc/self/exe".as_ptr() as usize;
    let Some(exe) = call(libc::SYS_openat, [here, name, flags as usize, 0, 0]) else {
        return;
    };
    if is_writable(exe)
        && let Some(mount) = readonly_mount(exe)
    {
        let kept = call(libc::SYS_fcntl, [mount, libc::F_DUPFD as usize, HIGH as usize, 0, 0]);
        if let Some(kept) = kept {
            let how = libc::AT_EMPTY_PATH as usize;
            call(libc::SYS_execveat, [kept, empty(), argv as usize, envp as usize, how]);
            close(kept);
        }
        close(mount);
    }
    close(exe);
}

fn is_writable(fd: usize) -> bool {
    /// `f_flags` of struct statfs, in words (asm-generic/statfs.h).
    const FLAGS: usize = 10;
    let mut stat = MaybeUninit::<[usize; 15]>::uninit();
    let done = call(libc::SYS_fstatfs, [fd, stat.as_mut_ptr() as usize, 0, 0, 0]).is_some();
    done && word(stat.as_ptr().cast(), FLAGS) & libc::ST_RDONLY as usize == 0
}

fn readonly_mount(exe: usize) -> Option<usize> {
    let how = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH as u32;
    let mount = call(libc::SYS_open_tree, [exe, empty(), how as usize, 0, 0])?;
    let readonly = MountAttr { set: attr::RDONLY, ..MountAttr::default() };
    let (how, size) = (libc::AT_EMPTY_PATH as usize, size_of::<MountAttr>());
    let attr = &raw const readonly as usize;
    if call(libc::SYS_mount_setattr, [mount, empty(), how, attr, size]).is_none() {
        close(mount);
        return None;
    }
    Some(mount)
}

/// The path of a descriptor itself.
fn empty() -> usize {
    c"".as_ptr() as usize
}

fn close(fd: usize) {
    call(libc::SYS_close, [fd, 0, 0, 0, 0]);
}

/// Whether a string of the kernel begins with these bytes.
fn begins(text: usize, with: &[u8]) -> bool {
    let text = core::ptr::with_exposed_provenance::<u8>(text);
    // SAFETY: strings on the stack end with a zero, which `with` has at its end if at all.
    with.iter().enumerate().all(|(i, byte)| unsafe { *text.wrapping_add(i) } == *byte)
}

/// A word of what the kernel has written.
fn word(from: *const usize, index: usize) -> usize {
    // SAFETY: callers stop at the null that ends each list; a struct is asked for what it has.
    unsafe { *from.wrapping_add(index) }
}

/// A system call without the C library, whose errno has no place yet. `None` if it failed.
fn call(number: libc::c_long, arguments: [usize; 5]) -> Option<usize> {
    let [a, b, c, d, e] = arguments;
    let mut answer = number as isize;
    // SAFETY: only the calls above, with descriptors, flags and pointers to what stays there.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") answer,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        let number = answer;
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => answer,
            in("x1") b,
            in("x2") c,
            in("x3") d,
            in("x4") e,
            options(nostack),
        );
    }
    usize::try_from(answer).ok()
}
