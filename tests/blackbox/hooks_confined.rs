//! Hooks where they could be more than they should: another program than the configuration names,
//! processes that outlive them, and what they have made when the container fails.

use crate::support::{Bundle, Case, ID};
use crate::tests;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

tests! {
    create_container_hook_is_the_hosts_program_without_a_mount_namespace: rt_only(),
    create_container_hook_is_the_hosts_program_in_a_joined_mount_namespace: rt_only(),
    poststop_hooks_run_when_a_create_fails_after_hooks: rt_only(),
    poststop_hooks_do_not_run_when_no_other_has_run: rt_only(),
    create_hook_at_its_timeout_leaves_nothing_in_a_joined_pid_namespace: rt_only(),
    start_hook_at_its_timeout_leaves_nothing_in_a_joined_pid_namespace: rt_only(),
}

fn shell(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]})
}

/// A script of the host, and one of the image at the same path.
fn decoyed(c: &Case, b: &Bundle) -> (String, std::path::PathBuf) {
    let hook = c.path("hook");
    let ran = c.path("ran");
    fs::write(&hook, format!("#!/bin/sh\necho host > {}\n", ran.display())).unwrap();
    let inside = b.rootfs(hook.strip_prefix("/").unwrap().to_str().unwrap());
    fs::create_dir_all(inside.parent().unwrap()).unwrap();
    fs::write(&inside, "#!/bin/sh\necho image > /ran; exit 0\n").unwrap();
    for path in [&hook, &inside] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    (hook.to_string_lossy().into_owned(), ran)
}

fn bare<'b>(c: &Case, b: &'b mut Bundle, id: &str) -> &'b mut Bundle {
    for field in ["/mounts", "/linux/maskedPaths", "/linux/readonlyPaths", "/root/readonly"] {
        b.remove(field);
    }
    b.set("/linux/cgroupsPath", json!(c.cgroups_path(id)))
}

fn create_container_hook_is_the_hosts_program_without_a_mount_namespace(c: &Case) {
    let mut b = c.bundle();
    let (hook, ran) = decoyed(c, &b);
    bare(c, &mut b, ID).without_namespace("mount");
    b.set("/hooks/createContainer", json!([{"path": hook}]));
    c.create(b.args(&["/probe", "sleep"])).ok();
    c.down();
    assert_eq!(fs::read_to_string(ran).unwrap(), "host\n");
    assert!(!b.rootfs("ran").exists(), "the image's program has run");
}

fn create_container_hook_is_the_hosts_program_in_a_joined_mount_namespace(c: &Case) {
    let mut first = c.named_bundle("first");
    first.set("/linux/cgroupsPath", json!(c.cgroups_path("first")));
    let (hook, _) = decoyed(c, &first);
    // Its interpreter is the one of that namespace: what it can reach is its own root.
    fs::write(&hook, "#!/bin/sh\necho host > /ran\n").unwrap();
    first.set("/root/readonly", json!(false)).args(&["/probe", "sleep"]);
    c.rt(&["run", "-d", "-b", &first.save(), "first"]).ok();
    let pid = c.rt(&["state", "first"]).ok().json()["pid"].clone();
    let mut b = c.bundle();
    bare(c, &mut b, ID).namespace("mount", Some(&format!("/proc/{pid}/ns/mnt")));
    // The number of a descriptor is how an interpreter finds the script.
    b.namespace("pid", Some(&format!("/proc/{pid}/ns/pid"))).set("/root/path", json!("/"));
    b.set("/hooks/createContainer", json!([{"path": hook}]));
    let created = c.create(b.args(&["/probe", "sleep"]));
    let ran = fs::read_to_string(first.rootfs("ran"));
    c.rt(&["delete", "-f", ID]).ok();
    c.rt(&["delete", "-f", "first"]).ok();
    assert_ne!(ran.as_deref().unwrap_or(""), "image\n", "the image's program has run");
    assert!(
        created.code == Some(0) || created.err().contains("createContainer"),
        "{}",
        created.err()
    );
}

fn log(c: &Case) -> String {
    fs::read_to_string(c.path("log")).unwrap_or_default()
}

fn logging(c: &Case, word: &str, code: u8) -> Value {
    shell(&format!("cat >/dev/null; echo {word} >> {}; exit {code}", c.path("log").display()))
}

fn poststop_hooks_run_when_a_create_fails_after_hooks(c: &Case) {
    for verb in ["create", "run"] {
        for (what, path, value) in [
            ("missing program", "/process/args", json!(["/nope"])),
            ("createRuntime", "/hooks/createRuntime", json!([logging(c, "createRuntime", 1)])),
            ("createContainer", "/hooks/createContainer", json!([shell("exit 1")])),
        ] {
            let _ = fs::remove_file(c.path("log"));
            let mut b = c.bundle();
            b.set("/hooks/prestart", json!([logging(c, "prestart", 0)]));
            b.set("/hooks/poststop", json!([logging(c, "poststop", 0)]));
            b.set(path, value);
            c.rt(&[verb, "-b", &b.save(), ID]).fails("");
            let log = log(c);
            assert!(log.starts_with("prestart\n"), "{verb} {what}: {log}");
            assert!(log.ends_with("poststop\n"), "{verb} {what}: {log}");
            assert_eq!(log.matches("poststop").count(), 1, "{verb} {what}: {log}");
            c.nothing_left();
        }
    }
}

fn poststop_hooks_do_not_run_when_no_other_has_run(c: &Case) {
    let mut b = c.bundle();
    b.set("/hooks/poststop", json!([logging(c, "poststop", 0)]));
    c.create(b.args(&["/nope"])).fails("/nope");
    assert_eq!(log(c), "");
}

/// A container whose pid namespace is joined, and one that joins it.
fn joining(c: &Case) -> Bundle {
    let mut first = c.named_bundle("first");
    first.set("/linux/cgroupsPath", json!(c.cgroups_path("first")));
    // It reaps what it is given.
    first.sh("while :; do sleep 1; done");
    c.rt(&["run", "-d", "-b", &first.save(), "first"]).ok();
    let pid = c.rt(&["state", "first"]).ok().json()["pid"].clone();
    let mut b = c.bundle();
    b.namespace("pid", Some(&format!("/proc/{pid}/ns/pid")));
    b
}

/// Whether a program with this argument runs.
fn runs(word: &str) -> bool {
    let mut entries = fs::read_dir("/proc").unwrap().flatten();
    entries.any(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|part| part == word.as_bytes())
    })
}

fn create_hook_at_its_timeout_leaves_nothing_in_a_joined_pid_namespace(c: &Case) {
    let mut b = joining(c);
    let mark = c.path_str("mark");
    let script =
        format!("(setsid sleep 47111 &); (setsid sleep 47111 &); echo > {mark}; sleep 1000");
    let mut hook = shell(&script);
    hook["timeout"] = json!(2);
    b.set("/hooks/createContainer", json!([hook]));
    c.create(&b).fails("timeout");
    assert!(Path::new(&mark).exists(), "the hook has begun");
    assert!(!runs("47111"), "what it has left is dead");
    c.rt(&["delete", "-f", "first"]).ok();
}

fn start_hook_at_its_timeout_leaves_nothing_in_a_joined_pid_namespace(c: &Case) {
    let mut b = joining(c);
    b.set("/root/readonly", json!(false));
    let script = "(setsid sleep 47112 &); (setsid sleep 47112 &); echo > /mark; sleep 1000";
    let mut hook = shell(script);
    hook["timeout"] = json!(2);
    b.set("/hooks/startContainer", json!([hook])).args(&["/probe", "sleep"]);
    c.create(&b).ok();
    c.rt(&["start", ID]).fails("timeout");
    assert!(b.rootfs("mark").exists(), "the hook has begun");
    assert!(!runs("47112"), "what it has left is dead");
    c.rt(&["delete", "-f", ID]).ok();
    c.rt(&["delete", "-f", "first"]).ok();
}
