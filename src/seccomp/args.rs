//! Conditions on arguments: 64-bit comparisons made of 32-bit tests.

use oci_spec::runtime::LinuxSeccompOperator;

use super::emit::{Emitter, Fact, Target, Test, Word};
use super::ir::{Condition, Ir};

/// `seccomp_data.args` (linux/seccomp.h).
const ARGS: u32 = 16;

/// In which order the halves of 64-bit arguments are tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The fewest instructions to run: the low half first, which tells most values apart.
    Flat,
    /// The fewest in the program: first whether all upper halves are 0. What is left then is
    /// mostly the same code as for the 32-bit tables.
    Shared,
}

/// Tries rules in order; the first whose conditions all hold is applied.
pub fn rules(
    emitter: &mut Emitter,
    ir: &Ir,
    rules: &[u32],
    narrow: bool,
    layout: Layout,
) -> Target {
    let mut facts = Vec::new();
    if narrow || layout == Layout::Flat {
        return first_match(emitter, ir, rules, narrow, &mut facts);
    }
    for rule in rules {
        for condition in ir.conditions(ir.rules[*rule as usize]) {
            let upper = Word { mask: u32::MAX, ..word(condition, 1) };
            let counts = word(condition, 1).mask != 0;
            if counts && facts.iter().all(|fact: &Fact| fact.word != upper) {
                facts.push(fact(upper, Test::Eq, 0, true));
            }
        }
    }
    let mut target = first_match(emitter, ir, rules, narrow, &mut facts);
    while let Some(zero) = facts.pop() {
        facts.push(Fact { holds: false, ..zero });
        let other = first_match(emitter, ir, rules, narrow, &mut facts);
        facts.pop();
        target = emitter.test(zero.word, zero.test, zero.k, target, other, &mut facts);
    }
    target
}

/// The same, where `facts` are known.
fn first_match(
    emitter: &mut Emitter,
    ir: &Ir,
    rules: &[u32],
    narrow: bool,
    facts: &mut Vec<Fact>,
) -> Target {
    let known_before = facts.len();
    let mut next = Target::Return(ir.default);
    for rule in rules.iter().rev() {
        let rule = ir.rules[*rule as usize];
        let conditions = ir.conditions(rule);
        let mut matched = Target::Return(rule.word);
        for (index, condition) in conditions.iter().enumerate().rev() {
            conditions[..index].iter().for_each(|earlier| known(facts, earlier, narrow));
            matched = check(emitter, condition, narrow, matched, next, facts);
            facts.truncate(known_before);
        }
        next = matched;
    }
    next
}

/// What a condition that holds tells about its argument.
fn known(facts: &mut Vec<Fact>, condition: &Condition, narrow: bool) {
    if condition.op == LinuxSeccompOperator::ScmpCmpEq {
        let (low, high) = halves(condition.value);
        facts.push(fact(word(condition, 0), Test::Eq, low, true));
        if !narrow {
            facts.push(fact(word(condition, 1), Test::Eq, high, true));
        }
    }
}

fn check(
    emitter: &mut Emitter,
    condition: &Condition,
    narrow: bool,
    yes: Target,
    no: Target,
    facts: &mut Vec<Fact>,
) -> Target {
    use LinuxSeccompOperator::*;
    match condition.op {
        ScmpCmpEq | ScmpCmpMaskedEq => equal(emitter, condition, narrow, yes, no, facts),
        ScmpCmpNe => equal(emitter, condition, narrow, no, yes, facts),
        ScmpCmpGt => above(emitter, condition, Test::Gt, narrow, yes, no, facts),
        ScmpCmpGe => above(emitter, condition, Test::Ge, narrow, yes, no, facts),
        ScmpCmpLe => above(emitter, condition, Test::Gt, narrow, no, yes, facts),
        ScmpCmpLt => above(emitter, condition, Test::Ge, narrow, no, yes, facts),
    }
}

/// The low half first: it tells most values apart, and the next rule mostly asks for it again.
fn equal(
    emitter: &mut Emitter,
    condition: &Condition,
    narrow: bool,
    yes: Target,
    no: Target,
    facts: &mut Vec<Fact>,
) -> Target {
    let (low, high) = halves(condition.value);
    let mut both = yes;
    if !narrow {
        facts.push(fact(word(condition, 0), Test::Eq, low, true));
        both = test(emitter, word(condition, 1), Test::Eq, high, yes, no, facts);
        facts.pop();
    }
    test(emitter, word(condition, 0), Test::Eq, low, both, no, facts)
}

/// Greater, or greater or equal.
fn above(
    emitter: &mut Emitter,
    condition: &Condition,
    than: Test,
    narrow: bool,
    yes: Target,
    no: Target,
    facts: &mut Vec<Fact>,
) -> Target {
    let (low, high) = halves(condition.value);
    if narrow {
        return test(emitter, word(condition, 0), than, low, yes, no, facts);
    }
    let upper = word(condition, 1);
    facts.push(fact(upper, Test::Eq, high, true));
    let low = test(emitter, word(condition, 0), than, low, yes, no, facts);
    facts.pop();
    if high == 0 {
        return test(emitter, upper, Test::Eq, 0, low, yes, facts);
    }
    facts.push(fact(upper, Test::Gt, high, false));
    let same = test(emitter, upper, Test::Eq, high, low, no, facts);
    facts.pop();
    test(emitter, upper, Test::Gt, high, yes, same, facts)
}

/// Compares a word, unless the outcome is certain.
fn test(
    emitter: &mut Emitter,
    word: Word,
    test: Test,
    k: u32,
    yes: Target,
    no: Target,
    facts: &mut Vec<Fact>,
) -> Target {
    if let Some(holds) = constant(word, test, k) {
        return if holds { yes } else { no };
    }
    // No bit of the mask, or its only bit: one instruction less.
    if word.mask != u32::MAX
        && test == Test::Eq
        && (k == 0 || k.is_power_of_two() && k == word.mask)
    {
        let whole = Word { mask: u32::MAX, ..word };
        let (yes, no) = if k == 0 { (no, yes) } else { (yes, no) };
        return emitter.test(whole, Test::Set, word.mask, yes, no, facts);
    }
    emitter.test(word, test, k, yes, no, facts)
}

/// The outcome of a test that does not depend on the argument.
fn constant(word: Word, test: Test, k: u32) -> Option<bool> {
    match test {
        Test::Eq if k & !word.mask != 0 => Some(false),
        Test::Eq if word.mask == 0 => Some(true),
        Test::Ge if k == 0 => Some(true),
        Test::Gt if k == u32::MAX => Some(false),
        _ => None,
    }
}

/// Half 0 or 1 of the argument; all our architectures are little endian.
fn word(condition: &Condition, half: u32) -> Word {
    let (low, high) = halves(condition.mask);
    let mask = if half == 0 { low } else { high };
    Word { offset: ARGS + 8 * condition.arg + 4 * half, mask }
}

fn fact(word: Word, test: Test, k: u32, holds: bool) -> Fact {
    Fact { word, test, k, holds }
}

fn halves(value: u64) -> (u32, u32) {
    (value as u32, (value >> 32) as u32)
}
