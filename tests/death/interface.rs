//! `kill -9` of the broker in the middle of turns of sessions whose body is the agent's own interface:
//! while it streams, while a question is open, while a tool runs, and at any moment of a prompt's way
//! into it.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use nix::sys::signal::Signal;

use crate::harness::random::Random;
use crate::harness::tools::{bash, waits_for};
use crate::harness::{World, alive, send_signal, until};
use crate::{APART, Seen, deaths, world};

const SESSIONS: [&str; 4] = ["streams", "asks", "tools", "types"];
/// A prompt is with the model by then, and often its answer is there.
const WAY: u64 = 250;

#[test]
fn turns_of_interfaces_outlive_any_broker() {
    let Some(world) = world(&[]) else { return };
    for session in SESSIONS {
        world
            .clsess(&["new", session, "--driver", "tui"])
            .run()
            .ok();
    }
    let mut random = Random::from_environment();
    let agents = SESSIONS.map(|session| world.agent(session));
    let mut seen = Seen::default();
    let rounds = deaths();
    for round in 0..rounds {
        let began = Instant::now();
        let prompt = |kind: &str| format!("r{round}.{kind}");
        let send = |session: &str, steps| {
            world.api.rule(&prompt(session), steps);
            let send = ["send", "--on-question", "wait", session, &prompt(session)];
            world.clsess(&send).spawn()
        };
        let streams = send(
            "streams",
            json!([{"text": "half\nand all", "hold": prompt("h")}]),
        );
        let asks = send(
            "asks",
            json!([{"blocks": [world.write(&prompt("new"))]}, {"text": "written"}]),
        );
        let goes_on = world.project().join(prompt("goes-on"));
        let tools = send(
            "tools",
            json!([{"blocks": [bash(&waits_for(&goes_on))]}, {"text": "used"}]),
        );
        world.api.wait_hold(&prompt("h"), 1);
        world.wait_state("asks", "question");
        let types = world.clsess(&["send", "types", &prompt("types")]).spawn();
        let moment = random.below(WAY);
        thread::sleep(Duration::from_millis(moment));
        println!("round {round}: killed {moment} ms after the prompt");
        world.kill_broker();
        world.clsess(&["approve", "asks"]).run().ok();
        world.api.release(&prompt("h"));
        std::fs::write(&goes_on, "").unwrap();
        let expected = format!("you said: {}\n", prompt("types"));
        for (send, expected) in [
            (types, expected.as_str()),
            (streams, "half\nand all\n"),
            (asks, "written\n"),
            (tools, "used\n"),
        ] {
            assert_eq!(send.wait().ok().text(), expected, "round {round}");
        }
        assert!(world.project().join(prompt("new")).exists());
        seen.look(&world);
        for kind in ["streams", "types"] {
            assert_eq!(seen.times[&prompt(kind)], 1, "round {round}: {kind}");
        }
        thread::sleep(APART.saturating_sub(began.elapsed()));
    }
    assert_eq!(SESSIONS.map(|session| world.agent(session)), agents);
    for session in SESSIONS {
        let log = world.clsess(&["log", "--json", session]).run().ok();
        let turns = log.json_lines();
        let unasked: Vec<_> = turns
            .iter()
            .filter(|turn| turn["origin"].is_string())
            .collect();
        assert!(unasked.is_empty(), "{session}: {unasked:?}");
        assert_eq!(turns.len(), rounds, "{session}");
    }
}

/// A hook that finds no broker does not start one, which would be ended together with its agent.
#[test]
fn a_broker_that_is_back_under_a_hook_belongs_to_no_agent() {
    let Some(world) = World::real() else { return };
    world.clsess(&["new", "work", "--driver", "tui"]).run().ok();
    for round in 0..4 {
        // Its hooks come while there is no broker, and nobody waits who would start one.
        let prompt = format!("slow {round}");
        let held = json!([{"text": "slowly", "delta_bytes": 1, "hold": prompt, "hold_after": 2}]);
        world.api.rule(&prompt, held);
        let send = ["send", "--no-wait", "work", &prompt];
        world.clsess(&send).run().ok();
        world.api.wait_hold(&prompt, 1);
        let broker = world.broker();
        world.api.release(&prompt);
        send_signal(broker, Signal::SIGKILL);
        until("the broker is gone", || !alive(broker));
        until("another one is there", || {
            world.clsess(&["broker", "status"]).run().code == 0
        });
        let next = world.broker();
        let status = std::fs::read_to_string(format!("/proc/{next}/status")).unwrap();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t"));
        let parent = std::fs::read_to_string(format!("/proc/{}/cmdline", parent.unwrap()));
        let parent = parent.unwrap_or_default();
        assert!(!parent.contains("\0holder"), "its parent is {parent:?}");
        let answer = world.clsess(&["result", "work"]).run().ok();
        assert_eq!(answer.text(), "slowly\n");
    }
}
