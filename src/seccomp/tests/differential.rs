//! Random calls against random profiles: the program must answer what the profile says.

use oci_spec::runtime::LinuxSeccomp;
use seccompiler::TargetArch::{self, aarch64, riscv64, x86_64};

use super::interpreter::{check, run};
use super::random::{Calls, NAMES, Random, Shape};
use super::reading::Reading;
use crate::seccomp::args::Layout;
use crate::seccomp::compile::generate;
use crate::seccomp::ir;

/// `RT_TEST_ROUNDS` makes it that many times as many profiles.
pub fn rounds(usual: usize) -> usize {
    let times = std::env::var("RT_TEST_ROUNDS").map_or(1, |times| times.parse().unwrap());
    usual * times
}

/// Compiles and asks, in both forms of a program; the length of the fast one.
fn compare(random: &mut Random, profile: &LinuxSeccomp, native: TargetArch, calls: usize) -> usize {
    let mut violations = Vec::new();
    let ir = ir::read(profile, native, &mut Vec::new(), &mut violations);
    assert!(violations.is_empty(), "{violations:?}");
    let programs = [Layout::Flat, Layout::Shared].map(|layout| generate(&ir, layout));
    programs.iter().for_each(|program| check(program));
    let reading = Reading::of(profile, native);
    let asked = Calls::of(profile, &reading.tables);
    for _ in 0..calls {
        let data = asked.one(random);
        let (found, wanted) =
            (programs.each_ref().map(|program| run(program, &data).word), reading.word(&data));
        assert_eq!(
            found,
            [wanted; 2],
            "{found:x?}, not {wanted:#x}, for {data:x?}\n{}",
            serde_json::to_string(profile).unwrap()
        );
    }
    programs[0].len()
}

#[test]
fn programs_answer_what_profiles_say() {
    let mut random = Random(0x5ecc_0117);
    for round in 0..rounds(1000) {
        let native = [x86_64, aarch64, x86_64, riscv64][round % 4];
        let names = &NAMES[..1 + random.below(NAMES.len())];
        let shape = Shape { names, rules: 12, names_of_a_rule: 4, arguments: random.one(&[2, 6]) };
        let profile = shape.profile(&mut random);
        compare(&mut random, &profile, native, 60);
    }
}

/// Several rules compare the same few arguments of the same call, some of them in vain: what one of
/// them has loaded or decided must not be taken for granted on a way that does not pass it.
#[test]
fn rules_for_one_call_answer_what_profiles_say() {
    let mut random = Random(0x0a13);
    for round in 0..rounds(2000) {
        let native = [x86_64, aarch64, x86_64, riscv64][round % 4];
        let names = [random.one(NAMES), "ioctl"];
        let (count, arguments) = (1 + random.below(2), 1 + random.below(3));
        let shape = Shape { names: &names[..count], rules: 8, names_of_a_rule: 1, arguments };
        let profile = shape.profile(&mut random);
        compare(&mut random, &profile, native, 100);
    }
}

/// Long enough that jumps need detours.
#[test]
fn long_programs_answer_what_profiles_say() {
    let moby: LinuxSeccomp = serde_json::from_value(super::moby()).unwrap();
    let names: Vec<&str> =
        moby.syscalls().iter().flatten().flat_map(|call| call.names()).map(|s| &**s).collect();
    let mut random = Random(0x10_4a11);
    let mut longest = 0;
    for _ in 0..rounds(15) {
        let names = &names[..1 + random.below(names.len())];
        let shape = Shape { names, rules: 60, names_of_a_rule: 30, arguments: 6 };
        let profile = shape.profile(&mut random);
        longest = longest.max(compare(&mut random, &profile, x86_64, 300));
    }
    assert!(longest > 1500, "{longest}");
}
