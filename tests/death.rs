//! `kill -9` of the broker, of the holders, of everything at once: with the real client, at every
//! stage of a turn and at random moments under load.
//!
//! `CLSESS_DEATHS` is how often the broker is killed at a random moment (`make soak` says 50);
//! `CLSESS_TEST_SEED` the seed, which is printed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use harness::random::Random;
use harness::tools::{bash, waits_for};
use harness::{Running, World, alive, send_signal, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// How often the broker is killed when nothing else is said.
const FEW: usize = 3;
/// From round to round: a broker that dies five times in ten seconds is not started by itself, and one
/// may die earlier in its round than the one five rounds before.
const APART: Duration = Duration::from_millis(2200);

/// Kills the broker; how long until the next one answers, without this command's own time.
fn kill_broker(world: &World) -> Duration {
    let broker = world.broker();
    send_signal(broker, Signal::SIGKILL);
    let dead = Instant::now();
    until("another broker answers", || {
        let asked = world.clsess(&["broker", "status", "--json"]).run();
        asked.code == 0 && asked.json()["pid"] != broker
    });
    dead.elapsed()
}

/// Whether a process has a connection open.
fn has_socket(pid: u32) -> bool {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    links
        .into_iter()
        .any(|link| link.to_string_lossy().starts_with("socket:"))
}

/// Every prompt that the API saw, and how often. It keeps the texts of some hundred requests, so that
/// it has to be looked at now and then.
#[derive(Default)]
struct Seen {
    requests: u64,
    times: HashMap<String, usize>,
}

impl Seen {
    fn look(&mut self, world: &World) {
        for request in world.api.main_requests(self.requests) {
            assert_eq!(request["body_dropped"], false, "{request}");
            let prompt = request["prompt"].as_str().unwrap().to_owned();
            *self.times.entry(prompt).or_default() += 1;
            self.requests = request["index"].as_u64().unwrap() + 1;
        }
    }
}

/// A Bash call that goes on until there is a file of the prompt's name.
fn tool(world: &World, token: &str) -> Value {
    let file = world.project().join(token);
    bash(&waits_for(&file))
}

/// A call that somebody has to allow.
fn asks(world: &World, token: &str) -> Value {
    let file = world.project().join(token);
    json!({"tool": {"name": "Write", "input": {"file_path": file, "content": "x"}}})
}

/// A world whose agents may use Bash.
fn world(sessions: &[&str]) -> Option<World> {
    let world = World::real()?;
    world.allow_bash();
    for session in sessions {
        world.session(session);
    }
    Some(world)
}

/// What is under way when the broker is killed.
struct Round {
    token: String,
    /// Commands that wait, and what each has to print.
    waiting: Vec<(Running, String)>,
    /// Turns that nobody waits for, and their answers.
    left: Vec<(&'static str, String, String)>,
}

/// Sessions, each with its own kind of work.
const SESSIONS: [&str; 6] = ["idle", "large", "streams", "tools", "asks", "crowd"];

impl Round {
    fn begin(world: &World, number: usize) -> Self {
        let token = format!("t{number}");
        let mut round = Self {
            waiting: Vec::new(),
            left: Vec::new(),
            token,
        };
        let token = |kind: &str| format!("{}-{kind}", round.token);
        // A prompt of 1 MB, which an agent that is stopped has not read when the broker dies.
        send_signal(world.agent("large"), Signal::SIGSTOP);
        let large = token("large") + &"x".repeat(1_000_000);
        world.api.answer(&token("large"), "all of it");
        let send = ["send", "large"];
        let sent = world.clsess(&send).stdin(large).spawn();
        let large = (sent, "all of it\n".to_owned());

        let words: Vec<String> = (0..40).map(|n| format!("word{n} ")).collect();
        let text = words.concat();
        let streamed = json!([{"text": text, "delta_bytes": 8, "delay_ms": 15}]);
        world.api.rule(&token("streams"), streamed);
        let sent = world
            .clsess(&["send", "streams", &token("streams")])
            .spawn();
        let streams = (sent, format!("{text}\n"));

        let steps = json!([{"blocks": [tool(world, &token("tools"))]}, {"text": "used"}]);
        world.api.rule(&token("tools"), steps);
        let sent = world.clsess(&["send", "tools", &token("tools")]).spawn();
        let tools = (sent, "used\n".to_owned());

        let steps = json!([{"blocks": [asks(world, &token("asks"))]}, {"text": "allowed"}]);
        world.api.rule(&token("asks"), steps);
        let send = ["send", "--on-question", "wait", "asks", &token("asks")];
        let sent = world.clsess(&send).spawn();
        let asked = (sent, "allowed\n".to_owned());

        let mut crowd = Vec::new();
        for n in 0..20 {
            let prompt = token(&format!("crowd{n}."));
            let sent = world.clsess(&["send", "crowd", &prompt]).spawn();
            crowd.push((sent, format!("you said: {prompt}\n")));
        }
        let queued = token("queued");
        let id = world.clsess(&["send", "--no-wait", "crowd", &queued]).run();
        let id = id.ok().text().trim().to_owned();
        round
            .left
            .push(("crowd", id, format!("you said: {queued}\n")));
        round.waiting = vec![large, streams, tools, asked];
        round.waiting.extend(crowd);
        round
    }

    /// The broker has died: everything goes on, and each has its one right answer.
    fn ends(self, world: &World) {
        send_signal(world.agent("large"), Signal::SIGCONT);
        std::fs::write(world.project().join(format!("{}-tools", self.token)), "").unwrap();
        world.wait_state("asks", "question");
        world.clsess(&["approve", "asks"]).run().ok();
        for (waiting, answer) in self.waiting {
            let done = waiting.wait().ok();
            assert_eq!(done.text(), answer);
            // Nothing is said but the question.
            let said = done.stderr.is_empty() || done.stderr.starts_with("clsess: asks asks:\n");
            assert!(said, "{}", done.stderr);
        }
        for (session, turn, answer) in self.left {
            let result = world.clsess(&["result", session, &turn]).run().ok();
            assert_eq!(result.text(), answer);
        }
        let more = format!("{}-idle", self.token);
        assert_eq!(world.send("idle", &more), format!("you said: {more}\n"));
    }
}

#[test]
fn a_broker_that_is_killed_at_any_moment_is_not_noticed() {
    let Some(world) = world(&SESSIONS) else {
        return;
    };
    let deaths = std::env::var("CLSESS_DEATHS");
    let deaths = deaths.map_or(FEW, |deaths| deaths.parse().unwrap());
    let mut random = Random::from_environment();
    let agents = SESSIONS.map(|session| world.agent(session));
    let mut took = Vec::new();
    let mut seen = Seen::default();
    for number in 0..deaths {
        let begun = Instant::now();
        let round = Round::begin(&world, number);
        // Not a wait for anything: what happens when is what is tried.
        thread::sleep(random.moment(Duration::from_millis(700)));
        took.push(kill_broker(&world));
        round.ends(&world);
        seen.look(&world);
        thread::sleep(APART.saturating_sub(begun.elapsed()));
    }
    assert_eq!(SESSIONS.map(|session| world.agent(session)), agents);
    let seen = seen.times;
    // A tool's result is a request of its own.
    let requests = |prompt: &str| match prompt.ends_with("-tools") || prompt.ends_with("-asks") {
        true => 2,
        false => 1,
    };
    let wrong = seen
        .iter()
        .filter(|(prompt, times)| **times != requests(prompt));
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    // large, streams, tools, asks, 20 and one of the crowd, idle
    assert_eq!(seen.len(), deaths * 26);
    took.sort();
    println!(
        "a broker was back after {:?} at the median of {deaths}, {:?} at most",
        took[deaths / 2],
        took[deaths - 1]
    );
}

#[test]
fn an_agent_that_nobody_holds_finishes_its_turn() {
    let Some(world) = world(&["work"]) else {
        return;
    };
    world.send("work", "remember me");
    world
        .api
        .rule("slow", json!([{"text": "to its end", "hold": "h"}]));
    let running = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let holder = u32::try_from(world.show("work")["holder_pid"].as_u64().unwrap()).unwrap();
    let (broker, agent) = (world.broker(), world.agent("work"));
    for pid in [broker, holder] {
        send_signal(pid, Signal::SIGSTOP);
    }
    for pid in [broker, holder] {
        send_signal(pid, Signal::SIGKILL);
    }
    until("both are gone", || !alive(broker) && !alive(holder));
    until("another broker waits for it", || {
        let shown = world.clsess(&["show", "--json", "work"]).run();
        shown.code == 0 && shown.json()["state"] == "working"
    });
    assert!(alive(agent));
    world.api.release("h");
    let done = running.wait().ok();
    assert_eq!((done.text(), done.stderr.as_str()), ("to its end\n", ""));
    assert!(!alive(agent));
    assert_eq!(world.send("work", "recall"), "remember me\nslow\n");
    assert_eq!(world.api.prompts(0), ["remember me", "slow", "recall"]);
}

/// What was asked for again before anybody knew that the agent is gone is not held back.
#[test]
fn a_turn_that_somebody_waits_for_goes_on_when_the_agent_that_nobody_holds_dies() {
    let Some(world) = world(&["work"]) else {
        return;
    };
    world.send("work", "remember me");
    world.api.rule(
        "slow",
        json!([{"text": "x", "hold": "h"}, {"text": "late"}]),
    );
    let running = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let holder = u32::try_from(world.show("work")["holder_pid"].as_u64().unwrap()).unwrap();
    let (broker, agent) = (world.broker(), world.agent("work"));
    for pid in [broker, holder] {
        send_signal(pid, Signal::SIGSTOP);
    }
    for pid in [broker, holder] {
        send_signal(pid, Signal::SIGKILL);
    }
    until("both are gone", || !alive(broker) && !alive(holder));
    // Nobody but the one who waits looks for another broker; it has asked before this does.
    until("it is connected again", || has_socket(running.pid));
    assert_eq!(world.show("work")["state"], "working");
    send_signal(agent, Signal::SIGKILL);
    let done = running.wait().ok();
    world.api.release("h");
    assert_eq!(done.text(), "late\n");
}

/// Work of every kind when everything is killed at once.
fn everything_dies(world: &World, number: usize, random: &mut Random, seen: &mut Seen) {
    let token = |kind: &str| format!("e{number}-{kind}");
    let late = json!([{"text": "half of it", "hold": "h", "hold_after": 0}, {"text": "all of it"}]);
    world.api.rule(&token("streams"), late);
    let streams = world
        .clsess(&["send", "streams", &token("streams")])
        .spawn();
    let steps = json!([{"blocks": [tool(world, &token("tools"))]}, {"text": "used"}]);
    world.api.rule(&token("tools"), steps);
    let tools = world.clsess(&["send", "tools", &token("tools")]).spawn();
    world.api.rule(
        &token("slow"),
        json!([{"text": "x", "hold": "h"}, {"text": "late"}]),
    );
    let no_wait = |prompt: &str| {
        let sent = world.clsess(&["send", "--no-wait", "queues", prompt]).run();
        sent.ok().text().trim().to_owned()
    };
    let slow = no_wait(&token("slow"));
    let queued = no_wait(&token("queued"));
    // What happens when is what is tried.
    thread::sleep(random.moment(Duration::from_millis(300)));
    world.kill_everything();
    world.api.answer(&token("streams"), "all of it");
    world.api.answer(&token("slow"), "late");
    world.api.release("h");
    std::fs::write(world.project().join(token("tools")), "").unwrap();

    // Those who wait look for another broker by themselves.
    let streams = streams.wait().ok();
    assert!(["half of it\n", "all of it\n"].contains(&streams.text()));
    let tools = tools.wait();
    seen.look(world);
    let times = |kind: &str| seen.times.get(&token(kind)).copied().unwrap_or(0);
    // More than once only where it was said.
    let said = streams.stderr.contains("another one was given the prompt");
    assert!(times("streams") == 1 || (said && times("streams") == 2));
    match tools.code {
        0 => assert_eq!(tools.text(), "used\n"),
        9 => assert_eq!(times("tools"), 1, "{tools:?}"),
        _ => panic!("{tools:?}"),
    }
    // What nobody waits for is held, in order, and nothing of it was run again.
    let shown = world.show("queues");
    let waits = world
        .clsess(&["queue", "--json", "queues"])
        .run()
        .ok()
        .json();
    let waits: Vec<&str> = waits["turns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|turn| turn["turn"].as_str().unwrap())
        .collect();
    assert_eq!(shown["state"], "held", "{shown}");
    assert_eq!(waits, [slow.as_str(), queued.as_str()]);
    assert!(times("slow") <= 1 && times("queued") == 0);
    world.clsess(&["queue", "queues", "run"]).run().ok();
    let result = |turn: &str| world.clsess(&["result", "queues", turn]).run().ok();
    assert!(["x\n", "late\n"].contains(&result(&slow).text()));
    let answer = format!("you said: {}\n", token("queued"));
    assert_eq!(result(&queued).text(), answer);
    assert_eq!(
        world.send("idle", &token("idle")),
        format!("you said: {}\n", token("idle"))
    );
}

#[test]
fn after_the_death_of_everything_all_is_there_and_what_nobody_waits_for_is_held() {
    let sessions = ["idle", "streams", "tools", "queues"];
    let Some(world) = world(&sessions) else {
        return;
    };
    let deaths = std::env::var("CLSESS_DEATHS");
    let deaths = deaths.map_or(FEW, |deaths| deaths.parse().unwrap());
    let mut random = Random::from_environment();
    for session in sessions {
        world.send(session, "remember me");
    }
    let mut seen = Seen::default();
    for number in 0..deaths {
        let begun = Instant::now();
        everything_dies(&world, number, &mut random, &mut seen);
        thread::sleep(APART.saturating_sub(begun.elapsed()));
    }
    let ls = world.clsess(&["ls", "-F", "#{name}"]).run().ok();
    assert_eq!(ls.text(), "idle\nqueues\nstreams\ntools\n");
    for session in sessions {
        assert!(world.send(session, "recall").starts_with("remember me\n"));
    }
}

/// The lock's record, as if the machine had been started again since.
fn reboot(world: &World) {
    let lock = world.state().join("default/lock");
    let mut record: Value = serde_json::from_slice(&std::fs::read(&lock).unwrap()).unwrap();
    record["boot_id"] = "00000000-0000-0000-0000-000000000000".into();
    std::fs::write(&lock, record.to_string()).unwrap();
}

#[test]
fn after_a_reboot_what_waits_is_held_or_runs_where_that_is_wished() {
    let Some(world) = world(&["work"]) else {
        return;
    };
    world.config("[session.goes-on]\nresume_queue = true\n");
    world.session("goes-on");
    world.api.rule(
        "slow",
        json!([{"text": "x", "hold": "h"}, {"text": "late"}]),
    );
    for session in ["work", "goes-on"] {
        for prompt in ["slow", "then"] {
            let send = ["send", "--no-wait", session, prompt];
            world.clsess(&send).run().ok();
        }
    }
    world.api.wait_hold("h", 2);
    world.kill_everything();
    reboot(&world);
    world.api.answer("slow", "late");
    world.api.release("h");
    let result = |session: &str| world.clsess(&["result", session, "-1"]).run().ok();
    world.clsess(&["ls"]).run().ok();
    // It wakes by itself.
    world.clsess(&["wait", "goes-on"]).run().ok();
    assert_eq!(result("goes-on").text(), "you said: then\n");
    let work = world.show("work");
    assert_eq!(
        (&work["state"], &work["queue"]),
        (&json!("held"), &json!(2))
    );
    assert_eq!(work.get("pid"), None);
    // A new prompt goes past what is held, and does not let it run.
    assert_eq!(world.send("work", "new"), "you said: new\n");
    assert_eq!(world.show("work")["queue"], 2);
    // Who waits for one lets that one run.
    assert_eq!(result("work").text(), "you said: new\n");
    let list = world.clsess(&["queue", "--json", "work"]).run().ok().json();
    let slow = list["turns"][0]["turn"].as_str().unwrap().to_owned();
    assert_eq!(list["turns"][0]["waiting"], "held");
    let done = world.clsess(&["result", "work", &slow]).run().ok();
    assert_eq!(done.text(), "late\n");
    assert_eq!(world.show("work")["queue"], 1);
    world.clsess(&["queue", "work", "run"]).run().ok();
    world.clsess(&["wait", "work"]).run().ok();
    assert_eq!(world.show("work")["queue"], 0);
}
