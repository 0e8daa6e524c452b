//! Which word was meant.

#![forbid(unsafe_code)]

/// A known word that differs from `word` in case, or in two characters of at least six.
pub fn nearest(word: &str, known: &'static [&'static str]) -> Option<&'static str> {
    if let Some(same) = known.iter().find(|candidate| candidate.eq_ignore_ascii_case(word)) {
        return Some(same);
    }
    let near = known.iter().filter(|candidate| {
        let (short, long) = (word.len().min(candidate.len()), word.len().max(candidate.len()));
        short >= 6 && long - short <= 2 && long <= 64
    });
    let measured =
        near.map(|candidate| (distance(word.as_bytes(), candidate.as_bytes()), candidate));
    measured.filter(|(distance, _)| *distance <= 2).min().map(|(_, candidate)| *candidate)
}

/// How many bytes must be added, removed or replaced to get from `a` to `b`.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, byte) in a.iter().enumerate() {
        let mut left = line + 1;
        let mut corner = line;
        for (above, other) in row.iter_mut().skip(1).zip(b) {
            let replaced = corner + usize::from(byte != other);
            corner = *above;
            left = replaced.min(corner + 1).min(left + 1);
            *above = left;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words() {
        const KNOWN: &[&str] = &["process", "noNewPrivileges", "linux", "cpu", "seccomp"];
        for (word, meant) in [
            ("Process", Some("process")),
            ("noNewPriviledges", Some("noNewPrivileges")),
            ("nonewprivileges", Some("noNewPrivileges")),
            ("noNewPrivilege", Some("noNewPrivileges")),
            ("seccopm", Some("seccomp")),
            ("LINUX", Some("linux")),
            ("linus", None),
            ("cpus", None),
            ("org.example", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, KNOWN), meant, "{word}");
        }
    }

    #[test]
    fn distances() {
        for (a, b, steps) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("abc", "abc", 0),
            ("abc", "acb", 2),
        ] {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), steps, "{a} {b}");
        }
    }
}
