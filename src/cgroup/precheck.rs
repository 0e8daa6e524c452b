//! The cgroup of a new container has nobody in it, and does not stand still.

use std::os::fd::OwnedFd;

use super::control;
use super::files::Events;
use crate::diag::field::Field;
use crate::error::{Doing, Error, Result};

/// Refuses a cgroup that others are in, or that is frozen: also a new one may be, by one above
/// it, and the first process would never run. `init` is that process, where it is in it already.
pub(super) fn demand(leaf: &OwnedFd, path: &str, init: Option<i32>, field: &Field) -> Result<()> {
    let doing = || format!("read cgroup.events of cgroup /{path}");
    let events = Events::read(leaf).doing(doing)?;
    let at = |error: Error, detail: String| error.detail(detail).field(field);
    if events.populated {
        let mut others = control::pids(leaf).doing(doing)?;
        others.retain(|pid| Some(*pid) != init);
        // Without an init, those that our pid namespace has no number for count as well.
        if init.is_none() || !others.is_empty() {
            let count = others.len();
            let error =
                Error::new(format!("container's cgroup is not empty: {count} process(es) found"));
            return Err(at(error, format!("cgroup /{path}{}", named(&others))));
        }
    }
    if events.frozen {
        let error = Error::new("container's cgroup unexpectedly frozen");
        return Err(at(error, format!("cgroup /{path}"))
            .hint("write 0 to its cgroup.freeze, or to that of a cgroup above it"));
    }
    Ok(())
}

/// The pids of these, as far as anybody wants to read them.
fn named(pids: &[i32]) -> String {
    const MOST: usize = 8;
    let first: Vec<_> = pids.iter().take(MOST).map(ToString::to_string).collect();
    match first[..] {
        [] => ": none that has a pid here".to_owned(),
        _ if pids.len() > MOST => format!(": pids {}, ...", first.join(", ")),
        [_] => format!(": pid {}", first.join("")),
        _ => format!(": pids {}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pids_are_named_but_not_thousands() {
        for (pids, text) in [
            (vec![], ": none that has a pid here"),
            (vec![7], ": pid 7"),
            (vec![7, 8], ": pids 7, 8"),
            ((1..=9).collect(), ": pids 1, 2, 3, 4, 5, 6, 7, 8, ..."),
        ] {
            assert_eq!(named(&pids), text);
        }
    }
}
