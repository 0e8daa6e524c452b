//! The examples: the commands in their READMEs are run, and what the READMEs say that they
//! print is printed.

use crate::support::cmd::Cmd;
use crate::support::pty::Pty;
use crate::support::{Case, Need, Out, rootfs, sys};
use crate::tests;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

tests! {
    hello: rt_only(),
    shell: rt_only(),
    debian_web: needs(Need::Debian).rt_only(),
    system: needs(Need::Debian).needs(Need::Controller("memory")).rt_only(),
    limits: needs(Need::Controller("memory")).needs(Need::Controller("pids")).needs(Need::Controller("cpu")).rt_only(),
    limits_without_the_controller: needs(Need::NoController("memory")).rt_only(),
    rootless: rootless().rt_only(),
    hooks: rt_only(),
    seccomp: rt_only(),
}

/// The files, as they were when the tests were built: where these run, there may be no source.
macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../examples/", $path)))),*]
    };
}

const FILES: &[(&str, &str)] = files![
    "rootfs",
    "hello/config.json",
    "hello/README.md",
    "shell/config.json",
    "shell/README.md",
    "debian-web/config.json",
    "debian-web/README.md",
    "debian-web/site/index.html",
    "system/config.json",
    "system/README.md",
    "limits/config.json",
    "limits/README.md",
    "limits/demo",
    "rootless/config.json",
    "rootless/README.md",
    "hooks/config.json",
    "hooks/README.md",
    "seccomp/config.json",
    "seccomp/README.md",
];

/// One example, copied to where it may make files.
struct Example {
    dir: PathBuf,
    readme: String,
}

impl Example {
    fn new(c: &Case, name: &str) -> Example {
        let dir = c.path(name);
        for (path, text) in FILES {
            let to = c.path(path);
            if !to.starts_with(&dir) && *path != "rootfs" {
                continue;
            }
            fs::create_dir_all(to.parent().expect("a parent")).expect("make a directory");
            fs::write(&to, text).expect("copy an example");
            let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
            fs::set_permissions(&to, fs::Permissions::from_mode(mode)).expect("chmod");
        }
        let readme = fs::read_to_string(dir.join("README.md")).expect("a README");
        Example { dir, readme }
    }

    /// The first block of the README in this language.
    fn block(&self, language: &str) -> Option<&str> {
        let (_, rest) = self.readme.split_once(&format!("```{language}\n"))?;
        rest.split_once("```").map(|(block, _)| block)
    }

    /// A shell that runs the commands of the README and stops at the first that fails.
    fn cmd(&self, c: &Case) -> Cmd {
        let bin = c.path("bin");
        fs::create_dir(&bin).expect("make a directory");
        symlink(&c.runtime, bin.join("rt")).expect("link the runtime");
        let commands = self.block("sh").expect("commands");
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
        Cmd::new(&["/bin/sh", "-ec", commands])
            .cwd(&self.dir)
            .env("PATH", &path)
            .env("XDG_RUNTIME_DIR", &c.dir.join("xdg").to_string_lossy())
    }

    /// Whether it printed, in this order, the lines that the README has.
    #[track_caller]
    fn printed(&self, out: &str) {
        let mut lines = out.lines();
        for line in self.block("text").expect("what it prints").lines() {
            assert!(lines.any(|l| l.contains(line)), "{line:?} is not, or not there, in:\n{out}");
        }
    }
}

fn run(c: &Case, name: &str) -> (Example, Out) {
    let example = Example::new(c, name);
    let out = example.cmd(c).run();
    no_container_is_left(name);
    (example, out)
}

#[track_caller]
fn runs_as_written(c: &Case, name: &str) -> Out {
    let (example, out) = run(c, name);
    let out = out.ok();
    example.printed(&out.out());
    out
}

/// The default cgroup of the container, beside the one of the tests.
#[track_caller]
fn no_container_is_left(id: &str) {
    assert!(!Path::new("/sys/fs/cgroup").join(id).exists(), "the cgroup {id} is left");
    assert!(!Path::new("/run/rt").join(id).exists(), "the state of {id} is left");
}

fn hello(c: &Case) {
    runs_as_written(c, "hello");
}

fn shell(c: &Case) {
    let example = Example::new(c, "shell");
    let (mut pty, slave) = Pty::open(30, 100);
    let shell = example.cmd(c).terminal(&slave).spawn();
    pty.type_in("stty size; hostname; echo $((6*7)) >/root/file; cat /root/file\n");
    pty.expect("30 100");
    pty.expect("shell");
    pty.expect("42");
    pty.type_in("exit 3\n");
    shell.wait().exits(3);
    no_container_is_left("shell");
}

fn debian_web(c: &Case) {
    // The server shares the network of whoever starts it.
    sys::unshare(libc::CLONE_NEWNET).expect("unshare the network namespace");
    let busybox = c.base.join("busybox");
    Cmd::new(&[&busybox.to_string_lossy(), "ip", "link", "set", "lo", "up"]).run().ok();
    let example = Example::new(c, "debian-web");
    // What is there already is left as it is, so none is made.
    symlink(c.base.join("debian"), example.dir.join("rootfs")).expect("link the Debian");
    let out = example.cmd(c).run().ok().out();
    example.printed(&out);
    no_container_is_left("web");
}

fn system(c: &Case) {
    let example = Example::new(c, "system");
    rootfs::debian(&c.base, &c.path("layers"), &example.dir.join("rootfs"), Some(100_000));
    let out = example.cmd(c).run().ok().out();
    example.printed(&out);
    no_container_is_left("system");
    sys::umount_detach(&example.dir.join("rootfs")).expect("umount");
}

fn limits(c: &Case) {
    let out = runs_as_written(c, "limits").out();
    assert!(!out.contains("has run"), "{out}");
}

fn limits_without_the_controller(c: &Case) {
    let (example, out) = run(c, "limits");
    let err = out.fails("linux.resources.memory.limit").err();
    // The README quotes it, for the most usual reason.
    if err.contains("bound to cgroup v1") {
        let (_, quoted) = example.readme.split_once("\n`the controller").expect("a quotation");
        let quoted = quoted.split('`').next().unwrap_or_default();
        assert!(err.contains(&format!("the controller{quoted}")), "{err}");
    }
}

fn rootless(c: &Case) {
    let out = runs_as_written(c, "rootless").out();
    let map: Vec<_> = out.lines().nth(1).expect("a map").split_whitespace().collect();
    assert_eq!(map, ["0", &nix::unistd::geteuid().to_string(), "1"]);
}

fn hooks(c: &Case) {
    runs_as_written(c, "hooks");
}

fn seccomp(c: &Case) {
    runs_as_written(c, "seccomp");
}
