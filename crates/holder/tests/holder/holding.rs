//! While the agent lives: lending, reaping, refusing, and otherwise sleeping.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use clsess_holder::protocol::{Exit, MAX_FRAME, Reason, Refused, Reply, Request, encode_request};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Holder, MS, exists, parent, program, shell, stat_field, status_line, until};

#[test]
fn bytes_go_through_the_lent_pipes() {
    let mut holder = Holder::begin();
    holder.start_script("echo problem >&2; exec cat");
    let mut pipes = holder.pipes();
    pipes.write("there\nand back\n");
    assert_eq!(
        (pipes.line(), pipes.line()),
        ("there".to_owned(), "and back".to_owned())
    );
    let mut problem = [0; 8];
    pipes.stderr.read_exact(&mut problem).unwrap();
    assert_eq!(&problem, b"problem\n");

    pipes.close_stdin();
    holder.end(10_000 * MS);
    holder.ends_with(Exit::Exited(0));
    let mut rest = String::new();
    pipes.stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}

#[test]
fn a_second_loan_works_after_the_first_is_closed() {
    let mut holder = Holder::begin();
    holder.start(program("/bin/cat", &["cat"]));
    drop(holder.pipes());
    let mut pipes = holder.pipes();
    pipes.write("still there\n");
    assert_eq!(pipes.line(), "still there");
}

#[test]
fn after_end_the_input_is_not_lent_and_the_output_can_be_read() {
    let mut holder = Holder::begin();
    holder.start_script(
        "cat; trap 'echo bye; exit 5' TERM; echo waiting; while :; do sleep 1000 & wait $!; done",
    );
    let mut pipes = holder.pipes();
    holder.end(2_000 * MS);
    let numbers: Vec<u8> = holder
        .lend()
        .into_iter()
        .map(|(number, _)| number)
        .collect();
    assert_eq!(numbers, [1, 2, 128, 129, 130]);
    pipes.close_stdin();
    assert_eq!(pipes.stdout.by_ref().bytes().next().unwrap().unwrap(), b'w');
    assert_eq!(
        (pipes.line(), pipes.line()),
        ("aiting".to_owned(), "bye".to_owned())
    );
    holder.ends_with(Exit::Exited(5));
}

#[test]
fn lend_before_start_and_start_twice_are_refused() {
    let mut holder = Holder::begin();
    holder.say(&Request::Lend);
    assert_eq!(
        holder.hear(),
        Reply::Refused(Refused {
            reason: Reason::NotNow,
            kind: 2
        })
    );
    holder.start(program("/bin/cat", &["cat"]));
    holder.say(&Request::Start(program("/bin/cat", &["cat"])));
    assert_eq!(
        holder.hear(),
        Reply::Refused(Refused {
            reason: Reason::NotNow,
            kind: 1
        })
    );
}

#[test]
fn what_is_not_understood_is_refused_and_changes_nothing() {
    let mut holder = Holder::begin();
    holder.start(program("/bin/cat", &["cat"]));
    let too_long = [
        &(MAX_FRAME as u32 + 1).to_be_bytes()[..],
        &vec![b'x'; MAX_FRAME + 1],
    ]
    .concat();
    let cases: [(&[u8], Reason, u8); 5] = [
        (b"\0\0\0\x03\x4dab", Reason::Unknown, 77),
        (b"\0\0\0\x01\x80", Reason::Unknown, 128),
        (b"\0\0\0\0", Reason::Malformed, 0),
        (b"\0\0\0\x03\x03ab", Reason::Malformed, 3),
        (&too_long, Reason::TooLong, 0),
    ];
    for (bytes, reason, kind) in cases {
        holder.say_bytes(bytes);
        assert_eq!(holder.hear(), Reply::Refused(Refused { reason, kind }));
        let mut pipes = holder.pipes();
        pipes.write("alive\n");
        assert_eq!(pipes.line(), "alive", "after {reason:?}");
    }
}

#[test]
fn a_request_may_come_byte_by_byte_or_with_others() {
    let mut holder = Holder::begin();
    let start = encode_request(&Request::Start(program("/bin/cat", &["cat"])));
    for byte in start {
        holder.say_bytes(&[byte]);
    }
    assert!(matches!(holder.hear(), Reply::Started { .. }));
    let both = [
        encode_request(&Request::Lend),
        encode_request(&Request::End {
            grace_ms: 5_000,
            now: true,
        }),
    ]
    .concat();
    holder.say_bytes(&both);
    assert!(matches!(holder.hear(), Reply::Lent { .. }));
    holder.ends_with(Exit::Signalled(15));
}

#[test]
fn what_lost_its_parent_is_reaped_while_the_agent_lives() {
    let mut holder = Holder::begin();
    let agent = holder.start_script("bash -c 'read -t 1000 < <(sleep 1000) & echo $!' ; exec cat");
    let mut pipes = holder.pipes();
    let orphan = pipes.pid();
    until("the orphan is the holder's", || {
        parent(orphan) == Some(holder.pid())
    });
    kill(Pid::from_raw(orphan as i32), Signal::SIGKILL).unwrap();
    until("the orphan is reaped", || !exists(orphan));
    assert!(exists(agent));
    pipes.write("alive\n");
    assert_eq!(pipes.line(), "alive");
}

#[test]
fn an_idle_holder_never_wakes() {
    let mut holder = Holder::begin();
    let pid = holder.pid();
    holder.start(program("/bin/cat", &["cat"]));
    let _pipes = holder.pipes();
    until("the holder sleeps", || {
        stat_field(pid, 3).as_deref() == Some("S")
    });
    let before = status_line(pid, "voluntary_ctxt_switches");
    std::thread::sleep(Duration::from_secs(1)); // the one sleep that is the measurement
    assert_eq!(status_line(pid, "voluntary_ctxt_switches"), before);
    assert_eq!(status_line(pid, "Threads"), "1");
    assert_eq!(status_line(pid, "Name"), "clsess-holder");
}

#[test]
fn it_is_started_by_a_broker_and_nobody_else() {
    let holder = || Command::new(env!("CARGO_BIN_EXE_holder-under-test"));
    let null = holder().stdin(Stdio::null()).status().unwrap();
    assert_eq!(null.code(), Some(2));
    let file = holder()
        .stdin(File::open("/etc/passwd").unwrap())
        .status()
        .unwrap();
    assert_eq!(file.code(), Some(2));
    // One end of a pair of sockets: what brokers gave before they could follow one another.
    let (_ours, theirs) = UnixStream::pair().unwrap();
    let pair = holder().stdin(OwnedFd::from(theirs)).status().unwrap();
    assert_eq!(pair.code(), Some(2));
}

#[test]
fn a_session_of_its_own_protects_from_the_brokers_terminal() {
    let holder = Holder::begin();
    assert_eq!(stat_field(holder.pid(), 6), Some(holder.pid().to_string()));
    for signal in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGPIPE] {
        kill(Pid::from_raw(holder.pid() as i32), signal).unwrap();
    }
    let mut holder = holder;
    assert_eq!(holder.output_of(shell("echo alive")), "alive\n");
}
