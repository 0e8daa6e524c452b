//! Code generation: dispatch on the architecture, then a search tree over ranges of numbers.

use std::cmp::Reverse;

use seccompiler::BpfProgram;

use super::arch::{Table, X32_BIT};
use super::args::{self, Layout};
use super::emit::{ARCH, Emitter, Loaded, NR, Target, Test};
use super::ir::{Ir, Section, severity};

/// `BPF_MAXINSNS` (linux/bpf_common.h).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// What becomes of a range of numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Leaf {
    Return(u32),
    Rules { rules: Vec<u32>, narrow: bool },
}

/// Numbers from `start` to the start of the next span.
#[derive(Debug)]
struct Span {
    start: u32,
    leaf: Leaf,
}

/// Generates the program: the fast one, or if the kernel does not take it the shorter one.
pub fn program(ir: &Ir) -> BpfProgram {
    let program = generate(ir, Layout::Flat);
    if program.len() <= MAX_INSTRUCTIONS {
        return program;
    }
    let shared = generate(ir, Layout::Shared);
    if shared.len() < program.len() { shared } else { program }
}

/// Generates the program in one of its forms.
pub fn generate(ir: &Ir, layout: Layout) -> BpfProgram {
    let mut emitter = Emitter::new(1024);
    let mut spans = Vec::with_capacity(512);
    let mut next = Target::Return(libc::SECCOMP_RET_KILL_PROCESS).with(ARCH);
    let mut sections = ir.sections.as_slice();
    // From the last architecture to the native one, whose code so comes first.
    while let Some((last, before)) = sections.split_last() {
        sections = before;
        spans.clear();
        if last.table == Table::X32 {
            let (native, before) = before.split_last().expect("x32 follows x86_64");
            sections = before;
            add_section(&mut spans, ir, native, 0);
            add_section(&mut spans, ir, last, X32_BIT);
        } else {
            add_section(&mut spans, ir, last, 0);
            if last.table == Table::X86_64 {
                add_foreign_x32(&mut spans, ir);
            }
        }
        let tree = Tree::new(&mut emitter, ir, &spans, layout).emit(0, spans.len());
        let numbers = emitter.load(tree).with(ARCH);
        next = emitter.branch(ARCH, Test::Eq, last.table.audit(), numbers, next);
    }
    emitter.finish(next)
}

/// Without x32 in the profile its calls are of a wrong architecture, as for libseccomp. A tracer
/// that makes the kernel skip a call sets -1, which is no x32 call.
fn add_foreign_x32(spans: &mut Vec<Span>, ir: &Ir) {
    add_span(spans, X32_BIT, Leaf::Return(libc::SECCOMP_RET_KILL_PROCESS));
    add_span(spans, u32::MAX, Leaf::Return(ir.default));
}

fn add_section(spans: &mut Vec<Span>, ir: &Ir, section: &Section, start: u32) {
    let mut next = start;
    for calls in section.named.chunk_by(|a, b| a.0 == b.0) {
        let number = calls[0].0;
        add_gap(spans, ir, section, next, number);
        add_span(spans, number, leaf(ir, calls, section.table.narrow()));
        next = number + 1;
    }
    add_gap(spans, ir, section, next, u32::MAX);
}

/// Numbers without a rule: the default, or ENOSYS beyond the newest call that the profile names.
fn add_gap(spans: &mut Vec<Span>, ir: &Ir, section: &Section, from: u32, to: u32) {
    if from == to {
        return;
    }
    add_span(spans, from, Leaf::Return(ir.default));
    let Some(newest) = section.newest.filter(|number| *number > 0) else { return };
    let apart = section.table.out_of_sequence();
    for (start, end) in [(newest + 1, apart.start), (apart.end, u32::MAX)] {
        let (start, end) = (start.max(from), end.min(to));
        if start < end {
            add_span(spans, start, Leaf::Return(ir.newer));
            if end < to {
                add_span(spans, end, Leaf::Return(ir.default));
            }
        }
    }
}

/// An unconditional rule wins over conditional ones, the first over later ones. Of conditional
/// rules that match one call the strictest wins, as among several filters in the kernel.
fn leaf(ir: &Ir, calls: &[(u32, u32, u32)], narrow: bool) -> Leaf {
    let rule = |call: &(u32, u32, u32)| ir.rules[call.2 as usize];
    if let Some(always) = calls.iter().map(rule).find(|rule| rule.always()) {
        return Leaf::Return(always.word);
    }
    let mut rules: Vec<u32> = calls.iter().map(|call| call.2).collect();
    rules.sort_by_key(|rule| Reverse(severity(ir.rules[*rule as usize].word)));
    Leaf::Rules { rules, narrow }
}

/// Appends a span, or lengthens the last one if it has the same leaf.
fn add_span(spans: &mut Vec<Span>, start: u32, leaf: Leaf) {
    if let Some(last) = spans.last_mut()
        && last.start == start
    {
        last.leaf = leaf;
    } else if spans.last().is_none_or(|last| last.leaf != leaf) {
        spans.push(Span { start, leaf });
    }
}

/// A search tree over spans. What runs often, and is not answered by the kernel's own bitmap of
/// allowed calls, stands nearer to the root.
struct Tree<'a> {
    emitter: &'a mut Emitter,
    ir: &'a Ir,
    spans: &'a [Span],
    layout: Layout,
    /// The weight of all spans before each, and of all.
    before: Vec<u32>,
}

impl<'a> Tree<'a> {
    fn new(emitter: &'a mut Emitter, ir: &'a Ir, spans: &'a [Span], layout: Layout) -> Self {
        let mut before = Vec::with_capacity(spans.len() + 1);
        let mut sum = 0;
        for span in spans {
            before.push(sum);
            sum += span.weight();
        }
        before.push(sum);
        Tree { emitter, ir, spans, layout, before }
    }

    /// The code for the spans `from..to`.
    fn emit(&mut self, from: usize, to: usize) -> Loaded {
        if to - from == 1 {
            let target = match &self.spans[from].leaf {
                Leaf::Return(word) => Target::Return(*word),
                Leaf::Rules { rules, narrow } => {
                    args::rules(self.emitter, self.ir, rules, *narrow, self.layout)
                }
            };
            return target.with(NR);
        }
        let middle = self.middle(from, to);
        let above = self.emit(middle, to);
        let below = self.emit(from, middle);
        self.emitter.branch(NR, Test::Ge, self.spans[middle].start, above, below)
    }

    /// Where the weights on both sides are closest to each other.
    fn middle(&self, from: usize, to: usize) -> usize {
        let sides = self.before[from] + self.before[to];
        let first_over = self.before[from..to].partition_point(|weight| 2 * weight < sides) + from;
        let uneven = |middle: usize| (2 * self.before[middle]).abs_diff(sides);
        let over = first_over.clamp(from + 1, to - 1);
        let under = (over - 1).max(from + 1);
        if uneven(under) < uneven(over) { under } else { over }
    }
}

impl Span {
    fn weight(&self) -> u32 {
        let leaf = match &self.leaf {
            Leaf::Return(libc::SECCOMP_RET_ALLOW) => 2,
            Leaf::Return(_) => 3,
            Leaf::Rules { .. } => 8,
        };
        if self.start < X32_BIT { 5 * leaf } else { leaf }
    }
}
