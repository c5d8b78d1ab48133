//! Clients that are killed.

use nix::sys::signal::Signal;

use crate::ending::held;
use crate::harness::World;

#[test]
fn a_client_that_vanishes_leaves_its_turn_running() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let send = held(&world, &[]);
    send.signal(Signal::SIGKILL);
    assert_eq!(send.wait().code, -9);
    world.api.release("h");
    let result = world.clsess(&["result", "work"]).run().ok();
    assert_eq!(result.text(), "half an answer\n");
}
