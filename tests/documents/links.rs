//! Links within the repository lead to files and headings that are there, and files that are named in
//! code exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{code, root};

/// Folders whose files are named in documents.
const FOLDERS: &[&str] = &["src/", "tests/", "docs/", "benches/", "examples/", "deps/", "link/"];

/// One names what is there no more, the other the files of runc.
const OF_OTHERS: &[&str] = &["CHANGELOG.md", "docs/runc-suite.md"];

/// Below these are no documents of ours.
const SKIPPED: &[&str] = &["target", ".git", "rootfs"];

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).expect("a document");
        let shown = document.strip_prefix(root()).expect("below the root").display();
        for link in
            links(&text).filter(|link| !link.contains("://") && !link.starts_with("mailto:"))
        {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.parent().expect("a folder").join(path),
            };
            if !target.exists() {
                wrong.push(format!("{shown}: {link}"));
            } else if !heading.is_empty() && !headings(&target).contains(heading) {
                wrong.push(format!("{shown}: {link}: no such heading"));
            }
        }
    }
    assert!(wrong.is_empty(), "links that lead nowhere:\n{}", wrong.join("\n"));
}

#[test]
fn files_that_are_named_exist() {
    let mut wrong = Vec::new();
    for document in documents() {
        if OF_OTHERS.iter().any(|name| document.ends_with(name)) {
            continue;
        }
        let text = fs::read_to_string(&document).expect("a document");
        let shown = document.strip_prefix(root()).expect("below the root").display();
        for word in text.lines().flat_map(code) {
            let Some(first) = word.split(' ').next().filter(|word| is_path(word)) else { continue };
            let path = first.trim_end_matches(['/', ':']);
            if !root().join(path).exists() {
                wrong.push(format!("{shown}: {path}"));
            }
        }
    }
    assert!(wrong.is_empty(), "named, and not there:\n{}", wrong.join("\n"));
}

/// A path from the root of the repository, without any pattern in it.
fn is_path(word: &str) -> bool {
    FOLDERS.iter().any(|folder| word.starts_with(folder))
        && !word.contains(['*', '<', '{', '[', '$'])
}

/// The targets of `[text](target)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// The names by which headings can be linked to: lower case, blanks as dashes, no punctuation.
fn headings(document: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(document).unwrap_or_default();
    let titles = text.lines().filter(|line| line.starts_with('#'));
    let name = |title: &str| {
        let title = title.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        title.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
    };
    titles.map(name).collect()
}

fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&root(), &mut found);
    assert!(found.len() > 10, "{found:?}");
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if !SKIPPED.iter().any(|skipped| name == *skipped) {
                collect(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}
