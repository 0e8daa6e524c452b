//! One verb per file: load, check the status, call, print.

pub mod create;
pub mod delete;
pub mod events;
pub mod exec;
pub mod features;
mod hooks;
pub mod kill;
pub mod list;
pub mod pause;
pub mod ps;
mod root;
pub mod spec;
pub mod start;
pub mod state;
pub mod update;

use std::process::ExitCode;

use serde::Serialize;
use serde_json::ser::PrettyFormatter;

use crate::cli::args::Global;
use crate::cli::{Cli, Refused, Verb};
use crate::error::{Doing, Error, Kind, Result};
use crate::log;
use crate::state::{Container, Id, has_ended};
use crate::sys;

/// How long the first process may take to end when others of its container were killed.
const ENDING_MS: u16 = 1000;

/// The exit code of an `exec` whose process was never there: it tells that from a
/// process that failed.
const NOT_STARTED: u8 = 255;

/// Does what was typed. An error has been written when this returns.
pub fn run(cli: Cli) -> ExitCode {
    let Cli { global, verb } = cli;
    let context = verb.to_string();
    let failure = match verb {
        Verb::Exec(_) => ExitCode::from(NOT_STARTED),
        _ => ExitCode::FAILURE,
    };
    match log::start(&global).and_then(|()| dispatch(&global, verb)) {
        Ok(code) => {
            log::succeed();
            code
        }
        Err(error) => {
            log::report(&error.within(context));
            failure
        }
    }
}

/// Says why a command line makes no sense.
pub fn refuse(refused: &Refused) -> ExitCode {
    if let Err(error) = log::start(&refused.global) {
        log::report(&error);
    }
    log::report(&refused.error);
    ExitCode::from(refused.code)
}

/// Says why nothing is done for this caller, whatever was typed. No log is opened: its path is the
/// caller's choice.
pub fn refuse_all(error: &Error) -> ExitCode {
    log::report(error);
    ExitCode::FAILURE
}

fn dispatch(global: &Global, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Create(args) => return create::create(global, &args),
        Verb::Run(args) => return create::run(global, &args),
        Verb::Exec(args) => return exec::exec(global, &args),
        Verb::Print(text) => print(&text)?,
        Verb::Features(_) => features::features()?,
        Verb::Spec(args) => spec::spec(&args)?,
        Verb::Start(args) => start::start(&root::open(global)?, &Id::parse(&args.id)?)?,
        Verb::Kill(args) => {
            let signal = kill::parse_signal(&args.signal)?;
            kill::kill(&root::open(global)?, &Id::parse(&args.id)?, signal, args.all)?;
        }
        Verb::Delete(args) => {
            delete::delete(&root::open(global)?, &Id::parse(&args.id)?, args.force)?;
        }
        Verb::State(args) => {
            state::state(&root::open(global)?, &Id::parse(&args.id)?, args.resources)?;
        }
        Verb::List(args) => list::list(&root::open_given(global)?, args.format, args.quiet)?,
        Verb::Ps(args) => {
            ps::ps(&root::open(global)?, &Id::parse(&args.id)?, args.format, &args.options)?;
        }
        Verb::Pause(args) => pause::pause(&root::open(global)?, &Id::parse(&args.id)?)?,
        Verb::Events(args) => {
            events::events(&root::open(global)?, &Id::parse(&args.id)?, &args)?;
        }
        Verb::Update(args) => update::update(&root::open(global)?, &args)?,
        Verb::Resume(args) => pause::resume(&root::open(global)?, &Id::parse(&args.id)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// JSON for people.
fn indented(value: &impl Serialize, indent: &str) -> Result<String> {
    let mut bytes = Vec::new();
    let format = PrettyFormatter::with_indent(indent.as_bytes());
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, format);
    value
        .serialize(&mut writer)
        .map_err(|error| error.to_string())
        .and_then(|()| String::from_utf8(bytes).map_err(|error| error.to_string()))
        .map_err(|text| Error::new("write JSON").detail(text))
}

/// Writes the answer of a verb to stdout; in one call, unless the reader is slow.
fn print(text: &str) -> Result<()> {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let written = sys::fs::write(libc::STDOUT_FILENO, rest).doing(|| "write to stdout")?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// What failed because the container has ended meanwhile says that instead: which call has met it
/// first is of no use to anybody. What the program itself has been told stays.
fn if_it_runs<T>(container: &Container, done: Result<T>) -> Result<T> {
    match done {
        Err(error) if !error.is_on_stderr() && has_gone(container, &error) => {
            Err(not_running(container.id()).detail(format!("it has ended meanwhile: {error}")))
        }
        other => other,
    }
}

/// Whether the first process has ended. When all of a container is killed, another process of it is
/// gone first: the first of a pid namespace waits for the others.
fn has_gone(container: &Container, error: &Error) -> bool {
    match container.init() {
        Ok(Some(init)) => {
            error.kind_of() == Kind::Killed && has_ended(&init, ENDING_MS).unwrap_or(false)
        }
        Ok(None) => true,
        Err(_) => false,
    }
}

/// The error for a container without the process that was asked for; engines look for
/// the words.
fn not_running(id: &Id) -> Error {
    Error::new(format!("container not running: {id}")).kind(Kind::WrongStatus)
}
