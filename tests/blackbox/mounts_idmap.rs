//! Idmapped mounts: `idmap`, `ridmap`, `uidMappings`, `gidMappings`.

use crate::support::{Bundle, Case, Need, sys};
use crate::tests;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

tests! {
    mappings_of_a_mount_change_its_owners: rt_only().needs(Need::UserNamespace),
    mappings_of_a_mount_meet_those_of_the_container: rt_only().needs(Need::UserNamespace),
    idmap_without_mappings_takes_those_of_the_container: rt_only().needs(Need::UserNamespace),
    idmap_takes_the_mappings_of_a_joined_user_namespace: rt_only().needs(Need::UserNamespace),
    many_lines_and_different_mappings_work: rt_only().needs(Need::UserNamespace),
    what_is_written_gets_the_mapped_owner: rt_only().needs(Need::UserNamespace),
    idmap_stops_at_submounts_and_ridmap_does_not: rt_only().needs(Need::UserNamespace),
    idmapped_mounts_take_other_options_too: rt_only().needs(Need::UserNamespace),
    a_file_can_be_idmapped: rt_only().needs(Need::UserNamespace),
    idmap_may_bring_its_mappings_along: rt_only().needs(Need::UserNamespace),
    mappings_of_idmap_may_count_from_the_container: rt_only().needs(Need::UserNamespace),
    mappings_of_idmap_that_cannot_be_read_are_refused: rt_only(),
    idmap_without_any_mapping_is_refused: rt_only(),
    half_a_mapping_is_refused: rt_only(),
    only_binds_can_be_idmapped: rt_only(),
    a_file_system_that_cannot_be_idmapped_is_named: rt_only().needs(Need::UserNamespace),
    an_ordinary_user_cannot_idmap: rootless().rt_only(),
}

/// A directory with files of several owners.
fn source(c: &Case) -> String {
    let dir = c.path("source");
    fs::create_dir_all(&dir).unwrap();
    for (name, uid, gid) in [("root", 0, 0), ("foo", 100, 211), ("bar", 101, 222)] {
        fs::write(dir.join(name), name).unwrap();
        chown(dir.join(name), Some(uid), Some(gid)).unwrap();
    }
    dir.to_string_lossy().into_owned()
}

fn map(container: u32, host: u32, size: u32) -> Value {
    json!([{"containerID": container, "hostID": host, "size": size}])
}

fn idmapped(b: &mut Bundle, at: &str, source: &str, options: &[&str], uids: Value, gids: Value) {
    b.push(
        "/mounts",
        json!({"destination": at, "source": source, "options": options,
            "uidMappings": uids, "gidMappings": gids}),
    );
}

/// `uid gid` of each path.
#[track_caller]
fn owners(c: &Case, b: &mut Bundle, paths: &[&str]) -> Vec<String> {
    let mut args = vec!["/probe", "stat"];
    args.extend(paths);
    let out = c.run(b.args(&args)).ok().out();
    let ids = |line: &str| line.split(' ').skip(1).take(2).collect::<Vec<_>>().join(" ");
    out.lines().map(ids).collect()
}

fn mappings_of_a_mount_change_its_owners(c: &Case) {
    let (mut b, dir) = (c.bundle(), source(c));
    let wide = || map(0, 100_000, 65_536);
    idmapped(&mut b, "/mnt", &dir, &["bind"], wide(), wide());
    b.mount("/tmp", "none", &dir, &["bind"]);
    let seen = owners(c, &mut b, &["/mnt/root", "/mnt/foo", "/tmp/foo"]);
    assert_eq!(seen, ["100000 100000", "100100 100211", "100 211"]);
    assert_eq!(fs::metadata(format!("{dir}/foo")).unwrap().uid(), 100, "the source is as it was");
}

fn mappings_of_a_mount_meet_those_of_the_container(c: &Case) {
    let (mut b, dir) = (c.bundle(), source(c));
    b.user_namespace();
    idmapped(&mut b, "/mnt", &dir, &["bind", "idmap"], map(100, 101_100, 3), map(200, 101_900, 50));
    b.mount("/tmp", "none", &dir, &["bind"]);
    let seen = owners(c, &mut b, &["/mnt/foo", "/mnt/bar", "/tmp/foo"]);
    assert_eq!(seen, ["1100 1911", "1101 1922", "65534 65534"]);
}

fn idmap_without_mappings_takes_those_of_the_container(c: &Case) {
    let (mut b, dir) = (c.bundle(), source(c));
    b.user_namespace().mount("/mnt", "none", &dir, &["rbind", "idmap"]);
    assert_eq!(owners(c, &mut b, &["/mnt/root", "/mnt/foo"]), ["0 0", "100 211"]);
}

fn idmap_takes_the_mappings_of_a_joined_user_namespace(c: &Case) {
    let mut first = c.bundle();
    c.up(first.user_namespace().args(&["/probe", "sleep"]));
    let namespace = format!("/proc/{}/ns/user", c.pid());
    let (mut b, dir) = (c.named_bundle("second"), source(c));
    b.user_namespace().namespace("user", Some(&namespace));
    b.remove("/linux/uidMappings").remove("/linux/gidMappings");
    b.set("/linux/cgroupsPath", json!(c.cgroups_path("second")));
    b.mount("/mnt", "none", &dir, &["rbind", "idmap"]).args(&["/probe", "stat", "/mnt/foo"]);
    let out = c.rt(&["run", "-b", &b.save(), "second"]).ok().out();
    assert!(out.contains(" 100 211 "), "{out}");
    c.down();
}

fn many_lines_and_different_mappings_work(c: &Case) {
    let (mut b, dir) = (c.bundle(), source(c));
    let lines = |first: u32, host: u32| {
        let line = |n| json!({"containerID": first + n, "hostID": host + 1000 * n, "size": 1});
        Value::Array((0..300).map(line).collect())
    };
    idmapped(&mut b, "/mnt", &dir, &["bind"], lines(100, 5000), lines(211, 9000));
    idmapped(&mut b, "/tmp", &dir, &["bind"], map(100, 1, 2), map(200, 7000, 100));
    let seen = owners(c, &mut b, &["/mnt/foo", "/mnt/bar", "/tmp/foo", "/tmp/bar"]);
    assert_eq!(seen, ["5000 9000", "6000 20000", "1 7011", "2 7022"]);
}

fn what_is_written_gets_the_mapped_owner(c: &Case) {
    let (mut b, dir) = (c.bundle(), source(c));
    b.user_namespace().mount("/mnt", "none", &dir, &["rbind", "idmap"]).sh("echo x > /mnt/new");
    c.run(&b).ok();
    let made = fs::metadata(format!("{dir}/new")).unwrap();
    assert_eq!((made.uid(), made.gid()), (0, 0), "not 100000");
}

fn idmap_stops_at_submounts_and_ridmap_does_not(c: &Case) {
    let (mut b, dir) = (c.bundle(), source(c));
    let sub = c.path("source/sub");
    fs::create_dir(&sub).unwrap();
    sys::mount("sub", &sub, "tmpfs", 0, "").unwrap();
    fs::write(sub.join("deep"), "").unwrap();
    chown(sub.join("deep"), Some(101), Some(222)).unwrap();
    let ids = || map(0, 5000, 1000);
    idmapped(&mut b, "/mnt", &dir, &["rbind"], ids(), ids());
    idmapped(&mut b, "/tmp", &dir, &["rbind", "ridmap"], ids(), ids());
    let paths = ["/mnt/foo", "/mnt/sub/deep", "/tmp/foo", "/tmp/sub/deep"];
    let expected = ["5100 5211", "101 222", "5100 5211", "5101 5222"];
    assert_eq!(owners(c, &mut b, &paths), expected);
    sys::umount_detach(&sub).unwrap();
}

fn idmapped_mounts_take_other_options_too(c: &Case) {
    let (mut b, dir) = (c.bundle(), source(c));
    let options = ["bind", "ro", "nosuid", "shared"];
    idmapped(&mut b, "mnt", &dir, &options, map(0, 5000, 1000), map(0, 5000, 1000));
    let mount = c.see(&b)["mounts"]["/mnt"].clone();
    let flags = mount["flags"].as_str().unwrap();
    assert!(["ro", "nosuid", "idmapped"].iter().all(|f| flags.contains(f)), "{mount}");
    assert!(mount["propagation"].as_str().unwrap().starts_with("shared:"), "{mount}");
}

fn a_file_can_be_idmapped(c: &Case) {
    let (mut b, dir) = (c.bundle(), source(c));
    let file = format!("{dir}/foo");
    idmapped(&mut b, "/etc/foo", &file, &["bind"], map(100, 1, 1), map(211, 2, 1));
    assert_eq!(owners(c, &mut b, &["/etc/foo"]), ["1 2"]);
}

/// As crun(1) has it, for engines that have no field for the mappings.
fn idmap_may_bring_its_mappings_along(c: &Case) {
    let (mut b, dir) = (c.bundle(), source(c));
    b.mount("/mnt", "none", &dir, &["bind", "idmap=uids=0-5000-10#100-1-2;gids=0-0-1#211-2-20"]);
    b.mount("/tmp", "none", &dir, &["rbind", "ridmap=gids=211-7-1;uids=100-8-1"]);
    let seen = owners(c, &mut b, &["/mnt/root", "/mnt/foo", "/mnt/bar", "/tmp/foo"]);
    assert_eq!(seen, ["5000 0", "1 2", "2 13", "8 7"]);
}

/// `@`: the id behind it is one of the container's.
fn mappings_of_idmap_may_count_from_the_container(c: &Case) {
    let (mut b, dir) = (c.bundle(), source(c));
    b.user_namespace().mount("/mnt", "none", &dir, &["bind", "idmap=uids=@100-7-2;gids=@211-8-20"]);
    assert_eq!(owners(c, &mut b, &["/mnt/foo", "/mnt/bar"]), ["7 8", "8 19"]);
    // Two ranges of the container: those from 0 and from 10 on, in another order on the host.
    let two = json!([{"containerID": 0, "hostID": 200_000, "size": 10},
        {"containerID": 10, "hostID": 100_000, "size": 65_000}]);
    b.set("/linux/uidMappings", two.clone()).set("/linux/gidMappings", two);
    b.config["mounts"].as_array_mut().unwrap().pop();
    b.mount("/mnt", "none", &dir, &["bind", "idmap=uids=@100-9-2;gids=@211-8-20"]);
    assert_eq!(owners(c, &mut b, &["/mnt/foo", "/mnt/bar"]), ["9 8", "10 19"]);
}

fn mappings_of_idmap_that_cannot_be_read_are_refused(c: &Case) {
    for (word, why) in [
        ("idmap=", "must be uids= or gids="),
        ("idmap=uids=0-1-1", "gids= is missing"),
        ("idmap=gids=0-1-1", "uids= is missing"),
        ("idmap=uids=0-1;gids=0-1-1", "ranges of three numbers"),
        ("idmap=uids=0-1-1#;gids=0-1-1", "ranges of three numbers"),
        ("idmap=uids=0-1-0;gids=0-1-1", "must be at least 1"),
        ("idmap=uids=0-1-2#1-5-1;gids=0-1-1", "overlaps"),
        ("idmap=uids=@0-1-1;gids=0-1-1", "from which @ counts"),
        ("idmap=uids=0-1-1;gids=0-1-1;sids=0-1-1", "must be uids= or gids="),
    ] {
        let mut b = c.bundle();
        b.mount("/mnt", "none", "/", &["bind", word]);
        let out = c.create(&b).fails(why);
        assert!(out.err().contains("options[1]"), "{}", out.err());
        c.nothing_left();
    }
    let mut b = c.bundle();
    idmapped(
        &mut b,
        "/mnt",
        "/",
        &["bind", "idmap=uids=0-1-1;gids=0-1-1"],
        map(0, 1, 1),
        map(0, 1, 1),
    );
    c.create(&b).fails("there are uidMappings or gidMappings as well");
    let mut b = c.bundle();
    b.mount("/mnt", "tmpfs", "t", &["idmap=uids=0-1-1;gids=0-1-1"]);
    c.create(&b).fails("only a new bind mount can be idmapped");
    c.nothing_left();
}

fn idmap_without_any_mapping_is_refused(c: &Case) {
    for word in ["idmap", "ridmap"] {
        let mut b = c.bundle();
        b.mount("/mnt", "none", "/", &["rbind", word]);
        let out = c.create(&b).fails("needs uidMappings and gidMappings, or a user namespace");
        assert!(out.err().contains("options[1]"), "{}", out.err());
        c.nothing_left();
    }
}

fn half_a_mapping_is_refused(c: &Case) {
    for (given, missing) in [("uidMappings", "gidMappings"), ("gidMappings", "uidMappings")] {
        let mut b = c.bundle();
        b.push(
            "/mounts",
            json!({"destination": "/mnt", "source": "/", "options": ["bind"], given: map(0, 1, 1)}),
        );
        let out = c.create(&b).fails(&format!("{missing}: missing"));
        assert!(out.err().contains(&format!("{given} need it")), "{}", out.err());
    }
    let mut b = c.bundle();
    idmapped(&mut b, "/mnt", "/", &["bind"], map(0, 1, 0), map(0, 1, 1));
    c.create(&b).fails("uidMappings[0].size");
    c.nothing_left();
}

fn only_binds_can_be_idmapped(c: &Case) {
    let mut b = c.bundle();
    b.push(
        "/mounts",
        json!({"destination": "/mnt", "type": "tmpfs", "source": "t",
            "uidMappings": map(0, 1, 1), "gidMappings": map(0, 1, 1)}),
    );
    c.create(&b).fails("only a new bind mount can be idmapped");
    c.nothing_left();
}

fn a_file_system_that_cannot_be_idmapped_is_named(c: &Case) {
    let mut b = c.bundle();
    idmapped(&mut b, "/mnt", "/proc/sys", &["bind"], map(0, 1, 1), map(0, 1, 1));
    c.create(&b).fails("may not support idmapped mounts");
    c.nothing_left();
}

fn an_ordinary_user_cannot_idmap(c: &Case) {
    let (mut b, dir) = (c.bundle(), c.path_str("files"));
    fs::create_dir_all(&dir).unwrap();
    b.mount("/mnt", "none", &dir, &["bind", "idmap"]);
    c.create(&b).fails("only root may make an idmapped mount");
    c.nothing_left();
}
