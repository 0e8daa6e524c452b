//! The character devices that every container has nodes of its own of. They are the same device
//! whichever node is opened, and a node is a file: whoever may change its mode or its owner takes
//! the device away from all who use that node. Child-safe.

use core::ffi::CStr;

/// `MEM_MAJOR` of `linux/major.h`.
const MEM_MAJOR: u32 = 1;

/// One of these devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Common {
    minor: u32,
    /// Where it is, here as in a container.
    pub path: &'static CStr,
}

/// The null device.
pub const NULL: Common = Common { minor: 3, path: c"/dev/null" };

/// All of them (config-linux.md, "Default Devices"), but for terminals.
const ALL: [Common; 5] = [
    NULL,
    Common { minor: 5, path: c"/dev/zero" },
    Common { minor: 7, path: c"/dev/full" },
    Common { minor: 8, path: c"/dev/random" },
    Common { minor: 9, path: c"/dev/urandom" },
];

impl Common {
    /// The one that a file is.
    pub fn of(stat: &libc::stat) -> Option<Self> {
        let minor = (stat.st_mode & libc::S_IFMT == libc::S_IFCHR
            && libc::major(stat.st_rdev) == MEM_MAJOR)
            .then(|| libc::minor(stat.st_rdev))?;
        ALL.into_iter().find(|device| device.minor == minor)
    }

    /// This one, to be opened with these flags, as a number.
    pub fn wanted(self, flags: i32) -> u64 {
        u64::from(self.minor) << 32 | u64::from(flags as u32)
    }

    /// The inverse of [`Common::wanted`]. Flags that could make or change a file are left out.
    pub fn from_wanted(wanted: u64) -> Option<(Self, i32)> {
        let device = ALL.into_iter().find(|device| u64::from(device.minor) == wanted >> 32)?;
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
        for device in ALL {
            let (found, flags) = Common::from_wanted(device.wanted(flags)).expect("a device");
            assert_eq!(found, device);
            assert_eq!(flags, libc::O_WRONLY | libc::O_APPEND | libc::O_NOCTTY);
        }
        let path = NULL.wanted(libc::O_PATH | libc::O_CLOEXEC);
        assert_eq!(Common::from_wanted(path), Some((NULL, libc::O_PATH)));
        assert_eq!(Common::from_wanted(0), None);
    }
}
