//! Attribute words that meet: what mountinfo shows in the end, against a model. The whole product
//! is a unit test of the function that decides; here the kernel has its say.

use crate::support::{Bundle, Case, Need, sys};
use crate::tests;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

tests! {
    every_pair_of_words_holds_on_a_tree: rt_only(),
    every_pair_of_words_holds_on_a_tree_in_a_user_namespace: rt_only().needs(Need::UserNamespace),
    words_hold_on_every_kind_of_mount: rt_only().needs(Need::UserNamespace),
    words_hold_on_what_the_runtime_binds_itself: rt_only().needs(Need::UserNamespace),
    locked_attributes_of_the_source_stay_beside_rro: rt_only().needs(Need::UserNamespace),
    bind_takes_no_rbind_back: except_runc("the last word wins"),
    the_same_propagation_twice_is_no_error,
    words_for_engines_are_passed_over_on_a_bind: rt_only(),
}

const PLAIN: [&str; 18] = [
    "ro",
    "rw",
    "nosuid",
    "suid",
    "nodev",
    "dev",
    "noexec",
    "exec",
    "nosymfollow",
    "symfollow",
    "noatime",
    "atime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "nodiratime",
    "diratime",
];

/// Those about one yes or no.
const SAMPLE: [&str; 8] = ["ro", "rw", "nosuid", "suid", "nodev", "exec", "noexec", "nosymfollow"];

/// What mountinfo shows of a mount, as a set: `rw` is the lack of `ro`, strictatime that of the
/// two other access times.
type Shown = BTreeSet<&'static str>;

const SHOWN: [&str; 8] =
    ["ro", "nosuid", "nodev", "noexec", "nosymfollow", "noatime", "relatime", "nodiratime"];

fn shown(flags: &str) -> Shown {
    SHOWN.into_iter().filter(|flag| flags.split(',').any(|had| had == *flag)).collect()
}

/// What a word makes of a mount, and the flags that it is about.
fn effect(word: &str) -> (&'static [&'static str], Option<&'static str>) {
    match word {
        "ro" => (&["ro"], Some("ro")),
        "rw" => (&["ro"], None),
        "nosuid" => (&["nosuid"], Some("nosuid")),
        "suid" => (&["nosuid"], None),
        "nodev" => (&["nodev"], Some("nodev")),
        "dev" => (&["nodev"], None),
        "noexec" => (&["noexec"], Some("noexec")),
        "exec" => (&["noexec"], None),
        "nosymfollow" => (&["nosymfollow"], Some("nosymfollow")),
        "symfollow" => (&["nosymfollow"], None),
        "nodiratime" => (&["nodiratime"], Some("nodiratime")),
        "diratime" => (&["nodiratime"], None),
        "noatime" => (&["noatime", "relatime"], Some("noatime")),
        "strictatime" => (&["noatime", "relatime"], None),
        _ => (&["noatime", "relatime"], Some("relatime")),
    }
}

fn put(shown: &mut Shown, word: &str) {
    let (about, becomes) = effect(word);
    shown.retain(|flag| !about.contains(flag));
    shown.extend(becomes);
}

/// One recursive and one plain word, in whatever order: the top.
fn model(recursive: &str, plain: &str, start: &Shown) -> Shown {
    let about = effect(recursive).0;
    let mut top = start.clone();
    top.retain(|flag| !["ro", "nosuid", "nodev", "noexec", "nosymfollow"].contains(flag));
    let same = effect(plain).0 == about;
    match plain {
        // They only take an earlier word back.
        "atime" | "norelatime" | "nostrictatime" | "diratime" => {}
        _ if same => {}
        "nodiratime" if about.contains(&"relatime") => put(&mut top, plain),
        "nodiratime" => {
            put(&mut top, "relatime");
            put(&mut top, plain);
        }
        "noatime" | "relatime" | "strictatime" => {
            if !about.contains(&"nodiratime") {
                put(&mut top, "diratime");
            }
            put(&mut top, plain);
        }
        _ => put(&mut top, plain),
    }
    put(&mut top, recursive);
    top
}

fn below(recursive: &str, start: &Shown) -> Shown {
    let mut shown = start.clone();
    put(&mut shown, recursive);
    shown
}

/// A tmpfs with a tmpfs and a file in it, both mounted with these flags.
fn tree(c: &Case, flags: libc::c_ulong) -> PathBuf {
    let at = c.path("tree");
    fs::create_dir_all(&at).unwrap();
    sys::mount("tree", &at, "tmpfs", 0, "mode=755").unwrap();
    fs::create_dir(at.join("sub")).unwrap();
    fs::write(at.join("file"), "").unwrap();
    sys::mount("sub", &at.join("sub"), "tmpfs", 0, "mode=755").unwrap();
    for mount in [at.join("sub"), at.clone()] {
        sys::mount("none", &mount, "", libc::MS_REMOUNT | libc::MS_BIND | flags, "").unwrap();
    }
    at
}

fn in_both_orders(recursive: &str, plain: &str) -> [Vec<String>; 2] {
    let (recursive, plain) = (format!("r{recursive}"), plain.to_string());
    [vec![recursive.clone(), plain.clone()], vec![plain, recursive]]
}

/// Binds the tree by every pair; a bundle for each recursive word.
fn every_pair(c: &Case, user: bool, flags: libc::c_ulong, words: &[&str], start: &str) {
    let source = tree(c, flags);
    let start = shown(start);
    let mut b = c.bundle();
    if user {
        b.user_namespace();
    }
    b.mount("/mnt", "tmpfs", "t", &[]);
    let config = b.config.clone();
    for recursive in words {
        b.config = config.clone();
        let mut expected = Vec::new();
        for plain in words {
            for (order, options) in in_both_orders(recursive, plain).into_iter().enumerate() {
                let at = format!("/mnt/{plain}{order}");
                let mut all = vec!["rbind"];
                all.extend(options.iter().map(String::as_str));
                b.mount(&at, "bind", &source.to_string_lossy(), &all);
                expected.push((at, all.join(","), model(recursive, plain, &start)));
            }
        }
        let seen = c.see(&b);
        let flags = |at: &str| shown(seen["mounts"][at]["flags"].as_str().expect("a mount"));
        for (at, options, top) in expected {
            assert_eq!(flags(&at), top, "top of {options}");
            assert_eq!(flags(&format!("{at}/sub")), below(recursive, &start), "below {options}");
        }
    }
    sys::umount_detach(&source).unwrap();
}

fn every_pair_of_words_holds_on_a_tree(c: &Case) {
    every_pair(c, false, libc::MS_NODEV | libc::MS_NOATIME, &PLAIN, "nodev,noatime");
}

fn every_pair_of_words_holds_on_a_tree_in_a_user_namespace(c: &Case) {
    // What is locked cannot be changed: access times always are.
    every_pair(c, true, libc::MS_RELATIME, &PLAIN[..10], "relatime");
    every_pair(c, true, libc::MS_RELATIME, &["ro", "nosuid", "relatime"], "relatime");
}

/// Adds a mount of some kind at a place, with options; whether it has a submount to look at.
fn add(b: &mut Bundle, kind: &str, at: &str, source: &str, options: &[&str]) -> bool {
    let with = |more: &[&'static str]| {
        let mut all: Vec<&str> = more.to_vec();
        all.extend(options);
        json!(all)
    };
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65_536}]);
    let mut entries: Vec<Value> = Vec::new();
    match kind {
        "tmpfs" | "ramfs" => {
            entries.push(json!({"destination": at, "type": kind, "options": with(&[])}));
        }
        "silent" => {
            entries.push(json!({"destination": at, "type": "tmpfs", "options": with(&["silent"])}));
        }
        "file" => {
            let file = format!("{source}/file");
            entries.push(json!({"destination": at, "source": file, "options": with(&["bind"])}));
        }
        "idmapped" => entries.push(json!({"destination": at, "source": source,
            "options": with(&["rbind"]), "uidMappings": map, "gidMappings": map})),
        "remounted" => {
            entries.push(json!({"destination": at, "source": source, "options": ["rbind"]}));
            entries.push(json!({"destination": at, "options": with(&["remount", "bind"])}));
        }
        "remounted tmpfs" => {
            entries.push(json!({"destination": at, "type": "tmpfs"}));
            entries
                .push(json!({"destination": at, "type": "tmpfs", "options": with(&["remount"])}));
        }
        _ => entries.push(json!({"destination": at, "source": source, "options": with(&["bind"])})),
    }
    for entry in entries {
        b.push("/mounts", entry);
    }
    matches!(kind, "idmapped" | "remounted")
}

fn words_hold_on_every_kind_of_mount(c: &Case) {
    let kinds =
        ["tmpfs", "ramfs", "silent", "bind", "file", "idmapped", "remounted", "remounted tmpfs"];
    let source = tree(c, libc::MS_RELATIME);
    let start = shown("relatime");
    for user in [false, true] {
        let mut b = c.named_bundle(&format!("b{user}"));
        if user {
            b.user_namespace();
        }
        b.mount("/mnt", "tmpfs", "t", &[]);
        let config = b.config.clone();
        for kind in kinds {
            b.config = config.clone();
            let mut expected = Vec::new();
            for recursive in ["ro", "nosuid", "noexec", "nosymfollow", "rw"] {
                for plain in SAMPLE {
                    for (order, options) in in_both_orders(recursive, plain).iter().enumerate() {
                        let at = format!("/mnt/{recursive}{plain}{order}");
                        let options: Vec<&str> = options.iter().map(String::as_str).collect();
                        let deep = add(&mut b, kind, &at, &source.to_string_lossy(), &options);
                        let top = model(recursive, plain, &start);
                        if deep {
                            expected.push((format!("{at}/sub"), below(recursive, &start)));
                        }
                        expected.push((at, top));
                    }
                }
            }
            let seen = c.see(&b);
            for (at, wanted) in expected {
                let flags = seen["mounts"][&at]["flags"].as_str();
                let flags = flags.unwrap_or_else(|| panic!("{kind}: nothing at {at}"));
                assert_eq!(shown(flags), wanted, "{kind} at {at}, {user}");
            }
        }
    }
    sys::umount_detach(&source).unwrap();
}

fn words_hold_on_what_the_runtime_binds_itself(c: &Case) {
    let lists: [&[&str]; 5] = [
        &["nosuid", "noexec", "nodev", "ro"],
        &["nosuid", "rro"],
        &["rro", "nosuid", "nodev", "noexec"],
        &["ro", "rnosuid", "relatime"],
        &["noatime", "rnoexec", "ro"],
    ];
    for options in lists {
        let mut b = c.bundle();
        b.user_namespace();
        for kind in ["network", "pid", "cgroup"] {
            b.without_namespace(kind);
        }
        for at in ["/sys", "/sys/fs/cgroup"] {
            b.unmount(at);
        }
        for field in ["maskedPaths", "readonlyPaths"] {
            b.set(&format!("/linux/{field}"), json!([]));
        }
        for (at, kind) in [("/sys", "sysfs"), ("/mnt/proc", "proc"), ("/mnt/cgroup", "cgroup")] {
            if kind != "sysfs" {
                fs::create_dir_all(b.rootfs(at)).unwrap();
            }
            b.mount(at, kind, kind, options);
        }
        let seen = c.see(&b);
        let wanted: Vec<&str> = options
            .iter()
            .map(|word| if *word == "ro" { word } else { word.strip_prefix('r').unwrap_or(word) })
            .filter(|word| ["ro", "nosuid", "nodev", "noexec"].contains(word))
            .collect();
        for top in ["/sys", "/mnt/proc", "/mnt/cgroup"] {
            let mounts = seen["mounts"].as_object().unwrap();
            let below: Vec<_> = mounts
                .iter()
                .filter(|(at, _)| *at == top || at.starts_with(&format!("{top}/")))
                .collect();
            // The host's cgroup tree is mounted in its sysfs.
            assert!(below.len() > usize::from(top == "/sys"), "{top}: {below:?}");
            for (at, mount) in below {
                let flags = mount["flags"].as_str().unwrap();
                for word in &wanted {
                    assert!(flags.split(',').any(|f| f == *word), "{options:?}: {at} {flags}");
                }
            }
        }
    }
}

/// As Docker and containerd send them for a read-only volume of a source that the host has
/// mounted with these.
fn locked_attributes_of_the_source_stay_beside_rro(c: &Case) {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_RELATIME;
    let source = tree(c, flags);
    for options in [
        vec!["rbind", "rro", "relatime"],
        vec!["rbind", "rprivate", "rro", "nosuid", "nodev", "relatime"],
        vec!["rbind", "rro", "nosuid", "nodev", "noexec"],
        vec!["rbind", "noexec", "rro"],
    ] {
        let mut b = c.bundle();
        b.user_namespace().mount("/mnt", "bind", &source.to_string_lossy(), &options);
        let seen = c.see(&b);
        for at in ["/mnt", "/mnt/sub"] {
            let flags = shown(seen["mounts"][at]["flags"].as_str().unwrap());
            let kept = ["ro", "nosuid", "nodev", "relatime"].iter().all(|f| flags.contains(f));
            assert!(kept, "{options:?} at {at}: {flags:?}");
        }
        b.sh("echo > /mnt/sub/x; echo > /mnt/x");
        assert_eq!(c.run(&b).err().matches("Read-only file system").count(), 2, "{options:?}");
    }
    sys::umount_detach(&source).unwrap();
}

fn bind_takes_no_rbind_back(c: &Case) {
    let source = tree(c, libc::MS_RELATIME);
    for options in [["rbind", "ro", "bind"], ["bind", "ro", "rbind"]] {
        let mut b = c.bundle();
        b.mount("/mnt", "bind", &source.to_string_lossy(), &options);
        assert!(c.see(&b)["mounts"]["/mnt/sub"].is_object(), "{options:?}");
    }
    sys::umount_detach(&source).unwrap();
}

fn the_same_propagation_twice_is_no_error(c: &Case) {
    let mut b = c.bundle();
    c.run(b.mount("/mnt", "tmpfs", "t", &["rslave", "ro", "rslave"])).ok();
    if c.is_rt() {
        let mut b = c.bundle();
        b.mount("/mnt", "tmpfs", "t", &["rslave", "slave"]);
        c.create(&b).fails("a second propagation type");
    }
}

/// Podman before 5.6.1 and others leave them in config.json (podman#26938).
fn words_for_engines_are_passed_over_on_a_bind(c: &Case) {
    fs::create_dir(c.path("volume")).unwrap();
    fs::write(c.path("volume/file"), "of the volume").unwrap();
    let bind = |kind: &str, words: &[&str]| {
        let mut b = c.bundle();
        b.mount("/mnt", kind, &c.path_str("volume"), words).args(&["/bin/cat", "/mnt/file"]);
        b
    };
    for word in [
        "nocopy",
        "copy",
        "volume-opt=type=tmpfs",
        "mode=777",
        "z",
        "Z",
        "U",
        "consistent",
        "delegated",
        "cached",
    ] {
        let out = c.run(&bind("bind", &[word, "rprivate", "nosuid", "rbind"])).ok();
        assert_eq!(out.out(), "of the volume");
        assert!(out.err().contains("is a word for engines, ignored"), "{word}: {}", out.err());
    }
    // What is only like them, and what would have kept writes from the host.
    for word in ["nocopy=1", "volume-opt", "O", "upperdir=/x"] {
        c.create(&bind("bind", &["rbind", word])).fails("unknown option for a bind mount");
    }
}
