//! The kernel's price of a container: `floor CGROUP ROOTFS PROGRAM` makes the system calls that the
//! configuration of `rt spec` cannot do without, and nothing else: no configuration is read,
//! no state is kept, nothing is checked.
//!
//! `--leave` ends when the program has started, and leaves it. `--safe` adds what a runtime cannot do
//! without: it starts again from a read-only mount of itself (CVE-2019-5736), guards the devices, gives
//! the container a session keyring, keeps a state that another process finds, and has the first process
//! wait until that is written.

use std::env::args;
use std::ffi::{CStr, CString, OsStr};
use std::fs::{self as files, create_dir, remove_dir};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rt::cgroup::devices as guard;
use rt::plan::resources::device_rules::DEFAULTS;
use rt::runtime::protect;
use rt::sys::c_array::CArray;
use rt::sys::clone::{self, Side};
use rt::sys::mount::{self, MountAttr, attr};
use rt::sys::{RawFd, cred, fs, io, keyring, net, ns, pidfd};

const NAMESPACES: i32 = libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP;
const READONLY: MountAttr = MountAttr { set: attr::RDONLY, clear: 0, propagation: 0, userns_fd: 0 };
const SAFE: u64 = attr::NOSUID | attr::NOEXEC | attr::NODEV;
/// CAP_KILL, CAP_NET_BIND_SERVICE, CAP_AUDIT_WRITE.
const CAPS: u64 = 1 << 5 | 1 << 10 | 1 << 29;
const LAST_CAP: u32 = 40;

type Options<'a> = &'a [(&'a CStr, &'a CStr)];
const TMPFS: Options<'_> = &[(c"mode", c"755"), (c"size", c"65536k")];
const MOUNTS: [(&CStr, &CStr, u64, Options<'_>); 7] = [
    (c"proc", c"proc", 0, &[]),
    (c"tmpfs", c"dev", attr::NOSUID | attr::STRICTATIME, TMPFS),
    (
        c"devpts",
        c"dev/pts",
        attr::NOSUID | attr::NOEXEC,
        &[(c"ptmxmode", c"666"), (c"mode", c"620"), (c"gid", c"5")],
    ),
    (c"tmpfs", c"dev/shm", SAFE, TMPFS),
    (c"mqueue", c"dev/mqueue", SAFE, &[]),
    (c"sysfs", c"sys", SAFE | attr::RDONLY, &[]),
    (c"cgroup2", c"sys/fs/cgroup", SAFE | attr::RDONLY, &[]),
];
const DEVICES: [(&CStr, u32, u32); 6] = [
    (c"null", 1, 3),
    (c"zero", 1, 5),
    (c"full", 1, 7),
    (c"random", 1, 8),
    (c"urandom", 1, 9),
    (c"tty", 5, 0),
];
const LINKS: [(&CStr, &CStr); 5] = [
    (c"/proc/self/fd", c"fd"),
    (c"/proc/self/fd/0", c"stdin"),
    (c"/proc/self/fd/1", c"stdout"),
    (c"/proc/self/fd/2", c"stderr"),
    (c"pts/ptmx", c"ptmx"),
];
const MASKED: [&CStr; 6] = [
    c"proc/acpi",
    c"proc/interrupts",
    c"proc/kcore",
    c"proc/keys",
    c"proc/timer_list",
    c"sys/firmware",
];
const READONLY_PATHS: [&CStr; 5] =
    [c"proc/bus", c"proc/fs", c"proc/irq", c"proc/sys", c"proc/sysrq-trigger"];

fn main() {
    let is = |flag: &str| args().skip(1).any(|word| word == flag);
    let (safe, leave) = (is("--safe"), is("--leave"));
    if safe {
        protect::ensure().expect("start again from a read-only mount");
    }
    let words = args().skip(1).filter(|word| !word.starts_with("--"));
    let mut args = words.map(|text| CString::new(text).expect("no NUL"));
    let (Some(cgroup), Some(rootfs), Some(program)) = (args.next(), args.next(), args.next())
    else {
        panic!("usage: floor [--safe] [--leave] CGROUP ROOTFS PROGRAM [ARGUMENT]")
    };
    let argv: Vec<CString> = [program.clone()].into_iter().chain(args).collect();
    let path = Path::new(OsStr::from_bytes(cgroup.to_bytes()));
    let name = path.file_name().expect("a cgroup with a name").display();
    let state = State(safe.then(|| format!("/run/floor {name}").into()));
    state.intend();
    create_dir(path).expect("make the cgroup");
    let cgroup = files::File::open(path).expect("open the cgroup");
    let (ours, theirs) = io::pipe().expect("make a pipe");
    let (started, starting) = io::pipe().expect("make a pipe");
    match clone::clone3(NAMESPACES as u64, None, Some(cgroup.as_raw_fd())).expect("clone3") {
        Side::Child => {
            fs::close(theirs.as_raw_fd());
            let go_on = safe.then_some(ours.as_raw_fd());
            let (step, errno) = child(&rootfs, &program, &CArray::new(argv), go_on);
            eprintln!("floor: {step}: {errno}");
            clone::exit(1)
        }
        Side::Parent { pidfd, .. } => {
            drop(starting);
            if safe {
                guard::attach(cgroup.as_fd(), &DEFAULTS).expect("guard the devices");
            }
            state.save();
            drop(theirs);
            if leave {
                // The end of file says that its descriptors have been closed by execve.
                return fs::read(started.as_raw_fd(), &mut [0])
                    .map(drop)
                    .expect("hear of the start");
            }
            pidfd::wait_raw(pidfd, false).expect("wait");
        }
    }
    remove_dir(path).expect("remove the cgroup");
    state.remove();
}

/// A directory with a copy of the configuration, a note of what is about to be made, and a record
/// that appears whole.
struct State(Option<PathBuf>);

impl State {
    fn intend(&self) {
        let Some(dir) = &self.0 else { return };
        create_dir(dir).expect("make the state directory");
        files::write(dir.join("config.json"), [b' '; 4096]).expect("write the configuration");
        files::write(dir.join("intent.json"), [b' '; 512]).expect("write the intent");
    }

    fn save(&self) {
        let Some(dir) = &self.0 else { return };
        files::write(dir.join("new"), [b' '; 1024]).expect("write the record");
        files::rename(dir.join("new"), dir.join("state.json")).expect("rename the record");
    }

    fn remove(&self) {
        let Some(dir) = &self.0 else { return };
        for name in ["config.json", "intent.json", "state.json"] {
            files::remove_file(dir.join(name)).expect("remove the state");
        }
        remove_dir(dir).expect("remove the state directory");
    }
}

/// Becomes the program, after the end of `go_on`. Returns only when something failed.
fn child(
    rootfs: &CStr,
    program: &CStr,
    argv: &CArray,
    go_on: Option<RawFd>,
) -> (&'static str, Errno) {
    let steps = || -> Result<(), (&'static str, Errno)> {
        let at = |step| move |errno| (step, errno);
        let private = MountAttr { propagation: libc::MS_PRIVATE, ..MountAttr::default() };
        mount::mount_setattr_root(&private).map_err(at("private"))?;
        cred::setsid().map_err(at("setsid"))?;
        if go_on.is_some() {
            keyring::join_session_keyring(c"floor").map_err(at("keyring"))?;
        }
        net::loopback_up().map_err(at("loopback"))?;
        ns::sethostname(b"floor").map_err(at("hostname"))?;
        let below = path(libc::AT_FDCWD, rootfs).map_err(at("open the root"))?;
        let root = mount::clone_tree(below, c"", true).map_err(at("clone the root"))?;
        mount::move_mount(root, below).map_err(at("bind the root"))?;
        for (fstype, target, attributes, options) in MOUNTS {
            mount_one(root, fstype, target, attributes, options).map_err(at("mount"))?;
        }
        devices(root).map_err(at("devices"))?;
        for name in MASKED {
            mask(root, name).map_err(at("mask"))?;
        }
        for name in READONLY_PATHS {
            readonly(root, name).map_err(at("read-only"))?;
        }
        mount::mount_setattr(root, false, &READONLY).map_err(at("read-only root"))?;
        fs::fchdir(root).map_err(at("fchdir"))?;
        mount::pivot_root_cwd().map_err(at("pivot_root"))?;
        mount::umount_cwd().map_err(at("umount2"))?;
        fs::chdir(c"/").map_err(at("chdir"))?;
        for capability in (0..=LAST_CAP).filter(|number| CAPS & 1 << number == 0) {
            cred::capbset_drop(capability).map_err(at("bounding set"))?;
        }
        cred::capset(CAPS, CAPS, 0).map_err(at("capset"))?;
        cred::no_new_privileges().map_err(at("no_new_privs"))?;
        go_on.map_or(Ok(()), |end| fs::read(end, &mut [0]).map(drop).map_err(at("wait")))
    };
    if let Err(failure) = steps() {
        return failure;
    }
    ("execve", clone::execve(program, argv, &mut CArray::new(Vec::new()), None))
}

fn path(root: RawFd, name: &CStr) -> Result<RawFd, Errno> {
    fs::openat(root, name, libc::O_PATH, 0)
}

fn mount_one(
    root: RawFd,
    fstype: &CStr,
    target: &CStr,
    attributes: u64,
    options: Options<'_>,
) -> Result<(), Errno> {
    let context = mount::fsopen(fstype)?;
    for (key, value) in options {
        mount::fsconfig_set(context, key, Some(value))?;
    }
    mount::fsconfig_create(context)?;
    let tree = mount::fsmount(context, attributes)?;
    let target = match path(root, target) {
        Err(Errno::ENOENT) => fs::mkdirat(root, target, 0o755).and_then(|()| path(root, target)),
        other => other,
    };
    mount::move_mount(tree, target?)
}

fn devices(root: RawFd) -> Result<(), Errno> {
    let dev = path(root, c"dev")?;
    for (name, major, minor) in DEVICES {
        fs::mknodat(dev, name, libc::S_IFCHR | 0o666, libc::makedev(major, minor))?;
    }
    LINKS.iter().try_for_each(|(target, name)| fs::symlinkat(target, dev, name))
}

fn mask(root: RawFd, name: &CStr) -> Result<(), Errno> {
    let target = match path(root, name) {
        Err(Errno::ENOENT) => return Ok(()),
        other => other?,
    };
    let cover = if fs::fstat(target)?.st_mode & libc::S_IFMT == libc::S_IFDIR {
        let empty = mount::fsopen(c"tmpfs")?;
        mount::fsconfig_create(empty)?;
        mount::fsmount(empty, SAFE | attr::RDONLY)?
    } else {
        mount::clone_tree(root, c"dev/null", false)?
    };
    mount::move_mount(cover, target)
}

fn readonly(root: RawFd, name: &CStr) -> Result<(), Errno> {
    let target = match path(root, name) {
        Err(Errno::ENOENT) => return Ok(()),
        other => other?,
    };
    let tree = mount::clone_tree(target, c"", true)?;
    mount::mount_setattr(tree, true, &READONLY)?;
    mount::move_mount(tree, target)
}
