//! docs/json.md, which is for those who read what `rt` prints: held against it by tests.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

const PAGE: &str = include_str!("../docs/json.md");

/// The members that a section of the page names.
fn named(section: &str) -> Vec<&'static str> {
    let heading = format!("## {section}\n");
    let text = PAGE.split(&heading).nth(1).expect("a section");
    let text = text.split("\n## ").next().unwrap_or_default();
    let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells
        .filter(|cell| cell.starts_with('`'))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect()
}

/// The paths of all values in it that hold no others.
fn leaves(value: &Value, path: &str, all: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let path = if path.is_empty() { key.clone() } else { format!("{path}\0{key}") };
                leaves(value, &path, all);
            }
        }
        Value::Array(elements) => {
            elements.iter().for_each(|value| leaves(value, &format!("{path}[]"), all));
        }
        _ => drop(all.insert(path.to_owned())),
    }
}

fn is(path: &str, name: &str) -> bool {
    let (parts, names) = (path.split('\0'), name.split('.'));
    parts.clone().count() == names.clone().count()
        && parts.zip(names).all(|(part, name)| name == "*" || part == name)
}

/// Fails unless these values together have all members that the section names, and no others.
pub fn check(section: &str, printed: &[&dyn Printed]) {
    let mut found = BTreeSet::new();
    printed.iter().for_each(|one| leaves(&one.json(), "", &mut found));
    let names = named(section);
    for path in &found {
        assert!(names.iter().any(|name| is(path, name)), "docs/json.md lacks {path:?}");
    }
    for name in names {
        assert!(found.iter().any(|path| is(path, name)), "nothing prints {name}");
    }
}

/// Whatever can be printed.
pub trait Printed {
    fn json(&self) -> Value;
}

impl<T: Serialize> Printed for T {
    fn json(&self) -> Value {
        serde_json::to_value(self).expect("JSON")
    }
}
