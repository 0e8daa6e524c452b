//! The label that the next execve(2) gives, as AppArmor and SELinux are told and as they say it
//! back. What they are asked for and what they have understood is compared: a module that takes
//! the word and does nothing, or another profile, would leave the program without its label.

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::core::ffi::CStr;
use ::nix::errno::Errno;

use super::process::write_proc;
use super::report::{At, Failure};
use crate::script::call::Call;
use crate::sys::RawFd;
use crate::sys::fs::{self, RESOLVE_BENEATH, RESOLVE_NO_XDEV, openat2};

/// More than any label has: AppArmor's names and SELinux's contexts fit a page.
const LONGEST: usize = 4096;

/// What AppArmor wants before the name of the profile.
const EXEC: &[u8] = b"exec ";

/// Writes a file of `self/attr`, and reads it again.
pub(super) fn set(proc: RawFd, path: &CStr, value: &[u8]) -> Result<(), Failure> {
    write_proc(proc, path, value)?;
    let resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV;
    let fd = openat2(proc, path, ::libc::O_RDONLY, 0, resolve).at(Call::Verify)?;
    let mut said = [0; LONGEST];
    let length = fs::read(fd, &mut said);
    fs::close(fd);
    let said = said.get(..length.at(Call::Verify)?).unwrap_or_default();
    let is_set = match value.strip_prefix(EXEC) {
        Some(profile) => is_profile(profile, without_end(said)),
        None => is_context(value, without_end(said)),
    };
    if is_set { Ok(()) } else { Err(Failure::new(Call::Verify, Errno::EACCES)) }
}

/// AppArmor ends with a line break, SELinux with a NUL.
fn without_end(said: &[u8]) -> &[u8] {
    match said {
        [start @ .., b'\n' | b'\0'] => start,
        all => all,
    }
}

/// AppArmor's answer is the name with the mode: `profile (enforce)`.
fn is_profile(asked: &[u8], said: &[u8]) -> bool {
    // A profile of another namespace, or several at once, has more than one spelling.
    if asked.iter().any(|byte| ::core::matches!(byte, b':' | b'&')) {
        return !said.is_empty() && said != b"unconfined";
    }
    match said.strip_prefix(asked) {
        Some([]) => true,
        Some(mode) => mode.starts_with(b" (") && mode.ends_with(b")"),
        None => false,
    }
}

/// SELinux says the same context in its own spelling: categories in their order, three and more in
/// a row as a range.
fn is_context(asked: &[u8], said: &[u8]) -> bool {
    let mut asked = asked.splitn(4, |byte| *byte == b':');
    let mut said = said.splitn(4, |byte| *byte == b':');
    for _ in 0..3 {
        match (asked.next(), said.next()) {
            (Some(asked), Some(said)) if asked == said => {}
            _ => return false,
        }
    }
    match (asked.next(), said.next()) {
        (None, None) => true,
        (Some(asked), Some(said)) => asked == said || Range::is_same(asked, said),
        _ => false,
    }
}

/// Level and categories from the lowest to the highest that a context has.
#[derive(PartialEq, Eq)]
struct Range {
    low: Level,
    high: Level,
}

/// As many categories as policies have.
const CATEGORIES: usize = 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Level {
    sensitivity: usize,
    categories: [u64; CATEGORIES / 64],
}

impl Range {
    fn is_same(one: &[u8], other: &[u8]) -> bool {
        match (Range::read(one), Range::read(other)) {
            (Some(one), Some(other)) => one == other,
            _ => false,
        }
    }

    fn read(text: &[u8]) -> Option<Self> {
        let mut levels = text.splitn(2, |byte| *byte == b'-').map(Level::read);
        let low = levels.next()??;
        let high = levels.next().unwrap_or(Some(low))?;
        Some(Range { low, high })
    }
}

impl Level {
    /// `s0`, or `s0:c1,c5.c7`.
    fn read(text: &[u8]) -> Option<Self> {
        let mut parts = text.splitn(2, |byte| *byte == b':');
        let sensitivity = number(parts.next()?, b's')?;
        let mut level = Level { sensitivity, categories: [0; CATEGORIES / 64] };
        for piece in parts.next().into_iter().flat_map(|list| list.split(|byte| *byte == b',')) {
            let mut ends = piece.splitn(2, |byte| *byte == b'.').map(|end| number(end, b'c'));
            let first = ends.next()??;
            let last = ends.next().unwrap_or(Some(first))?;
            for category in first..=last {
                *level.categories.get_mut(category / 64)? |= 1 << (category % 64);
            }
        }
        Some(level)
    }
}

/// A letter with a number of at most four digits.
fn number(text: &[u8], letter: u8) -> Option<usize> {
    let digits = text.strip_prefix(&[letter])?;
    if digits.is_empty() || digits.len() > 4 {
        return None;
    }
    digits.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' => Some(number * 10 + usize::from(*digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::std::{assert, vec};

    #[test]
    fn what_a_module_says_back_is_what_it_was_asked_for() {
        for (asked, said, is) in vec![
            ("rt-test", "rt-test (enforce)\n", true),
            ("rt-test", "rt-test (complain)\n", true),
            ("with space (x)", "with space (x) (enforce)\n", true),
            ("unconfined", "unconfined\n", true),
            ("rt-test", "unconfined\n", false),
            ("rt-test", "rt-tests (enforce)\n", false),
            ("rt-test", "rt (enforce)\n", false),
            ("rt-test", "", false),
            (":ns:rt-test", ":ns://rt-test (enforce)\n", true),
            (":ns:rt-test", "unconfined\n", false),
            ("one//&two", "two//&one (enforce)\n", true),
        ] {
            let answer = without_end(said.as_bytes());
            assert!(is_profile(asked.as_bytes(), answer) == is, "{asked:?} {said:?}");
        }
        for (asked, said, is) in vec![
            ("u:r:t:s0:c1,c2", "u:r:t:s0:c1,c2\0", true),
            ("u:r:t:s0:c2,c1", "u:r:t:s0:c1,c2\0", true),
            ("u:r:t:s0:c1,c2,c3", "u:r:t:s0:c1.c3\0", true),
            ("u:r:t:s0-s0:c0.c1023", "u:r:t:s0-s0:c0.c1023", true),
            ("u:r:t:s0-s0", "u:r:t:s0\0", true),
            ("u:r:t", "u:r:t\0", true),
            ("u:r:t:s0:c1,c2", "u:r:t:s0:c1,c3\0", false),
            ("u:r:t:s0:c1,c2", "u:r:t:s0\0", false),
            ("u:r:t:s0", "u:r:t:s1\0", false),
            ("u:r:t:s0", "u:r:other:s0\0", false),
            ("u:r:t:s0", "u:r:t\0", false),
            ("u:r:t:s0:c1024,c1", "u:r:t:s0:c1,c1024\0", false),
            ("u:r:t:s0", "", false),
        ] {
            let answer = without_end(said.as_bytes());
            assert!(is_context(asked.as_bytes(), answer) == is, "{asked:?} {said:?}");
        }
    }
}
