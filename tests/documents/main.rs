//! What the documents say of the tree is so: links lead somewhere, files that are named exist, and the
//! tables of docs/dependencies.md and docs/kernel-features.md are whole. And deps/regex is what it says
//! that it is.

mod dependencies;
mod kernel_features;
mod links;
mod regex;

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect(path)
}

/// The cells of each row whose first cell begins with code.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
}

/// The words in backquotes.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Takes the text of every Rust file below a folder.
fn each_source(folder: &Path, take: &mut impl FnMut(&str)) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            each_source(&path, take);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            take(&fs::read_to_string(&path).expect("a source file"));
        }
    }
}
