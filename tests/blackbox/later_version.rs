//! State that a later version has written: refused, and never taken apart. And what an older one has
//! accepted: still within reach.

use crate::support::{Case, ID};
use crate::tests;
use serde_json::json;
use std::fs;
use std::os::unix::fs::DirBuilderExt;

tests! {
    a_container_of_a_later_version_is_left_alone: anyone().rt_only(),
    a_list_has_the_others: anyone().rt_only(),
    a_kept_configuration_is_not_refused_afterwards: rt_only(),
}

/// In a form that this version does not know, but for its version.
const LATER: &str = r#"{"containers":[{"id":"box"}],"cgroup":"elsewhere","version":2}"#;

fn a_container_of_a_later_version_is_left_alone(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    let pid = c.pid();
    let path = |file: &str| c.state.join(ID).join(file);
    let own = ["state.json", "intent.json"].map(|file| (file, fs::read(path(file)).unwrap()));
    // What stands in state.json and in intent.json.
    for (state, intent) in [
        (Some(LATER), None),
        (Some(LATER), Some(LATER)),
        (Some("damaged"), Some(LATER)),
        (Some(""), Some(LATER)),
        (Some(r#"{"version":18446744073709551616}"#), None),
        (Some(r#"{"version":2,"version":"#), Some(LATER)),
    ] {
        for (file, text) in [("state.json", state), ("intent.json", intent)] {
            if let Some(text) = text {
                fs::write(path(file), text).unwrap();
            }
        }
        let out = c.rt(&["delete", "--force", ID]).fails("and this rt (");
        assert!(out.err().contains("use the rt that has made it"), "{}", out.err());
        assert!(fs::exists(format!("/proc/{pid}")).unwrap(), "{state:?} {intent:?}: it lives");
        if state == Some(LATER) {
            for args in [
                &["state", ID][..],
                &["delete", ID],
                &["kill", ID, "KILL"],
                &["exec", ID, "/probe", "see"],
                &["start", ID],
                &["update", "--pids-limit", "5", ID],
            ] {
                c.rt(args).fails("it has version 2, and this rt (");
            }
        }
        own.iter().for_each(|(file, bytes)| fs::write(path(file), bytes).unwrap());
        assert_eq!((c.status(), c.pid()), ("running".to_owned(), pid));
    }
    c.down();
    c.nothing_left();
}

fn a_list_has_the_others(c: &Case) {
    c.create(&c.bundle()).ok();
    let later = c.state.join("later");
    fs::DirBuilder::new().mode(0o700).create(&later).unwrap();
    fs::write(later.join("state.json"), LATER).unwrap();
    let out = c.rt(&["list", "-f", "json"]).ok();
    assert!(out.err().contains("state.json: it has version 2, and this rt ("), "{}", out.err());
    let listed = out.json();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &ID.into()));
    fs::remove_dir_all(later).unwrap();
    c.down();
}

/// An older `rt` has ignored what is refused today: its containers stay within reach.
fn a_kept_configuration_is_not_refused_afterwards(c: &Case) {
    let mut b = c.bundle();
    let hook = json!([{"path": "/bin/true"}]);
    b.args(&["/probe", "sleep"]).set("/hooks/poststop", hook);
    c.up(&b);
    let kept = c.state.join(ID).join("config.json");
    b.set("/process/NoNewPrivileges", json!(true)).set("/linux/Seccomp", json!({}));
    b.set("/root/readOnly", json!(true)).set("/mounts/0/Options", json!([]));
    b.set("/linux/resources/pids", json!({"Limit": 5}));
    b.set("/process/user", json!({"username": "nobody", "Uid": 3}));
    b.set("/linux/intelRdt", json!({"enableCmt": true}));
    b.set("/zeros", json!(vec![0; 200_000]));
    let text = serde_json::to_vec(&b.config).unwrap();
    fs::write(&kept, text).unwrap();
    // As a new one it is refused.
    c.rt(&["create", "-b", &b.save(), "new"]).fails("more than 131072 values");
    b.remove("/zeros");
    c.rt(&["create", "-b", &b.save(), "new"]).fails("linux.Seccomp: must be spelled seccomp");
    c.exec(&["/bin/true"]).ok();
    if !c.rootless {
        // Nothing to change, for which the old limits are read.
        c.rt(&["update", ID]).ok();
    }
    c.rt(&["kill", ID, "KILL"]).ok();
    c.wait_for_status("stopped");
    c.rt(&["delete", ID]).ok();
    c.nothing_left();
}
