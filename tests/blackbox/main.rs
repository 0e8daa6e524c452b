//! Black-box tests: they drive a built OCI runtime on real bundles.
//!
//! ```text
//! cargo test --test blackbox                          all tests, on the `rt` just built
//! cargo test --test blackbox -- mounts:: --test-threads 1
//! RT_BIN=/usr/sbin/runc cargo test --test blackbox    the same tests on a peer
//! ```
//!
//! | variable       | meaning                                                                |
//! |----------------|------------------------------------------------------------------------|
//! | RT_BIN         | the runtime to test (default: the `rt` of this build)                  |
//! | RT_TEST_DEBIAN | a tar of a Debian root file system (with python3) for the Debian tests |
//! | RT_TEST_DRIVER | `systemd` makes the cgroups of all containers, instead of the runtime         |
//! | RT_TEST_SLOW   | how many times slower the machine is (an emulated one: 20)             |
//! | RT_TEST_KEEP   | keep the scratch directory (only without root)                         |
//! | RT_TEST_HOST   | this machine is there for tests: as root, use it as it is, with systemd |
//!
//! This one static binary plays four parts:
//! - the *outer* process (root only) makes a cgroup, starts the runner in namespaces of its
//!   own, and kills and removes that cgroup at the end (`support::isolate`);
//! - the *runner* lists, selects and reports tests (`support::suite`);
//! - a *worker* runs one test as a process of its own, a subreaper in its own mount
//!   namespace, so that whatever the runtime leaves behind is seen (`support::worker`);
//! - the *probe* runs inside containers, as `/probe`, and says what it sees (`probe`).

mod probe;
mod support;

mod bounded;
mod budget;
mod callers;
mod cgroups;
mod cli;
mod confined;
mod debian;
mod delegation;
mod documented;
mod elsewhere;
mod engines;
mod events;
mod examples;
mod exchanged;
mod exec;
mod faults;
mod handed_devices;
mod hooks;
mod hooks_confined;
mod host_devices;
mod hostile;
mod killed;
mod later_version;
mod lifecycle;
mod limits;
mod messages;
mod mount_tree;
mod mounts;
mod mounts_copyup;
mod mounts_flags;
mod mounts_idmap;
mod mounts_joined;
mod mounts_kinds;
mod mounts_links;
mod mounts_many;
mod mounts_super;
mod mounts_targets;
mod mounts_words;
mod namespaces;
mod nested;
mod netdevices;
mod notify;
mod process;
mod procfs_joined;
mod rdt;
mod removal;
mod rootfs;
mod rootless;
mod scheduling;
mod sd_notify;
mod seccomp;
mod security;
mod selinux;
mod signals;
mod stdio;
mod symlinks;
mod system;
mod systemd;
mod systemd_fake;
mod systemd_limits;
mod terminal;
mod traps;
mod update;
mod update_memory;
mod update_whole;
mod watched;
mod watched_variants;

use std::process::ExitCode;

fn all() -> Vec<support::Test> {
    [
        lifecycle::tests(),
        later_version::tests(),
        cli::tests(),
        messages::tests(),
        documented::tests(),
        engines::tests(),
        examples::tests(),
        process::tests(),
        procfs_joined::tests(),
        scheduling::tests(),
        rdt::tests(),
        namespaces::tests(),
        mounts::tests(),
        mount_tree::tests(),
        mounts_flags::tests(),
        mounts_words::tests(),
        mounts_idmap::tests(),
        mounts_joined::tests(),
        mounts_super::tests(),
        mounts_copyup::tests(),
        mounts_kinds::tests(),
        mounts_links::tests(),
        mounts_targets::tests(),
        mounts_many::tests(),
        rootfs::tests(),
        stdio::tests(),
        terminal::tests(),
        signals::tests(),
        exec::tests(),
        hooks::tests(),
        hooks_confined::tests(),
        cgroups::tests(),
        delegation::tests(),
        update::tests(),
        update_memory::tests(),
        update_whole::tests(),
        events::tests(),
        limits::tests(),
        removal::tests(),
        systemd::tests(),
        systemd_limits::tests(),
        systemd_fake::tests(),
        seccomp::tests(),
        notify::tests(),
        sd_notify::tests(),
        netdevices::tests(),
        security::tests(),
        watched::tests(),
        watched_variants::tests(),
        confined::tests(),
        exchanged::tests(),
        traps::tests(),
        bounded::tests(),
        handed_devices::tests(),
        host_devices::tests(),
        selinux::tests(),
        symlinks::tests(),
        hostile::tests(),
        nested::tests(),
        rootless::tests(),
        killed::tests(),
        faults::tests(),
        callers::tests(),
        elsewhere::tests(),
        budget::tests(),
        debian::tests(),
        system::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    if args.first().is_some_and(|name| name.rsplit('/').next() == Some("probe")) {
        return probe::main(&args[1..]);
    }
    if let Some(name) = std::env::var_os("RT_TEST_WORKER") {
        return support::worker::main(&name.to_string_lossy(), all());
    }
    support::suite::main(all())
}
