//! Every turn ends in exactly one way, and everybody tells the same of it: the command that sent
//! it, the history, the events, and the provider.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use crate::harness::Done;
use crate::plan::{Plan, Style};
use crate::run::{Run, Seat};
use crate::scene::Played;
use crate::turn::{Script, Turn};

/// What became of a prompt.
#[derive(Debug)]
pub struct Fate {
    /// See the name.
    pub turn: Turn,
    /// Its line in the history, if it became a turn, and the session's id.
    pub entry: Option<(String, Value)>,
    /// Its request was given again, so what never began may have begun after it was over.
    pub again: bool,
    /// Its agent was killed, so another one may have been given the prompt.
    pub rerun: bool,
}

impl Fate {
    /// The turn's id.
    pub fn id(&self) -> Option<&str> {
        self.entry
            .as_ref()
            .and_then(|(_, entry)| entry["turn"].as_str())
    }

    /// It was refused for what its conversation has lost.
    fn is_damaged(&self) -> bool {
        let entry = self.entry.as_ref().map(|(_, entry)| entry);
        entry.is_some_and(|entry| entry["error"]["code"] == "conversation_damaged")
    }

    fn outcome(&self) -> &str {
        let outcome = self
            .entry
            .as_ref()
            .and_then(|(_, entry)| entry["outcome"].as_str());
        outcome.unwrap_or("none")
    }

    /// Whether the agent may have had its prompt.
    fn began(&self) -> bool {
        let entry = self.entry.as_ref();
        let ran = entry.is_some_and(|(_, entry)| entry["duration_ms"].is_u64());
        // Of one that a broker left behind nobody knows how long it took.
        ran || self.outcome() == "unknown"
    }

    fn steered_into(&self) -> Option<&str> {
        self.entry
            .as_ref()
            .and_then(|(_, entry)| entry["steered_into"].as_str())
    }
}

/// The turns of a session, by its id; the last `count` or all. One that was killed before it
/// had a turn has none.
pub fn history(run: &Run<'_>, id: &str, count: Option<usize>) -> Vec<Value> {
    let count = count.map(|count| format!("--lines={count}"));
    let words = ["log", "--json"].into_iter().chain(count.as_deref());
    let words: Vec<&str> = words.chain([id]).collect();
    let done = run.world.clsess(&words).run();
    match done.code {
        3 => Vec::new(),
        _ => done.ok().json_lines(),
    }
}

/// Checks a scene that is over.
pub fn scene(run: &Run<'_>, seat: &Seat, plan: &Plan, played: &Played) -> Vec<Fate> {
    if plan.leaves_early() {
        let words = ["wait", "--for", "idle", &seat.id];
        run.world.clsess(&words).run().ok();
    }
    let history = history(run, &seat.id, Some(plan.sends.len() + 3));
    let mut fates = Vec::new();
    for (number, send) in plan.sends.iter().enumerate() {
        let mut own = history
            .iter()
            .filter(|entry| entry["prompt"] == *send.turn.prompt);
        let entry = own.next().map(|entry| (seat.id.clone(), entry.clone()));
        assert!(own.next().is_none(), "twice in the history: {history:?}");
        fates.push(Fate {
            turn: send.turn.clone(),
            again: plan.kills_client(number),
            rerun: plan.kills_agent(),
            entry,
        });
    }
    for (number, done) in played.ends.iter().enumerate() {
        let mut codes = plan.codes(number);
        let fate = &fates[number];
        // What a killed interface had not written is told to who needs the next one: perhaps scenes later.
        codes.extend((seat.lost_agent && fate.is_damaged()).then_some(1));
        // It came while its session was being killed, or asked again when that was gone, or had
        // another name.
        let again = plan.kills_client(number) || played.lost_broker;
        let told_before = fate.entry.is_some() && !again;
        let refused = plan.kills_session() && !told_before && done.code == 10;
        let gone = plan.kills_session() || (plan.renames() && !plan.sends[number].by_id);
        if refused || (again && gone && done.code == 3) {
            continue;
        }
        assert!(
            codes.contains(&done.code),
            "allowed: {codes:?}\n{done:?}\n{fate:?}"
        );
        told(done, fate);
        // At a second signal it leaves in the middle of a line.
        if !plan.leaves_early() {
            printed(plan.sends[number].style, done, fate, &fates);
        }
        tool(fate, played.approved[number]);
    }
    fates
}

/// The exit code is that of the outcome.
fn told(done: &Done, fate: &Fate) {
    let signalled = [129, 130, 143].contains(&done.code);
    let Some((_, entry)) = &fate.entry else {
        // Refused, or ended by a signal before it had asked for anything.
        let none = signalled || done.code < 0 || [3, 5].contains(&done.code);
        assert!(none, "{done:?}\n{fate:?}");
        return;
    };
    let outcome = fate.outcome();
    let error = entry["error"]["code"].as_str().unwrap_or_default();
    let agrees = match (outcome, error) {
        ("completed", "") => done.code == 0,
        ("failed", "agent_error" | "agent_start_failed") => done.code == 1,
        // An interface that is killed at once behind a turn has not written it down.
        ("failed", "conversation_damaged") => done.code == 1 && fate.turn.is_typed,
        ("failed", "question") => done.code == 6,
        ("failed", "rate_limited" | "overloaded") => done.code == 7,
        ("failed", "not_logged_in") => done.code == 8,
        ("unknown", "agent_died") => done.code == 9,
        ("interrupted", "interrupted" | "restarted" | "killed")
        | ("cancelled", "cancelled" | "killed") => done.code == 10,
        ("timed-out", "timed_out") => done.code == 124,
        _ => false,
    };
    // By a signal that came while it ended in another way.
    let meanwhile = signalled && !["queued", "running"].contains(&outcome);
    assert!(agrees || meanwhile, "{done:?}\n{fate:?}");
}

/// What is printed is what the history says.
fn printed(style: Style, done: &Done, fate: &Fate, all: &[Fate]) {
    let Some((_, entry)) = &fate.entry else {
        return;
    };
    if fate.outcome() == "completed" {
        let into = fate.steered_into();
        let of = into.map_or(fate, |into| {
            let other = all.iter().find(|other| other.id() == Some(into));
            other.expect("it was put into a turn of this scene")
        });
        assert_eq!(entry["answer"], *of.turn.answer, "{fate:?}");
        printed_of_completed(style, done, entry, of);
    } else {
        printed_of_none(style, done, entry, fate);
    }
}

/// What is printed of a completed turn.
fn printed_of_completed(style: Style, done: &Done, entry: &Value, of: &Fate) {
    let turn = &of.turn;
    let answer = format!("{}\n", turn.answer);
    match style {
        Style::Text | Style::NoWait => assert_eq!(done.text(), answer),
        // What the first agent has said stands there too.
        Style::Always if entry["steered_into"].is_null() && !of.rerun && !turn.twice => {
            assert_eq!(done.text(), turn.texts())
        }
        Style::Always => assert!(done.text().ends_with(&answer), "{done:?}"),
        Style::Json | Style::StreamJson => {
            let end = done.json_lines().pop().expect("a line");
            for field in ["turn", "outcome", "answer"] {
                assert_eq!(end[field], entry[field], "{done:?}");
            }
        }
    }
}

/// What is printed of one that is not.
fn printed_of_none(style: Style, done: &Done, entry: &Value, fate: &Fate) {
    let turn = &fate.turn;
    match style {
        Style::Text | Style::NoWait => assert_eq!(done.text(), ""),
        Style::Always if fate.rerun || turn.twice => {}
        Style::Always => assert!(turn.texts().starts_with(done.text().trim_end()), "{done:?}"),
        Style::Json | Style::StreamJson => {
            let end = done.json_lines().pop().expect("a line");
            assert_eq!(end["turn"], entry["turn"], "{done:?}");
            assert_eq!(end["outcome"], entry["outcome"], "{done:?}");
            assert_eq!(end["error"]["code"], entry["error"]["code"], "{done:?}");
        }
    }
}

/// A tool that needs a permission has run once at most, and only with one.
fn tool(fate: &Fate, approved: Option<bool>) {
    let written = std::fs::read_to_string(&fate.turn.file).unwrap_or_default();
    let yes = approved == Some(true);
    assert!(
        written.is_empty() || (yes && written == "once\n"),
        "{written:?} {fate:?}"
    );
    let whole = fate.outcome() == "completed" && fate.steered_into().is_none();
    // A second agent does not have to use the tool again to come to its answer.
    if whole && fate.turn.script == Script::Asks && !fate.rerun {
        assert_eq!(!written.is_empty(), yes, "{fate:?}");
    }
}

/// Checks that every turn is in the history of its session once, and that there are no others.
pub fn histories(run: &Run<'_>, ids: &[String], fates: &[Fate]) {
    for id in ids {
        let mut expected = BTreeMap::new();
        for fate in fates {
            if let Some((session, entry)) = &fate.entry
                && session == id
            {
                expected.insert(entry["turn"].to_string(), entry.clone());
            }
        }
        for entry in history(run, id, None) {
            let known = expected.remove(&entry["turn"].to_string());
            assert_eq!(known.as_ref(), Some(&entry), "of {id}");
        }
        assert!(
            expected.is_empty(),
            "missing in the history of {id}: {expected:?}"
        );
    }
}

/// Checks that the end of a turn was told once at most, and as it was. How many were told.
pub fn events(told: &[Value], fates: &[Fate]) -> usize {
    let known = fates.iter().filter_map(|fate| Some((fate.id()?, fate)));
    let known: HashMap<&str, &Fate> = known.collect();
    let mut ends = HashSet::new();
    // What a broker had not told when it was killed is missed.
    for line in told.iter().filter(|line| line["event"] == "result") {
        let turn = line["turn"].as_str().unwrap();
        let fate = known.get(turn).expect("nothing runs that nobody asked for");
        let first = fate.again && line["outcome"] != fate.outcome();
        if first
            && ["cancelled", "failed"]
                .iter()
                .any(|it| line["outcome"] == *it)
        {
            continue;
        }
        assert!(ends.insert(turn), "told twice: {line}");
        assert_eq!(line["outcome"], fate.outcome(), "{fate:?}");
    }
    ends.len()
}

/// Checks what the provider saw against what became of the prompts.
pub fn requests(requests: &[Value], fates: &[Fate]) {
    let known = fates.iter().map(|fate| (fate.turn.token.as_str(), fate));
    let known: HashMap<&str, &Fate> = known.collect();
    let mut of_fate: HashMap<&str, Vec<&Value>> = HashMap::new();
    let main = requests.iter().filter(|request| request["kind"] == "main");
    for request in main {
        let prompt = request["prompt"].as_str().unwrap();
        let fate = prompt.get(..17).and_then(|token| known.get(token));
        let fate = fate.unwrap_or_else(|| panic!("nobody sent this: {request}"));
        assert_eq!(prompt, fate.turn.prompt, "{request}");
        of_fate.entry(&fate.turn.token).or_default().push(request);
    }
    for fate in fates {
        let own = of_fate.get(fate.turn.token.as_str());
        provider(fate, own.map_or(&[], Vec::as_slice));
        if let Some(into) = fate.steered_into() {
            let other = fates.iter().find(|other| other.id() == Some(into));
            let other = &other.expect("a turn").turn.token;
            let later = of_fate.get(other.as_str()).map_or(&[][..], Vec::as_slice);
            // One that is interrupted may end before the model is asked once more.
            let asked = later.iter().any(|it| said_in(it, &fate.turn.prompt));
            assert!(asked || fate.outcome() == "interrupted", "{fate:?}");
        }
    }
}

fn said_in(request: &Value, prompt: &str) -> bool {
    let texts = request["said_after"].as_array().unwrap().iter();
    texts
        .filter_map(Value::as_str)
        .any(|text| text.contains(prompt))
}

/// The requests of one prompt: no step was served to its end twice, and the answer was where,
/// and only where, it may have been.
fn provider(fate: &Fate, requests: &[&Value]) {
    if !fate.began() {
        // It may have waited for a second agent when it was taken back.
        assert!(
            requests.is_empty() || fate.rerun,
            "it never began: {fate:?}\n{requests:?}"
        );
        return;
    }
    let mut completed: Vec<&str> = requests
        .iter()
        .filter(|request| request["outcome"] == "completed")
        .map(|request| request["answered_by"].as_str().unwrap())
        .collect();
    completed.sort_unstable();
    let served = completed.len();
    completed.dedup();
    let once = completed.len() == served || fate.rerun;
    assert!(once, "{fate:?}\n{requests:?}");
    let rule = format!("rule {} ", fate.turn.rule);
    for request in requests {
        let by = request["answered_by"].as_str().unwrap();
        assert!(
            by.starts_with(&rule),
            "asked too often: {fate:?}\n{requests:?}"
        );
    }
    if fate.outcome() == "completed" && fate.steered_into().is_none() {
        let answering = fate.turn.answering().expect("an answer");
        assert!(completed.contains(&&*answering), "{fate:?}\n{requests:?}");
    }
    if fate.steered_into().is_some() {
        assert!(requests.is_empty(), "{fate:?}\n{requests:?}");
    }
}
