//! Output that cannot be written, and what `restart` prints. (`send` is in conformance/.)

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::World;

#[test]
fn an_output_that_cannot_be_written_is_an_error() {
    let Some(world) = World::bare() else { return };
    for command in ["version", "broker start && clsess -v broker status"] {
        let script = format!("clsess {command} >/dev/full");
        let done = world.shell(&script).run().fails(1);
        let message = "cannot write to stdout: No space left on device (os error 28)";
        assert_eq!(done.stderr, format!("clsess: {message}\n"));
    }
    // What has begun goes on where nobody reads that it has.
    world.clsess(&["broker", "stop"]).run().ok();
    let script = "clsess broker start | true; echo ${PIPESTATUS[0]}";
    assert_eq!(world.shell(script).run().ok().text(), "0\n");
    world.clsess(&["broker", "status"]).run().ok();
}

#[test]
fn restart_prints_the_session_as_json() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let quiet = world.clsess(&["restart", "work"]).run().ok();
    assert_eq!(quiet.text(), "");
    let row = world.clsess(&["restart", "--json", "work"]).run().ok();
    assert_eq!(row.json()["id"], world.show("work")["id"]);
    let error = world.clsess(&["restart", "--json", "none"]).run().fails(3);
    assert_eq!(error.json()["error"]["code"], "no_such_session");
}
