//! What one test works with: its directory, its state root, its cgroup, the runtime.

use super::cmd::{self, Cmd, Out};
use super::{Bundle, Kind, isolate, worker};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// The id that most tests give their container.
pub const ID: &str = "box";

/// Whether systemd makes the cgroups of all containers (RT_TEST_DRIVER).
pub fn with_systemd() -> bool {
    std::env::var_os("RT_TEST_DRIVER").is_some_and(|driver| driver == "systemd")
}

pub struct Case {
    /// Everything the test writes is below it.
    pub dir: PathBuf,
    /// `--root`.
    pub state: PathBuf,
    pub base: PathBuf,
    pub runtime: PathBuf,
    pub kind: Kind,
    pub rootless: bool,
    pub name: String,
}

impl Case {
    pub fn new(scratch: &Path, dir: PathBuf, name: &str, rootless: bool) -> Case {
        let base = scratch.join("base");
        let runtime = super::rootfs::runtime_in(&base);
        for sub in ["state", "bundles", "files", "out", "xdg"] {
            fs::create_dir(dir.join(sub)).expect("make the test's directories");
        }
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var("TMPDIR", dir.join("out")) };
        let kind = Kind::named(&std::env::var("RT_TEST_KIND").unwrap_or_default());
        let state = dir.join("state");
        Case { dir, state, base, runtime, kind, rootless, name: name.into() }
    }

    pub fn is_rt(&self) -> bool {
        self.kind == Kind::Rt
    }

    /// A path for a file of the test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join("files").join(name)
    }
    pub fn path_str(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// The cgroup below which the test's containers are placed.
    pub fn cgroup_dir(&self) -> Option<PathBuf> {
        (!self.rootless).then(|| worker::cgroup(&self.name))
    }
    /// `linux.cgroupsPath` for a container.
    pub fn cgroups_path(&self, id: &str) -> String {
        if with_systemd() {
            let name = self.name.replace("::", ".").replace('_', "-");
            return format!(":rt-test-{id}:{name}");
        }
        let dir = worker::cgroup(&self.name);
        format!("/{}/{id}", dir.file_name().expect("a name").to_string_lossy())
    }

    /// A bundle with the default configuration and a busybox root file system.
    pub fn bundle(&self) -> Bundle {
        self.named_bundle("bundle")
    }
    pub fn named_bundle(&self, name: &str) -> Bundle {
        Bundle::new(self, name)
    }

    /// The runtime's binary followed by `--root`.
    pub fn rt_cmd(&self, args: &[&str]) -> Cmd {
        self.bare_cmd(&["--root", &self.state.to_string_lossy()]).args(args)
    }
    /// The runtime's binary alone.
    pub fn bare_cmd(&self, args: &[&str]) -> Cmd {
        let mut cmd = Cmd::new(&[&self.runtime.to_string_lossy()]);
        if with_systemd() {
            // As a login of the user has it.
            cmd = cmd.args(&["--systemd-cgroup"]);
            for name in ["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"] {
                cmd = std::env::var(name).iter().fold(cmd, |cmd, value| cmd.env(name, value));
            }
            return cmd.args(args);
        }
        let cmd = cmd.args(args);
        if self.rootless {
            cmd.env("XDG_RUNTIME_DIR", &self.dir.join("xdg").to_string_lossy())
        } else {
            cmd
        }
    }
    pub fn rt(&self, args: &[&str]) -> Out {
        self.rt_cmd(args).run()
    }

    /// `run -b BUNDLE ID`, in the foreground.
    pub fn run(&self, bundle: &Bundle) -> Out {
        self.rt(&["run", "-b", &bundle.save(), ID])
    }
    pub fn create(&self, bundle: &Bundle) -> Out {
        self.rt(&["create", "-b", &bundle.save(), ID])
    }
    /// Creates and starts; both must succeed.
    #[track_caller]
    pub fn up(&self, bundle: &Bundle) -> Out {
        let out = self.create(bundle).ok();
        self.rt(&["start", ID]).ok();
        out
    }
    /// `delete --force`; must succeed.
    #[track_caller]
    pub fn down(&self) {
        self.rt(&["delete", "--force", ID]).ok();
    }
    pub fn exec(&self, args: &[&str]) -> Out {
        self.rt_cmd(&["exec", ID]).args(args).run()
    }
    /// What the probe sees as the container's process.
    #[track_caller]
    pub fn see(&self, bundle: &Bundle) -> Value {
        let mut bundle = bundle.clone();
        bundle.args(&["/probe", "see"]);
        self.run(&bundle).ok().json()
    }

    /// Fails unless the process, its cgroup and its state are gone by themselves.
    #[track_caller]
    pub fn nothing_left(&self) {
        let state: Vec<_> = fs::read_dir(&self.state).expect("read the root").flatten().collect();
        assert!(state.is_empty(), "state left: {state:?}");
        // A killed process takes a moment to die.
        cmd::wait_until("no process is left", || {
            cmd::reap_adopted();
            super::leak::children().is_empty()
        });
        if let Some(dir) = self.cgroup_dir() {
            let groups = fs::read_dir(dir).expect("read the cgroup").flatten();
            let groups: Vec<_> = groups.filter(|e| e.path().is_dir()).collect();
            assert!(groups.is_empty(), "cgroups left: {groups:?}");
        }
    }

    #[track_caller]
    pub fn state(&self) -> Value {
        self.rt(&["state", ID]).ok().json()
    }
    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().expect("a status").to_string()
    }
    #[track_caller]
    pub fn pid(&self) -> i32 {
        self.state()["pid"].as_i64().expect("a pid") as i32
    }
    #[track_caller]
    pub fn wait_for_status(&self, status: &str) {
        cmd::wait_until(&format!("the status is {status}"), || self.status() == status);
    }
    /// Waits until a file of the test has content, and returns it.
    #[track_caller]
    pub fn wait_for_file(&self, path: &Path) -> String {
        cmd::wait_until(&format!("{} is written", path.display()), || {
            fs::metadata(path).is_ok_and(|m| m.len() > 0)
        });
        fs::read_to_string(path).expect("read")
    }

    /// A directory with a file in it, and a closure that fails if anything there changed.
    pub fn canary(&self, name: &str) -> Canary {
        let dir = self.path(name);
        fs::create_dir(&dir).expect("make the canary");
        fs::write(dir.join("file"), "as it was").expect("write the canary");
        let seen = Canary::look(&dir);
        Canary { dir, seen }
    }

    /// Empties the test's cgroup by force.
    pub fn reset_cgroup(&self) {
        if let Some(dir) = self.cgroup_dir() {
            isolate::remove_cgroup(&dir).expect("remove the cgroup");
            fs::create_dir(dir).expect("make the cgroup");
        }
    }
}

/// A directory outside of the container that must stay as it is.
pub struct Canary {
    pub dir: PathBuf,
    seen: Vec<String>,
}

impl Canary {
    fn look(dir: &Path) -> Vec<String> {
        use std::os::unix::fs::MetadataExt;
        let mut seen = Vec::new();
        let entries = fs::read_dir(dir).expect("read the canary").flatten().map(|e| e.path());
        for path in entries.chain([dir.to_path_buf()]) {
            let m = fs::symlink_metadata(&path).expect("stat the canary");
            let content = if m.is_file() { fs::read(&path).unwrap_or_default() } else { vec![] };
            let what = (m.mode(), m.uid(), m.gid(), m.rdev(), content);
            seen.push(format!("{} {what:?}", path.display()));
        }
        seen.sort();
        seen
    }
    /// Takes what is there now as what must stay.
    pub fn again(&mut self) {
        self.seen = Canary::look(&self.dir);
    }
    #[track_caller]
    pub fn untouched(&self) {
        assert_eq!(self.seen, Canary::look(&self.dir), "the canary changed");
    }
}
