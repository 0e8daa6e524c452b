//! Kills all processes that came from a hook, however they have detached themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::sys::{io, pidfd, proc};

/// A process in an uninterruptible sleep ends later than it is killed, or never.
const PATIENCE: Duration = Duration::from_millis(900);

/// Kills all descendants of the stage, which as a subreaper is the parent of orphans too.
/// Those in another pid namespace go to that one's first process, `adopter`: a container
/// that waits for its hooks has no other children. Whether nothing is left.
pub(super) fn kill(stage: i32, adopter: Option<i32>) -> bool {
    // Of a joined pid namespace the first process belongs to somebody else.
    let adopter = adopter.filter(|pid| proc::is_first_of_namespace(*pid).unwrap_or(false));
    let roots: BTreeSet<i32> = adopter.into_iter().chain([stage]).collect();
    let give_up = Instant::now() + PATIENCE;
    let mut clean = 0;
    loop {
        // Again and again: whoever was just forking has a child that was not yet seen, and
        // a look at /proc takes longer than it takes to fork and exit.
        let parents = parents();
        let mut alive = false;
        for pid in parents.keys().filter(|pid| !roots.contains(pid)) {
            if comes_from(*pid, &roots, &parents) {
                kill_one(*pid, &parents);
                alive = true;
            }
        }
        clean = if alive { 0 } else { clean + 1 };
        if clean == 2 {
            return true;
        }
        if Instant::now() >= give_up {
            return false;
        }
        // An empty set: a short sleep.
        let _ = io::poll(&mut [], 2);
    }
}

/// The parent of each process that is not yet dead.
fn parents() -> BTreeMap<i32, i32> {
    let pids = proc::pids().unwrap_or_default().into_iter();
    let stat = |pid: i32| proc::stat(pid).ok().filter(|stat| !stat.is_dead());
    pids.filter_map(|pid| Some((pid, stat(pid)?.parent))).collect()
}

fn comes_from(pid: i32, roots: &BTreeSet<i32>, parents: &BTreeMap<i32, i32>) -> bool {
    let mut at = pid;
    // Bounded: the list is no snapshot, and pids that are used again could make a circle.
    for _ in 0..parents.len() {
        let Some(parent) = parents.get(&at) else { return false };
        if roots.contains(parent) {
            return true;
        }
        at = *parent;
    }
    false
}

/// By descriptor, and only if it is still the process that was seen.
fn kill_one(pid: i32, parents: &BTreeMap<i32, i32>) {
    let Ok(process) = pidfd::open(pid) else { return };
    let same = proc::stat(pid).is_ok_and(|stat| parents.get(&pid) == Some(&stat.parent));
    if same {
        // It is gone, or it is no process of ours to kill: the next look tells.
        let _ = pidfd::send_signal(process.as_fd(), libc::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_descendants_count() {
        let parents = BTreeMap::from([(2, 1), (3, 2), (4, 3), (5, 1), (6, 7), (7, 6)]);
        let roots = BTreeSet::from([2]);
        let found: Vec<i32> =
            parents.keys().copied().filter(|pid| comes_from(*pid, &roots, &parents)).collect();
        assert_eq!(found, [3, 4]);
    }
}
