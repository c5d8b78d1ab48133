//! What becomes of a turn when its agent dies, at each of its stages, with the real client; and
//! how soon another agent is there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::fs::File;
use std::io::Read;

use harness::{Done, World, alive, send_signal, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// What is said when the prompt was given to another agent.
const NOTE: &str =
    "clsess: the agent died once in this turn, and another one was given the prompt\n";

/// Kills the agent of `work`, and waits until that is known.
fn kill_agent(world: &World) {
    let agent = world.agent("work");
    send_signal(agent, Signal::SIGKILL);
    until("the agent is gone", || !alive(agent));
}

fn outcome(world: &World) -> Value {
    let result = world.clsess(&["result", "-o", "json", "work"]).run();
    result.json()
}

/// The agent dies while `text` is held back; its prompt is finished by the next one.
fn dies_while_it_streams(world: &World, before: &[&str]) {
    for prompt in before {
        world.send("work", prompt);
    }
    // The API takes the second request for the same turn.
    let half = json!([
        {"text": "half of it and the rest", "delta_bytes": 4, "hold": "h", "hold_after": 2},
        {"text": "all of it"}
    ]);
    world.api.rule("slow", half);
    let prompt = "  slow\n\tone ";
    let running = world.clsess(&["send", "work", "--", prompt]).spawn();
    world.api.wait_hold("h", 1);
    kill_agent(world);
    let done = running.wait().ok();
    assert_eq!((done.text(), done.stderr.as_str()), ("all of it\n", NOTE));
    // The model got it once, as it is, and nothing of the first try.
    let mut expected: Vec<String> = before
        .iter()
        .flat_map(|prompt| [(*prompt).to_owned(), format!("you said: {prompt}")])
        .collect();
    expected.push(prompt.to_owned());
    assert_eq!(world.context(), expected);
    let seen = world.api.prompts(0);
    assert_eq!(seen.iter().filter(|it| *it == prompt).count(), 2);
    let turn = outcome(world);
    assert_eq!(
        (&turn["outcome"], &turn["agent_deaths"]),
        (&json!("completed"), &json!(1))
    );
    assert_eq!(world.send("work", "and now?"), "you said: and now?\n");
    expected.extend(["all of it".to_owned(), "and now?".to_owned()]);
    assert_eq!(world.context(), expected);
}

#[test]
fn a_turn_without_tools_is_finished_by_the_next_agent() {
    let Some(world) = World::real() else { return };
    world.session("work");
    dies_while_it_streams(&world, &["one", "two"]);
}

#[test]
fn so_is_the_first_turn_of_all() {
    let Some(world) = World::real() else { return };
    world.session("work");
    dies_while_it_streams(&world, &[]);
}

#[test]
fn a_prompt_that_is_not_written_down_yet_is_given_again() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "one");
    // Stopped, it does not read what is written for it.
    let agent = world.agent("work");
    send_signal(agent, Signal::SIGSTOP);
    let running = world.clsess(&["send", "work", "two"]).spawn();
    world.wait_event(|event| event["event"] == "state" && event["state"] == "working");
    kill_agent(&world);
    let done = running.wait().ok();
    assert_eq!(done.text(), "you said: two\n");
    assert_eq!(world.api.prompts(0), ["one", "two"]);
    assert_eq!(world.context(), ["one", "you said: one", "two"]);
}

/// A tool call that somebody has to allow, and what is said after it.
fn asks(world: &World) -> Value {
    json!([{"blocks": [{"text": "I write."}, world.write("new")]}, {"text": "another answer"}])
}

#[test]
fn a_tool_that_was_only_asked_about_has_not_started() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "one");
    world.api.rule("write it", asks(&world));
    let send = ["send", "--on-question", "wait", "work", "write it"];
    let running = world.clsess(&send).spawn();
    world.wait_state("work", "question");
    kill_agent(&world);
    assert_eq!(running.wait().ok().text(), "another answer\n");
    assert_eq!(world.context(), ["one", "you said: one", "write it"]);
    assert_eq!(world.api.prompts(0), ["one", "write it", "write it"]);
    let questions = world.clsess(&["questions", "--json"]).run().ok().json();
    assert_eq!(questions["questions"], json!([]));
}

fn dies_in_a_tool(world: &World, more: &[&str]) -> Done {
    world.allow_bash();
    world.session("work");
    world.send("work", "one");
    world.api.rule("run it", world.bash_that_waits("done"));
    let mut send = vec!["send"];
    send.extend(more);
    send.extend(["work", "run it"]);
    let running = world.clsess(&send).spawn();
    let began = world.project().join("began");
    until("the tool runs", || began.exists());
    // The client writes it down 0.1 s after it has read it, which may be later.
    let transcript = world.transcript(&world.conversation("work"));
    let text = || std::fs::read_to_string(&transcript).unwrap();
    until("the call is written down", || text().contains("goes-on"));
    kill_agent(world);
    running.wait()
}

#[test]
fn what_a_tool_has_begun_is_not_repeated() {
    let Some(world) = World::real() else { return };
    let done = dies_in_a_tool(&world, &[]).fails(9);
    assert_eq!(done.stdout, b"");
    let said = "clsess: the agent died, signal 9\n";
    assert!(done.stderr.starts_with(said), "{}", done.stderr);
    assert_eq!(world.api.prompts(0), ["one", "run it"]);
    assert_eq!(outcome(&world)["outcome"], "unknown");
    // The next prompt's agent is told what it cannot know.
    assert_eq!(world.send("work", "and now?"), "you said: and now?\n");
    let context = world.context();
    assert_eq!(context.last().unwrap(), "and now?");
    assert!(context.contains(&"run it".to_owned()), "{context:?}");
    assert_eq!(
        std::fs::read(world.project().join("began")).unwrap(),
        b"x\n"
    );
}

#[test]
fn unless_somebody_wants_it_so() {
    let Some(world) = World::real() else { return };
    let done = dies_in_a_tool(&world, &["--on-crash", "rerun"]).ok();
    assert_eq!((done.text(), done.stderr.as_str()), ("done\n", NOTE));
    assert_eq!(world.context(), ["one", "you said: one", "run it"]);
    assert_eq!(world.api.prompts(0), ["one", "run it", "run it"]);
    assert_eq!(world.send("work", "and now?"), "you said: and now?\n");
    let context = ["one", "you said: one", "run it", "done", "and now?"];
    assert_eq!(world.context(), context);
}

#[test]
fn an_agent_that_dies_after_its_answer_has_answered() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "one");
    world
        .api
        .rule("slow", json!([{"text": "its last words", "hold": "h"}]));
    let running = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let (broker, agent) = (world.broker(), world.agent("work"));
    let transcript = world.transcript(&world.conversation("work"));
    send_signal(broker, Signal::SIGSTOP);
    world.api.release("h");
    let text = || std::fs::read_to_string(&transcript).unwrap();
    until("the answer is written down", || {
        text().contains("its last words")
    });
    // Whatever it has said since, nobody hears: only what it has written down is left.
    let mut said = File::open(format!("/proc/{agent}/fd/1")).unwrap();
    send_signal(agent, Signal::SIGKILL);
    until("it is gone", || !alive(agent));
    said.read_to_end(&mut Vec::new()).unwrap();
    send_signal(broker, Signal::SIGCONT);
    let done = running.wait().ok();
    assert_eq!(
        (done.text(), done.stderr.as_str()),
        ("its last words\n", "")
    );
    let turn = outcome(&world);
    assert_eq!(turn.get("usage"), None, "it was heard: {turn}");
    assert_eq!(world.api.prompts(0), ["one", "slow"]);
    assert_eq!(world.send("work", "and now?"), "you said: and now?\n");
}

/// What the client goes on with by itself is not the answer yet.
#[test]
fn half_an_answer_is_none() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "one");
    let halves = json!([
        {"text": "The first half, ", "stop_reason": "max_tokens"},
        {"text": "the second half.", "hold": "h", "hold_after": 0},
        {"text": "all of it"}
    ]);
    world.api.rule("slow", halves);
    let running = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let transcript = world.transcript(&world.conversation("work"));
    until("the first half is written down", || {
        let text = std::fs::read_to_string(&transcript).unwrap();
        text.contains("The first half, ")
    });
    kill_agent(&world);
    let done = running.wait().ok();
    assert_eq!((done.text(), done.stderr.as_str()), ("all of it\n", NOTE));
}
