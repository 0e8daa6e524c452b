//! Hooks: which, when, with what, and what a failure does.

use crate::support::{Bundle, Case, ID};
use crate::tests;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

tests! {
    all_six_kinds_run_in_order: except_runc("poststart may come first").except_crun("the same"),
    hooks_of_one_kind_run_in_their_order,
    hooks_get_the_state_on_stdin,
    hooks_know_bundle_id_and_annotations: except_crun("bundle is /"),
    create_runtime_hooks_run_in_the_callers_namespaces,
    create_container_hooks_run_in_the_containers_namespaces,
    start_container_hooks_run_inside,
    start_container_hooks_have_the_rights_of_the_process: rt_only(),
    hook_environment_is_only_its_own: except_runc("leaks its own").except_crun("leaks its own"),
    hook_arguments_are_the_configs,
    hook_descriptors_are_0_1_2: except_runc("leaks a pipe").except_crun("leaks a pipe"),
    failing_create_hook_stops_and_cleans_up,
    failing_start_container_hook_stops: except_crun("container stays"),
    failing_hook_of_start_destroys_the_container: rt_only(),
    failing_poststart_hook_kills: except_runc("start returns 0 in this version").except_crun("start returns 0"),
    poststart_does_not_run_without_a_program: except_runc("start returns 0").except_crun("start returns 0"),
    failing_poststop_hook_is_a_warning: except_runc("the others do not run"),
    stderr_of_a_failing_hook_is_in_the_error: except_crun("lost"),
    exit_code_of_a_failing_hook_is_in_the_error,
    missing_hook_program_is_an_error: except_crun("fails at the end"),
    hook_that_takes_too_long_is_killed_with_its_children: except_runc("children live on").except_crun("children live on"),
    hook_that_hangs_in_create_is_ended_by_delete_force: rt_only(),
    hook_that_ignores_its_stdin_works,
    hook_with_endless_output_is_bounded: rt_only(),
    poststop_runs_after_delete_force_of_a_running_container,
    poststop_runs_once_after_run,
    hooks_do_not_see_the_process_environment: except_runc("createContainer sees it").except_crun("startContainer sees it"),
}

const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A shell script as a hook, given by its text. In `startContainer` /bin/sh is the container's.
fn shell(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]})
}

/// A directory that has the same path outside and inside of the container.
fn shared(c: &Case, b: &mut Bundle) -> String {
    let dir = c.path("shared");
    fs::create_dir_all(&dir).unwrap();
    let dir = dir.to_string_lossy().into_owned();
    b.mount(&dir, "bind", &dir, &["rbind", "rw"]);
    dir
}

/// The probe as a hook that appends what it sees to a file; `path` differs inside.
fn probe(c: &Case, kind: &str, file: &str) -> Value {
    let outside = c.base.join("probe").to_string_lossy().into_owned();
    let path = if kind == "startContainer" { "/probe".to_string() } else { outside };
    json!({"path": path, "args": ["probe", "hook", file, kind]})
}

/// Runs `/bin/true` with the probe as every hook; returns one record for each.
fn records(c: &Case, b: &mut Bundle) -> Vec<Value> {
    let file = format!("{}/log", shared(c, b));
    for kind in KINDS {
        b.push(&format!("/hooks/{kind}"), probe(c, kind, &file));
    }
    c.run(b).ok();
    let text = fs::read_to_string(c.path("shared/log")).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn kind_of(record: &Value) -> &str {
    record["args"][3].as_str().unwrap()
}

fn all_six_kinds_run_in_order(c: &Case) {
    let kinds = records(c, &mut c.bundle());
    let kinds: Vec<_> = kinds.iter().map(kind_of).collect();
    assert_eq!(kinds, KINDS);
}

fn hooks_of_one_kind_run_in_their_order(c: &Case) {
    let mut b = c.bundle();
    let dir = shared(c, &mut b);
    for n in 0..4 {
        b.push("/hooks/createRuntime", shell(&format!("cat >/dev/null; echo {n} >> {dir}/order")));
    }
    c.run(&b).ok();
    assert_eq!(fs::read_to_string(c.path("shared/order")).unwrap(), "0\n1\n2\n3\n");
}

fn hooks_get_the_state_on_stdin(c: &Case) {
    for record in records(c, &mut c.bundle()) {
        let (kind, state) = (kind_of(&record), &record["state"]);
        assert!(state["ociVersion"].as_str().unwrap().starts_with("1."), "{kind}: {state}");
        if c.is_rt() {
            let expected = match kind {
                "prestart" | "createRuntime" | "createContainer" => "creating",
                "startContainer" => "created",
                "poststart" => "running",
                _ => "stopped",
            };
            assert_eq!(state["status"], expected, "{kind}");
            let pid = state["pid"].as_i64().unwrap_or(0);
            assert!(kind == "poststop" || pid > 0, "{kind}: {state}");
        }
    }
}

fn hooks_know_bundle_id_and_annotations(c: &Case) {
    let mut b = c.bundle();
    b.set("/annotations", json!({"org.example": "value"}));
    let dir = b.dir.to_string_lossy().into_owned();
    for record in records(c, &mut b) {
        let state = &record["state"];
        assert_eq!(state["id"], ID);
        assert_eq!(state["bundle"], json!(dir));
        assert_eq!(state["annotations"]["org.example"], "value");
    }
}

fn create_runtime_hooks_run_in_the_callers_namespaces(c: &Case) {
    let own = fs::read_link("/proc/self/ns/mnt").unwrap();
    for record in records(c, &mut c.bundle()) {
        let same = record["see"]["namespaces"]["mnt"] == json!(own.to_string_lossy());
        let inside = ["createContainer", "startContainer"].contains(&kind_of(&record));
        assert_eq!(same, !inside, "{}", kind_of(&record));
    }
}

fn create_container_hooks_run_in_the_containers_namespaces(c: &Case) {
    let records = records(c, &mut c.bundle());
    let find = |kind: &str| {
        records.iter().find(|r| kind_of(r) == kind).unwrap()["see"]["namespaces"].clone()
    };
    let (outer, inner) = (find("createContainer"), find("startContainer"));
    for kind in ["net", "ipc", "uts", "mnt"] {
        assert_eq!(outer[kind], inner[kind], "{kind}");
    }
}

fn start_container_hooks_run_inside(c: &Case) {
    let records = records(c, &mut c.bundle());
    let inside = &records.iter().find(|r| kind_of(r) == "startContainer").unwrap()["see"];
    assert_eq!(inside["hostname"], "box");
    assert_eq!(inside["mounts"]["/proc"]["type"], "proc");
    assert!(!inside["mounts"].as_object().unwrap().contains_key("/run"), "the host is gone");
}

/// Its program is the container's: nothing that the container may not do is done by it.
fn start_container_hooks_have_the_rights_of_the_process(c: &Case) {
    let mut b = c.bundle();
    let file = format!("{}/log", shared(c, &mut b));
    fs::set_permissions(c.path("shared"), fs::Permissions::from_mode(0o777)).unwrap();
    let notify = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"});
    b.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [notify]}));
    b.push("/hooks/startContainer", probe(c, "startContainer", &file));
    // As few files as the process itself needs more of on its way.
    for (uid, no_new_privileges, files) in [(0, false, 70), (1000, true, 12), (1000, false, 12)] {
        let limits = [("RLIMIT_NOFILE", files, 80), ("RLIMIT_NPROC", 50, 60)];
        let limit = |(name, soft, hard)| json!({"type": name, "soft": soft, "hard": hard});
        b.set("/process/rlimits", json!(limits.map(limit)));
        b.set("/process/user", json!({"uid": uid, "gid": 7, "additionalGids": [5], "umask": 63}));
        b.set("/process/noNewPrivileges", json!(no_new_privileges));
        let process = c.see(&b);
        c.up(&b);
        c.wait_for_status("stopped");
        c.down();
        let text = fs::read_to_string(c.path("shared/log")).unwrap();
        assert_eq!(text.lines().count(), 2, "by run and by start");
        for line in text.lines() {
            let hook = serde_json::from_str::<Value>(line).unwrap()["see"].clone();
            for key in ["ids", "umask", "caps", "nnp", "seccomp", "cgroup", "rlimits"] {
                assert!(!process[key].is_null(), "{key}");
                assert_eq!(hook[key], process[key], "{key}");
            }
            assert!(hook["keyring"].as_str().unwrap().contains(ID), "{hook}");
        }
        fs::remove_file(c.path("shared/log")).unwrap();
    }
    b.set("/linux/seccomp/syscalls/0/action", json!("SCMP_ACT_KILL_PROCESS"));
    b.set("/hooks/startContainer", json!([shell("mkdir /tmp/x")]));
    c.run(&b).fails("error running startContainer hook #0").fails("bad system call");
    c.nothing_left();
}

fn hook_environment_is_only_its_own(c: &Case) {
    let mut b = c.bundle();
    b.push("/process/env", json!("LD_PRELOAD=./evil.so"));
    let file = format!("{}/log", shared(c, &mut b));
    for kind in KINDS {
        b.push(&format!("/hooks/{kind}"), probe(c, kind, &file));
        let mut own = probe(c, kind, &file);
        own["env"] = json!(["A=1", "B=two words"]);
        b.push(&format!("/hooks/{kind}"), own);
    }
    c.rt_cmd(&["run", "-b", &b.save(), ID]).env("HOSTVAR", "secret").run().ok();
    let text = fs::read_to_string(c.path("shared/log")).unwrap();
    for (i, line) in text.lines().enumerate() {
        let record: Value = serde_json::from_str(line).unwrap();
        let expected = if i % 2 == 0 { json!([]) } else { json!(["A=1", "B=two words"]) };
        assert_eq!(record["see"]["env"], expected, "CVE-2025-23266: {}", kind_of(&record));
    }
}

fn hook_arguments_are_the_configs(c: &Case) {
    let mut b = c.bundle();
    let dir = shared(c, &mut b);
    let script = format!("cat >/dev/null; echo \"$0|$1|$2\" > {dir}/args");
    b.push(
        "/hooks/createRuntime",
        json!({"path": "/bin/sh", "args": ["sh", "-c", script, "zero", "one two", ""]}),
    );
    c.run(&b).ok();
    assert_eq!(fs::read_to_string(c.path("shared/args")).unwrap(), "zero|one two|\n");
}

fn hook_descriptors_are_0_1_2(c: &Case) {
    for record in records(c, &mut c.bundle()) {
        let fds: Vec<_> = record["see"]["fds"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(fds, ["0", "1", "2"], "{}: {}", kind_of(&record), record["see"]["fds"]);
    }
}

fn failing_create_hook_stops_and_cleans_up(c: &Case) {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let mut b = c.bundle();
        b.push(&format!("/hooks/{kind}"), shell("cat >/dev/null; exit 1"));
        c.create(&b).fails(if c.is_rt() { "hook" } else { "" });
        c.nothing_left();
    }
}

fn failing_start_container_hook_stops(c: &Case) {
    let mut b = c.bundle();
    b.push("/hooks/startContainer", shell("cat >/dev/null; exit 1"));
    let created = c.create(b.sh("echo it ran")).ok();
    let start = c.rt(&["start", ID]);
    if c.is_rt() {
        start.fails("hook");
        c.nothing_left();
    } else {
        c.wait_for_status("stopped");
    }
    assert_eq!(created.out(), "");
    c.down();
}

/// runtime.md, "Lifecycle", steps 7 and 9: the container is stopped and destroyed, and the
/// poststop hooks are run.
fn failing_hook_of_start_destroys_the_container(c: &Case) {
    for kind in ["startContainer", "poststart"] {
        for verb in ["create", "run"] {
            let mut b = c.named_bundle(&format!("{kind}-{verb}"));
            let ran = c.path(&format!("{kind}-{verb}"));
            b.push(&format!("/hooks/{kind}"), shell("cat >/dev/null; exit 1"));
            b.push("/hooks/poststop", shell(&format!("cat >{}", ran.display())));
            let dir = b.args(&["/probe", "sleep"]).save();
            let failed = match verb {
                "create" => {
                    c.create(&b).ok();
                    c.rt(&["start", ID])
                }
                _ => c.rt(&["run", "--detach", "-b", &dir, ID]),
            };
            failed.fails(&format!("error running {kind} hook #0"));
            c.nothing_left();
            let state: Value = serde_json::from_str(&fs::read_to_string(&ran).unwrap()).unwrap();
            assert_eq!((&state["status"], &state["pid"]), (&json!("stopped"), &json!(0)));
            // What engines do after any failure.
            c.rt(&["delete", ID]).fails("does not exist");
            c.down();
        }
    }
}

fn failing_poststart_hook_kills(c: &Case) {
    let mut b = c.bundle();
    b.push("/hooks/poststart", shell("cat >/dev/null; exit 1"));
    c.create(b.args(&["/probe", "sleep"])).ok();
    c.rt(&["start", ID]).fails("hook");
    c.nothing_left();
    c.down();
}

/// runtime.md, "Lifecycle": after the start, that of the program.
fn poststart_does_not_run_without_a_program(c: &Case) {
    let mut b = c.bundle();
    let ran = c.path("ran");
    b.push("/hooks/poststart", shell(&format!("cat >/dev/null; echo > {}", ran.display())));
    fs::write(b.rootfs("script"), "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(b.rootfs("script"), fs::Permissions::from_mode(0o755)).unwrap();
    let out = c.create(b.args(&["/script"])).ok();
    c.rt(&["start", ID]).fails("could not be executed");
    assert_eq!(
        out.err(),
        "exec /script: no such file or directory: its interpreter /no/such/interpreter is not in the container\n"
    );
    c.wait_for_status("stopped");
    c.down();
    assert!(!ran.exists());
    // One that has ended by the time of the hook was there.
    c.up(b.args(&["/bin/true"]));
    assert!(ran.exists());
    c.down();
}

fn failing_poststop_hook_is_a_warning(c: &Case) {
    let mut b = c.bundle();
    b.push("/hooks/poststop", shell("cat >/dev/null; exit 1"));
    b.push(
        "/hooks/poststop",
        shell(&format!("cat >/dev/null; echo second > {}/ran", shared(c, &mut b.clone()))),
    );
    c.up(&b);
    c.wait_for_status("stopped");
    c.rt(&["delete", ID]).ok();
    c.nothing_left();
    assert_eq!(
        fs::read_to_string(c.path("shared/ran")).unwrap(),
        "second\n",
        "the others still run"
    );
}

fn stderr_of_a_failing_hook_is_in_the_error(c: &Case) {
    let mut b = c.bundle();
    b.push("/hooks/createRuntime", shell("cat >/dev/null; echo this is the reason >&2; exit 3"));
    let out = c.create(&b).fails("this is the reason");
    if c.is_rt() {
        assert!(out.err().contains("hooks.createRuntime[0]"), "{}", out.err());
        assert_eq!(out.err().lines().count(), 1, "{}", out.err());
    }
    c.nothing_left();
}

fn exit_code_of_a_failing_hook_is_in_the_error(c: &Case) {
    let mut b = c.bundle();
    b.push("/hooks/createRuntime", shell("cat >/dev/null; exit 37"));
    let out = c.create(&b).fails("37");
    let words = "error running createRuntime hook #0: /bin/sh: exit status 37";
    assert!(!c.is_rt() || out.err().contains(words), "{}", out.err());
    c.nothing_left();
}

fn missing_hook_program_is_an_error(c: &Case) {
    for kind in ["createRuntime", "createContainer"] {
        let mut b = c.bundle();
        b.push(&format!("/hooks/{kind}"), json!({"path": "/no/such/hook"}));
        c.create(&b).fails("/no/such/hook");
        c.nothing_left();
    }
}

fn hook_that_takes_too_long_is_killed_with_its_children(c: &Case) {
    for script in
        ["sleep 1000", "sleep 1000 & sleep 1000 & wait", "(setsid sleep 1000 &) ; sleep 1000"]
    {
        let mut b = c.bundle();
        let mut hook = shell(&format!("cat >/dev/null; {script}"));
        hook["timeout"] = json!(1);
        // Whoever waits for its end instead, waits for 1000 s.
        let out = c.create(b.push("/hooks/createRuntime", hook)).fails("");
        if c.is_rt() {
            assert!(out.err().contains("timeout of 1 s"), "{}", out.err());
        }
        if script.contains("setsid") {
            // It left its process group on purpose; it must at least not hold anything up.
            for pid in crate::support::leak::children() {
                let _ = crate::support::sys::kill(pid, libc::SIGKILL);
            }
        }
        c.nothing_left();
    }
}

/// Of a create that would never end.
fn hook_that_hangs_in_create_is_ended_by_delete_force(c: &Case) {
    let mut b = c.bundle();
    let (begun, out) = (c.path("begun"), c.path_str("begun"));
    let line = format!("echo $$ > {out}; exec sleep 100000");
    let hook =
        json!([{"path": "/bin/sh", "args": ["sh", "-c", line], "env": ["PATH=/bin:/usr/bin"]}]);
    let dir = b.set("/hooks/createRuntime", hook).save();
    let create = c.rt_cmd(&["create", "-b", &dir, ID]).spawn();
    c.wait_for_file(&begun);
    let deleted = c.rt(&["delete", "--force", ID]).ok();
    let text = format!("the rt that creates container {ID} (pid ");
    assert!(deleted.err().contains(&text), "{}", deleted.err());
    assert!(deleted.err().contains("hangs, and is killed"), "{}", deleted.err());
    assert_ne!(create.wait().code, Some(0));
    c.nothing_left();
}

fn hook_that_ignores_its_stdin_works(c: &Case) {
    let mut b = c.bundle();
    b.set("/annotations", json!({"large": "x".repeat(300_000)}));
    b.push("/hooks/createRuntime", json!({"path": "/bin/true"}));
    b.push("/hooks/poststop", json!({"path": "/bin/true"}));
    c.run(&b).ok();
}

fn hook_with_endless_output_is_bounded(c: &Case) {
    let mut b = c.bundle();
    let script = "cat >/dev/null; head -c 300000000 /dev/zero | tr '\\0' x >&2; exit 1";
    let out =
        c.rt_cmd(&["create", "-b", &b.push("/hooks/createRuntime", shell(script)).save(), ID]);
    let out = out.run().fails("hook");
    assert!(out.err().len() < 100_000, "{} bytes", out.err().len());
    assert!(out.peak_kb < 100_000, "{} kB", out.peak_kb);
    c.nothing_left();
}

fn poststop_runs_after_delete_force_of_a_running_container(c: &Case) {
    let mut b = c.bundle();
    let dir = shared(c, &mut b);
    b.push("/hooks/poststop", shell(&format!("cat >/dev/null; echo x >> {dir}/ran")));
    c.up(b.args(&["/probe", "sleep"]));
    c.rt(&["delete", "--force", ID]).ok();
    assert_eq!(fs::read_to_string(c.path("shared/ran")).unwrap(), "x\n");
}

fn poststop_runs_once_after_run(c: &Case) {
    let mut b = c.bundle();
    let dir = shared(c, &mut b);
    b.push("/hooks/poststop", shell(&format!("cat >/dev/null; echo x >> {dir}/ran")));
    c.run(&b).ok();
    assert_eq!(fs::read_to_string(c.path("shared/ran")).unwrap(), "x\n");
}

fn hooks_do_not_see_the_process_environment(c: &Case) {
    let mut b = c.bundle();
    b.push("/process/env", json!("SECRET_OF_THE_PROCESS=1"));
    for record in records(c, &mut b) {
        let env = record["see"]["env"].as_array().unwrap().clone();
        assert!(!env.contains(&json!("SECRET_OF_THE_PROCESS=1")), "{}", kind_of(&record));
    }
}
