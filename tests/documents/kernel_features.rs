//! docs/kernel-features.md: files that it names exist and have what it says of them, and no newer
//! system call is used that has no row.

use std::collections::BTreeSet;
use std::fs;

use syscalls::Sysno;

use super::{code, each_source, read, root, rows};

/// From here on (pidfd_send_signal(2), Linux 5.1) a new call has one number everywhere.
const FIRST_COMMON: i32 = 424;

const DOCUMENT: &str = "docs/kernel-features.md";

#[test]
fn rows_name_files_that_have_what_they_are_about() {
    let mut wrong = Vec::new();
    let document = read(DOCUMENT);
    for row in rows(&document) {
        assert_eq!(row.len(), 4, "not four cells: {row:?}");
        let (facility, mut text) = (row[0], String::new());
        for file in code(row[2]).filter(|word| word.starts_with("src/")) {
            match fs::read_to_string(root().join(file)) {
                Ok(found) => text.push_str(&found.to_lowercase()),
                Err(_) => wrong.push(format!("{facility}: there is no {file}")),
            }
        }
        for word in code(facility).filter(|word| !text.contains(&word.to_lowercase())) {
            wrong.push(format!("{facility}: {word} is in none of its files"));
        }
    }
    assert!(wrong.is_empty(), "{DOCUMENT}:\n{}", wrong.join("\n"));
}

#[test]
fn newer_system_calls_have_a_row() {
    let document = read(DOCUMENT);
    let listed: BTreeSet<&str> = rows(&document).flat_map(|row| code(row[0])).collect();
    let used = calls();
    assert!(used.contains("openat2") && used.contains("statmount"), "{used:?}");
    let newer = |name: &&String| match name.parse::<Sysno>() {
        Ok(call) => call.id() >= FIRST_COMMON,
        // Newer than the crate that lists them.
        Err(_) => true,
    };
    let missing: Vec<_> = used
        .iter()
        .filter(newer)
        .filter(|name| !listed.iter().any(|word| word.contains(name.as_str())))
        .collect();
    assert!(missing.is_empty(), "no row in {DOCUMENT} for: {missing:?}");
}

/// The names after `SYS_` in `src/sys`, which is the only place that makes system calls.
fn calls() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    each_source(&root().join("src/sys"), &mut |text| {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        for word in text.split(|c| !is_name(c)) {
            names.extend(word.strip_prefix("SYS_").map(str::to_lowercase));
        }
    });
    names
}
