//! Less memory for processes that run. To write memory.max alone would have the kernel kill
//! some of them when it cannot reclaim enough at once: so they are first slowed down by
//! memory.high, while what can be written back or swapped out goes.

use std::os::fd::{AsFd, BorrowedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::files;
use crate::error::{Doing, Error, Kind, Result};
use crate::model::cgroup::Check;
use crate::sys::signal::Alarm;

/// How long memory is reclaimed as long as that helps.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may not help.
const STALLED: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);
/// What is asked for at once: progress is to be seen in between.
const PORTION: u64 = 256 << 20;

/// memory.high as it is to be again. It is not the limit: what remains when nothing more
/// can be reclaimed is the business of memory.max.
#[derive(Debug)]
pub(super) struct Slowed<'a> {
    cgroup: BorrowedFd<'a>,
    before: Option<String>,
}

impl Drop for Slowed<'_> {
    fn drop(&mut self) {
        if let Some(before) = &self.before
            && let Err(errno) = files::write(self.cgroup, "memory.high", before)
        {
            tracing::warn!("memory.high cannot be set back to {before}: {errno}");
        }
    }
}

/// Brings the memory in use to `limit` or below, as far as that is possible, and holds it
/// there until the answer is dropped. With `check`, not to come so far is an error.
pub(super) fn make_room<'a>(
    cgroup: BorrowedFd<'a>,
    limit: u64,
    check: Option<&Check>,
) -> Result<Slowed<'a>> {
    let mut slowed = Slowed { cgroup, before: None };
    let used = || number(cgroup, "memory.current").doing(|| "read memory.current");
    if used()? > limit {
        let _alarm = Alarm::after(PATIENCE).doing(|| "set a timer")?;
        slowed.before = slow_down(cgroup, limit).doing(|| "set memory.high")?;
        reclaim(cgroup, limit).doing(|| "reclaim memory")?;
    }
    let used = used()?;
    let Some(check) = check else {
        if used > limit {
            tracing::warn!(
                "{used} bytes are in use; with a limit of {limit} the OOM killer will act"
            );
        }
        return Ok(slowed);
    };
    compare_swap(cgroup, check)?;
    if used > limit { Err(rejected("memory", limit, used)) } else { Ok(slowed) }
}

/// Compares what is in swap, and with memory, with the new limits.
pub(super) fn compare_swap(cgroup: BorrowedFd<'_>, check: &Check) -> Result<()> {
    let read = |file: &str| match number(cgroup, file) {
        Err(Errno::ENOENT) => Ok(0),
        other => other.doing(|| format!("read {file}")),
    };
    let swapped = read("memory.swap.current")?;
    let used = read("memory.current")?.saturating_add(swapped);
    match *check {
        Check { with_swap: Some(both), .. } if used > both => {
            Err(rejected("memory+swap", both, used))
        }
        Check { swap: Some(limit), .. } if swapped > limit => Err(rejected("swap", limit, swapped)),
        _ => Ok(()),
    }
}

/// In the words of runc.
fn rejected(what: &str, limit: u64, used: u64) -> Error {
    Error::new(format!("rejecting {what} limit {limit} <= usage {used}"))
        .kind(Kind::Failed)
        .detail("checkBeforeUpdate is set, and no more can be reclaimed")
}

/// What was there before, if it was changed.
fn slow_down(cgroup: BorrowedFd<'_>, limit: u64) -> Result<Option<String>, Errno> {
    let before = files::read_short(cgroup, "memory.high")?.trim().to_owned();
    if before.parse().is_ok_and(|high: u64| high <= limit) {
        return Ok(None);
    }
    // The write reclaims as well, until a signal comes.
    files::write(cgroup, "memory.high", &limit.to_string())?;
    Ok(Some(before))
}

/// Ends when enough is gone, when nothing goes any more, or when the time is up.
fn reclaim(cgroup: BorrowedFd<'_>, limit: u64) -> Result<(), Errno> {
    let begun = Instant::now();
    let (mut least, mut progress) = (u64::MAX, begun);
    loop {
        let used = number(cgroup, "memory.current")?;
        let now = Instant::now();
        if used < least {
            (least, progress) = (used, now);
        }
        if used <= limit || now - begun >= PATIENCE || now - progress >= STALLED {
            return Ok(());
        }
        let portion = (used - limit).min(PORTION);
        match files::write(cgroup, "memory.reclaim", &portion.to_string()) {
            Ok(()) => {}
            // Nothing can go now; but pages are being written back. And before Linux 5.19
            // there is no such file: memory.high does all the work.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENOENT) => sleep(PAUSE),
            Err(errno) => return Err(errno),
        }
    }
}

fn number(cgroup: impl AsFd, file: &str) -> Result<u64, Errno> {
    files::read_short(cgroup, file)?.trim().parse().map_err(|_| Errno::EINVAL)
}
