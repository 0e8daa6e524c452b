//! The one error type: what was being done, to which config field or path, the
//! kernel's errno, and what the person can do about it. Always one line.

use std::borrow::Cow;
use std::fmt;

use nix::errno::Errno;

use crate::diag::field::{CONFIG, Field, Violation};
use crate::diag::findings::Findings;

/// So many mistakes of one document are told; a hostile one has thousands.
const MOST_SHOWN: usize = 20;

/// Result with [`Error`] unless said otherwise.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller may branch on; everything else about an error is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No container has this id.
    NotFound,
    /// A container with this id is already there.
    Exists,
    /// The container is not in a status that allows the operation.
    WrongStatus,
    /// The configuration or the command line asks for something impossible.
    Invalid,
    /// A process in the making was killed.
    Killed,
    /// Anything else; the text says what.
    Failed,
}

/// An error on its way to the user.
#[derive(Debug)]
pub struct Error(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: Kind,
    what: String,
    step: Option<String>,
    field: Option<String>,
    document: Cow<'static, str>,
    errno: Option<Errno>,
    detail: Option<String>,
    hint: Option<String>,
    on_stderr: bool,
}

impl Error {
    /// An error that says `what` was being done, or what is wrong.
    pub fn new(what: impl Into<String>) -> Self {
        Error(Box::new(Parts {
            kind: Kind::Failed,
            what: what.into(),
            step: None,
            field: None,
            document: Cow::Borrowed(CONFIG),
            errno: None,
            detail: None,
            hint: None,
            on_stderr: false,
        }))
    }

    /// The configuration is not acceptable: one line that names every violation.
    pub fn invalid(violations: &[Violation]) -> Self {
        Error::invalid_in(CONFIG, violations)
    }

    /// The same for another document than config.json.
    pub fn invalid_in(document: &'static str, violations: &[Violation]) -> Self {
        let mut all: Vec<String> = Vec::new();
        for text in violations.iter().map(ToString::to_string) {
            if !all.contains(&text) {
                all.push(text);
            }
            // Compared one by one.
            if all.len() > MOST_SHOWN {
                break;
            }
        }
        all.truncate(MOST_SHOWN);
        let mut text = all.join("; ");
        if let more @ 1.. = violations.len().saturating_sub(MOST_SHOWN) {
            text += &format!("; and {more} more");
        }
        let mut error = Error::new(format!("invalid {document}: {text}"));
        error.0.kind = Kind::Invalid;
        error.0.field = violations.first().map(|v| v.field.to_string());
        error
    }

    /// Sets the kind.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Adds the kernel's answer.
    #[must_use]
    pub fn errno(mut self, errno: Errno) -> Self {
        self.0.errno = Some(errno);
        self
    }

    /// Names the config field that asked for what failed.
    #[must_use]
    pub fn field(mut self, field: &Field) -> Self {
        if !field.is_root() {
            self.0.field = Some(field.to_string());
        }
        self
    }

    /// Names the document that the field is in, where it is not config.json.
    #[must_use]
    pub fn document(mut self, document: &'static str) -> Self {
        self.0.document = Cow::Borrowed(document);
        self
    }

    /// Says that the part of config.json whose fields begin with `prefix` came from `document`.
    #[must_use]
    pub fn of_document(mut self, prefix: &str, document: &str) -> Self {
        if let Some(violations) = self.0.what.strip_prefix(&format!("invalid {CONFIG}: ")) {
            let rest = violations.strip_prefix(prefix).unwrap_or(violations);
            let rest = rest.replace(&format!("; {prefix}"), "; ");
            self.0.what = format!("invalid {document}: {rest}");
        } else {
            self.0.what = self.0.what.replace(CONFIG, document);
        }
        self.0.document = Cow::Owned(document.to_owned());
        if let Some(rest) = self.0.field.as_deref().and_then(|field| field.strip_prefix(prefix)) {
            self.0.field = Some(rest.to_owned());
        }
        self
    }

    /// Says that an option, or an argument, asked for it, and no field.
    #[must_use]
    pub fn asked_by_command_line(mut self, option: &str) -> Self {
        self.0.field = None;
        self.0.what =
            self.0.what.replace(&format!("set in {CONFIG}"), &format!("given by {option}"));
        self
    }

    /// Says that `option` has given what is wrong with a field.
    #[must_use]
    pub fn given_by_option(mut self, field: &str, option: &str) -> Self {
        let first = format!("invalid {CONFIG}: {field} ");
        self.0.what = self.0.what.replace(&first, &format!("{option} "));
        self.0.what = self.0.what.replace(&format!("{field} "), &format!("{option} "));
        if self.0.field.as_deref() == Some(field) {
            self.0.field = None;
        }
        self
    }

    /// Names the step of the pipeline that failed.
    #[must_use]
    pub fn step(mut self, step: impl Into<String>) -> Self {
        self.0.step = Some(step.into());
        self
    }

    /// Adds what the kernel or a helper program said beyond the errno.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds what the person can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds what was noticed on the way: a key that is nearly the one that is missing.
    #[must_use]
    pub fn with_notices(mut self, notices: &[String]) -> Self {
        let own = self.0.hint.take();
        let all: Vec<String> =
            own.into_iter().chain(notices.iter().take(MOST_SHOWN).cloned()).collect();
        self.0.hint = (!all.is_empty()).then(|| all.join("; "));
        self
    }

    /// The container's process has said it on its stderr.
    #[must_use]
    pub fn said_by_child(mut self) -> Self {
        self.0.on_stderr = true;
        self
    }

    /// The container's stderr may be another than ours: this is to be said there, too.
    #[must_use]
    pub fn aloud(mut self) -> Self {
        self.0.on_stderr = false;
        self
    }

    /// Puts `prefix: ` before the text, keeping everything else.
    #[must_use]
    pub fn within(mut self, prefix: impl fmt::Display) -> Self {
        self.0.what = format!("{prefix}: {}", self.0.what);
        self
    }

    /// What a caller may branch on.
    pub fn kind_of(&self) -> Kind {
        self.0.kind
    }

    /// Whether it is on our stderr already.
    pub fn is_on_stderr(&self) -> bool {
        self.0.on_stderr
    }

    /// The errno, if the kernel gave one.
    pub fn errno_of(&self) -> Option<Errno> {
        self.0.errno
    }

    /// The failed step, for the structured log.
    pub fn step_of(&self) -> Option<&str> {
        self.0.step.as_deref()
    }

    /// The config field, for the structured log.
    pub fn field_of(&self) -> Option<&str> {
        self.0.field.as_deref()
    }
}

/// The errno as engines and people know it: `no such file or directory (ENOENT)`.
pub fn errno_text(errno: Errno) -> String {
    let text = errno.desc();
    let mut chars = text.chars();
    let lower: String =
        chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default();
    format!("{lower} ({errno:?})")
}

/// A line in which no word is longer than anybody reads. Ids, paths and keys of thousands of bytes
/// come from a configuration or a command line; of them the two ends tell the most.
pub fn shortened(line: &str) -> Cow<'_, str> {
    /// Longer than what an engine makes of pods, volumes and layers.
    const LONGEST: usize = 320;
    const SHOWN: usize = 96;
    if line.split(' ').all(|word| word.len() <= LONGEST) {
        return Cow::Borrowed(line);
    }
    let words = line.split(' ').map(|word| {
        let (start, end) = (word.floor_char_boundary(SHOWN), word.len().saturating_sub(SHOWN));
        match word.len() <= LONGEST {
            true => Cow::Borrowed(word),
            false => {
                format!("{}...{}", &word[..start], &word[word.ceil_char_boundary(end)..]).into()
            }
        }
    });
    Cow::Owned(words.collect::<Vec<_>>().join(" "))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { kind, what, field, document, errno, detail, hint, .. } = &*self.0;
        let mut line = what.clone();
        if let Some(errno) = errno {
            line += &format!(": {}", errno_text(*errno));
        }
        if let Some(detail) = detail {
            line += &format!(": {}", detail.trim());
        }
        if let Some(field) = field.as_ref().filter(|_| *kind != Kind::Invalid) {
            line += &format!(" (at {field} in {document})");
        }
        if let Some(hint) = hint {
            line += &format!("; {hint}");
        }
        // A value from the configuration may hold control characters: still one line.
        for c in shortened(&line).chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Says what was being done when the kernel refused.
pub trait Doing<T> {
    /// Wraps the error; `what` is only built on failure.
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Doing<T> for Result<T, Errno> {
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|errno| Error::new(what()).errno(errno))
    }
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| match error.raw_os_error() {
            Some(raw) => Error::new(what()).errno(Errno::from_raw(raw)),
            None => Error::new(what()).detail(error.to_string()),
        })
    }
}

impl Findings {
    /// The violations as one error, or the warnings.
    pub fn into_result(self) -> Result<Vec<String>> {
        self.into_result_of(CONFIG)
    }

    /// The same for another document than config.json.
    pub fn into_result_of(self, document: &'static str) -> Result<Vec<String>> {
        if self.violations.is_empty() {
            Ok(self.notices)
        } else {
            Err(Error::invalid_in(document, &self.violations))
        }
    }
}
