//! One entry of `mounts`: the mount is made detached, with all its attributes, and then
//! attached to a target that was looked up inside the root.

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::core::ffi::CStr;
use ::nix::errno::Errno;

use super::Place;
use super::copyup;
use super::devices::Directory;
use super::report::{At, Failure};
use super::resolve::{self, Links, Want, kind};
use crate::model::mount::{
    self as plan, Attributes, FileSystem, Link, Mount, OldMount, Parameter, What,
};
use crate::script::call::Call;
use crate::script::kept::Kept;
use crate::sync::Kind;
use crate::sys::fs::{RESOLVE_IN_ROOT, openat2};
use crate::sys::mount::{self, MountAttr, attr};
use crate::sys::{RawFd, copy, fs};

/// With `open`, its source is open already: its path is none of this namespace's. With `keep`,
/// the mount stays open for a later step.
pub(super) fn mount(
    at: &mut Place,
    mount: &Mount,
    open: Option<&Kept>,
    keep: Option<&Kept>,
) -> Result<(), Failure> {
    let tree = match &mount.what {
        What::Bind { source, recursive } => {
            let tree = match (mount.source_of_parent, open) {
                (Some(number), _) => {
                    at.ask(Kind::Source, number.into())?.fd.ok_or(Errno::EBADMSG)?
                }
                (None, Some(kept)) => kept.get(),
                (None, None) => mount::clone_source(source, *recursive, !mount.links.of_source)
                    .at(Call::OpenSource)?,
            };
            set_attributes(tree, mount)?;
            let want = match kind(tree).at(Call::OpenSource)? {
                ::libc::S_IFDIR => Want::Directory,
                _ => Want::File,
            };
            let (target, _) = resolve::open_or_make(at, &mount.target, links(mount), want)?;
            attach(mount, tree, target)?
        }
        What::FileSystem(made) => file_system(at, mount, made)?,
        What::Link(link) => return make_link(at, mount, link),
        What::Remount { parameters } => remount(at, mount, parameters.as_deref())?,
    };
    match keep {
        Some(kept) => kept.set(tree),
        None => fs::close(tree),
    }
    Ok(())
}

fn links(mount: &Mount) -> Links {
    match mount {
        Mount { plain_target: true, .. } => Links::Refuse,
        Mount { links: plan::Links { of_target: true, .. }, .. } => Links::NotLast,
        _ => Links::Follow,
    }
}

/// Makes a link. What is there already must say the same.
fn make_link(at: &Place, mount: &Mount, link: &Link) -> Result<(), Failure> {
    if mount.on_proc {
        return Err(Failure::new(Call::NotProc, Errno::EPERM));
    }
    let (directory, _) =
        resolve::open_or_make(at, &link.directory, Links::Follow, Want::Directory)?;
    let place = Directory::of(at, directory, &link.directory)?;
    let result = match fs::symlinkat(&link.content, directory, &link.name) {
        Ok(()) => place.note(at, &link.name),
        Err(Errno::EEXIST) => {
            let mut there = [0; 4096];
            match fs::readlinkat(directory, &link.name, &mut there) {
                Ok(text) if text == link.content.to_bytes() => Ok(()),
                _ => Err(Failure::new(Call::NodeDiffers, Errno::EEXIST)),
            }
        }
        Err(errno) => Err(errno).at(Call::MakeLink),
    };
    fs::close(directory);
    result
}

/// Closes the target.
fn attach(mount: &Mount, tree: RawFd, target: RawFd) -> Result<RawFd, Failure> {
    check_proc(mount, tree, target)?;
    mount::move_mount(tree, target).at(Call::MoveMount)?;
    fs::close(target);
    Ok(tree)
}

/// The mount, attached.
fn file_system(at: &mut Place, mount: &Mount, made: &FileSystem) -> Result<RawFd, Failure> {
    let (target, fresh) = resolve::open_or_make(at, &mount.target, links(mount), Want::Directory)?;
    // A directory that was made for the mount has no mode to inherit.
    let inherit_mode = made.inherit_mode && !fresh;
    if let Some(old) = &made.old {
        if at.joins_pid && made.fstype.to_bytes() == b"proc" {
            // mount(2) would make that of the runtime's own pid namespace.
            return Err(Failure::new(Call::Procfs, Errno::EOPNOTSUPP));
        }
        return old_mount(at, mount, made, old, target, inherit_mode);
    }
    let is_proc = made.fstype.to_bytes() == b"proc";
    let tree = if is_proc && at.procfs_made {
        at.procfs()?
    } else {
        let context =
            if is_proc { at.procfs()? } else { mount::fsopen(&made.fstype).at(Call::FsOpen)? };
        let mode = if inherit_mode { Some(target) } else { None };
        detached(at, mount, made, context, mode)?
    };
    if made.copy_up && !fresh {
        check_proc(mount, tree, target)?;
        copyup::copy(at, target, tree)?;
    }
    attach(mount, tree, target)
}

/// The mount of a new file system, attached nowhere. Closes the context.
pub(super) fn detached(
    at: &mut Place,
    mount: &Mount,
    made: &FileSystem,
    context: RawFd,
    mode: Option<RawFd>,
) -> Result<RawFd, Failure> {
    let created = configure(context, &made.parameters, mode)
        .and_then(|()| mount::fsconfig_create(context).at(Call::FsConfigCreate));
    if created.is_err() {
        at.detail.read_context(context);
    }
    created?;
    let tree = mount::fsmount(context, mount.attributes.top.set).at(Call::FsMount)?;
    fs::close(context);
    if let Some(label) = &made.label {
        set_label(tree, label)?;
    }
    let propagation = mount.attributes.top.propagation;
    if propagation != 0 {
        let attr = MountAttr { set: 0, clear: 0, propagation, userns_fd: 0 };
        mount::mount_setattr(tree, false, &attr).at(Call::MountSetattr)?;
    }
    Ok(tree)
}

/// The label of the root of a file system.
fn set_label(tree: RawFd, label: &CStr) -> Result<(), Failure> {
    let flags = ::libc::O_RDONLY | ::libc::O_DIRECTORY;
    let root = fs::openat(tree, c".", flags, 0).at(Call::Label)?;
    let labelled = copy::fsetxattr(root, c"security.selinux", label.to_bytes_with_nul());
    fs::close(root);
    match labelled {
        // The mqueue of a user namespace was made before it had ids: nobody there owns it, and
        // it keeps the label that the policy gives it.
        Err(Errno::EPERM) => Ok(()),
        other => other.at(Call::Label),
    }
}

/// The file system by mount(2), which attaches at once: to the working directory, which is
/// the only path that cannot be exchanged.
fn old_mount(
    at: &mut Place,
    mount: &Mount,
    made: &FileSystem,
    old: &OldMount,
    target: RawFd,
    inherit_mode: bool,
) -> Result<RawFd, Failure> {
    check_proc(mount, target, target)?;
    fs::fchdir(target).at(Call::Chdir)?;
    mount::mount_on_cwd(&old.source, &made.fstype, old.flags, &old.data).at(Call::Mount)?;
    // ".." of a root is the root itself, and leads to what is mounted there.
    let tree = openat2(target, c"..", ::libc::O_PATH, 0, RESOLVE_IN_ROOT).at(Call::OpenTarget)?;
    if inherit_mode {
        let mode = fs::fstat(target).at(Call::OpenTarget)?.st_mode & 0o7777;
        fs::fchmodat(tree, c".", mode).at(Call::Mount)?;
    }
    if let Some(label) = &made.label {
        set_label(tree, label)?;
    }
    set_attributes(tree, mount)?;
    if made.copy_up {
        copyup::copy(at, target, tree)?;
    }
    fs::close(target);
    Ok(tree)
}

/// Changes what is mounted at the target.
fn remount(
    at: &mut Place,
    mount: &Mount,
    parameters: Option<&[Parameter]>,
) -> Result<RawFd, Failure> {
    let target = resolve::open(at.root, &mount.target, links(mount)).at(Call::OpenTarget)?;
    check_proc(mount, target, target)?;
    if let Some(parameters) = parameters {
        let context = mount::fspick(target).at(Call::FsPick)?;
        let changed = configure(context, parameters, None)
            .and_then(|()| mount::fsconfig_reconfigure(context).at(Call::FsReconfigure));
        if changed.is_err() {
            at.detail.read_context(context);
        }
        changed?;
        fs::close(context);
    }
    set_attributes(target, mount)?;
    Ok(target)
}

/// Gives the context its parameters.
fn configure(
    context: RawFd,
    parameters: &[Parameter],
    mode_of: Option<RawFd>,
) -> Result<(), Failure> {
    for (part, parameter) in parameters.iter().enumerate() {
        mount::fsconfig_set(context, &parameter.key, parameter.value.as_deref())
            .at_part(Call::FsConfig, part)?;
    }
    if let Some(covered) = mode_of {
        let mode = fs::fstat(covered).at(Call::OpenTarget)?.st_mode & 0o7777;
        let text = octal(mode);
        let text = ::core::ffi::CStr::from_bytes_until_nul(&text);
        let Ok(text) = text else { return Err(Failure::new(Call::FsConfig, Errno::EINVAL)) };
        mount::fsconfig_set(context, c"mode", Some(text)).at(Call::FsConfig)?;
    }
    Ok(())
}

/// Four octal digits and a NUL.
fn octal(mode: u32) -> [u8; 5] {
    let digit = |shift: u32| b'0' + (mode >> shift & 7) as u8;
    [digit(9), digit(6), digit(3), digit(0), 0]
}

fn is_nothing(attr: &MountAttr) -> bool {
    attr.set | attr.clear | attr.propagation == 0
}

/// What goes for the tree and what goes for its top are about different attributes: one call
/// where only one of them is there.
fn set_attributes(tree: RawFd, mount: &Mount) -> Result<(), Failure> {
    let Attributes { tree: of_tree, top, unnamed } = mount.attributes;
    if !is_nothing(&of_tree) {
        mount::mount_setattr(tree, true, &of_tree).at(Call::MountSetattr)?;
    }
    let of_top = MountAttr { clear: top.clear | unnamed, ..top };
    if is_nothing(&of_top) {
        return Ok(());
    }
    match mount::mount_setattr(tree, false, &of_top) {
        // A user namespace locks what its mounts were given outside. Nobody asked to clear
        // these; the kernel locks all but this one.
        Err(Errno::EPERM) if unnamed & !attr::NOSYMFOLLOW != 0 => {
            let of_top = MountAttr { clear: top.clear | unnamed & attr::NOSYMFOLLOW, ..top };
            mount::mount_setattr(tree, false, &of_top).at(Call::MountSetattr)
        }
        other => other.at(Call::MountSetattr),
    }
}

/// The rules for /proc, on the descriptors themselves: a link in the root may lead from an innocent
/// target to the procfs that an earlier entry mounted.
fn check_proc(mount: &Mount, tree: RawFd, target: RawFd) -> Result<(), Failure> {
    let is_proc = |fd: RawFd| fs::fs_magic(fd).map(|magic| magic == fs::magic::PROC);
    if !mount.on_proc && is_proc(target).at(Call::OpenTarget)? {
        return Err(Failure::new(Call::NotOnProc, Errno::EPERM));
    }
    let at_proc = mount.target.as_bytes() == b"proc";
    if at_proc && !is_proc(tree).at(Call::OpenSource)? {
        return Err(Failure::new(Call::NotProc, Errno::EPERM));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ::core::prelude::rust_2024::*;

    use super::octal;

    #[test]
    fn modes_are_written_in_octal() {
        ::core::assert_eq!(&octal(0o1777), b"1777\0");
        ::core::assert_eq!(&octal(0o755), b"0755\0");
    }
}
