//! Which call of a step failed: a number that goes through the socket, and the words for it.

use crate::sys::numbered::numbered;

/// Numbers that go through the socket, and the words for them.
macro_rules! calls {
    ($($name:ident => $words:literal,)*) => {
        numbered! {
            /// Which call of a step failed.
            #[allow(missing_docs)]
            pub enum Call {
                $($name,)*
            }
        }

        impl Call {
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
