//! The words in `mounts[].options`: what each means to the mount API.

use crate::sys::mount::attr;

/// What one option word asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Mount attributes to set and to clear, on the mount or (recursively) on its tree.
    Attr {
        /// Attributes to set.
        set: u64,
        /// Attributes to clear.
        clear: u64,
        /// Whether the whole tree is meant.
        recursive: bool,
    },
    /// A propagation type: `MS_SHARED` and its like.
    Propagation {
        /// The type.
        kind: u64,
        /// Whether the whole tree is meant.
        recursive: bool,
    },
    /// A copy of another mount.
    Bind {
        /// With everything mounted below it.
        recursive: bool,
    },
    /// Takes back attributes that an earlier word has set, and asks for no other ones.
    TakeBack(u64),
    /// A flag of the superblock.
    Superblock {
        /// `MS_*` to set.
        set: u64,
        /// `MS_*` to clear.
        clear: u64,
        /// fsconfig(2) knows it by this very word.
        by_name: bool,
    },
    /// Asks for nothing.
    Nothing,
    /// Contents of the covered directory are copied into the tmpfs.
    TmpCopyUp,
    /// An idmapped mount.
    IdMap {
        /// The whole tree.
        recursive: bool,
    },
    /// What becomes of a symbolic link at one end of a bind (crun(1)).
    Link(LinkWord),
    /// Changes an existing mount instead of making one.
    Remount,
}

/// A word about symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkWord {
    /// A source that is a link is made again at the destination, and not mounted.
    Copy,
    /// A source that is a link is mounted itself.
    OfSource,
    /// A destination that is a link is mounted on itself.
    OfTarget,
}

const fn attr(set: u64, clear: u64) -> Word {
    Word::Attr { set, clear, recursive: false }
}

const fn superblock(set: u64, clear: u64) -> Word {
    Word::Superblock { set, clear, by_name: true }
}

/// Flags that only mount(2) can set; nothing else sets them, so there is none to clear.
const fn old_superblock(set: u64, clear: u64) -> Word {
    Word::Superblock { set, clear, by_name: false }
}

const fn propagation(kind: u64, recursive: bool) -> Word {
    Word::Propagation { kind, recursive }
}

/// Every known word, in the order of the spec's table. An access time is one of three
/// values below a mask, so setting one clears the mask first. `atime` and the like say "as
/// the kernel has it by default": a copied mount keeps what it has, as with mount(8).
#[rustfmt::skip]
const WORDS: &[(&str, Word)] = &[
    ("async",         superblock(0, libc::MS_SYNCHRONOUS)),
    ("atime",         Word::TakeBack(attr::NOATIME)),
    ("bind",          Word::Bind { recursive: false }),
    ("copy-symlink",  Word::Link(LinkWord::Copy)),
    ("defaults",      Word::Nothing),
    ("dest-nofollow", Word::Link(LinkWord::OfTarget)),
    ("dev",           attr(0, attr::NODEV)),
    ("diratime",      Word::TakeBack(attr::NODIRATIME)),
    ("dirsync",       superblock(libc::MS_DIRSYNC, 0)),
    ("exec",          attr(0, attr::NOEXEC)),
    ("iversion",      old_superblock(libc::MS_I_VERSION, 0)),
    ("lazytime",      superblock(libc::MS_LAZYTIME, 0)),
    ("loud",          old_superblock(0, libc::MS_SILENT)),
    ("mand",          superblock(libc::MS_MANDLOCK, 0)),
    ("noatime",       attr(attr::NOATIME, attr::ATIME)),
    ("nodev",         attr(attr::NODEV, 0)),
    ("nodiratime",    attr(attr::NODIRATIME, 0)),
    ("noexec",        attr(attr::NOEXEC, 0)),
    ("noiversion",    old_superblock(0, libc::MS_I_VERSION)),
    ("nolazytime",    superblock(0, libc::MS_LAZYTIME)),
    ("nomand",        superblock(0, libc::MS_MANDLOCK)),
    ("norelatime",    Word::TakeBack(0)),
    ("nostrictatime", Word::TakeBack(attr::STRICTATIME)),
    ("nosuid",        attr(attr::NOSUID, 0)),
    ("nosymfollow",   attr(attr::NOSYMFOLLOW, 0)),
    ("private",       propagation(libc::MS_PRIVATE, false)),
    ("rbind",         Word::Bind { recursive: true }),
    ("relatime",      attr(0, attr::ATIME)),
    ("remount",       Word::Remount),
    ("ro",            attr(attr::RDONLY, 0)),
    ("rprivate",      propagation(libc::MS_PRIVATE, true)),
    ("rshared",       propagation(libc::MS_SHARED, true)),
    ("rslave",        propagation(libc::MS_SLAVE, true)),
    ("runbindable",   propagation(libc::MS_UNBINDABLE, true)),
    ("rw",            attr(0, attr::RDONLY)),
    ("shared",        propagation(libc::MS_SHARED, false)),
    ("silent",        old_superblock(libc::MS_SILENT, 0)),
    ("slave",         propagation(libc::MS_SLAVE, false)),
    ("src-nofollow",  Word::Link(LinkWord::OfSource)),
    ("strictatime",   attr(attr::STRICTATIME, attr::ATIME)),
    ("suid",          attr(0, attr::NOSUID)),
    ("symfollow",     attr(0, attr::NOSYMFOLLOW)),
    ("sync",          superblock(libc::MS_SYNCHRONOUS, 0)),
    ("tmpcopyup",     Word::TmpCopyUp),
    ("unbindable",    propagation(libc::MS_UNBINDABLE, false)),
    ("idmap",         Word::IdMap { recursive: false }),
    ("ridmap",        Word::IdMap { recursive: true }),
];

/// The attribute words that have a recursive form with an `r` in front.
const RECURSIVE: &[&str] = &[
    "atime",
    "dev",
    "diratime",
    "exec",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "relatime",
    "ro",
    "rw",
    "strictatime",
    "suid",
    "symfollow",
];

/// Words that engines leave among the options of a bind, and have done themselves what they
/// ask for: nothing is lost where they are passed over. Of Docker's and Podman's volumes
/// (podman-run(1), `--volume`); `mode=` is of the tmpfs that a bind once was.
const OF_ENGINES: &[&str] =
    &["U", "Z", "cached", "consistent", "copy", "delegated", "mode", "nocopy", "volume-opt", "z"];

/// Whether an engine has already done what an option of a bind asks for; `key` is what stands
/// in front of its `=`.
pub fn is_of_engines(key: &str, has_value: bool) -> bool {
    OF_ENGINES.contains(&key) && has_value == matches!(key, "mode" | "volume-opt")
}

/// What a word means, or `None` for what only the file system itself may know.
pub fn word(text: &str) -> Option<Word> {
    if let Some((_, word)) = WORDS.iter().find(|(name, _)| *name == text) {
        return Some(*word);
    }
    let plain = text.strip_prefix('r').filter(|plain| RECURSIVE.contains(plain))?;
    let (set, clear) = match (plain, word(plain)?) {
        (_, Word::Attr { set, clear, .. }) => (set, clear),
        ("diratime", Word::TakeBack(_)) => (0, attr::NODIRATIME),
        // The kernel's default is relatime.
        (_, Word::TakeBack(_)) => (0, attr::ATIME),
        _ => return None,
    };
    Some(Word::Attr { set, clear, recursive: true })
}

/// All words, for `rt features`.
pub fn words() -> Vec<String> {
    let mut words: Vec<String> = WORDS.iter().map(|(name, _)| (*name).to_owned()).collect();
    words.extend(RECURSIVE.iter().map(|name| format!("r{name}")));
    words.sort();
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_engines_have_a_value_or_none() {
        assert!(is_of_engines("nocopy", false) && is_of_engines("volume-opt", true));
        assert!(!is_of_engines("nocopy", true) && !is_of_engines("volume-opt", false));
        // An overlay over the source: writes would reach the host without it.
        assert!(!is_of_engines("O", false) && !is_of_engines("size", true));
    }

    #[test]
    fn recursive_words_mean_the_same_for_the_tree() {
        assert_eq!(word("rro"), Some(Word::Attr { set: attr::RDONLY, clear: 0, recursive: true }));
        assert_eq!(
            word("rstrictatime"),
            Some(Word::Attr { set: attr::STRICTATIME, clear: attr::ATIME, recursive: true })
        );
        // Not the recursive form of `elatime`, nor of `bind`.
        assert_eq!(word("relatime"), Some(attr(0, attr::ATIME)));
        assert_eq!(word("rbind"), Some(Word::Bind { recursive: true }));
        assert_eq!(word("rasync"), None);
        assert_eq!(word("size=1m"), None);
    }
}
