//! Sessions with a child for each turn, with the real client: what becomes of the children.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;
#[path = "harness/terminal.rs"]
#[allow(dead_code, reason = "most of it is for others")]
mod terminal;

use harness::{World, alive, process_state, send_signal, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use terminal::{Size, Terminal};

/// Makes one.
fn session(world: &World, options: &[&str]) {
    let args = [&["new", "work", "--driver", "oneshot"], options].concat();
    world.clsess(&args).run().ok();
}

/// The child that waits for the next turn, once there is another one than `before`.
fn next(world: &World, before: u32) -> u32 {
    let mut child = 0;
    until("the next child is there", || {
        let shown = world.show("work");
        child = shown["pid"].as_u64().unwrap_or(0).try_into().unwrap();
        let ready = shown["state"] == "idle" && shown["detail"].is_null();
        child != 0 && child != before && ready
    });
    child
}

/// The child that waits behind a first turn.
fn after_a_turn(world: &World) -> u32 {
    let child = world.agent("work");
    world.send("work", "one");
    next(world, child)
}

/// What the agent's descriptor of this number is.
fn descriptor(agent: u32, number: u32) -> String {
    let link = std::fs::read_link(format!("/proc/{agent}/fd/{number}")).unwrap();
    link.to_str().unwrap().to_owned()
}

#[test]
fn each_turn_has_a_child_of_its_own_that_waits_for_it() {
    let Some(world) = World::real() else { return };
    session(&world, &[]);
    let mut child = world.agent("work");
    let conversation = world.conversation("work");
    let mut said = Vec::new();
    for prompt in ["one", "  two\r\n ", "/three", "four"] {
        assert_eq!(world.send("work", prompt), format!("you said: {prompt}\n"));
        // It was there before, and another one is there now, which nobody had to ask for.
        let after = next(&world, child);
        until("the one before is gone", || !alive(child));
        child = after;
        said.push(prompt.to_owned());
        assert_eq!(world.api.prompts(0), said);
    }
    let context = world.context();
    assert_eq!(context.iter().filter(|text| said.contains(text)).count(), 4);
    assert_eq!(world.conversation("work"), conversation);
    // What it begins in the background would end with it.
    let environment = std::fs::read(format!("/proc/{child}/environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment).into_owned();
    assert!(environment.contains("CLAUDE_CODE_DISABLE_BACKGROUND_TASKS=1"));
}

#[test]
fn between_turns_it_is_idle() {
    let Some(world) = World::real() else { return };
    session(&world, &[]);
    let events = world.clsess(&["events", "--since", "0", "work"]).spawn();
    after_a_turn(&world);
    world.clsess(&["kill", "work"]).run().ok();
    let told = events.wait().ok().json_lines();
    let states = told.iter().filter(|event| event["event"] == "state");
    let states = states.map(|event| event["state"].as_str().unwrap());
    let mut states: Vec<_> = states.collect();
    states.dedup();
    let (last, states) = states.split_last().unwrap();
    assert_eq!(*last, "gone");
    // Not that the child has ended, nor that the next one begins.
    assert_eq!(states, ["starting", "idle", "working", "idle", "ending"]);
}

#[test]
fn prompts_that_wait_get_a_child_each() {
    let Some(world) = World::real() else { return };
    session(&world, &[]);
    let sends: Vec<_> = (0..5)
        .map(|number| {
            let prompt = format!("number {number}");
            let send = world.clsess(&["send", "work", &prompt]).spawn();
            world.api.wait_main(1);
            (prompt, send)
        })
        .collect();
    for (prompt, send) in sends {
        assert_eq!(send.wait().ok().text(), format!("you said: {prompt}\n"));
    }
    assert_eq!(world.api.prompts(0).len(), 5);
}

#[test]
fn its_output_may_be_a_terminal() {
    let Some(world) = World::real() else { return };
    session(&world, &["--pty"]);
    let long = "ünï\u{1b}[31m\r\n\tx".repeat(20_000);
    world.api.answer("long", &long);
    let mut child = world.agent("work");
    for (prompt, answer) in [("hello", "you said: hello"), ("long", &long)] {
        assert!(descriptor(child, 1).starts_with("/dev/pts/"));
        assert!(descriptor(child, 0).starts_with("pipe:"));
        let done = world.clsess(&["send", "work", prompt]).run().ok();
        assert_eq!(done.stdout, format!("{answer}\n").into_bytes());
        child = next(&world, child);
    }
    let broker = world.broker();
    world.api.rule(
        "slow",
        json!([{"text": "slowly", "delta_bytes": 1, "hold": "h", "hold_after": 2}]),
    );
    let send = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    world.kill_this_broker(broker);
    world.api.release("h");
    assert_eq!(send.wait().ok().text(), "slowly\n");
    // Without it, it is none.
    let refused = world.clsess(&["new", "other", "--pty"]).run().fails(2);
    assert!(
        refused.stderr.contains("--driver oneshot"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_child_that_waits_is_thrown_away_when_somebody_attaches() {
    let Some(world) = World::real() else { return };
    session(&world, &[]);
    let child = after_a_turn(&world);
    let terminal = Terminal::start(&world.clsess(&["attach", "work"]), Size(24, 100));
    terminal.until_screen(|screen| screen.contains("you said: one"));
    until("it is gone", || !alive(child));
    assert_eq!(world.show("work")["driver"], "tui");
    assert_eq!(world.send("work", "two"), "you said: two\n");
    terminal.type_in("\x1c");
    assert_eq!(terminal.exit(), 0);
    until("it has its own body again", || {
        world.show("work")["driver"] == "oneshot"
    });
    assert_eq!(world.send("work", "three"), "you said: three\n");
    let context = world.context();
    let own = ["one", "two", "three"];
    let kept: Vec<_> = context
        .iter()
        .filter(|text| own.contains(&text.as_str()))
        .collect();
    assert_eq!(kept, own);
}

#[test]
fn a_child_that_waits_is_thrown_away_when_another_client_writes() {
    let Some(world) = World::real() else { return };
    session(&world, &[]);
    let child = after_a_turn(&world);
    let id = world.conversation("work");
    let other = world.program("claude", &["-p", &format!("--resume={id}"), "elsewhere"]);
    let said = other.stdin(Vec::new()).run().ok();
    assert_eq!(said.text(), "you said: elsewhere\n");
    assert_eq!(world.send("work", "three"), "you said: three\n");
    until("it is gone", || !alive(child));
    let context = world.context();
    let own = ["one", "elsewhere", "three"];
    let kept: Vec<_> = context
        .iter()
        .filter(|text| own.contains(&text.as_str()))
        .collect();
    assert_eq!(kept, own);
}

#[test]
fn a_broker_dies_between_two_turns() {
    let Some(world) = World::real() else { return };
    session(&world, &[]);
    for number in 0..4 {
        let prompt = format!("number {number}");
        assert_eq!(world.send("work", &prompt), format!("you said: {prompt}\n"));
        // At another moment each time: while the child ends, while the next begins, and later.
        std::thread::sleep(std::time::Duration::from_millis(number * 90));
        // Where there is no child at that moment only the next command brings another broker.
        let broker = world.broker();
        send_signal(broker, Signal::SIGKILL);
        until("the broker is gone", || !alive(broker));
    }
    world.clsess(&["wait", "work"]).run().ok();
    let expected: Vec<_> = (0..4).map(|number| format!("number {number}")).collect();
    assert_eq!(world.api.prompts(0), expected);
    let context = world.context();
    assert_eq!(
        context
            .iter()
            .filter(|text| expected.contains(text))
            .count(),
        4
    );
    until("there is one child", || {
        let clients = world.processes();
        let clients = clients
            .iter()
            .filter(|(_, line)| line.contains("--permission-prompt-tool"));
        clients.count() == 1
    });
}

#[test]
fn a_child_that_waits_is_there_for_the_next_broker() {
    let Some(world) = World::real() else { return };
    session(&world, &[]);
    let child = after_a_turn(&world);
    world.wait_state("work", "idle");
    until("it is ready", || {
        world.log().matches("agent started").count() == 2
    });
    world.clsess(&["wait", "work"]).run().ok();
    world.kill_broker();
    assert_eq!(world.agent("work"), child);
    assert_eq!(world.send("work", "two"), "you said: two\n");
    assert_ne!(next(&world, child), child);
    assert_eq!(world.api.prompts(0), ["one", "two"]);
}

#[test]
fn a_child_that_dies_is_told_with_its_words() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    session(&world, &[]);
    agent.rule("dies", json!([{"stderr": "no memory left\n"}, {"exit": 3}]));
    let done = world.clsess(&["send", "work", "dies"]).run();
    assert_ne!(done.code, 0);
    assert!(
        done.stderr.contains("exit 3: no memory left"),
        "{}",
        done.stderr
    );
    // Behind its answer it changes nothing in that, and is told all the same.
    world.clsess(&["restart", "work"]).run().ok();
    after_a_turn(&world);
    agent.add(
        json!({"on": "eof", "once": true, "steps": [{"stderr": "cannot write\n"}, {"exit": 4}]}),
    );
    assert_eq!(world.send("work", "again"), "you said: again\n");
    until("it is told", || {
        let error = &world.show("work")["last_error"]["message"];
        error
            .as_str()
            .is_some_and(|error| error.contains("exit 4: cannot write"))
    });
    assert_eq!(world.send("work", "third"), "you said: third\n");
}

#[test]
fn one_that_ignores_the_end_of_its_input_is_ended() {
    let Some((world, _agent)) = World::fake(json!({"ignore": ["eof"]})) else {
        return;
    };
    session(&world, &[]);
    let child = world.agent("work");
    assert_eq!(world.send("work", "one"), "you said: one\n");
    assert_eq!(world.send("work", "two"), "you said: two\n");
    until("it is gone", || !alive(child));
}

#[test]
fn a_child_that_waits_may_die() {
    let Some(world) = World::real() else { return };
    session(&world, &[]);
    let child = after_a_turn(&world);
    send_signal(child, Signal::SIGKILL);
    until("it is gone", || process_state(child).is_none());
    assert_eq!(world.send("work", "two"), "you said: two\n");
    assert_eq!(world.api.prompts(0), ["one", "two"]);
}

#[test]
fn it_sleeps_and_wakes() {
    let Some(world) = World::real() else { return };
    world.config("[defaults]\nidle_sleep = '300ms'\n");
    session(&world, &[]);
    world.send("work", "one");
    world.wait_state("work", "asleep");
    assert_eq!(world.show("work")["pid"], Value::Null);
    assert_eq!(world.send("work", "two"), "you said: two\n");
    world.wait_state("work", "asleep");
}

#[test]
fn a_profile_may_say_so() {
    let Some(world) = World::real() else { return };
    world.config("[profile.once]\ndriver = 'oneshot'\npty = true\n");
    world
        .clsess(&["new", "work", "--profile", "once"])
        .run()
        .ok();
    assert_eq!(world.show("work")["driver"], "oneshot");
    assert!(descriptor(world.agent("work"), 1).starts_with("/dev/pts/"));
    assert_eq!(world.send("work", "hello"), "you said: hello\n");
}
