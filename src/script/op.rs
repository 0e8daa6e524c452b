//! Everything that the child can do, in the order in which it is usually done.

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::seccompiler::sock_filter;
use ::std::ffi::CString;
use ::std::rc::Rc;
use ::std::string::String;
use ::std::vec::Vec;

use super::kept::Kept;
use crate::model::creds::Caps;
use crate::model::device::{Device, Nodes};
use crate::model::mount::Mount;
use crate::sys::RawFd;
use crate::sys::sched::SchedAttr;

/// A path of the container that is hidden or made read-only.
#[derive(Debug)]
pub struct Guarded {
    /// The path below the root, for messages.
    pub path: CString,
    /// The mount that holds it, and the rest of the path below that: what was mounted is found
    /// there also when somebody who may write the root renames its mount point.
    pub below: Option<(Kept, CString)>,
}

/// How the seccomp listener leaves the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// There is none.
    None,
    /// It is sent: the filter lets the calls through that this takes.
    Sent,
    /// The parent takes it out.
    Taken,
}

/// One thing that the child does. All memory was allocated before the clone.
#[derive(Debug)]
pub enum Op {
    /// Writes a file of the host's procfs that is about this very process or about its
    /// namespaces.
    WriteProc {
        /// Relative to the procfs.
        path: CString,
        /// What is written, in one call.
        value: Vec<u8>,
    },
    /// Sets a security label of this process by a file of `self/attr`, and reads it back.
    WriteLabel {
        /// Relative to the procfs.
        path: CString,
        /// What is written, in one call.
        value: Vec<u8>,
    },
    /// Waits until the parent has had the cgroup made around this process.
    AwaitCgroup,
    /// Waits until the parent has written uid_map and gid_map.
    AwaitMaps,
    /// Becomes the user and group that set up what belongs to the user namespace: mostly 0.
    BecomeRoot {
        /// As the namespace has it.
        uid: u32,
        /// As the namespace has it.
        gid: u32,
    },
    /// Gives up the supplementary groups, where the user namespace lets it.
    DropGroups,
    /// Whether processes of the same user may trace this one and open its descriptors.
    Dumpable(bool),
    /// Joins a namespace (a file and its kind), or several (a pidfd and all their kinds).
    Join {
        /// The file or pidfd.
        fd: RawFd,
        /// `CLONE_NEW*`.
        flags: u64,
    },
    /// Chooses a pid namespace for the children of this process.
    JoinPid {
        /// Its file.
        fd: RawFd,
    },
    /// Opens the procfs of a pid namespace that will be joined, for one of `mounts`.
    Procfs {
        /// Which of them.
        mount: Rc<Mount>,
        /// The file of the pid namespace.
        namespace: RawFd,
        /// Makes it as well: root of the container's user namespace will have no right to.
        make: bool,
    },
    /// Makes namespaces for this process; of pid and time, for its children.
    Unshare(u64),
    /// Makes the real child, a sibling, and exits.
    Fork {
        /// `CLONE_NEW*` of the child.
        namespaces: u64,
    },
    /// Overwrites the arguments and the environment that the caller has given to `rt`.
    ForgetArguments,
    /// Unmaps what the runtime has read and planned: from here on nothing is used but the script,
    /// and of that nothing that is shared with the plan.
    ForgetPlan,
    /// Waits until the runtime's own binary is out of reach: from here on others may see this
    /// process.
    Appear,
    /// Goes on in the pid namespace that was joined.
    EnterPidNamespace {
        /// With memory of its own, which a new time namespace wants (time_namespaces(7)).
        copy: bool,
    },
    /// The first word of a process that another has made: the runtime learns of it before anything
    /// else that it says.
    Introduce,
    /// Is killed when the process ends that waits for this one.
    DieWithParent,
    /// Starts a session.
    NewSession {
        /// The terminal on stdin is its controlling one.
        terminal: bool,
    },
    /// Joins the session keyring of the container.
    SessionKeyring(CString),
    /// Brings the loopback interface up.
    LoopbackUp,
    /// Waits until the parent has moved the network devices in.
    AwaitNetDevices,
    /// sethostname(2).
    Hostname(CString),
    /// setdomainname(2).
    Domainname(CString),
    /// umask(2).
    Umask(u32),
    /// Sets how mounts travel between the host's tree and the copy of it that this
    /// process has.
    TreePropagation(u64),
    /// Mounts the container's root onto itself.
    BindRoot {
        /// On the host.
        path: CString,
        /// The mount that holds it is shared and must stay so for the sources of mounts:
        /// only that one is made private.
        private_parent: bool,
        /// Root of the user namespace may not be able to reach it, but the parent is.
        by_parent: bool,
    },
    /// Opens a source, as long as the host's tree is in sight.
    OpenTree {
        /// Where it is kept until its mount's turn.
        tree: Kept,
        /// On the host.
        source: CString,
        /// With everything mounted below it.
        recursive: bool,
        /// A link is followed.
        follow: bool,
        /// How mounts travel between the source and the copy.
        propagation: u64,
    },
    /// Opens the host's /dev/null, by which files will be masked.
    OpenNull,
    /// Enters a mount namespace that has nothing but the container's root.
    TreeNamespace {
        /// The root, on the host.
        path: CString,
        /// How mounts travel between the host's and the copy.
        propagation: u64,
    },
    /// Closes the descriptor of the root, which is the root of the process.
    CloseRoot,
    /// Makes a directory of the host the root, without any mount.
    EnterRoot(CString),
    /// Makes the directory of a descriptor the root.
    EnterOpenRoot(RawFd),
    /// One of `mounts`.
    Mount {
        /// What and where.
        mount: Rc<Mount>,
        /// Its source is open already, and kept here.
        tree: Option<Kept>,
        /// Where the mount is kept for a step that must find it whatever its path leads to.
        keep: Option<Kept>,
    },
    /// Attaches the device nodes that the parent makes for a user namespace.
    BorrowNodes {
        /// Files will be masked by one of them.
        mask: bool,
    },
    /// Unmounts them.
    ReturnNodes,
    /// Makes nodes in one directory.
    Devices {
        /// Below the root.
        directory: CString,
        /// The nodes.
        nodes: Vec<Rc<Device>>,
        /// Where they come from.
        from: Nodes,
    },
    /// /dev/fd, /dev/stdin, …, /dev/ptmx.
    DeviceLinks,
    /// Makes a terminal, hands its master to the parent, and takes it for stdio. It becomes the
    /// controlling one with the session.
    Console {
        /// Rows and columns.
        size: Option<(u16, u16)>,
        /// Its owner.
        uid: u32,
        /// Also mounts it at /dev/console.
        mount: bool,
    },
    /// Descriptors of the caller that are the host's null device, or another that every container
    /// has nodes of its own of, become the container's.
    OwnDevices {
        /// The first descriptor: stdio may be a terminal.
        from: RawFd,
        /// Those from here on are not the program's.
        below: RawFd,
    },
    /// Makes the working directory where it is missing.
    MakeCwd(CString),
    /// Waits while the parent runs hooks.
    AwaitHooks,
    /// Makes a mount read-only.
    LateReadonly {
        /// The mount.
        mount: Kept,
        /// Its path, for messages.
        path: CString,
    },
    /// Makes everything at a path of the container read-only.
    ReadonlyPath(Guarded),
    /// Hides what is at a path of the container.
    MaskPath {
        /// The path.
        path: Guarded,
        /// The SELinux context of what covers a directory.
        label: Option<CString>,
    },
    /// Makes the root read-only.
    ReadonlyRoot,
    /// Closes what is of the host, makes the container's root the root, drops the old.
    Pivot {
        /// Mounts of the old tree are shared with the host.
        shared: bool,
    },
    /// The same by chroot(2), for hosts whose root is an initramfs.
    Chroot {
        /// Mounts of the host that must not stay visible underneath.
        unmount: Vec<CString>,
    },
    /// Sets how mounts of the container travel.
    RootPropagation {
        /// `MS_*`.
        kind: u64,
        /// For the whole tree.
        recursive: bool,
    },
    /// Lets the process run on every processor of its cpuset, wherever the caller ran.
    AllCpus,
    /// sched_setaffinity(2); bit n is processor n.
    Cpus(Vec<u64>),
    /// set_mempolicy(2).
    MemoryPolicy {
        /// `MPOL_*` with its flags.
        mode: u32,
        /// Bit n is memory node n.
        nodes: Vec<u64>,
    },
    /// ioprio_set(2).
    IoPriority(u16),
    /// sched_setattr(2).
    Scheduler(SchedAttr),
    /// personality(2).
    Personality(u64),
    /// Enters the working directory.
    Cwd {
        /// Absolute in the container.
        path: CString,
        /// The last try: a refusal is an error.
        last: bool,
    },
    /// setrlimit(2).
    Rlimit {
        /// `RLIMIT_*`.
        resource: u32,
        /// Its name, for messages.
        name: String,
        /// Soft limit.
        soft: u64,
        /// Hard limit.
        hard: u64,
    },
    /// Makes the hard limit at least this, and the soft one the same.
    WidenLimit {
        /// `RLIMIT_*`.
        resource: u32,
        /// The least hard limit.
        hard: u64,
    },
    /// Gives inherited pipes and the terminal to the user, so that /dev/stdout can be
    /// opened again.
    OwnStdio {
        /// The user.
        uid: u32,
    },
    /// Enters the directory of a hook, as the host or the root of the container has it.
    Chdir(CString),
    /// Gives a hook its stdin, and one pipe as stdout and stderr; its report comes right after them.
    HookStdio {
        /// The state of the container.
        stdin: RawFd,
        /// Where what it writes is read.
        output: RawFd,
    },
    /// Leaves only these in the bounding set.
    BoundingSet(u64),
    /// setgroups(2), setresgid(2), setresuid(2); permitted capabilities are kept.
    User {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
        /// Supplementary groups; none where the user namespace forbids setting them, and
        /// where those of the caller are kept.
        groups: Option<Vec<u32>>,
    },
    /// Sets HOME from the container's /etc/passwd.
    Home {
        /// Whose home.
        uid: u32,
    },
    /// Puts these of the permitted capabilities into effect: a user may have to search and
    /// execute with them.
    Effective(u64),
    /// Finds the program.
    FindProgram {
        /// The last try: a program that is not found is an error.
        last: bool,
    },
    /// Says that all is done, and waits for the parent to let go.
    Ready,
    /// Waits for a byte in the start fifo.
    Gate(RawFd),
    /// Drops to these sets.
    Capabilities {
        /// The sets.
        caps: Caps,
        /// CAP_SYS_ADMIN is kept as well: the filter, which comes later, needs it
        /// (seccomp(2)).
        before_filter: bool,
        /// Asks the kernel whether it is so: a filter may be in the way.
        verify: bool,
    },
    /// `PR_SET_NO_NEW_PRIVS`.
    NoNewPrivileges,
    /// Loads the filter.
    Seccomp {
        /// Classic BPF.
        program: Vec<sock_filter>,
        /// `SECCOMP_FILTER_FLAG_*`.
        flags: u64,
        /// Without no_new_privs the kernel wants CAP_SYS_ADMIN in effect.
        privileged: bool,
        /// What becomes of its listener.
        listener: Listener,
    },
    /// Closes what the parent had open, which the clone has copied: everything from
    /// `from` on but what this process still needs and `keep` (-1 for nothing).
    CloseOthers {
        /// Descriptors below are the program's.
        from: u32,
        /// Others to keep.
        keep: [RawFd; 2],
    },
    /// Keeps everything from this number on from the program.
    CloseFrom(u32),
    /// Unblocks all signals and has none ignored, whatever the caller ignores and `rt` itself.
    ResetSignals,
}

impl Op {
    /// Whether what follows is done by another process.
    pub fn ends_stage(&self) -> bool {
        ::core::matches!(self, Op::Fork { .. } | Op::EnterPidNamespace { .. })
    }
}
