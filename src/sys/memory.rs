//! The arguments and the environment of this program, as the kernel has put them on its stack:
//! /proc/PID/cmdline and /proc/PID/environ show what is there. And its heap: what a child need not keep
//! of either, it lets go of. And the pages of its stack.

use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use nix::errno::Errno;

use super::alloc::MEMORY;

/// Where they begin, and how many bytes they are; 0 where that is not known.
static BEGIN: AtomicUsize = AtomicUsize::new(0);
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// What ps(1) shows instead, where there is room for it.
const SHOWN: &[u8] = b"rt\0init";

/// Finds them. They lie in one piece, and the name of the program comes after them (`arg_start`
/// to `env_end` of proc_pid_stat(5); create_elf_tables in the kernel's fs/binfmt_elf.c). Parent
/// only.
pub fn find_arguments() {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: reads the auxiliary vector.
    let end = unsafe { libc::getauxval(libc::AT_EXECFN) } as usize;
    // SAFETY: the C library's array, which nobody changes: rt sets no variable of its own.
    let first = unsafe { environ };
    let (mut at, mut environment) = (first, 0);
    loop {
        // SAFETY: the array ends with a null, and so does this loop.
        let variable = unsafe { *at };
        if variable.is_null() {
            break;
        }
        // SAFETY: every entry is a string of the kernel's.
        environment += unsafe { CStr::from_ptr(variable) }.count_bytes() + 1;
        at = at.wrapping_add(1);
    }
    let arguments: usize = std::env::args_os().map(|word| word.len() + 1).sum();
    let begin = end.saturating_sub(arguments + environment);
    // SAFETY: the array has a null at least.
    let variable = unsafe { *first };
    if variable.is_null() || variable.addr() == begin + arguments {
        BEGIN.store(begin, Relaxed);
        LENGTH.store(arguments + environment, Relaxed);
    }
}

/// From here on memory is taken from a heap of its own, which a child keeps. Comes before anything is
/// made that would be left behind for want of memory. Parent only.
pub fn separate_heap() -> Result<(), Errno> {
    if MEMORY.separate() { Ok(()) } else { Err(Errno::ENOMEM) }
}

/// Unmaps all that was allocated before [`separate_heap`]: what was read and planned. For a process that
/// runs a script which was made after that, and has no use for what is shared with the plan.
/// Child-safe.
pub fn forget_plan() {
    // SAFETY: the process goes on with its script and its stack (`child::enter`).
    unsafe { MEMORY.forget_first() };
}

/// Overwrites them, for a process that has need of neither any more. Child-safe.
pub fn overwrite_arguments() {
    let (begin, length) = (BEGIN.load(Relaxed), LENGTH.load(Relaxed));
    let begin = core::ptr::with_exposed_provenance_mut::<u8>(begin);
    for at in 0..length {
        let byte = if length > SHOWN.len() { SHOWN.get(at).copied().unwrap_or(0) } else { 0 };
        // SAFETY: the stack is writable there, and whoever calls this lets go of what it held.
        unsafe { begin.wrapping_add(at).write_volatile(byte) };
    }
}

/// Has the kernel provide the next pages of the stack in one call (`MADV_POPULATE_WRITE`, Linux
/// 5.14) instead of one page fault each. Ours has 128 KiB at the start (setup_arg_pages in the
/// kernel's fs/exec.c); where RLIMIT_STACK allows less, nothing happens. Parent only.
pub fn populate_stack() {
    const MADV_POPULATE_WRITE: i32 = 23;
    const LENGTH: usize = 44 << 10;
    const PAGE: usize = 4096;
    let here = 0u8;
    let top = &raw const here as usize & !(PAGE - 1);
    let bottom = std::ptr::with_exposed_provenance_mut(top - LENGTH);
    // SAFETY: the pages below the stack pointer hold nothing, and stay as they are.
    unsafe { libc::madvise(bottom, LENGTH, MADV_POPULATE_WRITE) };
}
