//! The kernel as an older one: a system call with one value in an argument is refused, for this
//! program and all that comes from it.

use std::ffi::CString;

/// `NUMBER ARGUMENT VALUE ERRNO PROGRAM ARGS...`: refuses, then becomes the program.
pub fn refuse(args: &[&str]) {
    let number = |at: usize| args[at].parse::<u32>().expect("a number");
    let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // linux/bpf_common.h: load a word, jump if equal, return.
    let mut program = [
        op(0x20, 0, 0, 0),
        op(0x15, 0, 3, number(0)),
        op(0x20, 0, 0, 16 + 8 * number(1)),
        op(0x15, 0, 1, number(2)),
        op(0x06, 0, 0, libc::SECCOMP_RET_ERRNO | number(3)),
        op(0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // Root need not give up new privileges for it.
    // SAFETY: filter describes the program.
    let rc = unsafe { libc::syscall(libc::SYS_seccomp, 1, 0, &raw const filter) };
    assert_eq!(rc, 0, "load the filter");
    let words: Vec<CString> = args[4..].iter().map(|w| CString::new(*w).expect("no NUL")).collect();
    let Err(errno) = nix::unistd::execv(&words[0], &words);
    panic!("become {}: {errno}", args[4]);
}
