//! The cgroup of a new container has nobody in it, and does not stand still.

use std::os::fd::OwnedFd;

use super::control;
use super::files::Events;
use crate::error::{Doing, Error, Result};
use crate::plan::field::Field;

/// Refuses a cgroup that others are in, or that is frozen: also a new one may be, by one above
/// it, and the first process would never run. `init` is that process, where it is in it already.
pub(super) fn demand(leaf: &OwnedFd, path: &str, init: Option<i32>, field: &Field) -> Result<()> {
    let doing = || format!("read cgroup.events of cgroup /{path}");
    let events = Events::read(leaf).doing(doing)?;
    let at = |error: Error| error.detail(format!("cgroup /{path}")).field(field);
    if events.populated {
        let pids = control::pids(leaf).doing(doing)?;
        let others = pids.iter().filter(|pid| Some(**pid) != init).count();
        // Without an init, those that our pid namespace has no number for count as well.
        if init.is_none() || others > 0 {
            let names: Vec<String> =
                pids.iter().filter(|pid| Some(**pid) != init).map(i32::to_string).take(8).collect();
            let more = if others > names.len() { ", ..." } else { "" };
            let text = format!("container's cgroup is not empty: {others} process(es) found");
            return Err(at(Error::new(text)).hint(format!("pids: {}{more}", names.join(", "))));
        }
    }
    if events.frozen {
        return Err(at(Error::new("container's cgroup unexpectedly frozen"))
            .hint("write 0 to its cgroup.freeze, or to that of a cgroup above it"));
    }
    Ok(())
}
