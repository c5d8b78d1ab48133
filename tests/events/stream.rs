//! `events`: numbers, places, gaps.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Running, World, send_signal};
use crate::{asks, is, is_state, names, seqs, strictly_increasing, told, told_until, watch};

fn has_result(events: &[Value], session: &str, count: usize) -> bool {
    let results = events
        .iter()
        .filter(|event| is(event, "result") && event["session"] == session);
    results.count() == count
}

/// Both sessions are made and send so many turns at the same time.
fn busy(world: &World, turns: usize) {
    let sends: Vec<_> = (0..turns)
        .flat_map(|turn| ["one", "other"].map(|name| (name, format!("turn {turn}"))))
        .map(|(name, prompt)| world.clsess(&["send", name, &prompt]).spawn())
        .collect();
    for send in sends {
        send.wait().ok();
    }
}

#[test]
fn events_of_all_sessions_are_numbered_in_one_row() {
    let Some(world) = World::real() else { return };
    world.clsess(&["broker", "start"]).run().ok();
    let all = watch(&world);
    world.session("one");
    world.session("other");
    let one = world.clsess(&["events", "one", "--since", "0"]).spawn();
    busy(&world, 3);
    let done = |events: &[Value], name: &str| has_result(events, name, 3);
    let all = told(&all, |events| done(events, "one") && done(events, "other"));
    strictly_increasing(&all);
    // nobody but these two tells anything, so no number is left out
    let seqs = seqs(&all);
    assert_eq!(seqs[seqs.len() - 1] - seqs[0] + 1, seqs.len() as u64);

    let of_one = told(&one, |events| done(events, "one"));
    let expected: Vec<&Value> = all
        .iter()
        .filter(|event| event["session"] == "one")
        .collect();
    let so_far = of_one.len().min(expected.len());
    assert_eq!(
        of_one[..so_far].iter().collect::<Vec<_>>(),
        expected[..so_far]
    );
    let last = |events: &[&Value]| events.iter().position(|event| is(event, "result"));
    assert!(last(&expected[..so_far]).is_some());

    world.clsess(&["kill", "one"]).run().ok();
    let done = one.wait().ok().json_lines();
    assert!(is_state(done.last().unwrap(), "one", "gone"), "{done:?}");
    assert!(done.iter().all(|event| event["session"] == "one"));
}

#[test]
fn a_watcher_that_comes_back_has_each_event_once() {
    let Some(world) = World::real() else { return };
    world.clsess(&["broker", "start"]).run().ok();
    let whole = watch(&world);
    world.session("one");
    world.session("other");
    let mut pieces: Vec<Value> = Vec::new();
    for round in 1..=4 {
        let since = pieces
            .last()
            .map_or(0, |event| event["seq"].as_u64().unwrap());
        let piece = world
            .clsess(&["events", "--since", &since.to_string()])
            .spawn();
        busy(&world, 1);
        // killed as soon as one of the two has ended, wherever the other one is
        let piece = {
            let events = told_until(&piece, |event| is(event, "result"));
            piece.signal(Signal::SIGKILL);
            drop(piece);
            events
        };
        assert!(!names(&piece).contains(&"gap"), "round {round}: {piece:?}");
        pieces.extend(piece);
    }
    let since = pieces.last().unwrap()["seq"].to_string();
    let rest = world.clsess(&["events", "--since", &since]).spawn();
    let both = |events: &[Value]| ["one", "other"].map(|name| results(events, name));
    let whole = told(&whole, |events| both(events) == [4, 4]);
    let missing = 8 - results(&pieces, "one") - results(&pieces, "other");
    let rest = told(&rest, |events| {
        both(events).iter().sum::<usize>() == missing
    });
    pieces.extend(rest);
    strictly_increasing(&pieces);
    let end = |events: &[Value]| {
        events
            .iter()
            .rposition(|event| is(event, "result"))
            .unwrap()
    };
    assert_eq!(pieces[..=end(&pieces)], whole[..=end(&whole)]);
}

fn results(events: &[Value], session: &str) -> usize {
    let of_it = |event: &&Value| is(event, "result") && event["session"] == session;
    events.iter().filter(of_it).count()
}

#[test]
fn a_later_broker_has_larger_numbers_and_tells_of_the_gap_first() {
    let Some(world) = World::real() else { return };
    world.clsess(&["broker", "start"]).run().ok();
    let before = watch(&world);
    world.session("work");
    world.send("work", "hi");
    let told_before = told_until(&before, |event| is(event, "result"));
    let last = told_before.last().unwrap()["seq"].as_u64().unwrap();
    drop(before);
    send_signal(world.broker(), Signal::SIGKILL);

    let since = last.to_string();
    let after = world.clsess(&["events", "--since", &since]).spawn();
    told_until(&after, |event| is(event, "gap"));
    world.send("work", "again");
    let events = told_until(&after, |event| is(event, "result"));
    assert_eq!(
        events[0],
        json!({"seq": last, "session": "work", "event": "gap"}),
        "how many they were is not known"
    );
    assert_eq!(
        names(&events).iter().filter(|name| **name == "gap").count(),
        1
    );
    strictly_increasing(&events);
    assert!(events[1]["seq"].as_u64().unwrap() > last);
}

/// What is told of a session that was killed while nobody looked.
#[test]
fn a_watcher_that_comes_back_learns_of_sessions_that_are_gone() {
    let Some(world) = World::real() else { return };
    world.clsess(&["broker", "start"]).run().ok();
    let watching = watch(&world);
    world.session("work");
    world.session("other");
    let seen = told_until(&watching, |event| is_state(event, "other", "idle"));
    let since = seen.last().unwrap()["seq"].to_string();
    drop(watching);
    world.clsess(&["kill", "work"]).run().ok();
    world.send("other", "hi");
    let back = world.clsess(&["events", "--since", &since]).spawn();
    let events = told_until(&back, |event| is(event, "result"));
    let of_it = events.iter().find(|event| event["session"] == "work");
    let of_it = of_it.expect("neither its end nor a gap is told");
    assert!(is(of_it, "gap") || is(of_it, "state"), "{of_it}");
}

/// So many deltas come at a time, and so many times: much more than a feed keeps.
const DELTAS: usize = 2000;
const TIMES: usize = 7;

/// A send whose answer is a flood, in pieces; it stands still before its end, at the hold `NAME`.
/// The fast one keeps up: it has been told each piece when the next one comes.
fn flood(world: &World, name: &str, fast: &Running) -> Running {
    let mut blocks = Vec::new();
    for time in 0..TIMES {
        blocks.push(json!({"hold": name}));
        blocks.push(json!({"repeat_text": {"text": "12345678", "times": DELTAS}}));
        blocks.push(json!({"text": format!("<<end{time:02}>")}));
    }
    blocks.push(json!({"hold": name}));
    let flood = json!([{"blocks": blocks, "delta_bytes": 8}]);
    world.api.rule(name, flood);
    let send = world.clsess(&["send", name, name]).spawn();
    for time in 0..TIMES {
        world.api.wait_hold(name, 1);
        world.api.release(name);
        let end = format!("<<end{time:02}>");
        fast.wait_stdout(|stdout| {
            let last = &stdout[stdout.len().saturating_sub(1024)..];
            String::from_utf8_lossy(last).contains(&end)
        });
    }
    world.api.wait_hold(name, 1);
    send
}

/// `some` is `all`, with gaps that say exactly what is missing: each stands where the missed
/// events of its session would, and has the number of the last of them.
#[track_caller]
fn accounts_for(some: &[Value], all: &[Value]) {
    strictly_increasing(some);
    strictly_increasing(all);
    assert!(!names(all).contains(&"gap"), "the fast one has missed some");
    assert!(names(some).contains(&"gap"), "{}: all of it", some.len());
    let sessions: BTreeSet<&str> = all
        .iter()
        .map(|event| event["session"].as_str().unwrap())
        .collect();
    for session in sessions {
        let of_it = |event: &&Value| event["session"] == session;
        let mut rest = all.iter().filter(of_it);
        for event in some.iter().filter(of_it) {
            if is(event, "gap") {
                let missed = usize::try_from(event["missed"].as_u64().unwrap()).unwrap();
                let last = rest.by_ref().nth(missed - 1).unwrap();
                assert_eq!(last["seq"], event["seq"]);
            } else {
                assert_eq!(rest.next().unwrap(), event);
            }
        }
        assert_eq!(rest.next(), None);
    }
}

/// Up to the end of the last turn of so many.
fn up_to_results(watching: &Running, count: usize) -> Vec<Value> {
    let mut events = told(watching, |events| {
        events.iter().filter(|event| is(event, "result")).count() == count
    });
    let last = events.iter().rposition(|event| is(event, "result"));
    events.truncate(last.unwrap() + 1);
    events
}

#[test]
fn who_is_too_slow_learns_how_much_was_missed_and_holds_up_nobody() {
    let Some(world) = World::real() else { return };
    world.clsess(&["broker", "start"]).run().ok();
    let (fast, slow) = (watch(&world), watch(&world));
    world.session("work");
    told_until(&slow, |event| is_state(event, "work", "idle"));
    slow.signal(Signal::SIGSTOP);
    let send = flood(&world, "work", &fast);
    world.api.release("work");
    // neither the turn nor the fast one has waited for the slow one
    let answer = send.wait().ok();
    assert_eq!(answer.text().len(), TIMES * (DELTAS + 1) * 8 + 1);
    let all = up_to_results(&fast, 1);
    assert!(all.len() > DELTAS * TIMES, "{}: no flood", all.len());
    slow.signal(Signal::SIGCONT);
    accounts_for(&up_to_results(&slow, 1), &all);
}

/// What is left of the one is older than all that is left of the other.
#[test]
fn who_is_too_slow_for_two_sessions_is_told_of_both_in_order() {
    let Some(world) = World::real() else { return };
    world.clsess(&["broker", "start"]).run().ok();
    let (fast, slow) = (watch(&world), watch(&world));
    world.session("one");
    world.session("other");
    told_until(&slow, |event| is_state(event, "other", "idle"));
    slow.signal(Signal::SIGSTOP);
    let one = flood(&world, "one", &fast);
    let other = flood(&world, "other", &fast);
    slow.signal(Signal::SIGCONT);
    let last = format!("<<end{:02}>", TIMES - 1);
    told(&slow, |events| {
        let ends = events.iter().filter(|event| event["text"] == last);
        ends.count() == 2
    });
    world.api.release("one");
    one.wait().ok();
    world.api.release("other");
    other.wait().ok();
    let all = up_to_results(&fast, 2);
    accounts_for(&up_to_results(&slow, 2), &all);
}

/// So that who does something for each line can drop what it knows.
#[test]
fn what_the_next_broker_tells_again_has_the_same_names() {
    let Some(world) = World::real() else { return };
    world.session("work");
    asks(&world, "write");
    let events = world.clsess(&["events", "--since", "0", "work"]).spawn();
    let send = ["send", "--on-question", "wait", "work", "write"];
    let send = world.clsess(&send).spawn();
    let questions = |out: &[u8]| {
        let text = String::from_utf8_lossy(out);
        text.matches(r#""event":"question","#).count()
    };
    events.wait_stdout(|out| questions(out) == 1);
    world.kill_broker();
    events.wait_stdout(|out| questions(out) == 2);
    world.clsess(&["deny", "work"]).run().ok();
    send.wait().ok();
    world.clsess(&["kill", "work"]).run().ok();
    let events = events.wait().ok().json_lines();
    let all = |event: &str| -> Vec<&Value> {
        events
            .iter()
            .filter(|line| line["event"] == event)
            .collect()
    };
    let asked = all("question");
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0]["id"], asked[1]["id"]);
    assert_eq!(asked[0]["turn"], asked[1]["turn"]);
    let accepted = all("accepted");
    assert_eq!(accepted.len(), 2);
    assert_eq!(accepted[0]["turn"], accepted[1]["turn"]);
    assert_eq!(all("result").len(), 1);
}
