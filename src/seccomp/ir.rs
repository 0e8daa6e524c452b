//! The profile as numbers: return words, system call numbers, conditions.

use std::ops::Range;

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};
use seccompiler::TargetArch;

use super::arch::{self, Multiplexed, Table};
use crate::diag::field::{Field, Violation};

/// The largest errno that a system call can fail with (`MAX_ERRNO`, linux/err.h).
const MAX_ERRNO: u32 = 4095;

/// A profile, ready for code generation.
#[derive(Debug)]
pub struct Ir {
    /// The return word where no rule applies.
    pub default: u32,
    /// The return word of calls newer than the profile.
    pub newer: u32,
    /// The rules that differ from the default, in the order of the profile.
    pub rules: Vec<Rule>,
    /// What the rules refer to.
    pub conditions: Vec<Condition>,
    /// One for each table, native first.
    pub sections: Vec<Section>,
}

/// What to do when all conditions hold.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// `SECCOMP_RET_*` and data.
    pub word: u32,
    /// Where its conditions start.
    first: usize,
    /// How many there are; none: always.
    count: usize,
}

/// One comparison of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// 0 to 5.
    pub arg: u32,
    /// How to compare.
    pub op: LinuxSeccompOperator,
    /// Only these bits.
    pub mask: u64,
    /// With what.
    pub value: u64,
}

/// The rules for one table of system calls.
#[derive(Debug)]
pub struct Section {
    /// Which table.
    pub table: Table,
    /// (number, order in the profile, index into `Ir::rules`), sorted.
    pub named: Vec<(u32, u32, u32)>,
    /// The newest call that the profile names.
    pub newest: Option<u32>,
}

impl Ir {
    /// The conditions of a rule.
    pub fn conditions(&self, rule: Rule) -> &[Condition] {
        &self.conditions[rule.first..rule.first + rule.count]
    }

    fn add(&mut self, word: u32, conditions: &[Condition]) -> u32 {
        let first = self.conditions.len();
        self.conditions.extend_from_slice(conditions);
        self.rules.push(Rule { word, first, count: conditions.len() });
        (self.rules.len() - 1) as u32
    }
}

impl Section {
    fn add(&mut self, number: u32, rules: Range<u32>) {
        for rule in rules {
            self.named.push((number, self.named.len() as u32, rule));
        }
    }
}

impl Rule {
    /// Whether it has no conditions.
    pub fn always(self) -> bool {
        self.count == 0
    }
}

/// Reads the profile. What is returned is of use only if there are no violations.
pub fn read(
    profile: &LinuxSeccomp,
    native: TargetArch,
    notices: &mut Vec<String>,
    violations: &mut Vec<Violation>,
) -> Ir {
    let field = Field::of("linux.seccomp");
    let action = profile.default_action();
    let default =
        word(action, profile.default_errno_ret(), violations, || field.key("defaultErrnoRet"));
    let calls = profile.syscalls().as_deref().unwrap_or_default();
    let names = calls.iter().map(|call| call.names().len()).sum();
    let tables = arch::tables(native, profile.architectures().as_deref().unwrap_or_default());
    let mut ir = Ir {
        default,
        newer: if denies(action) { libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32 } else { default },
        rules: Vec::with_capacity(calls.len()),
        conditions: Vec::with_capacity(calls.len()),
        sections: tables
            .into_iter()
            .map(|table| Section { table, named: Vec::with_capacity(names), newest: None })
            .collect(),
    };
    for (index, call) in calls.iter().enumerate() {
        read_call(&mut ir, call, action, notices, violations, || field.key("syscalls").at(index));
    }
    for section in &mut ir.sections {
        section.named.sort_unstable();
    }
    ir
}

fn read_call(
    ir: &mut Ir,
    call: &LinuxSyscall,
    default: LinuxSeccompAction,
    notices: &mut Vec<String>,
    violations: &mut Vec<Violation>,
    field: impl Fn() -> Field,
) {
    let word = word(call.action(), call.errno_ret(), violations, || field().key("errnoRet"));
    if call.names().is_empty() {
        violations.push(Violation::new(field().key("names"), "must contain at least one entry"));
    }
    let args = call.args().as_deref().unwrap_or_default();
    let conditions = conditions(args, violations, || field().key("args"));
    // A rule that says what the default says is no rule; it still tells how new the profile is.
    let rules = if word == ir.default { 0..0 } else { add_rules(ir, word, &conditions) };
    for (index, name) in call.names().iter().enumerate() {
        if name.is_empty() {
            let reason = "is no name of a system call";
            violations.push(Violation::value(field().key("names").at(index), name, reason));
            continue;
        }
        add_name(ir, name, word, rules.clone());
        // In a list of permitted calls one that does not exist is permitted in vain; in a list of
        // denied ones somebody meant to close a door.
        if permits(default) && !rules.is_empty() && !arch::exists(name) {
            let field = field().key("names").at(index);
            let action = call.action();
            notices.push(format!("{field} {name:?}: unknown system call, {action} has no effect"));
        }
    }
}

/// One rule; or, where an argument has several conditions, one rule for each condition.
fn add_rules(ir: &mut Ir, word: u32, conditions: &[Condition]) -> Range<u32> {
    let first = ir.rules.len() as u32;
    let twice = (1..conditions.len())
        .any(|at| conditions[..at].iter().any(|other| other.arg == conditions[at].arg));
    if twice {
        for condition in conditions {
            ir.add(word, std::slice::from_ref(condition));
        }
    } else {
        ir.add(word, conditions);
    }
    first..ir.rules.len() as u32
}

/// Notes the rules for every table that has the call.
fn add_name(ir: &mut Ir, name: &str, word: u32, rules: Range<u32>) {
    let mut x86_64 = None;
    for index in 0..ir.sections.len() {
        let section = &mut ir.sections[index];
        let number = match section.table {
            Table::X32 => x86_64.and_then(|number| arch::x32(name, number)),
            table => table.number(name),
        };
        if section.table == Table::X86_64 {
            x86_64 = number;
        }
        if let Some(number) = number {
            if !section.table.out_of_sequence().contains(&number) {
                section.newest = section.newest.max(Some(number));
            }
            section.add(number, rules.clone());
        }
        if !rules.is_empty()
            && let Some(call) = section.table.multiplexed(name)
        {
            add_multiplexed(ir, index, call, word, rules.start);
        }
    }
}

/// socketcall(2) and ipc(2) take the arguments of the call behind a pointer or moved by one, where
/// no filter can compare them: then the stricter of rule and default holds for the whole call.
fn add_multiplexed(ir: &mut Ir, section: usize, call: Multiplexed, word: u32, rule: u32) {
    if !ir.rules[rule as usize].always() && severity(word) <= severity(ir.default) {
        return;
    }
    let op = LinuxSeccompOperator::ScmpCmpMaskedEq;
    let which = Condition { arg: 0, op, mask: call.mask, value: call.call };
    let rule = ir.add(word, &[which]);
    ir.sections[section].add(call.number, rule..rule + 1);
}

fn conditions(
    args: &[LinuxSeccompArg],
    violations: &mut Vec<Violation>,
    field: impl Fn() -> Field,
) -> Vec<Condition> {
    let mut conditions = Vec::with_capacity(args.len());
    for (index, arg) in args.iter().enumerate() {
        if arg.index() > 5 {
            let reason = "a system call has arguments 0 to 5";
            let field = field().at(index).key("index");
            violations.push(Violation::value(field, arg.index(), reason));
            continue;
        }
        let (mask, value) = match arg.op() {
            LinuxSeccompOperator::ScmpCmpMaskedEq => {
                (arg.value(), arg.value_two().unwrap_or(0) & arg.value())
            }
            _ => (u64::MAX, arg.value()),
        };
        conditions.push(Condition { arg: arg.index() as u32, op: arg.op(), mask, value });
    }
    conditions
}

/// The return word of an action; errnoRet only where the action has room for one.
fn word(
    action: LinuxSeccompAction,
    errno: Option<u32>,
    violations: &mut Vec<Violation>,
    field: impl Fn() -> Field,
) -> u32 {
    use LinuxSeccompAction::*;
    if let Some(errno) = errno {
        let reason = match action {
            ScmpActErrno if errno > MAX_ERRNO => Some(format!("an errno is at most {MAX_ERRNO}")),
            // Any message to the tracer, who reads it by PTRACE_GETEVENTMSG.
            ScmpActTrace if errno > libc::SECCOMP_RET_DATA => {
                Some(format!("a tracer is told at most {}", libc::SECCOMP_RET_DATA))
            }
            ScmpActErrno | ScmpActTrace => None,
            _ => Some(format!("{action} takes no errno")),
        };
        violations.extend(reason.map(|reason| Violation::value(field(), errno, reason)));
    }
    let errno = errno.unwrap_or(libc::EPERM as u32) & libc::SECCOMP_RET_DATA;
    match action {
        ScmpActKill | ScmpActKillThread => libc::SECCOMP_RET_KILL_THREAD,
        ScmpActKillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        ScmpActTrap => libc::SECCOMP_RET_TRAP,
        ScmpActErrno => libc::SECCOMP_RET_ERRNO | errno,
        ScmpActNotify => libc::SECCOMP_RET_USER_NOTIF,
        ScmpActTrace => libc::SECCOMP_RET_TRACE | errno,
        ScmpActLog => libc::SECCOMP_RET_LOG,
        ScmpActAllow => libc::SECCOMP_RET_ALLOW,
    }
}

/// Whether a default action makes a call fail by itself. A tracer or an agent decides for itself
/// about calls that the profile does not know.
fn denies(action: LinuxSeccompAction) -> bool {
    use LinuxSeccompAction::*;
    matches!(
        action,
        ScmpActKill | ScmpActKillThread | ScmpActKillProcess | ScmpActTrap | ScmpActErrno
    )
}

/// Whether a default action lets calls through, so that the rules are what denies.
fn permits(action: LinuxSeccompAction) -> bool {
    matches!(action, LinuxSeccompAction::ScmpActAllow | LinuxSeccompAction::ScmpActLog)
}

/// The kernel's own order among return words: the larger, the stricter. As a signed number the
/// smallest action wins (kernel/seccomp.c), which puts KILL_PROCESS (bit 31) first.
pub fn severity(word: u32) -> i32 {
    -((word & libc::SECCOMP_RET_ACTION_FULL).cast_signed() >> 16)
}
