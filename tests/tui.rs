//! Sessions whose body is the agent's own interface, with the real Claude Code.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic)] // tests: helpers are not #[test] functions

mod harness;

use harness::World;

fn session(world: &World) {
    world.clsess(&["new", "work", "--driver", "tui"]).run().ok();
    assert_eq!(world.show("work")["driver"], "tui");
}

#[test]
fn a_prompt_is_answered() {
    let Some(world) = World::real() else { return };
    world.api.answer("first thing", "the first answer");
    world.api.answer("second thing", "the second\n\nanswer");
    session(&world);
    let done = world.clsess(&["send", "work", "first thing"]).run().ok();
    assert_eq!(done.text(), "the first answer\n");
    let done = world.clsess(&["send", "work", "second thing"]).run().ok();
    assert_eq!(done.text(), "the second\n\nanswer\n");
    assert_eq!(world.api.prompts(0), ["first thing", "second thing"]);
}

/// Its words come with the next broker, and its screen: the interface has not noticed.
#[test]
fn it_outlives_the_broker() {
    let Some(world) = World::real() else { return };
    world.api.answer("first thing", "the first answer");
    world.api.answer("second thing", "the second answer");
    session(&world);
    world.clsess(&["send", "work", "first thing"]).run().ok();
    let agent = world.agent("work");
    world.kill_broker();
    let done = world.clsess(&["send", "work", "second thing"]).run().ok();
    assert_eq!(done.text(), "the second answer\n");
    assert_eq!(world.agent("work"), agent);
    harness::until("it is on the screen", || {
        let screen = world.clsess(&["capture", "work"]).run().ok();
        screen.text().contains("the second answer")
    });
}

/// What the interface would change is not typed into it, and what it changes all the same is not
/// sent.
#[test]
fn what_it_cannot_carry_is_refused() {
    let Some(world) = World::real() else { return };
    world.api.answer("fine", "an answer");
    session(&world);
    // Of the last one it makes another form, which only shows when it is about to be sent.
    for prompt in ["a\ttab", "/init", "!ls", "the end ", "e\u{301}"] {
        let done = world.clsess(&["send", "work", "--", prompt]).run();
        assert_eq!(done.code, 2, "{prompt:?}: {}", done.stderr);
        assert!(done.stderr.contains("unchanged"), "{}", done.stderr);
    }
    let done = world.clsess(&["send", "work", "fine"]).run().ok();
    assert_eq!(done.text(), "an answer\n");
    assert_eq!(world.api.prompts(0), ["fine"]);
}
