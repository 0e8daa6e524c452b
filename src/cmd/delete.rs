//! `rt delete [--force] ID`.
//!
//! The order of removal is that of creation backwards: processes, cgroup, and the state
//! directory last, so that an interrupted delete can be repeated.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use super::hooks::hooks_of;
use super::kill::kill_all;
use crate::cgroup;
use crate::error::{Doing, Error, Kind, Result};
use crate::model::hooks::Kind as Hook;
use crate::resctrl::Resctrl;
use crate::runtime::hooks::{self, Place};
use crate::state::{Container, Id, OciState, StateDir, StateRoot, Status, has_ended};
use crate::sys::pidfd;

/// How long a killed process may take to end.
const PATIENCE_MS: u16 = 10_000;

/// By then a create that does not hang is over.
const SOON: Duration = Duration::from_secs(2);

/// Removes a container that is stopped, or was never started. With `force` whatever is
/// there: also a running one, one of which only parts were made, and none at all.
pub fn delete(root: &StateRoot, id: &Id, force: bool) -> Result<()> {
    let deleted = match open(root, id, force) {
        Ok(Some(dir)) => delete_from(dir, force),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    match deleted {
        // That somebody else was faster is what force does not mind.
        Err(error) if !(force && error.kind_of() == Kind::NotFound) => Err(error),
        _ if force => root.sweep(),
        _ => Ok(()),
    }
}

fn open(root: &StateRoot, id: &Id, force: bool) -> Result<Option<StateDir>> {
    match root.open_dir(id) {
        Ok(dir) => lock(&dir, force).map(|()| Some(dir)),
        Err(error) if force && error.kind_of() != Kind::NotFound => {
            if root.remove_stray(id)? {
                Ok(None)
            } else {
                Err(error)
            }
        }
        Err(error) => Err(error),
    }
}

/// Waits for another `rt` that works on the container. One that still creates it after a while hangs,
/// most likely in a hook: that is said, and by force it is ended, as if it had been killed.
fn lock(dir: &StateDir, force: bool) -> Result<()> {
    if dir.lock_within(SOON)? {
        return Ok(());
    }
    let (id, record) = (dir.id(), dir.load());
    // Afterwards the creator may be a `run`, which waits for the program and holds no lock.
    let creator = record.ok().filter(|record| record.init.is_none()).map(|record| record.creator);
    let Some(creator) = creator else {
        tracing::warn!("waiting for another rt that works on container {id}");
        return dir.lock();
    };
    let pid = creator.pid;
    match creator.open()? {
        Some(pidfd) if force => {
            tracing::warn!("the rt that creates container {id} (pid {pid}) hangs, and is killed");
            match pidfd::send_signal(pidfd.as_fd(), libc::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => {
                    return Err(errno).doing(|| format!("kill the rt with the pid {pid}"));
                }
            }
        }
        _ => tracing::warn!("waiting for the rt that creates container {id} (pid {pid})"),
    }
    dir.lock()
}

fn delete_from(dir: StateDir, force: bool) -> Result<()> {
    let is_unusable = |error: &Error| matches!(error.kind_of(), Kind::NotFound | Kind::Invalid);
    let record = match dir.load() {
        Ok(record) => record,
        // Without a record nothing else was made. Beside a damaged one there is that of the
        // intent, which knows the cgroup. But one that only cannot be read now, or by this version,
        // may be of a container that runs.
        Err(error) if force && is_unusable(&error) => {
            let id = dir.id();
            tracing::warn!("container {id} was damaged or never complete: what is left is removed");
            match dir.load_intent() {
                Ok(record) => record,
                Err(error) if is_unusable(&error) => return dir.remove(),
                Err(error) => return Err(error),
            }
        }
        Err(error) => return Err(error),
    };
    let container = Container::new(dir, record);
    if !force {
        let status = container.status()?;
        if !matches!(status, Status::Stopped | Status::Created) {
            let id = container.id();
            let text = format!("cannot delete container {id} that is not stopped: {status}");
            let hint = format!("rt kill {id} KILL first, or rt delete --force {id}");
            return Err(Error::new(text).kind(Kind::WrongStatus).hint(hint));
        }
    }
    destroy(container)
}

/// Ends and removes all that was made for a container, whose lock is held, and runs
/// its poststop hooks. They cannot fail a deletion (runtime.md, "Lifecycle").
pub fn destroy(container: Container) -> Result<()> {
    end(&container)?;
    remove(container)
}

/// Removes all that is left of a container whose first process is gone.
pub fn remove(container: Container) -> Result<()> {
    let found = hooks_of(&container);
    if let Some(record) = container.cgroup_record()? {
        // What the kernel had no memory for at first may go through at the second try.
        let driver = cgroup::driver_of(record);
        driver.remove().or_else(|_| driver.remove())?;
    }
    if let Some(record) = container.rdt_record()? {
        Resctrl::host().remove(record)?;
    }
    let Container { dir, record, .. } = container;
    dir.remove()?;
    let hooks = match found {
        Ok(found) => found.poststop,
        Err(error) => {
            tracing::warn!("{}", error.within("poststop hooks are not run"));
            return Ok(());
        }
    };
    if hooks.is_empty() {
        return Ok(());
    }
    // A bundle is often removed before its container.
    let cwd = if record.bundle.is_dir() { &record.bundle } else { Path::new("/") };
    let state = OciState::new(&record, Status::Stopped, 0).to_json();
    hooks::run(Hook::Poststop, &hooks, &state, Place::Runtime { cwd })
}

/// Kills the processes of a container whose init lives, and waits for the end of init.
pub(super) fn end(container: &Container) -> Result<()> {
    let Some(init) = container.init()? else { return Ok(()) };
    kill_all(container, Some(&init))?;
    if has_ended(&init, PATIENCE_MS)? {
        return Ok(());
    }
    let id = container.id();
    let seconds = PATIENCE_MS / 1000;
    Err(Error::new(format!("container {id}: init was killed, and still runs after {seconds} s"))
        .hint("it is probably stuck in the kernel (state D); try again later"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::process::{Child, Command};

    use super::*;
    use crate::state::tests::{Scratch, id, record};
    use crate::state::{Process, Record};

    fn make(root: &StateRoot, change: impl FnOnce(&mut Record)) {
        let dir = root.create(&id("x")).expect("create");
        let mut record = record("x");
        change(&mut record);
        dir.save(&record).expect("save");
    }

    fn process() -> (Child, Process) {
        let child = Command::new("sleep").arg("60").spawn().expect("spawn");
        let process = Process::of(child.id().cast_signed()).expect("child");
        (child, process)
    }

    #[test]
    fn force_comes_to_an_end_from_every_part() {
        let scratch = Scratch::new();
        let root = scratch.root();
        let path = scratch.0.join("a/root/x");
        let canary = scratch.0.join("canary");
        fs::write(&canary, "").expect("write");
        let parts: [(&str, &dyn Fn()); 8] = [
            ("nothing", &|| {}),
            ("an empty directory", &|| fs::create_dir(&path).expect("mkdir")),
            ("a truncated record", &|| {
                fs::create_dir(&path).expect("mkdir");
                fs::write(path.join("state.json"), "{\"version\":").expect("write");
            }),
            ("a link for a record", &|| {
                fs::create_dir(&path).expect("mkdir");
                symlink(&canary, path.join("state.json")).expect("symlink");
            }),
            ("a directory for a record", &|| {
                fs::create_dir_all(path.join("state.json/x")).expect("mkdir");
            }),
            ("a link", &|| symlink(&canary, &path).expect("symlink")),
            ("a file", &|| fs::write(&path, "").expect("write")),
            ("a killed creator", &|| make(&root, |record| record.creator.start_time += 1)),
        ];
        for (what, make) in parts {
            make();
            delete(&root, &id("x"), true).expect(what);
            assert!(fs::symlink_metadata(&path).is_err() && canary.exists(), "{what}");
            let error = delete(&root, &id("x"), false).expect_err(what).to_string();
            assert!(error.contains("container does not exist"), "{error}");
        }
        root.create(&id("x")).expect("the id is free again");
    }

    #[test]
    fn what_a_later_rt_has_made_is_left_to_it() {
        let scratch = Scratch::new();
        let root = scratch.root();
        make(&root, |record| record.version += 1);
        let error = delete(&root, &id("x"), true).expect_err("later").to_string();
        assert!(error.contains("use the rt that has made it"), "{error}");
        root.open_dir(&id("x")).expect("still there");
    }

    #[test]
    fn a_running_container_needs_force() {
        let scratch = Scratch::new();
        let root = scratch.root();
        let (mut child, init) = process();
        make(&root, |record| record.init = Some(init));
        let error = delete(&root, &id("x"), false).expect_err("running").to_string();
        assert_eq!(
            error,
            "cannot delete container x that is not stopped: running; rt kill x KILL first, or rt \
             delete --force x"
        );
        delete(&root, &id("x"), true).expect("force");
        assert!(child.wait().expect("wait").code().is_none(), "killed by a signal");
    }

    #[test]
    fn a_created_container_is_killed_and_a_stranger_is_not() {
        let scratch = Scratch::new();
        let root = scratch.root();
        let (mut child, init) = process();
        make(&root, |record| record.init = Some(init));
        let dir = root.open_dir(&id("x")).expect("open");
        dir.make_gate().expect("gate");
        let _held = dir.open_gate_for_init().expect("gate");
        delete(&root, &id("x"), false).expect("created");
        child.wait().expect("wait");

        let (mut stranger, mut init) = process();
        init.start_time -= 1;
        make(&root, |record| record.init = Some(init));
        delete(&root, &id("x"), true).expect("stopped");
        init.start_time += 1;
        make(&root, |record| {
            record.init = Some(init);
            record.boot_id = "another".into();
        });
        delete(&root, &id("x"), true).expect("of another boot");
        assert!(stranger.try_wait().expect("wait").is_none(), "still alive");
        stranger.kill().expect("kill");
        stranger.wait().expect("wait");
    }
}
