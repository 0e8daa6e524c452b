//! The clock (clock_gettime(2)). Parent only.

use std::time::Duration;

/// The time since 1970 in UTC. By a system call, since the first use of the vDSO takes two page
/// faults and a search for its symbols.
pub fn since_1970() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: now is a live timespec, of 64-bit words as the kernel has them.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_REALTIME, &raw mut now) };
    let (seconds, nanoseconds) = (now.tv_sec.try_into(), now.tv_nsec.try_into());
    Duration::new(seconds.unwrap_or(0), nanoseconds.unwrap_or(0))
}
