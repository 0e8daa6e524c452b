//! Random profiles, and calls that come close to what they compare with.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompOperator};
use serde_json::{Value, json};

use super::interpreter::Data;
use crate::seccomp::OPERATORS;
use crate::seccomp::arch::{Table, X32_BIT};

/// xorshift64*.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 32) as usize) % limit
    }

    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

pub const NAMES: &[&str] = &[
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
    "uretprobe",
    "map_shadow_stack",
];

/// What is compared, mostly at the borders of 32 and 64 bits.
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
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x1_ffff_ffff,
    0xffff_ffff_0000_0000,
    u64::MAX - 1,
    u64::MAX,
];

/// Conditions that hold never or always: for 64 bits, for 32 bits, or for both.
const CERTAIN: &[(&str, u64, u64)] = &[
    ("SCMP_CMP_LT", 0, 0),
    ("SCMP_CMP_GE", 0, 0),
    ("SCMP_CMP_GT", u64::MAX, 0),
    ("SCMP_CMP_LE", u64::MAX, 0),
    ("SCMP_CMP_LT", 0x1_0000_0000, 0),
    ("SCMP_CMP_GE", 0x1_0000_0000, 0),
    ("SCMP_CMP_GT", 0xffff_ffff, 0),
    ("SCMP_CMP_LE", 0xffff_ffff, 0),
    ("SCMP_CMP_MASKED_EQ", 0, 0),
    ("SCMP_CMP_MASKED_EQ", 0, 7),
    ("SCMP_CMP_MASKED_EQ", 0xffff_ffff_0000_0000, 0),
    ("SCMP_CMP_MASKED_EQ", 0xffff_ffff_0000_0000, 0x1_0000_0000),
];

/// What a random profile is like.
pub struct Shape<'a> {
    /// Fewer names than rules: several rules for one call.
    pub names: &'a [&'a str],
    pub rules: usize,
    pub names_of_a_rule: usize,
    /// Fewer arguments than conditions: several conditions on one argument.
    pub arguments: usize,
}

impl Shape<'_> {
    pub fn profile(&self, random: &mut Random) -> LinuxSeccomp {
        let mut architectures = Vec::new();
        for name in ["X86", "X32", "ARM", "S390X", "X86_64"] {
            if random.below(2) == 0 {
                architectures.push(format!("SCMP_ARCH_{name}"));
            }
        }
        let rules: Vec<_> = (0..random.below(self.rules)).map(|_| self.rule(random)).collect();
        let mut profile = json!({
            "listenerPath": "/agent",
            "architectures": architectures,
            "syscalls": rules,
        });
        action(random, &mut profile, "defaultAction", "defaultErrnoRet");
        serde_json::from_value(profile).unwrap()
    }

    fn rule(&self, random: &mut Random) -> Value {
        let count = 1 + random.below(self.names_of_a_rule);
        let names: Vec<_> = (0..count).map(|_| random.one(self.names)).collect();
        let conditions = random.one(&[0, 1, 1, 1, 2, 2, 3]);
        let args: Vec<_> = (0..conditions).map(|_| self.condition(random)).collect();
        let mut rule = json!({"names": names, "args": args});
        action(random, &mut rule, "action", "errnoRet");
        rule
    }

    fn condition(&self, random: &mut Random) -> Value {
        let index = random.below(self.arguments);
        let (op, value, two) = match random.below(5) {
            0 => random.one(CERTAIN),
            // What is compared with twice makes tests that an earlier one has decided.
            1 | 2 => (random.one(OPERATORS), random.one(&VALUES[..3]), random.one(&VALUES[..3])),
            _ => (random.one(OPERATORS), random.one(VALUES), random.one(VALUES)),
        };
        json!({"index": index, "value": value, "valueTwo": two, "op": op})
    }
}

fn action(random: &mut Random, rule: &mut Value, action: &str, errno: &str) {
    let names = ["ALLOW", "ALLOW", "KILL", "KILL_PROCESS", "TRAP", "LOG", "NOTIFY"];
    let (name, errnos): (_, &[u32]) = match random.below(8) {
        0..3 => ("ERRNO", &[0, 1, 22, 38, 4094]),
        3 => ("TRACE", &[0, 1, 4096, 0xffff]),
        _ => (random.one(&names), &[]),
    };
    rule[action] = json!(format!("SCMP_ACT_{name}"));
    if !errnos.is_empty() && random.below(2) == 0 {
        rule[errno] = json!(random.one(errnos));
    }
}

/// Which calls to make to find out about one profile.
pub struct Calls {
    tables: Vec<Table>,
    numbers: Vec<(u32, u32)>,
    values: [Vec<u64>; 6],
}

impl Calls {
    /// The calls that it names, with arguments at, below and above what it compares them with.
    pub fn of(profile: &LinuxSeccomp, tables: &[Table]) -> Self {
        let mut calls = Calls {
            tables: tables.to_vec(),
            numbers: Vec::new(),
            values: std::array::from_fn(|_| vec![0, 1, u64::MAX]),
        };
        for rule in profile.syscalls().iter().flatten() {
            for table in tables {
                let named = rule.names().iter().filter_map(|name| table.number(name));
                calls.numbers.extend(named.map(|number| (table.audit(), number)));
            }
            for arg in rule.args().iter().flatten() {
                let values = &mut calls.values[arg.index()];
                values.extend(near(arg.value()));
                if arg.op() == LinuxSeccompOperator::ScmpCmpMaskedEq {
                    let (mask, two) = (arg.value(), arg.value_two().unwrap_or(0));
                    values.extend([
                        two,
                        two & mask,
                        two | !mask,
                        two ^ (mask & mask.wrapping_neg()),
                    ]);
                }
            }
        }
        calls
    }

    pub fn one(&self, random: &mut Random) -> Data {
        let (arch, nr) = self.number(random);
        let mut data = Data { arch, nr, args: [0; 6] };
        for (arg, values) in data.args.iter_mut().zip(&self.values) {
            *arg = random.one(values);
        }
        data
    }

    fn number(&self, random: &mut Random) -> (u32, u32) {
        if !self.numbers.is_empty() && random.below(8) != 0 {
            return random.one(&self.numbers);
        }
        let foreign =
            [0xc000_003e, 0x4000_0003, 0xc000_00b7, 0x4000_0028, 0xc000_00f3, 0x8000_0016];
        let arch = match random.below(4) {
            0 => random.one(&foreign),
            _ => random.one(&self.tables).audit(),
        };
        let borders = [0, X32_BIT - 1, X32_BIT, X32_BIT + 511, X32_BIT + 548, u32::MAX - 1];
        let nr = match random.below(5) {
            0 => random.next() as u32,
            1 => random.one(&borders),
            2 => u32::MAX,
            3 => random.one(&[102, 117]),
            _ => random.below(1000) as u32 | random.one(&[0, X32_BIT, 0xf0000]),
        };
        (arch, nr)
    }
}

/// A value, its neighbours, and what differs from it in the upper half only.
fn near(value: u64) -> [u64; 5] {
    let low = value & 0xffff_ffff;
    [value, value.wrapping_add(1), value.wrapping_sub(1), low, value ^ 0x1_0000_0000]
}
