//! Messages (D-Bus Specification, "Message Protocol"): calls are written, replies, errors
//! and signals are read. What is read comes from outside, and is looked at with bounds.

use super::value::{Value, align, alignment};

/// `PROTOCOL_VERSION`.
const VERSION: u8 = 1;
/// The fixed part of a header, up to the length of its fields.
pub const HEAD: usize = 16;
/// Longest message that is taken. Nothing that we ask for is a tenth as long; the bus lets
/// through 128 MiB.
const LONGEST: usize = 1 << 20;

// Header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SENDER: u8 = 7;
const SIGNATURE: u8 = 8;

/// A method call.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// Who is asked; not needed on a connection without a bus.
    pub destination: &'a str,
    /// Object.
    pub path: &'a str,
    /// Interface.
    pub interface: &'a str,
    /// Method.
    pub member: &'a str,
    /// Arguments.
    pub arguments: Vec<Value>,
}

impl Call<'_> {
    /// The message.
    pub fn to_bytes(&self, serial: u32) -> Vec<u8> {
        let mut body = Vec::new();
        let mut signature = String::new();
        for argument in &self.arguments {
            signature += &argument.signature();
            argument.put(&mut body);
        }
        let field =
            |code, value| Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]);
        let mut fields = vec![
            field(PATH, Value::Path(self.path.to_owned())),
            field(DESTINATION, Value::str(self.destination)),
            field(INTERFACE, Value::str(self.interface)),
            field(MEMBER, Value::str(self.member)),
        ];
        if !signature.is_empty() {
            fields.push(field(SIGNATURE, Value::Signature(signature)));
        }
        let mut out = vec![b'l', Kind::Call as u8, 0, VERSION];
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        out.extend_from_slice(&serial.to_le_bytes());
        Value::Array("(yv)".to_owned(), fields).put(&mut out);
        align(&mut out, 8);
        out.append(&mut body);
        out
    }
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `METHOD_CALL`
    Call = 1,
    /// `METHOD_RETURN`
    Return = 2,
    /// `ERROR`
    Error = 3,
    /// `SIGNAL`
    Signal = 4,
}

/// A message from the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// What it is; none for a kind that a later version may bring, which is to be ignored.
    pub kind: Option<Kind>,
    /// Which of our calls it answers.
    pub reply_to: u32,
    /// Member of a signal.
    pub member: String,
    /// Name of an error.
    pub error: String,
    /// The unique name of who has sent it, by the bus; empty without a bus in between.
    pub sender: String,
    signature: String,
    body: Vec<u8>,
}

/// How long the message is that starts with these bytes; `None` when it is none that we
/// could take.
pub fn length(head: &[u8; HEAD]) -> Option<usize> {
    let number =
        |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (body, fields) = (number(4) as usize, number(12) as usize);
    let whole = HEAD.checked_add(fields)?.checked_next_multiple_of(8)?.checked_add(body)?;
    (head[0] == b'l' && head[3] == VERSION && whole <= LONGEST).then_some(whole)
}

impl Incoming {
    /// Reads a whole message, of [`length`] bytes. `None` when it breaks the rules.
    pub fn parse(bytes: &[u8]) -> Option<Incoming> {
        let head: &[u8; HEAD] = bytes.first_chunk()?;
        if length(head)? != bytes.len() {
            return None;
        }
        let kind = match head[1] {
            1 => Some(Kind::Call),
            2 => Some(Kind::Return),
            3 => Some(Kind::Error),
            4 => Some(Kind::Signal),
            _ => None,
        };
        let mut fields = Reader { bytes, at: 12 };
        let end = HEAD + fields.number()? as usize;
        let mut message = Incoming {
            kind,
            reply_to: 0,
            member: String::new(),
            error: String::new(),
            sender: String::new(),
            signature: String::new(),
            body: bytes.get(end.next_multiple_of(8)..)?.to_vec(),
        };
        fields.bytes = bytes.get(..end)?;
        while fields.at < end {
            fields.align(8)?;
            let code = fields.take(1)?[0];
            let signature = fields.signature()?;
            match (code, signature) {
                (MEMBER, "s") => message.member = fields.string()?.to_owned(),
                (ERROR_NAME, "s") => message.error = fields.string()?.to_owned(),
                (REPLY_SERIAL, "u") => message.reply_to = fields.number()?,
                (SIGNATURE, "g") => message.signature = fields.signature()?.to_owned(),
                (SENDER, "s") => message.sender = fields.string()?.to_owned(),
                // Path, interface, destination, and what may come to be.
                (_, "s" | "o") => drop(fields.string()?),
                (_, "u") => drop(fields.number()?),
                (_, "g") => drop(fields.signature()?),
                _ => return None,
            }
        }
        message.is_complete().then_some(message)
    }

    /// Whether it has the fields that its kind must have, as far as we need them.
    fn is_complete(&self) -> bool {
        match self.kind {
            Some(Kind::Return) => self.reply_to != 0,
            Some(Kind::Error) => self.reply_to != 0 && !self.error.is_empty(),
            Some(Kind::Call | Kind::Signal) => !self.member.is_empty(),
            None => true,
        }
    }

    /// The arguments that the body starts with, as far as they are numbers and strings;
    /// that is all we ever ask for.
    pub fn arguments(&self) -> Vec<Value> {
        let mut reader = Reader { bytes: &self.body, at: 0 };
        let mut found = Vec::new();
        for letter in self.signature.chars() {
            let mut kind = letter.to_string();
            if letter == 'v' {
                let Some(inner) = reader.signature() else { break };
                kind = inner.to_owned();
            }
            let value = match kind.as_str() {
                "u" => reader.number().map(Value::U32),
                "s" => reader.string().map(Value::str),
                "o" => reader.string().map(|path| Value::Path(path.to_owned())),
                _ => None,
            };
            let Some(value) = value else { break };
            found.push(value);
        }
        found
    }

    /// The first argument, if it is a string or a path.
    pub fn text(&self) -> Option<String> {
        match self.arguments().into_iter().next() {
            Some(Value::Str(text) | Value::Path(text)) => Some(text),
            _ => None,
        }
    }
}

/// Reads what was marshalled, and nothing past the end.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn align(&mut self, to: usize) -> Option<()> {
        let padding = self.at.next_multiple_of(to) - self.at;
        self.take(padding).map(drop)
    }

    fn number(&mut self) -> Option<u32> {
        self.align(alignment("u"))?;
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn string(&mut self) -> Option<&'a str> {
        let length = self.number()? as usize;
        self.text(length)
    }

    fn signature(&mut self) -> Option<&'a str> {
        let length = self.take(1)?[0];
        self.text(length.into())
    }

    fn text(&mut self, length: usize) -> Option<&'a str> {
        let text = str::from_utf8(self.take(length)?).ok()?;
        (self.take(1)? == [0]).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message as a peer would write it: our own writer, with another head and fields.
    fn message(kind: u8, fields: Vec<(u8, Value)>, body: &[Value]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut signature = String::new();
        for value in body {
            signature += &value.signature();
            value.put(&mut bytes);
        }
        let mut all = fields;
        all.push((SIGNATURE, Value::Signature(signature)));
        let field =
            |(code, value)| Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]);
        let mut out = vec![b'l', kind, 0, VERSION];
        out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(&9u32.to_le_bytes());
        Value::Array("(yv)".to_owned(), all.into_iter().map(field).collect()).put(&mut out);
        align(&mut out, 8);
        out.append(&mut bytes);
        out
    }

    fn job_removed() -> Vec<u8> {
        let fields = vec![
            (PATH, Value::Path("/org/freedesktop/systemd1".into())),
            (MEMBER, Value::str("JobRemoved")),
            (SENDER, Value::str(":1.0")),
        ];
        let job = Value::Path("/org/freedesktop/systemd1/job/4".into());
        message(4, fields, &[Value::U32(4), job, Value::str("a.scope"), Value::str("done")])
    }

    #[test]
    fn a_call_has_the_bytes_of_the_specification() {
        let call = Call {
            destination: "a.b",
            path: "/",
            interface: "c.d",
            member: "E",
            arguments: vec![],
        };
        let bytes = call.to_bytes(5);
        assert_eq!(bytes[..4], [b'l', 1, 0, 1]);
        assert_eq!(bytes[4..12], [0, 0, 0, 0, 5, 0, 0, 0]);
        // Its first field: PATH, a variant of type o, "/".
        assert_eq!(bytes[16..26], [1, 1, b'o', 0, 1, 0, 0, 0, b'/', 0]);
        assert_eq!(bytes.len() % 8, 0);
        assert_eq!(length(bytes.first_chunk().expect("a head")), Some(bytes.len()));
    }

    #[test]
    fn a_signal_is_read() {
        let bytes = job_removed();
        let signal = Incoming::parse(&bytes).expect("a message");
        assert_eq!((signal.kind, signal.member.as_str()), (Some(Kind::Signal), "JobRemoved"));
        assert_eq!(signal.sender, ":1.0");
        let arguments = signal.arguments();
        assert_eq!(arguments.len(), 4);
        assert_eq!((&arguments[0], &arguments[3]), (&Value::U32(4), &Value::str("done")));
    }

    #[test]
    fn errors_and_variants_are_read() {
        let fields = vec![(ERROR_NAME, Value::str("x.Y")), (REPLY_SERIAL, Value::U32(3))];
        let error = Incoming::parse(&message(3, fields, &[Value::str("why")])).expect("a message");
        assert_eq!((error.error.as_str(), error.reply_to), ("x.Y", 3));
        assert_eq!(error.text().as_deref(), Some("why"));
        let variant = Value::Variant(Box::new(Value::str("257.3-1")));
        let reply = message(2, vec![(REPLY_SERIAL, Value::U32(1))], &[variant]);
        assert_eq!(Incoming::parse(&reply).expect("a message").text().as_deref(), Some("257.3-1"));
    }

    /// Every byte of a message changed to many values, and every message cut: an answer or
    /// none, but no panic.
    #[test]
    fn hostile_messages_are_survived() {
        let good = job_removed();
        for at in 0..good.len() {
            for value in [0, 1, 7, 127, 128, 255] {
                let mut bytes = good.clone();
                bytes[at] = value;
                if let Some(message) = Incoming::parse(&bytes) {
                    message.arguments();
                }
            }
            assert_eq!(Incoming::parse(&good[..at]), None);
        }
    }

    #[test]
    fn long_and_foreign_messages_are_refused() {
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&[b'l', 2, 0, 1]);
        assert_eq!(length(&head), Some(HEAD));
        for (at, value) in [(0, b'B'), (3, 2), (6, 16), (7, 255), (14, 16), (15, 255)] {
            let mut bad = head;
            bad[at] = value;
            assert_eq!(length(&bad), None, "{at}");
        }
    }
}
