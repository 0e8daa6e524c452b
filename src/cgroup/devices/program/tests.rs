//! The program is executed by an interpreter of its own, and compared with the rules.

use super::*;
use crate::model::device_rules::{MKNOD, READ, WRITE};

/// A question to the program.
#[derive(Clone, Copy)]
struct Ask {
    kind: DeviceKind,
    access: u8,
    major: u32,
    minor: u32,
}

/// Executes what [`program`] makes, and nothing else.
fn run(program: &[Insn], ask: Ask) -> bool {
    let kind = if ask.kind == DeviceKind::Block { 1 } else { 2 };
    let context = [u64::from(ask.access) << 16 | kind, ask.major.into(), ask.minor.into()];
    let mut registers = [0u64; 10];
    for Insn { code, registers: pair, offset, immediate } in program {
        let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
        let immediate = i64::from(*immediate) as u64;
        let other = registers[from];
        let register = &mut registers[to];
        match *code {
            LOAD_WORD => *register = context[usize::try_from(*offset).expect("offset") / 4],
            MOVE_X => *register = other,
            MOVE_K => *register = immediate,
            AND_K => *register &= immediate,
            AND_X => *register &= other,
            OR_K => *register |= immediate,
            OR_X => *register |= other,
            XOR_K => *register ^= immediate,
            SUBTRACT_K => *register = register.wrapping_sub(immediate),
            NEGATE => *register = register.wrapping_neg(),
            SHIFT_LEFT_X => *register = register.wrapping_shl(other as u32),
            SHIFT_LEFT_K => *register <<= immediate,
            SHIFT_RIGHT_K => *register >>= immediate,
            SHIFT_SIGNED_K => *register = (*register as i64 >> immediate) as u64,
            EXIT => return registers[usize::from(ANSWER)] == 1,
            other => panic!("operation {other:#x}"),
        }
    }
    panic!("no answer")
}

/// The same by the words of the module's comment, bit by bit.
fn judged(rules: &[DeviceRule], ask: Ask) -> bool {
    [MKNOD, READ, WRITE].iter().filter(|bit| ask.access & **bit != 0).all(|bit| {
        let about = |rule: &&DeviceRule| {
            rule.kind.is_none_or(|kind| kind == ask.kind)
                && rule.major.is_none_or(|major| major == ask.major)
                && rule.minor.is_none_or(|minor| minor == ask.minor)
                && rule.access & bit != 0
        };
        rules.iter().rev().find(about).is_some_and(|rule| rule.allow)
    })
}

fn rule(allow: bool, text: &str) -> DeviceRule {
    let mut words = text.split(' ');
    let mut word = || words.next().expect("word");
    let kind = match word() {
        "a" => None,
        "b" => Some(DeviceKind::Block),
        _ => Some(DeviceKind::Char),
    };
    let (major, minor) = (word().parse().ok(), word().parse().ok());
    let access = word().bytes().fold(0, |access, letter| {
        access
            | [(b'm', MKNOD), (b'r', READ), (b'w', WRITE)]
                .iter()
                .find(|(l, _)| *l == letter)
                .expect("rwm")
                .1
    });
    DeviceRule { allow, kind, major, minor, access }
}

fn check(rules: &[DeviceRule]) {
    let program = program(rules);
    for kind in [DeviceKind::Block, DeviceKind::Char] {
        for access in 1..=ALL {
            for major in [0, 1, 5, 8, 4095] {
                for minor in [0, 3, 5, 30, 31, 63, 1_048_575] {
                    let ask = Ask { kind, access, major, minor };
                    let allowed = run(&program, ask);
                    let text = format!("{rules:?}: {kind:?} {major}:{minor} {access}");
                    assert_eq!(allowed, judged(rules, ask), "{text}");
                }
            }
        }
    }
}

#[test]
fn the_program_judges_as_the_rules_do() {
    let (allow, deny) = (|text| rule(true, text), |text| rule(false, text));
    for rules in [
        vec![],
        vec![deny("a * * rwm")],
        vec![allow("a * * rwm")],
        vec![deny("a * * rwm"), allow("c 1 3 rwm")],
        vec![allow("c 1 3 rwm"), deny("a * * rwm")],
        vec![allow("a * * rwm"), deny("b 8 * w")],
        vec![allow("c 1 3 r"), allow("c 1 3 w")],
        vec![allow("c 1 * rwm"), deny("c 1 3 w")],
        vec![deny("c 1 3 w"), allow("c 1 * rwm")],
        vec![allow("c * * m"), allow("b * * m"), allow("c 5 0 rw"), deny("c 5 * m")],
        vec![allow("a * * rwm"), deny("c * 3 r"), allow("c 1 3 rwm"), deny("a * * rwm")],
        vec![deny("a * * rwm"), allow("b * 1048575 rm"), deny("b 4095 * m")],
        vec![allow("c 1 3 rwm"), allow("c 1 31 rwm"), allow("c 1 30 rwm"), allow("b 1 5 rwm")],
        vec![allow("a * * rwm"), deny("c 8 5 w"), deny("c 8 3 w"), deny("b 8 3 w")],
    ] {
        check(&rules);
    }
}

/// Every sequence of three rules from a set that covers each shape of a rule.
#[test]
fn the_order_of_rules_is_kept() {
    let shapes =
        ["a * * rwm", "c * * m", "c 1 3 rwm", "c 1 5 rwm", "b 1 3 rwm", "c 1 * rw", "c * 3 r"];
    let all: Vec<_> =
        shapes.iter().flat_map(|text| [rule(true, text), rule(false, text)]).collect();
    for first in &all {
        for second in &all {
            for third in &all {
                check(&[*first, *second, *third]);
            }
        }
    }
}

#[test]
fn neighbours_become_one_question() {
    let rules = |texts: &[&str]| texts.iter().map(|text| rule(true, text)).collect::<Vec<_>>();
    for (texts, count) in [
        (&["c 1 3 rwm", "c 1 5 rwm", "c 1 9 rwm"][..], 1),
        (&["c * * m", "b * * m"], 1),
        (&["c 1 3 rwm", "c 1 5 rw"], 2),
        (&["c 1 3 rwm", "c 1 31 rwm"], 2),
        (&["c 1 3 rwm", "b 1 5 rwm"], 2),
    ] {
        assert_eq!(questions(&rules(texts)).len(), count, "{texts:?}");
    }
    let apart = [rule(true, "c 1 3 rwm"), rule(false, "c 1 5 r"), rule(true, "c 1 5 rwm")];
    assert_eq!(questions(&apart).len(), 3);
}

#[test]
fn nothing_is_loaded_when_everything_is_allowed() {
    assert!(allows_everything(&[rule(false, "c 1 3 r"), rule(true, "a * * rwm")]));
    assert!(allows_everything(&[rule(true, "a * * rwm"), rule(true, "c 1 3 r")]));
    assert!(!allows_everything(&[rule(true, "a * * rwm"), rule(false, "c 1 3 r")]));
    assert!(!allows_everything(&[]));
}
