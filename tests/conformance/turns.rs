//! What several subjects need of turns.

use serde_json::json;

use crate::harness::{Running, World, until};

/// A send whose answer stands still after its first words; it has said them.
pub fn held(world: &World, args: &[&str]) -> Running {
    let answer =
        json!([{"text": "half an answer", "delta_bytes": 4, "hold": "h", "hold_after": 2}]);
    world.api.rule("slow", answer);
    let mut line = vec!["send"];
    line.extend(args);
    line.extend(["work", "slow"]);
    let send = world.clsess(&line).spawn();
    world.api.wait_hold("h", 1);
    send
}

/// The session goes on as if nothing had been.
#[track_caller]
pub fn usable(world: &World) {
    assert_eq!(world.send("work", "and now?"), "you said: and now?\n");
}

/// What is said after a tool's result.
pub const AFTER_A_TOOL: &str = "said after the tool";

/// As [`usable`], after the only turn since request number `since`, which was ended in a tool.
/// The client puts the next prompt behind the tool's result then, and fake-api may take it for
/// the same turn: its second step must be [`AFTER_A_TOOL`] too.
#[track_caller]
pub fn usable_after_a_tool(world: &World, name: &str, since: u64) {
    world.api.answer("and now?", AFTER_A_TOOL);
    let before = world.api.next();
    assert_eq!(world.send(name, "and now?"), format!("{AFTER_A_TOOL}\n"));
    let requests = world.api.main_requests(before);
    assert_eq!(requests.len(), 1);
    let body = world.api.body(requests[0]["index"].as_u64().unwrap());
    assert!(body["messages"].to_string().contains("and now?"));
    assert_eq!(world.api.main_requests(since).len(), 2);
}

/// A send whose answer stands still in a tool: the shell that runs there.
pub fn in_a_tool(world: &World, args: &[&str]) -> (Running, u32) {
    let file = world.project().join("pid");
    let command = format!(
        "echo $$ > {0}.new; mv {0}.new {0}; sleep 1000",
        file.display()
    );
    let tool = json!({"tool": {"name": "Bash", "input": {"command": command}}});
    let steps = json!([{"blocks": [{"text": "before"}, tool]}, {"text": AFTER_A_TOOL}]);
    world.api.rule("sleep", steps);
    let args = [&["send"], args, &["work", "sleep"]].concat();
    let send = world.clsess(&args).spawn();
    until("the tool runs", || file.exists());
    let pid = std::fs::read_to_string(&file).unwrap();
    (send, pid.trim().parse().unwrap())
}
