//! Seccomp profiles compiled to BPF, without I/O: loading is the child's business.
//!
//! ```text
//! profile ─▶ ir: numbers, return words, conditions ─▶ compile: ranges ─▶ search tree
//!                                                     args: conditions ─┘   emit: jumps
//! ```

mod arch;
mod args;
mod compile;
mod emit;
mod ir;
mod names;
mod reach;

use std::path::PathBuf;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompFilterFlag};
use seccompiler::{BpfProgram, TargetArch};

pub use self::arch::NATIVE;
use crate::diag::field::{Field, Violation};

/// What `linux.seccomp.defaultAction` and `syscalls[].action` may be.
pub const ACTIONS: &[&str] = &[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

/// What `syscalls[].args[].op` may be.
pub const OPERATORS: &[&str] = &[
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];

/// What `architectures[]` may be. One that the running kernel cannot report needs no code.
pub const ARCHS: &[&str] = &[
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
];

/// What `flags[]` may be.
pub const FLAGS: &[&str] = &[
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

/// A filter to be loaded by seccomp(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The instructions.
    pub program: BpfProgram,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u64,
    /// Whether seccomp(2) returns a listener, which must be sent to `listener_path`.
    pub notify: bool,
    /// The agent's socket; set whenever `notify` is.
    pub listener_path: Option<PathBuf>,
    /// What the agent is told with the listener.
    pub listener_metadata: Option<String>,
}

impl Filter {
    /// The return word for a native system call, if the arguments have no part in it: tells before
    /// loading whether the filter would stop the runtime's own last steps.
    pub fn answer(&self, native: TargetArch, name: &str) -> Option<u32> {
        let table = arch::tables(native, &[])[0];
        emit::constant(&self.program, table.audit(), table.number(name)?)
    }

    /// Whether a native system call goes through, whatever its unknown arguments are: it is neither
    /// refused nor handed to a tracer or an agent.
    pub fn lets_through(&self, native: TargetArch, name: &str, args: [Option<u64>; 6]) -> bool {
        let table = arch::tables(native, &[])[0];
        let passes = |word: u32| {
            matches!(
                word & libc::SECCOMP_RET_ACTION_FULL,
                libc::SECCOMP_RET_ALLOW | libc::SECCOMP_RET_LOG
            )
        };
        table.number(name).is_some_and(|nr| {
            reach::always(&self.program, &reach::Call { arch: table.audit(), nr, args }, passes)
        })
    }

    /// The same filter for a process whose calls no agent is told of: where it would be asked, they fail
    /// with ENOSYS (seccomp(2)).
    #[must_use]
    pub fn without_listener(&self) -> Self {
        const LISTENER: u64 =
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
        Filter {
            program: self.program.clone(),
            flags: self.flags & !LISTENER,
            notify: false,
            listener_path: None,
            listener_metadata: None,
        }
    }

    /// Whether a process may try to read a file, and lives on if it may not.
    pub fn lets_look_at_files(&self) -> bool {
        // Allowed, logged, or refused by an errno (seccomp(2)).
        let harmless =
            |word: u32| matches!(word & 0xffff_0000, 0x7fff_0000 | 0x7ffc_0000 | 0x5_0000);
        ["openat2", "read", "close", "faccessat2"].iter().all(|name| {
            let answer = self.answer(NATIVE, name);
            answer.is_some_and(harmless)
        })
    }
}

/// Whether a call that is answered with this word fails for certain: a tracer or an agent may let it
/// pass.
pub fn refuses(word: u32) -> bool {
    !matches!(
        word & libc::SECCOMP_RET_ACTION_FULL,
        libc::SECCOMP_RET_ALLOW
            | libc::SECCOMP_RET_LOG
            | libc::SECCOMP_RET_TRACE
            | libc::SECCOMP_RET_USER_NOTIF
    )
}

/// Compiles `linux.seccomp` for a kernel of architecture `native`.
///
/// # Errors
/// Everything that is wrong with the profile, at once.
pub fn compile(
    profile: &LinuxSeccomp,
    native: TargetArch,
    notices: &mut Vec<String>,
) -> Result<Filter, Vec<Violation>> {
    let mut violations = Vec::new();
    let ir = ir::read(profile, native, notices, &mut violations);
    let notify = uses_notify(profile);
    let flags = flags(profile, notify, &mut violations);
    let listener_path = listener(profile, notify, &mut violations);
    if !violations.is_empty() {
        return Err(violations);
    }
    let program = compile::program(&ir);
    if program.len() > compile::MAX_INSTRUCTIONS {
        let reason = format!(
            "the filter needs {} BPF instructions, the kernel takes {} (BPF_MAXINSNS): use fewer \
             conditions on arguments",
            program.len(),
            compile::MAX_INSTRUCTIONS
        );
        return Err(vec![Violation::new(Field::of("linux.seccomp.syscalls"), reason)]);
    }
    let listener_metadata = profile.listener_metadata().clone().filter(|_| notify);
    Ok(Filter { program, flags, notify, listener_path, listener_metadata })
}

fn uses_notify(profile: &LinuxSeccomp) -> bool {
    use oci_spec::runtime::LinuxSeccompAction::ScmpActNotify;
    let rules = profile.syscalls().as_deref().unwrap_or_default();
    profile.default_action() == ScmpActNotify || rules.iter().any(|r| r.action() == ScmpActNotify)
}

fn flags(profile: &LinuxSeccomp, notify: bool, violations: &mut Vec<Violation>) -> u64 {
    use LinuxSeccompFilterFlag::*;
    // Absent is not empty: then speculative store bypass stays as it is, as in runc and crun.
    let absent = [SeccompFilterFlagSpecAllow];
    let mut bits = 0;
    for (index, flag) in profile.flags().as_deref().unwrap_or(&absent).iter().enumerate() {
        bits |= match flag {
            SeccompFilterFlagLog => libc::SECCOMP_FILTER_FLAG_LOG,
            // The process that loads the filter has one thread: there is nothing to sync.
            SeccompFilterFlagTsync => 0,
            SeccompFilterFlagSpecAllow => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            SeccompFilterFlagWaitKillableRecv => libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
        };
        if *flag == SeccompFilterFlagWaitKillableRecv && !notify {
            // seccomp(2): EINVAL without NEW_LISTENER.
            violations.push(Violation::value(
                Field::of("linux.seccomp.flags").at(index),
                flag.to_string(),
                "needs a rule or default with SCMP_ACT_NOTIFY",
            ));
        }
    }
    if notify {
        bits |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    }
    bits
}

fn listener(
    profile: &LinuxSeccomp,
    notify: bool,
    violations: &mut Vec<Violation>,
) -> Option<PathBuf> {
    let path = profile.listener_path().clone().filter(|path| !path.as_os_str().is_empty());
    if notify && path.is_none() {
        let reason = "missing, but SCMP_ACT_NOTIFY is used: name the socket of the agent";
        violations.push(Violation::new(Field::of("linux.seccomp.listenerPath"), reason));
    }
    let metadata = profile.listener_metadata().as_deref().unwrap_or_default();
    if !metadata.is_empty() && path.is_none() {
        let reason = "must not be set without listenerPath";
        let field = Field::of("linux.seccomp.listenerMetadata");
        violations.push(Violation::value(field, metadata, reason));
    }
    path.filter(|_| notify)
}

#[cfg(test)]
mod tests;
