//! `wait`.

use std::io::Write;
use std::os::unix::net::UnixStream;

use clsess_proto::{ErrorCode, Hello, Reply, Request, State, ToBroker, ToClient, Until, frame};

use crate::harness::{PATIENCE, World};
use crate::{asks, held};

#[test]
fn idle_is_when_nothing_runs_and_nothing_waits() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let running = held(&world, "work");
    let next = world.clsess(&["send", "work", "next"]).spawn();
    world.wait_queued("work", 1);
    let waiting = world.clsess(&["wait", "work"]).spawn();
    assert!(waiting.runs());
    world.api.release("h");
    let done = waiting.wait().ok();
    assert_eq!((done.text(), done.stderr.as_str()), ("", ""));
    assert_eq!(world.show("work")["turns"], 2);
    running.wait().ok();
    next.wait().ok();
}

#[test]
fn any_prints_the_one_of_which_it_is_so() {
    let Some(world) = World::real() else { return };
    world.session("one");
    world.session("other");
    asks(&world, "write");
    let question = ["wait", "--any", "--for", "question", "one", "other"];
    let any = world.clsess(&question).spawn();
    let all = ["wait", "--for", "question", "one", "other"];
    let all = world.clsess(&all).spawn();
    let send = |name| {
        let send = ["send", "--on-question", "wait", name, "write"];
        world.clsess(&send).spawn()
    };
    let first = send("other");
    assert_eq!(any.wait().ok().text(), "other\n");
    assert!(all.runs());
    let second = send("one");
    all.wait().ok();
    for (name, send) in [("other", first), ("one", second)] {
        world.clsess(&["deny", name]).run().ok();
        send.wait().ok();
    }
}

/// A connection that waits for each of these of `work`, under the ids 1, 2, ... The broker has
/// taken all of them up: the command cannot tell when that is so.
fn waiting(world: &World, what: &[Until]) -> UnixStream {
    let mut stream = UnixStream::connect(world.socket()).unwrap();
    let mut say = |message: &ToBroker| stream.write_all(&frame::to_wire(message).unwrap()).unwrap();
    say(&ToBroker::Hello(Hello::client()));
    let waits = what.iter().map(|until| Request::Wait {
        sessions: vec!["work".to_owned()],
        until: *until,
        any: false,
        seen: Vec::new(),
    });
    for (id, request) in (1..).zip(waits.chain([Request::Status {}])) {
        say(&ToBroker::Request {
            first_asked: None,
            id,
            request: Box::new(request),
        });
    }
    let last = what.len() as u64 + 1;
    assert!(matches!(next(&mut stream), ToClient::Hello(_)));
    let status = next(&mut stream);
    assert!(
        matches!(status, ToClient::Reply { id, .. } if id == last),
        "{status:?}"
    );
    stream
}

fn next(stream: &mut UnixStream) -> ToClient {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let bytes = frame::read(stream)
        .unwrap()
        .expect("the broker ends the connection");
    frame::decode(&bytes).unwrap()
}

#[test]
fn a_change_is_of_the_state_the_queue_or_the_turns() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let change = || {
        let mut stream = waiting(&world, &[Until::Change]);
        move || match next(&mut stream) {
            ToClient::Reply { reply, .. } => match *reply {
                Reply::Waited { mut sessions } => sessions.remove(0),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    let mut state = change();
    let running = held(&world, "work");
    assert_eq!(state().state, State::Working);
    let mut queue = change();
    let later = world.clsess(&["send", "work", "next"]).spawn();
    let row = queue();
    assert_eq!((row.state, row.queue), (State::Working, 1));
    let mut queue = change();
    world.clsess(&["queue", "work", "clear"]).run().ok();
    later.wait().fails(10);
    let row = queue();
    assert_eq!((row.state, row.queue), (State::Working, 0));
    world.api.release("h");
    running.wait().ok();
}

#[test]
fn the_end_of_a_session_is_an_exit_and_a_change_and_no_idleness() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let send = held(&world, "work");
    let all = [Until::Exit, Until::Change, Until::Idle, Until::Question];
    let mut stream = waiting(&world, &all);
    world.clsess(&["kill", "work"]).run().ok();
    for _ in all {
        match next(&mut stream) {
            ToClient::Reply { id: 1 | 2, reply } => {
                assert!(matches!(*reply, Reply::Waited { .. }), "{reply:?}");
            }
            ToClient::Error { id: 3 | 4, error } => {
                assert_eq!(error.code, ErrorCode::Killed);
                assert_eq!(error.message, "work was killed");
            }
            other => panic!("{other:?}"),
        }
    }
    send.wait().fails(10);
    world.clsess(&["wait", "work"]).run().fails(3);
}

#[test]
fn a_timeout_is_told_and_ends_with_its_own_code() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let send = held(&world, "work");
    let wait = world.clsess(&["wait", "--timeout", "100ms", "work"]);
    let done = wait.run().fails(124);
    assert_eq!(done.stderr, "clsess: work: not so within 100ms\n");
    assert_eq!(done.text(), "");
    let json = ["wait", "--json", "--timeout", "100ms", "work"];
    let done = world.clsess(&json).run().fails(124).json();
    assert_eq!(done["error"]["code"], "timed_out");
    world.api.release("h");
    send.wait().ok();
}

#[test]
fn who_waits_goes_on_with_the_next_broker() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let held = held(&world, "work");
    let relay = world.relay();
    let wait = ["wait", "--json", "--for", "exit", "work"];
    let waiting = relay.clsess(&world, &wait).spawn();
    let idle = relay.clsess(&world, &["wait", "work"]).spawn();
    relay.wait_asked("wait", 2);
    world.kill_broker();
    relay.cut();
    relay.wait_asked("wait", 4);
    world.api.release("h");
    held.wait().ok();
    idle.wait().ok();
    world.clsess(&["kill", "work"]).run().ok();
    let row = waiting.wait().ok().json();
    assert_eq!(row["sessions"][0]["state"], "gone");
}
