//! A profile read as docs/seccomp.md has it, rule by rule, with no regard to programs.

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};
use seccompiler::TargetArch;

use super::interpreter::Data;
use super::{ENOSYS, KILL_PROCESS, X86_64};
use crate::seccomp::arch::{self, Table, X32_BIT};

pub struct Reading<'a> {
    profile: &'a LinuxSeccomp,
    pub tables: Vec<Table>,
}

impl<'a> Reading<'a> {
    pub fn of(profile: &'a LinuxSeccomp, native: TargetArch) -> Self {
        let listed = profile.architectures().as_deref().unwrap_or_default();
        Reading { profile, tables: arch::tables(native, listed) }
    }

    /// The table that a call is made by. Where x32 is listed, -1 is one of its numbers.
    pub fn table(&self, data: &Data) -> Option<Table> {
        let x32 = data.nr >= X32_BIT
            && (data.nr != u32::MAX || self.tables.contains(&Table::X32))
            && data.arch == X86_64;
        let mut tables = self.tables.iter().copied();
        tables.find(|table| table.audit() == data.arch && (*table == Table::X32) == x32)
    }

    pub fn default(&self) -> u32 {
        word(self.profile.default_action(), self.profile.default_errno_ret())
    }

    /// What the profile answers.
    pub fn word(&self, data: &Data) -> u32 {
        let Some(table) = self.table(data) else { return KILL_PROCESS };
        let default = self.default();
        let mut conditional: Option<u32> = None;
        let mut multiplexer = false;
        for call in self.calls() {
            let word = word(call.action(), call.errno_ret());
            if word == default {
                continue;
            }
            let args = call.args().as_deref().unwrap_or_default();
            for name in call.names() {
                if table.number(name) == Some(data.nr) {
                    if args.is_empty() {
                        return word;
                    }
                    if holds(args, data, table.narrow()) {
                        conditional = stricter(conditional, word);
                    }
                }
                if let Some(mux) = table.multiplexed(name)
                    && mux.number == data.nr
                    && (args.is_empty() || strictness(word) < strictness(default))
                {
                    multiplexer = true;
                    if u64::from(data.args[0] as u32) & mux.mask == mux.call {
                        conditional = stricter(conditional, word);
                    }
                }
            }
        }
        // A call that carries another one of the profile is not newer than the profile.
        let newer = !multiplexer && self.newer(table, data.nr);
        conditional.unwrap_or(if newer { ENOSYS } else { default })
    }

    fn calls(&self) -> &[LinuxSyscall] {
        self.profile.syscalls().as_deref().unwrap_or_default()
    }

    /// Whether a call is newer than the profile, whose default makes such calls fail.
    pub fn newer(&self, table: Table, nr: u32) -> bool {
        use LinuxSeccompAction::*;
        if matches!(self.profile.default_action(), ScmpActAllow | ScmpActLog | ScmpActTrace)
            || self.profile.default_action() == ScmpActNotify
            || nr == u32::MAX && table == Table::X86_64
        {
            return false;
        }
        let own = |nr: &u32| table.out_of_sequence().contains(nr);
        let names = self.calls().iter().flat_map(|call| call.names());
        let newest = names.filter_map(|name| table.number(name)).filter(|nr| !own(nr)).max();
        newest.is_some_and(|newest| newest > 0 && nr > newest) && !own(&nr)
    }
}

/// The one applied so far, unless `word` is stricter.
fn stricter(applied: Option<u32>, word: u32) -> Option<u32> {
    applied.filter(|applied| strictness(*applied) <= strictness(word)).or(Some(word))
}

/// The kernel's order: the smaller, the stricter.
fn strictness(word: u32) -> i32 {
    (word & 0xffff_0000) as i32
}

pub fn word(action: LinuxSeccompAction, errno: Option<u32>) -> u32 {
    action.as_u32(errno)
}

/// All of them; or any, where one argument has several.
pub fn holds(args: &[LinuxSeccompArg], data: &Data, narrow: bool) -> bool {
    use LinuxSeccompOperator::*;
    let cut = |value: u64| if narrow { u64::from(value as u32) } else { value };
    let one = |arg: &LinuxSeccompArg| {
        let (actual, value) = (cut(data.args[arg.index()]), cut(arg.value()));
        let two = cut(arg.value_two().unwrap_or(0));
        match arg.op() {
            ScmpCmpEq => actual == value,
            ScmpCmpNe => actual != value,
            ScmpCmpLt => actual < value,
            ScmpCmpLe => actual <= value,
            ScmpCmpGt => actual > value,
            ScmpCmpGe => actual >= value,
            ScmpCmpMaskedEq => actual & value == two & value,
        }
    };
    let mut seen = [0; 6];
    args.iter().for_each(|arg| seen[arg.index()] += 1);
    if seen.iter().any(|count| *count > 1) { args.iter().any(one) } else { args.iter().all(one) }
}
