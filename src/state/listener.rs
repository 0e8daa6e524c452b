//! The memory by which `start` learns of the seccomp listener of an init that `create` has
//! made: a file of one page, mapped by both (see `child::listener`). The container never
//! sees it.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::StateDir;
use crate::error::{Doing, Error, Result};
use crate::sys::page::SharedPage;

const PAGE: &str = "listener";

impl StateDir {
    /// Makes the page.
    pub fn make_listener_page(&self) -> Result<OwnedFd> {
        let doing = || format!("make the listener's page of container {}", self.id());
        let file = File::from(self.open_page(OFlag::O_CREAT | OFlag::O_EXCL).doing(doing)?);
        file.set_len(SharedPage::SIZE as u64).doing(doing)?;
        Ok(file.into())
    }

    /// Maps the page, whose name is then gone: there is one start.
    pub fn take_listener_page(&self) -> Result<&'static SharedPage> {
        let doing = || format!("open the listener's page of container {}", self.id());
        let file = File::from(self.open_page(OFlag::empty()).doing(doing)?);
        if file.metadata().doing(doing)?.len() < SharedPage::SIZE as u64 {
            // To touch it would be a SIGBUS.
            return Err(Error::new(doing()).detail("the file is too short"));
        }
        let page = SharedPage::map(Some(file.as_raw_fd())).doing(doing)?;
        unlinkat(self.fd(), PAGE, UnlinkatFlags::NoRemoveDir).doing(doing)?;
        Ok(page)
    }

    fn open_page(&self, more: OFlag) -> Result<OwnedFd, Errno> {
        let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | more;
        openat(self.fd(), PAGE, flags, Mode::from_bits_truncate(0o600))
    }
}
