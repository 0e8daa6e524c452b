//! The driver that makes cgroups itself, by files. It never writes cgroup.procs: that
//! waits for an RCU grace period, and the process would be unlimited until then.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, fstat, fstatat, mkdirat};

use super::controllers::Controllers;
use super::files;
use super::remove::remove_directory;
use super::undo::{Before, Target};
use super::{
    Cgroup, CgroupRecord, Directory, Driver, DriverKind, MARKED, Placement, Updated,
    attach_devices, precheck, remove, update, write,
};
use crate::diag::field::Field;
use crate::error::{Doing, Error, Result};
use crate::host::cgroup::{Membership, Tree};
use crate::model::cgroup::CgroupPath;
use crate::model::cgroup::Change;
use crate::model::cgroup::{CgroupPlan, Otherwise};

/// cgroup v2 by files.
#[derive(Debug)]
pub struct Fs {
    rootless: bool,
    tree: Option<Tree>,
    record: CgroupRecord,
    /// A cgroup that was there before, and what it had, in the order in which that was changed.
    found: Option<(OwnedFd, Vec<Before>)>,
}

impl Fs {
    /// `rootless`: we are not root in the initial user namespace. Then there may be no
    /// cgroup that we may change, and no device program can be loaded.
    pub fn new(rootless: bool, tree: Tree) -> Self {
        Fs { rootless, tree: Some(tree), record: CgroupRecord::none(), found: None }
    }

    /// For a cgroup that is there.
    pub(super) fn of(record: &CgroupRecord) -> Self {
        Fs { rootless: false, tree: None, record: record.clone(), found: None }
    }

    /// Removes what was made so far; what cannot be removed is somebody else's by now.
    fn undo(&mut self, root: &OwnedFd) {
        for directory in self.record.made.iter().rev() {
            if remove_directory(root, &directory.path).is_err() {
                break;
            }
        }
        self.record = CgroupRecord::none();
    }

    /// Makes the directories that are missing.
    fn make(&mut self, root: &OwnedFd) -> Result<OwnedFd> {
        let path = self.record.path.clone();
        for mut directory in std::mem::take(&mut self.record.made) {
            let doing = || format!("make cgroup /{}", directory.path);
            match mkdirat(root, directory.path.as_str(), Mode::from_bits_truncate(MARKED)) {
                Ok(()) => {}
                // Made by another container at the same time, and so not ours to remove.
                Err(Errno::EEXIST) if directory.path != path => continue,
                Err(errno) => return Err(make_error(errno, doing())),
            }
            // The id of the cgroup itself is taken from its descriptor, below.
            if directory.path != path {
                let stat = fstatat(root, directory.path.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
                directory.id = stat.ok().map(|stat| stat.st_ino);
            }
            self.record.made.push(directory);
        }
        let doing = || format!("open cgroup /{path}");
        let leaf = files::open_cgroup(root, &path).doing(doing)?;
        let id = Some(fstat(&leaf).doing(doing)?.st_ino);
        if let Some(own) = self.record.made.last_mut().filter(|made| made.path == path) {
            own.id = id;
        }
        self.record.id = id;
        Ok(leaf)
    }

    fn fill(&mut self, root: &OwnedFd, leaf: &OwnedFd, plan: &CgroupPlan) -> Result<()> {
        let new: Vec<_> = self.record.made.iter().map(|made| made.path.as_str()).collect();
        let controllers = Controllers::enable(root, &self.record.path, &new);
        let field = field_of(plan);
        let path = &self.record.path;
        precheck::demand(leaf, path, None, &field)?;
        if !self.record.is_ours() {
            let leaf = leaf.try_clone().doing(|| format!("open cgroup /{path} again"))?;
            self.found = Some((leaf, Vec::new()));
        }
        for setting in &plan.settings {
            // What is not there is found out by the write, which has the words for it.
            if let Some((leaf, before)) = &mut self.found
                && let Ok(Some(target)) = Target::of(leaf.as_fd(), setting)
            {
                before.extend(target.before(leaf.as_fd()));
            }
            write::apply(leaf, path, setting, &controllers)?;
        }
        Ok(())
    }
}

impl Driver for Fs {
    fn intend(&mut self, plan: &CgroupPlan) -> Result<()> {
        let tree = self.tree.as_ref().ok_or_else(prepared_already)?;
        let path = resolve(&plan.path)?;
        // From the end: usually everything but the last name is there.
        let mut made = Vec::new();
        let mut known = path.as_str();
        loop {
            match files::open_cgroup(&tree.root, known) {
                Ok(_) => break,
                Err(Errno::ENOENT) => {}
                Err(errno) => {
                    let error = Error::new(format!("open cgroup /{known}")).errno(errno);
                    return Err(error.field(&field_of(plan)));
                }
            }
            made.push(Directory { path: known.to_owned(), id: None });
            let Some((parent, _)) = known.rsplit_once('/') else { break };
            known = parent;
        }
        made.reverse();
        self.record = CgroupRecord { driver: DriverKind::Fs, path, id: None, made, unit: None };
        Ok(())
    }

    fn prepare(&mut self, plan: &CgroupPlan) -> Result<Placement> {
        let Tree { root, .. } = self.tree.take().ok_or_else(prepared_already)?;
        let made = self.make(&root).and_then(|leaf| {
            self.fill(&root, &leaf, plan)?;
            Ok(leaf)
        });
        match made {
            Ok(leaf) => Ok(Placement::Into(leaf)),
            Err(error) => {
                let nothing_made = self.record.made.is_empty();
                self.give_back();
                self.undo(&root);
                let denied =
                    matches!(error.errno_of(), Some(Errno::EACCES | Errno::EPERM | Errno::EROFS));
                // An ordinary user without a delegated cgroup can still have a container,
                // if no limit and no place was asked for.
                let limit =
                    plan.settings.iter().find(|setting| setting.otherwise != Otherwise::Skip);
                let nothing_asked = limit.is_none() && matches!(plan.path, CgroupPath::Default(_));
                if self.rootless && denied && nothing_made && nothing_asked {
                    return Ok(Placement::Inherit);
                }
                Err(match limit.filter(|_| self.rootless && denied && nothing_made) {
                    Some(setting) => error.field(&setting.field),
                    None => error,
                })
            }
        }
    }

    fn attach_devices(&self, plan: &CgroupPlan, leaf: BorrowedFd<'_>) -> Result<()> {
        attach_devices::attach(leaf, &self.record, &plan.devices, self.rootless)
    }

    fn give_back(&self) {
        if let Some((leaf, before)) = &self.found {
            before.iter().rev().for_each(|before| before.write(leaf.as_fd()));
        }
    }

    /// The process was cloned into the cgroup.
    fn adopt(&mut self, _plan: &CgroupPlan, _init: i32) -> Result<()> {
        Ok(())
    }

    fn update<'a>(&'a self, cgroup: &'a Cgroup, change: &Change) -> Result<Updated<'a>> {
        update::apply(cgroup, change).map(Updated::Files)
    }

    fn remove(&self) -> Result<()> {
        remove::remove(&self.record)
    }

    fn record(&self) -> &CgroupRecord {
        &self.record
    }
}

/// Who asked for the cgroup to be there.
fn field_of(plan: &CgroupPlan) -> Field {
    match plan.path {
        CgroupPath::Default(_) => Field::root(),
        _ => Field::of("linux.cgroupsPath"),
    }
}

/// A driver makes one cgroup, and none that is there.
fn prepared_already() -> Error {
    Error::new("the cgroup has been prepared already")
}

/// The path below the root of the tree.
fn resolve(path: &CgroupPath) -> Result<String> {
    let name = match path {
        CgroupPath::Absolute(path) => return Ok(path.clone()),
        CgroupPath::Relative(name) | CgroupPath::Default(name) => name,
        CgroupPath::Unit(unit) => {
            return Err(Error::new(format!("{} is a unit, and not a path", unit.name)));
        }
    };
    let membership = Membership::read()?;
    let Some(own) = membership.path() else {
        return Err(Error::new("our own cgroup is outside of our cgroup namespace")
            .field(&Field::of("linux.cgroupsPath"))
            .hint("give an absolute cgroupsPath"));
    };
    Ok(match own.rsplit_once('/') {
        Some((parent, _)) => format!("{parent}/{name}"),
        None => name.clone(),
    })
}

fn make_error(errno: Errno, doing: String) -> Error {
    let error = Error::new(doing).errno(errno);
    match errno {
        Errno::EAGAIN => {
            error.hint("a cgroup above it is at its cgroup.max.depth or cgroup.max.descendants")
        }
        Errno::EACCES | Errno::EPERM | Errno::EROFS => {
            error.hint("have a cgroup delegated to you and name it in cgroupsPath")
        }
        Errno::EEXIST => error.hint("somebody made it at the same time; give another cgroupsPath"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;
    use crate::model::cgroup::Setting;

    fn setting(file: &str, value: &str) -> Setting {
        let (controller, file, value) = ("hugetlb".to_owned(), file.to_owned(), value.to_owned());
        Setting { controller, file, value, otherwise: Otherwise::Fail, field: Field::root() }
    }

    /// Ordinary directories and files, of which one is not there.
    #[test]
    fn a_cgroup_that_was_there_gets_back_what_it_had() {
        let path = std::env::temp_dir().join(format!("rt-found-{}", std::process::id()));
        fs::create_dir_all(path.join("box")).expect("mkdir");
        let write = |file: &str, text: &str| fs::write(path.join("box").join(file), text);
        write("cgroup.events", "populated 0\nfrozen 0\n").expect("write");
        write("hugetlb.2MB.max", "4194304").expect("write");
        let read = || fs::read_to_string(path.join("box/hugetlb.2MB.max")).expect("read");
        let driver = || Fs {
            rootless: false,
            tree: Some(Tree { root: File::open(&path).expect("open").into(), mount: "" }),
            record: CgroupRecord { path: "box".to_owned(), ..CgroupRecord::none() },
            found: None,
        };
        let limit = setting("hugetlb.2MB.max", "2097152");
        let mut plan = CgroupPlan {
            path: CgroupPath::Absolute("box".to_owned()),
            settings: vec![limit.clone(), limit.clone(), setting("hugetlb.nosuchfile", "1")],
            devices: Vec::new(),
            properties: Vec::new(),
            description: String::new(),
        };
        // When a limit cannot be set.
        assert!(driver().prepare(&plan).is_err());
        assert_eq!(read(), "4194304");
        // When anything fails after that.
        plan.settings.truncate(2);
        let mut driver = driver();
        driver.prepare(&plan).expect("prepared");
        assert_eq!(read(), "2097152");
        driver.give_back();
        assert_eq!(read(), "4194304");
        fs::remove_dir_all(path).expect("removed");
    }
}
