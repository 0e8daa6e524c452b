//! Clocks (clock_gettime(2)). Parent only.

use std::time::Duration;

use nix::errno::Errno;

use super::check_unit;

/// What a clock of ours shows, `CLOCK_*`. By a system call, since the first use of the vDSO takes two
/// page faults and a search for its symbols.
pub fn now(clock: i32) -> Result<libc::timespec, Errno> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: now is a live timespec, of 64-bit words as the kernel has them.
    check_unit(unsafe { libc::syscall(libc::SYS_clock_gettime, clock, &raw mut now) })?;
    Ok(now)
}

/// The time since 1970 in UTC.
pub fn since_1970() -> Duration {
    // There is always such a clock.
    let Ok(now) = now(libc::CLOCK_REALTIME) else { return Duration::ZERO };
    let (seconds, nanoseconds) = (now.tv_sec.try_into(), now.tv_nsec.try_into());
    Duration::new(seconds.unwrap_or(0), nanoseconds.unwrap_or(0))
}
