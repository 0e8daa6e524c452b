//! Each dependency of Cargo.toml has one row in docs/dependencies.md.

use std::collections::BTreeSet;

use super::{code, read, rows};

/// Crate, what for, where, why this one, what it adds, unsafe code and build scripts, what would replace it.
const CELLS: usize = 7;

#[test]
fn every_dependency_has_a_row_and_no_row_is_stale() {
    let listed: BTreeSet<String> = dependencies(&read("Cargo.toml"));
    assert!(
        listed.contains("libc") && listed.contains("libtest-mimic") && listed.contains("regex")
    );
    let text = read("docs/dependencies.md");
    let mut described = BTreeSet::new();
    let mut wrong = Vec::new();
    for row in rows(&text) {
        let name = code(row[0]).next().unwrap_or_default().to_owned();
        if row.len() != CELLS || row.iter().any(|cell| cell.is_empty()) {
            wrong.push(format!("{name}: {} cells, or an empty one", row.len()));
        }
        if !listed.contains(&name) {
            wrong.push(format!("{name}: not in Cargo.toml"));
        }
        if !described.insert(name.clone()) {
            wrong.push(format!("{name}: a second row"));
        }
    }
    wrong.extend(listed.difference(&described).map(|name| format!("{name}: no row")));
    assert!(wrong.is_empty(), "docs/dependencies.md:\n{}", wrong.join("\n"));
}

/// The names in every table of dependencies, for whatever target, and of what is patched.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            inside = table.ends_with("dependencies") || table.starts_with("patch.");
            // `[dependencies.name]`
            if let Some((_, name)) = table.split_once("dependencies.") {
                names.insert(name.to_owned());
            }
        } else if inside && let Some((name, _)) = line.split_once('=') {
            let name = name.trim();
            if !name.starts_with('#') {
                names.insert(name.split('.').next().unwrap_or(name).to_owned());
            }
        }
    }
    names
}

#[test]
fn all_ways_to_name_a_dependency_are_known() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\n# a = 1\na = \"1\"\nb.workspace = true\n\
        [target.'cfg(unix)'.dev-dependencies]\nc = { version = \"1\" }\n[build-dependencies.d]\nversion = \"1\"\n\
        [patch.crates-io]\ne = { path = \"e\" }\n[profile.release]\nlto = \"fat\"\n";
    let names: Vec<_> = dependencies(manifest).into_iter().collect();
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
}
