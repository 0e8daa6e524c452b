//! The few calls to systemd's manager object (org.freedesktop.systemd1(5)) that are needed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::dbus::{Address, Call, Connection, Incoming, Kind, Value};
use crate::error::{Error, Result};
use crate::host::systemd::Instance;

/// How long systemd may take for one of our affairs, from the first byte to the last.
const PATIENCE: Duration = Duration::from_secs(30);

const SERVICE: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
/// Jobs of our unit that ended before we knew which is ours. There is one at a time: it can only be
/// among the last.
const MOST_JOBS: usize = 16;

/// The end of a call that did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// systemd has answered with an error: its name and text.
    Refused(String, String),
    /// It has not answered.
    Broken(Error),
}

impl Failure {
    /// Whether it is the error of this name, after the last dot.
    pub fn is(&self, error: &str) -> bool {
        matches!(self, Failure::Refused(name, _) if name.rsplit('.').next() == Some(error))
    }

    /// As an error of `doing`.
    pub fn within(self, doing: &str) -> Error {
        match self {
            Failure::Broken(error) => error.within(doing),
            Failure::Refused(name, text) => {
                let error = Error::new(doing).detail(format!("systemd says: {text} ({name})"));
                match name.rsplit('.').next() {
                    Some("AccessDenied" | "InteractiveAuthorizationRequired") => {
                        error.hint("this request to the system manager needs root")
                    }
                    Some("ServiceUnknown" | "NameHasNoOwner") => error.hint(
                        "systemd is not on this bus: see DBUS_SESSION_BUS_ADDRESS and \
                         XDG_RUNTIME_DIR",
                    ),
                    _ => error,
                }
            }
        }
    }
}

/// A connection to systemd.
#[derive(Debug)]
pub struct Manager {
    connection: Connection,
    address: Address,
    /// Calls whose answers nobody waits for, unless they are errors.
    unattended: Vec<u32>,
    /// The unit that is asked for.
    unit: String,
    /// Jobs of it that have ended, the latest first: who says so, their object and result. A busy
    /// systemd tells of thousands of others meanwhile.
    ended: VecDeque<(String, String, String)>,
    /// Who has answered last. On a bus anybody can send us a signal; the bus says who it was.
    systemd: String,
}

impl Manager {
    /// Connects to an instance of systemd. It has [`PATIENCE`] for all that follows.
    pub fn connect(instance: Instance) -> Result<Manager> {
        let deadline = Instant::now() + PATIENCE;
        let mut failures = Vec::new();
        for (address, bus) in instance.addresses() {
            match Connection::open(&address, deadline) {
                Ok(connection) => {
                    let (unattended, unit, ended) = (Vec::new(), String::new(), VecDeque::new());
                    let systemd = String::new();
                    let mut manager =
                        Manager { connection, address, unattended, unit, ended, systemd };
                    if bus {
                        manager.greet_bus();
                    }
                    return Ok(manager);
                }
                Err(errno) => failures.push((address, errno)),
            }
        }
        Err(unreachable(instance, &failures))
    }

    /// The bus wants to be greeted before anything else. Nobody waits for its answer: the
    /// next call goes out together with the greeting.
    fn greet_bus(&mut self) {
        let service = "org.freedesktop.DBus";
        let call = |member, arguments| Call {
            destination: service,
            path: "/org/freedesktop/DBus",
            interface: service,
            member,
            arguments,
        };
        let rule = format!(
            "type='signal',sender='{SERVICE}',path='{MANAGER_PATH}',interface='{MANAGER}',\
             member='JobRemoved'"
        );
        let hello = self.connection.call(&call("Hello", vec![]));
        let matched = self.connection.call(&call("AddMatch", vec![Value::str(rule)]));
        self.unattended = vec![hello, matched];
    }

    /// Makes and starts a unit, and waits until that is done.
    pub fn start_unit(
        &mut self,
        name: &str,
        properties: &[(String, Value)],
    ) -> Result<(), Failure> {
        let arguments = vec![
            Value::str(name),
            Value::str("replace"),
            list(properties),
            Value::Array("(sa(sv))".to_owned(), vec![]),
        ];
        self.do_job(name, "StartTransientUnit", arguments)
    }

    /// Changes properties of a unit that runs, as long as it does.
    pub fn set_properties(
        &mut self,
        name: &str,
        properties: &[(String, Value)],
    ) -> Result<(), Failure> {
        let arguments = vec![Value::str(name), Value::Bool(true), list(properties)];
        self.ask("SetUnitProperties", arguments).map(drop)
    }

    /// Stops a unit, and waits until that is done.
    pub fn stop_unit(&mut self, name: &str) -> Result<(), Failure> {
        self.do_job(name, "StopUnit", vec![Value::str(name), Value::str("replace")])
    }

    /// Makes a call that is answered with a job, and waits for the end of that.
    fn do_job(&mut self, unit: &str, member: &str, arguments: Vec<Value>) -> Result<(), Failure> {
        unit.clone_into(&mut self.unit);
        self.ended.clear();
        let job = self.ask(member, arguments)?;
        self.await_job(&job, unit)
    }

    /// Lets systemd forget a unit that has failed.
    pub fn reset_failed(&mut self, name: &str) -> Result<(), Failure> {
        self.ask("ResetFailedUnit", vec![Value::str(name)]).map(drop)
    }

    /// systemd's version: 257.
    pub fn version(&mut self) -> Result<u32, Failure> {
        let text = self.property(MANAGER_PATH, MANAGER, "Version")?;
        let digits: String =
            text.trim_start_matches('v').chars().take_while(char::is_ascii_digit).collect();
        digits
            .parse()
            .map_err(|_| Failure::Broken(Error::new("ask systemd for its version").detail(text)))
    }

    /// The cgroup of a slice, below the root of the tree.
    pub fn cgroup_of_slice(&mut self, name: &str) -> Result<String, Failure> {
        let unit = self.ask("GetUnit", vec![Value::str(name)])?;
        let path = self.property(&unit, "org.freedesktop.systemd1.Slice", "ControlGroup")?;
        Ok(path.trim_start_matches('/').to_owned())
    }

    fn property(&mut self, path: &str, interface: &str, name: &str) -> Result<String, Failure> {
        let call = Call {
            destination: SERVICE,
            path,
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
            arguments: vec![Value::str(interface), Value::str(name)],
        };
        self.answer(&call)
    }

    fn ask(&mut self, member: &str, arguments: Vec<Value>) -> Result<String, Failure> {
        let call = Call {
            destination: SERVICE,
            path: MANAGER_PATH,
            interface: MANAGER,
            member,
            arguments,
        };
        self.answer(&call)
    }

    /// The string, or path, that a call is answered with; empty where it is neither.
    fn answer(&mut self, call: &Call<'_>) -> Result<String, Failure> {
        let serial = self.connection.call(call);
        loop {
            let message = self.next(call.member)?;
            if message.reply_to == serial && message.kind == Some(Kind::Return) {
                let text = message.text().unwrap_or_default();
                self.systemd = message.sender;
                return Ok(text);
            }
            let ours = message.reply_to == serial || self.unattended.contains(&message.reply_to);
            if message.kind == Some(Kind::Error) && ours {
                let text = message.text().unwrap_or_default();
                return Err(Failure::Refused(message.error, text));
            }
        }
    }

    fn await_job(&mut self, job: &str, unit: &str) -> Result<(), Failure> {
        loop {
            let ours =
                |(from, path, _): &&(String, String, String)| *from == self.systemd && path == job;
            if let Some((.., result)) = self.ended.iter().find(ours) {
                return match result.as_str() {
                    "done" => Ok(()),
                    result => {
                        let text = format!("the job of {unit} ended as: {result}");
                        Err(Failure::Broken(Error::new(text).hint("see journalctl(1)")))
                    }
                };
            }
            self.next("the end of its job")?;
        }
    }

    /// The next message; ends of jobs are noted.
    fn next(&mut self, what: &str) -> Result<Incoming, Failure> {
        let message = self.connection.receive().map_err(|errno| {
            let error = Error::new(format!("wait for systemd at {}: {what}", self.address));
            Failure::Broken(match errno {
                Errno::ETIMEDOUT => error
                    .detail(format!("nothing after {} s", PATIENCE.as_secs()))
                    .hint("see `systemctl list-jobs` and `systemctl is-system-running`"),
                errno => error.errno(errno),
            })
        })?;
        if message.kind == Some(Kind::Signal) && message.member == "JobRemoved" {
            // u id, o job, s unit, s result
            if let [_, Value::Path(job), Value::Str(unit), Value::Str(result)] =
                &message.arguments()[..]
                && *unit == self.unit
            {
                self.ended.truncate(MOST_JOBS - 1);
                self.ended.push_front((message.sender.clone(), job.clone(), result.clone()));
            }
        }
        Ok(message)
    }
}

/// `a(sv)`
fn list(properties: &[(String, Value)]) -> Value {
    let pair = |(name, value): &(String, Value)| {
        let value = Value::Variant(Box::new(value.clone()));
        Value::Struct(vec![Value::str(name), value])
    };
    Value::Array("(sv)".to_owned(), properties.iter().map(pair).collect())
}

fn unreachable(instance: Instance, failures: &[(Address, Errno)]) -> Error {
    let text: Vec<_> = failures
        .iter()
        .map(|(address, errno)| format!("{address}: {}", crate::error::errno_text(*errno)))
        .collect();
    match instance {
        Instance::System => Error::new("connect to systemd")
            .detail(text.join(", "))
            .hint("see `systemctl is-system-running`"),
        Instance::User => {
            let detail = match failures.is_empty() {
                true => "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set".to_owned(),
                false => text.join(", "),
            };
            Error::new("connect to the user's systemd").detail(detail).hint(
                "log in as this user (su and sudo are no login) or run loginctl enable-linger, \
                 have dbus-user-session installed, and set XDG_RUNTIME_DIR to /run/user/UID; \
                 or use --cgroup-manager cgroupfs",
            )
        }
    }
}
