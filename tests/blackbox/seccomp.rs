//! `linux.seccomp`.

use crate::support::{Case, ID};
use crate::tests;
use serde_json::{Value, json};

tests! {
    without_seccomp_there_is_no_filter,
    errno_rule_answers_with_its_errno,
    errno_rule_without_a_number_answers_eperm,
    default_errno_is_used,
    allow_list_runs_a_shell,
    argument_rules_compare,
    conditions_on_one_rule_are_all_needed,
    kill_action_ends_the_process,
    unknown_syscall_name_is_skipped,
    unknown_newer_syscalls_are_enosys,
    filter_works_with_and_without_no_new_privs,
    filter_of_an_ordinary_user_without_nnp_works,
    trap_action_raises_sigsys,
    other_architecture_is_refused_when_not_listed,
    filter_without_execve_fails_cleanly,
    filter_that_forbids_write_still_starts: except_runc("its init writes").except_crun("its init writes"),
    large_filter_works,
    unknown_action_is_refused,
}

/// A call that no runtime needs after loading the filter.
const GETPGRP: &str = "111";
const PERSONALITY: &str = "135";

fn deny(rule: Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
}

#[track_caller]
fn call(c: &Case, profile: Value, args: &[&str]) -> String {
    let mut b = c.bundle();
    let mut argv = vec!["/probe", "call"];
    argv.extend(args);
    b.set("/linux/seccomp", profile).args(&argv);
    c.run(&b).ok().out().trim().to_string()
}

fn without_seccomp_there_is_no_filter(c: &Case) {
    assert_eq!(c.see(&c.bundle())["seccomp"], 0);
}

fn errno_rule_answers_with_its_errno(c: &Case) {
    let profile = deny(json!({"names": ["getpgrp"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7}));
    assert_eq!(call(c, profile.clone(), &[GETPGRP]), "E2BIG");
    let mut b = c.bundle();
    let seen = c.see(b.set("/linux/seccomp", profile));
    assert_eq!((&seen["seccomp"], &seen["seccomp_filters"]), (&json!(2), &json!(1)));
}

fn errno_rule_without_a_number_answers_eperm(c: &Case) {
    assert_eq!(
        call(c, deny(json!({"names": ["getpgrp"], "action": "SCMP_ACT_ERRNO"})), &[GETPGRP]),
        "EPERM"
    );
}

/// Allows what the probe needs, by denying little: an allow list with almost everything.
fn default_errno_is_used(c: &Case) {
    let names = vec![
        "read",
        "write",
        "open",
        "openat",
        "close",
        "stat",
        "fstat",
        "newfstatat",
        "lstat",
        "poll",
        "mmap",
        "mprotect",
        "munmap",
        "brk",
        "rt_sigaction",
        "rt_sigprocmask",
        "rt_sigreturn",
        "sigaltstack",
        "ioctl",
        "execve",
        "exit",
        "exit_group",
        "arch_prctl",
        "set_tid_address",
        "set_robust_list",
        "rseq",
        "prlimit64",
        "getrandom",
        "futex",
        "sched_getaffinity",
        "capset",
        "capget",
        "prctl",
        "setuid",
        "setgid",
        "setgroups",
        "setresuid",
        "setresgid",
        "getpid",
        "gettid",
        "tgkill",
        "fcntl",
        "chdir",
        "fchdir",
        "dup3",
        "getdents64",
        "clone",
        "clone3",
        "wait4",
        "nanosleep",
        "epoll_ctl",
        "epoll_pwait",
        "readlinkat",
        "readlink",
        "statfs",
        "fstatfs",
        "madvise",
        "uname",
        "faccessat",
        "faccessat2",
        "getuid",
        "geteuid",
        "getgid",
        "getegid",
        "seccomp",
        "close_range",
        "epoll_create1",
        "eventfd2",
        "pipe2",
        "mkdirat",
        "fchown",
        "setsid",
        "sched_yield",
        "openat2",
        "umask",
        "recvmsg",
        "sendmsg",
        "recvfrom",
        "sendto",
        "lseek",
        "pread64",
        "access",
        "getppid",
        "statx",
        "dup",
        "dup2",
    ];
    let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 88,
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]});
    assert_eq!(call(c, profile, &[GETPGRP]), "ENOTSOCK");
}

fn allow_list_runs_a_shell(c: &Case) {
    let mut b = c.bundle();
    let listed = std::fs::read_to_string("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
        .unwrap_or_default();
    let mut names: Vec<_> = listed
        .lines()
        .filter_map(|l| l.strip_prefix("#define __NR_")?.split_whitespace().next())
        .filter(|n| *n != "getpgrp")
        .collect();
    if names.is_empty() {
        crate::support::worker::skip("needs linux-libc-dev for the list of system calls");
    }
    names.retain(|n| {
        n.chars().all(|ch| ch.is_ascii_lowercase() || ch.is_ascii_digit() || ch == '_')
    });
    let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]});
    b.set("/linux/seccomp", profile.clone()).sh("echo shell; ls / | wc -l");
    assert!(c.run(&b).ok().out().starts_with("shell\n"));
    assert_eq!(call(c, profile, &[GETPGRP]), "EPERM");
}

fn argument_rules_compare(c: &Case) {
    // As Docker's profile: personality only with some values.
    let eq = |value: u64, op: &str| {
        deny(json!({"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7,
            "args": [{"index": 0, "value": value, "valueTwo": 0, "op": op}]}))
    };
    let get = "4294967295";
    assert_eq!(call(c, eq(4_294_967_295, "SCMP_CMP_EQ"), &[PERSONALITY, get]), "E2BIG");
    assert_eq!(call(c, eq(8, "SCMP_CMP_EQ"), &[PERSONALITY, get]), "ok");
    assert_eq!(call(c, eq(8, "SCMP_CMP_NE"), &[PERSONALITY, get]), "E2BIG");
    assert_eq!(call(c, eq(8, "SCMP_CMP_GT"), &[PERSONALITY, get]), "E2BIG");
    assert_eq!(call(c, eq(4_294_967_295, "SCMP_CMP_GE"), &[PERSONALITY, get]), "E2BIG");
    assert_eq!(call(c, eq(8, "SCMP_CMP_LT"), &[PERSONALITY, get]), "ok");
    let masked = deny(json!({"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7,
        "args": [{"index": 0, "value": 0xff, "valueTwo": 0xff, "op": "SCMP_CMP_MASKED_EQ"}]}));
    assert_eq!(call(c, masked, &[PERSONALITY, get]), "E2BIG");
}

fn conditions_on_one_rule_are_all_needed(c: &Case) {
    let profile = deny(
        json!({"names": ["setpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7, "args": [
        {"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}, {"index": 2, "value": 18, "op": "SCMP_CMP_EQ"}]}),
    );
    assert_eq!(call(c, profile.clone(), &["141", "0", "0", "18"]), "E2BIG");
    assert_eq!(call(c, profile, &["141", "0", "0", "19"]), "ok");
}

fn kill_action_ends_the_process(c: &Case) {
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS"] {
        let mut b = c.bundle();
        b.set("/linux/seccomp", deny(json!({"names": ["getpgrp"], "action": action})));
        c.run(b.args(&["/probe", "call", GETPGRP])).exits(128 + libc::SIGSYS);
    }
}

fn trap_action_raises_sigsys(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/seccomp", deny(json!({"names": ["getpgrp"], "action": "SCMP_ACT_TRAP"})));
    c.run(b.args(&["/probe", "call", GETPGRP])).exits(128 + libc::SIGSYS);
}

fn unknown_syscall_name_is_skipped(c: &Case) {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["no_such_syscall", "getpgrp"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7}]});
    assert_eq!(call(c, profile, &[GETPGRP]), "E2BIG");
}

fn unknown_newer_syscalls_are_enosys(c: &Case) {
    // Only with an error as the default action: the C library falls back on ENOSYS alone.
    let profile = |default: &str| {
        json!({"defaultAction": default, "syscalls": [
            {"names": ["getpgrp"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7}]})
    };
    assert_eq!(call(c, profile("SCMP_ACT_ALLOW"), &["5000"]), "ENOSYS");
}

fn filter_works_with_and_without_no_new_privs(c: &Case) {
    for nnp in [true, false] {
        let mut b = c.bundle();
        b.set("/process/noNewPrivileges", json!(nnp));
        b.set(
            "/linux/seccomp",
            deny(json!({"names": ["getpgrp"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7})),
        );
        assert_eq!(c.run(b.args(&["/probe", "call", GETPGRP])).ok().out(), "E2BIG\n");
        assert_eq!(c.see(&b)["nnp"], i32::from(nnp));
    }
}

fn filter_of_an_ordinary_user_without_nnp_works(c: &Case) {
    let mut b = c.bundle();
    b.set("/process/noNewPrivileges", json!(false))
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    b.caps(&[]);
    b.set(
        "/linux/seccomp",
        deny(json!({"names": ["getpgrp"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7})),
    );
    assert_eq!(c.run(b.args(&["/probe", "call", GETPGRP])).ok().out(), "E2BIG\n");
    let seen = c.see(&b);
    assert_eq!((&seen["nnp"], &seen["caps"]["effective"]), (&json!(0), &json!(0)));
}

fn other_architecture_is_refused_when_not_listed(c: &Case) {
    // x32: the number has bit 30 set.
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["getpgrp"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7}]});
    let mut b = c.bundle();
    let number = (111 + (1_u64 << 30)).to_string();
    b.set("/linux/seccomp", profile).args(&["/probe", "call", &number]);
    let out = c.run(&b);
    assert!(out.code == Some(159) || !out.out().starts_with("ok"), "{} {}", out.how(), out.out());
}

fn filter_without_execve_fails_cleanly(c: &Case) {
    let mut b = c.bundle();
    b.set(
        "/linux/seccomp",
        deny(json!({"names": ["execve"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1})),
    );
    c.rt(&["run", "-b", &b.save(), ID]).fails("");
    c.nothing_left();
}

fn filter_that_forbids_write_still_starts(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/seccomp", deny(json!({"names": ["write", "sendmsg", "sendto", "fcntl", "openat"], "action": "SCMP_ACT_ERRNO"})));
    c.run(b.args(&["/bin/true"])).ok();
}

fn large_filter_works(c: &Case) {
    let rules: Vec<_> = (0..200)
        .map(|i| {
            json!({"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7,
            "args": [{"index": 0, "value": 1_000_000 + i, "op": "SCMP_CMP_EQ"}]})
        })
        .collect();
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
    assert_eq!(call(c, profile.clone(), &[PERSONALITY, "1000199"]), "E2BIG");
    assert_eq!(call(c, profile, &[PERSONALITY, "4294967295"]), "ok");
}

fn unknown_action_is_refused(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_NOSUCH"}));
    c.create(&b).fails("SCMP_ACT_NOSUCH");
    c.nothing_left();
}
