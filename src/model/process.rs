//! The process of a container.

use std::ffi::{CStr, CString};

use super::creds::Creds;
use super::limits::Limits;

/// Where a program is looked for when the environment has no PATH.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A process to be started in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// argv.
    pub args: Vec<CString>,
    /// envp, in the order given; the last of two values of a name wins.
    pub env: Vec<CString>,
    /// Paths at which the program may be; the first that can be executed is taken.
    pub candidates: Vec<CString>,
    /// Working directory, absolute.
    pub cwd: CString,
    /// HOME is not in the environment, or empty there: it comes from the container's /etc/passwd.
    pub wants_home: bool,
    /// A terminal is made for it.
    pub terminal: bool,
    /// Rows and columns of the terminal.
    pub console_size: Option<(u16, u16)>,
    /// Ids and rights.
    pub creds: Creds,
    /// Limits and scheduling.
    pub limits: Limits,
    /// AppArmor profile to change to at execve(2).
    pub apparmor: Option<String>,
    /// SELinux label to change to at execve(2).
    pub selinux: Option<String>,
}

/// What is written to change the label at execve(2).
#[derive(Debug)]
pub struct Label {
    /// Below a procfs.
    pub file: &'static CStr,
    /// In one call.
    pub value: Vec<u8>,
    /// The field that asks for it.
    pub field: &'static str,
}

impl Process {
    /// What AppArmor and SELinux are told before execve(2).
    pub fn labels(&self) -> Vec<Label> {
        let mut labels = Vec::new();
        if let Some(profile) = &self.apparmor {
            let value = format!("exec {profile}").into_bytes();
            let (file, field) = (c"self/attr/apparmor/exec", "process.apparmorProfile");
            labels.push(Label { file, value, field });
        }
        if let Some(label) = &self.selinux {
            let value = label.clone().into_bytes();
            labels.push(Label { file: c"self/attr/exec", value, field: "process.selinuxLabel" });
        }
        labels
    }

    /// For a container that is only created: root without capabilities, and no program.
    pub fn absent() -> Self {
        let creds = Creds { no_new_privileges: true, ..Creds::default() };
        Process { cwd: c"/".to_owned(), creds, ..Process::default() }
    }
}
