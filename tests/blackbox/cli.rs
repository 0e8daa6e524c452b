//! The command line: global flags, flag styles, output formats, ids.

use crate::support::cmd::wait_until;
use crate::support::{Case, ID};
use crate::tests;
use serde_json::{Value, json};
use std::fs;

tests! {
    version_is_on_line_one: anyone(),
    version_has_the_lines_that_engines_parse: rt_only().anyone(),
    help_succeeds: anyone(),
    unknown_command_fails: anyone(),
    unknown_flag_fails: anyone(),
    missing_id_fails: anyone(),
    surplus_argument_fails: anyone().except_crun("ignored"),
    list_of_nothing_is_null: anyone().except_crun("prints []"),
    list_of_a_root_that_is_not_there_fails: anyone().except_runc("not in this version").except_crun("prints []"),
    list_as_json_is_one_line: except_crun("many lines"),
    list_as_table_has_the_documented_columns: except_crun("NAME for ID"),
    list_quiet_prints_ids,
    list_goes_on_past_a_broken_state: rt_only(),
    ps_as_json_lists_pids,
    ps_as_table_has_a_header: except_crun("pids only"),
    ps_of_a_stopped_container_is_empty: except_crun("fails"),
    log_gets_one_json_object_on_failure: except_crun("no log before the bundle is read"),
    log_goes_to_a_file_and_nowhere_else: rt_only(),
    log_as_text_is_one_line: except_crun("other words"),
    debug_log_tells_what_is_done: rt_only(),
    log_is_appended_to: except_crun("truncates"),
    log_stays_empty_on_success,
    single_dash_and_equals_forms_are_understood: except_crun("not in this runtime"),
    flags_after_positionals_are_understood: except_crun("not in this runtime"),
    global_flags_of_engines_are_accepted: except_crun("--systemd-cgroup takes no value"),
    bad_value_of_rootless_is_refused: rt_only(),
    bundle_defaults_to_the_working_directory,
    relative_paths_start_at_the_callers_directory: except_crun("resolved in the bundle"),
    missing_bundle_fails,
    pid_file_is_the_bare_number,
    pid_file_is_absent_after_a_failure,
    ids_are_checked_by_every_verb: rt_only(),
    ids_with_allowed_characters_work: except_runc("a race leaves the cgroup"),
    default_root_is_run_rt: rt_only(),
    verbs_and_flags_of_later_are_refused_by_name: rt_only(),
    spec_writes_a_config_that_runs: except_crun("needs RLIMIT_MEMLOCK"),
    spec_refuses_to_overwrite: anyone(),
}

fn version_is_on_line_one(c: &Case) {
    let out = c.bare_cmd(&["--version"]).run().ok();
    let first = out.out().lines().next().unwrap_or_default().to_string();
    assert!(first.contains(" version "), "{first}");
    assert!(out.out().contains("spec: 1."), "{}", out.out());
    assert_eq!(c.bare_cmd(&["-v"]).run().ok().out(), out.out());
}

/// go-runc's parser of old takes three lines, and no more than one `: ` in each; Docker shows the commit.
fn version_has_the_lines_that_engines_parse(c: &Case) {
    let out = c.bare_cmd(&["--version"]).run().ok().out();
    let lines: Vec<_> = out.lines().map(|line| line.split(": ").collect::<Vec<_>>()).collect();
    let [name, commit, spec] = &lines[..] else { panic!("three lines: {out}") };
    assert!(name[0].starts_with("rt version ") && name.len() == 1, "{out}");
    assert!(commit[0] == "commit" && commit.len() == 2, "{out}");
    assert!(spec[0] == "spec" && spec.len() == 2, "{out}");
    let (hash, target) = commit[1].split_once(' ').expect("a commit and a target");
    let known = hash.len() >= 40 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(known || hash == "unknown", "{out}");
    assert!(
        target.starts_with('(') && target.ends_with(')') && target.contains("-linux-"),
        "{out}"
    );
}

fn help_succeeds(c: &Case) {
    let text = c.bare_cmd(&["--help"]).run().ok().out();
    for verb in ["create", "start", "state", "kill", "delete", "run", "exec", "list", "ps", "pause"]
    {
        assert!(text.contains(verb), "--help names {verb}");
        let help = c.bare_cmd(&[verb, "--help"]).run().ok().out();
        if c.is_rt() {
            assert!(help.starts_with(&format!("NAME:\n   rt {verb} - ")), "as runc's: {help}");
        }
    }
    if c.is_rt() {
        c.bare_cmd(&["frobnicate", "-h"]).run().exits(3).fails("No help topic for 'frobnicate'");
    }
}

fn unknown_command_fails(c: &Case) {
    c.rt(&["frobnicate"]).fails(if c.is_rt() { "frobnicate" } else { "" });
}

fn unknown_flag_fails(c: &Case) {
    c.rt(&["--frobnicate", "list"]).fails("frobnicate");
    c.rt(&["create", "--frobnicate", "box"]).fails("frobnicate");
}

fn missing_id_fails(c: &Case) {
    for verb in
        ["create", "start", "state", "kill", "delete", "run", "exec", "ps", "pause", "resume"]
    {
        c.rt(&[verb]).fails("");
    }
}

fn surplus_argument_fails(c: &Case) {
    c.rt(&["state", "a", "b"]).fails("");
    c.rt(&["start", "a", "b"]).fails("");
}

fn list_of_nothing_is_null(c: &Case) {
    assert_eq!(c.rt(&["list", "--format", "json"]).ok().out().trim(), "null");
    assert_eq!(c.rt(&["list", "--format=json"]).ok().out().trim(), "null");
    assert_eq!(c.rt(&["list", "-q"]).ok().out(), "");
    let table = c.rt(&["list"]).ok().out();
    assert_eq!(table.lines().count(), 1, "{table}");
}

fn list_of_a_root_that_is_not_there_fails(c: &Case) {
    let absent = c.path_str("no-such-root");
    let out = c.bare_cmd(&["--root", &absent, "list", "--format", "json"]).run();
    out.fails("no-such-root: no such file or directory");
    assert!(!fs::exists(&absent).unwrap(), "list makes nothing");
}

fn list_as_json_is_one_line(c: &Case) {
    c.up(c.bundle().args(&["/bin/sleep", "1000"]));
    let out = c.rt(&["list", "-f", "json"]).ok();
    assert_eq!(out.out().matches('\n').count(), 1, "{}", out.out());
    let list = out.json();
    assert_eq!(list.as_array().unwrap().len(), 1);
    let state = c.state();
    for key in ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "owner"] {
        assert_eq!(list[0][key], if key == "owner" { json!("root") } else { state[key].clone() });
    }
    c.down();
}

fn list_as_table_has_the_documented_columns(c: &Case) {
    c.create(&c.bundle()).ok();
    let out = c.rt(&["list"]).ok().out();
    let mut lines = out.lines().map(|l| l.split_whitespace().collect::<Vec<_>>());
    let head = lines.next().unwrap();
    assert_eq!(head, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let row = lines.next().unwrap();
    assert_eq!(row[..3], [ID, &c.pid().to_string(), "created"]);
    c.down();
}

fn list_quiet_prints_ids(c: &Case) {
    c.create(&c.bundle()).ok();
    assert_eq!(c.rt(&["list", "-q"]).ok().out(), format!("{ID}\n"));
    assert_eq!(c.rt(&["list", "--quiet"]).ok().out(), format!("{ID}\n"));
    c.down();
}

fn list_goes_on_past_a_broken_state(c: &Case) {
    c.create(&c.bundle()).ok();
    let broken = c.state.join("broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("state.json"), "{\"id\":").unwrap();
    assert!(c.rt(&["list", "-q"]).ok().out().lines().any(|l| l == ID));
    c.rt(&["state", "broken"]).fails("broken");
    c.rt(&["delete", "--force", "broken"]).ok();
    assert!(!broken.exists());
    c.down();
}

fn ps_as_json_lists_pids(c: &Case) {
    let out = c.up(c.bundle().args(&["/probe", "children", "2"]));
    wait_until("its children run", || out.out() == "ready\n");
    let ps = c.rt(&["ps", "--format", "json", ID]).ok();
    assert_eq!(ps.err(), "", "go-runc reads both streams");
    let pids = ps.json();
    assert_eq!(pids.as_array().unwrap().len(), 3, "{pids}");
    assert!(pids.as_array().unwrap().contains(&json!(c.pid())));
    assert_eq!(c.rt(&["ps", "-f", "json", ID]).ok().json(), pids);
    c.down();
}

fn ps_as_table_has_a_header(c: &Case) {
    c.up(c.bundle().args(&["/bin/sleep", "1000"]));
    let table = c.rt(&["ps", ID]).ok().out();
    let pid = c.pid().to_string();
    assert!(table.lines().next().unwrap().contains("PID"), "{table}");
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.lines().nth(1).unwrap().split_whitespace().any(|f| f == pid), "{table}");
    let own = c.rt(&["ps", "--format", "table", ID, "-o", "pid,comm"]).ok().out();
    assert!(
        own.lines().nth(1).unwrap().starts_with(&format!("{pid:>7}")[..]) || own.contains(&pid)
    );
    c.down();
}

fn ps_of_a_stopped_container_is_empty(c: &Case) {
    c.up(&c.bundle());
    c.wait_for_status("stopped");
    assert_eq!(c.rt(&["ps", "--format", "json", ID]).ok().out().trim(), "null");
    c.rt(&["delete", ID]).ok();
}

/// The last line of a log in JSON, checked for what engines read in it.
pub fn last_entry(log: &str) -> Value {
    let entry: Value = serde_json::from_str(log.lines().last().expect("a line")).expect("JSON");
    assert_eq!(entry["level"], "error", "{entry}");
    assert!(!entry["msg"].as_str().unwrap().is_empty());
    let time = entry["time"].as_str().unwrap();
    let pattern = |(i, b): (usize, u8)| match i {
        4 | 7 => b == b'-',
        10 => b == b'T',
        13 | 16 => b == b':',
        _ => b.is_ascii_digit(),
    };
    assert!(time.len() >= 20 && time.bytes().take(19).enumerate().all(pattern), "RFC 3339: {time}");
    assert!(time.ends_with('Z') || time[19..].contains(['+', '-']), "RFC 3339: {time}");
    entry
}

fn log_gets_one_json_object_on_failure(c: &Case) {
    let log = c.path_str("log");
    let out = c
        .rt(&["--log", &log, "--log-format", "json", "create", "-b", "/nowhere", ID])
        .fails(if c.is_rt() { "/nowhere" } else { "" });
    let text = fs::read_to_string(&log).unwrap();
    let entry = last_entry(&text);
    if c.is_rt() {
        assert_eq!(text.lines().count(), 1, "podman reads the file as one object: {text}");
        assert_eq!(out.err().lines().count(), 1, "{}", out.err());
        assert!(entry["msg"].as_str().unwrap().contains("/nowhere"), "{entry}");
    }
}

/// As crun names them; a file `journald:box` is what nobody wants.
fn log_goes_to_a_file_and_nowhere_else(c: &Case) {
    let log = format!("file:{}", c.path_str("log"));
    c.rt(&["--log", &log, "state", "nobody"]).fails("does not exist");
    assert!(fs::read_to_string(c.path("log")).unwrap().contains("does not exist"));
    for other in ["journald:box", "syslog:box"] {
        c.rt(&["--log", other, "state", "nobody"]).fails("rt logs to files only");
        assert!(!std::path::Path::new(other).exists(), "{other}");
    }
}

fn log_as_text_is_one_line(c: &Case) {
    let log = c.path_str("log");
    c.rt(&["--log", &log, "state", "nobody"]).fails("does not exist");
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("does not exist"), "{text}");
}

fn debug_log_tells_what_is_done(c: &Case) {
    const RUN: [&str; 5] = [
        "runc exeseal: using /proc/self/exe clone",
        "nsexec container setup",
        "child process in init()",
        "seccomp filter flags: 4\"",
        "init: closing the pipe to signal completion",
    ];
    const EXEC: [&str; 3] =
        ["nsexec container setup", "child process in init()", "setns_init: about to exec"];
    let has = |text: &str, all: &[&str], level: &str| {
        for words in all {
            let line = |line: &&str| line.contains(level) && line.contains(words);
            assert!(text.lines().any(|l| line(&l)), "{words}: {text}");
        }
    };
    let mut b = c.bundle();
    b.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW"}));
    let out = c.rt(&["--debug", "run", "-b", &b.save(), ID]).ok();
    has(&out.err(), &RUN, "level=debug msg=\"");
    let log = c.path_str("log");
    let json = ["--debug", "--log", &log, "--log-format", "json"];
    let out = c.rt_cmd(&json).args(&["run", "-b", &b.save(), ID]).run().ok();
    assert_eq!(out.err(), "");
    has(&fs::read_to_string(&log).unwrap(), &RUN, "\"level\":\"debug\"");
    c.up(b.args(&["/probe", "sleep"]));
    let out = c.rt(&["--debug", "exec", ID, "/bin/true"]).ok();
    has(&out.err(), &EXEC, "level=debug msg=\"");
    let process = json!({"args": ["/bin/true"], "cwd": "/", "execCPUAffinity": {"initial": "0"}});
    fs::write(c.path("process"), process.to_string()).unwrap();
    let out = c.rt(&["--debug", "exec", "--process", &c.path_str("process"), ID]).ok();
    has(&out.err(), &["nsexec container setup: affinity: 0x1\""], "level=debug msg=\"");
    c.down();
}

fn log_is_appended_to(c: &Case) {
    let log = c.path_str("log");
    for lines in 1..3 {
        c.rt(&["--log", &log, "--log-format=json", "state", "nobody"]).fails("");
        assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), lines);
    }
}

fn log_stays_empty_on_success(c: &Case) {
    let log = c.path_str("log");
    c.rt(&["--log", &log, "--log-format", "json", "run", "-b", &c.bundle().save(), ID]).ok();
    assert_eq!(fs::read_to_string(&log).unwrap_or_default(), "");
}

fn single_dash_and_equals_forms_are_understood(c: &Case) {
    let dir = c.bundle().save();
    let root = c.state.to_string_lossy().into_owned();
    c.bare_cmd(&[&format!("-root={root}"), "create", &format!("-bundle={dir}"), ID]).run().ok();
    c.bare_cmd(&["-root", &root, "delete", "-force", ID]).run().ok();
    c.bare_cmd(&[&format!("--root={root}"), "run", "--keep=false", "-bundle", &dir, ID]).run().ok();
}

fn flags_after_positionals_are_understood(c: &Case) {
    let dir = c.bundle().save();
    c.rt(&["create", ID, "--bundle", &dir]).ok();
    c.rt(&["delete", ID, "--force"]).ok();
    c.rt(&["create", ID, "-b", &dir]).ok();
    c.rt(&["delete", ID, "-f"]).ok();
    c.nothing_left();
}

fn global_flags_of_engines_are_accepted(c: &Case) {
    c.rt(&["--systemd-cgroup=false", "list"]).ok();
    for value in ["auto", "true", "false"] {
        c.rt(&[&format!("--rootless={value}"), "list"]).ok();
    }
    c.rt(&["--debug", "--log", &c.path_str("log"), "list"]).ok();
    c.rt(&["--log-format", "text", "list"]).ok();
    c.rt(&["--log-format", "xml", "list"]).fails("");
}

fn bad_value_of_rootless_is_refused(c: &Case) {
    c.rt(&["--rootless=maybe", "list"]).fails("");
}

fn bundle_defaults_to_the_working_directory(c: &Case) {
    let b = c.bundle();
    b.save();
    c.rt_cmd(&["run", ID]).cwd(&b.dir).run().ok();
}

fn relative_paths_start_at_the_callers_directory(c: &Case) {
    let mut b = c.bundle();
    b.args(&["/bin/sleep", "1000"]).save();
    let dir = c.dir.join("files");
    let args = ["create", "-b", "../bundles/bundle", "--pid-file", "pid", ID];
    c.rt_cmd(&args).cwd(&dir).run().ok();
    assert_eq!(fs::read_to_string(dir.join("pid")).unwrap(), c.pid().to_string());
    assert_eq!(c.state()["bundle"], b.dir.to_str().unwrap());
    c.down();
    let relative = c.bare_cmd(&["--root", "../state", "--log", "log", "create", "-b"]);
    relative.args(&["../bundles/bundle", ID]).cwd(&dir).run().ok();
    c.rt(&["start", ID]).ok();
    c.down();
}

fn missing_bundle_fails(c: &Case) {
    c.rt(&["create", "-b", "/no/such/bundle", ID]).fails("o such file or directory");
    c.nothing_left();
}

fn pid_file_is_the_bare_number(c: &Case) {
    let file = c.path("pid");
    let dir = c.bundle().save();
    c.rt(&["create", "-b", &dir, "--pid-file", &c.path_str("pid"), ID]).ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), c.pid().to_string(), "no newline");
    let others = fs::read_dir(c.dir.join("files")).unwrap().count();
    assert_eq!(others, 1, "no temporary file beside it");
    c.down();
}

fn pid_file_is_absent_after_a_failure(c: &Case) {
    let mut b = c.bundle();
    for args in [["/no/such/program"], ["/etc"]] {
        let dir = b.args(&args).save();
        let verb = if c.is_rt() { "create" } else { "run" };
        c.rt(&[verb, "-b", &dir, "--pid-file", &c.path_str("pid"), ID]).fails("");
        assert!(!c.path("pid").exists() || !c.is_rt(), "{args:?}");
    }
    if c.is_rt() {
        c.nothing_left();
    } else {
        c.down();
    }
}

fn ids_are_checked_by_every_verb(c: &Case) {
    let canary = c.canary("canary");
    fs::create_dir(c.dir.join("foreign")).unwrap();
    let dir = c.bundle().save();
    let long = "x".repeat(256);
    let bad = [
        "",
        ".",
        "..",
        "/",
        "a/b",
        "../foreign",
        "a b",
        "a\nb",
        "a\x1bb",
        "a*",
        "a:b",
        "ü",
        "-a",
        &long,
    ];
    for id in bad {
        for verb in ["start", "state", "kill", "ps", "pause", "resume"] {
            c.rt(&[verb, "--", id]).fails("");
        }
        c.rt(&["create", "-b", &dir, "--", id]).fails("");
        c.rt(&["run", "-b", &dir, "--", id]).fails("");
        c.rt(&["exec", "--", id, "/bin/true"]).fails("");
        c.rt(&["delete", "--force", "--", id]).fails("");
    }
    c.rt(&["create", "-b", &dir, "a:b"]).fails("invalid container ID format");
    assert!(c.dir.join("foreign").exists());
    fs::remove_dir(c.dir.join("foreign")).unwrap();
    canary.untouched();
    c.nothing_left();
}

fn ids_with_allowed_characters_work(c: &Case) {
    let dir = c.bundle().save();
    for id in ["a", "A.b_c+d-9", "0", "_x", &"x".repeat(128)] {
        c.rt(&["create", "-b", &dir, id]).ok();
        c.rt(&["state", id]).ok();
        c.rt(&["delete", "--force", id]).ok();
    }
    c.nothing_left();
}

fn default_root_is_run_rt(c: &Case) {
    c.bare_cmd(&["create", "-b", &c.bundle().save(), "box-default-root"]).run().ok();
    assert!(fs::exists("/run/rt/box-default-root").unwrap());
    c.bare_cmd(&["delete", "--force", "box-default-root"]).run().ok();
    assert!(!fs::exists("/run/rt/box-default-root").unwrap());
}

fn spec_writes_a_config_that_runs(c: &Case) {
    let mut b = c.bundle();
    b.without_config();
    c.rt_cmd(&["spec"]).cwd(&b.dir).run().ok();
    let text = fs::read(b.dir.join("config.json")).unwrap();
    b.config = serde_json::from_slice(&text).unwrap();
    let caps = &b.config["process"]["capabilities"];
    assert!(!c.is_rt() || caps.get("inheritable").is_none_or(|i| i == &json!([])), "{caps}");
    b.set("/process/terminal", json!(false)).set("/linux/cgroupsPath", json!(c.cgroups_path(ID)));
    b.set("/process/args", json!(["/bin/hostname"]));
    b.raw(&serde_json::to_vec(&b.config).unwrap());
    assert!(!c.run(&b).ok().out().trim().is_empty());
}

fn spec_refuses_to_overwrite(c: &Case) {
    let b = c.bundle();
    b.save();
    let before = fs::read(b.dir.join("config.json")).unwrap();
    c.rt(&["spec", "--bundle", &b.dir.to_string_lossy()]).fails("exist");
    assert_eq!(fs::read(b.dir.join("config.json")).unwrap(), before);
}

fn verbs_and_flags_of_later_are_refused_by_name(c: &Case) {
    for verb in ["checkpoint", "restore"] {
        c.rt(&[verb, ID]).fails(verb);
    }
}
