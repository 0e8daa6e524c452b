//! `update` of memory: processes that run are not killed where that can be avoided.

use crate::support::cgroup::Group;
use crate::support::cmd::wait_until;
use crate::support::{Case, Need, worker};
use crate::tests;
use crate::update::{limit, up, update, update_with};
use serde_json::json;
use std::fs;

const M: u64 = 1 << 20;

tests! {
    swap_is_counted_with_memory: anyone().needs(Need::Controller("memory")),
    page_cache_goes_before_processes: anyone().needs(Need::Controller("memory")).rt_only(),
    a_limit_below_what_is_in_use_is_rejected_when_asked: anyone().needs(Need::Controller("memory")).rt_only(),
    a_limit_on_swap_that_was_named_stays: anyone().needs(Need::Controller("memory")).rt_only(),
    memory_high_is_set_back_when_an_update_was_killed:
        anyone().needs(Need::Controller("memory")).rt_only(),
    a_limit_that_cannot_be_met_kills: anyone().needs(Need::Controller("memory")).rt_only(),
}

fn swap_is_counted_with_memory(c: &Case) {
    let g = up(c, json!({"memory": {"limit": 32 * M, "swap": 80 * M}}));
    g.need(c, &["memory.swap.max"]);
    for (args, memory, swap) in [
        (&["--memory", "50M"][..], 50 * M, (30 * M).to_string()),
        (&["--memory-swap", "-1"], 50 * M, "max".into()),
        (&["--memory", "30M", "--memory-swap", "50M"], 30 * M, (20 * M).to_string()),
        (&["--memory", "60M", "--memory-swap", "80M"], 60 * M, (20 * M).to_string()),
    ] {
        update(c, args).ok();
        let now = (g.number("memory.max"), g.read("memory.swap.max"));
        assert_eq!(now, (memory, swap), "{args:?}");
    }
    update(c, &["--memory", "90M"]).fails("swap");
    update(c, &["--memory", "-1"]).ok();
    assert_eq!((g.read("memory.max"), g.read("memory.swap.max")), ("max".into(), "max".into()));
    c.down();
}

/// A directory on a disk: what is in memory of it can be dropped.
pub fn on_disk(c: &Case) -> std::path::PathBuf {
    let dir = std::path::PathBuf::from(format!("/var/tmp/{}", c.name.replace("::", ".")));
    fs::create_dir_all(&dir).unwrap();
    let kind = nix::sys::statfs::statfs(&dir).unwrap().filesystem_type();
    if [nix::sys::statfs::TMPFS_MAGIC, nix::sys::statfs::OVERLAYFS_SUPER_MAGIC].contains(&kind) {
        let _ = fs::remove_dir_all(&dir);
        worker::skip("needs /var/tmp on a disk");
    }
    dir
}

fn page_cache_goes_before_processes(c: &Case) {
    let dir = on_disk(c);
    fs::write(dir.join("data"), vec![b'x'; (64 * M) as usize]).unwrap();
    // Not in memory on our account.
    let file = fs::File::open(dir.join("data")).unwrap();
    file.sync_all().unwrap();
    nix::fcntl::posix_fadvise(&file, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED)
        .unwrap();
    let mut b = c.bundle();
    limit(&mut b, json!({"memory": {"limit": 200 * M, "swap": 200 * M}}));
    b.mount("/data", "bind", &dir.to_string_lossy(), &["bind", "ro"]);
    c.up(b.sh("while :; do cat /data/data >/dev/null; echo read; done"));
    let g = Group::of(c);
    wait_until("the file is in memory", || g.number("memory.current") > 60 * M);
    update(c, &["--memory", "24M", "--memory-swap", "24M"]).ok();
    assert_eq!((g.number("memory.max"), g.read("memory.high")), (24 * M, "max".into()));
    assert!(g.number("memory.current") <= 24 * M);
    assert_eq!((g.value("memory.events", "oom_kill"), c.status()), (0, "running".into()));
    c.down();
    fs::remove_dir_all(dir).unwrap();
}

/// A container that holds memory which cannot be reclaimed.
fn up_with_memory(c: &Case) -> Group {
    let mut b = c.bundle();
    limit(&mut b, json!({"memory": {"limit": 200 * M, "swap": 200 * M}}));
    c.up(b.args(&["/probe", "hold", "32"]));
    let g = Group::of(c);
    wait_until("it holds memory", || g.number("memory.current") > 32 * M);
    g
}

fn a_limit_below_what_is_in_use_is_rejected_when_asked(c: &Case) {
    let g = up_with_memory(c);
    // Not always "max": systemd has a default for all its units.
    let pids = g.read("pids.max");
    for (memory, words) in [
        (json!({"limit": 1024, "checkBeforeUpdate": true}), "rejecting memory limit"),
        (
            json!({"limit": 1024, "swap": 2048, "checkBeforeUpdate": true}),
            "rejecting memory+swap limit",
        ),
    ] {
        update_with(c, json!({"memory": memory, "pids": {"limit": 7}})).fails(words);
        assert_eq!((g.number("memory.max"), g.read("memory.high")), (200 * M, "max".into()));
        assert_eq!((g.read("pids.max"), c.status()), (pids.clone(), "running".into()));
    }
    // However it is written.
    let named = json!({"memory": {"checkBeforeUpdate": true}, "unified": {"memory.max": "1M"}});
    update_with(c, named).fails("rejecting memory limit");
    assert_eq!((g.number("memory.max"), g.read("memory.high")), (200 * M, "max".into()));
    update_with(c, json!({"memory": {"limit": 100 * M, "checkBeforeUpdate": true}})).ok();
    assert_eq!(g.number("memory.max"), 100 * M);
    c.down();
}

fn a_limit_on_swap_that_was_named_stays(c: &Case) {
    let unified = json!({"memory.swap.max": (7 * M).to_string()});
    let g = up(c, json!({"memory": {"limit": 32 * M, "swap": 80 * M}, "unified": unified}));
    g.need(c, &["memory.swap.max"]);
    for memory in ["50M", "90M", "-1"] {
        update(c, &["--memory", memory]).ok();
        assert_eq!(g.number("memory.swap.max"), 7 * M, "{memory}");
    }
    c.down();
}

/// As it is left by an update that was killed while it reclaimed.
fn memory_high_is_set_back_when_an_update_was_killed(c: &Case) {
    let g = up(c, json!({"memory": {"limit": 64 * M}}));
    let note = c.state.join(crate::support::ID).join("memory.high");
    fs::write(&note, "max").unwrap();
    fs::write(g.0.join("memory.high"), (32 * M).to_string()).unwrap();
    update(c, &["--memory", "48M"]).ok();
    assert_eq!((g.number("memory.max"), g.read("memory.high")), (48 * M, "max".into()));
    assert!(!note.exists());
    c.down();
}

fn a_limit_that_cannot_be_met_kills(c: &Case) {
    up_with_memory(c);
    update(c, &["--memory", "1024"]).ok();
    c.wait_for_status("stopped");
    c.down();
}
