//! One value for one file of a cgroup: written, or why not.

use std::os::fd::AsFd;

use nix::errno::Errno;

use super::controllers::Controllers;
use super::files;
use crate::error::{Error, Result};
use crate::model::cgroup::{Otherwise, Setting};

/// Writes the value into a new cgroup.
pub(super) fn apply(
    leaf: impl AsFd,
    path: &str,
    setting: &Setting,
    controllers: &Controllers,
) -> Result<()> {
    write(leaf, setting).map_err(|errno| refused(path, setting, errno, controllers))
}

/// Writes the value, to whichever of its files there is.
pub(super) fn write(leaf: impl AsFd, setting: &Setting) -> Result<(), Errno> {
    let Setting { file, value, otherwise, .. } = setting;
    match (files::write(&leaf, file, value), otherwise) {
        (Err(Errno::ENOENT), Otherwise::Skip) => Ok(()),
        (Err(Errno::ENOENT), Otherwise::Write { file, value }) => files::write(&leaf, file, value),
        (answer, _) => answer,
    }
}

/// Why the kernel has not taken the value.
pub(super) fn refused(
    path: &str,
    setting: &Setting,
    errno: Errno,
    controllers: &Controllers,
) -> Error {
    let Setting { controller, file, value, field, .. } = setting;
    let error = Error::new(format!("set {file} of cgroup /{path} to {value}")).field(field);
    match errno {
        Errno::ENOENT if controllers.has(controller) => {
            error.detail(format!("this kernel has no {file}"))
        }
        Errno::ENOENT => {
            let (reason, hint) = controllers.explain(controller);
            let error = error.detail(reason);
            if hint.is_empty() { error } else { error.hint(hint) }
        }
        errno => error.errno(errno),
    }
}
