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
    a_job_is_found_among_those_of_others: needs(Need::NoSystemd).rt_only(),
    names_that_systemd_escapes_are_known: needs(Need::NoSystemd).rt_only(),
    a_slice_that_cannot_be_filled_is_stopped:
        needs(Need::NoSystemd).needs(Need::NoController("memory")).rt_only(),
    a_systemd_that_only_says_so_is_found_out: needs(Need::NoSystemd).rt_only(),
    only_systemd_is_believed_that_a_job_has_ended: needs(Need::NoSystemd).rt_only(),
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
    let head_alone = b"l\x02\0\x01\0\0\0\0\x01\0\0\0\0\0\0\0";
    let answers = [
        b"REJECTED\r\n".to_vec(),
        b"\xff\xff\xff\r\n".to_vec(),
        ok.to_vec(),
        [&ok[..], no_message].concat(),
        [&ok[..], error].concat(),
        [&ok[..], head_alone].concat(),
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
    for reason in ["EACCES", "EACCES", "ECONNRESET", "EBADMSG", "EBADMSG", "EBADMSG"] {
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

/// The end of a job.
fn ended(job: &Value, unit: &str, result: &str) -> Vec<u8> {
    let content = [Value::U32(1), job.clone(), Value::str(unit), Value::str(result)];
    let fields = [(1, Value::Path("/a".into())), (3, Value::str("JobRemoved"))];
    message(SIGNAL, &fields, &content)
}

/// Starts the unit by words only; the end of the job is told before the job is.
fn pretend(stream: UnixStream, unit: &str, result: &str) {
    pretend_on_a_bus(stream, unit, &[("", result)], "");
}

/// The same where a bus tells who has sent what: some say how the job has ended, and systemd says
/// which one it is.
fn pretend_on_a_bus(mut stream: UnixStream, unit: &str, said: &[(&str, &str)], systemd: &str) {
    stream.write_all(GREETING).unwrap();
    let (serial, _) = call(&mut stream).expect("a call");
    let job = Value::Path("/job/1".into());
    for (sender, result) in said {
        let ended = [Value::U32(1), job.clone(), Value::str(unit), Value::str(*result)];
        let mut fields = vec![(1, Value::Path("/a".into())), (3, Value::str("JobRemoved"))];
        if !sender.is_empty() {
            fields.push((7, Value::str(*sender)));
        }
        stream.write_all(&message(SIGNAL, &fields, &ended)).unwrap();
    }
    let mut fields = vec![(5, serial)];
    if !systemd.is_empty() {
        fields.push((7, Value::str(systemd)));
    }
    stream.write_all(&message(RETURN, &fields, &[job])).unwrap();
    let _ = stream.read(&mut [0]);
}

/// Anybody on a bus can send a signal to somebody.
fn only_systemd_is_believed_that_a_job_has_ended(c: &Case) {
    let name = unit(c);
    with_fake_systemd(move |stream| {
        let said = [(":1.66", "done"), (":1.2", "failed"), (":1.67", "done")];
        pretend_on_a_bus(stream, &name, &said, ":1.2");
    });
    let out = rt(c, &["create", "-b", &bundle(c).save(), ID]);
    out.fails(&format!("the job of {} ended as: failed", unit(c)));
    c.nothing_left();
    sys::umount_detach(Path::new("/run")).unwrap();
}

/// systemd tells of all jobs that end, on a busy machine of thousands.
fn a_job_is_found_among_those_of_others(c: &Case) {
    let name = unit(c);
    with_fake_systemd(move |mut stream| {
        stream.write_all(GREETING).unwrap();
        let (serial, _) = call(&mut stream).expect("a call");
        let job = Value::Path("/job/1".into());
        for number in 0..3000 {
            let other = Value::Path(format!("/job/{}", number + 2));
            stream.write_all(&ended(&other, "other.service", "done")).unwrap();
            if number == 1500 {
                stream
                    .write_all(&message(RETURN, &[(5, serial.clone())], std::slice::from_ref(&job)))
                    .unwrap();
            }
        }
        stream.write_all(&ended(&job, &name, "failed")).unwrap();
        let _ = stream.read(&mut [0]);
    });
    let out = rt(c, &["create", "-b", &bundle(c).save(), ID]);
    out.fails(&format!("the job of {} ended as: failed", unit(c)));
    c.nothing_left();
    sys::umount_detach(Path::new("/run")).unwrap();
}

/// Makes the cgroup that it is asked for by a scope, by the name that systemd would give it, and
/// removes it when it is empty.
fn adopt(mut stream: UnixStream, cgroup: &Path, unit: &str) {
    stream.write_all(GREETING).unwrap();
    let mut bytes = vec![0; 65536];
    let length = stream.read(&mut bytes).expect("a call");
    let bytes = &bytes[..length];
    // The property, its type, the length of the list, and its one number.
    let at = bytes.windows(4).position(|window| window == b"PIDs").expect("a process");
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let list = (at + 4..).find(|at| at % 4 == 0 && number(*at) == 4).expect("a list of one");
    fs::create_dir(cgroup).unwrap();
    fs::write(cgroup.join("cgroup.procs"), number(list + 4).to_string()).unwrap();
    let serial = Value::U32(number(8));
    let job = Value::Path("/job/1".into());
    stream.write_all(&message(RETURN, &[(5, serial)], std::slice::from_ref(&job))).unwrap();
    stream.write_all(&ended(&job, unit, "done")).unwrap();
    let cgroup = cgroup.to_path_buf();
    std::thread::spawn(move || {
        while fs::remove_dir(&cgroup).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    });
}

/// A slice of the container's own stays when it is empty, also after a create that has failed. It is
/// not asked for with a property that no slice has.
fn a_slice_that_cannot_be_filled_is_stopped(c: &Case) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = calls.clone();
    let cgroup = c.cgroup_dir().unwrap().join("own.slice");
    let path = format!("/{}/own.slice", cgroup.parent().unwrap().file_name().unwrap().display());
    with_fake_systemd(move |mut stream| {
        stream.write_all(GREETING).unwrap();
        while let Some((serial, text)) = call(&mut stream) {
            let job = Value::Path("/job/1".into());
            let (answer, ends) = if text.contains("StartTransientUnit") {
                fs::create_dir(&cgroup).unwrap();
                (job.clone(), true)
            } else if text.contains("StopUnit") {
                fs::remove_dir(&cgroup).unwrap();
                (job.clone(), true)
            } else if text.contains("ControlGroup") {
                (Value::Variant(Box::new(Value::str(path.as_str()))), false)
            } else {
                (Value::Path("/unit".into()), false)
            };
            stream.write_all(&message(RETURN, &[(5, serial)], &[answer])).unwrap();
            if ends {
                stream.write_all(&ended(&job, "own.slice", "done")).unwrap();
            }
            seen.lock().unwrap().push(text);
        }
    });
    let mut b = bundle(c);
    b.set("/linux/cgroupsPath", json!("::own.slice"));
    b.set("/linux/resources/unified", json!({"memory.oom.group": "1"}));
    rt(c, &["create", "-b", &b.save(), ID]).fails("linux.resources.unified[\"memory.oom.group\"]");
    let calls = calls.lock().unwrap();
    let count = |name: &str| calls.iter().filter(|text| text.contains(name)).count();
    assert_eq!((count("StartTransientUnit"), count("StopUnit")), (1, 1), "{calls:?}");
    assert_eq!(count("OOMPolicy"), 0, "{calls:?}");
    c.nothing_left();
    sys::umount_detach(Path::new("/run")).unwrap();
}

/// A unit whose name could be that of a file of the kernel has a cgroup of another name.
fn names_that_systemd_escapes_are_known(c: &Case) {
    let asked = Arc::new(Mutex::new((String::new(), c.cgroup_dir().unwrap())));
    let seen = asked.clone();
    with_fake_systemd(move |stream| {
        let (unit, cgroup) = seen.lock().unwrap().clone();
        adopt(stream, &cgroup, &unit);
    });
    for (prefix, escaped) in
        [("_x", "_"), ("memory.x", "_"), ("cgroup.x", "_"), ("memory", ""), ("x", "")]
    {
        let unit = format!("{prefix}-{}.scope", name(c));
        let cgroup = c.cgroup_dir().unwrap().join(format!("{escaped}{unit}"));
        *asked.lock().unwrap() = (unit, cgroup.clone());
        let mut b = bundle(c);
        b.set("/linux/cgroupsPath", json!(format!(":{prefix}:{}", name(c))));
        rt(c, &["create", "-b", &b.save(), ID]).ok();
        let procs = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap();
        assert_eq!(procs.trim(), c.pid().to_string());
        rt(c, &["delete", "--force", ID]).ok();
        c.nothing_left();
    }
    sys::umount_detach(Path::new("/run")).unwrap();
}

fn a_failed_job_is_an_error(c: &Case) {
    let name = unit(c);
    with_fake_systemd(move |stream| pretend(stream, &name, "failed"));
    let out = rt(c, &["create", "-b", &bundle(c).save(), ID]);
    out.fails(&format!("the job of {} ended as: failed", unit(c)));
    c.nothing_left();
    sys::umount_detach(Path::new("/run")).unwrap();
}

fn a_systemd_that_only_says_so_is_found_out(c: &Case) {
    let name = unit(c);
    with_fake_systemd(move |stream| pretend(stream, &name, "done"));
    let out = rt(c, &["create", "-b", &bundle(c).save(), ID]);
    out.fails("systemd has left the first process in cgroup /");
    c.nothing_left();
    sys::umount_detach(Path::new("/run")).unwrap();
}
