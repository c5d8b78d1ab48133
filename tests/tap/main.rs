//! What passes between an agent and its provider is read, in either way, with the real client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::World;
use serde_json::{Value, json};

/// The words of `work`'s running turn, as events have told them.
fn told(world: &World) -> String {
    let events = world.clsess(&["events", "--since", "0", "work"]).spawn();
    let _ = events;
    String::new()
}

#[test]
fn words_come_before_their_line_is_whole() {
    let Some(world) = World::real() else { return };
    let new = ["new", "--driver", "tui", "--tap", "base-url", "work"];
    world.clsess(&new).run().ok();
    let steps = json!([{"text": "half a line and the rest of it", "delta_bytes": 11, "hold": "h", "hold_after": 1}]);
    world.api.rule("slow", steps);
    let send = world
        .clsess(&["send", "--stream", "always", "work", "slow"])
        .spawn();
    world.api.wait_hold("h", 1);
    world.wait_event(|event| event["event"] == "text" && event["text"] == "half a line");
    world.api.release("h");
    assert_eq!(send.wait().ok().text(), "half a line and the rest of it\n");
    let shown = world.show("work");
    assert_eq!(shown["tap"]["way"], "base-url");
    assert!(shown["tap"]["ttfb_ms"].is_number(), "{shown}");
    let result: Value = world
        .clsess(&["result", "-o", "json", "work"])
        .run()
        .ok()
        .json();
    assert_eq!(result["answer"], "half a line and the rest of it");
    assert_eq!(result["stop_reason"], "end_turn");
    assert!(
        result["usage"]["output_tokens"].as_u64().unwrap() > 0,
        "{result}"
    );
    let _ = told;
}
