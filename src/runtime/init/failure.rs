//! What went wrong with a child, in words: it speaks in numbers.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use nix::errno::Errno;

use super::{Birth, Cradle};
use crate::diag::field::Field;
use crate::error::{Error, Kind, errno_text};
use crate::host::{self, mounts};
use crate::model::namespaces::flag;
use crate::plan::options;
use crate::script::call::Call;
use crate::script::hints::{TOO_MANY, hint};
use crate::script::op::Op;
use crate::spec::nearest::nearest;
use crate::sync::Frame;
use crate::sys::pidfd::{self, Exit};

pub(super) fn clone_error(errno: Errno, cradle: &Cradle) -> Error {
    let what = match errno {
        Errno::EBUSY if cradle.cgroup.is_some() => {
            "clone3: adding pid of the new process to cgroups of the container"
        }
        _ => "clone3 for a process of the container",
    };
    let error = Error::new(what).step("clone").errno(errno);
    match errno {
        Errno::ENOSPC => error.hint("see /proc/sys/user/max_*_namespaces"),
        Errno::EBUSY if cradle.cgroup.is_some() => {
            error.hint("the cgroup has controllers for its children, so it cannot hold processes")
        }
        Errno::EACCES if cradle.cgroup.is_some() => error.hint(
            "a user may put a process only from one cgroup of theirs into another: do this in a \
             service of the user's systemd, as with systemd-run --user --scope",
        ),
        Errno::EPERM if cradle.namespaces & flag::USER == 0 && !host::unprivileged() => error.hint(
            "rt is root without CAP_SYS_ADMIN: start it with that, or add a user namespace with id \
             mappings to config.json",
        ),
        Errno::EPERM if cradle.namespaces & flag::USER == 0 => {
            error.hint("not root: add a user namespace with id mappings to config.json")
        }
        Errno::ENOSYS => error.hint("rt needs Linux 5.14 or later"),
        Errno::EAGAIN => error.hint(TOO_MANY),
        _ => error,
    }
}

impl Birth {
    /// The child is gone without a word: the shared page still says where it was.
    pub(super) fn death(&self) -> Error {
        let index = self.step();
        let (kind, how) = match pidfd::wait(self.pidfd.as_fd(), false) {
            Ok(Some(Exit::Signal(signal))) => {
                (Kind::Killed, format!("was killed by signal {signal}"))
            }
            Ok(Some(Exit::Code(code))) => (Kind::Failed, format!("exited with code {code}")),
            _ => (Kind::Failed, "is gone".to_owned()),
        };
        let step = self.script.describe(index);
        // runc's words, for the first process.
        let who = if self.script.joins { "the process" } else { "container init" };
        Error::new(format!("{step}: {who} {how} during this step"))
            .kind(kind)
            .step(self.script.name(index))
            .field(&self.script.field(index, Call::None, usize::MAX))
    }

    /// Where in the script it is, or was in the end.
    pub(super) fn step(&self) -> usize {
        self.page.step.load(Ordering::Relaxed) as usize
    }

    /// Turns the numbers of a `Failed` frame into words.
    pub(super) fn failure(&self, frame: Frame, text: &[u8]) -> Error {
        let (index, errno) = (self.step(), Errno::from_raw(frame.errno));
        let call = Call::from_byte(frame.call).unwrap_or(Call::None);
        if let Call::Lookup | Call::Exec = call {
            let error = match call {
                Call::Lookup => self.not_found(errno),
                _ => self.not_executed(errno, frame.arg == 1).step(self.script.name(index)),
            };
            let why = String::from_utf8_lossy(text);
            return if why.is_empty() { error } else { error.detail(why) };
        }
        let what = self.script.describe_failure(index, call);
        let field = self.script.field(index, call, frame.arg as usize);
        let mut error = Error::new(what).step(self.script.name(index)).field(&field).errno(errno);
        // The kernel's messages start with a level: `e tmpfs: Bad value for 'size'`.
        let text = String::from_utf8_lossy(text);
        if let Some(said) = text.trim().get(2..).filter(|said| !said.is_empty()) {
            error = error.detail(said);
        }
        if let (
            Call::FsMount,
            Errno::EPERM,
            Some(Op::Mount { mount, .. } | Op::Procfs { mount, .. }),
        ) = (call, errno, self.script.op(index))
        {
            return error.hint(mounts::too_revealing(&mount.shown_source()));
        }
        if let Some(near) = near_option(&text) {
            return error.hint(format!("is {near} meant?"));
        }
        match self.script.op(index).and_then(|op| hint(op, call, errno)) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    fn not_executed(&self, errno: Errno, said: bool) -> Error {
        let name = self.script.argv.strings().next().unwrap_or_default();
        let mut error = Error::new(format!("exec {}", name.to_string_lossy())).errno(errno);
        if errno == Errno::EACCES && self.changes_selinux_label() {
            error = error.hint(
                "the SELinux policy may not let rt start this program with that label; with \
                 noNewPrivileges it needs nnp_transition",
            );
        }
        if said { error.said_by_child() } else { error }
    }

    fn changes_selinux_label(&self) -> bool {
        self.script.steps.iter().any(|step| match &step.op {
            Op::WriteLabel { path, .. } => path.as_c_str() == c"self/attr/exec",
            _ => false,
        })
    }

    /// In the words that engines look for.
    fn not_found(&self, errno: Errno) -> Error {
        let name = self.script.argv.strings().next().unwrap_or_default().to_string_lossy();
        let why = match errno {
            Errno::ENOENT if !name.contains('/') => "executable file not found in $PATH".to_owned(),
            Errno::EISDIR => format!("is a directory: {}", errno_text(Errno::EACCES)),
            errno => errno_text(errno),
        };
        Error::new(format!("exec: {name:?}: {why}"))
            .step("find-program")
            .field(&Field::of("process.args"))
    }
}

/// The mount option that is nearest to the one that the kernel does not know.
fn near_option(said: &str) -> Option<String> {
    let unknown = said.split("Unknown parameter '").nth(1)?.split('\'').next()?;
    let words = options::words();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    nearest(unknown, &words).map(str::to_owned)
}
