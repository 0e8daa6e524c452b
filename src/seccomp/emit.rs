//! Instructions written from the last to the first, so that each jump knows its target.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, sock_filter};

// linux/bpf_common.h
const LD_W_ABS: u16 = 0x20;
const AND_K: u16 = 0x54;
const JA: u16 = 0x05;
const RET_K: u16 = 0x06;
const JMP_CLASS: u16 = 0x05;

/// How many instructions are followed to shorten a jump.
const MAX_THREAD: usize = 256;

/// A comparison of the accumulator with a constant, unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Test {
    /// Equal.
    Eq = 0x15,
    /// Greater.
    Gt = 0x25,
    /// Greater or equal.
    Ge = 0x35,
    /// Any bit in common.
    Set = 0x45,
}

/// Where to go on, whatever the accumulator holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Return this word.
    Return(u32),
    /// The instruction at this place, counted from the end of the program.
    Code(usize),
}

/// What the accumulator holds: these bits of the word at this offset in `seccomp_data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word {
    /// Offset in `seccomp_data`.
    pub offset: u32,
    /// Which bits.
    pub mask: u32,
}

/// Where to go on with a word in the accumulator. Only `Emitter::load` makes a target of it again,
/// so that no code is reached without the word that it compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loaded {
    word: Word,
    target: Target,
}

impl Target {
    /// The same place, reached with `word` in the accumulator, which it does not need.
    pub fn with(self, word: Word) -> Loaded {
        Loaded { word, target: self }
    }
}

/// `seccomp_data.nr`.
pub const NR: Word = Word { offset: 0, mask: u32::MAX };
/// `seccomp_data.arch`.
pub const ARCH: Word = Word { offset: 4, mask: u32::MAX };

/// The outcome of a test made earlier on the way.
#[derive(Debug, Clone, Copy)]
pub struct Fact {
    /// What was tested.
    pub word: Word,
    /// How.
    pub test: Test,
    /// With what.
    pub k: u32,
    /// The outcome.
    pub holds: bool,
}

/// A program in the making.
#[derive(Debug)]
pub struct Emitter {
    reversed: Vec<sock_filter>,
    /// The nearest instruction for each word returned.
    returns: Vec<(u32, usize)>,
    /// Tests of arguments: the tables of one profile, and its rules, often have the same.
    tests: BTreeMap<(Word, Test, u32, Target, Target), Target>,
}

impl Emitter {
    /// With room for `capacity` instructions.
    pub fn new(capacity: usize) -> Self {
        Emitter {
            reversed: Vec::with_capacity(capacity),
            returns: Vec::with_capacity(8),
            tests: BTreeMap::new(),
        }
    }

    /// The program that begins at `first`, first instruction first.
    pub fn finish(mut self, first: Loaded) -> BpfProgram {
        let first = self.load(first);
        self.fall_through(first);
        self.reversed.reverse();
        self.reversed
    }

    /// Loads the word that `next` expects, unless it compares nothing before it loads another.
    pub fn load(&mut self, next: Loaded) -> Target {
        let Loaded { word, target } = next;
        if !self.compares(target) {
            return target;
        }
        self.fall_through(target);
        if word.mask != u32::MAX {
            self.push(AND_K, word.mask, 0, 0);
        }
        Target::Code(self.push(LD_W_ABS, word.offset, 0, 0))
    }

    /// Compares `word`, which is in the accumulator.
    pub fn branch(&mut self, word: Word, test: Test, k: u32, yes: Loaded, no: Loaded) -> Loaded {
        debug_assert_eq!((yes.word, no.word), (word, word));
        if yes == no {
            return yes;
        }
        // Offsets have 8 bits. The second call may add one instruction, which the first allows for.
        let no = self.near(no.target, 254);
        let yes = self.near(yes.target, 255);
        let offset = |place: usize| (self.reversed.len() - place - 1) as u8;
        let place = self.push(test as u16, k, offset(yes), offset(no));
        Loaded { word, target: Target::Code(place) }
    }

    /// Loads `word` and compares it, unless the facts tell the outcome. With them, and the outcome of
    /// this test, the way on is shortened.
    pub fn test(
        &mut self,
        word: Word,
        test: Test,
        k: u32,
        yes: Target,
        no: Target,
        facts: &mut Vec<Fact>,
    ) -> Target {
        if yes == no {
            return yes;
        }
        if let Some(holds) = decide(word, test as u16, k, facts) {
            return if holds { yes } else { no };
        }
        let mut follow = |target, holds| {
            facts.push(Fact { word, test, k, holds });
            let loaded = self.thread(target, word, facts);
            facts.pop();
            loaded
        };
        let (yes, no) = (follow(yes, true), follow(no, false));
        let key = (word, test, k, yes.target, no.target);
        if let Some(known) = self.tests.get(&key) {
            return *known;
        }
        let branch = self.branch(word, test, k, yes, no);
        let target = self.load(branch);
        self.tests.insert(key, target);
        target
    }

    /// The place of `target`, or of a detour to it, at most `limit` instructions away.
    fn near(&mut self, target: Target, limit: usize) -> usize {
        let len = self.reversed.len();
        match target {
            Target::Return(word) => {
                let known = self.returns.iter().position(|(known, _)| *known == word);
                if let Some((_, place)) = known.map(|index| self.returns[index])
                    && len - place - 1 <= limit
                {
                    return place;
                }
                let place = self.push(RET_K, word, 0, 0);
                match known {
                    Some(index) => self.returns[index].1 = place,
                    None => self.returns.push((word, place)),
                }
                place
            }
            Target::Code(place) if len - place - 1 <= limit => place,
            Target::Code(place) => self.push(JA, (len - place - 1) as u32, 0, 0),
        }
    }

    /// Makes `target` what runs after the instruction that is written next.
    fn fall_through(&mut self, target: Target) {
        let place = match target {
            Target::Return(_) => self.near(target, 0),
            Target::Code(place) => place,
        };
        let skipped = self.reversed.len() - place - 1;
        if skipped > 0 {
            self.push(JA, skipped as u32, 0, 0);
        }
    }

    /// Whether the code at `target` uses what the accumulator holds.
    fn compares(&self, target: Target) -> bool {
        let Target::Code(mut place) = target else { return false };
        while self.reversed[place].code == JA {
            place -= 1 + self.reversed[place].k as usize;
        }
        !matches!(self.reversed[place].code, LD_W_ABS | RET_K)
    }

    /// Follows `target` as far as its course is certain: with `held` in the accumulator, loads of
    /// the same are not repeated, and tests whose outcome the facts tell are not made again.
    fn thread(&self, target: Target, held: Word, facts: &[Fact]) -> Loaded {
        let mut best = target.with(held);
        let Target::Code(mut place) = target else { return best };
        let mut would_hold = held;
        // Bounded, so that thousands of rules for one call cost no quadratic time.
        for _ in 0..MAX_THREAD {
            let instruction = &self.reversed[place];
            if would_hold == held || instruction.code == LD_W_ABS {
                best.target = Target::Code(place);
            }
            match instruction.code {
                RET_K => return Target::Return(instruction.k).with(held),
                LD_W_ABS => {
                    would_hold = Word { offset: instruction.k, mask: u32::MAX };
                    place -= 1;
                }
                AND_K => {
                    would_hold.mask &= instruction.k;
                    place -= 1;
                }
                JA => place -= 1 + instruction.k as usize,
                code => {
                    debug_assert_eq!(code & 0x07, JMP_CLASS);
                    let Some(holds) = decide(would_hold, code, instruction.k, facts) else {
                        return best;
                    };
                    let offset = if holds { instruction.jt } else { instruction.jf };
                    place -= 1 + usize::from(offset);
                }
            }
        }
        best
    }

    fn push(&mut self, code: u16, k: u32, jt: u8, jf: u8) -> usize {
        self.reversed.push(sock_filter { code, jt, jf, k });
        self.reversed.len() - 1
    }
}

/// The outcome of a conditional jump.
fn compare(code: u16, held: u32, k: u32) -> bool {
    match code {
        code if code == Test::Eq as u16 => held == k,
        code if code == Test::Gt as u16 => held > k,
        code if code == Test::Ge as u16 => held >= k,
        _ => held & k != 0,
    }
}

fn decide(word: Word, code: u16, k: u32, facts: &[Fact]) -> Option<bool> {
    facts.iter().find_map(|fact| fact.decides(word, code, k))
}

impl Fact {
    fn decides(&self, word: Word, code: u16, k: u32) -> Option<bool> {
        if self.word.offset != word.offset {
            return None;
        }
        if self.word.mask == word.mask && self.test as u16 == code && self.k == k {
            return Some(self.holds);
        }
        // The whole word is known.
        if self.test != Test::Eq || !self.holds || self.word.mask != u32::MAX {
            return None;
        }
        let value = self.k & word.mask;
        Some(compare(code, value, k))
    }
}

/// What a program returns for a number without looking at arguments, as the kernel finds the calls
/// that it always allows (`seccomp_is_const_allow`, kernel/seccomp.c).
pub fn constant(program: &[sock_filter], arch: u32, nr: u32) -> Option<u32> {
    let (mut place, mut held) = (0, 0);
    loop {
        let instruction = program.get(place)?;
        place += 1;
        let k = instruction.k;
        match instruction.code {
            RET_K => return Some(k),
            LD_W_ABS if k == NR.offset => held = nr,
            LD_W_ABS if k == ARCH.offset => held = arch,
            LD_W_ABS => return None,
            AND_K => held &= k,
            JA => place += k as usize,
            code if compare(code, held, k) => place += usize::from(instruction.jt),
            _ => place += usize::from(instruction.jf),
        }
    }
}
