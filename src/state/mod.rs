//! What `rt` keeps of a container between two calls, and how the container is doing.
//!
//! ```text
//! ROOT/ID/intent.json   the record of what was about to be made
//!         state.json    the record of the container          (record)
//!         config.json   the configuration as it was created
//!         resources.json  its resources, where `rt update` has changed them
//!         memory.high   its value, as long as `rt update` has lowered it
//!         exec.fifo     the start gate, until `rt start`     (gate)
//!         listener      memory shared with init until then   (listener)
//! ROOT/.removed.INODE   a removal that was interrupted       (remove)
//! ```
//!
//! Everything below ROOT is reached by descriptor and without following a link. Those
//! who change a container hold the lock of its directory; those who look do not.

mod dir;
mod exit;
mod gate;
mod id;
mod listener;
mod oci;
mod process;
mod record;
mod remove;
mod root;
mod status;
#[cfg(test)]
pub(crate) mod tests;

pub use dir::StateDir;
pub use exit::{Ending, Why};
pub use gate::OpenGate;
pub use id::Id;
pub use oci::OciState;
pub use process::{Process, has_ended};
pub use record::{Agent, Record, VERSION};
pub use root::StateRoot;
pub use status::Status;

use std::cell::OnceCell;
use std::os::fd::OwnedFd;

use crate::cgroup::{Cgroup, CgroupRecord};
use crate::error::{Doing, Error, Result};
use crate::host::cgroup::Tree;
use crate::resctrl::RdtRecord;
use crate::sys;

/// A container that has a record.
#[derive(Debug)]
pub struct Container {
    /// Its directory.
    pub dir: StateDir,
    /// Its record.
    pub record: Record,
    /// Whether the record is of this boot; asked at most once.
    same_boot: OnceCell<bool>,
}

impl Container {
    /// A container from its parts.
    pub fn new(dir: StateDir, record: Record) -> Self {
        Container { dir, record, same_boot: OnceCell::new() }
    }

    /// A container that this process is making, and so during this boot.
    pub fn in_the_making(dir: StateDir, record: Record) -> Self {
        Container { dir, record, same_boot: OnceCell::from(true) }
    }

    /// Finds a container, to look at it.
    pub fn load(root: &StateRoot, id: &Id) -> Result<Self> {
        let dir = root.open_dir(id)?;
        let record = dir.load()?;
        Ok(Container::new(dir, record))
    }

    /// Finds a container, to change it: nobody else does so at the same time.
    pub fn load_locked(root: &StateRoot, id: &Id) -> Result<Self> {
        let dir = root.open_dir(id)?;
        dir.lock()?;
        let record = dir.load()?;
        Ok(Container::new(dir, record))
    }

    /// Its id.
    pub fn id(&self) -> &Id {
        self.dir.id()
    }

    /// How it is doing now.
    pub fn status(&self) -> Result<Status> {
        let status = status::decide(self)?;
        if status == Status::Stopped
            && let Some(known) = self.record.pid_namespace
            && status::Facts::same_boot(self)?
            && known != pid_namespace()?
        {
            let id = self.id();
            let text = format!("container {id} was created in another pid namespace");
            return Err(Error::new(text)
                .detail("its processes cannot be seen from here")
                .hint("do this where it was created, or delete it with --force"));
        }
        Ok(status)
    }

    /// A descriptor of init while it lives, so that a signal reaches it and nobody else.
    pub fn init(&self) -> Result<Option<OwnedFd>> {
        let opened = match &self.record.init {
            Some(init) if status::Facts::same_boot(self)? => init.open()?,
            _ => None,
        };
        match opened {
            Some(pidfd) if has_ended(&pidfd, 0)? => Ok(None),
            other => Ok(other),
        }
    }

    /// The pid of init to show with this status: 0 when there is none.
    pub fn pid(&self, status: Status) -> i32 {
        match (&self.record.init, status) {
            (_, Status::Creating | Status::Stopped) | (None, _) => 0,
            (Some(init), _) => init.pid,
        }
    }

    /// The container's cgroup, if it has one that is still there.
    pub fn cgroup(&self) -> Result<Option<Cgroup>> {
        self.cgroup_record()?.map_or(Ok(None), Cgroup::open)
    }

    /// The same, for those who only look: none where the tree of cgroups is not mounted.
    pub fn cgroup_in_sight(&self) -> Result<Option<Cgroup>> {
        self.cgroup().or_else(|error| match Tree::find() {
            Ok(None) => Ok(None),
            _ => Err(error),
        })
    }

    /// The same, if it was made for the container. In one that was there before, others may
    /// have put their processes.
    pub fn own_cgroup(&self) -> Result<Option<Cgroup>> {
        self.cgroup_record()?.filter(|record| record.is_ours()).map_or(Ok(None), Cgroup::open)
    }

    /// Its groups of resctrl, which are of this boot as well.
    pub fn rdt_record(&self) -> Result<Option<&RdtRecord>> {
        match &self.record.intel_rdt {
            Some(record) if status::Facts::same_boot(self)? => Ok(Some(record)),
            _ => Ok(None),
        }
    }

    /// Whether it was created since the machine was started.
    pub fn is_of_this_boot(&self) -> Result<bool> {
        status::Facts::same_boot(self)
    }

    /// What is known of its cgroup; nothing after a reboot, since then no name and no
    /// number in the record means anything.
    pub fn cgroup_record(&self) -> Result<Option<&CgroupRecord>> {
        match &self.record.cgroup {
            Some(record) if status::Facts::same_boot(self)? => Ok(Some(record)),
            _ => Ok(None),
        }
    }
}

fn boot_id() -> Result<String> {
    let id = sys::proc::boot_id().doing(|| "read the boot id");
    id.map_err(|error| error.hint("a whole proc file system must be mounted at /proc"))
}

/// The inode number of our own pid namespace.
fn pid_namespace() -> Result<u64> {
    let stat = sys::fs::stat(c"/proc/self/ns/pid").doing(|| "look at /proc/self/ns/pid")?;
    Ok(stat.st_ino)
}

impl status::Facts for Container {
    fn same_boot(&self) -> Result<bool> {
        if let Some(known) = self.same_boot.get() {
            return Ok(*known);
        }
        let now = boot_id()?;
        Ok(*self.same_boot.get_or_init(|| self.record.boot_id == now))
    }

    fn init_alive(&self) -> Result<Option<bool>> {
        self.record.init.as_ref().map(Process::is_alive).transpose()
    }

    fn creator_alive(&self) -> Result<bool> {
        self.record.creator.is_alive()
    }

    fn frozen(&self) -> Result<bool> {
        self.cgroup_in_sight()?.map_or(Ok(false), |cgroup| cgroup.is_frozen())
    }

    fn at_gate(&self) -> Result<bool> {
        self.dir.at_gate()
    }
}
