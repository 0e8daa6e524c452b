//! The same profiles compiled by libseccomp, as runc has it: a second opinion, for development only.
//! docs/seccomp.md lists what is meant to differ, and why; here it is left out of the comparison, or
//! translated:
//!
//! - calls newer than the profile: ENOSYS is not libseccomp's doing, but runc's;
//! - calls of other architectures kill the thread by default; it can be told to kill the process;
//! - conditional rules for one call with different actions: libseccomp's order is its own, so all
//!   rules for one call have one action here;
//! - several rules for one call, of which some compare by order or have several conditions: libseccomp
//!   2.5 merges the halves of their arguments, and answers some calls as no rule does (`GE` of 2^32
//!   beside `LE` of 0 holds for 2^32 - 1). Such profiles are compared, too, but a few answers may differ,
//!   as long as ours are what the profile says;
//! - socketcall(2) and ipc(2) on i386 with conditions, which it compares with unrelated values.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompOperator, LinuxSyscall,
};
use seccompiler::{TargetArch, sock_filter};

use super::differential::rounds;
use super::interpreter::{Data, check, run};
use super::random::{Calls, NAMES, Random, Shape};
use super::reading::{Reading, word};
use crate::seccomp::arch::Table;
use crate::seccomp::compile;

/// Linux has them for x32 since 6.10 and 6.11; libseccomp 2.5 knows nothing of that.
const NEW_ON_X32: &[&str] = &["map_shadow_stack", "uretprobe"];

/// The compiled `libseccomp.c`, in a directory of its own.
struct Peer(std::path::PathBuf);

impl Peer {
    fn build() -> Self {
        let folder = std::env::temp_dir().join(format!("rt-libseccomp-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let peer = Peer(folder);
        fs::write(peer.0.join("peer.c"), include_str!("libseccomp.c")).unwrap();
        let arguments = ["-Wall", "-Werror", "-O1", "-o", "peer", "peer.c", "-lseccomp"];
        let gcc = Command::new("gcc").args(arguments).current_dir(&peer.0).status();
        assert!(gcc.unwrap().success(), "libseccomp.c cannot be compiled");
        peer
    }

    fn run(&self, arguments: &[&str], input: &str) -> String {
        let mut child = Command::new(self.0.join("peer"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "libseccomp.c failed");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The program, or none if libseccomp refuses the profile.
    fn compile(&self, profile: &LinuxSeccomp) -> Option<Vec<sock_filter>> {
        let answer = self.run(&[], &profile_in_numbers(profile));
        let mut numbers = answer.split_whitespace().map(|number| number.parse::<u32>().unwrap());
        let length = numbers.next().unwrap();
        let mut next = || numbers.next().unwrap();
        let program: Vec<_> = (0..length)
            .map(|_| sock_filter {
                code: next() as u16,
                jt: next() as u8,
                jf: next() as u8,
                k: next(),
            })
            .collect();
        Some(program).filter(|program| !program.is_empty())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What runc tells libseccomp: rules that repeat the default are left out, and conditions on one
/// argument are rules of their own.
fn profile_in_numbers(profile: &LinuxSeccomp) -> String {
    let default = word(profile.default_action(), profile.default_errno_ret());
    let listed = profile.architectures().as_deref().unwrap_or_default();
    let has = |arch| u8::from(listed.contains(&arch));
    let mut text =
        format!("filter {default} {} {}\n", has(Arch::ScmpArchX86), has(Arch::ScmpArchX32));
    for rule in profile.syscalls().iter().flatten() {
        let word = word(rule.action(), rule.errno_ret());
        if word == default {
            continue;
        }
        let conditions: Vec<_> = rule.args().iter().flatten().map(condition).collect();
        for name in rule.names() {
            if repeats(rule) {
                for condition in &conditions {
                    writeln!(text, "rule {word} {name} 1{condition}").unwrap();
                }
            } else {
                let count = conditions.len();
                writeln!(text, "rule {word} {name} {count}{}", conditions.concat()).unwrap();
            }
        }
    }
    text + "end\n"
}

fn condition(arg: &LinuxSeccompArg) -> String {
    use LinuxSeccompOperator::*;
    let op = match arg.op() {
        ScmpCmpNe => 1,
        ScmpCmpLt => 2,
        ScmpCmpLe => 3,
        ScmpCmpEq => 4,
        ScmpCmpGe => 5,
        ScmpCmpGt => 6,
        ScmpCmpMaskedEq => 7,
    };
    format!(" {} {op} {} {}", arg.index(), arg.value(), arg.value_two().unwrap_or(0))
}

/// Whether an argument has several conditions.
fn repeats(rule: &LinuxSyscall) -> bool {
    let args = rule.args().as_deref().unwrap_or_default();
    (1..args.len()).any(|at| args[..at].iter().any(|other| other.index() == args[at].index()))
}

/// Where a call has several rules, these get one action, and one condition each, on equality; so do
/// several conditions on one argument, which are several rules: of anything else libseccomp 2.5 makes
/// programs that are not what the profile says.
fn simplify(profile: &mut LinuxSeccomp) {
    let mut rules = profile.syscalls().clone().unwrap_or_default();
    let mut seen = BTreeMap::new();
    for rule in &rules {
        let first = (rule.action(), rule.errno_ret());
        seen.entry(rule.names()[0].clone()).or_insert((first, 0)).1 += 1;
    }
    for rule in &mut rules {
        let ((action, errno), count) = seen[&rule.names()[0]];
        rule.set_action(action).set_errno_ret(errno);
        if count > 1 || repeats(rule) {
            let most = if count > 1 { 1 } else { usize::MAX };
            let equal = rule.args().iter().flatten().take(most).map(|arg| {
                let equal = LinuxSeccompArgBuilder::default().op(LinuxSeccompOperator::ScmpCmpEq);
                equal.index(arg.index()).value(arg.value()).build().unwrap()
            });
            let equal = equal.collect::<Vec<_>>();
            rule.set_args(Some(equal));
        }
    }
    profile.set_syscalls(Some(rules));
}

/// socketcall(2) and ipc(2), where a rule with conditions leads to them.
fn compares_unrelated_values(profile: &LinuxSeccomp, data: &Data) -> bool {
    let number = Some(data.nr).filter(|_| data.arch == Table::X86.audit());
    profile.syscalls().iter().flatten().any(|rule| {
        let conditional = rule.args().as_ref().is_some_and(|args| !args.is_empty());
        conditional
            && rule.names().iter().any(|name| {
                let mux = Table::X86.multiplexed(name);
                mux.is_some_and(|mux| {
                    number == Some(mux.number) || number == Table::X86.number(name)
                })
            })
    })
}

/// How many answers of libseccomp were compared, and how many are neither ours nor the profile's.
#[derive(Debug, Default)]
struct Sum {
    compared: usize,
    differ: usize,
    refused: usize,
}

fn compare(peer: &Peer, random: &mut Random, profile: &LinuxSeccomp, sum: &mut Sum) {
    let ours = compile(profile, TargetArch::x86_64, &mut Vec::new()).unwrap().program;
    let Some(theirs) = peer.compile(profile) else {
        sum.refused += 1;
        return;
    };
    check(&theirs);
    let reading = Reading::of(profile, TargetArch::x86_64);
    let calls = Calls::of(profile, &reading.tables);
    for _ in 0..100 {
        let data = calls.one(random);
        let newer = reading.table(&data).is_some_and(|table| reading.newer(table, data.nr));
        if newer || compares_unrelated_values(profile, &data) {
            continue;
        }
        sum.compared += 1;
        let answers = [&ours, &theirs].map(|program| run(program, &data).word);
        if answers[0] != answers[1] {
            sum.differ += 1;
            assert_eq!(answers[0], reading.word(&data));
            let profile = serde_json::to_string(profile).unwrap();
            println!("{answers:x?} for {data:x?}\n{profile}");
        }
    }
}

#[test]
#[ignore = "needs gcc and libseccomp-dev; tests/run has both"]
fn libseccomp_gives_the_same_answers() {
    let peer = Peer::build();
    let known = peer.run(NAMES, "");
    let known: Vec<&str> = known.lines().filter(|name| !NEW_ON_X32.contains(name)).collect();
    let mut random = Random(0x115e_cc03);
    let (mut simple, mut any) = (Sum::default(), Sum::default());
    for _ in 0..rounds(500) {
        let names = [(); 3].map(|()| random.one(&known));
        let (count, arguments) = (1 + random.below(3), 1 + random.below(3));
        let shape = Shape { names: &names[..count], rules: 8, names_of_a_rule: 1, arguments };
        let mut profile = shape.profile(&mut random);
        simplify(&mut profile);
        compare(&peer, &mut random, &profile, &mut simple);

        let shape = Shape { rules: 3, ..shape };
        let profile = shape.profile(&mut random);
        compare(&peer, &mut random, &profile, &mut any);
    }
    println!("simple profiles: {simple:?}, any: {any:?}");
    assert_eq!((simple.differ, simple.refused), (0, 0));
    assert!(simple.compared > 50 * rounds(500) && any.compared > 50 * rounds(500));
    assert!(any.differ * 30 < any.compared && any.refused * 10 < rounds(500));
}
