//! Rows 1 to 17 and 49 to 74: the file, the version, root, mounts.

use super::{Accept, Answer, Refuse, Row, Warn, check, grows_with, rows, text, tmpfs};
use crate::support::{Case, ID, sys};
use crate::tests;
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;

tests! {
    a_large_document_takes_little_memory,
    file_that_is_no_object,
    file_that_is_no_file,
    text_that_is_not_strict_json,
    keys_twice_or_in_another_case,
    depth_is_bounded,
    unknown_keys_are_accepted,
    versions,
    root_path,
    hostnames,
    mount_values,
    mount_destinations,
    mount_sources_and_types,
    thousands_of_mounts,
    mounts_without_a_mount_namespace,
    nul_in_strings,
}

fn file_that_is_no_object(c: &Case) {
    for bad in ["", "{", "[]", "null", "{\"ociVersion\": \"1.0.0\"", "7"] {
        text(c, 1, bad.as_bytes(), Refuse("config.json", ""));
    }
}

fn file_that_is_no_file(c: &Case) {
    let b = c.bundle();
    b.without_config();
    let at = b.dir.join("config.json");
    // Nobody waits for a writer, or reads what has no end.
    let refuse = |number: u32, why: &str| {
        let out = c.rt(&["create", "-b", &b.dir.to_string_lossy(), ID]).fails("config.json");
        assert!(out.err().contains(why), "row {number}: {}", out.err());
        assert!(out.peak_kb < 100_000, "row {number}: {} kB", out.peak_kb);
        c.nothing_left();
    };
    refuse(1, "no such file");
    fs::create_dir(&at).unwrap();
    refuse(1, "not a regular file");
    fs::remove_dir(&at).unwrap();
    sys::mkfifo(&at);
    refuse(11, "not a regular file");
    fs::remove_file(&at).unwrap();
    symlink("/dev/zero", &at).unwrap();
    refuse(12, "not a regular file");
    fs::remove_file(&at).unwrap();
    fs::File::create(&at).unwrap().set_len(1 << 30).unwrap();
    refuse(12, "larger than 8 MiB");
}

fn text_that_is_not_strict_json(c: &Case) {
    let good = c.bundle().config.to_string();
    text(c, 2, format!("{good}{good}").as_bytes(), Refuse("config.json", ""));
    text(c, 2, format!("{good} xyz").as_bytes(), Refuse("config.json", ""));
    text(c, 2, format!("{good}\n \n").as_bytes(), Accept);
    text(c, 3, format!("\u{feff}{good}").as_bytes(), Refuse("config.json", ""));
    let latin: Vec<u8> = good
        .replace("\"box\"", "\"b@x\"")
        .bytes()
        .map(|b| if b == b'@' { 0xe9 } else { b })
        .collect();
    text(c, 4, &latin, Refuse("", "UTF-8"));
    text(c, 4, good.replace("\"box\"", "\"\\ud800\"").as_bytes(), Refuse("config.json", ""));
}

fn keys_twice_or_in_another_case(c: &Case) {
    let good = c.bundle().config.to_string();
    let twice = good.replacen('{', "{\"process\": {\"args\": [\"/bin/false\"]},", 1);
    text(c, 5, twice.as_bytes(), Refuse("", "process"));
    let maps = good.replacen('{', "{\"annotations\": {\"a\": \"1\", \"a\": \"2\"},", 1);
    text(c, 5, maps.as_bytes(), Refuse("annotations", "a"));
    let inner = good.replacen("\"cwd\":", "\"cwd\": \"/tmp\", \"cwd\":", 1);
    text(c, 5, inner.as_bytes(), Refuse("process", "cwd"));
    let other = good.replacen('{', "{\"Process\": {\"args\": [\"/bin/false\"]},", 1);
    text(c, 6, other.as_bytes(), Refuse("Process", "must be spelled process"));
    text(c, 7, good.replace("\"process\"", "\"PROCESS\"").as_bytes(), Refuse("process", ""));
    text(
        c,
        7,
        good.replace("\"args\"", "\"ARGS\"").as_bytes(),
        Refuse("process.ARGS", "spelled args"),
    );
}

fn depth_is_bounded(c: &Case) {
    let good = c.bundle().config.to_string();
    for key in ["unknown", "annotations", "linux"] {
        let deep = format!("{{\"{key}\": {}1{},", "{\"a\":".repeat(200_000), "}".repeat(200_000));
        text(c, 8, good.replacen('{', &deep, 1).as_bytes(), Refuse("", ""));
    }
    let lists = format!("{{\"unknown\": {}{},", "[".repeat(200_000), "]".repeat(200_000));
    text(c, 8, good.replacen('{', &lists, 1).as_bytes(), Refuse("", ""));
}

fn unknown_keys_are_accepted(c: &Case) {
    let list: Vec<Row> = vec![
        (9, "/unknownKey", json!({"a": [1, null]}), Accept),
        (9, "/process/unknownKey", json!("x"), Accept),
        (10, "/process/noNewPriviledges", json!(true), Warn("noNewPriviledges")),
        (13, "/mounts", json!([null]), Refuse("mounts[0]", "")),
        (13, "/mounts", json!({}), Refuse("mounts", "")),
        (14, "/annotations", json!({"a": 1}), Refuse("annotations", "")),
        (15, "/linux/namespaces", json!(null), Refuse("mounts", "")),
        (15, "/vm", json!({"kernel": {"path": "/x"}}), Accept),
    ];
    rows(c, |_| (), list);
}

fn versions(c: &Case) {
    let v = |value| json!(value);
    rows(
        c,
        |_| (),
        vec![
            (16, "/ociVersion", json!(null), Refuse("ociVersion", "")),
            (16, "/ociVersion", v(""), Refuse("ociVersion", "")),
            (16, "/ociVersion", v("banana"), Refuse("ociVersion", "banana")),
            (16, "/ociVersion", v("2.0.0"), Refuse("ociVersion", "2.0.0")),
            (16, "/ociVersion", v("1"), Refuse("ociVersion", "")),
            (17, "/ociVersion", v("1.99.0"), Accept),
            (17, "/ociVersion", v("1.0.0-rc5+dev"), Accept),
            (17, "/ociVersion", v("1.3.0-dev"), Accept),
            (17, "/ociVersion", v("1.2.1+dev"), Accept),
        ],
    );
}

fn root_path(c: &Case) {
    rows(
        c,
        |_| (),
        vec![
            (49, "/root", json!(null), Refuse("root", "")),
            (49, "/root/path", json!(""), Refuse("root.path", "")),
            (
                49,
                "/root/path",
                json!("no-such-directory"),
                Refuse("root.path", "no-such-directory"),
            ),
            (49, "/root/path", json!("rootfs/etc/passwd"), Refuse("root.path", "")),
            (51, "/root/readonly", json!("true"), Refuse("root.readonly", "")),
            (
                52,
                "/linux/rootfsPropagation",
                json!("foo"),
                Refuse("linux.rootfsPropagation", "foo"),
            ),
        ],
    );
}

fn hostnames(c: &Case) {
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let no_uts = |b: &mut crate::support::Bundle| {
        b.without_namespace("uts").remove("/hostname");
    };
    rows(
        c,
        no_uts,
        vec![
            (53, "/hostname", json!("other"), Refuse("hostname", "uts")),
            (53, "/domainname", json!("other"), Refuse("domainname", "uts")),
        ],
    );
    rows(
        c,
        |_| (),
        vec![
            (54, "/hostname", json!("x".repeat(65)), Refuse("hostname", "")),
            (54, "/hostname", json!("a\0b"), Refuse("hostname", "")),
        ],
    );
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
}

/// Checks one more mount, appended to the default ones as number 7.
fn mount(c: &Case, number: u32, value: serde_json::Value, answer: Answer) {
    let mut b = c.bundle();
    assert_eq!(b.config["mounts"].as_array().unwrap().len(), 7);
    b.push("/mounts", value.clone());
    if let Err(why) = check(c, &b, &answer) {
        panic!("row {number}, {value}: {why}");
    }
}

fn mount_values(c: &Case) {
    mount(
        c,
        66,
        tmpfs("/mnt", &["nosuid", "frobnicate"]),
        Refuse("mounts[7].options[1]", "frobnicate"),
    );
    mount(c, 67, tmpfs("/mnt", &["size=1m,mode=0777"]), Refuse("mounts[7].options[0]", ""));
    mount(c, 68, tmpfs("/mnt", &["ro", "rw"]), Accept);
    mount(c, 69, tmpfs("/mnt", &["private", "shared"]), Refuse("mounts[7].options", ""));
    mount(c, 66, tmpfs("/mnt", &["size=banana"]), Refuse("mounts[7].options[0]", "size"));
    mount(
        c,
        72,
        json!({"destination": "/mnt", "type": "bind", "source": "rootfs/etc", "options": ["bind", "idmap"]}),
        Refuse("mounts[7]", ""),
    );
    mount(
        c,
        66,
        json!({"destination": "/mnt", "type": "tmpfs", "source": "x", "options": "ro"}),
        Refuse("mounts[7].options", ""),
    );
    mount(
        c,
        66,
        json!({"destination": "/mnt", "type": "tmpfs", "source": "x", "options": [1]}),
        Refuse("mounts[7].options[0]", ""),
    );
}

fn mount_destinations(c: &Case) {
    mount(c, 55, tmpfs("relative", &[]), Accept);
    mount(c, 55, tmpfs("../outside", &[]), Accept);
    mount(c, 55, tmpfs("/../../x", &[]), Accept);
    assert!(!c.dir.join("bundles/outside").exists() && !c.dir.join("outside").exists());
    mount(c, 56, tmpfs("", &[]), Refuse("mounts[7].destination", ""));
    mount(c, 56, tmpfs("/", &[]), Refuse("mounts[7].destination", ""));
    for at in ["/proc/self", "/proc/self/attr", "/proc/sys/kernel"] {
        mount(c, 63, tmpfs(at, &[]), Refuse("mounts[7].destination", "/proc"));
    }
    let bind = json!({"destination": "/proc", "type": "bind", "source": "rootfs/etc", "options": ["bind"]});
    mount(c, 63, bind, Refuse("mounts[7]", "/proc"));
}

fn mount_sources_and_types(c: &Case) {
    let bind = |source: &str| json!({"destination": "/mnt", "type": "bind", "source": source, "options": ["bind"]});
    mount(c, 64, bind("/no/such/source"), Refuse("mounts[7].source", "/no/such/source"));
    mount(c, 64, bind(""), Refuse("mounts[7].source", ""));
    mount(
        c,
        64,
        json!({"destination": "/mnt", "type": "bind", "options": ["bind"]}),
        Refuse("mounts[7].source", ""),
    );
    mount(
        c,
        65,
        json!({"destination": "/mnt", "type": "foofs", "source": "x"}),
        Refuse("mounts[7].type", "foofs"),
    );
    mount(c, 65, json!({"destination": "/mnt", "source": "x"}), Refuse("mounts[7]", ""));
    mount(
        c,
        70,
        json!({"destination": "/etc", "type": "bind", "source": "rootfs/etc/passwd", "options": ["bind"]}),
        Refuse("mounts[7]", ""),
    );
    mount(
        c,
        70,
        json!({"destination": "/etc/passwd", "type": "bind", "source": "rootfs/etc", "options": ["bind"]}),
        Refuse("mounts[7]", ""),
    );
}

fn thousands_of_mounts(c: &Case) {
    grows_with(150, |count| {
        let mut b = c.bundle();
        for i in 0..count {
            b.push("/mounts", tmpfs(&format!("/mnt/{i}"), &["size=4k"]));
        }
        c.rt(&["run", "-b", &b.save(), ID]).ok()
    });
}

/// Of a document of the largest size, whatever it is filled with, and of the most values.
fn a_large_document_takes_little_memory(c: &Case) {
    const SIZE: usize = (8 << 20) - 10_000;
    let b = c.bundle();
    let text = b.config.to_string();
    for (unit, count) in [("0", SIZE / 2), ("{}", SIZE / 3), ("\"x\"", SIZE / 4), ("0", 100_000)] {
        let list = vec![unit; count].join(",");
        let spaces = " ".repeat(SIZE - list.len());
        for (at, with) in [
            ("{", format!("{{\"unknown\":[{list}],{spaces}")),
            ("\"linux\":{", format!("\"linux\":{{\"maskedPaths\":[{list}],{spaces}")),
        ] {
            let text = text.replacen("\"maskedPaths\":", "\"others\":", 1).replacen(at, &with, 1);
            b.raw(text.as_bytes());
            let out = c.create(&b);
            // The document itself is some 8,000 kB of it.
            assert!(
                out.peak_kb < 48_000,
                "{} kB for {count} of {unit}: {:.200}",
                out.peak_kb,
                out.err()
            );
            c.down();
        }
    }
}

fn mounts_without_a_mount_namespace(c: &Case) {
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut b = c.bundle();
    b.without_namespace("mount");
    check(c, &b, &Refuse("mounts", "mount namespace")).unwrap();
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
}

fn nul_in_strings(c: &Case) {
    rows(
        c,
        |_| (),
        vec![
            (26, "/process/args", json!(["/bin/true", "a\0b"]), Refuse("process.args[1]", "NUL")),
            (26, "/process/cwd", json!("/a\0b"), Refuse("process.cwd", "NUL")),
            (26, "/process/env", json!(["A=1", "B=\0"]), Refuse("process.env[1]", "NUL")),
            (26, "/root/path", json!("root\0fs"), Refuse("root.path", "NUL")),
            (26, "/mounts/0/destination", json!("/pr\0oc"), Refuse("mounts[0].destination", "NUL")),
            (26, "/mounts/0/source", json!("pr\0oc"), Refuse("mounts[0].source", "NUL")),
            (26, "/mounts/1/options/0", json!("nosuid\0"), Refuse("mounts[1].options[0]", "")),
            (
                26,
                "/linux/namespaces/0/path",
                json!("/proc/\0"),
                Refuse("linux.namespaces[0].path", ""),
            ),
            (
                26,
                "/linux/sysctl",
                json!({"net.ipv4.ip_forward": "1\0"}),
                Refuse("linux.sysctl", ""),
            ),
            (
                26,
                "/hooks",
                json!({"poststop": [{"path": "/bin/\0"}]}),
                Refuse("hooks.poststop[0].path", ""),
            ),
            (26, "/linux/maskedPaths", json!(["/a\0"]), Refuse("linux.maskedPaths[0]", "NUL")),
        ],
    );
}
