//! What a filter can answer to a call of which not everything is known.

use std::collections::HashSet;

use seccompiler::sock_filter;

/// A system call before it is made: arguments that are not known are `None`.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    /// Its number.
    pub nr: u32,
    /// Its arguments.
    pub args: [Option<u64>; 6],
}

impl Call {
    /// The word at an offset of `struct seccomp_data`, if it is known.
    fn word(&self, offset: u32) -> Option<u32> {
        match offset {
            0 => Some(self.nr),
            4 => Some(self.arch),
            8 | 12 => None,
            _ => {
                let value = (*self.args.get((offset as usize - 16) / 8)?)?;
                Some((value >> (8 * (offset % 8))) as u32)
            }
        }
    }
}

/// Whether every way through the program ends in a return word that `accept` takes.
pub fn always(program: &[sock_filter], call: &Call, accept: impl Fn(u32) -> bool) -> bool {
    let mut ways = vec![(0, Some(0))];
    // Jumps lead forward only, so that each place is looked at once for each value.
    let mut seen = HashSet::new();
    while let Some((place, held)) = ways.pop() {
        if !seen.insert((place, held)) {
            continue;
        }
        let Some(instruction) = program.get(place) else { return false };
        let next = place + 1;
        let sock_filter { code, jt, jf, k } = *instruction;
        // The instructions that `emit` writes (linux/bpf_common.h).
        let holds = match code {
            0x06 if accept(k) => continue,
            0x06 => return false,
            0x20 => {
                ways.push((next, call.word(k)));
                continue;
            }
            0x54 => {
                ways.push((next, held.map(|held| held & k)));
                continue;
            }
            0x05 => {
                ways.push((next + k as usize, held));
                continue;
            }
            0x15 => held.map(|held| held == k),
            0x25 => held.map(|held| held > k),
            0x35 => held.map(|held| held >= k),
            0x45 => held.map(|held| held & k != 0),
            _ => return false,
        };
        let (yes, no) = ((next + usize::from(jt), held), (next + usize::from(jf), held));
        match holds {
            Some(true) => ways.push(yes),
            Some(false) => ways.push(no),
            None => ways.extend([yes, no]),
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: u32 = 0x7fff_0000;

    fn op(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
        sock_filter { code, jt, jf, k }
    }

    /// Allows call 7 if its first argument is 5, and every other call.
    fn program() -> Vec<sock_filter> {
        vec![
            op(0x20, 0, 0, 0),
            op(0x15, 7, 0, 2),
            op(0x20, 16, 0, 0),
            op(0x15, 5, 0, 1),
            op(0x06, ALLOW, 0, 0),
            op(0x06, 0x0005_0001, 0, 0),
        ]
    }

    #[test]
    fn an_unknown_argument_counts_with_every_value() {
        let call = |nr, first| Call { arch: 1, nr, args: [first, None, None, None, None, None] };
        let allows = |call: &Call| always(&program(), call, |word| word == ALLOW);
        assert!(allows(&call(7, Some(5))));
        assert!(!allows(&call(7, Some(6))));
        assert!(!allows(&call(7, None)));
        // Of another call the argument is not looked at.
        assert!(allows(&call(8, None)));
    }

    #[test]
    fn a_program_without_an_end_allows_nothing() {
        let call = Call { arch: 1, nr: 1, args: [None; 6] };
        assert!(!always(&[op(0x20, 0, 0, 0)], &call, |_| true));
        assert!(!always(&[], &call, |_| true));
    }
}
