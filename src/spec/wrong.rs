//! What is wrong with a value, in words for those who have written it and know nothing of Rust.

#![forbid(unsafe_code)]

use std::fmt;

use serde::de::{Expected, Unexpected};

use super::lenient::spelled;
use super::nearest;
use super::tree::{At, Json};
use crate::diag::field::{Field, Violation};
use crate::spec::bytes::Bytes;

/// What is wrong. Boxed, and made out of line: some sixty readers of structures are generated,
/// and each has a dozen places at which it can fail.
#[derive(Debug)]
pub(super) struct Wrong(Box<What>);

#[derive(Debug)]
enum What {
    /// Where, is added by the innermost value around it.
    Because(String),
    /// A required member that is not there.
    Missing(&'static str),
    At(Violation),
}

impl Wrong {
    #[cold]
    pub(super) fn because(reason: impl Into<String>) -> Self {
        Wrong(Box::new(What::Because(reason.into())))
    }

    #[cold]
    pub(super) fn at(violation: Violation) -> Self {
        Wrong(Box::new(What::At(violation)))
    }

    /// The same as said of this value.
    #[cold]
    #[inline(never)]
    pub(super) fn of(self, at: &At<'_>, json: &Json<'_>) -> Self {
        match *self.0 {
            What::At(_) => self,
            What::Missing(key) => Wrong::at(Violation::new(at.field().key(key), MISSING)),
            What::Because(mut reason) => {
                // Quoted, or with the unit that an option of the command line takes.
                if let Json::String(text) = json
                    && reason.starts_with("must be an integer")
                    && let Ok(Bytes(number)) = text.parse()
                {
                    reason = format!("must be a number, not a string: {number}");
                }
                if reason.starts_with("must be an integer from ")
                    && let Some(bounds) = bounds(at)
                {
                    let found = reason.find(", not").map_or("", |at| &reason[at..]);
                    reason = format!("must be an integer from {bounds}{found}");
                }
                let found = format_args!("{}", json);
                Wrong::at(Violation::value(at.field(), found, reason))
            }
        }
    }

    pub(super) fn into_violation(self) -> Violation {
        match *self.0 {
            What::At(violation) => violation,
            What::Missing(key) => Violation::new(Field::of(key), MISSING),
            What::Because(reason) => Violation::new(Field::root(), reason),
        }
    }
}

/// Bounds that are narrower than those of the type which the value is read into.
fn bounds(at: &At<'_>) -> Option<&'static str> {
    let At::Key(parent, key) = at else { return None };
    Some(match (parent, *key) {
        (_, "umask") => "0 to 511 (octal 0777)",
        (_, "fileMode") => "0 to 4095 (octal 07777)",
        (_, "oomScoreAdj") => "-1000 to 1000",
        (_, "nice") => "-20 to 19",
        (At::Key(_, "consoleSize"), "height" | "width") => "0 to 65535",
        (At::Key(_, "ioPriority"), "priority") => "0 to 7",
        (At::Key(_, "scheduler"), "priority") => "1 to 99",
        (_, "uid" | "gid") => "0 to 4294967294",
        _ => return None,
    })
}

const MISSING: &str = "is required and missing";

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            What::At(violation) => write!(f, "{violation}"),
            What::Missing(key) => write!(f, "{key} {MISSING}"),
            What::Because(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Wrong {}

impl serde::de::Error for Wrong {
    #[cold]
    fn custom<T: fmt::Display>(text: T) -> Self {
        Wrong::because(text.to_string())
    }

    #[cold]
    #[inline(never)]
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "this number",
            Unexpected::Str(_) => "a string",
            Unexpected::Unit | Unexpected::Option => "null",
            Unexpected::Seq => "an array",
            Unexpected::Map => "an object",
            _ => "this",
        };
        let wanted = plain(expected);
        // What is no number at all is not out of a range.
        let wanted = match wanted.strip_prefix("an integer") {
            Some(_) if found != "this number" => "an integer",
            _ => &wanted,
        };
        Wrong::because(format!("must be {wanted}, not {found}"))
    }

    #[cold]
    #[inline(never)]
    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Wrong::because(format!("must be {}", plain(expected)))
    }

    #[cold]
    #[inline(never)]
    fn missing_field(key: &'static str) -> Self {
        Wrong(Box::new(What::Missing(key)))
    }

    #[cold]
    #[inline(never)]
    fn unknown_variant(word: &str, variants: &'static [&'static str]) -> Self {
        let (list, more) = variants.split_at_checked(8).unwrap_or((variants, &[]));
        let list: Vec<&str> = list.iter().map(|word| spelled(word)).collect();
        let list = list.join(", ") + if more.is_empty() { "" } else { ", ..." };
        Wrong::because(match nearest::nearest(word, variants).map(spelled) {
            Some(near) => format!("is unknown; is {near} meant?"),
            None => format!("is unknown; it can be one of {list}"),
        })
    }
}

/// serde's words for what it wants, for those who do not write Rust.
fn plain(expected: &dyn Expected) -> String {
    match expected.to_string().as_str() {
        "u16" => format!("an integer from 0 to {}", u16::MAX),
        "u32" => format!("an integer from 0 to {}", u32::MAX),
        "u64" | "usize" => format!("an integer from 0 to {}", u64::MAX),
        "i32" => format!("an integer from {} to {}", i32::MIN, i32::MAX),
        "i64" => format!("an integer from {} to {}", i64::MIN, i64::MAX),
        "path string" => "a string".to_owned(),
        "a sequence" => "an array".to_owned(),
        "a map" => "an object".to_owned(),
        other => other.to_owned(),
    }
}

pub(super) fn kind<'j>(json: &'j Json<'_>) -> Unexpected<'j> {
    match json {
        Json::Null => Unexpected::Unit,
        Json::Bool(value) => Unexpected::Bool(*value),
        Json::Unsigned(value) => Unexpected::Unsigned(*value),
        Json::Negative(value) => Unexpected::Signed(*value),
        Json::Float(value) => Unexpected::Float(*value),
        Json::String(text) => Unexpected::Str(text),
        Json::Array(_) => Unexpected::Seq,
        Json::Object(_) => Unexpected::Map,
    }
}
