//! The death of everything at once.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::random::Random;
use crate::harness::tools::{bash, waits_for};
use crate::harness::{World, until};
use crate::{APART, Seen, deaths, world};

/// What dies at once.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Dies {
    Everything,
    /// The agents live on, and nobody holds them.
    BrokerAndHolders,
}

/// What is said when a prompt was given to another agent.
const GIVEN_AGAIN: &str = "another one was given the prompt";

/// Work of every kind when much is killed at once.
fn dies(world: &World, what: Dies, number: usize, random: &mut Random, seen: &mut Seen) {
    let token = |kind: &str| format!("e{number}-{kind}");
    let late = json!([{"text": "half of it", "hold": "h", "hold_after": 0}, {"text": "all of it"}]);
    world.api.rule(&token("streams"), late);
    let streams = world
        .clsess(&["send", "streams", &token("streams")])
        .spawn();
    let waits = bash(&waits_for(&world.project().join(token("tools"))));
    let steps = json!([{"blocks": [waits]}, {"text": "used"}]);
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
    match what {
        Dies::Everything => world.kill_everything(),
        Dies::BrokerAndHolders => world.kill_broker_and_holders(),
    }
    world.api.answer(&token("streams"), "all of it");
    world.api.answer(&token("slow"), "late");
    fs::write(world.project().join(token("tools")), "").unwrap();

    // Those who wait look for another broker by themselves. What nobody waits for is held, once
    // the agent that lives on has ended its turn; it may come to where it is held only now.
    until("all is ended or held", || {
        world.api.release("h");
        !streams.runs() && !tools.runs() && world.show("queues")["state"] == "held"
    });
    let (streams, tools) = (streams.wait().ok(), tools.wait());
    assert!(["half of it\n", "all of it\n"].contains(&streams.text()));
    match tools.code {
        0 => assert_eq!(tools.text(), "used\n"),
        9 => assert!(!tools.stderr.contains(GIVEN_AGAIN), "{tools:?}"),
        _ => panic!("{tools:?}"),
    }
    // In order, and nothing of it was run again.
    seen.look(world);
    let times = |kind: &str| seen.times.get(&token(kind)).copied().unwrap_or(0);
    assert!(times("slow") <= 1 && times("queued") == 0);
    let waits = world.clsess(&["queue", "--json", "queues"]).run().ok();
    let waits = waits.json()["turns"].clone();
    let waits: Vec<&Value> = waits
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["turn"])
        .collect();
    match what {
        // It has written its answer down.
        Dies::BrokerAndHolders if waits.len() == 1 => assert_eq!(waits, [&queued]),
        _ => assert_eq!(waits, [&slow, &queued]),
    }
    world.clsess(&["queue", "queues", "run"]).run().ok();
    let result = |turn: &str| world.clsess(&["result", "queues", turn]).run().ok();
    assert!(["x\n", "late\n"].contains(&result(&slow).text()));
    let answer = format!("you said: {}\n", token("queued"));
    assert_eq!(result(&queued).text(), answer);
    assert_eq!(
        world.send("idle", &token("idle")),
        format!("you said: {}\n", token("idle"))
    );

    // The model got each prompt once, but where it was said that it was given to another agent.
    seen.look(world);
    // What a tool has printed is a request too; one that was killed has printed nothing.
    let used = match (what, tools.code) {
        (Dies::Everything, 9) => 1,
        _ => 2,
    };
    let all = [
        ("streams", "streams", Some(&streams), "-1", 1),
        ("tools", "tools", Some(&tools), "-1", used),
        ("queues", "slow", None, &slow, 1),
        ("queues", "queued", None, &queued, 1),
        ("idle", "idle", None, "-1", 1),
    ];
    for (session, kind, done, turn, requests) in all {
        let report = world
            .clsess(&["result", "-o", "json", session, turn])
            .run()
            .json();
        let deaths = report["agent_deaths"].as_u64().unwrap_or(0);
        let times = seen.times.get(&token(kind)).copied().unwrap_or(0);
        let tries = 1 + usize::try_from(deaths).unwrap();
        assert!(
            times <= tries * requests,
            "{what:?} {kind}: {times} times: {report}"
        );
        if let Some(done) = done {
            assert_eq!(
                done.stderr.contains(GIVEN_AGAIN),
                deaths > 0,
                "{done:?} {report}"
            );
        }
    }
}

#[test]
fn after_the_death_of_everything_all_is_there_and_what_nobody_waits_for_is_held() {
    let sessions = ["idle", "streams", "tools", "queues"];
    let Some(world) = world(&sessions) else {
        return;
    };
    let mut random = Random::from_environment();
    for session in sessions {
        world.send(session, "remember me");
    }
    let mut seen = Seen::default();
    for number in 0..deaths() {
        let begun = Instant::now();
        let what = [Dies::Everything, Dies::BrokerAndHolders][number % 2];
        dies(&world, what, number, &mut random, &mut seen);
        thread::sleep(APART.saturating_sub(begun.elapsed()));
    }
    let ls = world.clsess(&["ls", "-F", "#{name}"]).run().ok();
    assert_eq!(ls.text(), "idle\nqueues\nstreams\ntools\n");
    for session in sessions {
        assert!(world.send(session, "recall").starts_with("remember me\n"));
    }
}
