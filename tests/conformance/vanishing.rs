//! Clients that are killed.

use nix::sys::signal::Signal;

use crate::driver::Driver;
use crate::harness::World;
use crate::turns::held;

pub fn a_client_that_vanishes_leaves_its_turn_running(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let send = held(&world, &[]);
    send.signal(Signal::SIGKILL);
    assert_eq!(send.wait().code, -9);
    world.api.release("h");
    let result = world.clsess(&["result", "work"]).run().ok();
    assert_eq!(result.text(), "half an answer\n");
}
