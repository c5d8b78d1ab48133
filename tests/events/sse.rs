//! `events --sse`: the same as the lines, in the form that browsers read.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Done, Running, World};
use crate::{asks, held, is, names, strictly_increasing, told, told_until};

/// The events of a stream, parsed as the HTML standard says, and held to more than that: nothing is in it
/// but what a browser needs. What has not ended yet is left out, as a browser does.
#[track_caller]
fn parsed(stream: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(stream);
    let whole = text.rfind("\n\n").map_or("", |end| &text[..end]);
    let mut blocks = whole.split("\n\n");
    assert!(!text.contains('\r'), "a CR ends a line too");
    match blocks.next() {
        None | Some("") => return Vec::new(),
        Some(comment) => assert_eq!(comment, ": from here on"),
    }
    blocks.map(event).collect()
}

#[track_caller]
fn event(block: &str) -> Value {
    let fields: Vec<_> = block
        .split('\n')
        .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("{line:?}")))
        .collect();
    let [("id", id), ("event", name), ("data", data)] = fields[..] else {
        panic!("{block:?}");
    };
    let event: Value = serde_json::from_str(data).unwrap();
    assert_eq!(event["seq"].to_string(), id);
    assert_eq!(event["event"], name);
    event
}

/// What a stream has told when it is so.
fn streamed(stream: &Running, such: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut events = Vec::new();
    stream.wait_stdout(|stdout| {
        events = parsed(stdout);
        events.iter().any(&such)
    });
    events
}

/// What has been said, in one.
fn texts(events: &[Value]) -> String {
    let texts = events.iter().filter(|event| is(event, "text"));
    texts.map(|event| event["text"].as_str().unwrap()).collect()
}

/// A stream that has begun.
fn sse(world: &World, since: &str) -> Running {
    let args = ["events", "--sse", "--since", since, "work"];
    let stream = world.clsess(&args).spawn();
    stream.wait_stdout(|stdout| stdout.starts_with(b": from here on\n\n"));
    stream
}

/// Ends `events` by the end of its session, which is told.
fn ended(world: &World, events: Running) -> Done {
    world.clsess(&["kill", "work"]).run().ok();
    events.wait().ok()
}

#[test]
fn a_stream_is_what_the_lines_are() {
    let Some(world) = World::real() else { return };
    world.session("work");
    asks(&world, "write");
    let hard = "Täst\r\n\r\ndata: x\n\nid: 1\n: \u{2028}\u{85}\u{feff} 日本語 🎉\n";
    world.api.answer("hard", hard);
    let lines = world.clsess(&["events", "--since", "0", "work"]).spawn();
    let stream = sse(&world, "0");
    assert_eq!(world.send("work", "hard"), hard);
    world.send("work", "write");
    let last = ended(&world, stream);
    let events = parsed(&last.stdout);
    assert!(last.stdout.ends_with(b"\n\n"));
    assert_eq!(events, lines.wait().ok().json_lines());
    for name in ["accepted", "text", "tool", "denied", "result", "state"] {
        assert!(names(&events).contains(&name), "no {name}: {events:?}");
    }
}

/// What is there of an answer is told before the rest of it comes.
#[test]
fn each_event_is_there_when_it_happens() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let stream = sse(&world, "0");
    let send = held(&world, "work");
    stream.wait_stdout(|stdout| texts(&parsed(stdout)) == "half an ");
    world.api.release("h");
    send.wait().ok();
    let events = streamed(&stream, |event| is(event, "result"));
    assert_eq!(texts(&events), "half an answer");
}

/// As a browser does, with the last number that it has seen whole.
#[test]
fn who_comes_back_with_the_last_id_has_exactly_the_rest() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let lines = world.clsess(&["events", "--since", "0", "work"]).spawn();
    let send = held(&world, "work");
    let mut events: Vec<Value> = Vec::new();
    for end in ["accepted", "text"] {
        let since = events
            .last()
            .map_or("0".to_owned(), |last| last["seq"].to_string());
        let stream = sse(&world, &since);
        let mut piece = streamed(&stream, |event| is(event, end));
        stream.signal(Signal::SIGKILL);
        // Of what came together with it nothing was read.
        let last = piece.iter().position(|event| is(event, end)).unwrap();
        piece.truncate(last + 1);
        events.extend(piece);
    }
    world.api.release("h");
    send.wait().ok();
    let since = events.last().unwrap()["seq"].to_string();
    events.extend(parsed(&ended(&world, sse(&world, &since)).stdout));
    strictly_increasing(&events);
    assert_eq!(events, lines.wait().ok().json_lines());
}

#[test]
fn a_stream_outlives_its_broker_as_the_lines_do() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let lines = world.clsess(&["events", "--since", "0", "work"]).spawn();
    let stream = sse(&world, "0");
    let send = held(&world, "work");
    // The first words, in two pieces, are all that the dead broker tells.
    stream.wait_stdout(|stdout| texts(&parsed(stdout)) == "half an ");
    told(&lines, |events| texts(events) == "half an ");
    world.kill_broker();
    world.api.release("h");
    send.wait().ok();
    // Who finds the next broker after the end of the session is told nothing more.
    streamed(&stream, |event| is(event, "result"));
    told_until(&lines, |event| is(event, "result"));
    let events = parsed(&ended(&world, stream).stdout);
    assert_eq!(events, lines.wait().ok().json_lines());
    let count = |name| names(&events).iter().filter(|it| **it == name).count();
    assert_eq!(
        (count("gap"), count("accepted"), count("result")),
        (1, 2, 1)
    );
    // How many are missing is not known: who comes back behind the gap asks for what is behind the last.
    let gap = events.iter().position(|event| is(event, "gap")).unwrap();
    assert_eq!(events[gap]["seq"], events[gap - 1]["seq"]);
    strictly_increasing(&events[gap..]);
}

/// A reader that is gone ends it, whether or not there is something to tell.
#[test]
fn a_reader_that_is_gone_ends_it_though_nothing_happens() {
    let Some(world) = World::real() else { return };
    world.session("work");
    for (events, reader) in [("events --sse", "head -n 1"), ("events", "true")] {
        let script = format!("clsess {events} work | {reader}; echo ${{PIPESTATUS[0]}}");
        let done = world.shell(&script).run().ok();
        assert_eq!(
            done.text().lines().last(),
            Some("141"),
            "{events}: {done:?}"
        );
        assert_eq!(done.stderr, "");
    }
}

#[test]
fn what_cannot_be_told_is_an_error_and_no_stream() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let lines = world.clsess(&["events", "other"]).run();
    let stream = world.clsess(&["events", "--sse", "other"]).run();
    assert_eq!((stream.code, &stream.stderr), (lines.code, &lines.stderr));
    assert_eq!((stream.code, stream.stdout), (3, Vec::new()));
    world
        .clsess(&["events", "--sse", "--schema"])
        .run()
        .fails(2);
}
