//! A disk that is full, or cannot be written: what is refused, what goes on, and that nothing that
//! was acknowledged is lost. The state directory is a small tmpfs in a mount namespace.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use harness::told::{Told, check, told};
use harness::{Done, World, send_signal, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// KiB of the state directory's disk.
const DISK: u64 = 1024;

/// A text that does not fit into what a journal has set aside.
fn long(what: &str) -> String {
    format!("{what} {}", "x".repeat(32 * 1024))
}

fn full() -> Told<'static> {
    told(
        1,
        "journal_failed",
        "the journal cannot be written: No space left on device (os error 28), so nothing was sent",
        "see whether the disk is full: df -h; where it is: clsess broker status",
    )
}

fn sessions_on_disk(world: &World) -> usize {
    let sessions = world.seen(world.state().join("default/sessions"));
    std::fs::read_dir(sessions).unwrap().count()
}

fn no_wait(world: &World, prompt: &str) -> String {
    let sent = world.clsess(&["send", "--no-wait", "work", prompt]).run();
    sent.ok().text().trim().to_owned()
}

fn result(world: &World, turn: &str) -> Done {
    world.clsess(&["result", "work", turn]).run()
}

/// Clock ticks of processor time that a process has had.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
    let used = fields.skip(11).take(2).map(|field| field.parse::<u64>());
    used.map(Result::unwrap).sum()
}

#[test]
fn on_a_full_disk_nothing_is_taken_and_nothing_is_lost() {
    let Some(world) = World::real().and_then(|world| world.with_disk(DISK)) else {
        return;
    };
    world.session("work");
    assert_eq!(world.send("work", "one"), "you said: one\n");
    let answer = "late ".repeat(8000);
    world
        .api
        .rule("slow", json!([{"text": answer, "hold": "h"}]));
    let slow = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let behind = no_wait(&world, "behind");
    let waits = world.clsess(&["send", "work", "waits"]).spawn();
    world.wait_queued("work", 2);
    world.fill();

    let broker = world.broker();
    let (before, log) = (ticks(broker), world.log());
    for _ in 0..10 {
        check(&world, &["send", "work"], long("no").as_bytes(), &full());
        let args = ["send", "--no-wait", "work"];
        let done = world.clsess(&args).stdin(long("no")).run().fails(1);
        assert_eq!((done.text(), &*done.stderr), ("", &*full().text()));
    }
    let other = told(
        1,
        "journal_failed",
        "the session cannot be kept on disk: No space left on device (os error 28)",
        "see whether the disk is full: df -h; where it is: clsess broker status",
    );
    check(&world, &["new", "other"], b"", &other);
    assert_eq!(sessions_on_disk(&world), 1);

    // What ran when it filled up is answered, and its answer is there.
    world.api.release("h");
    let expected = format!("{answer}\n");
    assert_eq!(slow.wait().ok().text(), expected);
    // Who waits for a turn in the queue is told; the one that nobody waits for stays.
    let done = waits.wait().fails(1);
    assert_eq!((done.text(), &*done.stderr), ("", &*full().text()));
    world.wait_queued("work", 1);
    let queue = world.clsess(&["queue", "work"]).run().ok();
    assert!(queue.text().contains("behind"), "{}", queue.text());
    let ls = world.clsess(&["ls", "--json"]).run().ok().json();
    assert_eq!(ls["sessions"][0]["detail"], "the journal cannot be written");
    assert_eq!(ls["sessions"][0]["turns"], 3);
    assert_eq!(result(&world, "-3").ok().text(), expected);
    let history = world.clsess(&["log", "--json", "work"]).run().ok();
    let outcomes: Vec<Value> = history.json_lines();
    let outcomes: Vec<_> = outcomes.iter().map(|turn| &turn["outcome"]).collect();
    assert_eq!(outcomes, ["completed", "completed", "queued", "failed"]);
    world.clsess(&["broker", "status"]).run().ok();

    world.make_room();
    assert_eq!(result(&world, &behind).ok().text(), "you said: behind\n");
    assert_eq!(world.send("work", "two"), "you said: two\n");
    let used = ticks(broker) - before;
    assert!(used < 100, "{used} ticks of processor time");
    let log = world.log()[log.len()..].to_owned();
    assert!(log.lines().count() < 30, "{log}");
    assert!(!log.contains("panic"), "{log}");
    assert_eq!(world.broker(), broker);
    assert_eq!(world.api.prompts(0), ["one", "slow", "behind", "two"]);

    // Its end is in the journal: the next broker has it.
    send_signal(broker, Signal::SIGKILL);
    until("it is gone", || !harness::alive(broker));
    assert_eq!(result(&world, "-4").ok().text(), expected);
    assert_eq!(result(&world, &behind).ok().text(), "you said: behind\n");
    assert_eq!(world.show("work")["turns"], 5);
}

/// Turns that are taken back.
const REMOVED: usize = 80;

/// What was refused, taken back or given up on a full disk must not run with the next broker: the
/// room for its end is set aside when it is taken in.
#[test]
fn what_has_ended_on_a_full_disk_does_not_run_with_the_next_broker() {
    let Some(mut world) = World::bare().and_then(|world| world.with_disk(DISK)) else {
        return;
    };
    let agent = world.fake_agent(json!({}));
    world.session("work");
    // Longer than all that is set aside by then.
    let answer = "answer ".repeat(40_000);
    agent.rule("slow", json!(["begin", {"hold": "h"}, {"say": answer}]));
    let slow = world.clsess(&["send", "work", "slow"]).spawn();
    agent.wait_hold("h", 1);
    let queued = |args: &[&str], so_many: u64| {
        let send = world.clsess(&[&["send"], args].concat()).spawn();
        world.wait_queued("work", so_many);
        send
    };
    let left = queued(&["work", "left"], 1);
    let refused = queued(&["work", "refused"], 2);
    // Their ends are longer than what is set aside at a time.
    let removed: Vec<String> = (0..REMOVED).map(|_| no_wait(&world, "removed")).collect();
    let late = queued(&["--deadline", "3s", "work", "late"], REMOVED as u64 + 3);
    world.fill();
    for turn in &removed {
        world.clsess(&["queue", "work", "rm", turn]).run().ok();
    }
    left.signal(Signal::SIGINT);
    left.wait().fails(130);
    late.wait().fails(124);
    agent.release("h");
    assert_eq!(slow.wait().ok().text(), format!("{answer}\n"));
    let refused = refused.wait().fails(1);
    assert_eq!(refused.stderr, full().text());
    world.kill_everything();

    let all_is_as_it_was = || {
        let turns = world.clsess(&["log", "--json", "work"]).run().ok();
        let turns: Vec<_> = turns.json_lines();
        let told: Vec<_> = turns
            .iter()
            .map(|turn| [&turn["prompt"], &turn["outcome"]])
            .collect();
        let expected = [
            ["slow", "completed"],
            ["left", "cancelled"],
            ["refused", "failed"],
        ];
        assert_eq!(json!(told[..3]), json!(expected));
        assert_eq!(json!(told[3 + REMOVED]), json!(["late", "timed-out"]));
        let removed = &told[3..][..REMOVED];
        assert!(
            removed
                .iter()
                .all(|turn| json!(turn) == json!(["removed", "cancelled"]))
        );
    };
    all_is_as_it_was();
    world.make_room();
    assert_eq!(world.send("work", "next"), "you said: next\n");
    world.clsess(&["broker", "stop"]).run().ok();
    all_is_as_it_was();
    assert_eq!(agent.prompts(), ["slow", "next"]);
}

#[test]
fn a_session_that_is_removed_under_its_broker_takes_no_prompt() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    world.send("work", "one");
    let dir = world.session_dir("work");
    std::fs::remove_dir_all(&dir).unwrap();
    let message = format!(
        "the journal cannot be written: {}/turns.jsonl was removed or replaced by something else, \
         so nothing was sent",
        dir.display()
    );
    let expected = told(
        1,
        "journal_failed",
        &message,
        "see whether the disk is full: df -h; where it is: clsess broker status",
    );
    check(&world, &["send", "work", "two"], b"", &expected);
    assert_eq!(result(&world, "-1").ok().text(), "you said: one\n");
    world.clsess(&["kill", "work"]).run().ok();
    world.session("work");
    assert_eq!(world.send("work", "three"), "you said: three\n");
    assert_eq!(agent.prompts(), ["one", "three"]);
}

#[test]
fn a_repeated_request_is_acknowledged_when_it_is_on_disk() {
    let Some(world) = World::real().and_then(|world| world.with_disk(DISK)) else {
        return;
    };
    world.session("work");
    world.fill();
    let prompt = long("keyed");
    let send = || {
        let args = ["send", "--no-wait", "--key", "k", "work"];
        world.clsess(&args).stdin(prompt.clone()).run()
    };
    for _ in 0..2 {
        assert_eq!(send().fails(1).text(), "");
    }
    world.make_room();
    let id = send().ok().text().trim().to_owned();
    assert_eq!(send().ok().text().trim(), id);
    result(&world, &id).ok();
    assert_eq!(world.api.prompts(0).len(), 1);
}

/// The end that the disk did not take goes with the broker: its sender has had the answer, and the
/// next broker does not know it.
#[test]
fn an_end_that_the_disk_never_took_is_known_to_the_next_broker_by_the_agent() {
    let Some(mut world) = World::bare().and_then(|world| world.with_disk(DISK)) else {
        return;
    };
    let agent = world.fake_agent(json!({}));
    world.session("work");
    let run = |name: &str| {
        let steps = json!(["begin", {"hold": name}, {"say": long(name)}]);
        agent.rule(name, steps);
        let send = world.clsess(&["send", "work", name]).spawn();
        agent.wait_hold(name, 1);
        world.fill();
        agent.release(name);
        let answer = format!("{}\n", long(name));
        assert_eq!(send.wait().ok().text(), answer);
        assert_eq!(result(&world, "-1").ok().text(), answer);
        answer
    };
    let lost = run("lost");
    world.clsess(&["broker", "stop"]).run().ok();
    // It starts on the full disk, and finds the answer with the agent.
    assert_eq!(result(&world, "-1").ok().text(), lost);
    check(
        &world,
        &["send", "work"],
        long("refused").as_bytes(),
        &full(),
    );
    world.make_room();
    assert_eq!(world.send("work", "next"), "you said: next\n");
    let answer = run("kept");
    world.make_room();
    // A broker that is told to end writes them first.
    world.clsess(&["broker", "stop"]).run().ok();
    assert_eq!(result(&world, "-1").ok().text(), answer);
    assert_eq!(result(&world, "-3").ok().text(), lost);
    let prompts = agent.prompts();
    assert_eq!(prompts, ["lost", "next", "kept"]);
    let log = world.log();
    assert!(!log.contains("panic"), "{log}");
}

#[test]
fn a_broker_begins_on_a_full_disk_where_one_was_before() {
    let Some(mut world) = World::bare().and_then(|world| world.with_disk(DISK)) else {
        return;
    };
    world.fill();
    let place = world.state().join("default");
    let message = format!(
        "cannot write {}/lock: No space left on device (os error 28)",
        place.display()
    );
    let hint = format!("make room: df -h {}", place.display());
    cannot_begin(&world, "journal_failed", &message, &hint);
    world.make_room();
    let agent = world.fake_agent(json!({}));
    world.session("work");
    assert_eq!(world.send("work", "one"), "you said: one\n");
    agent.rule("slow", json!(["begin", {"hold": "h"}]));
    let slow = no_wait(&world, "slow");
    agent.wait_hold("h", 1);
    let queued = no_wait(&world, "queued");
    let broker = world.broker();
    world.kill_everything();
    let journal = dir_of_only(&world).join("turns.jsonl");
    let mut torn = std::fs::read(&journal).unwrap();
    torn.extend_from_slice(b"{\"record\":\"queued\",\"turn\":\"0000");
    std::fs::write(&journal, &torn).unwrap();
    world.fill();

    assert_eq!(result(&world, "-3").ok().text(), "you said: one\n");
    // The agent that died had not written it down: who waits lets it run again, which it cannot.
    result(&world, &slow).fails(1);
    let history = world.clsess(&["log", "work"]).run().ok();
    assert!(history.text().contains("queued"), "{}", history.text());
    assert_ne!(world.broker(), broker);
    world.make_room();
    assert_eq!(result(&world, &queued).ok().text(), "you said: queued\n");
    assert_eq!(agent.prompts(), ["one", "slow", "queued"]);
    assert!(std::fs::read(&journal).unwrap().starts_with(&torn));
}

/// The directory of the only session, without asking a broker.
fn dir_of_only(world: &World) -> PathBuf {
    let sessions = world.seen(world.state().join("default/sessions"));
    let mut dirs = std::fs::read_dir(sessions).unwrap();
    dirs.next().unwrap().unwrap().path()
}

/// `broker start` says why, and so does a command that needs one.
#[track_caller]
fn cannot_begin(world: &World, code: &str, message: &str, hint: &str) {
    let start = world.clsess(&["broker", "start"]).run().fails(1);
    assert_eq!(start.stderr, told(1, code, message, hint).text());
    let message = format!("the broker cannot be started: {message}");
    let unreachable = told(11, "broker_unreachable", &message, hint);
    check(world, &["ls"], b"", &unreachable);
    check(world, &["send", "work"], b"hi", &unreachable);
    let status = told(
        11,
        "broker_unreachable",
        "no broker is running",
        "clsess broker start",
    );
    check(world, &["broker", "status"], b"", &status);
    assert!(world.processes().is_empty());
}

fn mount(world: &World, args: &[&str]) {
    let state = world.state();
    let args = [args, &[state.to_str().unwrap()]].concat();
    world.program("mount", &args).run().ok();
}

#[test]
fn a_broker_does_not_begin_on_a_read_only_disk() {
    let Some(mut world) = World::bare().and_then(|world| world.with_disk(DISK)) else {
        return;
    };
    let place = world.state().join("default");
    let state = world.state();
    mount(&world, &["-o", "remount,ro", "tmpfs"]);
    let message = format!(
        "{} cannot be made: Read-only file system (os error 30)",
        place.display()
    );
    let writable = |dir: &std::path::Path| {
        let other = "other places: CLSESS_STATE_DIR, CLSESS_RUNTIME_DIR";
        format!("{} has to be writable; {other}", dir.display())
    };
    cannot_begin(&world, "unsafe_path", &message, &writable(&state));
    mount(&world, &["-o", "remount,rw", "tmpfs"]);
    let agent = world.fake_agent(json!({}));
    world.session("work");
    world.send("work", "one");
    world.clsess(&["broker", "stop"]).run().ok();
    let journal = std::fs::read(dir_of_only(&world).join("turns.jsonl")).unwrap();
    mount(&world, &["-o", "remount,ro", "tmpfs"]);
    let message = format!(
        "cannot lock {}/lock: Read-only file system (os error 30)",
        place.display()
    );
    cannot_begin(&world, "unsafe_path", &message, &writable(&place));
    world.clsess(&["broker", "stop"]).run().ok();
    mount(&world, &["-o", "remount,rw", "tmpfs"]);
    assert_eq!(result(&world, "-1").ok().text(), "you said: one\n");
    let after = std::fs::read(dir_of_only(&world).join("turns.jsonl")).unwrap();
    assert_eq!(after, journal);
    assert_eq!(agent.prompts(), ["one"]);
}

/// A disk does not become read-only while files are open for writing, unless it fails; then it
/// refuses what is written, like a full one. Here the paths are read-only and the open files
/// are not.
#[test]
fn a_broker_lives_on_when_its_directory_becomes_read_only() {
    let Some(mut world) = World::bare().and_then(|world| world.with_disk(DISK)) else {
        return;
    };
    let agent = world.fake_agent(json!({}));
    world.session("killed");
    world.send("killed", "before");
    let killed = world.show("killed")["id"].as_str().unwrap().to_owned();
    world.clsess(&["kill", "killed"]).run().ok();
    world.session("work");
    world.send("work", "one");
    let state = world.state();
    mount(&world, &["--bind", state.to_str().unwrap()]);
    mount(&world, &["-o", "remount,bind,ro"]);

    assert_eq!(
        world.clsess(&["ls", "-F", "#{name}"]).run().ok().text(),
        "work\n"
    );
    assert_eq!(result(&world, "-1").ok().text(), "you said: one\n");
    let done = world.clsess(&["result", &killed]).run().ok();
    assert_eq!(done.text(), "you said: before\n");
    world.clsess(&["log", &killed]).run().ok();
    world.clsess(&["log", "work"]).run().ok();
    world.clsess(&["broker", "status"]).run().ok();
    assert_eq!(world.send("work", "two"), "you said: two\n");
    let new = world.clsess(&["new", "--json", "other"]).run().fails(1);
    let error = &new.json()["error"];
    assert_eq!(error["code"], "journal_failed");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.ends_with(" cannot be made: Read-only file system (os error 30)"),
        "{message}"
    );
    let renamed = told(
        1,
        "journal_failed",
        "it is called renamed now, but the disk does not keep that yet: \
         Read-only file system (os error 30)",
        "it has to be writable; where it is: clsess broker status; another place: CLSESS_STATE_DIR",
    );
    check(&world, &["rename", "work", "renamed"], b"", &renamed);
    world.program("umount", &[world.state()]).run().ok();
    // It is kept by itself as soon as it can be.
    let record = world.session_dir("renamed").join("session.json");
    until("the name is kept", || {
        std::fs::read_to_string(&record)
            .unwrap()
            .contains("\"renamed\"")
    });
    mount(&world, &["--bind", state.to_str().unwrap()]);
    mount(&world, &["-o", "remount,bind,ro"]);
    let done = world.clsess(&["kill", "--json", "renamed"]).run().fails(1);
    assert_eq!(
        done.json()["killed"][0]["error"]["message"],
        "renamed is ended, but cannot be forgotten, and is there again with the next broker: \
         Read-only file system (os error 30)"
    );
    assert_eq!(world.clsess(&["ls"]).run().ok().text(), "");
    world.program("umount", &[world.state()]).run().ok();
    world.clsess(&["broker", "stop"]).run().ok();
    assert_eq!(world.send("renamed", "three"), "you said: three\n");
    assert_eq!(agent.prompts(), ["before", "one", "two", "three"]);
}

#[test]
fn a_broker_does_not_begin_in_a_directory_that_is_not_to_be_written() {
    let Some(world) = World::bare() else { return };
    let place = world.state().join("default");
    for dir in [world.state(), place.clone(), world.runtime()] {
        std::fs::create_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o700)).unwrap();
    }
    // Root, and whoever has made the namespace, may write anywhere until they give that up.
    let run = |args: &[&str]| {
        let plain = ["--bounding-set=-all", "--inh-caps=-all", harness::CLSESS];
        let args = [&plain[..], args].concat();
        world.program("setpriv", &args).run()
    };
    std::fs::set_permissions(&place, PermissionsExt::from_mode(0o500)).unwrap();
    let message = format!(
        "{}/sessions cannot be made: Permission denied (os error 13)",
        place.display()
    );
    let hint = format!(
        "{} has to be writable; other places: CLSESS_STATE_DIR, CLSESS_RUNTIME_DIR",
        place.display()
    );
    let done = run(&["broker", "start"]).fails(1);
    assert_eq!(done.stderr, told(1, "unsafe_path", &message, &*hint).text());
    let message = format!("the broker cannot be started: {message}");
    let done = run(&["ls"]).fails(11);
    assert_eq!(
        done.stderr,
        told(11, "broker_unreachable", &message, &*hint).text()
    );
    std::fs::set_permissions(&place, PermissionsExt::from_mode(0o700)).unwrap();
    assert_eq!(run(&["ls"]).ok().text(), "");
    run(&["broker", "stop"]).ok();
}
