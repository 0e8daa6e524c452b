//! The namespaces of a container: which are made and which are joined, and by which process. This is
//! the one place that says so; the clone and the script only ask.

use std::path::PathBuf;

use crate::diag::field::Field;
use crate::sys::ns::CLONE_NEWTIME;

/// `CLONE_NEWUSER` and its like as the 64-bit words of clone3(2).
pub mod flag {
    #![allow(missing_docs)]
    pub const MOUNT: u64 = libc::CLONE_NEWNS as u64;
    pub const UTS: u64 = libc::CLONE_NEWUTS as u64;
    pub const IPC: u64 = libc::CLONE_NEWIPC as u64;
    pub const USER: u64 = libc::CLONE_NEWUSER as u64;
    pub const PID: u64 = libc::CLONE_NEWPID as u64;
    pub const NET: u64 = libc::CLONE_NEWNET as u64;
    pub const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
    pub const TIME: u64 = super::CLONE_NEWTIME;
}

/// A namespace that exists already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Its `CLONE_NEW*` flag.
    pub flag: u64,
    /// The file that stands for it.
    pub path: PathBuf,
    /// Where the configuration names it.
    pub field: Field,
}

/// One line of uid_map or gid_map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMapping {
    /// First id inside.
    pub container: u32,
    /// First id outside.
    pub host: u32,
    /// How many.
    pub size: u32,
}

impl IdMapping {
    /// What an id inside is outside; none when this line does not map it.
    pub fn outside(&self, inside: u32) -> Option<u32> {
        let offset = inside.checked_sub(self.container).filter(|offset| *offset < self.size)?;
        self.host.checked_add(offset)
    }
}

/// The namespaces of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// `CLONE_NEW*` of those that are made.
    pub new: u64,
    /// Those that are joined, in the order in which they must be.
    pub joined: Vec<Joined>,
    /// uid_map of a new user namespace.
    pub uid_map: Vec<IdMapping>,
    /// gid_map of a new user namespace.
    pub gid_map: Vec<IdMapping>,
    /// The kernel wants setgroups(2) given up before it takes the gid_map, or has it
    /// forbidden already.
    pub deny_setgroups: bool,
    /// Kinds of which the container's namespace belongs to another user namespace than its own,
    /// as far as the kernel had to be asked.
    pub foreign: u64,
    /// The clocks of a new time namespace that are not those of the host.
    pub time_offsets: Vec<TimeOffset>,
}

/// How far a clock of the container is from that of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeOffset {
    /// `CLOCK_MONOTONIC` or `CLOCK_BOOTTIME`.
    pub clock: i32,
    /// Seconds.
    pub secs: i64,
    /// A line for timens_offsets.
    pub line: String,
    /// `linux.timeOffsets.CLOCK`.
    pub field: Field,
}

/// The half of KTIME_SEC_MAX: what a clock of a time namespace may show at most.
pub const MAX_CLOCK: i64 = 9_223_372_036 / 2;

impl Namespaces {
    /// Whether the container has its own namespace of this kind, new or joined.
    pub fn has(&self, flag: u64) -> bool {
        self.all() & flag != 0
    }

    /// Whether this kind is made for the container.
    pub fn is_new(&self, flag: u64) -> bool {
        self.new & flag != 0
    }

    /// All kinds that the container does not share with the runtime.
    pub fn all(&self) -> u64 {
        self.joined.iter().fold(self.new, |all, joined| all | joined.flag)
    }

    /// Whether root of the container may mount a file system that shows its namespace of this
    /// kind (sysfs, proc, mqueue, cgroup2): the kernel asks for rights in the user namespace that
    /// it belongs to.
    pub fn may_mount(&self, flag: u64) -> bool {
        if self.is_new(flag) {
            return true;
        }
        let shared = self.has(flag::USER) && !self.has(flag);
        !self.is_new(flag::USER) && !shared && self.foreign & flag == 0
    }

    /// Whether an ordinary user writes the group map itself: one id, which can only be its
    /// own. Any other needs newgidmap.
    pub fn maps_one_group(&self) -> bool {
        matches!(self.gid_map[..], [one] if one.size == 1)
    }

    /// Whether this kind is somebody else's, too: others may be in it already.
    pub fn joins(&self, flag: u64) -> bool {
        self.joined.iter().any(|joined| joined.flag == flag)
    }

    /// Whether a first process must prepare what the second is born into.
    ///
    /// - A user namespace, new or joined, beside joined ones: what belongs to the outer
    ///   user namespace must be joined before entering, what belongs to the inner one
    ///   must be made after.
    /// - A new time namespace takes its offsets only while nobody is in it
    ///   (time_namespaces(7)).
    ///
    /// With a joined pid namespace there is none: there the container's process is born last
    /// of all, when it is all that its peers may see.
    pub fn needs_stage(&self) -> bool {
        !self.joins(flag::PID) && self.needs_preparation()
    }

    /// Whether a process outside of them has to join and make namespaces one after the other.
    pub fn needs_preparation(&self) -> bool {
        self.is_new(flag::TIME) || (self.has(flag::USER) && !self.joined.is_empty())
    }

    /// Those that are made by the clone. The others are made by the child, in its script: when it
    /// is root of its user namespace, of the container's root alone, or when its cgroup is there.
    pub fn by_clone(&self, tree_namespace: bool, awaits_cgroup: bool) -> u64 {
        if self.needs_preparation() {
            return 0;
        }
        let later = [
            // Who makes it owns its message queues.
            (flag::IPC, self.is_new(flag::USER)),
            (flag::MOUNT, tree_namespace),
            (flag::CGROUP, awaits_cgroup),
        ];
        later.into_iter().fold(self.new, |new, (flag, later)| if later { new & !flag } else { new })
    }

    /// Whether the container's process is born in its new user namespace, by a parent who has
    /// rights outside of it.
    pub fn are_born_in_user(&self) -> bool {
        self.is_new(flag::USER) && !self.needs_preparation()
    }
}

/// The name of a namespace kind, as files below /proc/PID/ns are called.
pub fn name_of(flag: u64) -> &'static str {
    match flag {
        flag::MOUNT => "mnt",
        flag::CGROUP => "cgroup",
        flag::UTS => "uts",
        flag::IPC => "ipc",
        flag::USER => "user",
        flag::PID => "pid",
        flag::NET => "net",
        _ => "time",
    }
}
/// The user namespace last but for the mount namespace: leaving the old one early would
/// lose the right to join the others, and after the mount namespace no path of the host
/// is left.
pub fn join_order(flag: u64) -> u8 {
    match flag {
        flag::MOUNT => 2,
        flag::USER => 1,
        _ => 0,
    }
}
