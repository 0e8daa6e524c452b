//! docs/spec.md has one row for each field of the runtime specification, and each row
//! names tests that exist; docs/security.md names tests that exist for every rule.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use serde::Deserialize;

mod fields;

/// Platforms that a Linux runtime has nothing to do with; one row each.
const FOREIGN: &[&str] = &["solaris", "windows", "vm", "zos"];

/// How many rules docs/security.md has.
const RULES: usize = 22;

fn table() -> String {
    document("docs/spec.md")
}

fn document(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

/// The cells of each row whose first cell is code.
fn rows(text: &str) -> Vec<Vec<String>> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let cells =
        |line: &str| line.trim_matches('|').split(" | ").map(|c| c.trim().to_owned()).collect();
    rows.map(cells).collect()
}

/// The words in backquotes of a cell.
fn code(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn spec_fields() -> BTreeSet<String> {
    let seen = fields::Seen::default();
    Spec::deserialize(fields::Walk::new(&seen)).expect("a walk over all fields");
    let all = seen.into_inner();
    let foreign = |path: &String| FOREIGN.iter().any(|f| path.starts_with(&format!("{f}.")));
    all.into_iter().filter(|path| !foreign(path)).collect()
}

#[test]
fn every_field_has_a_row() {
    let text = table();
    let rows = rows(&text);
    let listed: BTreeSet<String> =
        rows.iter().flat_map(|row| code(&row[0]).into_iter().map(str::to_owned)).collect();
    let missing: Vec<String> = spec_fields().difference(&listed).cloned().collect();
    assert!(missing.is_empty(), "no row in docs/spec.md for:\n{}", missing.join("\n"));
}

#[test]
fn every_mount_option_has_a_row() {
    let text = table();
    let rows = rows(&text);
    let listed: BTreeSet<&str> = rows.iter().flat_map(|row| code(&row[0])).collect();
    let words = rt::plan::options::words();
    let missing: Vec<_> = words.iter().filter(|word| !listed.contains(word.as_str())).collect();
    assert!(missing.is_empty(), "no row in docs/spec.md for: {missing:?}");
}

#[test]
fn every_row_names_tests_that_exist() {
    let text = table();
    let known = test_names();
    let mut wrong = Vec::new();
    for row in rows(&text) {
        let names = row.last().map(|cell| code(cell)).unwrap_or_default();
        if row.len() != 4 || names.is_empty() {
            wrong.push(format!("{}: {} cells, no test", row[0], row.len()));
        }
        for name in names.iter().filter(|name| !known.contains(**name)) {
            wrong.push(format!("{}: no test {name}", row[0]));
        }
    }
    assert!(wrong.is_empty(), "docs/spec.md:\n{}", wrong.join("\n"));
}

#[test]
fn security_names_tests_that_exist() {
    let text = document("docs/security.md");
    let known = test_names();
    let named = || text.lines().flat_map(code).filter(|word| word.contains("::"));
    let mut wrong: Vec<String> = named()
        .filter(|word| !known.contains(*word))
        .map(|word| format!("no test {word}"))
        .collect();
    let rows = rows(&text);
    for row in &rows {
        if row.len() < 3 || row.last().is_none_or(String::is_empty) {
            wrong.push(format!("{}: neither a test nor a reason", row[0]));
        }
    }
    for rule in (1..=RULES).map(|number| format!("`R{number}`")) {
        let of_rule = rows.iter().find(|row| row[0] == rule).and_then(|row| row.last());
        if !of_rule.is_some_and(|cell| code(cell).iter().any(|word| word.contains("::"))) {
            wrong.push(format!("{rule}: no test"));
        }
    }
    assert!(wrong.is_empty(), "docs/security.md:\n{}", wrong.join("\n"));
}

/// `module::function` of every test in the tree, by the names of the files.
fn test_names() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests/blackbox"] {
        collect(&root.join(folder), &mut files);
    }
    let mut names = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file");
        let module = module_of(&file);
        names.extend(tests_in(&text).map(|name| format!("{module}::{name}")));
    }
    names
}

/// The functions below `#[test]`, and what a `tests! { ... }` lists.
fn tests_in(text: &str) -> impl Iterator<Item = &str> {
    let marked = text.lines().zip(text.lines().skip(1)).filter_map(|(above, line)| {
        line.trim().strip_prefix("fn ").filter(|_| above.trim() == "#[test]")
    });
    let listed = text.lines().skip_while(|line| *line != "tests! {").skip(1);
    let listed = listed.take_while(|line| *line != "}").map(str::trim);
    marked.chain(listed).filter_map(|line| line.split(['(', ':', ',']).next())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// `mounts` for tests/blackbox/mounts.rs, `plan::mounts` for src/plan/mounts.rs.
fn module_of(file: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let below = ["src", "tests/blackbox"].iter().find_map(|f| file.strip_prefix(root.join(f)).ok());
    let path = below.expect("in one of the folders").with_extension("");
    let parts = path.iter().map(|part| part.to_string_lossy().into_owned());
    let parts: Vec<String> = parts.filter(|part| part != "mod").collect();
    parts.join("::")
}
