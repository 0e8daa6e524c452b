//! How a failure of the child reaches the user: as numbers, which the parent turns into
//! words.

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::nix::errno::Errno;

use super::{Place, Script, diagnose};
use crate::sync::{self, Frame, Kind, MAX_TEXT};
use crate::sys::{RawFd, clone, fs, io};

/// Numbers that go through the socket, and the words for them.
macro_rules! calls {
    ($($name:ident => $words:literal,)*) => {
        /// Which call of a step failed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum Call {
            $($name,)*
        }

        impl Call {
            const ALL: &[Call] = &[$(Call::$name,)*];

            /// Words for the error message; empty where the name of the step says it all.
            pub fn describe(self) -> &'static str {
                match self {
                    $(Call::$name => $words,)*
                }
            }
        }
    };
}

calls! {
    None => "",
    Chdir => "chdir",
    Chown => "chown",
    Clone => "clone3",
    CopyUp => "copy what the tmpfs covers",
    Exec => "execve",
    FsConfig => "fsconfig",
    FsConfigCreate => "fsconfig: create the file system",
    FsMount => "fsmount",
    FsOpen => "fsopen: open the file system type",
    FsPick => "fspick: nothing is mounted there",
    FsReconfigure => "fsconfig: change the file system",
    Gate => "wait for start",
    HostDiffers => "the host has another device there, and only root of the machine can make one",
    Keyctl => "keyctl",
    Label => "set the SELinux label",
    Listener => "nobody took the seccomp listener",
    Lookup => "look up the program",
    MakeDirectory => "make the directory in the container's root",
    MakeFile => "make the file in the container's root",
    MakeLink => "make the link",
    MakeNode => "mknod",
    Mount => "mount",
    MountSetattr => "mount_setattr",
    MoveMount => "move_mount",
    NodeDiffers => "something else is already there",
    NotDevpts => "/dev/pts/ptmx in the container is not that of a devpts",
    NotNull => "/dev/null of the host is not the null device",
    NotOnProc => "the target lies on a procfs",
    NotProc => "only a procfs may be bound to /proc",
    OpenSource => "open the source",
    OpenTarget => "open the target in the container's root",
    Outside => "the directory is outside the container's root",
    Procfs => "make a proc file system of the joined pid namespace",
    Receive => "hear from the runtime",
    Send => "tell the runtime",
    Terminal => "make it the controlling terminal",
    Verify => "the kernel says otherwise than it was set",
    Setns => "setns",
    Umount => "umount the old root",
    UmountHost => "umount the host's proc or sysfs",
    Write => "write",
    WrongKind => "one of source and target is a directory, the other is not",
}

impl Call {
    /// The inverse of `as u8`, for the parent.
    pub fn from_byte(byte: u8) -> Self {
        match Call::ALL.get(byte as usize) {
            Some(call) => *call,
            None => Call::None,
        }
    }
}

/// Why a step failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// What the kernel said.
    pub errno: Errno,
    /// To which call.
    pub call: Call,
    /// About which part of the step: the index of a mount parameter.
    pub part: u16,
}

impl Failure {
    /// A failure of our own judgement.
    pub(super) fn new(call: Call, errno: Errno) -> Self {
        Failure { errno, call, part: 0 }
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Failure::new(Call::None, errno)
    }
}

/// Names the call that failed.
pub(super) trait At<T> {
    fn at(self, call: Call) -> Result<T, Failure>;
    fn at_part(self, call: Call, part: usize) -> Result<T, Failure>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, call: Call) -> Result<T, Failure> {
        self.at_part(call, 0)
    }

    fn at_part(self, call: Call, part: usize) -> Result<T, Failure> {
        match self {
            Ok(value) => Ok(value),
            Err(errno) => Err(Failure { errno, call, part: part as u16 }),
        }
    }
}

/// What the kernel wrote into a mount context: `e tmpfs: Bad value for 'size'`.
pub(super) struct Detail {
    text: [u8; MAX_TEXT],
    length: usize,
}

impl Detail {
    pub(super) fn new() -> Self {
        Detail { text: [0; MAX_TEXT], length: 0 }
    }

    /// Reads the last message of a file system context (fsopen(2)).
    pub(super) fn read_context(&mut self, context: RawFd) {
        while let Ok(length) = fs::read(context, &mut self.text) {
            self.length = length;
        }
    }

    /// Puts a name in front of the path that was at fault; what of it has no room is cut.
    pub(super) fn prepend(&mut self, name: &[u8]) {
        /// As the kernel's own messages begin.
        const LEVEL: &[u8] = b"e ";
        let mut text = [0; MAX_TEXT];
        let rest = self.as_slice().get(LEVEL.len()..).unwrap_or_default();
        let slash: &[u8] = if rest.is_empty() { b"" } else { b"/" };
        let pieces = [LEVEL, name, slash, rest];
        let bytes = pieces.into_iter().flatten();
        self.length = text.iter_mut().zip(bytes).map(|(to, from)| *to = *from).count();
        self.text = text;
    }

    /// Adds bytes, as far as there is room.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for (slot, byte) in self.text.iter_mut().skip(self.length).zip(bytes) {
            *slot = *byte;
            self.length += 1;
        }
    }

    /// Adds a path of the container: printable, and cut at `most` bytes.
    pub(super) fn push_path(&mut self, path: &[u8], most: usize) {
        for byte in path.iter().take(most) {
            self.push(&[if byte.is_ascii_control() { b'?' } else { *byte }]);
        }
        if path.len() > most {
            self.push(b"...");
        }
    }

    /// Adds a number; to the base of 8 with a leading 0, as modes are written.
    pub(super) fn push_number(&mut self, number: u32, base: u32) {
        let mut digits = [b'0'; 12];
        let (mut rest, mut used) = (number, usize::from(base == 8));
        for slot in digits.iter_mut().rev() {
            *slot = b'0' + (rest % base) as u8;
            rest /= base;
            used += 1;
            if rest == 0 {
                break;
            }
        }
        let start = digits.len().saturating_sub(used);
        self.push(digits.get(start..).unwrap_or_default());
    }

    fn as_slice(&self) -> &[u8] {
        match self.text.get(..self.length) {
            Some(text) => text,
            None => &[],
        }
    }
}

impl Place {
    /// Reports the failure of a step and exits. The parent does the talking as long as it
    /// is there; that the program cannot be executed belongs on the container's own stderr
    /// as well, which is where a container's log shows it.
    pub(super) fn fail(&mut self, failure: Failure, script: &Script) -> ! {
        let mut part = failure.part.into();
        diagnose::program(self, failure, script);
        if failure.call == Call::Exec {
            let program = script.candidates.get(self.program);
            let program = program.map(|path| path.to_bytes()).unwrap_or_default();
            part = say(&[b"exec ", program], failure.errno, self.detail.as_slice()).into();
        } else if self.alone {
            say(&[b"rt: ", failure.call.describe().as_bytes()], failure.errno, &[]);
        }
        if !self.alone {
            let frame = Frame {
                kind: Kind::Failed,
                call: failure.call as u8,
                errno: failure.errno as i32,
                arg: part,
            };
            // If this fails, the parent is gone and has nobody to tell either.
            let _ = sync::send(self.link, frame, self.detail.as_slice(), None);
        }
        if self.gate >= 0 {
            // Who has opened the gate may be waiting for the program.
            let _ = fs::write(self.gate, b"1");
        }
        clone::exit(255)
    }
}

/// Writes `exec /program: exec format error: it is empty` on fd 2, in one call; whether it is there.
fn say(what: &[&[u8]], errno: Errno, detail: &[u8]) -> bool {
    let mut line = [0u8; 1024];
    let lower = errno.desc().bytes().take(1).map(|byte| byte.to_ascii_lowercase());
    let rest = errno.desc().bytes().skip(1);
    let what = what.iter().flat_map(|piece| piece.iter().copied());
    let colon: &[u8] = if detail.is_empty() { b"" } else { b": " };
    let detail = [colon, detail].into_iter().flatten().copied();
    let text = what.chain(*b": ").chain(lower).chain(rest).chain(detail);
    let length =
        line.iter_mut().zip(text.take(1023).chain(*b"\n")).map(|(to, from)| *to = from).count();
    // A pipe that is full and that nobody reads must not keep the parent waiting.
    let mut stderr = [io::interest(2, ::libc::POLLOUT)];
    if !::core::matches!(io::poll(&mut stderr, 2000), Ok(1..)) {
        return false;
    }
    ::core::matches!(fs::write(2, line.get(..length).unwrap_or_default()), Ok(1..))
}
