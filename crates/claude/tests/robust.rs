//! Whatever the client prints: nothing panics, and what is kept stays bounded.

#![allow(clippy::unwrap_used)] // a test: helpers are not #[test] functions

mod watched;

use std::path::Path;
use std::sync::LazyLock;

use clsess_claude::record::{answer_of, trusted};
use clsess_claude::stream::{BadLine, Line, parse};
use clsess_claude::turn::{ErrorKind, Happening, MAX_ANSWER, MAX_UUIDS, Outcome, Tracker};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;
use watched::Watched;

/// The lines of each recording and of each transcript.
static RECORDINGS: LazyLock<Vec<Vec<Vec<u8>>>> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/2.1.328");
    let mut paths: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|it| it == "ndjson" || it == "jsonl")
    });
    paths.sort();
    let read = |path| {
        std::fs::read(path)
            .unwrap()
            .split_inclusive(|b| *b == b'\n')
            .map(<[u8]>::to_vec)
            .collect()
    };
    paths.iter().map(read).collect()
});

/// The same, parsed.
static LINES: LazyLock<Vec<Vec<Line>>> = LazyLock::new(|| {
    let parsed = |lines: &Vec<Vec<u8>>| lines.iter().filter_map(|line| parse(line).ok()).collect();
    RECORDINGS.iter().map(parsed).collect()
});

fn user(number: u128) -> Uuid {
    // 00000001-0000-4000-8000-000000000000, as in the recordings
    Uuid::from_u128((number << 96) | 0x4000_8000_0000_0000_0000)
}

/// Puts `with` in the place of the `at`th value of the tree.
fn replace(value: &mut Value, at: &mut usize, with: &Value) {
    if *at == 0 {
        *value = with.clone();
    }
    *at = at.wrapping_sub(1);
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| replace(value, at, with)),
        Value::Object(values) => values
            .values_mut()
            .for_each(|value| replace(value, at, with)),
        _ => {}
    }
}

/// Whatever the lines are, each turn begun ends once at most, and what happens to a turn happens
/// between the two (see `watched`).
fn track(lines: &[Vec<u8>]) {
    let mut watched = Watched::default();
    (1..4).for_each(|number| watched.begin(user(number)));
    for line in lines {
        if let Ok(line) = parse(line) {
            watched.line(line);
        }
    }
    watched.gone_with_results();
    let _ = answer_of(lines.join(&b'\n').as_slice(), user(1)).unwrap();
}

fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        Just(json!(-1)),
        Just(json!(1e300)),
        Just(json!("")),
        Just(json!("completed")),
        Just(json!("tool_result")),
        Just(json!("00000001-0000-4000-8000-000000000000")),
        Just(json!([])),
        Just(json!([[], {}, null, "x"])),
        Just(json!({})),
        Just(json!({"type": "text", "text": 5})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn bytes(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&line);
        let _ = trusted(&line, Path::new("/a/b"), None);
        let _ = answer_of(line.as_slice(), Uuid::nil()).unwrap();
    }

    #[test]
    fn lines_with_odd_bytes(which in any::<prop::sample::Index>(), changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut lines = which.get(&RECORDINGS).clone();
        prop_assume!(!lines.is_empty());
        for (line, at, byte) in &changes {
            let line = line.index(lines.len());
            // It may have lost all of its bytes.
            if lines[line].is_empty() {
                continue;
            }
            let at = at.index(lines[line].len());
            match byte % 4 {
                0 => lines[line][at] = *byte,
                1 => { lines[line].remove(at); }
                2 => lines[line].truncate(at + 1),
                _ => { let again = lines[line].clone(); lines.push(again); }
            }
        }
        track(&lines);
    }

    #[test]
    fn lines_with_odd_values(which in any::<prop::sample::Index>(), changes in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..60, odd()), 1..8)) {
        let mut lines = which.get(&RECORDINGS).clone();
        prop_assume!(!lines.is_empty());
        for (line, at, with) in &changes {
            let line = line.get_mut(&mut lines);
            let Ok(mut value) = serde_json::from_slice::<Value>(line) else { continue };
            replace(&mut value, &mut at.clone(), with);
            *line = serde_json::to_vec(&value).unwrap();
        }
        track(&lines);
    }

    #[test]
    fn lines_in_any_order(which in any::<prop::sample::Index>(), order in proptest::collection::vec(any::<prop::sample::Index>(), 0..80)) {
        let lines = which.get(&RECORDINGS);
        prop_assume!(!lines.is_empty());
        let shuffled: Vec<_> = order.iter().map(|at| at.get(lines).clone()).collect();
        track(&shuffled);
    }

    /// Several recordings through one tracker, with lines lost, said twice and moved, while turns
    /// are begun in between.
    #[test]
    fn recordings_through_each_other(steps in steps()) {
        run(&steps);
    }
}

/// What is done to a tracker.
#[derive(Clone, Debug)]
enum Step {
    Begin(u128),
    /// A stretch of a recording: of which, from where, how many lines, and how often.
    Lines(prop::sample::Index, prop::sample::Index, usize, usize),
    /// The client is gone, and another one may come.
    Gone,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<prop::sample::Index>;
    let step = prop_oneof![
        3 => (1u128..5).prop_map(Step::Begin),
        8 => (index(), index(), 1usize..12, 1usize..3).prop_map(|(which, at, count, times)| Step::Lines(which, at, count, times)),
        1 => Just(Step::Gone),
    ];
    proptest::collection::vec(step, 0..40)
}

fn run(steps: &[Step]) {
    let mut watched = Watched::default();
    for step in steps {
        match step {
            Step::Begin(number) => watched.begin(user(*number)),
            Step::Gone => drop(watched.gone_with_results()),
            Step::Lines(which, at, count, times) => {
                let lines = which.get(&LINES);
                if lines.is_empty() {
                    continue;
                }
                let stretch = lines.iter().skip(at.index(lines.len())).take(*count);
                for line in stretch.flat_map(|line| std::iter::repeat_n(line, *times)) {
                    watched.line(line.clone());
                }
            }
        }
    }
}

/// Every recording with each of its lines lost, said twice, or moved to the end.
#[test]
fn recordings_with_one_line_lost_doubled_or_late() {
    for lines in LINES.iter() {
        for at in 0..lines.len() {
            let (before, after) = lines.split_at(at);
            let (this, after) = after.split_at(1);
            for order in [
                [before, after, &[]],
                [before, this, lines.split_at(at).1],
                [before, after, this],
            ] {
                let mut watched = Watched::default();
                (1..4).for_each(|number| watched.begin(user(number)));
                for line in order.concat() {
                    watched.line(line);
                }
                watched.gone_with_results();
            }
        }
    }
}

#[test]
fn bad_lines_are_told_apart() {
    assert_eq!(parse(b" \n"), Err(BadLine::Empty));
    assert_eq!(parse(b"5"), Err(BadLine::NotAnObject));
    assert_eq!(parse(b"[\"result\"]"), Err(BadLine::NotAnObject));
    assert!(matches!(parse(b"{\"type\":"), Err(BadLine::Json(_))));
    assert_eq!(parse(b"{\"type\":\"wibble\"}"), Ok(Line::Other));
    assert_eq!(parse(b"{\"type\":7}"), Ok(Line::Other));
    assert_eq!(parse(b"{}"), Ok(Line::Other));
}

fn feed(tracker: &mut Tracker, lines: &[Value]) -> Vec<Happening> {
    let mut happenings = Vec::new();
    for line in lines {
        tracker.line(parse(line.to_string().as_bytes()).unwrap(), &mut happenings);
    }
    happenings
}

fn ended(happenings: &[Happening]) -> Vec<(Option<Uuid>, Outcome, &str)> {
    happenings
        .iter()
        .filter_map(|happening| match happening {
            Happening::TurnEnded { asked, end } => Some((*asked, end.outcome, end.answer.as_str())),
            _ => None,
        })
        .collect()
}

fn said(id: &str, text: &str) -> Value {
    json!({"type":"assistant","message":{"id":id,"content":[{"type":"text","text":text}]},"parent_tool_use_id":null})
}

/// A client without lifecycle lines, without state events, and that names no user lines.
#[test]
fn an_older_client() {
    let mut tracker = Tracker::new();
    assert!(tracker.begin(user(1)));
    let run = [
        json!({"type":"system","subtype":"init","claude_code_version":"2.0.1"}),
        said("m", "Hello."),
        json!({"type":"result","is_error":false,"result":"Hello."}),
    ];
    let happenings = feed(&mut tracker, &run);
    assert_eq!(
        ended(&happenings),
        [(Some(user(1)), Outcome::Completed, "Hello.")]
    );
    assert_eq!(happenings.last(), Some(&Happening::Idle));
    let happenings = feed(&mut tracker, &run);
    assert_eq!(
        ended(&happenings),
        [(None, Outcome::Completed, "Hello.")],
        "nobody asked"
    );
}

/// Blocks of an attempt whose connection was lost, and that is made anew, are not the answer.
#[test]
fn an_attempt_that_is_made_anew() {
    let mut tracker = Tracker::new();
    assert!(tracker.begin(user(1)));
    let event =
        |event: Value| json!({"type":"stream_event","event":event,"parent_tool_use_id":null});
    let stop = json!({"type":"stream_event","event":{"type":"message_stop"},"abandoned_blocks":{},"parent_tool_use_id":null});
    let happenings = feed(
        &mut tracker,
        &[
            event(json!({"type":"message_start"})),
            said("m1", "Kept."),
            event(json!({"type":"message_stop"})),
            event(json!({"type":"message_start"})),
            said("m2", "Lost."),
            stop,
            event(json!({"type":"message_start"})),
            said("m3", " Anew."),
            json!({"type":"result","is_error":false,"result":" Anew.","stop_reason":"end_turn"}),
        ],
    );
    assert_eq!(
        ended(&happenings),
        [(Some(user(1)), Outcome::Completed, "Kept. Anew.")]
    );
}

#[test]
fn a_run_without_a_result() {
    let mut tracker = Tracker::new();
    assert!(tracker.begin(user(1)));
    let lifecycle = json!({"type":"command_lifecycle","command_uuid":user(1),"state":"started"});
    let idle = json!({"type":"system","subtype":"session_state_changed","state":"idle"});
    let happenings = feed(&mut tracker, &[lifecycle, idle]);
    assert_eq!(ended(&happenings), [(Some(user(1)), Outcome::Failed, "")]);
    assert_eq!(tracker.open().count(), 0);
}

#[test]
fn an_answer_is_bounded() {
    let mut tracker = Tracker::new();
    assert!(tracker.begin(user(1)));
    let block = "é".repeat(MAX_ANSWER / 4 - 1);
    let mut lines = vec![said("m", &block); 3];
    lines.push(said("m", "x"));
    lines.push(json!({"type":"result","is_error":false,"result":"x"}));
    let happenings = feed(&mut tracker, &lines);
    let Some(Happening::TurnEnded { end, .. }) = happenings
        .iter()
        .find(|happening| matches!(happening, Happening::TurnEnded { .. }))
    else {
        panic!("no end");
    };
    assert!(end.truncated && end.answer.len() <= MAX_ANSWER && end.answer.len() > MAX_ANSWER - 4);
    assert_eq!(end.error.as_ref().unwrap().kind, ErrorKind::AnswerTooLong);
}

#[test]
fn too_many_open_turns_are_refused() {
    let mut tracker = Tracker::new();
    for number in 0..MAX_UUIDS as u128 {
        assert!(tracker.begin(user(number)));
    }
    assert!(tracker.begin(user(0)), "known");
    assert!(!tracker.begin(user(1000)));
}
