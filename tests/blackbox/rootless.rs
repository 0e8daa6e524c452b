//! The runtime as an ordinary user: a user namespace, no rights on the host.

use crate::support::cmd::wait_until;
use crate::support::{Bundle, Case, ID, Need};
use crate::tests;
use serde_json::{Value, json};
use std::fs;

tests! {
    rootless_run_works: rootless(),
    rootless_process_is_root_inside_and_the_user_outside: rootless(),
    rootless_lifecycle_works: rootless(),
    rootless_exec_works: rootless(),
    rootless_setgroups_is_denied_with_a_single_mapping: rootless(),
    rootless_additional_gids_are_refused: rootless().rt_only(),
    rootless_mounts_work: rootless(),
    rootless_devices_work: rootless(),
    rootless_spec_runs: rootless(),
    rootless_default_root_is_in_the_runtime_directory: rootless().rt_only(),
    rootless_many_ids_by_newuidmap: rootless().needs(Need::Tool("newuidmap")),
    rootless_without_a_user_namespace_is_refused: rootless().rt_only(),
    rootless_limit_is_applied_or_refused_by_name: rootless().rt_only(),
    rootless_failed_create_leaves_nothing: rootless().except_crun("other words"),
    rootless_terminal_works: rootless(),
    rootless_kill_and_delete_force_work: rootless(),
    rootless_foreign_id_in_the_mapping_is_refused: rootless(),
}

fn own_id() -> u32 {
    nix::unistd::geteuid().as_raw()
}

fn rootless_run_works(c: &Case) {
    let mut b = c.bundle();
    assert_eq!(c.run(b.sh("echo hello; exit 5")).exits(5).out(), "hello\n");
    c.nothing_left();
}

fn rootless_process_is_root_inside_and_the_user_outside(c: &Case) {
    let seen = c.see(&c.bundle());
    assert_eq!(seen["ids"]["uid"], json!([0, 0, 0, 0]));
    let map: Vec<_> = seen["uid_map"].as_str().unwrap().split_whitespace().collect();
    assert_eq!(map, ["0", &own_id().to_string(), "1"]);
    assert_eq!(seen["pid"], 1);
    assert_eq!(seen["hostname"], "box");
    assert_eq!(seen["fds"].as_object().unwrap().len(), 3);
    let mut b = c.bundle();
    c.up(b.args(&["/probe", "sleep"]));
    let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
    assert!(status.contains(&format!("Uid:\t{}\t", own_id())), "{status}");
    c.down();
}

fn rootless_lifecycle_works(c: &Case) {
    let mut b = c.bundle();
    let out = c.create(b.sh("echo started; exec sleep 1000")).ok();
    assert_eq!((c.status(), out.out()), ("created".to_string(), String::new()));
    c.rt(&["start", ID]).ok();
    wait_until("it runs", || out.out() == "started\n");
    assert_eq!(c.status(), "running");
    assert_eq!(c.rt(&["list", "-q"]).ok().out(), format!("{ID}\n"));
    c.rt(&["kill", ID, "KILL"]).ok();
    c.wait_for_status("stopped");
    c.rt(&["delete", ID]).ok();
    c.nothing_left();
}

fn rootless_exec_works(c: &Case) {
    let mut b = c.bundle();
    c.up(b.args(&["/probe", "sleep"]));
    let seen = c.exec(&["/probe", "see"]).ok().json();
    assert_eq!(seen["ids"]["uid"], json!([0, 0, 0, 0]));
    let init = fs::read_link(format!("/proc/{}/ns/user", c.pid())).unwrap();
    assert_eq!(seen["namespaces"]["user"], json!(init.to_string_lossy()));
    assert_eq!(seen["fds"].as_object().unwrap().len(), 3);
    c.exec(&["/bin/sh", "-c", "exit 3"]).exits(3);
    c.down();
}

fn rootless_setgroups_is_denied_with_a_single_mapping(c: &Case) {
    assert_eq!(c.see(&c.bundle())["setgroups"], "deny", "CVE-2014-8989");
}

fn rootless_additional_gids_are_refused(c: &Case) {
    let mut b = c.bundle();
    c.create(b.set("/process/user/additionalGids", json!([0])))
        .fails("process.user.additionalGids");
    c.nothing_left();
}

fn rootless_mounts_work(c: &Case) {
    let mut b = c.bundle();
    fs::create_dir(c.path("data")).unwrap();
    fs::write(c.path("data/file"), "content").unwrap();
    // Flags that the host's mount has are locked; runc of 2023 wants them repeated.
    let options: &[&str] =
        if c.is_rt() { &["rbind", "ro"] } else { &["rbind", "ro", "nosuid", "nodev"] };
    b.mount("/mnt", "tmpfs", "t", &["size=1m"]).mount(
        "/data",
        "bind",
        &c.path_str("data"),
        options,
    );
    assert_eq!(c.run(b.args(&["/bin/cat", "/data/file"])).ok().out(), "content");
    let seen = c.see(&b);
    assert_eq!(seen["mounts"]["/mnt"]["type"], "tmpfs");
    assert!(seen["mounts"]["/data"]["flags"].as_str().unwrap().starts_with("ro"));
    assert_eq!(seen["mounts"]["/proc"]["type"], "proc");
}

fn rootless_devices_work(c: &Case) {
    let mut b = c.bundle();
    b.args(&[
        "/probe",
        "open",
        "rw",
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/random",
        "/dev/ptmx",
    ]);
    assert_eq!(c.run(&b).ok().out(), "ok\n".repeat(5));
}

fn rootless_spec_runs(c: &Case) {
    let mut b: Bundle = c.bundle();
    b.without_config();
    c.rt_cmd(&["spec", "--rootless"]).cwd(&b.dir).run().ok();
    b.config = serde_json::from_slice(&fs::read(b.dir.join("config.json")).unwrap()).unwrap();
    b.set("/process/terminal", json!(false)).set("/process/args", json!(["/bin/echo", "it runs"]));
    b.raw(&serde_json::to_vec(&b.config).unwrap());
    assert_eq!(c.run(&b).ok().out(), "it runs\n");
}

fn rootless_default_root_is_in_the_runtime_directory(c: &Case) {
    c.bare_cmd(&["create", "-b", &c.bundle().save(), ID]).run().ok();
    assert!(c.dir.join("xdg/rt").join(ID).exists());
    c.bare_cmd(&["delete", "--force", ID]).run().ok();
    assert!(!c.dir.join("xdg/rt").join(ID).exists());
}

/// The subordinate ids of the user, from a file like /etc/subuid.
fn subordinate(file: &str) -> Option<(u64, u64)> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok()??.name;
    let text = fs::read_to_string(file).ok()?;
    let mut fields = text.lines().find(|l| l.split(':').next() == Some(&user))?.split(':').skip(1);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn rootless_many_ids_by_newuidmap(c: &Case) {
    let (Some(uids), Some(gids)) = (subordinate("/etc/subuid"), subordinate("/etc/subgid")) else {
        crate::support::worker::skip("needs subordinate ids in /etc/subuid and /etc/subgid");
    };
    let status = fs::read_to_string("/proc/self/status").unwrap();
    if status.lines().any(|l| l.starts_with("CapBnd:") && l.ends_with("0000000000000000")) {
        crate::support::worker::skip("needs a bounding set that lets newuidmap do its work");
    }
    let map = |own: u32, (first, count): (u64, u64)| -> Value {
        json!([{"containerID": 0, "hostID": own, "size": 1}, {"containerID": 1, "hostID": first, "size": count.min(1000)}])
    };
    let mut b = c.bundle();
    b.set("/linux/uidMappings", map(own_id(), uids));
    b.set("/linux/gidMappings", map(nix::unistd::getegid().as_raw(), gids));
    let user =
        json!({"uid": 10, "gid": 20, "additionalGids": if c.is_rt() { vec![30] } else { vec![] }});
    b.set("/process/user", user.clone());
    let seen = c.see(&b);
    assert_eq!(seen["ids"]["uid"], json!([10, 10, 10, 10]));
    assert_eq!(seen["ids"]["gid"], json!([20, 20, 20, 20]));
    if c.is_rt() {
        assert_eq!(seen["ids"]["groups"], user["additionalGids"]);
    }
}

fn rootless_without_a_user_namespace_is_refused(c: &Case) {
    let mut b = c.bundle();
    b.without_namespace("user").remove("/linux/uidMappings").remove("/linux/gidMappings");
    c.create(&b).fails("user namespace");
    c.nothing_left();
}

fn rootless_limit_is_applied_or_refused_by_name(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/resources/pids", json!({"limit": 10})).args(&["/probe", "sleep"]);
    let out = c.create(&b);
    if out.code == Some(0) {
        // Possible where the user's own cgroup is delegated.
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap();
        let own = groups.lines().find_map(|l| l.strip_prefix("0::")).unwrap();
        let limit = fs::read_to_string(format!("/sys/fs/cgroup{own}/pids.max")).unwrap();
        assert_eq!(limit, "10\n");
        c.down();
    } else {
        out.fails("linux.resources.pids");
    }
    c.nothing_left();
}

fn rootless_failed_create_leaves_nothing(c: &Case) {
    let mut b = c.bundle();
    c.create(b.args(&["/no/such/program"])).fails("no such file or directory");
    c.nothing_left();
}

fn rootless_terminal_works(c: &Case) {
    let mut b = c.bundle();
    let dir = b.set("/process/terminal", json!(true)).sh("echo $((6*7)) done; exit 4").save();
    let (mut pty, slave) = crate::support::pty::Pty::open(24, 80);
    let run = c.rt_cmd(&["run", "-b", &dir, ID]).terminal(&slave).spawn();
    pty.expect("42 done");
    run.wait().exits(4);
}

fn rootless_kill_and_delete_force_work(c: &Case) {
    c.up(c.bundle().args(&["/probe", "children", "3"]));
    c.rt(&["delete", "--force", ID]).ok();
    c.nothing_left();
}

fn rootless_foreign_id_in_the_mapping_is_refused(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/uidMappings", json!([{"containerID": 0, "hostID": 0, "size": 1}]));
    c.create(&b).fails("");
    c.nothing_left();
}
