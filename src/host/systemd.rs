//! systemd on this machine: whether it runs, and which instance is ours.

use serde::{Deserialize, Serialize};

use super::Host;
use crate::dbus::Address;
use crate::error::{Error, Result};

/// An instance of systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Instance {
    /// The machine's, process 1.
    System,
    /// That of an ordinary user.
    User,
}

/// The socket of process 1 itself, for root: no bus has to be up or has work with it.
const SYSTEM_PRIVATE: &str = "/run/systemd/private";
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";

impl Instance {
    /// Whose units we may make.
    ///
    /// # Errors
    /// When the machine was not booted with systemd (sd_booted(3)).
    pub fn find(host: &Host) -> Result<Instance> {
        if !std::fs::symlink_metadata("/run/systemd/system").is_ok_and(|found| found.is_dir()) {
            return Err(Error::new(
                "systemd not running on this host, cannot use systemd cgroups manager",
            )
            .hint("use --cgroup-manager cgroupfs, and a cgroupsPath that is a path"));
        }
        if host.unprivileged {
            return Ok(Instance::User);
        }
        // Root of a user namespace is root to a systemd in it, but not to that of the host,
        // whose socket then belongs to nobody.
        let owner = nix::sys::stat::stat(SYSTEM_PRIVATE).map(|found| found.st_uid);
        Ok(if host.in_userns && owner != Ok(0) { Instance::User } else { Instance::System })
    }

    /// Where it listens, the best first, and whether a bus is in between.
    pub fn addresses(self) -> Vec<(Address, bool)> {
        let path = |path: String| Address::Path(path);
        match self {
            Instance::System => {
                vec![(path(SYSTEM_PRIVATE.into()), false), (path(SYSTEM_BUS.into()), true)]
            }
            Instance::User => {
                let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
                let session =
                    set("DBUS_SESSION_BUS_ADDRESS").and_then(|list| Address::parse(&list));
                let directory = set("XDG_RUNTIME_DIR");
                let in_directory =
                    |name| directory.iter().map(move |d| path(format!("{d}/{name}")));
                let buses = session.into_iter().chain(in_directory("bus")).map(|bus| (bus, true));
                buses.chain(in_directory("systemd/private").map(|own| (own, false))).collect()
            }
        }
    }

    /// Where the units are that it has made for others; a unit is gone when its file is.
    pub fn transient(self) -> Option<String> {
        match self {
            Instance::System => Some("/run/systemd/transient".to_owned()),
            Instance::User => {
                let directory = std::env::var("XDG_RUNTIME_DIR").ok()?;
                (!directory.is_empty()).then(|| format!("{directory}/systemd/transient"))
            }
        }
    }

    /// The slice of units that have no other.
    pub fn default_slice(self) -> &'static str {
        match self {
            Instance::System => "system.slice",
            Instance::User => "user.slice",
        }
    }
}
