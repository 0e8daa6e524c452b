//! The systemd driver in front of a systemd that is old, does not answer, or lies.

use crate::support::systemd::*;
use crate::support::{Case, ID, Need, sys};
use crate::tests;
use rt::dbus::Value;
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

tests! {
    a_silent_systemd_is_given_up: needs(Need::NoSystemd).rt_only(),
    a_hostile_systemd_is_an_error: needs(Need::NoSystemd).rt_only(),
    an_old_systemd_gets_what_it_knows: needs(Need::NoSystemd).rt_only(),
    a_failed_job_is_an_error: needs(Need::NoSystemd).rt_only(),
    a_systemd_that_only_says_so_is_found_out: needs(Need::NoSystemd).rt_only(),
}

/// A machine whose systemd is this function: what it gets is a connection that has asked to
/// be let in. The mounts are those of this test's process only.
fn with_fake_systemd(serve: impl Fn(UnixStream) + Send + 'static) {
    sys::mount("none", Path::new("/run"), "tmpfs", 0, "mode=755").expect("a /run of our own");
    fs::create_dir_all("/run/systemd/system").unwrap();
    let listener = UnixListener::bind("/run/systemd/private").unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 29];
            stream.read_exact(&mut asked).unwrap();
            assert_eq!(&asked, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
            serve(stream);
        }
    });
}

fn a_silent_systemd_is_given_up(c: &Case) {
    with_fake_systemd(|mut stream| {
        stream.write_all(b"DATA\r\nOK 0123\r\n").unwrap();
        std::thread::spawn(move || stream.read_to_end(&mut Vec::new()));
    });
    let started = Instant::now();
    let cmd = rt_cmd(c, &["create", "-b", &bundle(c).save(), ID]);
    let out = cmd.run().fails("nothing after 30 s; see `systemctl list-jobs`");
    assert!(out.err().contains("wait for systemd at /run/systemd/private"), "{}", out.err());
    assert!(started.elapsed().as_secs() >= 29, "{:?}", started.elapsed());
    c.nothing_left();
    sys::umount_detach(Path::new("/run")).unwrap();
}

fn a_hostile_systemd_is_an_error(c: &Case) {
    let turn = AtomicUsize::new(0);
    // A call's head is 16 bytes: order, kind, flags, version, lengths, serial.
    let error = b"l\x03\0\x01\xff\xff\xff\xff\x01\0\0\0\xff\xff\xff\xff";
    let ok = b"DATA\r\nOK 0123\r\n";
    let no_message = b"B\x02\0\x01 this is not a message of D-Bus";
    let answers = [
        b"REJECTED\r\n".to_vec(),
        b"\xff\xff\xff\r\n".to_vec(),
        ok.to_vec(),
        [&ok[..], no_message].concat(),
        [&ok[..], error].concat(),
    ];
    with_fake_systemd(move |mut stream| {
        let turn = turn.fetch_add(1, Relaxed);
        stream.write_all(&answers[turn]).unwrap();
        // The third hangs up, the others would go on.
        if turn != 2 {
            std::thread::spawn(move || stream.read_to_end(&mut Vec::new()));
        }
    });
    let bundle = bundle(c).save();
    for reason in ["EACCES", "EACCES", "ECONNRESET", "EBADMSG", "EBADMSG"] {
        let out = rt(c, &["create", "-b", &bundle, ID]).fails(reason);
        assert!(out.err().contains("systemd"), "{}", out.err());
        assert_eq!(out.err().lines().count(), 1, "{}", out.err());
        c.nothing_left();
    }
    sys::umount_detach(Path::new("/run")).unwrap();
}

const GREETING: &[u8] = b"DATA\r\nOK 0123\r\n";
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// A message of D-Bus: its header fields by code, and what it holds.
fn message(kind: u8, fields: &[(u8, Value)], body: &[Value]) -> Vec<u8> {
    let mut content = Vec::new();
    body.iter().for_each(|value| value.put(&mut content));
    let signature = body.iter().map(Value::signature).collect();
    let mut all = fields.to_vec();
    all.push((8, Value::Signature(signature)));
    let field =
        |(code, value)| Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]);
    let mut out = vec![b'l', kind, 0, 1];
    out.extend((content.len() as u32).to_le_bytes());
    out.extend(77u32.to_le_bytes());
    Value::Array("(yv)".into(), all.into_iter().map(field).collect()).put(&mut out);
    out.resize(out.len().next_multiple_of(8), 0);
    out.extend(content);
    out
}

/// The next call: its serial number and its bytes as text.
fn call(stream: &mut UnixStream) -> Option<(Value, String)> {
    let mut bytes = vec![0; 65536];
    let length = stream.read(&mut bytes).ok().filter(|length| *length > 16)?;
    let serial = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    Some((Value::U32(serial), String::from_utf8_lossy(&bytes[..length]).into_owned()))
}

fn an_old_systemd_gets_what_it_knows(c: &Case) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = calls.clone();
    with_fake_systemd(move |mut stream| {
        stream.write_all(GREETING).unwrap();
        while let Some((serial, text)) = call(&mut stream) {
            let error = |name| [(5, serial.clone()), (4, Value::str(name))];
            let answer = if text.contains("AllowedCPUs") {
                message(ERROR, &error("x.PropertyReadOnly"), &[Value::str("unknown property")])
            } else if text.contains("Version") {
                let version = Value::Variant(Box::new(Value::str("243 (243.8-1)")));
                message(RETURN, &[(5, serial)], &[version])
            } else {
                message(ERROR, &error("x.Enough"), &[Value::str("that was all")])
            };
            seen.lock().unwrap().push(text);
            stream.write_all(&answer).unwrap();
        }
    });
    let mut b = bundle(c);
    b.set("/linux/resources/cpu", json!({"quota": 1000, "period": 2000, "cpus": "0"}));
    let out = rt(c, &["create", "-b", &b.save(), ID]);
    out.fails("systemd says: that was all (x.Enough)");
    let calls = calls.lock().unwrap();
    assert_eq!(calls.len(), 3, "{calls:?}");
    assert!(calls[2].contains("CPUQuotaPeriodUSec") && calls[2].contains("StartTransientUnit"));
    c.nothing_left();
    sys::umount_detach(Path::new("/run")).unwrap();
}

/// Starts the unit by words only; the end of the job is told before the job is.
fn pretend(mut stream: UnixStream, result: &str) {
    stream.write_all(GREETING).unwrap();
    let (serial, _) = call(&mut stream).expect("a call");
    let job = Value::Path("/job/1".into());
    let ended = [Value::U32(1), job.clone(), Value::str("a.scope"), Value::str(result)];
    let fields = [(1, Value::Path("/a".into())), (3, Value::str("JobRemoved"))];
    stream.write_all(&message(SIGNAL, &fields, &ended)).unwrap();
    stream.write_all(&message(RETURN, &[(5, serial)], &[job])).unwrap();
    let _ = stream.read(&mut [0]);
}

fn a_failed_job_is_an_error(c: &Case) {
    with_fake_systemd(|stream| pretend(stream, "failed"));
    let out = rt(c, &["create", "-b", &bundle(c).save(), ID]);
    out.fails(&format!("the job of {} ended as: failed", unit(c)));
    c.nothing_left();
    sys::umount_detach(Path::new("/run")).unwrap();
}

fn a_systemd_that_only_says_so_is_found_out(c: &Case) {
    with_fake_systemd(|stream| pretend(stream, "done"));
    let out = rt(c, &["create", "-b", &bundle(c).save(), ID]);
    out.fails("systemd has left the first process in cgroup /");
    c.nothing_left();
    sys::umount_detach(Path::new("/run")).unwrap();
}
