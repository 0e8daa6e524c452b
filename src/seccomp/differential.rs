//! Random calls against random profiles: the program must answer what the profile says.

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};
use seccompiler::TargetArch;
use serde_json::{Value, json};

use super::arch::{self, Table, X32_BIT};
use super::interpreter::{Data, check, run};

const KILL_PROCESS: u32 = 0x8000_0000;
const ENOSYS: u32 = 0x0005_0000 | 38;

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 32) as usize) % limit
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

const NAMES: &[&str] = &[
    "read",
    "write",
    "open",
    "openat",
    "close",
    "stat",
    "fstat",
    "mmap",
    "ioctl",
    "readv",
    "clone",
    "clone3",
    "execve",
    "execveat",
    "socket",
    "connect",
    "accept",
    "sendto",
    "recvmsg",
    "shmat",
    "semop",
    "msgget",
    "personality",
    "ptrace",
    "keyctl",
    "bpf",
    "io_uring_setup",
    "mseal",
    "set_tls",
    "cacheflush",
    "socketcall",
    "ipc",
    "nosuchcall",
    "uselib",
    "preadv2",
    "waitid",
    "clock_gettime64",
    "newfstatat",
    "listns",
];

const VALUES: &[u64] = &[
    0,
    1,
    2,
    3,
    21,
    22,
    40,
    0xff,
    0x100,
    0x7e02_0000,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x1_ffff_ffff,
    0xffff_ffff_0000_0000,
    u64::MAX - 1,
    u64::MAX,
];

const ACTIONS: &[&str] = &["KILL", "KILL_PROCESS", "TRAP", "TRACE", "LOG", "NOTIFY"];

fn random_action(random: &mut Random, rule: &mut Value, action: &str, errno: &str) {
    match random.below(8) {
        0..2 => rule[action] = json!("SCMP_ACT_ALLOW"),
        2..5 => {
            rule[action] = json!("SCMP_ACT_ERRNO");
            if random.below(2) == 0 {
                rule[errno] = json!(random.one(&[0, 1, 22, 38, 4095]));
            }
        }
        _ => rule[action] = json!(format!("SCMP_ACT_{}", random.one(ACTIONS))),
    }
}

/// How large a random profile is.
struct Size {
    rules: usize,
    names: usize,
}

fn random_profile(random: &mut Random, names: &[&str], size: &Size) -> LinuxSeccomp {
    let mut profile = json!({"listenerPath": "/agent", "syscalls": []});
    random_action(random, &mut profile, "defaultAction", "defaultErrnoRet");
    let mut architectures = Vec::new();
    for name in ["X86", "X32", "ARM", "S390X", "X86_64"] {
        if random.below(2) == 0 {
            architectures.push(format!("SCMP_ARCH_{name}"));
        }
    }
    profile["architectures"] = json!(architectures);
    let pool = 1 + random.below(names.len());
    for _ in 0..random.below(size.rules) {
        let count = 1 + random.below(size.names);
        let names: Vec<_> = (0..count).map(|_| names[random.below(pool)]).collect();
        let mut rule = json!({"names": names, "args": []});
        random_action(random, &mut rule, "action", "errnoRet");
        for _ in 0..[0, 0, 1, 1, 2, 3][random.below(6)] {
            let op = random.one(super::OPERATORS);
            let (value, two) = (random.one(VALUES), random.one(VALUES));
            let limit = random.one(&[2, 6]);
            let index = random.below(limit);
            let arg = json!({"index": index, "value": value, "valueTwo": two, "op": op});
            rule["args"].as_array_mut().unwrap().push(arg);
        }
        profile["syscalls"].as_array_mut().unwrap().push(rule);
    }
    serde_json::from_value(profile).unwrap()
}

/// The profile read as its documentation has it, rule by rule.
struct Reading<'a> {
    profile: &'a LinuxSeccomp,
    tables: Vec<Table>,
}

impl Reading<'_> {
    fn word(&self, data: &Data) -> u32 {
        let x32 = data.nr >= X32_BIT && data.nr != u32::MAX;
        let has = |table| self.tables.contains(&table);
        let x32 = x32 || has(Table::X32) && data.nr == u32::MAX;
        let table = self.tables.iter().copied().find(|table| {
            table.audit() == data.arch
                && (*table == Table::X32) == (x32 && data.arch == 0xc000_003e)
        });
        let Some(table) = table else { return KILL_PROCESS };
        let default = self.profile.default_action();
        let default = word(default, self.profile.default_errno_ret());
        let mut conditional: Option<u32> = None;
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
                    && u64::from(data.args[0] as u32) & mux.mask == mux.call
                    && (args.is_empty() || strictness(word) < strictness(default))
                {
                    conditional = stricter(conditional, word);
                }
            }
        }
        conditional.unwrap_or_else(|| if self.newer(table, data.nr) { ENOSYS } else { default })
    }

    fn calls(&self) -> &[LinuxSyscall] {
        self.profile.syscalls().as_deref().unwrap_or_default()
    }

    fn newer(&self, table: Table, nr: u32) -> bool {
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

fn word(action: LinuxSeccompAction, errno: Option<u32>) -> u32 {
    action.as_u32(errno)
}

fn holds(args: &[LinuxSeccompArg], data: &Data, narrow: bool) -> bool {
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

fn random_call(random: &mut Random, names: &[&str], tables: &[Table]) -> Data {
    let audits = [0xc000_003e, 0x4000_0003, 0xc000_00b7, 0x4000_0028, 0xc000_00f3, 0, 0x8000_0016];
    let arch = if random.below(8) == 0 { random.one(&audits) } else { random.one(tables).audit() };
    let table = random.one(tables);
    let nr = match random.below(8) {
        0 => random.next() as u32,
        1 => random.one(&[0, X32_BIT - 1, X32_BIT, X32_BIT + 511, X32_BIT + 548, u32::MAX - 1]),
        2 => u32::MAX,
        3 => random.below(1000) as u32 | random.one(&[0, X32_BIT, 0xf0000]),
        _ => table.number(random.one(names)).unwrap_or(random.one(&[102, 117])),
    };
    let mut data = Data { arch, nr, args: [0; 6] };
    for arg in &mut data.args {
        *arg = random.one(VALUES).wrapping_add(random.one(&[0, 0, 0, 1, u64::MAX]));
    }
    data
}

/// Compiles and asks; the length of the program, or none if it is too long.
fn compare(
    random: &mut Random,
    names: &[&str],
    profile: &LinuxSeccomp,
    native: TargetArch,
    calls: usize,
) -> Option<usize> {
    let program = match super::compile(profile, native, &mut Vec::new()) {
        Ok(filter) => filter.program,
        Err(violations) => {
            assert!(violations[0].reason.contains("BPF instructions"), "{violations:?}");
            return None;
        }
    };
    check(&program);
    let listed = profile.architectures().as_deref().unwrap_or_default();
    let reading = Reading { profile, tables: arch::tables(native, listed) };
    for _ in 0..calls {
        let data = random_call(random, names, &reading.tables);
        let (found, wanted) = (run(&program, &data).word, reading.word(&data));
        assert_eq!(
            found,
            wanted,
            "{found:#x}, not {wanted:#x}, for {data:x?}\n{}",
            serde_json::to_string(profile).unwrap()
        );
    }
    Some(program.len())
}

#[test]
fn programs_answer_what_profiles_say() {
    use TargetArch::{aarch64, riscv64, x86_64};
    let mut random = Random(0x5ecc_0117);
    for round in 0..2000_usize {
        let native = [x86_64, aarch64, x86_64, riscv64][round % 4];
        let profile = random_profile(&mut random, NAMES, &Size { rules: 12, names: 4 });
        compare(&mut random, NAMES, &profile, native, 60).unwrap();
    }
}

/// Long enough that jumps need detours.
#[test]
fn long_programs_answer_what_profiles_say() {
    let moby: LinuxSeccomp = serde_json::from_str(include_str!("testdata/moby.json")).unwrap();
    let names: Vec<&str> =
        moby.syscalls().iter().flatten().flat_map(|call| call.names()).map(|s| &**s).collect();
    let mut random = Random(0x10_4a11);
    let mut longest = 0;
    for _ in 0..15 {
        let profile = random_profile(&mut random, &names, &Size { rules: 60, names: 30 });
        let length = compare(&mut random, &names, &profile, TargetArch::x86_64, 300);
        longest = longest.max(length.unwrap_or(0));
    }
    assert!(longest > 1500, "{longest}");
}
