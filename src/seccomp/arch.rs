//! Architectures and the numbers of their system calls.

use std::ops::Range;

use oci_spec::runtime::Arch;
use seccompiler::TargetArch;

use super::names::{number, table};

/// Bit 30 marks an x32 call on x86_64 (`__X32_SYSCALL_BIT`, asm/unistd.h).
pub const X32_BIT: u32 = 0x4000_0000;

// linux/audit.h: the ELF machine, bit 31 for 64 bits, bit 30 for little endian.
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;
const AUDIT_ARCH_AARCH64: u32 = 0xc000_00b7;
const AUDIT_ARCH_ARM: u32 = 0x4000_0028;
const AUDIT_ARCH_RISCV64: u32 = 0xc000_00f3;

table! {
    /// Calls newer than the `syscalls` crate. Since Linux 5.1 a new call has one number everywhere.
    NEWER: [("listns", 470), ("rseq_slice_yield", 471)]
}

table! {
    /// Calls that the `syscalls` crate lacks or names differently on one architecture.
    AARCH64: [("newfstatat", 79)]
}
table! {
    ARM: [
        ("breakpoint", 0xf0001),
        ("cacheflush", 0xf0002),
        ("usr26", 0xf0003),
        ("usr32", 0xf0004),
        ("set_tls", 0xf0005),
        ("get_tls", 0xf0006),
        ("sync_file_range2", 341),
    ]
}

table! {
    /// Calls with pointers to structures have numbers of their own on x32 (syscall_64.tbl, ABI "x32").
    X32_OWN: [
        ("rt_sigaction", 512),
        ("rt_sigreturn", 513),
        ("ioctl", 514),
        ("readv", 515),
        ("writev", 516),
        ("recvfrom", 517),
        ("sendmsg", 518),
        ("recvmsg", 519),
        ("execve", 520),
        ("ptrace", 521),
        ("rt_sigpending", 522),
        ("rt_sigtimedwait", 523),
        ("rt_sigqueueinfo", 524),
        ("sigaltstack", 525),
        ("timer_create", 526),
        ("mq_notify", 527),
        ("kexec_load", 528),
        ("waitid", 529),
        ("set_robust_list", 530),
        ("get_robust_list", 531),
        ("vmsplice", 532),
        ("move_pages", 533),
        ("preadv", 534),
        ("pwritev", 535),
        ("rt_tgsigqueueinfo", 536),
        ("recvmmsg", 537),
        ("sendmmsg", 538),
        ("process_vm_readv", 539),
        ("process_vm_writev", 540),
        ("setsockopt", 541),
        ("getsockopt", 542),
        ("io_setup", 543),
        ("io_submit", 544),
        ("execveat", 545),
        ("preadv2", 546),
        ("pwritev2", 547),
    ]
}

/// Calls that exist on x86_64 but not on x32 (syscall_64.tbl, ABI "64" without an x32 row). When in
/// doubt a call is not listed here: a rule for a call that does not exist does no harm, a deny list
/// without it would have a hole.
const X32_ABSENT: &[&str] = &[
    "_sysctl",
    "create_module",
    "epoll_ctl_old",
    "epoll_wait_old",
    "get_kernel_syms",
    "get_thread_area",
    "nfsservctl",
    "query_module",
    "set_thread_area",
    "uselib",
    "vserver",
];

table! {
    /// socketcall(2) on i386: the number in its first argument (linux/net.h).
    SOCKETCALL: [
        ("socket", 1),
        ("bind", 2),
        ("connect", 3),
        ("listen", 4),
        ("accept", 5),
        ("getsockname", 6),
        ("getpeername", 7),
        ("socketpair", 8),
        ("send", 9),
        ("recv", 10),
        ("sendto", 11),
        ("recvfrom", 12),
        ("shutdown", 13),
        ("setsockopt", 14),
        ("getsockopt", 15),
        ("sendmsg", 16),
        ("recvmsg", 17),
        ("accept4", 18),
        ("recvmmsg", 19),
        ("sendmmsg", 20),
    ]
}

table! {
    /// ipc(2) on i386 (linux/ipc.h).
    IPC: [
        ("semop", 1),
        ("semget", 2),
        ("semctl", 3),
        ("semtimedop", 4),
        ("msgsnd", 11),
        ("msgrcv", 12),
        ("msgget", 13),
        ("msgctl", 14),
        ("shmat", 21),
        ("shmdt", 22),
        ("shmget", 23),
        ("shmctl", 24),
    ]
}

/// A table of system calls that a kernel of ours can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// 64-bit x86.
    X86_64,
    /// x86_64 with 32-bit pointers; shares its audit number with x86_64.
    X32,
    /// i386.
    X86,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM, EABI.
    Arm,
    /// 64-bit RISC-V.
    Riscv64,
}

/// A call that i386 reaches through socketcall(2) or ipc(2) as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Multiplexed {
    /// The number of the multiplexer.
    pub number: u32,
    /// Which bits of its first argument name the call.
    pub mask: u64,
    /// What they are.
    pub call: u64,
}

impl Table {
    /// All of them.
    pub const ALL: [Table; 6] =
        [Table::X86_64, Table::X32, Table::X86, Table::Aarch64, Table::Arm, Table::Riscv64];

    /// `AUDIT_ARCH_*`, as in `seccomp_data.arch`.
    pub fn audit(self) -> u32 {
        match self {
            Table::X86_64 | Table::X32 => AUDIT_ARCH_X86_64,
            Table::X86 => AUDIT_ARCH_I386,
            Table::Aarch64 => AUDIT_ARCH_AARCH64,
            Table::Arm => AUDIT_ARCH_ARM,
            Table::Riscv64 => AUDIT_ARCH_RISCV64,
        }
    }

    /// Whether arguments have 32 bits; libseccomp counts x32 among these.
    pub fn narrow(self) -> bool {
        matches!(self, Table::X32 | Table::X86 | Table::Arm)
    }

    /// The number in `seccomp_data.nr`, or none where the call does not exist.
    pub fn number(self, name: &str) -> Option<u32> {
        let found = match self {
            Table::X86_64 => number!(x86_64, name),
            Table::X32 => return x32(name, Table::X86_64.number(name)?),
            Table::X86 => number!(x86, name),
            // The crate counts the time64 calls (403-423), which only 32-bit machines have.
            Table::Aarch64 => number!(aarch64, name)
                .filter(|nr| !(403..=423).contains(nr))
                .or_else(|| AARCH64.number(name)),
            Table::Arm => number!(arm, name).or_else(|| ARM.number(name)),
            Table::Riscv64 => number!(riscv64, name),
        };
        found.or_else(|| NEWER.number(name))
    }

    /// Numbers outside the sequence in which new calls are numbered: they say nothing about how
    /// new a profile is.
    pub fn out_of_sequence(self) -> Range<u32> {
        match self {
            Table::X32 => X32_BIT + 512..X32_BIT + 548,
            // __ARM_NR_BASE (asm/unistd.h); arm_syscall() takes up to 0x7ff.
            Table::Arm => 0xf0000..0xf0800,
            _ => u32::MAX..u32::MAX,
        }
    }

    /// How else i386 reaches the call.
    pub fn multiplexed(self, name: &str) -> Option<Multiplexed> {
        if self != Table::X86 {
            return None;
        }
        if let Some(call) = SOCKETCALL.number(name) {
            let mask = u64::from(u32::MAX);
            return Some(Multiplexed { number: 102, mask, call: call.into() });
        }
        // The kernel takes the upper half as the version of the interface.
        let call = IPC.number(name)?;
        Some(Multiplexed { number: 117, mask: 0xffff, call: call.into() })
    }
}

/// The architecture whose system calls this program makes: its own.
pub const NATIVE: TargetArch = match named(std::env::consts::ARCH.as_bytes()) {
    Some(native) => native,
    None => panic!("the system calls of this architecture are not known to rt"),
};

/// What the kernel calls it in `seccomp_data.arch`.
pub const NATIVE_AUDIT_ARCH: u32 = match NATIVE {
    TargetArch::x86_64 => AUDIT_ARCH_X86_64,
    TargetArch::aarch64 => AUDIT_ARCH_AARCH64,
    TargetArch::riscv64 => AUDIT_ARCH_RISCV64,
};

/// `target_arch` of the compiler.
const fn named(target: &[u8]) -> Option<TargetArch> {
    match target {
        b"x86_64" => Some(TargetArch::x86_64),
        b"aarch64" => Some(TargetArch::aarch64),
        b"riscv64" => Some(TargetArch::riscv64),
        _ => None,
    }
}

/// Whether any architecture has a call of this name.
pub fn exists(name: &str) -> bool {
    Table::ALL.iter().any(|table| table.number(name).is_some() || table.multiplexed(name).is_some())
}

/// The number on x32 of a call that is `native` on x86_64.
pub fn x32(name: &str, native: u32) -> Option<u32> {
    if X32_ABSENT.contains(&name) {
        return None;
    }
    Some(X32_BIT | X32_OWN.number(name).unwrap_or(native))
}

/// The tables that a filter needs: the native one, and of those listed the ones that this kernel
/// can report. A filter for others would never be asked.
pub fn tables(native: TargetArch, listed: &[Arch]) -> Vec<Table> {
    let mut tables = Vec::with_capacity(3);
    match native {
        TargetArch::x86_64 => {
            tables.push(Table::X86_64);
            // X32 directly after X86_64: one audit number, one search tree.
            if listed.contains(&Arch::ScmpArchX32) {
                tables.push(Table::X32);
            }
            if listed.contains(&Arch::ScmpArchX86) {
                tables.push(Table::X86);
            }
        }
        TargetArch::aarch64 => {
            tables.push(Table::Aarch64);
            if listed.contains(&Arch::ScmpArchArm) {
                tables.push(Table::Arm);
            }
        }
        TargetArch::riscv64 => tables.push(Table::Riscv64),
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_kernel() {
        let cases = [
            (Table::X86_64, "read", Some(0)),
            (Table::X86_64, "clone3", Some(435)),
            (Table::X86_64, "socketcall", None),
            (Table::X86_64, "listns", Some(470)),
            (Table::X32, "read", Some(X32_BIT)),
            (Table::X32, "execve", Some(X32_BIT | 520)),
            (Table::X32, "uselib", None),
            (Table::X32, "map_shadow_stack", Some(X32_BIT | 453)),
            (Table::X32, "uretprobe", Some(X32_BIT | 335)),
            (Table::X32, "uprobe", Some(X32_BIT | 336)),
            (Table::X32, "mseal", Some(X32_BIT | 462)),
            (Table::X86, "read", Some(3)),
            (Table::X86, "accept", None),
            (Table::X86, "accept4", Some(364)),
            (Table::Aarch64, "newfstatat", Some(79)),
            (Table::Aarch64, "open", None),
            (Table::Aarch64, "clock_gettime64", None),
            (Table::Arm, "set_tls", Some(0xf0005)),
            (Table::Arm, "sync_file_range2", Some(341)),
            (Table::Riscv64, "riscv_flush_icache", Some(259)),
            (Table::Riscv64, "no_such_call", None),
        ];
        for (table, name, number) in cases {
            assert_eq!(table.number(name), number, "{name} on {table:?}");
        }
    }

    /// What uname(2) would say is not asked: a filter is for the program that is running.
    #[test]
    fn the_native_table_is_that_of_the_target() {
        let native = |target: &str| named(target.as_bytes()).map(|native| tables(native, &[]));
        assert_eq!(native("x86_64"), Some(vec![Table::X86_64]));
        assert_eq!(native("aarch64"), Some(vec![Table::Aarch64]));
        assert_eq!(native("riscv64"), Some(vec![Table::Riscv64]));
        for unknown in ["x86", "arm", "riscv32", "powerpc64", "s390x", "loongarch64", ""] {
            assert_eq!(native(unknown), None, "{unknown}");
        }
        assert_eq!(named(std::env::consts::ARCH.as_bytes()), Some(NATIVE));
        let getpid = tables(NATIVE, &[])[0].number("getpid").map(libc::c_long::from);
        assert_eq!(getpid, Some(libc::SYS_getpid));
    }

    #[test]
    fn sub_calls_are_numbered_as_in_net_h_and_ipc_h() {
        let of = |name| Table::X86.multiplexed(name).map(|call| (call.number, call.call));
        assert_eq!(of("socket"), Some((102, 1)));
        assert_eq!(of("sendmmsg"), Some((102, 20)));
        assert_eq!(of("shmctl"), Some((117, 24)));
        assert_eq!(of("read"), None);
        assert_eq!(Table::X86_64.multiplexed("socket"), None);
    }

    #[test]
    fn only_what_the_kernel_can_report_is_compiled() {
        use Arch::*;
        let foreign = [ScmpArchAarch64, ScmpArchS390x, ScmpArchX32, ScmpArchX86];
        assert_eq!(tables(TargetArch::x86_64, &foreign), [Table::X86_64, Table::X32, Table::X86]);
        assert_eq!(tables(TargetArch::aarch64, &[ScmpArchArm]), [Table::Aarch64, Table::Arm]);
        assert_eq!(tables(TargetArch::riscv64, &foreign), [Table::Riscv64]);
    }
}
