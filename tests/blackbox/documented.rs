//! What the pages say of exit codes and of JSON, held against what is printed.

use crate::cli::last_entry;
use crate::support::cmd::{Cmd, wait_until};
use crate::support::{Case, ID, Need};
use crate::tests;
use serde_json::{Value, json};
use std::fs;

tests! {
    exit_codes_are_as_documented: rt_only(),
    json_is_as_documented: rt_only(),
    debug_tells_each_step_and_which_one_takes_long: rt_only(),
    what_is_long_is_shortened: rt_only(),
    an_ordinary_user_is_told_where_the_state_can_be: rt_only().needs(Need::Tool("setpriv")),
}

/// docs/exit-codes.md, row by row.
fn exit_codes_are_as_documented(c: &Case) {
    let mut b = c.bundle();
    for code in [0, 1, 3, 255] {
        assert_eq!(c.run(b.sh(&format!("exit {code}"))).exits(code).err(), "");
    }
    let running = c.rt_cmd(&["run", "-b", &b.args(&["/probe", "sleep"]).save(), ID]).spawn();
    wait_until("it runs", || c.rt(&["state", ID]).out().contains("\"running\""));
    c.rt(&["kill", ID, "KILL"]).ok();
    assert_eq!(running.wait().exits(137).err(), "");
    let out = c.run(b.args(&["/no/such"])).exits(1);
    assert!(out.err().starts_with("rt: run box: "), "{}", out.err());
    fs::write(b.rootfs("bad"), "").unwrap();
    fs::set_permissions(b.rootfs("bad"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let out = c.run(b.args(&["/bad"])).exits(1);
    assert!(out.err().starts_with("exec /bad: "), "{}", out.err());
    c.nothing_left();
    let dir = b.args(&["/probe", "sleep"]).save();
    let refused = |args: &[&str], code| {
        let out = c.rt(args).exits(code);
        assert!(out.err().starts_with("rt: ") && out.err().lines().count() == 1, "{args:?}");
    };
    refused(&["create", "-b", "/no/such", ID], 1);
    c.rt(&["run", "-d", "-b", &dir, ID]).exits(0);
    refused(&["create", "-b", &dir, ID], 1);
    refused(&["start", ID], 1);
    refused(&["delete", ID], 1);
    c.exec(&["/bin/sh", "-c", "exit 7"]).exits(7);
    c.exec(&["/bin/sh", "-c", "kill -9 $$"]).exits(137);
    refused(&["exec", ID, "/no/such"], 255);
    refused(&["exec", "-d", ID, "/no/such"], 255);
    refused(&["exec", "nobody", "/bin/true"], 255);
    refused(&["exec", "--nosuch", ID, "/bin/true"], 1);
    c.rt(&["exec", "-d", ID, "/bin/true"]).exits(0);
    for line in
        ["state nobody", "kill nobody", "list --format x", "spec -b /no/such", "checkpoint x"]
    {
        refused(&line.split(' ').collect::<Vec<_>>(), 1);
    }
    refused(&["frobnicate"], 3);
    for line in ["state box", "list", "ps -f json box", "features", "--version", "--help"] {
        c.rt(&line.split(' ').collect::<Vec<_>>()).exits(0);
    }
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    c.rt_cmd(&["list"]).output(full).run().exits(1);
    c.rt(&["delete", "--force", ID]).exits(0);
    // "--force" of what is not there, for those who clean up.
    c.rt(&["delete", "--force", "nobody"]).exits(0);
}

/// The members that a section of docs/json.md names.
fn named(section: &str) -> Vec<&'static str> {
    const PAGE: &str = include_str!("../../docs/json.md");
    let text = PAGE.split(&format!("## {section}\n")).nth(1).expect("a section");
    let text = text.split("\n## ").next().unwrap_or_default();
    let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let cells = cells.filter(|cell| cell.starts_with('`'));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

/// Fails where a value stands that no name is for; names are of paths from the top.
fn is_named(names: &[&[&str]], value: &Value, path: &str) {
    let below = |key: &str| -> Vec<&[&str]> {
        let rest = names.iter().filter_map(|name| name.split_first());
        rest.filter(|(first, _)| **first == "*" || **first == key).map(|(_, rest)| rest).collect()
    };
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let key = if value.is_array() { format!("{key}[]") } else { key.clone() };
                is_named(&below(&key), value, &format!("{path}.{key}"));
            }
        }
        Value::Array(all) => all.iter().for_each(|value| is_named(names, value, path)),
        _ => assert!(names.iter().any(|name| name.is_empty()), "docs/json.md lacks {path}"),
    }
}

#[track_caller]
fn documented(section: &str, value: &Value) {
    let names: Vec<Vec<&str>> = named(section).iter().map(|n| n.split('.').collect()).collect();
    let names: Vec<&[&str]> = names.iter().map(Vec::as_slice).collect();
    is_named(&names, value, section);
}

/// That there are no members but these; that each of them is printed, is tested beside the code.
fn json_is_as_documented(c: &Case) {
    let mut b = c.bundle();
    b.set("/annotations", json!({"a.b": "c"}));
    c.up(b.args(&["/probe", "sleep"]));
    documented("state", &c.state());
    let list = c.rt(&["list", "-f", "json"]).ok().json();
    documented("state", &list[0]);
    assert_eq!(c.rt(&["ps", "-f", "json", ID]).ok().json(), json!([c.pid()]));
    if !c.rootless {
        documented("state", &c.rt(&["state", "--resources", ID]).ok().json());
        documented("events", &c.rt(&["events", "--stats", ID]).ok().json());
    }
    documented("features", &c.rt(&["features"]).ok().json());
    c.rt(&["kill", ID, "KILL"]).ok();
    c.wait_for_status("stopped");
    documented("state", &c.state());
    c.down();
    let log = c.path_str("log");
    b.set("/linux/resource", json!({})).mount("/x", "tmpfs", "tmpfs", &["size=x"]);
    c.rt(&["--log", &log, "--log-format", "json", "create", "-b", &b.save(), ID]).exits(1);
    let entry = last_entry(&fs::read_to_string(&log).unwrap());
    for member in ["step", "field", "errno", "warnings"] {
        assert!(entry[member].is_string(), "{member}: {entry}");
    }
    documented("log", &entry);
}

fn debug_tells_each_step_and_which_one_takes_long(c: &Case) {
    let mut b = c.bundle();
    b.args(&["/bin/true"]);
    // The first process stands still while `rt` waits for it.
    let stop = "kill -STOP $(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')";
    let hook =
        json!([{"path": "/bin/sh", "args": ["sh", "-c", stop], "env": ["PATH=/bin:/usr/bin"]}]);
    b.set("/hooks/createRuntime", hook);
    let log = c.path("log");
    let path = log.to_string_lossy().into_owned();
    let running = c.rt_cmd(&["--debug", "--log", &path, "run", "-b", &b.save(), ID]).spawn();
    let text = || fs::read_to_string(&log).unwrap_or_default();
    wait_until("it says where it is", || text().contains("still at step "));
    assert!(text().contains(": wait for hooks\""), "{}", text());
    assert!(text().contains(": mount tmpfs on /dev (at mounts[1])\""), "{}", text());
    let pid = text()
        .split("child process in init(): pid ")
        .nth(1)
        .unwrap()
        .split(',')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    crate::support::sys::kill(pid, libc::SIGCONT).expect("it stands still");
    running.wait().exits(0);
    c.nothing_left();
}

/// After `su - user`, from cron, in a container: nobody has set the variable.
fn an_ordinary_user_is_told_where_the_state_can_be(c: &Case) {
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let nobody: &[&str] = if c.rootless { &["env"] } else { &nobody };
    let dir = c.bundle().save();
    for env in ["", "relative"] {
        let cmd = Cmd::new(nobody).arg(c.runtime.to_string_lossy()).env("XDG_RUNTIME_DIR", env);
        let out = cmd.args(&["run", "-b", &dir, ID]).run().exits(1);
        let hint = "an ordinary user's state is in $XDG_RUNTIME_DIR/rt: set that variable to a \
                    directory of yours, or give --root DIR";
        assert!(out.err().contains(hint), "{}", out.err());
    }
}

/// Whatever is long, and wherever it comes from: one line that can be read.
fn what_is_long_is_shortened(c: &Case) {
    let long = "y".repeat(3000);
    let log = c.path_str("log");
    let mut b = c.bundle();
    b.set(&format!("/linux/sysctl/{long}"), json!("1"));
    b.set(&format!("/process/{long}s"), json!(1)).set("/annotations/x", json!(long));
    b.push(
        "/mounts",
        json!({"destination": format!("/{}", "z/".repeat(2000)), "type": "tmpfs",
        "source": "x", "options": [format!("size={long}")]}),
    );
    b.push("/linux/maskedPaths", json!(format!("{long}/..")));
    let dir = b.save();
    for args in [
        &["run", "-b", &dir, ID][..],
        &["run", "-b", &format!("/{long}"), ID],
        &["exec", ID, &long],
        &["exec", "--cwd", &long, ID, "x"],
        &["update", "-r", &long, ID],
        &[&long],
        &["state", &format!("--{long}"), ID],
        &["kill", ID, &long],
    ] {
        let out = c.rt(&[&["--log", &log, "--log-format", "json"], args].concat());
        let (err, logged) = (out.err(), fs::read_to_string(&log).unwrap_or_default());
        assert!(out.code != Some(0) && !err.is_empty(), "{args:.60?}");
        assert!(err.len() < 1500 && err.lines().count() == 1, "{args:.60?}: {err}");
        assert!(logged.len() < 2000, "{args:.60?}: {logged}");
        let _ = fs::remove_file(&log);
    }
}
