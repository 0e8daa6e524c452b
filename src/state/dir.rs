//! The directory of one container below the root: made, locked, read and written by
//! descriptor.

use std::cell::Cell;
use std::fs::{File, TryLockError};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat, write};
use oci_spec::runtime::LinuxResources;
use serde::Deserialize;

use super::gate::GATE;
use super::record::{Record, VERSION};
use super::{Id, root};
use crate::diag::field::CONFIG;
use crate::error::{Doing, Error, Kind, Result};

const RECORD: &str = "state.json";
const INTENT: &str = "intent.json";
const RESOURCES: &str = "resources.json";
const HIGH: &str = "memory.high";
/// Both files are small; what is larger is not ours.
const RECORD_MAX: u64 = 16 << 20;
const CONFIG_MAX: u64 = 64 << 20;
/// Which `rt` this is.
const OWN: &str = env!("CARGO_PKG_VERSION");
/// How long another `rt` may work on the same container before we give up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What every version of a record begins with.
#[derive(Deserialize)]
struct Head {
    version: serde_json::Number,
}

impl Head {
    /// Whether a later `rt` has written it. Also with a number that this one has no type for.
    fn is_later(&self) -> bool {
        match self.version.as_u64() {
            Some(version) => version > VERSION.into(),
            None => self.version.as_f64().is_some_and(|version| version > VERSION.into()),
        }
    }
}

/// The state directory of one container, open.
#[derive(Debug)]
pub struct StateDir {
    pub(super) root: Rc<OwnedFd>,
    dir: File,
    id: Id,
    locked: Cell<bool>,
}

impl StateDir {
    pub(super) fn new(root: Rc<OwnedFd>, dir: OwnedFd, id: Id) -> Self {
        StateDir { root, dir: File::from(dir), id, locked: Cell::new(false) }
    }

    /// The id of the container.
    pub fn id(&self) -> &Id {
        &self.id
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Lets others change the container.
    pub fn unlock(&self) {
        self.locked.set(false);
        if let Err(error) = self.dir.unlock() {
            tracing::warn!("unlock the state of container {}: {error}", self.id);
        }
    }

    /// The descriptors of the host behind this: a child that does not execve at once
    /// has to close them, since its copy of the second one would keep the lock.
    pub fn raw_fds(&self) -> [RawFd; 2] {
        [self.root.as_raw_fd(), self.dir.as_raw_fd()]
    }

    /// Waits, with a limit, until no other `rt` changes this container (flock(2)). The
    /// lock is held until this is dropped.
    pub fn lock(&self) -> Result<()> {
        if self.lock_within(PATIENCE)? {
            return Ok(());
        }
        let text = format!("container {} is busy: another rt works on it", self.id);
        let seconds = PATIENCE.as_secs();
        Err(Error::new(text).hint(format!("gave up after {seconds} s; look for a hook that hangs")))
    }

    /// The same with another limit; false when it is over.
    pub fn lock_within(&self, patience: Duration) -> Result<bool> {
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_millis(1);
        while let Err(error) = self.dir.try_lock() {
            match error {
                TryLockError::Error(error) if error.raw_os_error() == Some(libc::EINTR) => continue,
                TryLockError::Error(error) => {
                    return Err(error).doing(|| format!("lock the state of container {}", self.id));
                }
                TryLockError::WouldBlock if Instant::now() >= deadline => return Ok(false),
                TryLockError::WouldBlock => sleep(pause),
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        self.locked.set(true);
        // The one that we waited for may have deleted the container, and a third may
        // have made it again: is the name still ours?
        if self.is_current()? { Ok(true) } else { Err(root::not_found(&self.id)) }
    }

    fn is_current(&self) -> Result<bool> {
        let doing = || format!("look at the state directory of container {}", self.id);
        let mine = fstat(&self.dir).doing(doing)?;
        match fstatat(&self.root, self.id.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(named) => Ok((named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino)),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(errno).doing(doing),
        }
    }

    /// Writes the record of a container that is complete.
    pub fn save(&self, record: &Record) -> Result<()> {
        self.prepare(record)?;
        self.commit()
    }

    /// The first half of [`StateDir::save`], for when there is time.
    pub fn prepare(&self, record: &Record) -> Result<()> {
        self.write_new(RECORD, &self.to_json(record)?)
    }

    /// The second half: from now on the container is complete.
    pub fn commit(&self) -> Result<()> {
        self.put_in_place(RECORD)
    }

    /// Writes the record of a container in the making. It stays beside the complete one:
    /// should that be damaged, this one still says what was made.
    pub fn save_intent(&self, record: &Record) -> Result<()> {
        self.replace(INTENT, &self.to_json(record)?)
    }

    fn to_json(&self, record: &Record) -> Result<Vec<u8>> {
        serde_json::to_vec(record).map_err(|error| {
            Error::new(format!("write the state of container {}", self.id))
                .detail(error.to_string())
        })
    }

    /// Reads the record. `NotFound` when there is none, since nothing of the container was
    /// made yet; `Invalid` when it is damaged. One of a later version is neither: it is whole, and
    /// its container may run.
    pub fn load(&self) -> Result<Record> {
        match self.load_record(RECORD) {
            Err(error) if error.kind_of() == Kind::NotFound => self.load_intent(),
            other => other,
        }
    }

    /// Reads the record of what was about to be made.
    pub fn load_intent(&self) -> Result<Record> {
        self.load_record(INTENT)
    }

    fn load_record(&self, name: &str) -> Result<Record> {
        let bytes = self.read(name, RECORD_MAX)?;
        let unusable = |why: String| {
            let id = &self.id;
            Error::new(format!("the state of container {id} cannot be used: {name}: {why}"))
        };
        let damaged = |why: String| {
            let hint = format!("rt delete --force {} removes it", self.id);
            unusable(why).kind(Kind::Invalid).hint(hint)
        };
        // The version alone first: of the rest, a later version may have changed anything.
        let head: Head =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if head.is_later() {
            let found = head.version;
            let why = format!("it has version {found}, and this rt ({OWN}) knows up to {VERSION}");
            return Err(unusable(why)
                .hint("use the rt that has made it, or a later one; nothing was changed"));
        }
        let record: Record =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if record.id != self.id.as_str() {
            return Err(damaged(format!("it is that of container {:?}", record.id)));
        }
        Ok(record)
    }

    /// Keeps a copy of config.json, so that later edits of the bundle change nothing.
    pub fn save_config(&self, bytes: &[u8]) -> Result<()> {
        self.replace(CONFIG, bytes)
    }

    /// The copy of config.json as the container was created from it.
    pub fn config(&self) -> Result<Vec<u8>> {
        self.read(CONFIG, CONFIG_MAX)
    }

    /// Keeps `linux.resources` as `rt update` has left them.
    pub fn save_resources(&self, resources: &LinuxResources) -> Result<()> {
        let bytes = serde_json::to_vec(resources).map_err(|error| {
            Error::new(format!("write the resources of container {}", self.id))
                .detail(error.to_string())
        })?;
        self.replace(RESOURCES, &bytes)
    }

    /// What `rt update` has left; `None` where there was no update.
    pub fn resources(&self) -> Result<Option<LinuxResources>> {
        let bytes = match self.read(RESOURCES, RECORD_MAX) {
            Err(error) if error.kind_of() == Kind::NotFound => return Ok(None),
            other => other?,
        };
        let read = serde_json::from_slice(&bytes);
        read.map(Some).map_err(|error| {
            let text = format!("{RESOURCES} of container {} cannot be used", self.id);
            Error::new(text).kind(Kind::Invalid).detail(error.to_string())
        })
    }

    /// Notes what memory.high is to be again, before it is lowered for as long as memory is reclaimed.
    pub fn save_high(&self, value: &str) -> Result<()> {
        self.replace(HIGH, value.as_bytes())
    }

    /// What memory.high is to be again, where an `rt` was killed while it was low.
    pub fn high(&self) -> Result<Option<String>> {
        match self.read(HIGH, RECORD_MAX) {
            Err(error) if error.kind_of() == Kind::NotFound => Ok(None),
            other => other.map(|bytes| Some(String::from_utf8_lossy(&bytes).into_owned())),
        }
    }

    /// It is what it is to be.
    pub fn forget_high(&self) -> Result<()> {
        match self.unlink(HIGH) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno).doing(|| format!("remove {HIGH} of container {}", self.id)),
        }
    }

    /// Removes the files that are usually there, without a descriptor more: there may be
    /// none left. What cannot be removed is found out by the caller.
    pub(super) fn unlink_known(&self) {
        for name in [RECORD, INTENT, CONFIG, GATE, RESOURCES, HIGH] {
            let _ = unlinkat(&self.dir, name, UnlinkatFlags::NoRemoveDir);
        }
    }

    /// Puts a whole file in the place of `name`, or leaves the old one.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.write_new(name, bytes)?;
        self.put_in_place(name)
    }

    fn write_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let doing = || self.writing(name);
        let temporary = temporary(name);
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let create =
            || openat(&self.dir, temporary.as_str(), flags, Mode::from_bits_truncate(0o600));
        let file = match create() {
            // Left by an rt that was killed here; writers hold the lock.
            Err(Errno::EEXIST) => self.unlink(&temporary).and_then(|()| create()),
            other => other,
        }
        .doing(doing)?;
        // What is cut short is tried again, and then the kernel says why.
        let mut rest = bytes;
        let written = loop {
            match write(&file, rest) {
                Ok(count) if count == rest.len() => break Ok(()),
                Ok(count) => rest = &rest[count..],
                Err(errno) => break Err(errno),
            }
        };
        if written.is_err() {
            // The first error is the one to tell.
            let _ = self.unlink(&temporary);
        }
        written.doing(doing)
    }

    fn put_in_place(&self, name: &str) -> Result<()> {
        let temporary = temporary(name);
        let renamed = renameat(&self.dir, temporary.as_str(), &self.dir, name);
        if renamed.is_err() {
            let _ = self.unlink(&temporary);
        }
        renamed.doing(|| self.writing(name))
    }

    /// With the path: which file system is full, or read-only?
    fn writing(&self, name: &str) -> String {
        match root::path_of(&self.dir) {
            Ok(path) => format!("write {}", path.join(name).display()),
            Err(_) => format!("write {name} of container {}", self.id),
        }
    }

    fn unlink(&self, name: &str) -> Result<(), Errno> {
        unlinkat(&self.dir, name, UnlinkatFlags::NoRemoveDir)
    }

    fn read(&self, name: &str, max: u64) -> Result<Vec<u8>> {
        self.read_regular(name, max).map_err(|error| match error.errno_of() {
            // A link or a directory in its place.
            Some(Errno::ELOOP | Errno::EISDIR) => error.kind(Kind::Invalid),
            _ => error,
        })
    }

    fn read_regular(&self, name: &str, max: u64) -> Result<Vec<u8>> {
        let doing = || format!("read {name} of container {}", self.id);
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match openat(&self.dir, name, flags, Mode::empty()) {
            Err(Errno::ENOENT) => {
                return Err(root::not_found(&self.id)
                    .detail(format!("its state directory has no {name}"))
                    .hint(format!(
                        "its creation is under way or was interrupted; rt delete --force {} removes it",
                        self.id
                    )));
            }
            other => File::from(other.doing(doing)?),
        };
        let mut bytes = Vec::with_capacity(4096);
        file.take(max + 1).read_to_end(&mut bytes).doing(doing)?;
        if bytes.len() as u64 > max {
            return Err(Error::new(doing())
                .kind(Kind::Invalid)
                .detail(format!("longer than {max} bytes")));
        }
        Ok(bytes)
    }
}

fn temporary(name: &str) -> String {
    format!(".{name}.new")
}

impl Drop for StateDir {
    /// Unlocks by word: a copy of the descriptor in a child would keep the lock.
    fn drop(&mut self) {
        if self.locked.get() {
            let _ = self.dir.unlock();
        }
    }
}
