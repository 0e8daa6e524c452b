//! Runs a filter as the kernel does, and counts.

use seccompiler::sock_filter;

/// `struct seccomp_data`.
#[derive(Debug, Clone, Copy)]
pub struct Data {
    pub nr: u32,
    pub arch: u32,
    pub args: [u64; 6],
}

impl Data {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.nr,
            4 => self.arch,
            8 | 12 => 0,
            _ => {
                let (arg, byte) = ((offset as usize - 16) / 8, offset % 8);
                (self.args[arg] >> (8 * byte)) as u32
            }
        }
    }
}

/// What a filter answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub word: u32,
    pub executed: usize,
    /// Whether no argument was looked at: what the kernel's bitmap of allowed calls needs.
    pub constant: bool,
}

/// What the kernel demands before it takes a program (`bpf_check_classic`, net/core/filter.c).
pub fn check(program: &[sock_filter]) {
    for (at, instruction) in program.iter().enumerate() {
        let sock_filter { code, jt, jf, k } = *instruction;
        let left = program.len() - at - 1;
        match code {
            0x06 | 0x54 => {}
            0x20 => assert!(k.is_multiple_of(4) && k < 64, "load from {k}"),
            0x05 => assert!((k as usize) < left, "jump out of the program at {at}"),
            0x15 | 0x25 | 0x35 | 0x45 => assert!(usize::from(jt.max(jf)) < left, "jump at {at}"),
            _ => panic!("unknown instruction {code:#x}"),
        }
    }
    assert_eq!(program.last().map(|last| last.code), Some(0x06), "no return at the end");
}

/// Runs `program`.
pub fn run(program: &[sock_filter], data: &Data) -> Verdict {
    let (mut at, mut accumulator, mut executed, mut constant) = (0, 0, 0, true);
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        executed += 1;
        at += 1;
        let jump = |holds| usize::from(if holds { jt } else { jf });
        match code {
            0x20 => {
                accumulator = data.word(k);
                constant &= k < 16;
            }
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => at += jump(accumulator == k),
            0x25 => at += jump(accumulator > k),
            0x35 => at += jump(accumulator >= k),
            0x45 => at += jump(accumulator & k != 0),
            0x06 => return Verdict { word: k, executed, constant },
            _ => panic!("unknown instruction {code:#x}"),
        }
    }
}
