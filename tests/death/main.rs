//! `kill -9` of the broker, of the holders, of everything at once: with the real client, at every
//! stage of a turn and at random moments under load.
//!
//! `CLSESS_DEATHS` is how often the broker is killed at a random moment (`make soak` says 50);
//! `CLSESS_TEST_SEED` the seed, which is printed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;

mod everything;
mod interface;
mod stages;

use std::collections::HashMap;
use std::time::Duration;

use harness::{World, alive, send_signal, until};
use nix::sys::signal::Signal;
use serde_json::json;

/// How often the broker is killed when nothing else is said.
const FEW: usize = 3;
/// From round to round: a broker that dies five times in ten seconds is not started by itself, and one
/// may die earlier in its round than the one five rounds before.
const APART: Duration = Duration::from_millis(2200);

/// How often something is to be killed.
fn deaths() -> usize {
    let deaths = std::env::var("CLSESS_DEATHS");
    deaths.map_or(FEW, |deaths| deaths.parse().unwrap())
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

/// A world whose agents may use Bash.
fn world(sessions: &[&str]) -> Option<World> {
    let world = World::real()?;
    world.allow_bash();
    for session in sessions {
        world.session(session);
    }
    Some(world)
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
    let agent = world.agent("work");
    world.kill_broker_and_holders();
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
    let agent = world.agent("work");
    world.kill_broker_and_holders();
    // Nobody but the one who waits looks for another broker; it has asked before this does.
    until("it is connected again", || has_socket(running.pid));
    assert_eq!(world.show("work")["state"], "working");
    send_signal(agent, Signal::SIGKILL);
    let done = running.wait().ok();
    world.api.release("h");
    assert_eq!(done.text(), "late\n");
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
    world.reboot();
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
