//! Requests on a session's wire that are not its conversation's.

use serde_json::{Value, json};

use crate::harness::World;
use crate::harness::tools::bash;
use crate::{BOTH, By};

/// A session whose agent runs this command in its Bash, says so in a turn, and what is told of the turn:
/// all of its text, and the report.
fn runs(world: &World, by: By, command: &str) -> (String, Value) {
    world.allow_bash();
    by.session(world, "tui", &[]);
    let steps = json!([{"blocks": [{"text": "I look."}, bash(command)]}, {"text": "done"}]);
    world.api.rule("do it", steps);
    let send = ["send", "--stream", "always", "work", "do it"];
    let streamed = world.clsess(&send).run().ok();
    let result = world.clsess(&["result", "-o", "json", "work"]).run();
    (streamed.text().to_owned(), result.ok().json())
}

#[test]
fn another_client_on_the_wire_says_nothing_in_this_turn() {
    for by in BOTH {
        let Some(world) = World::real() else { return };
        let command = "claude -p strange </dev/null >theirs 2>&1";
        let (streamed, result) = runs(&world, by, command);
        let theirs = std::fs::read_to_string(world.project().join("theirs")).unwrap();
        assert_eq!(theirs, "you said: strange\n", "{by:?}");
        assert_eq!(streamed, "I look.\n\ndone\n", "{by:?}");
        assert_eq!(result["answer"], "done");
        assert_eq!(result["wire_differs"], Value::Null, "{result}");
    }
}

#[test]
fn where_wire_and_hooks_disagree_the_report_says_so() {
    let Some(world) = World::real() else { return };
    // By all that is seen of it this is the conversation's next request.
    let body = json!({
        "model": "m", "max_tokens": 9, "stream": true, "tools": [{"name": "x"}],
        "messages": [{"role": "user", "content": "strange"}],
    });
    let command = format!("curl -s $ANTHROPIC_BASE_URL/v1/messages -d '{body}' >theirs");
    let (_, result) = runs(&world, By::BaseUrl, &command);
    let theirs = std::fs::read_to_string(world.project().join("theirs")).unwrap();
    assert!(theirs.contains("message_stop"), "{theirs}");
    // What the hooks say is the answer.
    assert_eq!(result["answer"], "done");
    assert_eq!(result["wire_differs"], true, "{result}");
}
