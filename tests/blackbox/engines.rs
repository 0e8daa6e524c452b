//! What engines type: containerd and Docker (go-runc), conmon, CRI-O.

use crate::cli::last_entry;
use crate::support::{Case, ID};
use crate::tests;
use serde_json::json;
use std::fs;

tests! {
    argv_of_go_runc: except_crun("--rootless"),
    argv_of_conmon,
    argv_of_cri_o,
    features_is_json_and_says_what_engines_need: anyone().rt_only(),
}

fn argv_of_go_runc(c: &Case) {
    let mut b = c.bundle();
    let (dir, pid, log) =
        (b.args(&["/probe", "sleep"]).save(), c.path_str("pid"), c.path_str("log.json"));
    let go = |args: &[&str]| {
        let global = ["--log", &log, "--log-format", "json", "--systemd-cgroup=false"];
        c.rt_cmd(&global).args(&["--rootless=false"]).args(args).run()
    };
    go(&["create", "--bundle", &dir, "--no-new-keyring", "--pid-file", &pid, ID]).ok();
    go(&["start", ID]).ok();
    assert_eq!(go(&["state", ID]).ok().json()["status"], "running");
    fs::write(c.path("process.json"), process_json(&["/bin/true"])).unwrap();
    let process = c.path_str("process.json");
    let (exec_pid, id) = (c.path_str("exec.pid"), ID);
    go(&["exec", "--process", &process, "--detach", "--pid-file", &exec_pid, id]).ok();
    c.wait_for_file(&c.path("exec.pid"));
    go(&["pause", ID]).ok();
    go(&["resume", ID]).ok();
    go(&["ps", "--format", "json", ID]).ok();
    go(&["list", "--format=json"]).ok();
    go(&["kill", "--all", ID, "9"]).ok();
    c.wait_for_status("stopped");
    go(&["kill", ID, "9"]).fails("container not running");
    go(&["delete", ID]).ok();
    go(&["delete", "--force", ID]).ok();
    last_entry(&fs::read_to_string(&log).unwrap());
}

/// What engines pass to `exec --process`.
pub fn process_json(args: &[&str]) -> String {
    let mut process = crate::support::bundle::default_config()["process"].clone();
    process["args"] = json!(args);
    process.to_string()
}

fn argv_of_conmon(c: &Case) {
    let mut b = c.bundle();
    let dir = b.args(&["/probe", "sleep"]).save();
    let pid = c.path_str("pidfile");
    c.rt(&["create", "--bundle", &dir, "--pid-file", &pid, "--no-new-keyring", ID]).ok();
    assert!(c.path("pidfile").exists());
    c.rt(&["start", ID]).ok();
    fs::write(c.path("process.json"), process_json(&["/bin/sh", "-c", "exit 0"])).unwrap();
    let (exec_pid, process) = (c.path_str("exec.pid"), c.path_str("process.json"));
    c.rt(&["exec", "--pid-file", &exec_pid, "--process", &process, "--detach", ID]).ok();
    c.wait_for_file(&c.path("exec.pid"));
    c.rt(&["kill", ID, "15"]).ok();
    c.down();
}

fn argv_of_cri_o(c: &Case) {
    let mut b = c.bundle();
    b.args(&["/probe", "sleep"]);
    c.up(&b);
    fs::write(c.path("process.json"), process_json(&["/bin/sh", "-c", "echo sync; exit 3"]))
        .unwrap();
    let out = c.rt(&["exec", "--process", &c.path_str("process.json"), ID]).exits(3);
    assert_eq!(out.out(), "sync\n");
    c.rt(&["kill", ID, "KILL"]).ok();
    c.wait_for_status("stopped");
    c.rt(&["delete", "--force", ID]).ok();
}

fn features_is_json_and_says_what_engines_need(c: &Case) {
    let out = c.bare_cmd(&["features"]).run().ok();
    assert_eq!(out.err(), "", "CRI-O reads both streams");
    let f = out.json();
    assert!(f["ociVersionMin"].as_str().is_some_and(|v| v.starts_with("1.")));
    assert!(f["ociVersionMax"].as_str().is_some_and(|v| v.starts_with("1.")));
    assert_eq!(f["hooks"].as_array().unwrap().len(), 6);
    let options = f["mountOptions"].as_array().unwrap();
    for option in ["ro", "rw", "bind", "rbind", "nosuid", "rro"] {
        assert!(options.contains(&json!(option)), "{option}");
    }
    let namespaces = f["linux"]["namespaces"].as_array().unwrap();
    for kind in ["pid", "network", "ipc", "uts", "mount", "user", "cgroup"] {
        assert!(namespaces.contains(&json!(kind)), "{kind}");
    }
    assert_eq!(f["linux"]["cgroup"]["v2"], true);
    assert_eq!(f["linux"]["cgroup"]["v1"], false);
    assert_eq!(f["linux"]["seccomp"]["enabled"], true);
}
