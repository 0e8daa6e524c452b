//! Very many mounts, masks and read-only paths.

use crate::support::{Bundle, Case, ID, Need};
use crate::tests;
use serde_json::{Value, json};
use std::fs;

tests! {
    a_thousand_mounts_need_no_descriptors_of_their_own: except_runc("one each").except_crun("one each"),
    a_thousand_mounts_work_in_a_user_namespace: needs(Need::UserNamespace).except_runc("one each").except_crun("one each"),
    a_thousand_idmapped_mounts_work: rt_only().needs(Need::UserNamespace),
    thousands_of_masks_and_read_only_paths_work: except_crun("one descriptor each"),
}

/// Runs with few descriptors; the lines of the container's mount table with `/many/`.
#[track_caller]
fn count(c: &Case, b: &mut Bundle) -> String {
    b.sh("grep -c /many/ /proc/self/mounts");
    let line = r#"ulimit -n 64; exec "$0" "$@""#;
    let run = c.rt_cmd(&["run", "-b", &b.save(), ID]);
    run.through(&["/bin/sh", "-c", line]).run().ok().out().trim().to_string()
}

fn many(c: &Case, b: &mut Bundle, mappings: bool) {
    fs::create_dir_all(c.path("dir")).unwrap();
    fs::write(c.path("file"), "").unwrap();
    b.remove("/process/rlimits");
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 10}]);
    for n in 0..1000 {
        let at = format!("/mnt/many/{n}");
        let (kind, source) = match n % 3 {
            0 => ("bind", c.path_str("dir")),
            1 => ("bind", c.path_str("file")),
            _ if mappings => ("bind", c.path_str("dir")),
            _ => ("tmpfs", "t".to_string()),
        };
        let options = if kind == "bind" { json!(["bind", "ro"]) } else { json!(["size=4k"]) };
        let mut mount =
            json!({"destination": at, "type": kind, "source": source, "options": options});
        if mappings {
            mount["uidMappings"] = map.clone();
            mount["gidMappings"] = map.clone();
        }
        b.push("/mounts", mount);
    }
    assert_eq!(count(c, b), "1000");
}

fn a_thousand_mounts_need_no_descriptors_of_their_own(c: &Case) {
    many(c, &mut c.bundle(), false);
}

fn a_thousand_mounts_work_in_a_user_namespace(c: &Case) {
    many(c, c.bundle().user_namespace(), false);
}

fn a_thousand_idmapped_mounts_work(c: &Case) {
    many(c, &mut c.bundle(), true);
    many(c, c.named_bundle("user").user_namespace(), true);
}

fn thousands_of_masks_and_read_only_paths_work(c: &Case) {
    let mut b = c.bundle();
    let paths = |kind: &str, step: usize| -> Vec<String> {
        (0..3000).step_by(step).map(|n| format!("/many/{kind}{n}")).collect()
    };
    fs::create_dir(b.rootfs("many")).unwrap();
    for path in paths("dir", 2).iter().chain(&paths("fixed", 1)) {
        fs::create_dir(b.rootfs(path)).unwrap();
    }
    for path in paths("file", 1) {
        fs::write(b.rootfs(&path), "secret").unwrap();
    }
    let masked: Vec<String> = [paths("dir", 1), paths("file", 1)].concat();
    b.set("/linux/maskedPaths", Value::from(masked));
    b.set("/linux/readonlyPaths", Value::from(paths("fixed", 1)));
    b.remove("/process/rlimits");
    assert_eq!(count(c, &mut b), "7500");
}
