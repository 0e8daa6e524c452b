//! The character devices that every container has nodes of its own of. They are the same device
//! whichever node is opened, and a node is a file: whoever may change its mode or its owner takes
//! the device away from all who use that node. Child-safe.

use core::ffi::CStr;

/// `MEM_MAJOR` and `TTYAUX_MAJOR` of `linux/major.h`.
const MEM_MAJOR: u32 = 1;
const TTYAUX_MAJOR: u32 = 5;

/// One of these devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Common {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Where it is, here as in a container.
    pub path: &'static CStr,
}

const fn memory(minor: u32, path: &'static CStr) -> Common {
    Common { major: MEM_MAJOR, minor, path }
}

/// The null device.
pub const NULL: Common = memory(3, c"/dev/null");

/// Those without a state, so that one file of it is as good as another: all but terminals.
const ALIKE: [Common; 5] = [
    NULL,
    memory(5, c"/dev/zero"),
    memory(7, c"/dev/full"),
    memory(8, c"/dev/random"),
    memory(9, c"/dev/urandom"),
];

/// The terminal of whoever opens it.
const TTY: Common = Common { major: TTYAUX_MAJOR, minor: 0, path: c"/dev/tty" };

/// All of them (config-linux.md, "Default Devices").
pub const DEFAULTS: [Common; 6] = {
    let [null, zero, full, random, urandom] = ALIKE;
    [null, zero, full, random, urandom, TTY]
};

impl Common {
    /// makedev(3).
    pub fn number(self) -> u64 {
        libc::makedev(self.major, self.minor)
    }

    /// Its name in /dev.
    pub fn name(self) -> &'static CStr {
        let name = self.path.to_bytes_with_nul().get(c"/dev/".count_bytes()..).unwrap_or_default();
        CStr::from_bytes_until_nul(name).unwrap_or_default()
    }

    /// The one that a file is, if it is not a terminal.
    pub fn of(stat: &libc::stat) -> Option<Self> {
        let is_char = stat.st_mode & libc::S_IFMT == libc::S_IFCHR;
        ALIKE.into_iter().find(|device| is_char && device.number() == stat.st_rdev)
    }

    /// This one, to be opened with these flags, as a number.
    pub fn wanted(self, flags: i32) -> u64 {
        u64::from(self.minor) << 32 | u64::from(flags as u32)
    }

    /// The inverse of [`Common::wanted`]. Flags that could make or change a file are left out.
    pub fn from_wanted(wanted: u64) -> Option<(Self, i32)> {
        let device = ALIKE.into_iter().find(|device| u64::from(device.minor) == wanted >> 32)?;
        Some((device, reopened(wanted as u32 as i32)))
    }
}

/// The flags by which a file that was opened with `flags` is opened in another place.
pub fn reopened(flags: i32) -> i32 {
    match flags & libc::O_PATH {
        0 => flags & (libc::O_ACCMODE | libc::O_APPEND | libc::O_NONBLOCK) | libc::O_NOCTTY,
        path => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_survives_and_can_make_nothing() {
        let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_TRUNC;
        for device in ALIKE {
            let (found, flags) = Common::from_wanted(device.wanted(flags)).expect("a device");
            assert_eq!(found, device);
            assert_eq!(flags, libc::O_WRONLY | libc::O_APPEND | libc::O_NOCTTY);
        }
        let path = NULL.wanted(libc::O_PATH | libc::O_CLOEXEC);
        assert_eq!(Common::from_wanted(path), Some((NULL, libc::O_PATH)));
        assert_eq!(Common::from_wanted(0), None);
    }

    #[test]
    fn devices_are_what_they_are_here() {
        for device in DEFAULTS {
            let here = nix::sys::stat::stat(device.path).expect("a device");
            assert_eq!(here.st_rdev, device.number(), "{device:?}");
            assert_eq!(Common::of(&here), Some(device).filter(|device| *device != TTY));
            assert_eq!(
                [c"/dev/", device.name()].map(CStr::to_bytes).concat(),
                device.path.to_bytes()
            );
        }
    }
}
