//! Clients that are killed, and the same request again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::driver::Driver;
use crate::harness::{World, send_signal};
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

/// The variable that gives the seed of [`Moments`].
const SEED: &str = "CLSESS_TEST_SEED";

/// How many clients are killed.
const KILLED: u64 = 20;

/// The last moment, counted from the client's start. The turn takes some 120 ms.
const LAST: Duration = Duration::from_millis(160);

/// Random moments (splitmix64).
struct Moments(u64);

impl Moments {
    /// From the seed in the environment, else from one of their own; it is printed.
    fn new() -> Self {
        let seed = std::env::var(SEED).map_or_else(
            |_| RandomState::new().hash_one(std::process::id()),
            |seed| seed.parse().expect("a number as the seed"),
        );
        println!("{SEED}={seed}");
        Self(seed)
    }

    fn next(&mut self) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let last = u64::try_from(LAST.as_micros()).unwrap();
        Duration::from_micros((z ^ (z >> 31)) % last)
    }
}

pub fn a_killed_clients_request_given_again_runs_once(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let mut moments = Moments::new();
    let mut killed = 0;
    for number in 0..KILLED {
        let moment = moments.next();
        let prompt = format!("prompt {number:02}");
        let answer = format!("{prompt}: an answer that takes its time, ten times six milliseconds");
        let step = json!({"text": answer, "delta_bytes": 6, "delay_ms": 6});
        world.api.rule(&prompt, json!([step]));
        let before = world.api.next();
        let args = ["send", "--key", &prompt, "work", &prompt];
        let client = world.clsess(&args).spawn();
        // Not a wait for anything: the moment is what is tried.
        std::thread::sleep(moment);
        if client.runs() {
            send_signal(client.pid, Signal::SIGKILL);
        }
        let first = client.wait();
        println!("{prompt}: after {moment:?}: {}", first.code);
        killed += u64::from(first.code == -9);
        let again = world.clsess(&args).run().ok();
        assert_eq!(again.text(), format!("{answer}\n"));
        assert_eq!(again.stderr, "");
        assert_eq!(world.api.prompts(before), [prompt]);
    }
    assert!(killed > 0, "every client was too fast");
    assert_eq!(world.show("work")["turns"], KILLED);
}
