//! One test, one process: a subreaper in its own mount namespace.
//!
//! Whatever the runtime leaves running becomes a child of this process, and whatever it
//! leaves mounted shows in this process' mount table; `leak` looks for both.

use super::{Case, Test, leak, suite, sys};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Exit code of a test that found out at run time that it cannot run here.
pub const SKIPPED: i32 = 77;

/// The directory of one test: short, since socket paths in it must fit into 108 bytes.
pub fn directory(scratch: &Path, name: &str) -> PathBuf {
    let hash =
        name.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    scratch.join("cases").join(format!("{hash:08x}"))
}

/// The cgroup of one test, in which its containers are placed.
pub fn cgroup(name: &str) -> PathBuf {
    Path::new("/sys/fs/cgroup").join(format!("t.{}", name.replace("::", ".")))
}

/// Ends the test as skipped.
pub fn skip(why: &str) -> ! {
    println!("{why}");
    std::process::exit(SKIPPED);
}

/// Runs the named test.
pub fn main(name: &str, tests: Vec<Test>) -> ExitCode {
    let Some(test) = tests.into_iter().find(|test| test.name == name) else {
        eprintln!("no test {name}");
        return ExitCode::from(2);
    };
    let scratch = PathBuf::from(std::env::var_os("RT_TEST_SCRATCH").expect("RT_TEST_SCRATCH"));
    let case = prepare(&scratch, &test);
    let before = leak::Fingerprint::take(&case);
    let failed = catch_unwind(AssertUnwindSafe(|| (test.run)(&case))).is_err();
    if failed {
        delete_all(&case);
    }
    let left = before.compare(&case, failed);
    for line in &left {
        eprintln!("left behind: {line}");
    }
    ExitCode::from(u8::from(failed || !left.is_empty()))
}

/// What a failed test has left: an ordinary user's containers have no cgroup of the test's around them,
/// and the next test would find theirs.
fn delete_all(case: &Case) {
    for entry in fs::read_dir(&case.state).into_iter().flatten().flatten() {
        case.rt(&["delete", "--force", &entry.file_name().to_string_lossy()]);
    }
}

fn prepare(scratch: &Path, test: &Test) -> Case {
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1).expect("become a subreaper");
    let directory = directory(scratch, &test.name);
    fs::create_dir_all(&directory).expect("make the test's directory");
    let privileged = sys::is_root();
    if privileged {
        sys::unshare(libc::CLONE_NEWNS).expect("unshare the mount namespace");
        let private = libc::MS_REC | libc::MS_PRIVATE;
        sys::mount("none", Path::new("/"), "", private, "").expect("make mounts private");
        fs::create_dir(cgroup(&test.name)).expect("make the test's cgroup");
    }
    if test.is_rootless() && privileged {
        let user = suite::ORDINARY_USER;
        std::os::unix::fs::chown(&directory, Some(user), Some(user)).expect("chown");
        name_the_user(&directory, user);
        sys::become_user(user).expect("become an ordinary user");
    }
    Case::new(scratch, directory, &test.name, test.is_rootless() || !privileged)
}

/// Gives the ordinary user a name and subordinate ids, in this mount namespace only.
fn name_the_user(directory: &Path, user: u32) {
    let files = [
        ("passwd", format!("rt-test:x:{user}:{user}::/:/bin/sh\n")),
        ("group", format!("rt-test:x:{user}:\n")),
        ("subuid", "rt-test:700000:65536\n".to_string()),
        ("subgid", "rt-test:800000:65536\n".to_string()),
    ];
    fs::create_dir(directory.join("etc")).expect("make a directory");
    for (name, line) in files {
        let real = Path::new("/etc").join(name);
        if let Ok(text) = fs::read_to_string(&real) {
            let copy = directory.join("etc").join(name);
            fs::write(&copy, text + &line).expect("write a copy");
            sys::bind(&copy, &real).expect("bind the copy");
        }
    }
}
