//! The whole product of words, against a model of what mountinfo must show.

use super::*;
use crate::plan::options::word;

/// Words about the top alone; an `r` in front of them makes one about the tree.
const WORDS: &[&str] = &[
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

/// What a word is about, and the bit that it asks for there.
fn about(word: &str) -> (u64, u64) {
    match word {
        "ro" | "rw" => (attr::RDONLY, if word == "ro" { attr::RDONLY } else { 0 }),
        "nosuid" | "suid" => (attr::NOSUID, if word == "nosuid" { attr::NOSUID } else { 0 }),
        "nodev" | "dev" => (attr::NODEV, if word == "nodev" { attr::NODEV } else { 0 }),
        "noexec" | "exec" => (attr::NOEXEC, if word == "noexec" { attr::NOEXEC } else { 0 }),
        "nosymfollow" | "symfollow" => {
            (attr::NOSYMFOLLOW, if word == "nosymfollow" { attr::NOSYMFOLLOW } else { 0 })
        }
        "nodiratime" => (attr::NODIRATIME, attr::NODIRATIME),
        "diratime" => (attr::NODIRATIME, 0),
        "noatime" => (attr::ATIME, attr::NOATIME),
        "strictatime" => (attr::ATIME, attr::STRICTATIME),
        // relatime, and what says that the kernel's default is wanted.
        _ => (attr::ATIME, 0),
    }
}

/// The access time that plain words ask for: those that only take an earlier word back leave the
/// mount as it was.
fn plain_times(words: &[&str]) -> (Option<u64>, bool) {
    let (mut time, mut no_directories) = (None, false);
    for word in words {
        match *word {
            "noatime" => time = Some(attr::NOATIME),
            "strictatime" => time = Some(attr::STRICTATIME),
            "relatime" => time = Some(0),
            "atime" if time == Some(attr::NOATIME) => time = None,
            "nostrictatime" if time == Some(attr::STRICTATIME) => time = None,
            "norelatime" if time == Some(0) => time = None,
            "nodiratime" => no_directories = true,
            "diratime" => no_directories = false,
            _ => {}
        }
    }
    (time, no_directories)
}

/// What a mount below the top must have in the end.
fn expected_below(recursive: &[&str], start: u64) -> u64 {
    recursive.iter().fold(start, |flags, word| {
        let (mask, bit) = about(word);
        flags & !mask | bit
    })
}

/// What the top must have in the end.
fn expected_on_top(recursive: &[&str], plain: &[&str], start: u64) -> u64 {
    let decided = recursive.iter().fold(0, |all, word| all | about(word).0);
    let left: Vec<&str> =
        plain.iter().copied().filter(|word| about(word).0 & decided == 0).collect();
    let mut flags = start;
    if !plain.is_empty() {
        flags &= !PLAIN;
        for word in left.iter().filter(|word| about(word).0 & PLAIN != 0) {
            let (mask, bit) = about(word);
            flags = flags & !mask | bit;
        }
        match plain_times(&left) {
            (None, false) => {}
            (time, no_directories) => {
                let both = attr::ATIME | attr::NODIRATIME;
                let wanted = if no_directories { attr::NODIRATIME } else { 0 };
                // What the recursive words decide is set below.
                flags = flags & !(both & !decided) | (time.unwrap_or(0) | wanted) & !decided;
            }
        }
    }
    expected_below(recursive, flags)
}

/// mount_setattr(2), with the rule that it has for access times.
fn apply(flags: u64, attr: MountAttr, context: &[&str]) -> u64 {
    let time = attr.clear & attr::ATIME;
    assert!(time == 0 || time == attr::ATIME, "EINVAL of the kernel: {context:?}");
    assert!(attr.set & attr::ATIME == 0 || time != 0, "EINVAL of the kernel: {context:?}");
    flags & !attr.clear | attr.set
}

/// Top and what is below it, after what the child does with both.
fn applied(words: &[&str], subject: Subject, start: u64) -> (u64, u64) {
    let list: Vec<Word> = words.iter().map(|text| word(text).expect("a word")).collect();
    let asked = of(&list, subject);
    if subject == Subject::New {
        assert_eq!(asked.tree, MountAttr::default(), "fsmount(2) takes one set: {words:?}");
        return (asked.top.set, start);
    }
    let named = asked.tree.set | asked.tree.clear;
    assert_eq!((asked.top.set | asked.top.clear | asked.unnamed) & named, 0, "{words:?}");
    let (top, below) = (apply(start, asked.tree, words), apply(start, asked.tree, words));
    let of_top = MountAttr { clear: asked.top.clear | asked.unnamed, ..asked.top };
    (apply(top, of_top, words), below)
}

fn check(words: &[&str]) {
    let is_plain = |word: &&&str| WORDS.contains(word);
    let plain: Vec<&str> = words.iter().filter(is_plain).copied().collect();
    let recursive: Vec<&str> =
        words.iter().filter(|word| !is_plain(word)).map(|word| &word[1..]).collect();
    let fresh = applied(words, Subject::New, 0).0;
    assert_eq!(fresh, expected_on_top(&recursive, &plain, 0), "new: {words:?}");
    let times = attr::NODIRATIME | attr::NOATIME;
    for start in [0, PLAIN, PLAIN | times, times, attr::STRICTATIME | attr::NOSUID] {
        let top = expected_on_top(&recursive, &plain, start);
        let below = expected_below(&recursive, start);
        assert_eq!(applied(words, Subject::Tree, start), (top, below), "tree: {words:?}");
        assert_eq!(applied(words, Subject::Copy, start).0, top, "copy: {words:?}");
        for readonly in [false, true] {
            let (top, below) = applied(words, Subject::OfHost { readonly }, start);
            assert_eq!(top, below, "of the host: {words:?}");
            assert_eq!(start & !top, 0, "taken back: {words:?}");
            let asked = expected_on_top(&recursive, &plain, 0) & PLAIN;
            assert_eq!(asked & !top, 0, "forgotten: {words:?}");
            let says_rw = words.iter().any(|word| matches!(*word, "rw" | "rrw"));
            assert!(!readonly || says_rw || top & attr::RDONLY != 0, "writable: {words:?}");
        }
    }
}

/// Up to three words of both kinds in every order: all that can meet.
#[test]
fn every_list_of_three_words_means_what_the_model_says() {
    let all: Vec<String> =
        WORDS.iter().flat_map(|word| [(*word).to_owned(), format!("r{word}")]).collect();
    check(&[]);
    for first in &all {
        check(&[first]);
        for second in &all {
            check(&[first, second]);
            for third in &all {
                check(&[first, second, third]);
            }
        }
    }
}

#[test]
fn what_engines_write_beside_rro_leaves_it_alone() {
    for words in [
        ["rro", "nosuid", "nodev", "noexec"],
        ["nosuid", "noexec", "nodev", "rro"],
        ["rro", "relatime", "nosuid", "nodev"],
        ["rw", "rro", "nosuid", "nodev"],
    ] {
        for subject in [Subject::New, Subject::Copy, Subject::Tree] {
            let (top, below) = applied(&words, subject, 0);
            assert_eq!(top & attr::RDONLY, attr::RDONLY, "{words:?} {subject:?}");
            assert!(subject != Subject::Tree || below & attr::RDONLY != 0, "{words:?}");
        }
    }
}

#[test]
fn a_mount_that_stands_alone_is_changed_in_one_call() {
    let list = [word("rro"), word("nosuid"), word("rprivate")].map(|word| word.expect("a word"));
    assert_eq!(of(&list, Subject::Copy).tree, MountAttr::default());
    assert_eq!(of(&list, Subject::New).tree, MountAttr::default());
    let of_host = of(&list, Subject::OfHost { readonly: false });
    assert_eq!((of_host.top, of_host.unnamed), (MountAttr::default(), 0));
    assert_eq!(of_host.tree.propagation, libc::MS_PRIVATE);
}
