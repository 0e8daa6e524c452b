//! Hooks: which programs run at which point of a container's life (config.md, "POSIX-platform Hooks").

use std::ffi::CString;
use std::fmt;
use std::time::Duration;

use crate::diag::field::Field;

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The deprecated name of `createRuntime`; these run before those.
    Prestart,
    /// During create, in the namespaces of the runtime.
    CreateRuntime,
    /// During create, in those of the container, before the root is changed.
    CreateContainer,
    /// During start, in the container, before its program.
    StartContainer,
    /// During start, in the namespaces of the runtime, after the program was started.
    Poststart,
    /// During delete, in the namespaces of the runtime.
    Poststop,
}

impl Kind {
    /// All of them, in the order in which a container meets them.
    pub const ALL: [Kind; 6] = [
        Kind::Prestart,
        Kind::CreateRuntime,
        Kind::CreateContainer,
        Kind::StartContainer,
        Kind::Poststart,
        Kind::Poststop,
    ];

    /// The key in `hooks`.
    pub fn key(self) -> &'static str {
        match self {
            Kind::Prestart => "prestart",
            Kind::CreateRuntime => "createRuntime",
            Kind::CreateContainer => "createContainer",
            Kind::StartContainer => "startContainer",
            Kind::Poststart => "poststart",
            Kind::Poststop => "poststop",
        }
    }

    /// Whether the path of the program counts from the container's root.
    pub fn path_in_container(self) -> bool {
        self == Kind::StartContainer
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// One program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The program, absolute.
    pub path: CString,
    /// argv; the path itself where none is configured.
    pub args: Vec<CString>,
    /// The whole environment: nothing of ours, nothing of the container's (CVE-2025-23266).
    pub env: Vec<CString>,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// Where it stands in config.json.
    pub field: Field,
}

/// The hooks of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// `prestart`, deprecated.
    pub prestart: Vec<Hook>,
    /// `createRuntime`.
    pub create_runtime: Vec<Hook>,
    /// `createContainer`.
    pub create_container: Vec<Hook>,
    /// `startContainer`.
    pub start_container: Vec<Hook>,
    /// `poststart`.
    pub poststart: Vec<Hook>,
    /// `poststop`.
    pub poststop: Vec<Hook>,
}

impl Hooks {
    /// Whether start or delete have hooks to run.
    pub fn any_after_create(&self) -> bool {
        [&self.start_container, &self.poststart, &self.poststop].iter().any(|list| !list.is_empty())
    }

    /// The hooks of one kind.
    pub fn of(&self, kind: Kind) -> &[Hook] {
        match kind {
            Kind::Prestart => &self.prestart,
            Kind::CreateRuntime => &self.create_runtime,
            Kind::CreateContainer => &self.create_container,
            Kind::StartContainer => &self.start_container,
            Kind::Poststart => &self.poststart,
            Kind::Poststop => &self.poststop,
        }
    }

    /// Whether there is no hook at all.
    pub fn is_empty(&self) -> bool {
        Kind::ALL.iter().all(|kind| self.of(*kind).is_empty())
    }
}
