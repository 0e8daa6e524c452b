//! From device rules to instructions.
//!
//! Each bit of an access (read, write, mknod) is decided by the last rule that is about
//! the device and the bit; without one it is denied. So the program goes through the rules
//! from the last to the first and takes off what has been decided:
//!
//! ```text
//! type, open, major, minor = the question; open are the bits of access that are asked for
//! for rule in rules, last first:
//!     if the rule is about type, major, minor:
//!         deny:   denied |= open & rule.access
//!         open &= !rule.access
//! return whether nothing is denied, nor open when all is denied by default
//! ```
//!
//! Loading costs the more the more instructions and branches there are for the verifier, which
//! goes down both ways of a branch. So rules that differ only in the minor number, or in the
//! kind, become one question, and there is no branch at all: whether a rule is about the device
//! is a mask of ones or zeros.

use crate::model::device_rules::ALL;
use crate::model::device_rules::{DeviceKind, DeviceRule};
use crate::sys::bpf::Insn;

// Operations of linux/bpf_common.h and linux/bpf.h; K is an immediate, X a register.
const LOAD_WORD: u8 = 0x61;
const MOVE_X: u8 = 0xbf;
const MOVE_K: u8 = 0xb7;
const AND_K: u8 = 0x57;
const AND_X: u8 = 0x5f;
const OR_K: u8 = 0x47;
const OR_X: u8 = 0x4f;
const XOR_K: u8 = 0xa7;
const SUBTRACT_K: u8 = 0x17;
const NEGATE: u8 = 0x87;
const SHIFT_LEFT_X: u8 = 0x6f;
const SHIFT_LEFT_K: u8 = 0x67;
const SHIFT_RIGHT_K: u8 = 0x77;
/// Copies the sign.
const SHIFT_SIGNED_K: u8 = 0xc7;
const EXIT: u8 = 0x95;

// Registers: the answer and the context by the calling convention, then ours.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
const OPEN: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
/// Type and major in one word.
const TYPE_AND_MAJOR: u8 = 6;
/// The bit of the minor number; none where it is too high.
const MINOR_BIT: u8 = 7;
/// Not zero for a device that the rule is not about; then a mask of ones.
const OTHER: u8 = 8;
const SPARE: u8 = 9;
/// Bits of access that are denied. In the context's place, which has been read by then.
const DENIED: u8 = CONTEXT;
/// A major number has 12 bits.
const MAJOR_BITS: u8 = 12;
/// The highest minor number in a set: one that has a bit in a positive immediate.
const HIGHEST_IN_SET: u32 = 30;

const fn insn(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Insn {
    Insn { code, registers: from << 4 | to, offset, immediate }
}

const fn load(to: u8, offset: i16) -> Insn {
    insn(LOAD_WORD, to, CONTEXT, offset, 0)
}

/// An operation on two registers.
const fn with(code: u8, to: u8, from: u8) -> Insn {
    insn(code, to, from, 0, 0)
}

/// An operation on a register and a number.
const fn by(code: u8, to: u8, number: i32) -> Insn {
    insn(code, to, 0, 0, number)
}

/// Answers the question: 1 allows.
pub(super) fn answer(allow: bool) -> [Insn; 2] {
    [by(MOVE_K, ANSWER, allow.into()), by(EXIT, 0, 0)]
}

/// Whether the rules allow everything.
pub(super) fn allows_everything(rules: &[DeviceRule]) -> bool {
    let (allowed, rules) = after_reset(rules);
    allowed && rules.iter().all(|rule| rule.allow)
}

/// What is allowed by default, and the rules that still have an effect.
fn after_reset(rules: &[DeviceRule]) -> (bool, &[DeviceRule]) {
    match rules.iter().rposition(DeviceRule::is_reset) {
        Some(at) => (rules[at].allow, &rules[at + 1..]),
        None => (false, rules),
    }
}

/// Minor numbers that a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Minors {
    Any,
    One(u32),
    /// Bit n is minor n.
    Set(u32),
}

impl Minors {
    fn new(minor: Option<u32>) -> Self {
        match minor {
            None => Minors::Any,
            Some(minor) if minor <= HIGHEST_IN_SET => Minors::Set(1 << minor),
            Some(minor) => Minors::One(minor),
        }
    }
}

/// Rules with the same verdict that are asked as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Question {
    allow: bool,
    kind: Option<DeviceKind>,
    major: Option<u32>,
    minors: Minors,
    access: u8,
}

impl Question {
    fn new(rule: &DeviceRule) -> Self {
        let DeviceRule { allow, kind, major, minor, access } = *rule;
        Question { allow, kind, major, minors: Minors::new(minor), access }
    }

    /// Takes `other` in, if one question can be asked for both.
    fn merge(&mut self, other: &Question) -> bool {
        let both_kinds = Question { kind: None, ..*self };
        if both_kinds == (Question { kind: None, ..*other }) {
            if self.kind != other.kind {
                *self = both_kinds;
            }
            return true;
        }
        let (Minors::Set(mine), Minors::Set(others)) = (self.minors, other.minors) else {
            return false;
        };
        let united = Question { minors: Minors::Set(mine | others), ..*self };
        let same = united == (Question { minors: united.minors, ..*other });
        if same {
            *self = united;
        }
        same
    }
}

/// Last rule first. Among neighbours with the same verdict the order has no effect.
fn questions(rules: &[DeviceRule]) -> Vec<Question> {
    let mut questions: Vec<Question> = Vec::new();
    for question in rules.iter().rev().map(Question::new) {
        let mut neighbours =
            questions.iter_mut().rev().take_while(|earlier| earlier.allow == question.allow);
        if !neighbours.any(|earlier| earlier.merge(&question)) {
            questions.push(question);
        }
    }
    questions
}

/// The program for these rules.
pub fn program(rules: &[DeviceRule]) -> Vec<Insn> {
    let (allowed, rules) = after_reset(rules);
    // struct bpf_cgroup_dev_ctx: access in the upper half and type in the lower half of the
    // first word, then major and minor.
    let mut program = vec![
        load(TYPE, 0),
        with(MOVE_X, OPEN, TYPE),
        by(AND_K, TYPE, 0xffff),
        by(SHIFT_RIGHT_K, OPEN, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
        with(MOVE_X, TYPE_AND_MAJOR, TYPE),
        by(SHIFT_LEFT_K, TYPE_AND_MAJOR, MAJOR_BITS.into()),
        with(OR_X, TYPE_AND_MAJOR, MAJOR),
        by(MOVE_K, DENIED, 0),
        // The kernel shifts by the lowest 6 bits; a higher number clears the bit again.
        by(MOVE_K, MINOR_BIT, 1),
        with(SHIFT_LEFT_X, MINOR_BIT, MINOR),
        with(MOVE_X, SPARE, MINOR),
        by(SHIFT_RIGHT_K, SPARE, 6),
        by(SUBTRACT_K, SPARE, 1),
        by(SHIFT_SIGNED_K, SPARE, 63),
        with(AND_X, MINOR_BIT, SPARE),
    ];
    for question in questions(rules) {
        program.extend(ask(&question));
    }
    if !allowed {
        program.push(with(OR_X, DENIED, OPEN));
    }
    program.extend([
        with(MOVE_X, ANSWER, DENIED),
        by(SUBTRACT_K, ANSWER, 1),
        by(SHIFT_RIGHT_K, ANSWER, 63),
        by(EXIT, 0, 0),
    ]);
    program
}

/// The instructions of one question.
fn ask(question: &Question) -> Vec<Insn> {
    // BPF_DEVCG_DEV_BLOCK and BPF_DEVCG_DEV_CHAR.
    let kind = question.kind.map(|kind| match kind {
        DeviceKind::Block => 1,
        DeviceKind::Char => 2,
    });
    // Numbers of devices have been checked: 20 bits at most.
    let major = question.major.map(|major| major as i32);
    let number = match (kind, major) {
        (Some(kind), Some(major)) => Some((TYPE_AND_MAJOR, kind << MAJOR_BITS | major)),
        (Some(kind), None) => Some((TYPE, kind)),
        (None, Some(major)) => Some((MAJOR, major)),
        (None, None) => None,
    };
    let mut block = Vec::with_capacity(16);
    match number {
        Some((of, value)) => block.extend([with(MOVE_X, OTHER, of), by(XOR_K, OTHER, value)]),
        None => block.push(by(MOVE_K, OTHER, 0)),
    }
    match question.minors {
        Minors::One(minor) => block.extend([
            with(MOVE_X, SPARE, MINOR),
            by(XOR_K, SPARE, minor as i32),
            with(OR_X, OTHER, SPARE),
        ]),
        Minors::Any | Minors::Set(_) => {}
    }
    // What differs becomes ones by its sign, and so does a set without the minor number.
    block.push(by(NEGATE, OTHER, 0));
    if let Minors::Set(set) = question.minors {
        block.extend([
            with(MOVE_X, SPARE, MINOR_BIT),
            by(AND_K, SPARE, set as i32),
            by(SUBTRACT_K, SPARE, 1),
            with(OR_X, OTHER, SPARE),
        ]);
    }
    block.push(by(SHIFT_SIGNED_K, OTHER, 63));
    let others = i32::from(ALL & !question.access);
    if others != 0 {
        block.push(by(OR_K, OTHER, others));
    }
    if !question.allow {
        block.extend([
            with(MOVE_X, SPARE, OTHER),
            by(XOR_K, SPARE, -1),
            with(AND_X, SPARE, OPEN),
            with(OR_X, DENIED, SPARE),
        ]);
    }
    block.push(with(AND_X, OPEN, OTHER));
    block
}

#[cfg(test)]
mod tests;
