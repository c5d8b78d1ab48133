//! The program in another version, and the request itself.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use clsess_proto::{Hello, Request, ToBroker, frame};
use nix::fcntl::{Flock, FlockArg};
use serde_json::{Value, json};

use crate::harness::{CLSESS, Cmd, PATIENCE, World};

/// The version of the command under test.
pub const OLD: &str = clsess_proto::VERSION;
/// That of [`newer`].
pub const NEW: &str = "9.9.9";

/// The command under test with another version: its bytes, but for those of its version.
pub fn newer() -> String {
    static MADE: OnceLock<String> = OnceLock::new();
    MADE.get_or_init(made).clone()
}

fn made() -> String {
    assert_eq!(NEW.len(), OLD.len());
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(NEW);
    fs::create_dir_all(&dir).unwrap();
    let program = dir.join("clsess");
    // One that is made twice is another program to the broker that was started from the first.
    let _alone = Flock::lock(fs::File::open(&dir).unwrap(), FlockArg::LockExclusive).unwrap();
    let written = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified());
    if written(&program).is_err()
        || written(&program).unwrap() < written(Path::new(CLSESS)).unwrap()
    {
        make(&program);
    }
    let said = Command::new(&program).arg("--version").output().unwrap();
    assert_eq!(said.stdout, format!("clsess {NEW}\n").as_bytes());
    program.to_str().unwrap().to_owned()
}

/// Beside it first: other tests use it.
fn make(program: &Path) {
    let mut bytes = Vec::new();
    fs::File::open(CLSESS)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    let length = OLD.len();
    let mut at = 0;
    while let Some(found) = bytes[at..]
        .windows(length)
        .position(|it| it == OLD.as_bytes())
    {
        at += found;
        bytes[at..at + length].copy_from_slice(NEW.as_bytes());
    }
    let beside = program.with_extension(std::process::id().to_string());
    fs::write(&beside, bytes).unwrap();
    fs::set_permissions(&beside, fs::metadata(CLSESS).unwrap().permissions()).unwrap();
    fs::rename(&beside, program).unwrap();
}

/// `clsess ARG...` of the newer version.
pub fn new(world: &World, args: &[&str]) -> Cmd {
    world.program(&newer(), args)
}

/// The version of the broker that runs.
pub fn version(world: &World) -> String {
    let status = world.clsess(&["broker", "status", "--json"]).run().ok();
    status.json()["version"].as_str().unwrap().to_owned()
}

/// Upgrades, and checks what is said of it.
pub fn upgrade(world: &World) {
    let before = world.broker();
    let done = new(world, &["broker", "upgrade"]).run().ok();
    let pid = world.broker();
    assert_ne!(pid, before);
    let said = format!("upgraded: {OLD} -> {NEW} (pid {pid})\n");
    assert_eq!((done.text(), done.stderr.as_str()), (&*said, ""));
    assert_eq!(version(world), NEW);
}

/// A script that is executed in the place of a newer version.
pub fn script(world: &World, lines: &str) -> PathBuf {
    let file = world.root().join("bin/candidate");
    let beside = file.with_extension("new");
    fs::write(&beside, format!("#!/bin/bash\n{lines}\n")).unwrap();
    fs::set_permissions(&beside, fs::metadata(CLSESS).unwrap().permissions()).unwrap();
    fs::rename(&beside, &file).unwrap();
    file
}

/// Asks for it; `None` when the connection ends instead of an answer.
pub fn ask(world: &World, program: &Path, unasked: bool) -> Option<Value> {
    let program: Vec<u8> = program.to_str().unwrap().into();
    let upgrade = Request::Upgrade {
        program: program.into(),
        version: NEW.to_owned(),
        force: false,
        unasked,
    };
    call(world, upgrade)
}

/// Asks for something; `None` when the connection ends instead of an answer.
pub fn call(world: &World, request: Request) -> Option<Value> {
    let mut stream = UnixStream::connect(world.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = Box::new(request);
    let said = [
        ToBroker::Hello(Hello::client()),
        ToBroker::Request {
            id: 1,
            first_asked: None,
            request,
        },
    ];
    for message in said {
        stream.write_all(&frame::to_wire(&message).unwrap()).ok()?;
    }
    let mut heard = || match frame::read(&mut stream) {
        Ok(body) => body.map(|body| frame::decode::<Value>(&body).unwrap()),
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => None,
        Err(e) => panic!("{e}"),
    };
    assert_eq!(heard()?["type"], "hello");
    heard()
}

/// Asks for it, which must fail; the message.
pub fn refused(world: &World, program: &Path, unasked: bool) -> String {
    let answer = ask(world, program, unasked).expect("an answer");
    assert_eq!(answer["error"]["code"], json!("upgrade_failed"), "{answer}");
    answer["error"]["message"].as_str().unwrap().to_owned()
}
