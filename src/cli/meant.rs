//! What was meant by a verb or a flag that is not there: the nearest one, or what people are used
//! to from other tools.

#![forbid(unsafe_code)]

use super::args::{Global, Options};
use super::syntax::Syntax;
use crate::spec::nearest::nearest;

/// Verbs of other tools, and what does the same here.
const VERBS: &[(&str, &str)] = &[
    ("attach", "rt exec ID sh starts another process; with rt run the terminal is this one"),
    ("commit", "rt makes no images"),
    ("cp", "the root file system is a directory of the host: copy there"),
    ("images", "rt knows no images, only root file systems"),
    ("info", "is rt features meant, or rt --version?"),
    ("init", "is rt spec meant?"),
    ("inspect", "is rt state meant?"),
    ("logs", "rt keeps no output: it is where stdout of rt create went"),
    ("ls", "is rt list meant?"),
    ("pull", "rt knows no registries, only root file systems"),
    ("remove", "is rt delete meant?"),
    ("rm", "is rt delete meant?"),
    ("signal", "is rt kill meant?"),
    ("stats", "is rt events --stats meant?"),
    ("status", "is rt state meant?"),
    ("stop", "is rt kill meant? It sends TERM; rt kill ID KILL ends a container for sure"),
    ("terminate", "is rt kill meant?"),
    ("top", "is rt ps meant, or rt events?"),
    ("unpause", "is rt resume meant?"),
    ("version", "is rt --version meant?"),
    ("wait", "rt run without --detach waits"),
];

/// Flags of other tools: the verb, or none for every verb, the flag, and what to do instead.
const FLAGS: &[(&[&str], &[&str], &str)] = &[
    (
        &["exec"],
        &["-i", "-it", "-ti", "--interactive"],
        "stdin is always passed on; -t gives a terminal",
    ),
    (&["exec"], &["-w", "--workdir"], "the working directory is --cwd DIR"),
    (&["exec"], &["--privileged"], "--cap CAP_NAME adds a capability"),
    (
        &["run", "create"],
        &["-i", "-it", "-ti", "-t", "--interactive", "--tty"],
        "stdin is always passed on; process.terminal in config.json gives a terminal",
    ),
    (&["run"], &["--rm"], "rt run deletes the container when it ends, unless --keep is given"),
    (&["run", "create"], &["--name"], "the name is the argument: rt run NAME"),
    (
        &["run", "create"],
        &["-e", "--env", "-u", "--user", "-w", "--workdir", "--cwd", "--cap-add", "--privileged"],
        "the process is in config.json, see process",
    ),
    (
        &["run", "create"],
        &["-v", "--volume", "--mount", "--tmpfs"],
        "mounts are in config.json, see mounts",
    ),
    (
        &["run", "create"],
        &["-m", "--memory", "--cpus", "--pids-limit"],
        "limits are in config.json, see linux.resources, or are set by rt update",
    ),
    (
        &["run", "create"],
        &["-p", "--publish", "--network", "--net"],
        "rt sets up no network: join one by the path of a namespace in linux.namespaces",
    ),
    (&["kill"], &["-s", "--signal"], "the signal comes last: rt kill ID KILL"),
    (&["delete"], &["-r", "--regex"], "rt delete takes one name"),
    (&["list"], &["-a", "--all"], "rt list shows all containers"),
];

/// What is to be said about an unknown verb.
pub fn verb(word: &str, known: &[&'static str]) -> Option<String> {
    if let Some((_, text)) = VERBS.iter().find(|(name, _)| *name == word) {
        return Some((*text).to_owned());
    }
    nearest(word, known).map(|near| format!("is rt {near} meant?"))
}

/// What is to be said about an unknown flag of a verb, or of `rt` itself where that is empty.
pub fn flag(verb: &str, syntax: Syntax, flag: &str) -> Option<String> {
    let habit = |(verbs, flags, _): &&(&[&str], &[&str], &str)| {
        verbs.contains(&verb) && flags.contains(&flag)
    };
    if let Some((.., text)) = FLAGS.iter().find(habit) {
        return Some((*text).to_owned());
    }
    let word = flag.trim_start_matches('-');
    let looks_like_signal =
        word.parse::<u8>().is_ok() || word.bytes().all(|b| b.is_ascii_uppercase());
    if verb == "kill" && !word.is_empty() && looks_like_signal {
        return Some(format!("the signal comes last: rt kill ID {word}"));
    }
    if !verb.is_empty() && Global::SYNTAX.find(word).is_some() {
        return Some(format!("--{word} comes before the command: rt --{word} ... {verb}"));
    }
    let names = |syntax: Syntax| syntax.flags.iter().copied().flatten().map(|flag| flag.long);
    let own: Vec<&'static str> = names(syntax).collect();
    nearest(word, &own).map(|near| format!("is --{near} meant?"))
}

#[cfg(test)]
mod tests {
    use super::super::args::{Delete, Exec, Kill, Update};
    use super::*;

    #[test]
    fn verbs_of_other_tools_and_typing_errors() {
        let known = ["create", "start", "state", "kill", "delete", "list", "ps"];
        for (word, text) in [
            ("strat", Some("is rt start meant?")),
            ("statr", Some("is rt start meant?")),
            ("ls", Some("is rt list meant?")),
            ("rm", Some("is rt delete meant?")),
            (
                "stop",
                Some("is rt kill meant? It sends TERM; rt kill ID KILL ends a container for sure"),
            ),
            ("version", Some("is rt --version meant?")),
            ("DELETE", Some("is rt delete meant?")),
            ("frobnicate", None),
        ] {
            assert_eq!(verb(word, &known).as_deref(), text, "{word}");
        }
    }

    #[test]
    fn flags_of_other_tools_and_typing_errors() {
        let kill = "the signal comes last: rt kill ID 9";
        for (name, syntax, word, text) in [
            ("delete", Delete::SYNTAX, "--frce", Some("is --force meant?")),
            ("update", Update::SYNTAX, "--memroy", Some("is --memory meant?")),
            ("update", Update::SYNTAX, "--cpu-shares", Some("is --cpu-share meant?")),
            ("kill", Kill::SYNTAX, "-9", Some(kill)),
            ("kill", Kill::SYNTAX, "-KILL", Some("the signal comes last: rt kill ID KILL")),
            ("kill", Kill::SYNTAX, "--signal", Some("the signal comes last: rt kill ID KILL")),
            ("exec", Exec::SYNTAX, "-it", Some("stdin is always passed on; -t gives a terminal")),
            ("exec", Exec::SYNTAX, "--workdir", Some("the working directory is --cwd DIR")),
            (
                "delete",
                Delete::SYNTAX,
                "--root",
                Some("--root comes before the command: rt --root ... delete"),
            ),
            ("", Global::SYNTAX, "--versoin", Some("is --version meant?")),
            ("", Global::SYNTAX, "--rootles", Some("is --rootless meant?")),
            ("delete", Delete::SYNTAX, "--frobnicate", None),
            ("delete", Delete::SYNTAX, "-9", None),
        ] {
            assert_eq!(flag(name, syntax, word).as_deref(), text, "{name} {word}");
        }
    }
}
