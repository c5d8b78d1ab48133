//! Many clients at once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::World;
use serde_json::json;

#[test]
fn twenty_sessions_at_once_answer_each_for_itself() {
    let Some(world) = World::real() else { return };
    let script =
        |n| format!("clsess new s{n} && clsess send s{n} I am {n} && clsess send s{n} recall");
    let clients: Vec<_> = (0..20).map(|n| world.shell(&script(n)).spawn()).collect();
    for (n, client) in clients.into_iter().enumerate() {
        let expected = format!("s{n}\nyou said: I am {n}\nI am {n}\n");
        assert_eq!(client.wait().ok().text(), expected);
    }
    let ls = world.clsess(&["ls", "-F", "#{turns}"]).run().ok();
    assert_eq!(ls.text(), "2\n".repeat(20));
    world.clsess(&["kill", "--all"]).run().ok();
    assert_eq!(world.processes().len(), 1);
}

#[test]
fn ls_does_not_wait_for_a_busy_session() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.session("other");
    world
        .api
        .rule("slow", json!([{"text": "late", "hold": "h"}]));
    let slow = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let ls = world.clsess(&["ls", "-F", "#{name} #{state}"]).run().ok();
    assert_eq!(ls.text(), "other idle\nwork working\n");
    assert_eq!(world.send("other", "hi"), "you said: hi\n");
    assert!(slow.runs());
    world.api.release("h");
    slow.wait().ok();
}
