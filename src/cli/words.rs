//! Values of options that are one of a few words.

use std::ffi::OsStr;

use super::given::{FromText, shown};
use super::syntax::Flag;

/// The words by which an option is typed; what stands behind a bar is not in the help.
macro_rules! words {
    ($Type:ident { $($word:literal $(| $other:literal)* => $meaning:ident),* }) => {
        impl $Type {
            /// In the order of the help.
            pub(super) const WORDS: &'static [&'static str] = &[$($word),*];
        }

        impl FromText for $Type {
            fn from_text(flag: &Flag, text: &OsStr) -> Result<Self, String> {
                match text.to_str() {
                    $(Some($word $(| $other)*) => Ok($Type::$meaning),)*
                    _ => Err(none_of(flag, text)),
                }
            }
        }
    };
}

fn none_of(flag: &Flag, text: &OsStr) -> String {
    let (shown, words) = (shown(flag), flag.words.join(", "));
    format!("invalid value '{}' for {shown} [possible values: {words}]", text.display())
}

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object on a line.
    Json,
}

words!(LogFormat { "text" => Text, "json" => Json });

/// What is logged at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LogLevel {
    Error,
    Warning,
    Info,
    Debug,
}

// logrus, which runc's callers have in mind, takes both words for a warning.
words!(LogLevel {
    "error" => Error,
    "warning" | "warn" => Warning,
    "info" => Info,
    "debug" => Debug
});

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

words!(CgroupManager { "cgroupfs" => Cgroupfs, "systemd" => Systemd, "disabled" => Disabled });

/// How `list` and `ps` print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ListFormat {
    /// Columns with a heading.
    #[default]
    Table,
    /// JSON on one line.
    Json,
}

words!(ListFormat { "table" => Table, "json" => Json });
