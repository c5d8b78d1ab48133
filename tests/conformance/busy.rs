//! A prompt for a busy session: `--on-busy`, and `--deadline`.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::driver::{Ability, Driver};
use crate::harness::tools::{bash, waits_for};
use crate::harness::{Running, World};
use crate::turns::{held, in_a_tool, usable};

/// `send --on-busy HOW work PROMPT`, while another one runs.
fn while_busy(world: &World, how: &str, prompt: &str) -> Running {
    let args = ["send", "-o", "json", "--on-busy", how, "work", prompt];
    world.clsess(&args).spawn()
}

/// What the model got with the last request, as one text.
fn last_body(world: &World) -> String {
    let messages = world.api.body(world.api.next() - 1)["messages"].clone();
    messages.to_string()
}

/// A turn of a tool that ends when `go` is made: the send, and the file.
fn in_a_tool_until(world: &World) -> (Running, std::path::PathBuf) {
    let (go, begun) = (world.project().join("go"), world.project().join("begun"));
    let tool = bash(&format!("touch {}; {}", begun.display(), waits_for(&go)));
    world.api.rule(
        "use a tool",
        json!([{"blocks": [tool]}, {"text": "both were heard"}]),
    );
    let send = world
        .clsess(&["send", "-o", "json", "work", "use a tool"])
        .spawn();
    crate::harness::until("the tool runs", || begun.exists());
    (send, go)
}

pub fn a_busy_session_refuses_where_that_is_wanted(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let fail = ["send", "--on-busy", "fail", "work", "hi"];
    // An agent that has only just answered is not busy.
    for _ in 0..5 {
        assert_eq!(world.clsess(&fail).run().ok().text(), "you said: hi\n");
    }
    let running = held(&world, &[]);
    let done = world.clsess(&fail).run().fails(5);
    assert_eq!(
        (done.text(), done.stderr.as_str()),
        (
            "",
            "clsess: work is busy\nhint: clsess wait work; --on-busy queue waits by itself\n"
        )
    );
    // A known turn is not a new one.
    let keyed = [
        "send",
        "--key",
        "k",
        "--on-busy",
        "queue",
        "--no-wait",
        "work",
        "keyed",
    ];
    let turn = world.clsess(&keyed).run().ok();
    let again = [
        "send",
        "--key",
        "k",
        "--on-busy",
        "fail",
        "--no-wait",
        "work",
        "keyed",
    ];
    assert_eq!(world.clsess(&again).run().ok().text(), turn.text());
    world.api.release("h");
    running.wait().ok();
    world.clsess(&["wait", "work"]).run().ok();
    assert_eq!(world.clsess(&fail).run().ok().text(), "you said: hi\n");
    let mut prompts = vec!["hi"; 5];
    prompts.extend(["slow", "keyed", "hi"]);
    assert_eq!(world.api.prompts(0), prompts);
}

pub fn an_interrupting_prompt_ends_the_turn_and_goes_first(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let running = held(&world, &[]);
    let waiting = world.clsess(&["send", "work", "waiting"]).spawn();
    world.wait_queued("work", 1);
    let now = while_busy(&world, "interrupt", "now").wait().ok().json();
    assert_eq!(now["answer"], "you said: now");
    let ended = running.wait().fails(10);
    assert_eq!(
        ended.stderr,
        "clsess: another prompt has interrupted the turn\n"
    );
    assert_eq!(waiting.wait().ok().text(), "you said: waiting\n");
    assert_eq!(world.api.prompts(0), ["slow", "now", "waiting"]);
    // Where nothing runs it is a prompt like any other.
    let idle = while_busy(&world, "interrupt", "idle").wait().ok().json();
    assert_eq!(idle["answer"], "you said: idle");
}

pub fn a_prompt_is_put_into_the_turn_that_runs(driver: &Driver) {
    if !driver.can(Ability::Steers) {
        return;
    }
    let Some(world) = World::real() else { return };
    driver.session_with(&world, "work", &["--agent-arg=--allowedTools=Bash"]);
    let (running, go) = in_a_tool_until(&world);
    let steered = while_busy(&world, "steer", "and mind the \"quotes\"\n\tof this");
    let turn = crate::busy::turn_of(&world, "and mind");
    world.wait_event(|event| event["event"] == "accepted" && event["turn"] == turn);
    std::fs::write(go, "").unwrap();
    let (running, steered) = (running.wait().ok().json(), steered.wait().ok().json());
    for report in [&running, &steered] {
        assert_eq!(report["answer"], "both were heard");
    }
    assert_eq!(steered["steered_into"], running["turn"]);
    assert!(running.get("steered_into").is_none());
    // Its cost is the other one's.
    assert!(running.get("cost_usd").is_some() && steered.get("cost_usd").is_none());
    assert_eq!(
        world.api.prompts(0).len(),
        2,
        "the two requests of one turn"
    );
    assert!(last_body(&world).contains(r#"and mind the \"quotes\"\n\tof this"#));
    usable(&world);
    assert_eq!(world.show("work")["turns"], 3);
}

/// The id of the turn whose prompt begins so, from the log.
fn turn_of(world: &World, prompt: &str) -> Value {
    let mut found = Value::Null;
    crate::harness::until(prompt, || {
        let log = world.clsess(&["log", "--json", "work"]).run().ok();
        let turns = log.json_lines();
        let such = |turn: &&Value| {
            turn["prompt"]
                .as_str()
                .is_some_and(|p| p.starts_with(prompt))
        };
        found = turns
            .iter()
            .find(such)
            .map_or(Value::Null, |turn| turn["turn"].clone());
        !found.is_null()
    });
    found
}

pub fn a_prompt_that_comes_too_late_for_a_turn_runs_by_itself(driver: &Driver) {
    if !driver.can(Ability::Steers) {
        return;
    }
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let running = held(&world, &[]);
    let steered = while_busy(&world, "steer", "too late");
    let turn = turn_of(&world, "too late");
    world.wait_event(|event| event["event"] == "accepted" && event["turn"] == turn);
    world.api.release("h");
    assert_eq!(running.wait().ok().text(), "half an answer\n");
    let steered = steered.wait().ok().json();
    assert_eq!(steered["answer"], "you said: too late");
    assert!(steered.get("steered_into").is_none());
    assert_eq!(world.api.prompts(0), ["slow", "too late"]);
    // And where nothing runs at all.
    let idle = while_busy(&world, "steer", "idle").wait().ok().json();
    assert_eq!(idle["answer"], "you said: idle");
}

/// The client makes one prompt of two that it has not taken up yet.
pub fn prompts_for_one_turn_are_never_made_one(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let running = held(&world, &[]);
    let steered = ["one", "two", "three"].map(|prompt| {
        let steered = while_busy(&world, "steer", prompt);
        turn_of(&world, prompt);
        steered
    });
    world.api.release("h");
    running.wait().ok();
    for (send, prompt) in steered.into_iter().zip(["one", "two", "three"]) {
        let report = send.wait().ok().json();
        assert_eq!(report["answer"], format!("you said: {prompt}"));
    }
    assert_eq!(world.api.prompts(0), ["slow", "one", "two", "three"]);
}

/// Not even where the first of them is not taken up yet.
pub fn prompts_that_come_together_are_never_made_one(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let prompts: Vec<String> = (0..8).map(|n| format!("number {n}.")).collect();
    let sends: Vec<Running> = prompts
        .iter()
        .map(|prompt| while_busy(&world, "steer", prompt))
        .collect();
    for (send, prompt) in sends.into_iter().zip(&prompts) {
        let report = send.wait().ok().json();
        assert_eq!(report["answer"], format!("you said: {prompt}"));
    }
    let mut seen = world.api.prompts(0);
    seen.sort();
    assert_eq!(seen, prompts);
}

pub fn a_steered_prompt_is_taken_back_before_it_is_taken_up(driver: &Driver) {
    if !driver.can(Ability::Steers) {
        return;
    }
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let running = held(&world, &[]);
    let steered = while_busy(&world, "steer", "never mind");
    let turn = turn_of(&world, "never mind");
    world.wait_event(|event| event["event"] == "accepted" && event["turn"] == turn);
    steered.signal(Signal::SIGINT);
    steered.wait().fails(130);
    world.api.release("h");
    assert_eq!(running.wait().ok().text(), "half an answer\n");
    let turn = world.clsess(&["result", "-o", "json", "work", turn.as_str().unwrap()]);
    assert_eq!(turn.run().fails(10).json()["outcome"], "cancelled");
    usable(&world);
    assert_eq!(world.api.prompts(0), ["slow", "and now?"]);
}

pub fn an_interrupt_leaves_a_steered_prompt_its_own_turn(driver: &Driver) {
    if !driver.can(Ability::Steers) {
        return;
    }
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let running = held(&world, &[]);
    let steered = while_busy(&world, "steer", "on my own");
    let turn = turn_of(&world, "on my own");
    world.wait_event(|event| event["event"] == "accepted" && event["turn"] == turn);
    world.clsess(&["interrupt", "work"]).run().ok();
    assert_eq!(
        running.wait().fails(10).stderr,
        "clsess: the turn was interrupted\n"
    );
    let report = steered.wait().ok().json();
    assert_eq!(report["answer"], "you said: on my own");
    world.api.release("h");
    usable(&world);
}

pub fn a_prompt_for_a_turn_that_asks_does_not_answer_it(driver: &Driver) {
    if !driver.can(Ability::Steers) {
        return;
    }
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let file = world.project().join("new");
    let steps = json!([{"blocks": [world.write("new")]}, {"text": "not written"}]);
    world.api.rule("write", steps);
    let args = [
        "send",
        "--on-question",
        "wait",
        "-o",
        "json",
        "work",
        "write",
    ];
    let asking = world.clsess(&args).spawn();
    world.wait_state("work", "question");
    let steered = while_busy(&world, "steer", "yes");
    let turn = turn_of(&world, "yes");
    world.wait_event(|event| event["event"] == "accepted" && event["turn"] == turn);
    assert_eq!(world.show("work")["state"], "question");
    assert!(!file.exists());
    world.clsess(&["deny", "work"]).run().ok();
    assert_eq!(asking.wait().ok().json()["answer"], "not written");
    assert_eq!(steered.wait().ok().json()["answer"], "not written");
    assert!(!file.exists());
}

pub fn a_deadline_counts_the_queue_and_the_turn(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session_with(&world, "work", &["--agent-arg=--allowedTools=Bash"]);
    let running = held(&world, &[]);
    let queued = ["send", "--deadline", "300ms", "work", "never"];
    assert_eq!(
        world.clsess(&queued).run().fails(124).stderr,
        "clsess: the turn was given up before it began\nhint: give it longer with --deadline\n"
    );
    assert_eq!(world.show("work")["queue"], 0);
    world.api.release("h");
    running.wait().ok();
    // Enough for the way to the provider, on a busy machine and from a child that is yet to start.
    let late = held(&world, &["--deadline", "5s", "--timeout", "1h"]);
    let done = late.wait().fails(124);
    assert!(
        done.stderr
            .starts_with("clsess: the turn was given up at its deadline after ")
    );
    world.api.release("h");
    usable(&world);
    assert_eq!(world.api.prompts(0), ["slow", "slow", "and now?"]);
    let (tool, _) = in_a_tool(&world, &["--deadline", "5s"]);
    tool.wait().fails(124);
}
