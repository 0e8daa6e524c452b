//! Root file systems: busybox with the probe, and a Debian.

use super::bundle::own_tree;
use super::cmd::{Cmd, runtime_path};
use super::sys;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const APPLETS: &[&str] = &[
    "sh", "true", "false", "cat", "ls", "echo", "sleep", "id", "kill", "mount", "umount", "touch",
    "mkdir", "stat", "hostname", "ip", "grep", "env", "pwd", "head", "dd", "printf", "ps", "tty",
    "stty", "unshare", "ln", "rm", "chown", "date", "wc", "seq", "test", "mknod", "readlink",
];

const DIRS: &[&str] =
    &["bin", "dev", "etc", "proc", "sys", "tmp", "run", "root", "home", "var", "mnt", "usr/bin"];

/// Copies what every test uses below the scratch directory; returns the runtime's copy.
pub fn furnish(scratch: &Path) -> io::Result<PathBuf> {
    let base = scratch.join("base");
    fs::create_dir_all(base.join("runtime"))?;
    fs::create_dir_all(scratch.join("cases"))?;
    fs::create_dir_all(scratch.join("workers"))?;
    copy_program(Path::new("/proc/self/exe"), &base.join("probe"))?;
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().map(Path::new).find(|p| p.exists());
    let busybox = busybox
        .ok_or_else(|| io::Error::other("/bin/busybox is missing: install busybox-static"))?;
    copy_program(busybox, &base.join("busybox"))?;
    // A copy: tests check that it never changes, and an ordinary user must reach it.
    let runtime = runtime_path();
    let name = runtime.file_name().ok_or_else(|| io::Error::other("RT_BIN names no file"))?;
    let copy = base.join("runtime").join(name);
    copy_program(&runtime, &copy)?;
    if let Some(tar) = std::env::var_os("RT_TEST_DEBIAN") {
        let debian = base.join("debian");
        fs::create_dir(&debian)?;
        let out = Cmd::new(&["tar", "-x", "--numeric-owner", "--exclude=./dev/*", "-f"])
            .arg(tar.to_string_lossy())
            .args(&["-C", &debian.to_string_lossy()])
            .output_in(&scratch.join("workers"), "tar")
            .run();
        if out.code != Some(0) {
            return Err(io::Error::other(format!("unpack RT_TEST_DEBIAN: {}", out.err())));
        }
    }
    Ok(copy)
}

fn copy_program(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))
}

/// The runtime's copy below the base directory.
pub fn runtime_in(base: &Path) -> PathBuf {
    let name = runtime_path().file_name().expect("a file name").to_os_string();
    base.join("runtime").join(name)
}

/// Makes a root file system out of links to busybox and the probe.
pub fn busybox(base: &Path, root: &Path) {
    if root.exists() {
        return;
    }
    for dir in DIRS {
        fs::create_dir_all(root.join(dir)).expect("make a directory of the rootfs");
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("chmod");
    for (program, at) in [("busybox", "bin/busybox"), ("probe", "probe")] {
        if fs::hard_link(base.join(program), root.join(at)).is_err() {
            // Another owner's file may not be linked (fs.protected_hardlinks).
            fs::copy(base.join(program), root.join(at)).expect("copy a program");
        }
    }
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).expect("link an applet");
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n";
    fs::write(root.join("etc/passwd"), passwd).expect("write passwd");
    fs::write(root.join("etc/group"), "root:x:0:\nuser:x:1000:\n").expect("write group");
}

/// The Debian at `at`, below a layer that takes what is changed. With an `owner`, its files
/// belong to that user and group. What it is made of lies in `dir`.
pub fn debian(base: &Path, dir: &Path, at: &Path, owner: Option<u32>) {
    let layer = |name: &str| {
        let path = dir.join(name);
        fs::create_dir_all(&path).expect("make a layer");
        path.to_string_lossy().into_owned()
    };
    let (upper, work) = (layer("upper"), layer("work"));
    fs::create_dir(at).expect("make a directory");
    let lower = base.join("debian").to_string_lossy().into_owned();
    // A change of owner copies no contents with metacopy.
    let layers = format!("lowerdir={lower},upperdir={upper},workdir={work},metacopy=on");
    sys::mount("debian", at, "overlay", 0, &layers).expect("mount an overlay");
    if let Some(owner) = owner {
        own_tree(at, owner);
    }
}
