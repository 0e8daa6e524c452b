//! Four requests of rtnetlink(7), written by hand: the crates for it know the whole
//! protocol, which is 790 KB and nine crates more. Parent only.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;

use super::fd::own;
use super::{RawFd, check, check_fd};

/// From `linux/if_link.h` and `linux/if_addr.h`.
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;

/// What of the flags of an address is for us to say: the rest is the kernel's.
const SETTABLE: u32 = libc::IFA_F_NODAD
    | libc::IFA_F_NOPREFIXROUTE
    | libc::IFA_F_MANAGETEMPADDR
    | libc::IFA_F_MCAUTOJOIN;

/// More than the kernel puts into one answer (`NLMSG_GOODSIZE` and its like).
const ANSWER: usize = 64 << 10;

/// A socket to the network namespace in which it was opened.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

/// A network device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace.
    pub index: i32,
    /// Whether it is up.
    pub up: bool,
}

/// An address of a device that was set to stay, and for the whole world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    family: u8,
    prefix: u8,
    attributes: Vec<(u16, Vec<u8>)>,
}

/// One message of an answer.
struct Message<'a> {
    kind: u16,
    body: &'a [u8],
}

impl Netlink {
    /// Opens a socket in the network namespace of this process.
    pub fn open() -> Result<Self, Errno> {
        let (family, kind) = (libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC);
        // SAFETY: integers only.
        let socket = check_fd(unsafe {
            libc::syscall(libc::SYS_socket, family, kind, libc::NETLINK_ROUTE)
        })?;
        Ok(Netlink { socket: own(socket), sequence: 0 })
    }

    /// The device of this name; `ENODEV` when there is none.
    pub fn link(&mut self, name: &CStr) -> Result<Link, Errno> {
        let mut request = Request::new(libc::RTM_GETLINK, 0, &link_header(0, 0, 0));
        request.attribute(IFLA_IFNAME, name.to_bytes_with_nul());
        let mut found = Err(Errno::ENODEV);
        self.ask(request, |message| {
            if let Some(link) = link_of(&message) {
                found = Ok(link);
            }
        })?;
        found
    }

    /// The numbers of all devices.
    pub fn indices(&mut self) -> Result<Vec<i32>, Errno> {
        let flags = libc::NLM_F_DUMP;
        let mut all = Vec::new();
        self.ask(Request::new(libc::RTM_GETLINK, flags, &link_header(0, 0, 0)), |message| {
            all.extend(link_of(&message).map(|link| link.index));
        })?;
        Ok(all)
    }

    /// The addresses of a device that the runtime specification wants kept.
    pub fn addresses(&mut self, index: i32) -> Result<Vec<Address>, Errno> {
        let header = [0u8; 8];
        let mut all = Vec::new();
        self.ask(Request::new(libc::RTM_GETADDR, libc::NLM_F_DUMP, &header), |message| {
            all.extend(address_of(&message, index));
        })?;
        Ok(all)
    }

    /// Moves a device into the namespace behind `namespace`, where it is called `name`.
    /// The kernel takes it down and drops its addresses.
    pub fn move_link(&mut self, index: i32, namespace: RawFd, name: &CStr) -> Result<(), Errno> {
        let mut request =
            Request::new(libc::RTM_SETLINK, libc::NLM_F_ACK, &link_header(index, 0, 0));
        request.attribute(IFLA_NET_NS_FD, &namespace.to_ne_bytes());
        request.attribute(IFLA_IFNAME, name.to_bytes_with_nul());
        self.ask(request, |_| {})
    }

    /// Takes a device up.
    pub fn set_up(&mut self, index: i32) -> Result<(), Errno> {
        let up = libc::IFF_UP as u32;
        let header = link_header(index, up, up);
        self.ask(Request::new(libc::RTM_SETLINK, libc::NLM_F_ACK, &header), |_| {})
    }

    /// Gives a device an address; one that it has already is no error.
    pub fn add_address(&mut self, index: i32, address: &Address) -> Result<(), Errno> {
        let mut header = vec![address.family, address.prefix, 0, libc::RT_SCOPE_UNIVERSE];
        header.extend(index.to_ne_bytes());
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
        let mut request = Request::new(libc::RTM_NEWADDR, flags, &header);
        for (kind, value) in &address.attributes {
            request.attribute(*kind, value);
        }
        self.ask(request, |_| {})
    }

    /// Sends a request and reads the whole of its answer.
    fn ask(&mut self, request: Request, mut each: impl FnMut(Message<'_>)) -> Result<(), Errno> {
        self.sequence += 1;
        let bytes = request.finish(self.sequence);
        let socket = self.socket.as_raw_fd();
        let none = ptr::null::<libc::sockaddr>();
        // SAFETY: bytes is as long as said; without an address it goes to the kernel.
        let sent = unsafe { libc::sendto(socket, bytes.as_ptr().cast(), bytes.len(), 0, none, 0) };
        check(sent as libc::c_long)?;
        let mut buffer = vec![0u8; ANSWER];
        loop {
            let length = self.receive(&mut buffer)?;
            let mut rest = &buffer[..length];
            while let Some((header, message, tail)) = split(rest) {
                rest = tail;
                if header.sequence != self.sequence {
                    continue;
                }
                match i32::from(message.kind) {
                    libc::NLMSG_DONE => return Ok(()),
                    libc::NLMSG_ERROR => {
                        return match i32_at(message.body, 0) {
                            Some(0) => Ok(()),
                            Some(error) => Err(Errno::from_raw(-error)),
                            None => Err(Errno::EBADMSG),
                        };
                    }
                    _ => each(message),
                }
                // A single answer without an acknowledgement is the last word.
                if i32::from(header.flags) & libc::NLM_F_MULTI == 0 {
                    return Ok(());
                }
            }
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let socket = self.socket.as_raw_fd();
        loop {
            let (pointer, length) = (buffer.as_mut_ptr().cast(), buffer.len());
            let mut sender = MaybeUninit::<libc::sockaddr_nl>::zeroed();
            let mut size = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
            // SAFETY: buffer and address are as long as said.
            let got = unsafe {
                let address = sender.as_mut_ptr().cast();
                libc::recvfrom(socket, pointer, length, libc::MSG_TRUNC, address, &raw mut size)
            };
            // SAFETY: zeroed plain data, filled by the kernel.
            let sender = unsafe { sender.assume_init() };
            match check(got as libc::c_long) {
                Err(Errno::EINTR) => {}
                // netlink(7): only the kernel has the port 0.
                Ok(_) if sender.nl_pid != 0 => {}
                Ok(0) => return Err(Errno::EBADMSG),
                Ok(got) if got as usize > length => return Err(Errno::EMSGSIZE),
                other => return other.map(|got| got as usize),
            }
        }
    }
}

/// A request in the making; the header comes first and is completed last.
struct Request {
    bytes: Vec<u8>,
    kind: u16,
    flags: u16,
}

impl Request {
    fn new(kind: u16, flags: i32, header: &[u8]) -> Self {
        let mut bytes = vec![0; 16];
        bytes.extend(header);
        Request { bytes, kind, flags: (flags | libc::NLM_F_REQUEST) as u16 }
    }

    /// struct rtattr: length, type, value, padding to 4.
    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = value.len() as u16 + 4;
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[4..6].copy_from_slice(&self.kind.to_ne_bytes());
        self.bytes[6..8].copy_from_slice(&self.flags.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

/// struct ifinfomsg.
fn link_header(index: i32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&change.to_ne_bytes());
    header
}

struct Header {
    flags: u16,
    sequence: u32,
}

/// The first message of a buffer, and what comes after it.
fn split(bytes: &[u8]) -> Option<(Header, Message<'_>, &[u8])> {
    let length = i32_at(bytes, 0)? as usize;
    let body = bytes.get(16..length)?;
    let header = Header { flags: u16_at(bytes, 6)?, sequence: i32_at(bytes, 8)? as u32 };
    let next = length.next_multiple_of(4).min(bytes.len());
    Some((header, Message { kind: u16_at(bytes, 4)?, body }, &bytes[next..]))
}

fn link_of(message: &Message<'_>) -> Option<Link> {
    let flags = i32_at(message.body, 8).filter(|_| message.kind == libc::RTM_NEWLINK)?;
    Some(Link { index: i32_at(message.body, 4)?, up: flags & libc::IFF_UP != 0 })
}

fn address_of(message: &Message<'_>, index: i32) -> Option<Address> {
    let body = message.body;
    let [family, prefix, short_flags, scope, ..] = *body else { return None };
    if message.kind != libc::RTM_NEWADDR || i32_at(body, 4)? != index {
        return None;
    }
    let mut flags = u32::from(short_flags);
    let mut kept = Vec::new();
    let mut rest = body.get(8..)?;
    while let Some(length) = u16_at(rest, 0).map(usize::from).filter(|length| *length >= 4) {
        let (kind, value) = (u16_at(rest, 2)?, rest.get(4..length)?);
        match kind {
            IFA_FLAGS => flags = i32_at(value, 0)? as u32,
            IFA_ADDRESS | IFA_LOCAL | IFA_BROADCAST | IFA_RT_PRIORITY => {
                kept.push((kind, value.to_vec()));
            }
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    kept.push((IFA_FLAGS, (flags & SETTABLE).to_ne_bytes().to_vec()));
    let stays = flags & libc::IFA_F_PERMANENT != 0 && scope == libc::RT_SCOPE_UNIVERSE;
    stays.then_some(Address { family, prefix, attributes: kept })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_is_there() {
        let mut netlink = Netlink::open().expect("a socket");
        let link = netlink.link(c"lo").expect("lo");
        assert!(netlink.indices().expect("a list").contains(&link.index));
        netlink.addresses(link.index).expect("addresses");
        assert_eq!(netlink.link(c"nosuch0"), Err(Errno::ENODEV));
    }

    /// Whoever has CAP_NET_ADMIN in the namespace can write to our port.
    #[test]
    fn only_the_kernel_is_believed() {
        let mut netlink = Netlink::open().expect("a socket");
        let forger = Netlink::open().expect("another socket");
        // The first request gives the socket a port, which the second one will have.
        netlink.link(c"lo").expect("lo");
        let mut own = MaybeUninit::<libc::sockaddr_nl>::zeroed();
        let mut size = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
        let (fd, address) = (netlink.socket.as_raw_fd(), own.as_mut_ptr().cast());
        // SAFETY: the address is as long as said.
        assert_eq!(unsafe { libc::getsockname(fd, address, &raw mut size) }, 0);
        // SAFETY: zeroed plain data, filled by the kernel.
        let own = unsafe { own.assume_init() };
        let mut error = Request::new(libc::NLMSG_ERROR as u16, 0, &(-libc::EDOM).to_ne_bytes());
        error.bytes.extend([0; 16]);
        let bytes = error.finish(netlink.sequence + 1);
        let (fd, to) = (forger.socket.as_raw_fd(), &raw const own);
        // SAFETY: message and address are as long as said.
        let sent =
            unsafe { libc::sendto(fd, bytes.as_ptr().cast(), bytes.len(), 0, to.cast(), size) };
        // An ordinary user may not even send it.
        if sent > 0 || crate::sys::cred::geteuid() == 0 {
            assert_eq!(sent, bytes.len() as isize);
            assert!(netlink.link(c"lo").is_ok());
        }
    }

    #[test]
    fn only_lasting_addresses_for_the_world_are_kept() {
        let message = |flags: u8, scope: u8| {
            let mut body = vec![2, 24, flags, scope, 7, 0, 0, 0];
            body.extend([8, 0, 2, 0, 10, 0, 0, 1]);
            body
        };
        let read = |body: &[u8]| address_of(&Message { kind: libc::RTM_NEWADDR, body }, 7);
        let kept = read(&message(libc::IFA_F_PERMANENT as u8, 0)).expect("kept");
        assert_eq!((kept.family, kept.prefix), (2, 24));
        assert_eq!(kept.attributes[0], (IFA_LOCAL, vec![10, 0, 0, 1]));
        assert_eq!(read(&message(0, 0)), None);
        assert_eq!(read(&message(libc::IFA_F_PERMANENT as u8, 253)), None);
        assert_eq!(read(&[2, 24, 0x80, 0, 7, 0, 0, 0, 255, 255, 2, 0]), None);
    }
}
