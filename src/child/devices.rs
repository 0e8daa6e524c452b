//! Device nodes and links in the container's /dev.

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::core::ffi::CStr;
use ::nix::errno::Errno;
use ::std::rc::Rc;

use super::report::{At, Detail, Failure};
use super::resolve::{self, Links, Want};
use super::{Place, null};
use crate::model::device::{Device, MASK, Nodes};
use crate::script::call::Call;
use crate::sync::Kind;
use crate::sys::{RawFd, fs, mount};

/// Links of config-linux.md "Default Devices".
const LINKS: &[(&CStr, &CStr)] = &[
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
];

/// Opens a directory for devices: no link on the way, so that nothing of the image can
/// send them elsewhere (CVE-2026-41579).
pub(super) fn open_directory(at: &Place, path: &CStr) -> Result<RawFd, Failure> {
    resolve::open_or_make(at, path, Links::Refuse, Want::Directory).map(|(fd, _)| fd)
}

/// A directory in which something is made.
pub(super) struct Directory<'a> {
    fd: RawFd,
    /// Below the root.
    path: &'a CStr,
    /// It is of the root's own file system: what is made there would outlive a failure.
    lasts: bool,
}

impl<'a> Directory<'a> {
    pub(super) fn of(at: &Place, fd: RawFd, path: &'a CStr) -> Result<Self, Failure> {
        let (root, own) = (fs::fstat(at.root)?, fs::fstat(fd)?);
        Ok(Directory { fd, path, lasts: root.st_dev == own.st_dev })
    }

    /// Notes what was just made, so that a failure can take it back.
    pub(super) fn note(&self, at: &Place, name: &CStr) -> Result<(), Failure> {
        if self.lasts {
            let made = open_name(self.fd, name)?;
            let stat = fs::fstat(made).at(Call::OpenTarget)?;
            fs::close(made);
            let path = [self.path.to_bytes(), b"/", name.to_bytes()];
            at.page.note(stat.st_dev, stat.st_ino, path);
        }
        Ok(())
    }
}

/// Makes the nodes of one directory.
pub(super) fn make(
    at: &mut Place,
    path: &CStr,
    nodes: &[Rc<Device>],
    from: Nodes,
) -> Result<(), Failure> {
    let directory = open_directory(at, path)?;
    // mknod(2) has no use for it, but a bind could hide a file of a procfs that is mounted there.
    if from != Nodes::Made && fs::fs_magic(directory).at(Call::OpenTarget)? == fs::magic::PROC {
        return Err(Failure::new(Call::NotOnProc, Errno::EPERM));
    }
    let place = Directory::of(at, directory, path)?;
    for (part, node) in nodes.iter().enumerate() {
        let made = match from {
            Nodes::OfParent if !node.is_fifo() => bind_made(at, &place, node),
            Nodes::OfHost if !node.is_fifo() => bind_host(at, &place, node),
            _ => make_node(at, &place, node),
        };
        if let Err(failure) = made {
            return Err(Failure { part: part as u16, ..failure });
        }
    }
    fs::close(directory);
    Ok(())
}

/// umask is 0 here, so the mode is exact.
fn make_node(at: &mut Place, place: &Directory<'_>, node: &Device) -> Result<(), Failure> {
    let mode = node.kind | node.permissions();
    let directory = place.fd;
    match fs::mknodat(directory, &node.name, mode, node.device) {
        Ok(()) => place.note(at, &node.name)?,
        Err(Errno::EEXIST) => return check_node(at, place, node),
        Err(errno) => return Err(errno).at(Call::MakeNode),
    }
    let (uid, gid) = (node.uid.unwrap_or(0), node.gid.unwrap_or(0));
    if (uid, gid) != (0, 0) {
        fs::lchownat(directory, &node.name, uid, gid).at(Call::Chown)?;
    }
    Ok(())
}

/// A node that the image brings along is kept when it is the same.
fn check_node(at: &mut Place, place: &Directory<'_>, node: &Device) -> Result<(), Failure> {
    let there = open_name(place.fd, &node.name)?;
    let stat = fs::fstat(there).at(Call::OpenTarget)?;
    fs::close(there);
    let same_kind = stat.st_mode & ::libc::S_IFMT == node.kind;
    if same_kind && (stat.st_rdev == node.device || node.is_fifo()) {
        return Ok(());
    }
    // As the kernel's own messages begin.
    at.detail.push(b"e /");
    at.detail.push_path(place.path.to_bytes(), 100);
    at.detail.push(b"/");
    at.detail.push_path(node.name.to_bytes(), 100);
    at.detail.push(b" is ");
    push_kind(&mut at.detail, &stat);
    Err(Failure::new(Call::NodeDiffers, Errno::EEXIST))
}

/// What a file is, in words.
fn push_kind(detail: &mut Detail, stat: &::libc::stat) {
    let words: &[u8] = match stat.st_mode & ::libc::S_IFMT {
        ::libc::S_IFDIR => b"a directory",
        ::libc::S_IFREG => b"a regular file",
        ::libc::S_IFLNK => b"a link",
        ::libc::S_IFSOCK => b"a socket",
        ::libc::S_IFIFO => b"a FIFO",
        ::libc::S_IFBLK => b"the block device ",
        _ => b"the character device ",
    };
    detail.push(words);
    if ::core::matches!(stat.st_mode & ::libc::S_IFMT, ::libc::S_IFBLK | ::libc::S_IFCHR) {
        detail.push_number(::libc::major(stat.st_rdev), 10);
        detail.push(b":");
        detail.push_number(::libc::minor(stat.st_rdev), 10);
    }
}

/// Takes the nodes that the parent has made. A mount can be copied only while it is attached, so
/// it lies on the root meanwhile, where no lookup below the root's descriptor meets it.
pub(super) fn borrow(at: &mut Place, mask: bool) -> Result<(), Failure> {
    at.nodes = at.ask(Kind::Nodes, 0)?.fd.ok_or(Errno::EBADMSG)?;
    mount::move_mount(at.nodes, at.root).at(Call::MoveMount)?;
    if mask {
        let tree = mount::clone_tree(at.nodes, MASK, false).at(Call::OpenSource)?;
        null::keep_mask(at, tree)?;
    }
    Ok(())
}

/// The copies stay.
pub(super) fn give_back(at: &mut Place) -> Result<(), Failure> {
    fs::fchdir(at.nodes).at(Call::Chdir)?;
    mount::umount_cwd().at(Call::Umount)?;
    fs::close(at.nodes);
    at.nodes = -1;
    Ok(())
}

fn bind_made(at: &Place, place: &Directory<'_>, node: &Device) -> Result<(), Failure> {
    let tree = mount::clone_tree(at.nodes, &node.handle, false).at(Call::OpenSource)?;
    mount_on_file(at, place, &node.name, tree)
}

/// The host's node is bound over an empty file. The device can be written to, and the file not be
/// changed: its owner may be known in here.
fn bind_host(at: &mut Place, place: &Directory<'_>, node: &Device) -> Result<(), Failure> {
    let tree = mount::clone_tree(::libc::AT_FDCWD, &node.host_path, false).at(Call::OpenSource)?;
    let stat = fs::fstat(tree).at(Call::OpenSource)?;
    if stat.st_mode & ::libc::S_IFMT != node.kind || stat.st_rdev != node.device {
        at.detail.push(b"e the host's ");
        at.detail.push_path(node.host_path.to_bytes(), 100);
        at.detail.push(b" is ");
        push_kind(&mut at.detail, &stat);
        return Err(Failure::new(Call::HostDiffers, Errno::ENODEV));
    }
    mount::mount_setattr(tree, false, &null::FIXED).at(Call::MountSetattr)?;
    mount_on_file(at, place, &node.name, tree)
}

/// Attaches `tree` to the file `name`, which is made where it is missing and must not be
/// a link. Closes the tree.
pub(super) fn mount_on_file(
    at: &Place,
    place: &Directory<'_>,
    name: &CStr,
    tree: RawFd,
) -> Result<(), Failure> {
    match fs::mknodat(place.fd, name, ::libc::S_IFREG | 0o600, 0) {
        Ok(()) => place.note(at, name)?,
        Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno).at(Call::MakeFile),
    }
    let target = open_name(place.fd, name)?;
    if resolve::kind(target).at(Call::OpenTarget)? == ::libc::S_IFLNK {
        return Err(Failure::new(Call::OpenTarget, Errno::ELOOP));
    }
    mount::move_mount(tree, target).at(Call::MoveMount)?;
    fs::close(target);
    fs::close(tree);
    Ok(())
}

/// Opens one name without following it.
fn open_name(directory: RawFd, name: &CStr) -> Result<RawFd, Failure> {
    let flags = ::libc::O_PATH | ::libc::O_NOFOLLOW;
    fs::openat2(directory, name, flags, 0, fs::RESOLVE_BENEATH).at(Call::OpenTarget)
}

/// The links of every container; what the image has at their names stays, except for
/// ptmx, which must be that of the container's own devpts.
pub(super) fn links(at: &mut Place) -> Result<(), Failure> {
    let directory = open_directory(at, c"dev")?;
    let place = Directory::of(at, directory, c"dev")?;
    for (name, target) in LINKS {
        link(at, &place, name, target)?;
    }
    if resolve::open(at.root, c"proc/kcore", Links::Refuse).map(fs::close).is_ok() {
        link(at, &place, c"core", c"/proc/kcore")?;
    }
    match fs::symlinkat(c"pts/ptmx", directory, c"ptmx") {
        Err(Errno::EEXIST) => match fs::unlinkat(directory, c"ptmx", 0) {
            Ok(()) => fs::symlinkat(c"pts/ptmx", directory, c"ptmx").at(Call::MakeLink)?,
            // Somebody's mount point.
            Err(Errno::EBUSY) => {}
            Err(errno) => return Err(errno).at(Call::MakeLink),
        },
        Ok(()) => place.note(at, c"ptmx")?,
        Err(errno) => return Err(errno).at(Call::MakeLink),
    }
    fs::close(directory);
    Ok(())
}

fn link(at: &Place, place: &Directory<'_>, name: &CStr, target: &CStr) -> Result<(), Failure> {
    match fs::symlinkat(target, place.fd, name) {
        Ok(()) => place.note(at, name),
        Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno).at(Call::MakeLink),
    }
}
