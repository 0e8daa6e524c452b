//! Container ids: checked here, once, before any path is made of one.

use std::ffi::CString;
use std::fmt;

use crate::error::{Error, Kind, Result};

/// The longest id: a directory name, as NAME_MAX allows.
const MAX: usize = 255;

/// A container id that is safe as a directory name: `[A-Za-z0-9_+][A-Za-z0-9_+.-]*`.
///
/// The first character keeps out `.`, `..`, hidden names and what looks like an option.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(String);

impl Id {
    /// Accepts a well-formed id.
    pub fn parse(text: &str) -> Result<Self> {
        let inner = |c: u8| c.is_ascii_alphanumeric() || b"_+.-".contains(&c);
        let first = |c: u8| inner(c) && c != b'.' && c != b'-';
        let bytes = text.as_bytes();
        let good = bytes.first().copied().is_some_and(first) && bytes.iter().copied().all(inner);
        if good && bytes.len() <= MAX {
            return Ok(Id(text.to_owned()));
        }
        let shown: String = text.chars().take(64).collect();
        let cut = if shown.len() < text.len() { "..." } else { "" };
        Err(Error::new(format!("invalid container ID format: {shown:?}{cut}"))
            .kind(Kind::Invalid)
            .hint(format!(
                "an id is letters, digits, _ and +, after the first also . and -, at most {MAX}"
            )))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as the name of its directory.
    pub(super) fn name(&self) -> CString {
        CString::new(self.0.as_str()).expect("an id holds no NUL")
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_ids() {
        for id in ["a", "0", "_x", "+x", "web-1.a+b_c", &"x".repeat(255)] {
            assert_eq!(Id::parse(id).expect(id).as_str(), id);
        }
    }

    #[test]
    fn bad_ids() {
        let long = "x".repeat(256);
        let all =
            ["", ".", "..", ".a", "-a", "a/b", "../a", "a b", "a\n", "a\x1b", "ü", "a:b", "*"];
        for id in all.into_iter().chain([long.as_str(), "a\0"]) {
            let error = Id::parse(id).expect_err(id);
            assert!(error.to_string().starts_with("invalid container ID format"), "{error}");
            assert!(error.to_string().len() < 300 && error.kind_of() == Kind::Invalid);
        }
    }
}
