//! One broker after the other.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};

use clsess_holder::protocol::{Exit, Reply, Request, Successor, encode_request};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Holder, MS, exists, parent, program, shell, stat_field, until};

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

/// The files of the agent's life: outbox, inbox, notes.
fn files(holder: &mut Holder) -> [File; 3] {
    let mut lent = holder.lend();
    let files = lent.split_off(lent.len() - 3);
    let numbers: Vec<u8> = files.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [128, 129, 130]);
    files
        .into_iter()
        .map(|(_, file)| file)
        .collect::<Vec<_>>()
        .try_into()
        .unwrap()
}

#[test]
fn an_agent_does_not_notice_that_its_broker_goes() {
    let mut holder = Holder::begin();
    let (agent, start_time) = holder.started(program("/bin/cat", &["cat"]));
    let mut pipes = holder.pipes();
    pipes.write("be");
    drop(pipes);
    holder.hang_up();
    holder.next_broker();
    let pid = agent;
    assert_eq!(holder.hear(), Reply::Started { pid, start_time });
    let mut pipes = holder.pipes();
    pipes.write("fore and after\n");
    assert_eq!(pipes.line(), "before and after");
    assert!(exists(agent));
}

#[test]
fn what_was_written_down_is_there_for_the_next_one() {
    let mut holder = Holder::begin();
    holder.start(program("/bin/cat", &["cat"]));
    let [mut outbox, mut inbox, mut notes] = files(&mut holder);
    outbox.write_all(b"out").unwrap();
    inbox.write_all(b"in").unwrap();
    notes.write_all(b"notes").unwrap();
    // The offset is the file's, not the descriptor's: it says how far the broker had come.
    outbox.seek(SeekFrom::Start(1)).unwrap();
    drop((outbox, inbox, notes));
    holder.hang_up();
    holder.next_broker();
    holder.hear();
    let [mut outbox, mut inbox, mut notes] = files(&mut holder);
    assert_eq!(outbox.stream_position().unwrap(), 1);
    assert_eq!(inbox.stream_position().unwrap(), 2);
    for (file, expected) in [
        (&mut outbox, "out"),
        (&mut inbox, "in"),
        (&mut notes, "notes"),
    ] {
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, expected);
    }
}

#[test]
fn an_agent_that_exits_meanwhile_is_told_of_with_its_output() {
    let mut holder = Holder::begin();
    let agent = holder.start_script("read line; echo \"got $line\"; exit 7");
    let mut pipes = holder.pipes();
    holder.hang_up();
    pipes.write("it\n");
    drop(pipes);
    until("the agent's exit", || !exists(agent));
    holder.next_broker();
    assert!(matches!(holder.hear(), Reply::Started { pid, .. } if pid == agent));
    // It may still be clearing up behind the agent.
    assert_eq!(holder.hear(), Reply::Exited(Exit::Exited(7)));
    let mut pipes = holder.pipes();
    assert_eq!(pipes.line(), "got it");
    let exit = Exit::Exited(7);
    assert_eq!(holder.hear(), Reply::Ended { exit, left: false });
    holder.exits();
}

#[test]
fn an_end_that_was_asked_for_comes_without_a_broker() {
    let mut holder = Holder::begin();
    let agent =
        holder.start_script("trap '' TERM; echo ready; while :; do sleep 1000 & wait $!; done");
    assert_eq!(holder.pipes().line(), "ready");
    holder.end(100 * MS);
    holder.hang_up();
    holder.exits();
    assert!(!exists(agent));
}

#[test]
fn there_is_one_broker_at_a_time() {
    let mut holder = Holder::begin();
    holder.start(program("/bin/cat", &["cat"]));
    let mut before = holder.displaced_by_next_broker();
    // The one before is not listened to any more, and sees that it has gone.
    let _ = before.write_all(&encode_request(&Request::End {
        grace_ms: 0,
        now: true,
    }));
    let mut rest = Vec::new();
    before.read_to_end(&mut rest).unwrap_or_default();
    holder.hear();
    let mut pipes = holder.pipes();
    pipes.write("alive\n");
    assert_eq!(pipes.line(), "alive");
}

/// A broker whose socket is full is one that hangs: it is given up, and the agent goes on.
#[test]
fn a_broker_that_does_not_read_is_given_up() {
    let mut holder = Holder::begin();
    let (agent, start_time) = holder.started(program("/bin/cat", &["cat"]));
    let descriptors = format!("/proc/{}/fd", holder.pid());
    let open = || fs::read_dir(&descriptors).unwrap().count();
    let with_broker = open();
    let lend = encode_request(&Request::Lend).repeat(1000);
    // A Lent is small, but its descriptors fill the kernel's patience; in the end nobody reads this side either.
    until("the broker is given up", || {
        holder.try_say_bytes(&lend);
        open() < with_broker
    });
    holder.next_broker();
    let pid = agent;
    assert_eq!(holder.hear(), Reply::Started { pid, start_time });
}

#[test]
fn when_the_broker_goes_another_one_is_started_beside_the_holder() {
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("told");
    let script = format!(
        "echo $$ \"$WHAT\" >{0}.new; mv {0}.new {0}; exec sleep 1000",
        told.display()
    );
    let mut holder = Holder::begin();
    holder.say(&Request::Successor(Successor {
        args: ["/bin/sh", "-c", &script].map(Into::into).to_vec(),
        env: vec![(b"WHAT".to_vec(), b"told".to_vec())],
    }));
    let agent = holder.start(shell("exec cat"));
    holder.hang_up();
    until("the successor", || told.exists());
    let text = fs::read_to_string(&told).unwrap();
    let (pid, what) = text.trim().split_once(' ').unwrap();
    let pid: u32 = pid.parse().unwrap();
    assert_eq!(what, "told");
    // A sibling in a session of its own, with no signal blocked: the holder's end is none of its business.
    assert_eq!(parent(pid), parent(holder.pid()));
    assert_eq!(stat_field(pid, 6), Some(pid.to_string()));
    assert_eq!(parent(agent), Some(holder.pid()));
    signal(holder.pid(), Signal::SIGTERM);
    holder.exits();
    assert!(exists(pid) && !exists(agent));
    signal(pid, Signal::SIGTERM);
    until("its end", || {
        let _ = nix::sys::wait::waitpid(Pid::from_raw(pid.cast_signed()), None);
        !exists(pid)
    });
}

#[test]
fn no_successor_is_started_when_another_broker_has_come_or_an_end_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("told");
    let mut holder = Holder::begin();
    let successor = Request::Successor(Successor {
        args: [b"/bin/touch".to_vec(), told.display().to_string().into()].to_vec(),
        env: Vec::new(),
    });
    holder.say(&successor);
    holder.start(program("/bin/cat", &["cat"]));
    holder.hang_up();
    holder.next_broker();
    holder.hear();
    holder.end(20_000 * MS);
    holder.hang_up();
    holder.exits();
    assert!(!told.exists());
}
