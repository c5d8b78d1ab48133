//! What was asked of one session, or of one turn, is asked of that one again, whatever is called so by
//! then.

use serde_json::json;

use crate::harness::{Running, World, until};

/// A turn in `work` that nobody waits for, whose answer is held.
fn slow(world: &World) -> String {
    let late = json!([{"text": "late", "hold": "slow"}]);
    world.api.rule("slow", late);
    let sent = world.clsess(&["send", "--no-wait", "work", "slow"]).run();
    world.api.wait_hold("slow", 1);
    sent.ok().text().trim().to_owned()
}

/// Another session takes the name `work`; the one that had it is `first` now.
fn take_the_name(world: &World) {
    world.clsess(&["rename", "work", "first"]).run().ok();
    world.session("work");
}

#[test]
fn a_result_is_of_the_turn_that_was_the_last_when_it_was_asked_for() {
    let Some(world) = World::real() else { return };
    world.session("work");
    slow(&world);
    let relay = world.relay();
    let text = relay.clsess(&world, &["result", "work"]).spawn();
    let json = relay.clsess(&world, &["result", "-ojson", "work"]).spawn();
    relay.wait_asked("result", 2);
    world
        .clsess(&["send", "--no-wait", "work", "other"])
        .run()
        .ok();
    world.kill_broker();
    relay.cut();
    relay.wait_asked("result", 4);
    world.api.release("slow");
    assert_eq!(text.wait().ok().text(), "late\n");
    assert_eq!(json.wait().ok().json()["answer"], "late");
}

#[test]
fn who_looks_at_a_session_goes_on_with_that_one() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let turn = slow(&world);
    let relay = world.relay();
    let begun = |args: &[&str], op: &str, count| -> Running {
        let command = relay.clsess(&world, args).spawn();
        relay.wait_asked(op, count);
        command
    };
    let result = begun(&["result", "-ojson", "work"], "result", 1);
    let wait = begun(&["wait", "--json", "work"], "wait", 1);
    let events = begun(&["events", "work"], "events", 1);
    let log = begun(&["log", "-f", "--json", "work"], "events", 2);
    take_the_name(&world);
    world.kill_broker();
    relay.cut();
    relay.wait_asked("result", 2);
    relay.wait_asked("wait", 2);
    relay.wait_asked("events", 4);
    world.api.release("slow");
    let result = result.wait().ok().json();
    assert_eq!(
        (&result["answer"], &result["session"]),
        (&json!("late"), &json!("first"))
    );
    let sessions = wait.wait().ok().json()["sessions"].take();
    assert_eq!(
        (&sessions[0]["name"], &sessions[0]["turns"]),
        (&json!("first"), &json!(1))
    );
    world.clsess(&["kill", "first"]).run().ok();
    let log = log.wait().ok().json_lines();
    assert_eq!(log.len(), 1);
    assert_eq!(
        (&log[0]["turn"], &log[0]["answer"]),
        (&json!(turn), &json!("late"))
    );
    let events = events.wait().ok().json_lines();
    let of = |name: &str| events.iter().filter(|line| line["session"] == name).count();
    assert!(
        events
            .iter()
            .any(|line| line["event"] == "result" && line["turn"] == turn)
    );
    assert_eq!(of("first") + of("work"), events.len());
    // As it was called until then.
    let last = events.iter().rposition(|line| line["session"] == "work");
    let renamed = events.iter().position(|line| line["event"] == "renamed");
    assert!(last <= renamed, "{events:?}");
}

#[test]
fn one_that_is_killed_meanwhile_is_gone() {
    let Some((world, _)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    world.session("other");
    let relay = world.relay();
    let begun = |args: &[&str]| relay.clsess(&world, args).spawn();
    let change = begun(&["wait", "--json", "--for", "change", "work"]);
    let question = begun(&["wait", "--for", "question", "work"]);
    relay.wait_asked("wait", 2);
    let events = begun(&["events", "work"]);
    let log = begun(&["log", "-f", "work"]);
    let both = begun(&["events", "work", "other"]);
    relay.wait_asked("events", 3);
    world.kill_broker();
    world.clsess(&["kill", "work"]).run().ok();
    relay.cut();
    let rows = change.wait().ok().json();
    assert_eq!(rows["sessions"][0]["state"], "gone");
    assert_eq!(rows["sessions"][0]["name"], "work");
    let said = question.wait().fails(10).stderr;
    assert_eq!(said, "clsess: work was killed\n");
    events.wait().ok();
    log.wait().ok();
    // The other one is still there.
    world.send("other", "hi");
    both.wait_stdout(|out| String::from_utf8_lossy(out).contains("\"result\""));
    world.clsess(&["kill", "other"]).run().ok();
    both.wait().ok();
}

#[test]
fn a_change_that_nobody_was_told_of_is_one() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let turn = slow(&world);
    let relay = world.relay();
    let change = ["wait", "--json", "--for", "change", "work"];
    let change = relay.clsess(&world, &change).spawn();
    relay.wait_asked("wait", 1);
    world.kill_broker();
    world.api.release("slow");
    world.clsess(&["result", "work", &turn]).run().ok();
    world.wait_state("work", "idle");
    relay.cut();
    let row = change.wait().ok().json()["sessions"][0].take();
    assert_eq!((&row["state"], &row["turns"]), (&json!("idle"), &json!(1)));
}

/// Those that change something, whose answers were lost.
#[test]
fn who_changes_a_session_changes_that_one() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let turn = slow(&world);
    let sent = world.clsess(&["send", "--no-wait", "work", "waits"]).run();
    let queued = sent.ok().text().to_owned();
    let relay = world.relay();
    let lost = |args: &[&str], op: &'static str| {
        relay.swallows(op);
        let command = relay.clsess(&world, args).spawn();
        relay.wait_asked(op, 1);
        command
    };
    let remove = lost(&["queue", "work", "rm", "-1"], "queue_remove");
    until("it is taken back", || world.show("work")["queue"] == 0);
    let interrupt = lost(&["interrupt", "work"], "interrupt");
    let result = world.clsess(&["result", "work", &turn]).run();
    result.fails(10);
    take_the_name(&world);
    world.kill_broker();
    relay.cut();
    assert_eq!(remove.wait().ok().text(), queued);
    // It says so where nothing ran.
    assert_eq!(interrupt.wait().ok().stderr, "");
    let restart = lost(&["restart", "--json", "work"], "restart");
    world.clsess(&["rename", "work", "second"]).run().ok();
    world.kill_broker();
    relay.cut();
    assert_eq!(restart.wait().ok().json()["name"], "second");
}

#[test]
fn an_answer_goes_to_the_session_that_asked() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let input = json!({"file_path": world.project().join("new"), "content": "x"});
    let write = json!({"blocks": [{"tool": {"name": "Write", "input": input}}]});
    world.api.rule("write", json!([write, {"text": "written"}]));
    let send = ["send", "--on-question", "wait", "work", "write"];
    let running = world.clsess(&send).spawn();
    world.wait_state("work", "question");
    let relay = world.relay();
    relay.swallows("approve");
    let approve = relay.clsess(&world, &["approve", "work"]).spawn();
    relay.wait_asked("approve", 1);
    assert_eq!(running.wait().ok().text(), "written\n");
    take_the_name(&world);
    world.kill_broker();
    relay.cut();
    let done = approve.wait().ok();
    assert!(done.text().starts_with("approved: "), "{}", done.text());
}
