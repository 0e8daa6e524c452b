//! The rooms of src/ use each other as docs/architecture.md says: one way, and nothing else. No file
//! grows beyond what one reads at a sitting.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The most lines of a file.
const LONGEST: usize = 450;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    let (dirs, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let below = dirs.iter().flat_map(|dir| sources(dir));
    files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .chain(below)
        .collect()
}

/// The room of a file of src/, none for lib.rs and main.rs, which put the rooms together.
fn room(path: &Path) -> Option<String> {
    let below = path.strip_prefix(root().join("src")).expect("below src");
    let first = below.iter().next()?.to_str()?.trim_end_matches(".rs").to_owned();
    (!["lib", "main"].contains(&&*first)).then_some(first)
}

fn is_test(path: &Path) -> bool {
    path.iter().any(|part| ["tests", "tests.rs", "testdata"].iter().any(|name| part == *name))
}

/// The code of a file without comments and without the tests in it.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source");
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The names that follow `crate::`, also those of `crate::{a, b::c}`.
fn used(code: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => {
                names.insert(word(rest));
            }
            Some(list) => {
                let mut depth = 0;
                let mut item = String::new();
                for c in list.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => {
                            names.insert(word(item.trim()));
                            item.clear();
                            continue;
                        }
                        _ => {}
                    }
                    item.push(c);
                }
                names.insert(word(item.trim()));
            }
        }
    }
    names.remove("");
    names
}

fn real() -> BTreeMap<String, BTreeSet<String>> {
    let mut rooms: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in sources(&root().join("src")).into_iter().filter(|path| !is_test(path)) {
        let Some(room) = room(&path) else { continue };
        let names = used(&code(&path)).into_iter().filter(|name| *name != room);
        rooms.entry(room.clone()).or_default().extend(names);
    }
    rooms
}

/// The table of docs/architecture.md, in its order.
fn documented() -> Vec<(String, BTreeSet<String>)> {
    let text = fs::read_to_string(root().join("docs/architecture.md")).expect("the document");
    let words = |cell: &str| -> BTreeSet<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let section =
        text.split("\n## ").find(|part| part.starts_with("The rooms")).expect("the rooms");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split(" | ");
        let name = words(cells.next().unwrap_or_default()).into_iter().next().expect("a name");
        (name, words(cells.next().unwrap_or_default()))
    })
    .collect()
}

#[test]
fn rooms_use_each_other_as_the_picture_says() {
    let documented: BTreeMap<_, _> = documented().into_iter().collect();
    for (room, uses) in real() {
        let said = documented.get(&room).unwrap_or_else(|| panic!("{room} is not in the picture"));
        assert_eq!(
            &uses, said,
            "left: what src/{room} uses; right: what docs/architecture.md says"
        );
    }
    assert_eq!(documented.len(), real().len(), "docs/architecture.md has a room that is gone");
}

#[test]
fn no_arrow_goes_up() {
    let mut below = BTreeSet::new();
    for (room, uses) in documented() {
        let up: Vec<_> = uses.difference(&below).collect();
        assert!(up.is_empty(), "{room} uses {up:?}, which stand below it in the picture");
        below.insert(room);
    }
}

#[test]
fn no_file_is_too_long() {
    for path in sources(&root().join("src")) {
        let lines = fs::read_to_string(&path).expect("a source").lines().count();
        assert!(lines <= LONGEST, "{} has {lines} lines", path.display());
    }
}

#[test]
fn uses_are_found() {
    let names = used("use crate::{a, b::{c, d}, e::f};\nlet x = crate::g::h();\nuse crate::i;");
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert_eq!(names, ["a", "b", "e", "g", "i"]);
}
