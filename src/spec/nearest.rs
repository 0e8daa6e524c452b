//! Which word was meant.

#![forbid(unsafe_code)]

/// What people write who have another tool in mind, and what is meant where the second word is
/// one of the known ones.
const SYNONYMS: &[(&str, &str, &str)] = &[
    // The members of the document, one level too high.
    ("args", "process", "process.args"),
    ("capabilities", "process", "process.capabilities"),
    ("cgroupsPath", "linux", "linux.cgroupsPath"),
    ("cwd", "process", "process.cwd"),
    ("devices", "hooks", "linux.devices"),
    ("env", "process", "process.env"),
    ("gidMappings", "hooks", "linux.gidMappings"),
    ("maskedPaths", "hooks", "linux.maskedPaths"),
    ("namespaces", "hooks", "linux.namespaces"),
    ("noNewPrivileges", "process", "process.noNewPrivileges"),
    ("readonlyPaths", "hooks", "linux.readonlyPaths"),
    ("resources", "hooks", "linux.resources"),
    ("rlimits", "process", "process.rlimits"),
    ("seccomp", "hooks", "linux.seccomp"),
    ("sysctl", "hooks", "linux.sysctl"),
    ("uidMappings", "hooks", "linux.uidMappings"),
    ("user", "process", "process.user"),
    // Other names for the same.
    ("apparmor", "apparmorProfile", "apparmorProfile"),
    ("caps", "capabilities", "capabilities"),
    ("cmd", "args", "args"),
    ("cmdline", "args", "args"),
    ("command", "args", "args"),
    ("container_id", "containerID", "containerID"),
    ("dest", "destination", "destination"),
    ("directory", "cwd", "cwd"),
    ("dst", "destination", "destination"),
    ("entrypoint", "args", "args"),
    ("environment", "env", "env"),
    ("environ", "env", "env"),
    ("from", "source", "source"),
    ("group", "gid", "gid"),
    ("groups", "additionalGids", "additionalGids"),
    ("host_id", "hostID", "hostID"),
    ("hugetlb", "hugepageLimits", "hugepageLimits"),
    ("io", "blockIO", "blockIO"),
    ("max", "limit", "limit"),
    ("mnt", "mount", "mount"),
    ("net", "network", "network"),
    ("opts", "options", "options"),
    ("privileged", "capabilities", "capabilities"),
    ("read_only", "readonly", "readonly"),
    ("rootfs", "path", "path"),
    ("rootfs", "root", "root"),
    ("securityLabel", "selinuxLabel", "selinuxLabel"),
    ("src", "source", "source"),
    ("sysctls", "sysctl", "sysctl"),
    ("target", "destination", "destination"),
    ("tty", "terminal", "terminal"),
    ("ulimits", "rlimits", "rlimits"),
    ("username", "uid", "uid"),
    ("userns", "namespaces", "namespaces"),
    ("volumes", "mounts", "mounts"),
    ("workdir", "cwd", "cwd"),
    ("working_dir", "cwd", "cwd"),
    ("workingDir", "cwd", "cwd"),
];

/// The known word that was most likely meant by `word`: the same in another case, a synonym,
/// one that ends in it (`nofile` for `RLIMIT_NOFILE`), or one that is a slip of the hand away:
/// one slip from three letters on, two from six.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    if let Some(same) = same_but_for_case(word, known) {
        return Some(same);
    }
    let synonyms = || SYNONYMS.iter().filter(|(_, needs, _)| known.contains(needs));
    if let Some((_, _, meant)) = synonyms().find(|(name, ..)| name.eq_ignore_ascii_case(word)) {
        return Some(meant);
    }
    if let Some(longer) = known.iter().find(|candidate| ends_in(candidate, word)) {
        return Some(longer);
    }
    let near = known.iter().filter_map(|candidate| Some((slips(word, candidate)?, *candidate)));
    let near_synonym = || {
        let near = synonyms().filter_map(|(name, _, meant)| Some((slips(word, name)?, *meant)));
        near.min()
    };
    near.min().or_else(near_synonym).map(|(_, candidate)| candidate)
}

/// Whether `word` is what comes after an underscore in a longer one.
fn ends_in(longer: &str, word: &str) -> bool {
    let split = longer.len().checked_sub(word.len()).filter(|_| word.len() > 1);
    let parts = split.and_then(|split| longer.split_at_checked(split));
    parts.is_some_and(|(head, tail)| head.ends_with('_') && tail.eq_ignore_ascii_case(word))
}

/// How many slips of the hand lead from one to the other, if those are few for their length.
fn slips(word: &str, known: &str) -> Option<usize> {
    let allowed = slips_allowed(word.len(), known.len())?;
    let [word, known] = [word, known].map(str::to_ascii_lowercase);
    Some(distance(word.as_bytes(), known.as_bytes())).filter(|slips| *slips <= allowed)
}

/// A known word that differs only in case.
pub fn same_but_for_case<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    known.iter().find(|candidate| candidate.eq_ignore_ascii_case(word)).copied()
}

/// How many slips may lie between two words of these lengths; none between short or very
/// different ones.
fn slips_allowed(word: usize, known: usize) -> Option<usize> {
    match (word.min(known), known, word.max(known)) {
        (_, _, 65..) => None,
        (shorter, _, longer) if longer - shorter > 2 => None,
        (6.., ..) => Some(2),
        (2.., 3.., _) => Some(1),
        _ => None,
    }
}

/// How many bytes must be added, removed, replaced, or swapped with their neighbour to get from
/// `a` to `b` (optimal string alignment).
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, byte) in a.iter().enumerate() {
        let mut next = vec![line + 1];
        for (column, other) in b.iter().enumerate() {
            let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX);
            let replaced = at(&row, column) + usize::from(byte != other);
            let mut least = replaced.min(at(&row, column + 1) + 1).min(at(&next, column) + 1);
            if let (Some(line), Some(column)) = (line.checked_sub(1), column.checked_sub(1))
                && a.get(line) == Some(other)
                && b.get(column) == Some(byte)
            {
                least = least.min(at(&before, column) + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] =
        &["process", "noNewPrivileges", "linux", "cpu", "seccomp", "env", "args", "id"];

    #[test]
    fn near_words() {
        for (word, meant) in [
            ("Process", Some("process")),
            ("noNewPriviledges", Some("noNewPrivileges")),
            ("nonewprivileges", Some("noNewPrivileges")),
            ("noNewPrivilege", Some("noNewPrivileges")),
            ("seccopm", Some("seccomp")),
            ("LINUX", Some("linux")),
            ("linus", Some("linux")),
            ("cpus", Some("cpu")),
            ("cup", Some("cpu")),
            ("Envs", Some("env")),
            ("ev", Some("env")),
            ("enviroment", Some("env")),
            ("command", Some("args")),
            ("CMD", Some("args")),
            ("environment", Some("env")),
            ("workdir", None),
            ("capabilities", Some("process.capabilities")),
            ("ids", None),
            ("linuxes", None),
            ("org.example", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, KNOWN), meant, "{word}");
        }
    }

    #[test]
    fn the_end_of_a_word_is_enough() {
        const WORDS: &[&str] = &["RLIMIT_NOFILE", "RLIMIT_NPROC", "SCMP_ACT_ALLOW"];
        for (word, meant) in [
            ("nofile", Some("RLIMIT_NOFILE")),
            ("ALLOW", Some("SCMP_ACT_ALLOW")),
            ("SCMP_ALLOW", None),
            ("file", None),
            ("é", None),
        ] {
            assert_eq!(nearest(word, WORDS), meant, "{word}");
        }
    }

    #[test]
    fn distances() {
        for (a, b, slips) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("abc", "acb", 1),
            ("lmiit", "limit", 1),
            ("abcd", "badc", 2),
            ("limits", "limit", 1),
            ("limmit", "limit", 1),
        ] {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), slips, "{a} {b}");
        }
    }
}
