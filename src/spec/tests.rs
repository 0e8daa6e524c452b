use std::path::PathBuf;

use super::*;

mod mutants;

/// A configuration with these members besides the version.
fn decoded(members: &str) -> (Spec, Vec<String>) {
    decode(format!("{{\"ociVersion\":\"1.3.0\"{members}}}").as_bytes()).expect(members)
}

fn refused(members: &str) -> String {
    let text = format!("{{\"ociVersion\":\"1.3.0\"{members}}}");
    decode(text.as_bytes()).expect_err(members).to_string()
}

fn process(members: &str) -> String {
    format!(",\"process\":{{\"cwd\":\"/\",\"user\":{{\"uid\":0,\"gid\":0}}{members}}}")
}

#[test]
fn documents_that_are_no_configuration() {
    for (text, reason) in [
        ("[]", "the document: must hold an object, not []"),
        ("null", "the document: must hold an object, not null"),
        ("{}", "ociVersion: is required and missing"),
        ("{\"ociVersion\":null}", "ociVersion: is required and missing"),
        ("{\"ociVersion\":1}", "ociVersion 1: must be a string"),
        ("{\"ociVersion\":\"\"}", "ociVersion \"\": is not a version like 1.3.0"),
        ("{\"ociVersion\":\"2.0.0\"}", "ociVersion \"2.0.0\": is not supported"),
        ("{\"ociVersion\":\"1.0.0\"} x", "trailing characters at line 1"),
        (
            "{\"ociVersion\":\"1.0.0\",\"process\":{},\"process\":{}}",
            "process: given twice, at line 1",
        ),
    ] {
        let error = decode(text.as_bytes()).expect_err(text).to_string();
        assert!(error.starts_with(&format!("invalid config.json: {reason}")), "{error}");
    }
}

#[test]
fn a_type_error_has_path_value_and_reason() {
    let user =
        |id: &str| format!(",\"process\":{{\"cwd\":\"/\",\"user\":{{\"uid\":{id},\"gid\":0}}}}");
    let range = "must be an integer from 0 to 4294967294";
    for (members, text) in [
        (user("-1"), format!("process.user.uid -1: {range}")),
        (user("1.5"), format!("process.user.uid 1.5: {range}, not this number")),
        (user("1e3"), format!("process.user.uid 1000.0: {range}, not this number")),
        (user("4294967296"), format!("process.user.uid 4294967296: {range}")),
        (user("18446744073709551616"), format!("process.user.uid 1.8446744073709552e19: {range}, not this number")),
        (user("\"0\""), "process.user.uid \"0\": must be a number, not a string: 0".into()),
        (user("\"x\""), "process.user.uid \"x\": must be an integer, not a string".into()),
        (",\"linux\":{\"resources\":{\"memory\":{\"limit\":\"64M\"}}}".into(), "linux.resources.memory.limit \"64M\": must be a number, not a string: 67108864".into()),
        (user("null"), "process.user.uid: is required and missing".into()),
        (user("[]"), "process.user.uid []: must be an integer, not an array".into()),
        (user("true"), "process.user.uid true: must be an integer, not a boolean".into()),
        (",\"process\":{\"cwd\":\"/\",\"user\":\"1000\"}".into(), "process.user \"1000\": must be an object, not a string".into()),
        (",\"process\":{\"cwd\":\"/\",\"user\":[0,0]}".into(), "process.user [...]: must be an object, not an array".into()),
        (",\"process\":{\"user\":{\"uid\":0,\"gid\":0}}".into(), "process.cwd: is required and missing".into()),
        (process(",\"args\":[\"/bin/true\",1]"), "process.args[1] 1: must be a string, not this number".into()),
        (process(",\"args\":\"x\""), "process.args \"x\": must be an array, not a string".into()),
        (process(",\"terminal\":\"true\""), "process.terminal \"true\": must be a boolean, not a string".into()),
        (process(",\"noNewPrivileges\":1"), "process.noNewPrivileges 1: must be a boolean, not this number".into()),
        (process(",\"capabilities\":[]"), "process.capabilities []: must be an object, not an array".into()),
        (process(",\"capabilities\":{\"bounding\":[1]}"), "process.capabilities.bounding[0] 1: must be a string, not this number".into()),
        (process(",\"rlimits\":[{\"type\":\"RLIMIT_CPU\",\"soft\":1}]"), "process.rlimits[0].hard: is required and missing".into()),
        (process(",\"rlimits\":[{\"type\":\"RLIMIT_NOSUCH\",\"soft\":1,\"hard\":1}]"), "process.rlimits[0].type \"RLIMIT_NOSUCH\": is unknown; it can be one of RLIMIT_CPU, ".into()),
        (",\"annotations\":{\"a\":1}".into(), "annotations.a 1: must be a string, not this number".into()),
        (",\"annotations\":{\"a.b\":null}".into(), "annotations[\"a.b\"] null: must be a string, not null".into()),
        (",\"annotations\":[]".into(), "annotations []: must be an object, not an array".into()),
        (",\"mounts\":[null]".into(), "mounts[0] null: must be an object, not null".into()),
        (",\"mounts\":{}".into(), "mounts {}: must be an array, not an object".into()),
        (",\"mounts\":[{\"destination\":\"/x\",\"options\":[\"ro\",2]}]".into(), "mounts[0].options[1] 2: must be a string, not this number".into()),
        (",\"root\":[]".into(), "root []: must be an object, not an array".into()),
        (",\"root\":{}".into(), "root.path: is required and missing".into()),
        (",\"linux\":[]".into(), "linux []: must be an object, not an array".into()),
        (",\"linux\":{\"seccomp\":[]}".into(), "linux.seccomp []: must be an object, not an array".into()),
        (",\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALOW\"}}".into(), "linux.seccomp.defaultAction \"SCMP_ACT_ALOW\": is unknown; is SCMP_ACT_ALLOW meant?".into()),
        (",\"linux\":{\"namespaces\":[{\"type\":\"PID\"}]}".into(), "linux.namespaces[0].type \"PID\": is unknown; is pid meant?".into()),
        (",\"linux\":{\"namespaces\":[\"pid\"]}".into(), "linux.namespaces[0] \"pid\": must be an object, not a string".into()),
        (",\"linux\":{\"uidMappings\":[{\"containerID\":0,\"size\":1}]}".into(), "linux.uidMappings[0].hostID: is required and missing".into()),
        (",\"linux\":{\"sysctl\":{\"net.ipv4.ip_forward\":1}}".into(), "linux.sysctl[\"net.ipv4.ip_forward\"] 1: must be a string, not this number".into()),
        (",\"linux\":{\"resources\":{\"memory\":{\"limit\":9223372036854775808}}}".into(), "linux.resources.memory.limit 9223372036854775808: must be an integer from -9223372036854775808 to 9223372036854775807".into()),
        (",\"linux\":{\"devices\":[{\"path\":\"/dev/x\",\"type\":\"c\"}]}".into(), "linux.devices[0].major: is required and missing".into()),
        (",\"hooks\":{\"prestart\":[{\"args\":[]}]}".into(), "hooks.prestart[0].path: is required and missing".into()),
    ] {
        let error = refused(&members);
        assert!(error.starts_with(&format!("invalid config.json: {text}")), "{error}\n{text}");
    }
}

#[test]
fn a_hostile_value_is_escaped_and_cut() {
    let long = format!("\\u001b{}", "x".repeat(100_000));
    let error = refused(&format!(",\"linux\":{{\"seccomp\":{{\"defaultAction\":\"{long}\"}}}}"));
    assert!(error.len() < 400 && !error.contains('\u{1b}'), "{error}");
}

#[test]
fn null_is_absent_and_strangers_are_welcome() {
    let (spec, notices) = decoded(
        ",\"process\":null,\"mounts\":null,\"annotations\":null,\"hooks\":{\"poststop\":null},\
         \"linux\":{\"resources\":{\"pids\":{\"limit\":null},\"memory\":null},\"namespaces\":null,\
         \"newThing\":[1]},\"windows\":null,\"org.example\":{\"a\":{}}",
    );
    assert!(notices.is_empty(), "{notices:?}");
    assert!(spec.process().is_none() && spec.mounts().is_none() && spec.windows().is_none());
    let linux = spec.linux().as_ref().expect("linux");
    assert!(linux.namespaces().is_none());
    assert!(linux.resources().as_ref().is_some_and(|resources| resources.pids().is_none()));
    let (spec, _) = decoded(",\"linux\":{\"resources\":{\"pids\":{\"limit\":0}}}");
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    assert_eq!(resources.and_then(|r| r.pids().as_ref()).map(|pids| pids.limit()), Some(0));
}

#[test]
fn near_misses_are_told() {
    let members = process(",\"noNewPriviledges\":true,\"command\":[1]")
        + ",\"namespaces\":3,\"AnnotationS\":{},\"uidMappings\":[]";
    let (_, notices) = decoded(&members);
    assert_eq!(
        notices,
        [
            "uidMappings: unknown key, ignored; is linux.uidMappings meant?",
            "namespaces: unknown key, ignored; is linux.namespaces meant?",
            "AnnotationS: unknown key, ignored; is annotations meant?",
            "process.noNewPriviledges: unknown key, ignored; is noNewPrivileges meant?",
            "process.command: unknown key, ignored; is args meant?",
        ]
    );
}

#[test]
fn near_misses_are_told_beside_another_error() {
    for (members, error, hint) in [
        (",\"root\":{\"rootfs\":\"x\"}", "root.path: is required", "is path meant?"),
        (",\"process\":{\"workdir\":\"/\"}", "process.cwd: is required", "is cwd meant?"),
        (&process(",\"arg\":[],\"env\":1"), "process.env 1: must be", "is args meant?"),
    ] {
        let text = refused(members);
        assert!(text.contains(error) && text.contains(hint), "{text}");
    }
}

#[test]
fn every_fault_is_told() {
    let text = refused(
        ",\"process\":{\"cwd\":1,\"user\":{\"uid\":-1,\"gid\":0},\"args\":\"sh\",\"Env\":[]},\
         \"root\":{\"readonly\":1},\"mounts\":[{\"options\":[1]}],\"linux\":{\"namespaces\":7}",
    );
    for fault in [
        "process.Env: must be spelled env",
        "process.cwd 1: must be a string",
        "process.user.uid -1: must be",
        "process.args \"sh\": must be an array",
        "root.readonly 1: must be a boolean",
        "root.path: is required",
        "mounts[0].options[0] 1: must be",
        "mounts[0].destination: is required",
        "linux.namespaces 7: must be an array",
    ] {
        assert!(text.contains(fault), "{fault}: {text}");
    }
    // What a fault leaves behind is not one.
    assert!(!text.contains("cwd: is required") && !text.contains("uid: is required"), "{text}");
}

#[test]
fn pids_without_a_limit_are_told() {
    let pids = |pids: &str| format!(",\"linux\":{{\"resources\":{{\"pids\":{pids}}}}}");
    for (given, told) in [
        ("{}", &[][..]),
        ("{\"limits\":5}", &["linux.resources.pids.limits: unknown key, ignored; is limit meant?"]),
        ("{\"max\":5}", &["linux.resources.pids.max: unknown key, ignored; is limit meant?"]),
        (
            "{\"x-y\":5}",
            &["linux.resources.pids[\"x-y\"]: unknown key, ignored; without a limit pids is too"],
        ),
    ] {
        assert_eq!(decoded(&pids(given)).1, told, "{given}");
    }
    let text = refused(&pids("{\"Limit\":5}"));
    assert!(text.contains("pids.Limit: must be spelled limit"), "{text}");
}

#[test]
fn an_update_without_a_limit_on_pids_makes_none() {
    let read = |text: &str| {
        let mut json = tree::parse(text.as_bytes()).expect(text);
        lenient::resources(&mut json);
        typed::read_whole::<LinuxResources>(&json).map_err(|violation| violation.to_string())
    };
    for text in ["{\"Pids\":{}}", "{\"pids\":{\"Limit\":null}}", "{\"pids\":{}}"] {
        assert_eq!(read(text).expect(text).pids(), &None, "{text}");
    }
    let pids = read("{\"PIDS\":{\"LIMIT\":5}}").expect("a limit");
    assert_eq!(pids.pids().as_ref().map(|pids| pids.limit()), Some(5));
    let error = read("{\"pids\":{\"limits\":5}}").expect_err("unknown");
    assert_eq!(error, "pids.limits: unknown key; is limit meant?");
}

#[test]
fn unknown_capabilities_are_told_and_dropped() {
    let sets = "\"bounding\":[\"CAP_KILL\",\"CAP_NEW\",\"cap_chown\"],\"permitted\":[\"CAP_NEW\"]";
    let (spec, notices) = decoded(&process(&format!(",\"capabilities\":{{{sets}}}")));
    assert_eq!(
        notices,
        [
            "process.capabilities: unknown capability \"CAP_NEW\" in bounding, permitted, ignored",
            "process.capabilities: unknown capability \"cap_chown\" in bounding, ignored; is CAP_CHOWN meant?",
        ]
    );
    let process = spec.process().as_ref().expect("process");
    let sets = process.capabilities().as_ref().expect("capabilities");
    assert_eq!(sets.bounding().as_ref().map(|set| set.len()), Some(1));
    assert_eq!(sets.permitted().as_ref().map(|set| set.len()), Some(0));
}

#[test]
fn words_of_the_specification_that_oci_spec_spells_otherwise() {
    let flags = [
        "RESET_ON_FORK",
        "RECLAIM",
        "DL_OVERRUN",
        "KEEP_POLICY",
        "KEEP_PARAMS",
        "UTIL_CLAMP_MIN",
        "UTIL_CLAMP_MAX",
    ];
    let flags: Vec<String> = flags.iter().map(|flag| format!("\"SCHED_FLAG_{flag}\"")).collect();
    let scheduler =
        format!(",\"scheduler\":{{\"policy\":\"SCHED_OTHER\",\"flags\":[{}]}}", flags.join(","));
    decoded(&process(&scheduler));
    decoded(",\"linux\":{\"intelRdt\":{\"enableCMT\":true,\"enableMBM\":false}}");
}

/// A directory that is gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("rt-spec-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        Scratch(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[test]
fn only_a_regular_file_of_bounded_size_is_read() {
    let scratch = Scratch::new("files");
    let config = scratch.0.join(CONFIG);
    let error = || load(&scratch.0).expect_err("not a configuration").to_string();
    assert!(error().contains("JSON specification file config.json not found"), "{}", error());
    nix::unistd::mkfifo(&config, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    assert!(error().contains("not a regular file"), "{}", error());
    std::fs::remove_file(&config).expect("remove");
    std::os::unix::fs::symlink("/dev/zero", &config).expect("a link");
    assert!(error().contains("not a regular file"), "{}", error());
    std::fs::remove_file(&config).expect("remove");
    std::fs::create_dir(&config).expect("a directory");
    assert!(error().contains("not a regular file"), "{}", error());
    std::fs::remove_dir(&config).expect("remove");
    File::create(&config).and_then(|file| file.set_len(MAX_SIZE + 1)).expect("a large file");
    assert!(error().contains("larger than 8 MiB"), "{}", error());
    std::fs::write(&config, "{\"ociVersion\":\"1.3.0\"}").expect("write");
    assert_eq!(load(&scratch.0).expect("a configuration").bytes.len(), 22);
    let absent = load(Path::new("/nowhere")).expect_err("no bundle").to_string();
    assert_eq!(absent, "open the bundle /nowhere: no such file or directory (ENOENT)");
}

#[test]
fn a_process_of_its_own() {
    let scratch = Scratch::new("process");
    let path = scratch.0.join("process.json");
    let text = "{\"cwd\":\"/\",\"user\":{\"uid\":1,\"gid\":2},\"args\":[\"sh\"],\
                \"capabilities\":{\"bounding\":[\"CAP_NEW\"]}}";
    std::fs::write(&path, text).expect("write");
    let (process, notices) = load_process(&path).expect("a process");
    assert_eq!((process.user().uid(), process.user().gid()), (1, 2));
    assert_eq!(notices, ["capabilities: unknown capability \"CAP_NEW\" in bounding, ignored"]);
    std::fs::write(&path, "{\"cwd\":7,\"user\":{\"uid\":1,\"gid\":2}}").expect("write");
    let error = load_process(&path).expect_err("no process").to_string();
    assert!(error.ends_with("process.json: cwd 7: must be a string, not this number"), "{error}");
}
