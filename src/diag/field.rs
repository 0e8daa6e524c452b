//! Where in config.json a value stands: `mounts[3].options[2]`.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

/// The document that fields are of where no other one is named; a bundle and the state of a container
/// have it by this name.
pub const CONFIG: &str = "config.json";

/// A JSON path, grown while the configuration is walked. Hundreds are made for each one that
/// is ever printed, so that it is a chain up to the root, and no text.
#[derive(Debug, Clone)]
pub struct Field(Path);

#[derive(Debug, Clone)]
enum Path {
    /// As it is to be printed.
    Given(&'static str),
    /// Something in another field.
    In(Rc<(Field, Part)>),
}

/// A place in an object or an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'f> {
    /// The member of this name.
    Key(&'f str),
    /// The element of this number.
    Index(usize),
}

#[derive(Debug)]
enum Part {
    Key(Cow<'static, str>),
    Index(usize),
}

impl Field {
    /// The whole document.
    pub fn root() -> Self {
        Field(Path::Given(""))
    }

    /// A path given as it is to be printed.
    pub fn of(path: &'static str) -> Self {
        Field(Path::Given(path))
    }

    /// The member `key` of this object. A key that is not a plain name is quoted.
    #[must_use]
    pub fn key(&self, key: impl Into<Cow<'static, str>>) -> Self {
        self.part(Part::Key(key.into()))
    }

    /// The element `index` of this array.
    #[must_use]
    pub fn at(&self, index: usize) -> Self {
        self.part(Part::Index(index))
    }

    fn part(&self, part: Part) -> Self {
        Field(Path::In(Rc::new((self.clone(), part))))
    }

    /// The field that this one is in, and which part of it this is; none for a path that was given
    /// as text.
    pub fn parent(&self) -> Option<(&Field, Place<'_>)> {
        let Path::In(below) = &self.0 else { return None };
        let (parent, part) = &**below;
        Some((
            parent,
            match part {
                Part::Key(key) => Place::Key(key),
                Part::Index(index) => Place::Index(*index),
            },
        ))
    }

    /// Whether this is the whole document, which is not worth printing.
    pub fn is_root(&self) -> bool {
        matches!(self.0, Path::Given(""))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parent, part) = match &self.0 {
            Path::Given(text) => return f.write_str(text),
            Path::In(below) => &**below,
        };
        parent.fmt(f)?;
        match part {
            Part::Index(index) => write!(f, "[{index}]"),
            Part::Key(key) if !is_plain(key) => write!(f, "[{key:?}]"),
            Part::Key(key) if parent.is_root() => f.write_str(key),
            Part::Key(key) => write!(f, ".{key}"),
        }
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Field {}

impl Default for Field {
    fn default() -> Self {
        Field::root()
    }
}

/// How much of a value is shown at each end.
const SHOWN: usize = 48;

/// One reason why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which field.
    pub field: Field,
    /// The value as written, escaped and cut.
    pub value: Option<String>,
    /// Why it cannot be.
    pub reason: String,
}

impl Violation {
    /// Without a value: something is missing, or the whole object is at fault.
    pub fn new(field: Field, reason: impl Into<String>) -> Self {
        Violation { field, value: None, reason: reason.into() }
    }

    /// With the value as written.
    pub fn value(field: Field, value: impl fmt::Debug, reason: impl Into<String>) -> Self {
        let mut text = format!("{value:?}");
        let length = text.chars().count();
        // Of a long path the end tells more than the middle.
        if length > 2 * SHOWN {
            let (start, end) = (text.chars().take(SHOWN), text.chars().skip(length - SHOWN));
            text = start.chain("...".chars()).chain(end).collect();
        }
        Violation { field, value: Some(text), reason: reason.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} {value}: {}", self.field, self.reason),
            None => write!(f, "{}: {}", self.field, self.reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_json_paths() {
        let options = Field::root().key("mounts").at(3).key("options");
        assert_eq!(options.at(2).to_string(), "mounts[3].options[2]");
        let sysctl = Field::of("linux.sysctl").key("net.ipv4.ip_forward");
        assert_eq!(sysctl.to_string(), "linux.sysctl[\"net.ipv4.ip_forward\"]");
    }

    #[test]
    fn a_long_value_is_cut() {
        let violation = Violation::value(Field::of("hostname"), "x".repeat(500), "too long");
        assert!(violation.to_string().len() < 140);
    }
}
