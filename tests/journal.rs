//! What is on disk: plain lines, read again by the next broker, damaged or not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use harness::{World, alive, send_signal, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use uuid::Uuid;

fn lines(dir: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("turns.jsonl")).unwrap();
    let lines = text.lines();
    lines.map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn a_turn_is_written_before_it_is_sent() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world
        .api
        .rule("slow", json!([{"text": "late", "hold": "h"}]));
    let send = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let dir = world.session_dir("work");
    let before = lines(&dir);
    assert_eq!(before[0]["record"], "queued");
    assert_eq!(before[0]["prompt"], "slow");
    assert_eq!(before[1]["record"], "started");
    assert!(before.iter().all(|line| line["record"] != "ended"));
    world.api.release("h");
    send.wait().ok();
    let after = lines(&dir);
    let last = after.last().unwrap();
    assert_eq!(last["record"], "ended");
    assert_eq!(last["answer"], "late");
    assert_eq!(last["turn"], before[0]["turn"]);
}

#[test]
fn a_torn_line_is_skipped_and_never_overwritten() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "one");
    let file = world.session_dir("work").join("turns.jsonl");
    world.clsess(&["broker", "stop"]).run().ok();
    let mut journal = std::fs::File::options().append(true).open(&file).unwrap();
    let torn = "{\"record\":\"queued\",\"turn\":\"0000";
    journal.write_all(torn.as_bytes()).unwrap();
    let result = world.clsess(&["result", "work"]).run().ok();
    assert_eq!(result.text(), "you said: one\n");
    assert_eq!(world.send("work", "two"), "you said: two\n");
    world.clsess(&["broker", "stop"]).run().ok();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(&format!("\n{torn}\n")), "{text}");
    assert_eq!(world.show("work")["turns"], 2);
    assert_eq!(world.send("work", "recall"), "one\ntwo\n");
}

#[test]
fn a_damaged_session_is_left_alone_and_the_others_are_served() {
    let Some(world) = World::real() else { return };
    for name in ["damaged", "newer", "work"] {
        world.session(name);
    }
    let damaged = world.session_dir("damaged").join("session.json");
    let newer = world.session_dir("newer").join("session.json");
    world.clsess(&["broker", "stop"]).run().ok();
    std::fs::write(&damaged, "{\"version\":1,").unwrap();
    let mut record: Value = serde_json::from_slice(&std::fs::read(&newer).unwrap()).unwrap();
    record["version"] = 2.into();
    std::fs::write(&newer, record.to_string()).unwrap();
    let ls = world.clsess(&["ls", "-F", "#{name}"]).run().ok();
    assert_eq!(ls.text(), "work\n");
    assert_eq!(world.send("work", "hi"), "you said: hi\n");
    assert_eq!(std::fs::read(&damaged).unwrap(), b"{\"version\":1,");
    assert_eq!(std::fs::read_to_string(&newer).unwrap(), record.to_string());
    let log = world.log();
    assert_eq!(log.matches("cannot be taken up").count(), 2, "{log}");
}

#[test]
fn history_bounds_what_is_kept_and_the_sums_go_on() {
    let Some(world) = World::real() else { return };
    world.config("[defaults]\nhistory = 3\n");
    world.session("work");
    // The file is written anew when there are many more, not each time.
    for n in 0..70 {
        world.send("work", &format!("turn {n}."));
    }
    let result = |turn: &str| world.clsess(&["result", "work", turn]).run();
    let check = || {
        assert_eq!(result("-1").ok().text(), "you said: turn 69.\n");
        assert_eq!(result("-3").ok().text(), "you said: turn 67.\n");
        assert_eq!(world.show("work")["turns"], 70);
    };
    check();
    let sums = |show: Value| (show["usage"].clone(), show["cost_usd"].as_f64().unwrap());
    let (usage, cost) = sums(world.show("work"));
    world.clsess(&["broker", "stop"]).run().ok();
    check();
    let (usage_again, cost_again) = sums(world.show("work"));
    assert_eq!(usage_again, usage);
    assert!((cost_again - cost).abs() < 1e-9);
    let kept = std::fs::read_to_string(world.session_dir("work").join("turns.jsonl")).unwrap();
    assert!(!kept.contains("turn 0."));
}

/// Ends the broker as a crash would.
fn crash(world: &World) {
    let broker = world.broker();
    send_signal(broker, Signal::SIGKILL);
    until("it is gone", || !alive(broker));
}

#[test]
fn a_turn_that_waited_when_the_broker_died_runs_once_with_the_next() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world
        .api
        .rule("slow", json!([{"text": "late", "hold": "h"}]));
    let no_wait = |prompt: &str| {
        let args = ["send", "--no-wait", "work", prompt];
        let done = world.clsess(&args).run().ok();
        done.text().trim().to_owned()
    };
    let slow = no_wait("slow");
    world.api.wait_hold("h", 1);
    let queued = no_wait("queued");
    crash(&world);
    world.api.release("h");
    let result = |turn: &str| world.clsess(&["result", "work", turn]).run();
    assert_eq!(result(&queued).ok().text(), "you said: queued\n");
    assert_eq!(result(&slow).ok().text(), "late\n");
    crash(&world);
    assert_eq!(result(&queued).ok().text(), "you said: queued\n");
    assert_eq!(world.api.prompts(0), ["slow", "queued"]);
}

#[test]
fn a_journal_that_is_written_anew_forgets_no_running_turn() {
    let Some(world) = World::real() else { return };
    world.config("[defaults]\nhistory = 1\n");
    world.session("work");
    for n in 0..63 {
        world.send("work", &format!("turn {n}."));
    }
    world
        .api
        .rule("slow", json!([{"text": "late", "hold": "h"}]));
    let slow = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let id = world.clsess(&["send", "--no-wait", "work", "x"]).run().ok();
    let taken_back = world.clsess(&["send", "work", "never"]).spawn();
    world.wait_queued("work", 2);
    taken_back.signal(Signal::SIGINT);
    taken_back.wait().fails(130);
    let journal = std::fs::read_to_string(world.session_dir("work").join("turns.jsonl")).unwrap();
    assert!(!journal.contains("turn 0."), "it was not written anew");
    crash(&world);
    // Its client asks the next broker, by itself.
    world.api.release("h");
    assert_eq!(slow.wait().ok().text(), "late\n");
    let result = world
        .clsess(&["result", "work", id.text().trim()])
        .run()
        .ok();
    assert_eq!(result.text(), "you said: x\n");
    let prompts = world.api.prompts(0);
    assert_eq!(prompts[63..], ["slow", "x"]);
}

/// All files of the sessions, whole.
fn on_disk(world: &World) -> BTreeMap<PathBuf, Vec<u8>> {
    let sessions = std::fs::read_dir(world.state().join("default/sessions")).unwrap();
    let files = sessions.flat_map(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap());
    let files = files.map(|file| file.unwrap().path());
    files
        .map(|file| (file.clone(), std::fs::read(file).unwrap()))
        .collect()
}

/// Puts a session of this record and journal on disk, for the next broker.
fn put(world: &World, record: &Value, journal: &[u8]) -> PathBuf {
    let dir = world.state().join("default/sessions");
    let dir = dir.join(record["id"].as_str().unwrap());
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("session.json"), record.to_string()).unwrap();
    std::fs::write(dir.join("turns.jsonl"), journal).unwrap();
    dir
}

fn record(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("session.json")).unwrap()).unwrap()
}

#[test]
fn a_damaged_journal_loses_its_damaged_lines_and_nothing_else() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    world.send("work", "one");
    world.send("work", "two");
    agent.rule("slow", json!(["begin", {"hold": "h"}]));
    let no_wait = |prompt: &str| {
        let done = world.clsess(&["send", "--no-wait", "work", prompt]).run();
        done.ok().text().trim().to_owned()
    };
    let slow = no_wait("slow");
    agent.wait_hold("h", 1);
    let queued = no_wait("queued");
    let file = world.session_dir("work").join("turns.jsonl");
    world.kill_everything();
    agent.rule("slow", json!([{"say": "again"}]));
    let whole = std::fs::read_to_string(&file).unwrap();
    let (before, after) = whole.split_at(whole.find("\"two\"").unwrap());
    let (before, line) = before.rsplit_once('\n').unwrap();
    let damaged = format!("{before}\n\0\0garbage\n{{}}\n{line}{after}{{\"record\":\"que");
    std::fs::write(&file, &damaged).unwrap();

    let result = |turn: &str| world.clsess(&["result", "work", turn]).run();
    assert_eq!(result("-4").ok().text(), "you said: one\n");
    assert_eq!(result("-3").ok().text(), "you said: two\n");
    assert_eq!(result(&slow).ok().text(), "again\n");
    assert_eq!(result(&queued).ok().text(), "you said: queued\n");
    let error = &world.show("work")["last_error"];
    assert_eq!(error["code"], "journal_failed");
    assert_eq!(
        error["message"],
        "3 damaged lines in the journal: what they said is lost"
    );
    assert_eq!(
        error["hint"],
        format!("they are still in {}", file.display())
    );
    let log = world.log();
    assert!(
        log.contains("damaged lines in the journal session=work lines=3"),
        "{log}"
    );
    let ls = world.clsess(&["ls", "-F", "#{name} #{turns}"]).run().ok();
    assert_eq!(ls.text(), "work 4\n");
    let turns = world.clsess(&["log", "--json", "work"]).run().ok();
    let prompts: Vec<_> = turns.json_lines();
    let prompts: Vec<_> = prompts.iter().map(|turn| &turn["prompt"]).collect();
    assert_eq!(prompts, ["one", "two", "slow", "queued"]);
    assert_eq!(agent.prompts(), ["one", "two", "slow", "slow", "queued"]);
    assert!(
        std::fs::read_to_string(&file)
            .unwrap()
            .starts_with(&damaged)
    );
}

/// A broker with a session for every byte at which the four lines of a turn can be cut. The machine
/// has died meanwhile: what only waits is held.
#[test]
fn a_broker_serves_journals_that_are_cut_anywhere() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    world.send("work", "one");
    world.send("work", "two");
    let dir = world.session_dir("work");
    world.clsess(&["broker", "stop"]).run().ok();
    let whole = std::fs::read(dir.join("turns.jsonl")).unwrap();
    let ends: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').collect();
    let [before, queued, started, _, ended] = ends[ends.len() - 5..] else {
        panic!("{ends:?}");
    };
    world.reboot();
    let mut record = record(&dir);
    let mut cuts = Vec::new();
    for cut in before + 1..whole.len() {
        record["id"] = Uuid::from_u128(cut as u128).to_string().into();
        record["name"] = format!("cut-{cut}").into();
        let dir = put(&world, &record, &whole[..cut]);
        cuts.push((cut, dir.join("turns.jsonl")));
    }
    let torn = |cut: &usize| !ends.contains(cut) && !ends.contains(&(cut - 1));
    for (cut, file) in &cuts {
        let name = format!("cut-{cut}");
        let turns = world.clsess(&["log", "--json", &name]).run().ok();
        let told = |turn: &Value| {
            let word = |key: &str| turn[key].as_str().unwrap_or("-").to_owned();
            [word("prompt"), word("outcome"), word("answer")]
        };
        let told: Vec<_> = turns.json_lines().iter().map(told).collect();
        // A line is whole without its end.
        let second = match *cut {
            cut if cut < queued => None,
            cut if cut < started => Some(["two", "queued", "-"]),
            cut if cut < ended => Some(["two", "unknown", "-"]),
            _ => Some(["two", "completed", "you said: two"]),
        };
        let first = Some(["one", "completed", "you said: one"]);
        let expected: Vec<_> = first.into_iter().chain(second).collect();
        assert_eq!(told, expected, "{cut}");
        assert!(
            std::fs::read(file).unwrap().starts_with(&whole[..*cut]),
            "{cut}"
        );
    }
    let log = world.log();
    let damaged = cuts.iter().filter(|(cut, _)| torn(cut)).count();
    assert!(damaged > 700);
    assert_eq!(log.matches("damaged lines in the journal").count(), damaged);
    assert!(!log.contains("cannot be taken up") && !log.contains("panic"));
    assert_eq!(world.send("work", "three"), "you said: three\n");
    assert_eq!(agent.prompts(), ["one", "two", "three"]);
}

/// A broker with a session for every byte at which a record can be cut.
#[test]
fn records_that_are_cut_anywhere_are_left_alone() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    world.session("damaged");
    world.send("damaged", "one");
    let damaged = world.session_dir("damaged");
    world.clsess(&["broker", "stop"]).run().ok();
    let whole = std::fs::read(damaged.join("session.json")).unwrap();
    let journal = std::fs::read(damaged.join("turns.jsonl")).unwrap();
    // All but the end of its last line.
    for cut in 0..whole.len() - 2 {
        let id = Uuid::from_u128(cut as u128).to_string();
        let dir = put(&world, &json!({"id": id}), &journal);
        std::fs::write(dir.join("session.json"), &whole[..cut]).unwrap();
    }
    // A copy that somebody keeps is none of ours.
    put(&world, &json!({"id": "copy"}), b"");
    let copy = damaged.with_file_name("copy/session.json");
    std::fs::write(copy, &whole).unwrap();
    std::fs::write(damaged.join("session.json"), &whole[..whole.len() / 2]).unwrap();
    let before = on_disk(&world);

    let ls = world.clsess(&["ls", "-F", "#{name}"]).run().ok();
    assert_eq!(ls.text(), "work\n");
    let count = whole.len();
    let log = world.log();
    assert_eq!(log.matches("cannot be taken up").count(), count, "{log}");
    let expected = format!(
        "clsess: there is no session damaged\n\
         hint: {count} sessions on disk could not be taken up: clsess broker logs\n"
    );
    assert_eq!(
        world.clsess(&["show", "damaged"]).run().fails(3).stderr,
        expected
    );
    // The name is free; what had it stays.
    world.session("damaged");
    assert_eq!(world.send("damaged", "two"), "you said: two\n");
    assert_eq!(world.send("work", "three"), "you said: three\n");
    world.clsess(&["kill", "damaged"]).run().ok();
    world.session("damaged");
    world.clsess(&["broker", "stop"]).run().ok();
    let after = on_disk(&world);
    for (file, bytes) in before
        .iter()
        .filter(|(file, _)| !file.starts_with(dir_of(&world, "work")))
    {
        assert_eq!(after.get(file), Some(bytes), "{}", file.display());
    }
    // Whole again, it has its name again: it is the older one.
    std::fs::write(damaged.join("session.json"), &whole).unwrap();
    let result = world.clsess(&["result", "damaged"]).run().ok();
    assert_eq!(result.text(), "you said: one\n");
    assert_eq!(world.session_dir("damaged"), damaged);
    assert_eq!(agent.prompts(), ["one", "two", "three"]);
}

/// The directory of a session, by the records.
fn dir_of(world: &World, name: &str) -> PathBuf {
    let sessions = std::fs::read_dir(world.state().join("default/sessions")).unwrap();
    let mut dirs = sessions.map(|dir| dir.unwrap().path());
    let named = |dir: &PathBuf| {
        let text = std::fs::read(dir.join("session.json")).unwrap();
        serde_json::from_slice(&text).is_ok_and(|record: Value| record["name"] == name)
    };
    dirs.find(named).unwrap()
}
