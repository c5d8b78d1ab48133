//! Clients that are killed, and the same request again.

use nix::sys::signal::Signal;

use crate::driver::Driver;
use crate::harness::random::Random;
use crate::harness::{World, send_signal};
use crate::moments::{pass, slowly};
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

pub fn a_killed_clients_place_in_the_queue_is_taken_up_again(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let first = held(&world, &[]);
    let args = ["send", "--key", "k", "work", "second"];
    let second = world.clsess(&args).spawn();
    world.wait_queued("work", 1);
    let third = world.clsess(&["send", "work", "third"]).spawn();
    world.wait_queued("work", 2);
    second.signal(Signal::SIGKILL);
    assert_eq!(second.wait().code, -9);
    let again = world.clsess(&args).spawn();
    world.api.release("h");
    for (client, answer) in [
        (first, "half an answer\n"),
        (again, "you said: second\n"),
        (third, "you said: third\n"),
    ] {
        assert_eq!(client.wait().ok().text(), answer);
    }
    assert_eq!(world.api.prompts(0), ["slow", "second", "third"]);
}

pub fn a_killed_clients_request_given_again_runs_once(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let mut random = Random::from_environment();
    let mut killed = 0;
    for number in 0..20 {
        let prompt = format!("prompt {number:02}");
        let answer = slowly(&world, &prompt);
        let before = world.api.next();
        let args = ["send", "--key", &prompt, "work", &prompt];
        let client = world.clsess(&args).spawn();
        pass(&mut random);
        if client.runs() {
            send_signal(client.pid, Signal::SIGKILL);
        }
        let first = client.wait();
        println!("{prompt}: {}", first.code);
        killed += usize::from(first.code == -9);
        let again = world.clsess(&args).run().ok();
        assert_eq!(again.text(), format!("{answer}\n"));
        assert_eq!(again.stderr, "");
        assert_eq!(world.api.prompts(before), [prompt]);
    }
    assert!(killed > 0, "every client was too fast");
    assert_eq!(world.show("work")["turns"], 20);
}
