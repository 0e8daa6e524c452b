//! What happens when a process is ready, be it the first one of a container or that of an exec: what
//! only the runtime can give it, and who hears of it.

use std::os::fd::AsFd;

use super::fd_socket::Socket;
use super::init::Birth;
use super::pid_file::PidFile;
use super::{stdio, userns_limits};
use crate::error::Result;
use crate::model::process::Process;
use crate::resctrl::{RdtRecord, Resctrl};

/// What is asked for a process.
#[derive(Debug)]
pub(super) struct Ready<'a> {
    pub(super) process: &'a Process,
    /// It has come into a pid namespace by a birth of its own, at which some schedulers are lost.
    pub(super) joins_pid: bool,
    /// It is in a user namespace, and we are root outside of it.
    pub(super) below_root: bool,
    pub(super) rdt: Option<&'a RdtRecord>,
    /// Gets a pidfd, with this text.
    pub(super) pidfd_socket: Option<(&'a Socket, &'static str)>,
    pub(super) pid_file: Option<&'a PidFile>,
}

impl Ready<'_> {
    /// Gives it what it could not take itself.
    pub(super) fn settle(&self, pid: i32) -> Result<()> {
        if self.joins_pid {
            userns_limits::set_scheduler(pid, &self.process.limits)?;
        }
        if self.below_root && !self.process.terminal {
            stdio::give(pid, self.process.creds.uid)?;
        }
        self.rdt.map_or(Ok(()), |record| Resctrl::host().add(record, pid))
    }

    /// Tells the caller of it, the pid file last: engines go on as soon as they see that.
    pub(super) fn announce(&self, birth: &Birth) -> Result<()> {
        if let Some((socket, text)) = self.pidfd_socket {
            socket.send(birth.pidfd.as_fd(), text.as_bytes())?;
        }
        self.pid_file.map_or(Ok(()), |file| file.write(birth.pid))
    }
}
