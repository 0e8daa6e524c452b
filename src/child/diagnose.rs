//! Why a program cannot be executed, beyond the errno: execve(2) says "no such file" of a missing
//! interpreter, and access(2) does not say which directory is in the way. Looked at only after the
//! failure, so that a program that runs pays nothing for it.

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::core::ffi::CStr;
use ::nix::errno::Errno;

use super::Place;
use super::report::{Detail, Failure};
use crate::script::Script;
use crate::script::call::Call;
use crate::sys::{cred, fs};

/// So much of a file is looked at. The kernel reads 256 bytes of it; the name of an interpreter
/// stands on the first page of what linkers write.
const HEAD: usize = 4096;

/// The longest path that is looked at, with its NUL.
const LONGEST: usize = 1024;

/// How long a path may be in a message.
const SHOWN: usize = 100;

/// So many interpreters of interpreters the kernel follows (`exec_binprm`).
const DEEPEST: usize = 5;

/// Fills the detail of a failure to find or to execute the program.
pub(super) fn program(at: &mut Place, failure: Failure, script: &Script) {
    let Some(path) = script.candidates.get(at.program) else { return };
    match (failure.call, failure.errno) {
        (Call::Lookup, Errno::EACCES) => not_permitted(&mut at.detail, path),
        (Call::Lookup, Errno::ENOENT) => leads_nowhere(&mut at.detail, path),
        (Call::Exec, errno) if script.may_look => not_executed(&mut at.detail, path, errno),
        _ => {}
    }
}

/// What the kernel takes a file for, by its first bytes.
#[derive(Debug, PartialEq, Eq)]
enum Class<'h> {
    Empty,
    Script {
        interpreter: &'h [u8],
        carriage_return: bool,
    },
    /// A byte order mark stands before `#!`.
    MarkedScript,
    Elf {
        machine: u16,
        interpreter: &'h [u8],
    },
    Unknown,
}

/// Out of line for its buffers.
#[inline(never)]
fn not_executed(detail: &mut Detail, program: &CStr, errno: Errno) {
    let mut path = Name::new(program.to_bytes());
    for depth in 0..DEEPEST {
        let mut head = [0u8; HEAD];
        let Some(name) = path.as_c_str() else { return };
        let subject = Subject { name: name.to_bytes(), itself: depth == 0 };
        let length = match read_head(name, &mut head) {
            Ok(length) => length,
            // It may be executed and not be read.
            Err(_) if depth == 0 => return,
            Err(errno) => return subject.missing(detail, errno),
        };
        let interpreter = match classify(head.get(..length).unwrap_or_default()) {
            Class::Script { interpreter, carriage_return: true } => {
                subject.say(detail, b" has a first line that ends in CR LF: there is no ");
                detail.push_path(interpreter, SHOWN);
                return detail.push(b"\\r (dos2unix mends it)");
            }
            Class::Script { interpreter, .. } => interpreter,
            Class::Elf { machine, .. } if machine != OWN_MACHINE => {
                subject.say(detail, b" is for ");
                detail.push(machine_name(machine));
                detail.push(b", this machine is ");
                return detail.push(machine_name(OWN_MACHINE));
            }
            Class::Elf { interpreter: [], .. } if errno == Errno::ENOEXEC => {
                return subject.say(detail, b" is a damaged ELF file");
            }
            Class::Elf { interpreter, .. } => interpreter,
            Class::Empty => return subject.say(detail, b" is empty"),
            Class::MarkedScript => {
                return subject.say(detail, b" has a byte order mark before its #!");
            }
            Class::Unknown if errno == Errno::ENOEXEC => {
                return subject.say(detail, b" is neither ELF nor a script that begins with #!");
            }
            Class::Unknown => return,
        };
        if interpreter.is_empty() {
            return;
        }
        let next = Name::new(interpreter);
        let Some(name) = next.as_c_str() else { return };
        if let Err(errno) = fs::accessible(name, ::libc::X_OK) {
            return Subject { name: interpreter, itself: false }.missing(detail, errno);
        }
        path = next;
    }
}

/// The program, or its interpreter.
struct Subject<'n> {
    name: &'n [u8],
    itself: bool,
}

impl Subject<'_> {
    fn say(&self, detail: &mut Detail, what: &[u8]) {
        if self.itself {
            detail.push(b"it");
        } else {
            detail.push(b"its interpreter ");
            detail.push_path(self.name, SHOWN);
        }
        detail.push(what);
    }

    /// It cannot be looked up or read.
    fn missing(&self, detail: &mut Detail, errno: Errno) {
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => self.say(detail, b" is not in the container"),
            Errno::EACCES => self.say(detail, b" may not be executed"),
            _ => {}
        }
    }
}

/// Reads the first bytes of a regular file: a FIFO must not make us wait.
fn read_head(path: &CStr, head: &mut [u8]) -> Result<usize, Errno> {
    let flags = ::libc::O_RDONLY | ::libc::O_NONBLOCK | ::libc::O_NOCTTY;
    let fd = fs::openat2(::libc::AT_FDCWD, path, flags, 0, fs::RESOLVE_NO_MAGICLINKS)?;
    let read = fs::read(fd, head);
    fs::close(fd);
    read
}

fn classify(head: &[u8]) -> Class<'_> {
    if head.is_empty() {
        return Class::Empty;
    }
    if head.starts_with(b"\xef\xbb\xbf#!") {
        return Class::MarkedScript;
    }
    if let Some(rest) = head.strip_prefix(b"#!") {
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let carriage_return = line.last() == Some(&b'\r');
        let mut words = line.split(|byte| ::core::matches!(byte, b' ' | b'\t' | b'\r'));
        let interpreter = words.find(|word| !word.is_empty()).unwrap_or_default();
        // With an argument the `\r` is the argument's, and the interpreter is found.
        let carriage_return = carriage_return && words.all(|word| word.is_empty());
        return Class::Script { interpreter, carriage_return };
    }
    if head.starts_with(b"\x7fELF") {
        let machine = number(head, 18, 2) as u16;
        return Class::Elf { machine, interpreter: elf_interpreter(head) };
    }
    Class::Unknown
}

/// What PT_INTERP says (elf(5)), of a file in our byte order; empty where there is none.
fn elf_interpreter(head: &[u8]) -> &[u8] {
    const CLASS_64: u8 = 2;
    const PT_INTERP: usize = 3;
    let wide = head.get(4) == Some(&CLASS_64);
    let (table, size, count) = match wide {
        true => (number(head, 32, 8), number(head, 54, 2), number(head, 56, 2)),
        false => (number(head, 28, 4), number(head, 42, 2), number(head, 44, 2)),
    };
    for index in 0..count {
        let Some(entry) = index.checked_mul(size).and_then(|entry| entry.checked_add(table)) else {
            break;
        };
        if number(head, entry, 4) != PT_INTERP {
            continue;
        }
        let (offset, length) = match wide {
            true => (number(head, entry + 8, 8), number(head, entry + 32, 8)),
            false => (number(head, entry + 4, 4), number(head, entry + 16, 4)),
        };
        let rest = head.get(offset..).unwrap_or_default();
        let name = rest.get(..length).unwrap_or_default();
        return name.split(|byte| *byte == 0).next().unwrap_or_default();
    }
    &[]
}

/// A number of up to eight bytes, the lowest first; 0 beyond the end.
fn number(head: &[u8], from: usize, length: usize) -> usize {
    let bytes = from.checked_add(length).and_then(|end| head.get(from..end)).unwrap_or_default();
    bytes.iter().rev().fold(0, |number, byte| (number << 8) | *byte as usize)
}

/// `e_machine` of what runs here.
const OWN_MACHINE: u16 = if ::core::cfg!(target_arch = "x86_64") {
    62
} else if ::core::cfg!(target_arch = "aarch64") {
    183
} else {
    243
};

/// As people call it (elf.h, `EM_*`).
fn machine_name(machine: u16) -> &'static [u8] {
    match machine {
        3 => b"i386",
        8 => b"mips",
        20 => b"ppc",
        21 => b"ppc64",
        22 => b"s390x",
        40 => b"arm (32 bit)",
        62 => b"x86_64",
        183 => b"aarch64",
        243 => b"riscv",
        258 => b"loongarch",
        _ => b"another machine",
    }
}

/// Says which of the reasons for EACCES it is.
#[inline(never)]
fn not_permitted(detail: &mut Detail, path: &CStr) {
    let bytes = path.to_bytes();
    for (end, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
        let directory = bytes.get(..end.max(1)).unwrap_or_default();
        let name = Name::new(directory);
        let Some(name) = name.as_c_str() else { return };
        if fs::accessible(name, ::libc::X_OK) == Err(Errno::EACCES) {
            detail.push(b"the directory ");
            detail.push_path(directory, SHOWN);
            detail.push(b" may not be searched by uid ");
            return detail.push_number(cred::geteuid(), 10);
        }
    }
    let flags = ::libc::O_PATH;
    let Ok(fd) = fs::openat2(::libc::AT_FDCWD, path, flags, 0, fs::RESOLVE_NO_MAGICLINKS) else {
        return;
    };
    let (stat, noexec) = (fs::fstat(fd), fs::is_noexec(fd));
    fs::close(fd);
    let Ok(stat) = stat else { return };
    detail.push_path(bytes, SHOWN);
    if stat.st_mode & ::libc::S_IFMT != ::libc::S_IFREG {
        return detail.push(b" is not a regular file");
    }
    if noexec == Ok(true) {
        return detail.push(b" is on a mount with noexec");
    }
    detail.push(b" has the mode ");
    detail.push_number(stat.st_mode & 0o7777, 8);
    if stat.st_mode & 0o111 == 0 {
        return detail.push(b": chmod +x makes it a program");
    }
    detail.push(b", which does not let uid ");
    detail.push_number(cred::geteuid(), 10);
    detail.push(b" execute it");
}

/// A link is there, and what it leads to is not.
#[inline(never)]
fn leads_nowhere(detail: &mut Detail, path: &CStr) {
    let mut target = [0u8; LONGEST];
    if let Ok(target) = fs::readlinkat(::libc::AT_FDCWD, path, &mut target) {
        detail.push(b"it is a link to ");
        detail.push_path(target, SHOWN);
        detail.push(b", which is not in the container");
    }
}

/// A path with its NUL.
struct Name([u8; LONGEST]);

impl Name {
    fn new(path: &[u8]) -> Self {
        let mut name = [0; LONGEST];
        for (to, from) in name.iter_mut().zip(path) {
            *to = *from;
        }
        Name(name)
    }

    /// None where it was too long.
    fn as_c_str(&self) -> Option<&CStr> {
        CStr::from_bytes_until_nul(&self.0).ok()
    }
}

#[cfg(test)]
mod tests {
    use ::core::prelude::rust_2024::*;
    use ::std::vec::Vec;

    use super::*;

    #[test]
    fn first_bytes_tell_what_a_file_is() {
        let script = |interpreter: &'static [u8], carriage_return| Class::Script {
            interpreter,
            carriage_return,
        };
        for (head, class) in [
            (&b""[..], Class::Empty),
            (b"echo hello\n", Class::Unknown),
            (b"#!/bin/sh\necho\n", script(b"/bin/sh", false)),
            (b"#! /usr/bin/env python3\n", script(b"/usr/bin/env", false)),
            (b"#!/bin/sh\r\necho\r\n", script(b"/bin/sh", true)),
            (b"#!/bin/sh -e\r\n", script(b"/bin/sh", false)),
            (b"#!/bin/sh", script(b"/bin/sh", false)),
            (b"#!", script(b"", false)),
            (b"\xef\xbb\xbf#!/bin/sh\n", Class::MarkedScript),
            (b"\x7fELF", Class::Elf { machine: 0, interpreter: b"" }),
        ] {
            ::core::assert_eq!(classify(head), class);
        }
    }

    /// A header and one PT_INTERP, as linkers write them.
    fn elf(machine: u16, offset: u64, length: u64) -> Vec<u8> {
        let mut file = Vec::from([0u8; 256]);
        let mut put = |at: usize, bytes: &[u8]| {
            file.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
        };
        put(0, b"\x7fELF\x02\x01\x01");
        put(18, &machine.to_le_bytes());
        put(32, &64_u64.to_le_bytes());
        put(54, &56_u16.to_le_bytes());
        put(56, &2_u16.to_le_bytes());
        put(64 + 56, &3_u32.to_le_bytes());
        put(64 + 56 + 8, &offset.to_le_bytes());
        put(64 + 56 + 32, &length.to_le_bytes());
        put(200, b"/lib/ld.so\0");
        file
    }

    #[test]
    fn an_elf_file_names_its_machine_and_its_interpreter() {
        let file = elf(183, 200, 11);
        let class = Class::Elf { machine: 183, interpreter: b"/lib/ld.so" };
        ::core::assert_eq!(classify(&file), class);
        // What a hostile image says of places that are not there.
        for (offset, length) in [(u64::MAX, 11), (200, u64::MAX), (250, 11), (0, 0)] {
            let file = elf(62, offset, length);
            let class = Class::Elf { machine: 62, interpreter: b"" };
            ::core::assert_eq!(classify(&file), class);
        }
    }
}
