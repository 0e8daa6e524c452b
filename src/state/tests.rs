//! The directory on a real file system: gate, lock, replacement, removal.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::error::Kind;

/// A directory that goes away with the test.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rt-state-{}-{number}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path).expect("scratch directory");
        Scratch(path)
    }

    pub(crate) fn root(&self) -> StateRoot {
        StateRoot::open(&self.0.join("a/root"), true).expect("root")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn id(text: &str) -> Id {
    Id::parse(text).expect("id")
}

pub(crate) fn record(text: &str) -> Record {
    Record::intent(&id(text), "1.2.0", "/b".into(), "/b/rootfs".into()).expect("intent")
}

#[test]
fn a_root_is_private_and_ours() {
    let scratch = Scratch::new();
    let path = scratch.0.join("a/root");
    assert_eq!(StateRoot::open(&path, false).expect("absent").list().expect("list"), []);
    let root = scratch.root();
    assert_eq!(fs::metadata(&path).expect("made").permissions().mode() & 0o777, 0o700);
    assert_eq!(root.open_dir(&id("x")).expect_err("absent").kind_of(), Kind::NotFound);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o702)).expect("chmod");
    let error = StateRoot::open(&path, true).expect_err("others may write").to_string();
    assert!(error.contains("0702"), "{error}");
}

#[test]
fn a_record_is_replaced_as_a_whole() {
    let scratch = Scratch::new();
    let root = scratch.root();
    let dir = root.create(&id("x")).expect("create");
    assert_eq!(root.create(&id("x")).expect_err("twice").kind_of(), Kind::Exists);
    assert_eq!(dir.load().expect_err("no record").kind_of(), Kind::NotFound);
    let path = scratch.0.join("a/root/x");
    fs::write(path.join(".state.json.new"), "left over").expect("write");
    dir.save(&record("x")).expect("save");
    dir.save_config(b"{}").expect("config");
    assert_eq!(dir.load().expect("load").id, "x");
    assert_eq!(dir.config().expect("config"), b"{}");
    assert_eq!(fs::read_dir(&path).expect("list").count(), 2);

    for (text, word) in [("", "EOF"), ("{\"version\":1,", "EOF"), ("[]", "invalid")] {
        fs::write(path.join("state.json"), text).expect("write");
        let error = dir.load().expect_err(text).to_string();
        assert!(error.contains(word) && error.contains("rt delete --force x"), "{error}");
    }
    let mut later = record("x");
    for version in ["2", "4294967296", "18446744073709551616", "1.5"] {
        // Of the rest, nothing is known.
        let text = format!(r#"{{"version":{version},"id":["x"]}}"#);
        fs::write(path.join("state.json"), &text).expect("write");
        fs::write(path.join("intent.json"), &text).expect("write");
        for error in [dir.load().expect_err("later"), dir.load_intent().expect_err("later")] {
            assert_eq!(error.kind_of(), Kind::Failed, "{error}");
            assert!(error.to_string().contains("use the rt that has made it"), "{error}");
        }
    }
    fs::remove_file(path.join("intent.json")).expect("unlink");
    later.version = VERSION + 1;
    dir.save(&later).expect("save");
    assert!(dir.load().expect_err("later version").to_string().contains("version 2"));
    dir.save(&record("y")).expect("save");
    assert!(dir.load().is_err(), "the record of another container");
}

#[test]
fn a_note_of_memory_high_is_kept_until_it_is_forgotten() {
    let scratch = Scratch::new();
    let dir = scratch.root().create(&id("x")).expect("create");
    assert_eq!(dir.high().expect("none"), None);
    dir.forget_high().expect("nothing to forget");
    dir.save_high("max").expect("save");
    assert_eq!(dir.high().expect("read").as_deref(), Some("max"));
    dir.forget_high().expect("forget");
    assert_eq!(dir.high().expect("none"), None);
}

#[test]
fn the_gate_knows_who_waits() {
    let scratch = Scratch::new();
    let dir = scratch.root().create(&id("x")).expect("create");
    dir.make_gate().expect("make");
    assert!(!dir.at_gate().expect("nobody"));
    assert_eq!(dir.open_gate().expect_err("nobody").kind_of(), Kind::WrongStatus);
    let init = dir.open_gate_for_init().expect("open");
    assert!(dir.at_gate().expect("somebody"));
    let gate = dir.open_gate().expect("let pass");
    let mut byte = [0u8; 2];
    assert_eq!(nix::unistd::read(&init, &mut byte).expect("one byte"), 1);
    assert!(!dir.at_gate().expect("no gate any more"));
    // As one that cannot execute its program leaves it.
    nix::unistd::write(&init, b"1").expect("a byte");
    drop(init);
    let error = gate.wait_until_executed().expect_err("failed").to_string();
    assert!(error.contains("could not be executed"), "{error}");
    dir.make_gate().expect("make");
    let init = dir.open_gate_for_init().expect("open");
    let gate = dir.open_gate().expect("let pass");
    assert_eq!(nix::unistd::read(&init, &mut byte).expect("one byte"), 1);
    drop(init);
    gate.wait_until_executed().expect("passed");
}

#[test]
fn a_lock_excludes_and_a_deleted_container_stays_deleted() {
    let scratch = Scratch::new();
    let first = scratch.root().create(&id("x")).expect("create");
    let path = scratch.0.join("a/root");
    let waiting = std::thread::spawn(move || {
        let dir = StateRoot::open(&path, false).expect("root").open_dir(&id("x")).expect("open");
        dir.lock().expect_err("it was deleted meanwhile").kind_of()
    });
    std::thread::sleep(Duration::from_millis(50));
    assert!(!waiting.is_finished());
    first.remove().expect("remove");
    assert_eq!(waiting.join().expect("join"), Kind::NotFound);
}

#[test]
fn removal_follows_no_link() {
    let scratch = Scratch::new();
    let root = scratch.root();
    let canary = scratch.0.join("canary");
    fs::create_dir(&canary).expect("mkdir");
    fs::write(canary.join("file"), "").expect("write");

    let dir = root.create(&id("x")).expect("create");
    let path = scratch.0.join("a/root");
    fs::create_dir_all(path.join("x/deep/er")).expect("mkdir");
    symlink(&canary, path.join("x/deep/link")).expect("symlink");
    dir.remove().expect("remove");

    symlink(&canary, path.join("y")).expect("symlink");
    assert!(root.open_dir(&id("y")).is_err());
    assert!(root.remove_stray(&id("y")).expect("unlink"));
    assert!(!root.remove_stray(&id("y")).expect("gone"));
    assert!(canary.join("file").exists());
    assert_eq!(fs::read_dir(&path).expect("list").count(), 0);
}

#[test]
fn an_interrupted_removal_is_finished() {
    let scratch = Scratch::new();
    let root = scratch.root();
    let path = scratch.0.join("a/root");
    fs::create_dir(path.join(".removed.7")).expect("mkdir");
    fs::write(path.join(".removed.7/state.json"), "{}").expect("write");
    root.create(&id("b")).expect("create");
    root.create(&id("a")).expect("create");
    assert_eq!(root.list().expect("list"), [id("a"), id("b")]);
    root.sweep().expect("sweep");
    assert_eq!(fs::read_dir(&path).expect("list").count(), 2);
}

#[test]
fn status_of_a_container_in_the_making() {
    let scratch = Scratch::new();
    let root = scratch.root();
    let dir = root.create(&id("x")).expect("create");
    let mut record = record("x");
    dir.save(&record).expect("save");
    let status = || Container::load(&root, &id("x")).expect("load").status().expect("status");
    assert_eq!(status(), Status::Creating);
    record.creator.start_time += 1;
    dir.save(&record).expect("save");
    assert_eq!(status(), Status::Stopped);
    record.init = Some(Process::current().expect("this"));
    dir.save(&record).expect("save");
    assert_eq!(status(), Status::Running);
    record.boot_id = "another".into();
    dir.save(&record).expect("save");
    assert_eq!(status(), Status::Stopped);
    let container = Container::load(&root, &id("x")).expect("load");
    assert!(container.init().expect("init").is_none(), "of another boot: not to be signalled");
}
