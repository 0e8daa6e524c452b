//! Links at the ends of a bind: `copy-symlink`, `src-nofollow`, `dest-nofollow` (crun(1)).

use crate::support::{Bundle, Case, Need};
use crate::tests;
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;

tests! {
    links_are_followed_without_a_word,
    copied_links_say_the_same: rt_only(),
    copied_links_do_not_lead_out_of_the_root: rt_only(),
    copied_links_take_the_place_of_nothing_else: rt_only(),
    what_is_no_link_is_mounted: rt_only(),
    links_are_copied_in_a_user_namespace: rt_only().needs(Need::UserNamespace),
    links_of_the_source_can_be_mounted: rt_only(),
    links_of_the_source_can_be_mounted_in_a_user_namespace: rt_only().needs(Need::UserNamespace),
    links_at_the_target_can_be_mounted_on: rt_only(),
    links_on_the_way_to_such_a_target_stay_inside: rt_only(),
    only_binds_have_links_at_their_ends: rt_only(),
    ordinary_users_have_links_too: rootless().rt_only(),
}

/// A file of the host and a link to it.
fn linked(c: &Case) -> (String, String) {
    let (file, link) = (c.path_str("file"), c.path_str("link"));
    fs::write(&file, "of the host\n").unwrap();
    symlink(&file, &link).unwrap();
    (file, link)
}

fn said(c: &Case, b: &mut Bundle, script: &str) -> String {
    c.run(b.sh(script)).ok().out()
}

fn links_are_followed_without_a_word(c: &Case) {
    let (_, link) = linked(c);
    let mut b = c.bundle();
    fs::write(b.rootfs("real"), "of the image\n").unwrap();
    symlink("/real", b.rootfs("target")).unwrap();
    b.mount("/mnt/file", "bind", &link, &["bind"]).mount("/target", "bind", &link, &["bind"]);
    let seen = said(c, &mut b, "cat /mnt/file /real; readlink /target");
    assert_eq!(seen, "of the host\nof the host\n/real\n");
}

fn copied_links_say_the_same(c: &Case) {
    let (file, link) = linked(c);
    let relative = c.path_str("relative");
    symlink("../no/where", &relative).unwrap();
    let mut b = c.bundle();
    // Directories that are missing are made, and links on the way followed inside.
    symlink("/etc", b.rootfs("conf")).unwrap();
    b.mount("/link", "bind", &link, &["bind", "copy-symlink"]);
    b.mount("/a/b/relative", "bind", &relative, &["rbind", "copy-symlink", "ro"]);
    b.mount("/conf/link", "bind", &link, &["bind", "copy-symlink", "src-nofollow"]);
    // The second time they are there already.
    for _ in 0..2 {
        let seen = said(c, &mut b, "readlink /link; readlink /a/b/relative; readlink /etc/link");
        assert_eq!(seen, format!("{file}\n../no/where\n{file}\n"));
    }
    assert!(!c.see(&b)["mounts"].to_string().contains("/link"), "nothing is mounted for them");
}

fn copied_links_do_not_lead_out_of_the_root(c: &Case) {
    let canary = c.canary("canary");
    let (_, link) = linked(c);
    let mut b = c.bundle();
    symlink(&canary.dir, b.rootfs("out")).unwrap();
    b.mount("/out/new", "bind", &link, &["bind", "copy-symlink"]);
    c.run(&b).ok();
    canary.untouched();
    let inside = b.rootfs(&canary.dir.join("new").to_string_lossy());
    assert!(fs::symlink_metadata(inside).unwrap().is_symlink());
}

fn copied_links_take_the_place_of_nothing_else(c: &Case) {
    let (_, link) = linked(c);
    let b = c.bundle();
    fs::write(b.rootfs("file"), "").unwrap();
    fs::create_dir(b.rootfs("directory")).unwrap();
    symlink("/another", b.rootfs("other")).unwrap();
    let options = json!(["bind", "copy-symlink"]);
    let index = b.config["mounts"].as_array().unwrap().len();
    for at in ["/file", "/directory", "/other", "/proc", "/proc/uptime"] {
        let mut b = b.clone();
        b.push("/mounts", json!({"destination": at, "source": link, "options": options}));
        let out = c.create(&b).fails(&format!("mounts[{index}].destination"));
        assert!(out.err().contains(&format!("at {at}")), "{}", out.err());
        c.nothing_left();
    }
}

fn what_is_no_link_is_mounted(c: &Case) {
    let (file, _) = linked(c);
    let mut b = c.bundle();
    b.mount("/mnt/file", "bind", &file, &["bind", "ro", "copy-symlink"]);
    assert_eq!(said(c, &mut b, "cat /mnt/file"), "of the host\n");
    assert!(c.see(&b)["mounts"]["/mnt/file"]["flags"].as_str().unwrap().starts_with("ro"));
    b.mount("/none", "bind", &c.path_str("none"), &["bind", "copy-symlink"]);
    c.create(&b).fails("no such file or directory");
    c.nothing_left();
}

fn links_are_copied_in_a_user_namespace(c: &Case) {
    let (file, link) = linked(c);
    let mut b = c.bundle();
    b.user_namespace().mount("/mnt/new", "bind", &link, &["bind", "copy-symlink"]);
    assert_eq!(said(c, &mut b, "readlink /mnt/new"), format!("{file}\n"));
    b.args(&["/probe", "stat", "/mnt"]);
    assert!(c.run(&b).ok().out().contains(" 0 0 "), "of root in there");
}

/// What the link says counts in the container, and nothing of the host is to be seen by it.
fn links_of_the_source_can_be_mounted(c: &Case) {
    let (file, link) = linked(c);
    for word in ["bind", "rbind"] {
        let mut b = c.named_bundle(word);
        b.mount("/mnt/link", "bind", &link, &[word, "src-nofollow"]);
        let seen = said(c, &mut b, "readlink /mnt/link; cat /mnt/link || echo none");
        assert_eq!(seen, format!("{file}\nnone\n"));
        let mut inside = b.rootfs(&file);
        fs::create_dir_all(inside.parent().unwrap()).unwrap();
        fs::write(&inside, "of the image\n").unwrap();
        assert_eq!(said(c, &mut b, "cat /mnt/link"), "of the image\n");
        let mounted = c.see(&b)["mounts"]["/mnt/link"]["root"].clone();
        assert!(mounted.as_str().unwrap().ends_with("/link"), "{mounted}");
        // One to nowhere is there as well.
        inside = c.path(&format!("nowhere-{word}"));
        symlink("/no/where", &inside).unwrap();
        let nowhere = inside.to_string_lossy();
        b.mount("/mnt/nowhere", "bind", &nowhere, &[word, "src-nofollow"]);
        assert_eq!(said(c, &mut b, "readlink /mnt/nowhere"), "/no/where\n");
        // With everything else it is a bind as any.
        b.mount("/mnt/file", "bind", &file, &[word, "src-nofollow"]);
        assert_eq!(said(c, &mut b, "cat /mnt/file"), "of the host\n");
    }
}

fn links_of_the_source_can_be_mounted_in_a_user_namespace(c: &Case) {
    let (file, link) = linked(c);
    let mut b = c.bundle();
    b.user_namespace().mount("/mnt/link", "bind", &link, &["bind", "src-nofollow"]);
    assert_eq!(said(c, &mut b, "readlink /mnt/link"), format!("{file}\n"));
}

fn links_at_the_target_can_be_mounted_on(c: &Case) {
    let (file, link) = linked(c);
    let mut b = c.bundle();
    fs::write(b.rootfs("real"), "of the image\n").unwrap();
    for name in ["one", "two", "three"] {
        symlink("/real", b.rootfs(name)).unwrap();
    }
    b.mount("/one", "bind", &file, &["bind", "dest-nofollow"]);
    b.mount("/two", "bind", &link, &["bind", "src-nofollow", "dest-nofollow"]);
    b.mount("/deep/er/new", "bind", &file, &["bind", "dest-nofollow"]);
    let seen = said(c, &mut b, "cat /one /real /three /deep/er/new; readlink /two");
    let (host, image) = ("of the host\n", "of the image\n");
    assert_eq!(seen, format!("{host}{image}{image}{host}{file}\n"));
    b.mount("/three", "bind", &c.dir.to_string_lossy(), &["bind", "dest-nofollow"]);
    c.create(&b).fails("one of source and target is a directory");
    c.nothing_left();
}

fn links_on_the_way_to_such_a_target_stay_inside(c: &Case) {
    let (file, _) = linked(c);
    let canary = c.canary("canary");
    let mut b = c.bundle();
    symlink(&canary.dir, b.rootfs("out")).unwrap();
    fs::create_dir(b.rootfs("to")).unwrap();
    symlink("/to", b.rootfs("way")).unwrap();
    symlink("/no/where", b.rootfs("to/link")).unwrap();
    b.mount("/out/file", "bind", &file, &["bind", "dest-nofollow"]);
    b.mount("/way/link", "bind", &file, &["bind", "dest-nofollow"]);
    b.mount("/way/new/file", "bind", &file, &["bind", "dest-nofollow"]);
    assert_eq!(said(c, &mut b, "cat /to/link /to/new/file"), "of the host\n".repeat(2));
    canary.untouched();
}

fn only_binds_have_links_at_their_ends(c: &Case) {
    for word in ["copy-symlink", "src-nofollow", "dest-nofollow"] {
        let mut b = c.bundle();
        b.mount("/mnt/new", "tmpfs", "t", &["size=1m", word]);
        b.mount("/mnt/two", "bind", "/", &["bind"]);
        b.mount("/mnt/two", "bind", "/", &["remount", "bind", word]);
        let out = c.create(&b).fails("only a new bind mount has links at its ends");
        let (first, last) = (out.err().contains("options[1]"), out.err().contains("options[2]"));
        assert!(first && last, "{}", out.err());
        c.nothing_left();
    }
}

fn ordinary_users_have_links_too(c: &Case) {
    let (file, link) = linked(c);
    let mut b = c.bundle();
    fs::write(b.rootfs("real"), "of the image\n").unwrap();
    symlink("/real", b.rootfs("target")).unwrap();
    b.mount("/mnt/copy", "bind", &link, &["bind", "copy-symlink"]);
    b.mount("/mnt/link", "bind", &link, &["bind", "src-nofollow"]);
    b.mount("/target", "bind", &file, &["bind", "dest-nofollow"]);
    let seen = said(c, &mut b, "readlink /mnt/copy; readlink /mnt/link; cat /target /real");
    assert_eq!(seen, format!("{file}\n{file}\nof the host\nof the image\n"));
}
