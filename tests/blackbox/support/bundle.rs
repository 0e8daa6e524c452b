//! Bundles: a configuration to be changed, and a root file system.

use super::{Case, rootfs};
use serde_json::{Value, json};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Clone)]
pub struct Bundle {
    pub dir: PathBuf,
    pub config: Value,
    /// False when config.json is written by the test itself.
    write: Cell<bool>,
}

impl Bundle {
    pub fn new(case: &Case, name: &str) -> Bundle {
        let dir = case.dir.join("bundles").join(name);
        fs::create_dir_all(&dir).expect("make the bundle");
        rootfs::busybox(&case.base, &dir.join("rootfs"));
        let mut config = default_config();
        if case.kind == super::Kind::Crun {
            // For device rules it raises RLIMIT_MEMLOCK, which not every root may.
            config["linux"].as_object_mut().expect("linux").remove("resources");
        }
        if case.rootless {
            rootless(&mut config);
        }
        if !case.rootless || super::case::with_systemd() {
            config["linux"]["cgroupsPath"] = json!(case.cgroups_path(super::ID));
        }
        Bundle { dir, config, write: Cell::new(true) }
    }

    pub fn rootfs(&self, path: &str) -> PathBuf {
        self.dir.join("rootfs").join(path.trim_start_matches('/'))
    }

    pub fn args(&mut self, args: &[&str]) -> &mut Self {
        self.set("/process/args", json!(args))
    }
    /// Runs a line of shell.
    pub fn sh(&mut self, script: &str) -> &mut Self {
        self.args(&["/bin/sh", "-c", script])
    }
    /// Sets the value at a JSON pointer; makes the objects on the way.
    pub fn set(&mut self, pointer: &str, value: Value) -> &mut Self {
        *self.at(pointer) = value;
        self
    }
    pub fn push(&mut self, pointer: &str, value: Value) -> &mut Self {
        let list = self.at(pointer);
        if list.is_null() {
            *list = json!([]);
        }
        list.as_array_mut().expect("a list").push(value);
        self
    }
    pub fn remove(&mut self, pointer: &str) -> &mut Self {
        let (parent, key) = pointer.rsplit_once('/').expect("a JSON pointer");
        if let Some(object) = self.config.pointer_mut(parent).and_then(Value::as_object_mut) {
            object.remove(key);
        }
        self
    }
    fn at(&mut self, pointer: &str) -> &mut Value {
        let mut value = &mut self.config;
        for key in pointer.split('/').skip(1) {
            value = match key.parse::<usize>() {
                Ok(index) if value.is_array() => &mut value[index],
                _ => &mut value[key],
            };
        }
        value
    }

    /// All capabilities that matter to a test, in every set.
    pub fn caps(&mut self, caps: &[&str]) -> &mut Self {
        for set in ["bounding", "effective", "permitted"] {
            self.set(&format!("/process/capabilities/{set}"), json!(caps));
        }
        self
    }
    pub fn mount(
        &mut self,
        destination: &str,
        kind: &str,
        source: &str,
        options: &[&str],
    ) -> &mut Self {
        self.push(
            "/mounts",
            json!({"destination": destination, "type": kind, "source": source, "options": options}),
        )
    }
    /// Removes the mount with this destination.
    pub fn unmount(&mut self, destination: &str) -> &mut Self {
        let mounts = self.at("/mounts").as_array_mut().expect("mounts");
        mounts.retain(|m| m["destination"] != destination);
        self
    }
    /// Replaces the namespace of this type.
    pub fn namespace(&mut self, kind: &str, path: Option<&str>) -> &mut Self {
        self.without_namespace(kind);
        let value = match path {
            Some(path) => json!({"type": kind, "path": path}),
            None => json!({"type": kind}),
        };
        self.push("/linux/namespaces", value)
    }
    pub fn without_namespace(&mut self, kind: &str) -> &mut Self {
        let list = self.at("/linux/namespaces").as_array_mut().expect("namespaces");
        list.retain(|n| n["type"] != kind);
        self
    }

    /// A user namespace that maps ids from 0 on to those from 100000 on, to which the root
    /// file system then belongs.
    pub fn user_namespace(&mut self) -> &mut Self {
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
        own_tree(&self.rootfs("/"), 100_000);
        self.namespace("user", None);
        self.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
    }

    /// Writes config.json as it stands and returns the directory.
    pub fn save(&self) -> String {
        if self.write.get() {
            let text = serde_json::to_vec_pretty(&self.config).expect("serialise");
            fs::write(self.dir.join("config.json"), text).expect("write config.json");
        }
        self.dir.to_string_lossy().into_owned()
    }
    /// Writes these bytes as config.json, now and for good.
    pub fn raw(&self, text: &[u8]) -> &Self {
        fs::write(self.dir.join("config.json"), text).expect("write config.json");
        self.write.set(false);
        self
    }
    /// The test makes config.json itself.
    pub fn without_config(&self) -> &Self {
        self.write.set(false);
        self
    }
}

/// What `spec` writes, but without a terminal.
pub fn default_config() -> Value {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/true"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "box",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
             "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"},
                {"type": "uts"}, {"type": "mount"}, {"type": "cgroup"}
            ],
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys",
                "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
                "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}

/// Gives a directory and everything in it to one user and group.
pub fn own_tree(path: &Path, id: u32) {
    std::os::unix::fs::lchown(path, Some(id), Some(id)).expect("chown");
    if fs::symlink_metadata(path).expect("stat").is_dir() {
        for entry in fs::read_dir(path).expect("read a directory").flatten() {
            own_tree(&entry.path(), id);
        }
    }
}

/// What `spec --rootless` changes.
fn rootless(config: &mut Value) {
    let ids = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let linux = &mut config["linux"];
    linux["uidMappings"] = json!([{"containerID": 0, "hostID": ids.0, "size": 1}]);
    linux["gidMappings"] = json!([{"containerID": 0, "hostID": ids.1, "size": 1}]);
    linux["namespaces"].as_array_mut().expect("namespaces").push(json!({"type": "user"}));
    linux.as_object_mut().expect("linux").remove("resources");
    let mounts = config["mounts"].as_array_mut().expect("mounts");
    mounts.retain(|m| m["type"] != "cgroup");
    for mount in mounts {
        if let Some(options) = mount.get_mut("options").and_then(Value::as_array_mut) {
            options.retain(|o| o != "gid=5");
        }
    }
}
