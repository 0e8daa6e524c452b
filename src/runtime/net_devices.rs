//! Devices of the host go into the container's network namespace, with their lasting
//! addresses, and up (config-linux.md, "Network Devices"). The container's end has nothing
//! to undo: a namespace that ends gives its physical devices back. A create that fails
//! gives them back itself, since the kernel would destroy virtual ones.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;

use crate::error::{Doing, Error, Result};
use crate::model::namespaces::flag;
use crate::model::net_device::NetDevice;
use crate::sys::netlink::{Address, Netlink};
use crate::sys::ns;

/// One side of the move.
#[derive(Debug)]
struct Side {
    namespace: OwnedFd,
    netlink: Netlink,
}

/// Devices that were moved, and the way back.
#[derive(Debug)]
pub struct Moved {
    host: Side,
    container: Side,
    devices: Vec<Device>,
}

#[derive(Debug)]
struct Device {
    name: CString,
    /// In the container.
    index: i32,
    up: bool,
    addresses: Vec<Address>,
}

/// Moves the devices to the network namespace of process `pid`. If one cannot be moved,
/// none is.
pub fn move_in(devices: &[NetDevice], pid: i32) -> Result<Moved> {
    let doing = || "enter the container's network namespace";
    let host = File::open("/proc/self/ns/net").doing(doing)?.into();
    let namespace: OwnedFd = File::open(format!("/proc/{pid}/ns/net")).doing(doing)?.into();
    let host = Side { namespace: host, netlink: Netlink::open().doing(doing)? };
    // This process has one thread, and is back before it does anything else.
    ns::setns(namespace.as_raw_fd(), flag::NET).doing(doing)?;
    let netlink = Netlink::open();
    ns::setns(host.namespace.as_raw_fd(), flag::NET)
        .doing(|| "return to the host's network namespace")?;
    let container = Side { namespace, netlink: netlink.doing(doing)? };
    let mut moved = Moved { host, container, devices: Vec::new() };
    for device in devices {
        if let Err(error) = moved.take(device) {
            moved.give_back();
            return Err(error.field(&device.field));
        }
    }
    Ok(moved)
}

impl Moved {
    fn take(&mut self, device: &NetDevice) -> Result<()> {
        let (name, inside) = (device.name.to_string_lossy(), device.inside.to_string_lossy());
        let doing = || format!("move the network device {name} into the container");
        let link = self.host.netlink.link(&device.name).doing(doing)?;
        let addresses = self.host.netlink.addresses(link.index).doing(doing)?;
        let before = self.container.netlink.indices().doing(doing)?;
        // The kernel would move it first, and then find that the name is taken.
        if !device.is_template() && self.container.netlink.link(&device.inside).is_ok() {
            let text = format!("the container already has a device {inside}");
            return Err(Error::new(doing()).detail(text));
        }
        let namespace = self.container.namespace.as_raw_fd();
        let answer = self.host.netlink.move_link(link.index, namespace, &device.inside);
        // When the kernel cannot rename it, it is in the container all the same; and its
        // number may have been taken there.
        let now = self.container.netlink.indices().doing(doing)?;
        let arrived = now.into_iter().find(|index| !before.contains(index));
        if let Some(index) = arrived {
            let (name, up) = (device.name.clone(), link.up);
            self.devices.push(Device { name, index, up, addresses: addresses.clone() });
        }
        if let Err(errno) = answer {
            let error = Error::new(doing()).errno(errno);
            return Err(match errno {
                Errno::EINVAL => error.hint("this kind of device belongs to its namespace"),
                _ => error,
            });
        }
        let index = arrived.ok_or(Errno::ENODEV).doing(doing)?;
        set(&mut self.container.netlink, index, &addresses, true)
            .doing(|| format!("set up the network device {inside} in the container"))
    }

    /// Moves what was moved back, in the opposite order: as good as it goes.
    pub fn give_back(&mut self) {
        let home = self.host.namespace.as_raw_fd();
        while let Some(device) = self.devices.pop() {
            let back = self.container.netlink.move_link(device.index, home, &device.name);
            let set = |()| {
                let link = self.host.netlink.link(&device.name)?;
                set(&mut self.host.netlink, link.index, &device.addresses, device.up)
            };
            if let Err(errno) = back.and_then(set) {
                let name = device.name.to_string_lossy();
                tracing::warn!("clean up: give the network device {name} back: {}", errno.desc());
            }
        }
    }
}

fn set(netlink: &mut Netlink, index: i32, addresses: &[Address], up: bool) -> Result<(), Errno> {
    for address in addresses {
        netlink.add_address(index, address)?;
    }
    if up { netlink.set_up(index) } else { Ok(()) }
}
