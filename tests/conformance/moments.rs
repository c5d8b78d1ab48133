//! Random moments of a turn.

use std::time::Duration;

use serde_json::json;

use crate::harness::World;
use crate::harness::random::Random;

/// The last moment, counted from the client's start. The turn takes some 120 ms.
const LAST: Duration = Duration::from_millis(160);

/// Lets the time pass until a random moment. Not a wait for anything: what happens when is what is
/// tried.
pub fn pass(random: &mut Random) {
    let moment = random.moment(LAST);
    println!("{moment:?}");
    std::thread::sleep(moment);
}

/// Prompts that contain `pattern` are answered in ten pieces, a few milliseconds each; the answer.
pub fn slowly(world: &World, pattern: &str) -> String {
    let answer = format!("{pattern}: an answer that takes its time, ten times six milliseconds");
    let step = json!({"text": answer, "delta_bytes": answer.len().div_ceil(10), "delay_ms": 6});
    world.api.rule(pattern, json!([step]));
    answer
}
