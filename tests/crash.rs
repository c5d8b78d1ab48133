//! What becomes of a turn when its agent dies, at each of its stages, with the real client; and
//! how soon another agent is there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::path::PathBuf;

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

/// The texts of the user in the last request, as the model got them.
fn last_request(world: &World) -> Vec<String> {
    let requests = world.api.main_requests(0);
    let index = requests.last().unwrap()["index"].as_u64().unwrap();
    let body = world.api.body(index);
    let messages = body["messages"].as_array().unwrap();
    let users = messages.iter().filter(|message| message["role"] == "user");
    users
        .flat_map(|message| match &message["content"] {
            Value::String(text) => vec![text.clone()],
            blocks => {
                let texts = blocks.as_array().unwrap().iter();
                texts
                    .filter_map(|block| block["text"].as_str())
                    .filter(|text| !text.starts_with("<system-reminder>"))
                    .map(str::to_owned)
                    .collect()
            }
        })
        .collect()
}

/// Where the client keeps the conversation of `work`.
fn transcript(world: &World) -> PathBuf {
    let id = world.show("work")["agent_session_id"].clone();
    let file = format!("{}.jsonl", id.as_str().unwrap());
    let projects = std::fs::read_dir(world.home().join(".claude/projects")).unwrap();
    let paths = projects.map(|project| project.unwrap().path().join(&file));
    paths.into_iter().find(|path| path.exists()).unwrap()
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
    let mut expected = before.to_vec();
    expected.push(prompt);
    assert_eq!(last_request(world), expected);
    let seen = world.api.prompts(0);
    assert_eq!(seen.iter().filter(|it| *it == prompt).count(), 2);
    let turn = outcome(world);
    assert_eq!(
        (&turn["outcome"], &turn["agent_deaths"]),
        (&json!("completed"), &json!(1))
    );
    assert_eq!(world.send("work", "and now?"), "you said: and now?\n");
    expected.push("and now?");
    assert_eq!(last_request(world), expected);
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
    assert_eq!(last_request(&world), ["one", "two"]);
}

/// A tool call that somebody has to allow, and what is said after it.
fn asks(world: &World) -> Value {
    let input = json!({"file_path": world.project().join("new"), "content": "x"});
    let tool = json!({"tool": {"name": "Write", "input": input}});
    json!([{"blocks": [{"text": "I write."}, tool]}, {"text": "another answer"}])
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
    assert_eq!(last_request(&world), ["one", "write it"]);
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
    let text = || std::fs::read_to_string(transcript(world)).unwrap();
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
    assert_eq!(last_request(&world).last().unwrap(), "and now?");
    let context = last_request(&world);
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
    assert_eq!(last_request(&world), ["one", "run it"]);
    assert_eq!(world.send("work", "and now?"), "you said: and now?\n");
    assert_eq!(last_request(&world), ["one", "run it", "and now?"]);
}

#[test]
fn an_agent_that_dies_after_its_answer_has_answered() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "one");
    // It writes its answer down, and is stopped before it can say so.
    world
        .api
        .rule("slow", json!([{"text": "its last words", "hold": "h"}]));
    let running = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let (broker, agent, transcript) = (world.broker(), world.agent("work"), transcript(&world));
    send_signal(broker, Signal::SIGSTOP);
    world.api.release("h");
    let text = || std::fs::read_to_string(&transcript).unwrap();
    until("the answer is written down", || {
        text().contains("its last words")
    });
    send_signal(agent, Signal::SIGKILL);
    until("it is gone", || !alive(agent));
    send_signal(broker, Signal::SIGCONT);
    let done = running.wait().ok();
    assert_eq!(
        (done.text(), done.stderr.as_str()),
        ("its last words\n", "")
    );
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
    let transcript = transcript(&world);
    until("the first half is written down", || {
        let text = std::fs::read_to_string(&transcript).unwrap();
        text.contains("The first half, ")
    });
    kill_agent(&world);
    let done = running.wait().ok();
    assert_eq!((done.text(), done.stderr.as_str()), ("all of it\n", NOTE));
}
