//! Values of options that are one of a few words.

use std::ffi::OsStr;
use std::str::FromStr;

use super::flags::boolean;
use super::given::{FromText, word};
use super::syntax::Flag;

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object on a line.
    Json,
}

impl LogFormat {
    pub(super) const WORDS: &'static [&'static str] = &["text", "json"];
}

impl FromText for LogFormat {
    fn from_text(flag: &Flag, text: &OsStr) -> Result<Self, String> {
        word(flag, text, &[Self::Text, Self::Json])
    }
}

/// What is logged at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LogLevel {
    Error,
    Warning,
    Info,
    Debug,
}

impl LogLevel {
    pub(super) const WORDS: &'static [&'static str] = &["error", "warning", "info", "debug"];
}

impl FromText for LogLevel {
    fn from_text(flag: &Flag, text: &OsStr) -> Result<Self, String> {
        // Another name of it, which the help does not tell.
        let text = if text == "warn" { OsStr::new("warning") } else { text };
        word(flag, text, &[Self::Error, Self::Warning, Self::Info, Self::Debug])
    }
}

/// Who manages cgroups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupManager {
    /// `rt` itself, by files.
    #[default]
    Cgroupfs,
    /// A transient scope of systemd.
    Systemd,
    /// Nobody: the container stays in the cgroup of the caller.
    Disabled,
}

impl CgroupManager {
    pub(super) const WORDS: &'static [&'static str] = &["cgroupfs", "systemd", "disabled"];
}

impl FromText for CgroupManager {
    fn from_text(flag: &Flag, text: &OsStr) -> Result<Self, String> {
        word(flag, text, &[Self::Cgroupfs, Self::Systemd, Self::Disabled])
    }
}

/// How `list` and `ps` print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ListFormat {
    /// Columns with a heading.
    #[default]
    Table,
    /// JSON on one line.
    Json,
}

impl ListFormat {
    pub(super) const WORDS: &'static [&'static str] = &["table", "json"];
}

impl FromText for ListFormat {
    fn from_text(flag: &Flag, text: &OsStr) -> Result<Self, String> {
        word(flag, text, &[Self::Table, Self::Json])
    }
}

/// Whether the lack of privileges over cgroups is forgiven.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rootless {
    /// When `rt` does not run as root of the initial user namespace.
    #[default]
    Auto,
    /// Always.
    True,
    /// Never.
    False,
}

impl FromStr for Rootless {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match boolean(text) {
            Some(true) => Ok(Rootless::True),
            Some(false) => Ok(Rootless::False),
            None if text == "auto" => Ok(Rootless::Auto),
            None => Err("expected true, false or auto".to_owned()),
        }
    }
}
