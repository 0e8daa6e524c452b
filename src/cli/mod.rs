//! What was typed, and nothing but that: no file is opened here.

#![forbid(unsafe_code)]

pub mod args;
mod flags;
mod given;
mod meant;
mod syntax;
pub mod values;
pub mod words;

use std::collections::VecDeque;
use std::ffi::OsString;

use clap::Command;

use self::args::{
    Create, Delete, Events, Exec, Features, Global, Kill, List, OneId, Options, Ps, Run, Spec,
    State, Update,
};
use self::flags::Order;
use self::given::Given;
use self::syntax::Syntax;
use crate::error::{Error, Kind};
use crate::state::Id;

/// The version of the OCI runtime specification that `rt` follows.
pub const SPEC_VERSION: &str = "1.3.0";

/// A command line.
#[derive(Debug)]
pub struct Cli {
    /// The options before the verb.
    pub global: Global,
    /// What to do.
    pub verb: Verb,
}

/// What to do.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Verb {
    Create(Create),
    Delete(Delete),
    Events(Events),
    Exec(Exec),
    Features(Features),
    Kill(Kill),
    List(List),
    Pause(OneId),
    Ps(Ps),
    Resume(OneId),
    Run(Run),
    Spec(Spec),
    Start(OneId),
    State(State),
    Update(Update),
    /// Print this: a version, a help text.
    Print(String),
}

/// What was typed for a name; one that cannot be is in the error itself.
fn short(id: &str) -> String {
    const SHOWN: usize = 64;
    match id.char_indices().nth(SHOWN) {
        _ if Id::parse(id).is_err() => String::new(),
        Some((end, _)) => format!(" {}...", &id[..end]),
        None => format!(" {id}"),
    }
}

impl std::fmt::Display for Verb {
    /// What an error is prefixed with: `create web1`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Verb::Create(args) => write!(f, "create{}", short(&args.bundle.id)),
            Verb::Delete(args) => write!(f, "delete{}", short(&args.id)),
            Verb::Events(args) => write!(f, "events{}", short(&args.id)),
            Verb::Exec(args) => write!(f, "exec{}", short(&args.id)),
            Verb::Features(_) => f.write_str("features"),
            Verb::Kill(args) => write!(f, "kill{}", short(&args.id)),
            Verb::List(_) => f.write_str("list"),
            Verb::Pause(args) => write!(f, "pause{}", short(&args.id)),
            Verb::Ps(args) => write!(f, "ps{}", short(&args.id)),
            Verb::Resume(args) => write!(f, "resume{}", short(&args.id)),
            Verb::Run(args) => write!(f, "run{}", short(&args.bundle.id)),
            Verb::Spec(_) => f.write_str("spec"),
            Verb::Start(args) => write!(f, "start{}", short(&args.id)),
            Verb::State(args) => write!(f, "state{}", short(&args.id)),
            Verb::Update(args) => write!(f, "update{}", short(&args.id)),
            Verb::Print(_) => f.write_str("help"),
        }
    }
}

/// A command line that makes no sense.
#[derive(Debug)]
pub struct Refused {
    /// The options before the verb, as far as they were understood: they say where the
    /// error is to be written.
    pub global: Global,
    /// Why.
    pub error: Error,
    /// The exit code.
    pub code: u8,
}

/// A verb on the command line.
struct Known {
    name: &'static str,
    about: &'static str,
    order: Order,
    syntax: Syntax,
    read: fn(&mut Given) -> Result<Verb, String>,
}

macro_rules! known {
    ($name:literal, $variant:ident($args:ident), $order:ident, $about:literal) => {
        Known {
            name: $name,
            about: $about,
            order: Order::$order,
            syntax: $args::SYNTAX,
            read: |given| $args::read(given).map(Verb::$variant),
        }
    };
}

/// All verbs, in the order of the help text.
const VERBS: &[Known] = &[
    known!("create", Create(Create), Any, "Create a container"),
    known!("start", Start(OneId), Any, "Start the process of a created container"),
    known!("state", State(State), Any, "Print the state of a container"),
    known!("kill", Kill(Kill), Any, "Send a signal to a container"),
    known!("delete", Delete(Delete), Any, "Delete a container"),
    known!("run", Run(Run), Any, "Create and start a container"),
    known!("exec", Exec(Exec), FlagsFirst, "Run another process in a container"),
    known!("list", List(List), Any, "List all containers"),
    known!("ps", Ps(Ps), FlagsFirst, "List the processes of a container"),
    known!("pause", Pause(OneId), Any, "Freeze the processes of a container"),
    known!("resume", Resume(OneId), Any, "Thaw the processes of a container"),
    known!("events", Events(Events), Any, "Print what a container uses, and what happens to it"),
    known!("update", Update(Update), Any, "Change the limits of a container"),
    known!("spec", Spec(Spec), Any, "Write a config.json to start from"),
    known!("features", Features(Features), Any, "Print what this runtime can do, as JSON"),
];

/// Verbs of runc that `rt` does not have.
const ABSENT: &[&str] = &["checkpoint", "restore"];

/// The exit code of runc for a command that it does not know.
const UNKNOWN_COMMAND: u8 = 3;

/// Reads a command line. `args` begins with the name of the program.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, Refused> {
    let refused =
        |text: String| Refused { global: Global::default(), error: usage(text, "rt"), code: 1 };
    let given = flags::sort("", Global::SYNTAX, args.into_iter().skip(1), Order::FlagsFirst);
    let mut given = given.map_err(refused)?;
    let global = Global::read(&mut given).map_err(refused)?;
    let Given { help, arguments: mut rest, .. } = given;
    let verb = match rest.pop_front() {
        _ if global.version => Ok(Verb::Print(version())),
        None => Ok(Verb::Print(help_of_rt())),
        Some(_) if help => Ok(Verb::Print(help_of_rt())),
        Some(name) if name == "help" || name == "h" => match rest.pop_front() {
            None => Ok(Verb::Print(help_of_rt())),
            Some(name) => help_on(&name),
        },
        Some(name) if asks_for_help(&rest) && find(&name).is_none() => help_on(&name),
        Some(name) => known(&name).and_then(|known| read(known, rest)),
    };
    match verb {
        Ok(verb) => Ok(Cli { global, verb }),
        Err((error, code)) => Err(Refused { global, error, code }),
    }
}

fn find(name: &OsString) -> Option<&'static Known> {
    VERBS.iter().find(|known| *name == *known.name)
}

fn known(name: &OsString) -> Result<&'static Known, (Error, u8)> {
    let shown = name.to_string_lossy();
    match find(name) {
        Some(known) => Ok(known),
        None if ABSENT.contains(&&*shown) => Err((not_supported(&shown), 1)),
        None => Err((usage(unknown(&shown, "unknown command"), "rt"), UNKNOWN_COMMAND)),
    }
}

fn not_supported(verb: &str) -> Error {
    Error::new(format!("{verb} is not supported by this version of rt")).kind(Kind::Invalid)
}

/// Names a verb that there is not, and the one that was probably meant.
fn unknown(shown: &str, what: &str) -> String {
    let known: Vec<&str> = VERBS.iter().map(|known| known.name).collect();
    match meant::verb(shown, &known) {
        Some(text) => format!("{what} {shown:?}: {text}"),
        None => format!("{what} {shown:?}"),
    }
}

fn asks_for_help(args: &VecDeque<OsString>) -> bool {
    args.iter().any(|arg| arg == "-h" || arg == "--help")
}

/// The help text of a verb that may not exist.
fn help_on(name: &OsString) -> Result<Verb, (Error, u8)> {
    let shown = name.to_string_lossy();
    match find(name) {
        Some(known) => Ok(Verb::Print(help_of(known))),
        // Engines ask for help to learn whether it is supported.
        None if ABSENT.contains(&&*shown) => Err((not_supported(&shown), 1)),
        None => Err((usage(format!("No help topic for '{shown}'"), "rt"), UNKNOWN_COMMAND)),
    }
}

/// Help begins as that of runc does.
fn about(name: &str, text: &str) -> String {
    format!("NAME:\n   {name} - {text}")
}

fn read(known: &Known, args: VecDeque<OsString>) -> Result<Verb, (Error, u8)> {
    let refused = |text| (usage(text, &format!("rt {}", known.name)), 1);
    let mut given = flags::sort(known.name, known.syntax, args, known.order).map_err(refused)?;
    // As for env(1) and crun: nobody has a program of this name.
    if known.name == "exec" && given.arguments.get(1).is_some_and(|arg| arg == "--") {
        given.arguments.remove(1);
    }
    if given.help {
        return Ok(Verb::Print(help_of(known)));
    }
    let verb = (known.read)(&mut given).map_err(refused)?;
    given.end().map_err(refused)?;
    Ok(verb)
}

fn usage(text: String, name: &str) -> Error {
    Error::new(text).kind(Kind::Invalid).hint(format!("see {name} --help"))
}

fn help_of_rt() -> String {
    let verbs = VERBS.iter().map(|known| Command::new(known.name).about(known.about));
    let mut command = Global::SYNTAX
        .command("rt")
        .about(about("rt", "Drop-in for runc - Open Container Initiative runtime for Linux"))
        .subcommand_value_name("COMMAND")
        .subcommands(verbs)
        .after_help(
            "See `rt COMMAND --help` for one command.\n\n\
             Exit codes: of `run` and `exec` that of the program, or 128 + N if signal N ended it.\n\
             Otherwise 0; 1 for an error; 255 for an `exec` that has started nothing; 3 for a command\n\
             that there is not.",
        );
    command.render_help().to_string() + "\n"
}

fn help_of(known: &Known) -> String {
    let name = format!("rt {}", known.name);
    let command = known.syntax.command(known.name).bin_name(&name);
    let others = "Options of rt itself, like --root DIR, come before the command: see `rt --help`.";
    command.about(about(&name, known.about)).after_help(others).render_help().to_string() + "\n"
}

/// In the form of runc, and no line more: go-runc's parser of old takes three, with one `: ` each.
fn version() -> String {
    format!(
        "rt version {}\ncommit: {} ({})\nspec: {SPEC_VERSION}\n",
        env!("CARGO_PKG_VERSION"),
        env!("RT_COMMIT"),
        env!("RT_TARGET")
    )
}

#[cfg(test)]
mod tests;
