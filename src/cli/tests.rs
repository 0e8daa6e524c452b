use std::ffi::OsString;
use std::path::{Path, PathBuf};

use std::time::Duration;

use super::values::{GroupId, Interval, RootDir, Rootless, UserIds};
use super::words::{CgroupManager, ListFormat, LogFormat, LogLevel};
use super::*;
use crate::spec::bytes::Bytes;

fn parse_words(line: &str) -> Result<Cli, Refused> {
    parse(std::iter::once("rt").chain(line.split_whitespace()).map(OsString::from))
}

fn refused(line: &str) -> (String, u8) {
    let refused = parse_words(line).expect_err(line);
    (refused.error.to_string(), refused.code)
}

macro_rules! verb {
    ($line:expr, $variant:ident) => {
        match parse_words($line).expect($line).verb {
            Verb::$variant(args) => args,
            other => panic!("{}: {other:?}", $line),
        }
    };
}

#[test]
fn argv_of_go_runc() {
    let line = "--root /r --debug --log /l --log-format json --rootless=false create \
                --bundle /b --no-pivot --no-new-keyring --console-socket /s --pidfd-socket /f \
                --detach --pid-file /p --preserve-fds 3 box";
    let cli = parse_words(line).expect("go-runc");
    assert_eq!(
        cli.global,
        Global {
            root: Some(RootDir("/r".into())),
            log: Some("/l".into()),
            log_format: LogFormat::Json,
            debug: true,
            rootless: Rootless::False,
            ..Global::default()
        }
    );
    let Verb::Create(Create { bundle, detach }) = cli.verb else { panic!("create") };
    assert!(detach && bundle.no_pivot && bundle.no_new_keyring);
    assert_eq!(bundle.bundle, Path::new("/b"));
    assert_eq!(bundle.console_socket.as_deref(), Some(Path::new("/s")));
    assert_eq!(bundle.pidfd_socket.as_deref(), Some(Path::new("/f")));
    assert_eq!(bundle.pid_file.as_deref(), Some(Path::new("/p")));
    assert_eq!((bundle.preserve_fds, bundle.id.as_str()), (3, "box"));
    assert_eq!(verb!("start box", Start).id, "box");
    let kill = verb!("kill --all box 9", Kill);
    assert!(kill.all && kill.id == "box" && kill.signal == "9");
    assert!(verb!("delete --force box", Delete).force);
    let exec = verb!("exec --process /x --detach --pid-file /p box", Exec);
    assert!(exec.detach && exec.process == Some("/x".into()) && exec.command.is_empty());
    assert_eq!(verb!("ps --format json box", Ps).format, ListFormat::Json);
    assert_eq!(verb!("list --format=json", List).format, ListFormat::Json);
}

#[test]
fn argv_of_conmon_and_podman() {
    let line = "create --bundle /b --pid-file /p box";
    assert_eq!(verb!(line, Create).bundle.id, "box");
    let cli = parse_words("--cgroup-manager disabled --preserve-fds 1 start box");
    assert!(cli.is_err(), "the flag of a verb is not global");
    let cli = parse_words("--cgroup-manager disabled start box").expect("podman");
    assert_eq!(cli.global.cgroup_manager, CgroupManager::Disabled);
    assert!(parse_words("--systemd-cgroup state box").expect("conmon").global.systemd_cgroup);
    assert!(!parse_words("--systemd-cgroup=false list").expect("old").global.systemd_cgroup);
    assert_eq!(verb!("kill box", Kill).signal, "TERM");
}

#[test]
fn exec_ends_at_the_id() {
    let exec = verb!(
        "exec -t -u 1000:100 -g 5 -g 6 -e A=B --env C=-d --cwd /x --cap CAP_KILL box ls -t -- --help",
        Exec
    );
    assert!(exec.tty && !exec.detach);
    assert_eq!(exec.user, Some(UserIds { uid: 1000, gid: Some(100) }));
    assert_eq!(exec.additional_gids, [GroupId(5), GroupId(6)]);
    assert_eq!(exec.env, ["A=B", "C=-d"]);
    assert_eq!(exec.cap, ["CAP_KILL"]);
    assert_eq!(exec.id, "box");
    assert_eq!(exec.command, ["ls", "-t", "--", "--help"]);
    let ps = verb!("ps box -o pid,comm --format", Ps);
    assert_eq!(ps.options, ["-o", "pid,comm", "--format"]);
    let run = verb!("run box -d --keep --bundle /b --no-subreaper", Run);
    assert!(run.detach && run.keep && run.no_subreaper);
    assert_eq!(run.bundle.bundle, PathBuf::from("/b"));
}

#[test]
fn the_last_of_two_wins() {
    assert_eq!(verb!("create -b /a --bundle /b box", Create).bundle.bundle, Path::new("/b"));
    let global = parse_words("--log-level=debug --log-level warn list").expect("levels").global;
    assert_eq!(global.log_level, Some(LogLevel::Warning));
}

/// As runc has it; not a user (CVE-2026-30892), nor the directory of all state.
#[test]
fn files_and_sizes_may_be_empty() {
    let create = verb!("create --bundle= --pid-file= --console-socket= box", Create).bundle;
    assert_eq!(create.bundle, Path::new("."));
    assert_eq!((create.pid_file, create.console_socket), (None, None));
    assert_eq!(verb!("exec --process= box", Exec).process, None);
    assert_eq!(verb!("update --memory= box", Update).memory, None);
    let cli = parse(["rt", "--log=", "kill", "box", ""].map(OsString::from)).expect("empty words");
    assert_eq!(cli.global.log, None);
    let Verb::Kill(kill) = cli.verb else { panic!("kill") };
    assert_eq!(kill.signal, "TERM");
    parse_words("exec --user= box true").expect_err("an empty user");
    parse_words("--root= list").expect_err("an empty root");
}

#[test]
fn mistakes_are_one_line_and_name_the_flag() {
    for (line, text, code) in [
        ("frobnicate", "unknown command \"frobnicate\"; see rt --help", 3),
        (
            "update --memory 1x box",
            "invalid value '1x' for '--memory <SIZE>': \"1x\" is not a size like 512M, or -1; \
             see rt update --help",
            1,
        ),
        (
            "events --interval 0 box",
            "invalid value '0' for '--interval <TIME>': \"0\" is not a time like 100ms, 5s or \
             1m30s; see rt events --help",
            1,
        ),
        ("checkpoint box", "checkpoint is not supported by this version of rt", 1),
        ("frob --help", "No help topic for 'frob'; see rt --help", 3),
        ("help frob", "No help topic for 'frob'; see rt --help", 3),
        ("--frob list", "unknown flag --frob; see rt --help", 1),
        ("create --frob box", "unknown flag --frob; see rt create --help", 1),
        ("create --bundle", "flag needs an argument: --bundle; see rt create --help", 1),
        ("state a b", "too many arguments, from b; see rt state --help", 1),
        ("state", "which container? the argument <ID> is missing; see rt state --help", 1),
        (
            "--log-format xml list",
            "invalid value 'xml' for '--log-format <FORMAT>' [possible values: text, json]; \
             see rt --help",
            1,
        ),
        (
            "exec -u root box ls",
            "invalid value 'root' for '--user <UID[:GID]>': expected a number in decimal digits; \
             see rt exec --help",
            1,
        ),
    ] {
        assert_eq!(refused(line), (text.to_owned(), code), "{line}");
    }
}

#[test]
fn sizes_and_times() {
    for (text, bytes) in [
        ("-1", -1),
        ("0", 0),
        ("4096", 4096),
        ("512M", 512 << 20),
        ("1g", 1 << 30),
        ("64 MiB", 64 << 20),
        ("1.5k", 1536),
        ("7B", 7),
        ("2tb", 2 << 40),
    ] {
        assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
    }
    for text in ["", "-2", "M", "1x", "1e3", "0x10", "9999999P", "1.2.3"] {
        assert!(text.parse::<Bytes>().is_err(), "{text}");
    }
    for (text, ms) in [("100ms", 100), ("5s", 5_000), ("1m30s", 90_000), ("1.5h", 5_400_000)] {
        assert_eq!(text.parse(), Ok(Interval(Duration::from_millis(ms))), "{text}");
    }
    for text in ["", "5", "0s", "-1s", "s", "1d"] {
        assert!(text.parse::<Interval>().is_err(), "{text}");
    }
}

#[test]
fn argv_of_updates() {
    // go-runc, and CRI-O.
    for line in ["update --resources - box", "update --resources=- box", "update -r - box"] {
        assert_eq!(verb!(line, Update).resources.as_deref(), Some(Path::new("-")), "{line}");
    }
    let update = verb!("update box --cpu-quota -1 --memory 50M --pids-limit=-1", Update);
    assert_eq!((update.cpu_quota, update.pids_limit), (Some(-1), Some(-1)));
    assert_eq!((update.memory, update.id.as_str()), (Some(Bytes(50 << 20)), "box"));
    let events = verb!("events --interval 100ms box", Events);
    assert!(!events.stats && events.interval == Interval(Duration::from_millis(100)));
}

#[test]
fn where_to_log_is_known_when_the_verb_is_wrong() {
    let refused = parse_words("--log /l --log-format json create").expect_err("no id");
    assert_eq!(refused.global.log.as_deref(), Some(Path::new("/l")));
    assert_eq!(refused.global.log_format, LogFormat::Json);
}

#[test]
fn version_and_help() {
    for line in ["--version", "-v", "--log /l -v", "-version"] {
        let text = verb!(line, Print);
        assert!(text.starts_with("rt version "), "{text}");
        assert!(text.contains("\ncommit: ") && text.ends_with("\nspec: 1.3.0\n"), "{text}");
    }
    for line in ["", "help", "h", "--help", "-h", "--help list"] {
        let text = verb!(line, Print);
        assert!(VERBS.iter().all(|known| text.contains(known.name)), "{text}");
        assert!(text.contains("--cgroup-manager"), "{text}");
    }
    for known in VERBS {
        let text = verb!(&format!("{} --help", known.name), Print);
        assert!(
            text.starts_with(&format!("NAME:\n   rt {} - {}", known.name, known.about)),
            "{text}"
        );
        assert_eq!(text, verb!(&format!("help {}", known.name), Print));
    }
    assert!(verb!("exec box --help", Exec).command == ["--help"]);
}

#[test]
fn verbs_that_start_again_from_a_copy_are_verbs() {
    let names = VERBS.iter().map(|known| known.name);
    let entering = names.filter(|name| crate::sys::entering::is_word(name.as_bytes()));
    assert_eq!(entering.collect::<Vec<_>>(), ["create", "run", "exec"]);
}
