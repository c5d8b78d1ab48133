use serde_json::Value;

use super::*;

/// What the real client wrote in seven turns with tools, a compaction, an end and a resume; long
/// texts are cut.
const REAL: &str = include_str!("../../fixtures/2.1.328/resumed_compaction.transcript.jsonl");

fn lines() -> Vec<String> {
    REAL.lines().map(str::to_owned).collect()
}

fn value(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

fn id(line: &str) -> Uuid {
    value(line)["uuid"].as_str().unwrap().parse().unwrap()
}

fn of(text: &str, last: Option<Uuid>) -> Condition {
    condition(io::Cursor::new(text), last).unwrap()
}

/// The lines of prompts, from the first turn on.
fn prompts(lines: &[String]) -> Vec<usize> {
    let is_prompt = |line: &String| value(line)["promptSource"] == "sdk";
    let all = lines.iter().enumerate();
    all.filter(|(_, line)| is_prompt(line))
        .map(|(at, _)| at)
        .collect()
}

/// The conversation before its compaction, of three turns; and the uuid of the last one's line.
fn three() -> (Vec<String>, Uuid) {
    let mut lines = lines();
    let compacted = |line: &String| value(line)["subtype"] == "compact_boundary";
    let at = lines.iter().position(compacted).unwrap();
    lines.truncate(at);
    let last = id(&lines[*prompts(&lines).last().unwrap()]);
    (lines, last)
}

fn check(lines: &[String], last: Option<Uuid>) -> Condition {
    of(&(lines.join("\n") + "\n"), last)
}

fn said(line: &str) -> bool {
    value(line)["type"] == "assistant"
}

#[test]
fn what_the_client_writes_is_whole() {
    let all = lines();
    for turn in prompts(&all) {
        assert_eq!(check(&all, Some(id(&all[turn]))), Condition::Whole);
    }
    // Wherever it stops between two turns, too; and with the line of a turn that has begun.
    let (mut lines, last) = three();
    for turn in prompts(&lines).into_iter().skip(1) {
        let last = prompts(&lines[..turn]).last().map(|at| id(&lines[*at]));
        assert_eq!(check(&lines[..turn], last), Condition::Whole);
        assert_eq!(check(&lines[..=turn], last), Condition::Whole);
    }
    // What it does itself about the end of a line, and what it reads all the same.
    let text = lines.join("\n");
    assert_eq!(of(&text, Some(last)), Condition::Whole);
    let text = format!("\u{feff}{}\r\n", lines.join("\r\n"));
    assert_eq!(of(&text, Some(last)), Condition::Whole);
    for odd in ["5", "[]", "null", "", "{\"type\":\"us", "\0\0\0"] {
        lines.insert(7, odd.to_owned());
    }
    assert_eq!(check(&lines, Some(last)), Condition::Whole);
    let joined = lines.remove(3);
    lines[2] += &joined;
    assert_eq!(check(&lines, Some(last)), Condition::Whole);
}

/// An old client's first turn, under load.
#[test]
fn a_later_line_may_stand_before_an_earlier_one() {
    let (mut lines, last) = three();
    let turns = prompts(&lines);
    let second: Vec<String> = lines.drain(turns[1]..turns[2]).collect();
    lines.splice(..0, second);
    assert_eq!(check(&lines, Some(last)), Condition::Whole);
    // As soon as one of them is missing it is missed.
    lines.remove(0);
    assert!(matches!(check(&lines, Some(last)), Condition::Damaged(_)));
}

#[test]
fn a_bad_last_line_is_what_a_client_leaves_that_dies() {
    let (lines, last) = three();
    for bad in ["{\"type\":\"user\",\"uu", "\0\0\0\0", "garbage \u{fffd} {"] {
        let text = format!("{}\n{bad}", lines.join("\n"));
        assert_eq!(of(&text, Some(last)), Condition::Whole);
        let text = text + "\n";
        assert_eq!(of(&text, Some(last)), Condition::Whole);
    }
    // Unless the last turn is known to have had its answer there.
    let answer = lines.iter().rposition(|line| said(line)).unwrap();
    let mut cut = lines[..=answer].to_vec();
    let half = cut[answer].len() / 2;
    cut[answer].truncate(half);
    let flaws = Condition::Damaged(vec![Flaw::Answer(last)]);
    assert_eq!(check(&cut, Some(last)), flaws);
}

#[test]
fn nothing_is_left() {
    for text in ["", "\n", "garbage\ngarbage\n", "\0\0\0", "[]\n5\n"] {
        assert_eq!(of(text, None), Condition::Unreadable);
    }
    let (mut lines, last) = three();
    lines.retain(|line| value(line)["type"] != "user" && !said(line));
    assert_eq!(check(&lines, Some(last)), Condition::Unreadable);
}

#[test]
fn every_line_that_is_missing_is_missed() {
    let (lines, last) = three();
    let of_conversation = |line: &String| value(line)["parentUuid"].is_string();
    let newest = lines.iter().rposition(of_conversation).unwrap();
    let mut tried = 0;
    for at in 0..newest {
        // Of two results side by side the chain goes over one (measured).
        let goes_on = |line: &String| value(line)["parentUuid"] == value(&lines[at])["uuid"];
        if !value(&lines[at])["uuid"].is_string() || !lines.iter().any(goes_on) {
            continue;
        }
        for instead in [None, Some("garbage"), Some("\0\0"), Some("{\"uuid\":\"")] {
            let mut lines = lines.clone();
            match instead {
                Some(instead) => lines[at] = instead.to_owned(),
                None => drop(lines.remove(at)),
            }
            let condition = check(&lines, Some(last));
            assert!(
                matches!(condition, Condition::Damaged(_)),
                "{at} {instead:?}"
            );
            tried += 1;
        }
    }
    assert!(tried > 60, "{tried}");
}

#[test]
fn what_is_wrong_is_named() {
    let (lines, last) = three();
    let turns = prompts(&lines);
    let damaged = |lines: &[String]| match check(lines, Some(last)) {
        Condition::Damaged(flaws) => flaws,
        other => panic!("{other:?}"),
    };
    // The head; a hole; the last turn; a beginning in the middle; a circle.
    let second = turns[1];
    assert_eq!(
        damaged(&lines[second..]),
        [Flaw::Before(id(&lines[second]))]
    );
    let mut hole = lines.clone();
    hole.drain(turns[1]..turns[2]);
    assert_eq!(damaged(&hole), [Flaw::Before(last)]);
    assert_eq!(damaged(&lines[..turns[2]]), [Flaw::Turn(last)]);
    let mut anew = lines.clone();
    let mut row = value(&anew[turns[2]]);
    row["parentUuid"] = Value::Null;
    anew[turns[2]] = row.to_string();
    assert_eq!(damaged(&anew), [Flaw::Begins(last)]);
    row["parentUuid"] = row["uuid"].clone();
    anew[turns[2]] = row.to_string();
    assert_eq!(damaged(&anew), [Flaw::Before(last)]);
    // As text it is the same when the conversation has gone on.
    let mut garbage = lines.clone();
    garbage.insert(4, "garbage".to_owned());
    assert_eq!(damaged(&garbage), [Flaw::Line(5)]);
    let many: Vec<String> = (0..99).map(|_| "garbage".to_owned()).collect();
    assert_eq!(damaged(&[many, lines].concat()).len(), MAX_FLAWS);
}

#[test]
fn what_others_have_written() {
    let all = lines();
    let turns = prompts(&all);
    let text = |from: usize, to: usize| all[from..to].join("\n");
    let nobodys = |_| false;
    assert!(has_others(text(turns[1], turns[2]).as_bytes(), nobodys));
    let own = id(&all[turns[2]]);
    assert!(!has_others(
        text(turns[2], turns[2] + 2).as_bytes(),
        |it| it == own
    ));
    let compacted = |line: &String| value(line)["subtype"] == "compact_boundary";
    let at = all.iter().position(compacted).unwrap();
    assert!(has_others(text(at, at + 1).as_bytes(), nobodys));
    // Notes beside it, and half a line.
    assert!(!has_others(
        text(turns[1] - 4, turns[1]).as_bytes(),
        nobodys
    ));
    let half = &all[turns[1]][20..];
    assert!(!has_others(half.as_bytes(), nobodys));
}

/// `cargo test --release -p clsess-claude -- --ignored --nocapture cost`
#[test]
#[ignore = "a measurement"]
fn cost() {
    let text = REAL.replace("you said", &"long text \\n of an answer ".repeat(2000));
    let text = text.repeat(20_000_000 / text.len() + 1);
    let begins = std::time::Instant::now();
    let condition = of(&text, None);
    println!(
        "{} MB: {:?}, {condition:?}",
        text.len() / 1_000_000,
        begins.elapsed()
    );
}
