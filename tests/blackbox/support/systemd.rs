//! Containers in units of systemd, and what systemd says of these.

use super::cmd::{Cmd, Out};
use super::{Bundle, Case, ID};
use nix::fcntl::{Flock, FlockArg};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The name after the last dash, which is the test's.
pub fn name(c: &Case) -> String {
    c.name.replace("::", ".").replace('_', "-")
}

pub fn unit(c: &Case) -> String {
    format!("rt-test-{}.scope", name(c))
}

/// A bundle whose program sleeps, in [`unit`].
pub fn bundle(c: &Case) -> Bundle {
    let mut b = c.bundle();
    b.set("/linux/cgroupsPath", json!(format!(":rt-test:{}", name(c))));
    b.args(&["/probe", "sleep"]);
    b
}

/// With what a login of the user has.
pub fn session(cmd: Cmd) -> Cmd {
    ["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"].iter().fold(
        cmd,
        |cmd, name| match std::env::var(name) {
            Ok(value) => cmd.env(name, &value),
            Err(_) => cmd,
        },
    )
}

pub fn rt_cmd(c: &Case, args: &[&str]) -> Cmd {
    let root = c.state.to_string_lossy().into_owned();
    session(c.bare_cmd(&["--root", &root, "--systemd-cgroup"]).args(args))
}

pub fn rt(c: &Case, args: &[&str]) -> Out {
    rt_cmd(c, args).run()
}

#[track_caller]
pub fn up(c: &Case, bundle: &Bundle) {
    rt(c, &["run", "-d", "-b", &bundle.save(), ID]).ok();
}

#[track_caller]
pub fn down(c: &Case) {
    rt(c, &["delete", "--force", ID]).ok();
    assert!(!is_known(c, &unit(c)), "the unit is left");
}

pub fn systemctl(c: &Case, args: &[&str]) -> Out {
    let user: &[&str] = if c.rootless { &["--user"] } else { &[] };
    session(Cmd::new(&["systemctl", "--no-pager"]).args(user).args(args)).run()
}

/// Has systemd read everything again. It answers before it writes the cgroups anew, and answers
/// the next question after that.
#[track_caller]
pub fn reload(c: &Case) {
    let _alone = locked(FlockArg::LockExclusive);
    systemctl(c, &["daemon-reload"]).ok();
    show(c, &unit(c));
}

/// As long as this is kept, no other test has systemd write the cgroups of all units anew.
pub fn without_reloads() -> Flock<File> {
    locked(FlockArg::LockShared)
}

/// The one file that all tests of a run have in common is their program.
fn locked(how: FlockArg) -> Flock<File> {
    let program = File::open("/proc/self/exe").expect("open the own program");
    Flock::lock(program, how).map_err(|(_, errno)| errno).expect("lock the own program")
}

/// All properties of a unit.
#[track_caller]
pub fn show(c: &Case, unit: &str) -> BTreeMap<String, String> {
    let text = systemctl(c, &["show", unit]).ok().out();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

pub fn is_known(c: &Case, unit: &str) -> bool {
    !systemctl(c, &["list-units", "--all", "--full", "--plain", "--no-legend", unit])
        .ok()
        .out()
        .trim()
        .is_empty()
}

/// The cgroup, as systemd names it.
#[track_caller]
pub fn dir(c: &Case) -> PathBuf {
    PathBuf::from(format!("/sys/fs/cgroup{}", show(c, &unit(c))["ControlGroup"]))
}

#[track_caller]
pub fn read(dir: &Path, file: &str) -> String {
    let path = dir.join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim().to_owned()
}

pub fn cgroup_of(pid: i32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned()
}

/// Sets annotations `org.systemd.property.NAME`.
pub fn annotate(b: &mut Bundle, pairs: &[(&str, &str)]) {
    let annotations: BTreeMap<String, &str> =
        pairs.iter().map(|(name, text)| (format!("org.systemd.property.{name}"), *text)).collect();
    b.set("/annotations", json!(annotations));
}
