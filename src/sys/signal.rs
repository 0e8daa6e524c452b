//! Signals: blocked before a clone, restored right before execve. Child-safe.

use core::mem::MaybeUninit;

use nix::errno::Errno;

use super::{RawFd, check_fd, check_unit};

/// A signal mask of the kernel: bit n-1 is signal n.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mask(u64);

impl Mask {
    /// No signal.
    pub const NONE: Mask = Mask(0);
    /// All signals.
    pub const ALL: Mask = Mask(!0);

    /// These signals.
    pub fn of(signals: &[i32]) -> Self {
        signals.iter().fold(Mask::NONE, |mask, signal| Mask(mask.0 | 1 << (signal - 1)))
    }

    /// The mask with the kernel's bits.
    pub fn from_bits(bits: u64) -> Self {
        Mask(bits)
    }

    /// The kernel's bits.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Whether the signal is in it.
    pub fn has(self, signal: i32) -> bool {
        self.0 & 1 << (signal - 1) != 0
    }

    /// The mask without those of another.
    #[must_use]
    pub fn except(self, other: Mask) -> Self {
        Mask(self.0 & !other.0)
    }

    /// The mask without these signals.
    #[must_use]
    pub fn without(self, signals: &[i32]) -> Self {
        signals.iter().fold(self, |mask, signal| Mask(mask.0 & !(1 << (signal - 1))))
    }
}

/// rt_sigprocmask(2) `SIG_SETMASK`; the old mask.
pub fn set_mask(mask: Mask) -> Result<Mask, Errno> {
    let mut old = 0u64;
    // SAFETY: both masks are 8 bytes, as the fourth argument says.
    check_unit(unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask.0,
            &raw mut old,
            size_of::<u64>(),
        )
    })?;
    Ok(Mask(old))
}

/// Gives a signal its default action. Not by the C library, which keeps two signals for itself:
/// also those may be ignored.
pub fn set_default(signal: i32) -> Result<(), Errno> {
    // struct sigaction of the kernel, at its longest: handler, flags, restorer, mask.
    let default = [0u64; 4];
    let none = core::ptr::null_mut::<u64>();
    // SAFETY: a whole struct of zeros, which is SIG_DFL; the old one is not asked for.
    check_unit(unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, size_of::<u64>())
    })
}

/// Gives these signals their default actions.
pub fn set_defaults(signals: Mask) -> Result<(), Errno> {
    (1..=64).filter(|signal| signals.has(*signal)).try_for_each(set_default)
}

/// What `rt` itself depends on, whatever its caller ignores: that a child's end can be waited
/// for (wait(2), "SIGCHLD"), and that a write beyond RLIMIT_FSIZE fails with EFBIG instead of ending
/// it half-way. All else stays as the caller wants it until a program is executed.
pub fn own() {
    // Neither can fail for a signal that is there and can be ignored.
    let _ = set_default(libc::SIGCHLD);
    let _ = ignore(libc::SIGXFSZ);
}

/// Ignores a signal.
pub fn ignore(signal: i32) -> Result<(), Errno> {
    set_handler(signal, libc::SIG_IGN)
}

fn set_handler(signal: i32, handler: libc::sighandler_t) -> Result<(), Errno> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zeroed plain data.
    let action = unsafe {
        let action = action.assume_init_mut();
        action.sa_sigaction = handler;
        action
    };
    let action: *const libc::sigaction = action;
    // SAFETY: action is a whole struct sigaction with SIG_DFL, SIG_IGN or a function that
    // does nothing.
    check_unit(unsafe { libc::sigaction(signal, action, core::ptr::null_mut()) }.into())
}

/// A descriptor from which the signals of `mask` are read (signalfd(2)).
pub fn signalfd(mask: Mask) -> Result<RawFd, Errno> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the mask is 8 bytes, as the third argument says.
    check_fd(unsafe {
        libc::syscall(libc::SYS_signalfd4, -1, &raw const mask.0, size_of::<u64>(), flags)
    })
}

/// Ends system calls that take longer, by SIGALRM: with `EINTR`, or early, as the call
/// does. Parent only; SIGALRM must not be blocked.
#[derive(Debug)]
pub struct Alarm(());

impl Alarm {
    /// The first signal comes after `first`, and then, since it may have come between two
    /// calls, one every tenth of a second.
    pub fn after(first: core::time::Duration) -> Result<Self, Errno> {
        extern "C" fn nothing(_: libc::c_int) {}
        let handler = nothing as extern "C" fn(libc::c_int);
        set_handler(libc::SIGALRM, handler as libc::sighandler_t)?;
        let every = core::time::Duration::from_millis(100);
        set_timer(first.max(every), every)?;
        Ok(Alarm(()))
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let none = core::time::Duration::ZERO;
        // A timer that is valid cannot be refused.
        let _ = set_timer(none, none);
    }
}

/// setitimer(2) `ITIMER_REAL`: a first time, and one for all later.
fn set_timer(first: core::time::Duration, every: core::time::Duration) -> Result<(), Errno> {
    let words = |time: core::time::Duration| [time.as_secs(), time.subsec_micros().into()];
    // struct __kernel_old_itimerval: the interval first, each in seconds and microseconds.
    let timer = [words(every), words(first)];
    let none = core::ptr::null_mut::<u64>();
    // SAFETY: timer is four words, as the kernel reads, and the old one is not asked for.
    check_unit(unsafe {
        libc::syscall(libc::SYS_setitimer, libc::ITIMER_REAL, timer.as_ptr(), none)
    })
}

/// A signal that was sent to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Which one.
    pub signal: i32,
    /// Who sent it, as our pid namespace has it; the kernel's own have 0 or our own pid.
    pub sender: u32,
}

/// The next signal that waits in a [`signalfd`].
pub fn next(signalfd: RawFd) -> Result<Option<Received>, Errno> {
    // struct signalfd_siginfo: 128 bytes that begin with signo, errno, code, pid.
    let mut info = [0u8; 128];
    match super::fs::read(signalfd, &mut info) {
        Ok(_) => {
            let word = |at: usize| [info[at], info[at + 1], info[at + 2], info[at + 3]];
            let signal = i32::from_ne_bytes(word(0));
            Ok(Some(Received { signal, sender: u32::from_ne_bytes(word(12)) }))
        }
        Err(Errno::EAGAIN) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// All signals are blocked as long as this lives. Parent only.
#[derive(Debug)]
pub struct Blocked(Mask);

impl Blocked {
    /// Blocks them.
    pub fn all() -> Result<Self, Errno> {
        set_mask(Mask::ALL).map(Blocked)
    }

    /// Blocks all but the one that an [`Alarm`] needs.
    pub fn all_but_alarm() -> Result<Self, Errno> {
        set_mask(Mask::ALL.without(&[libc::SIGALRM])).map(Blocked)
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // Setting a mask that was in force before cannot fail.
        let _ = set_mask(self.0);
    }
}
