//! What the agent does unasked is no part of an asked turn.

use serde_json::json;

use crate::driver::{Ability, Driver};
use crate::harness::World;
use crate::turns::usable;

pub fn a_turn_that_nobody_asked_for_is_no_part_of_an_asked_one(driver: &Driver) {
    if !driver.can(Ability::StaysBetweenTurns) {
        return;
    }
    let Some(world) = World::real() else { return };
    driver.session_with(&world, "work", &["--agent-arg=--allowedTools=Bash"]);
    let go = world.project().join("go");
    let command = format!("until [ -e {} ]; do sleep 0.05; done", go.display());
    let input = json!({"command": command, "run_in_background": true});
    let tool = json!({"tool": {"name": "Bash", "input": input}});
    let begun = json!([{"blocks": [tool]}, {"text": "begun"}]);
    world.api.rule("begin", begun);
    world.api.ask(json!({
        "cmd": "rule", "match": null, "kind": "notification",
        "respond": [{"text": "said unasked", "hold": "n"}]
    }));
    assert_eq!(world.send("work", "begin"), "begun\n");
    std::fs::write(&go, "").unwrap();
    world.api.wait_hold("n", 1);
    assert_eq!(world.show("work")["state"], "working");
    let next = world.clsess(&["send", "work", "next"]).spawn();
    world.wait_queued("work", 1);
    world.api.release("n");
    assert_eq!(next.wait().ok().text(), "you said: next\n");
    usable(&world);
    assert_eq!(world.show("work")["turns"], 3);
}
