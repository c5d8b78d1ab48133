//! First in, first out, and each client its own answer.

use serde_json::json;

use crate::driver::Driver;
use crate::harness::World;

pub fn twenty_clients_of_one_session_are_served_in_order_of_arrival(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    world
        .api
        .rule("first", json!([{"text": "the first", "hold": "h"}]));
    let first = world.clsess(&["send", "work", "first"]).spawn();
    world.api.wait_hold("h", 1);
    let mut clients = Vec::new();
    for n in 1..20 {
        let prompt = format!("prompt number {n}");
        clients.push(world.clsess(&["send", "work", &prompt]).spawn());
        world.wait_queued("work", n);
    }
    world.api.release("h");
    assert_eq!(first.wait().ok().text(), "the first\n");
    for (n, client) in (1..20).zip(clients) {
        let answer = format!("you said: prompt number {n}\n");
        assert_eq!(client.wait().ok().text(), answer);
    }
    let expected: Vec<String> = std::iter::once("first".to_owned())
        .chain((1..20).map(|n| format!("prompt number {n}")))
        .collect();
    assert_eq!(world.api.prompts(0), expected);
    assert_eq!(world.show("work")["turns"], 20);
}

pub fn twenty_clients_that_come_together_get_each_its_own_answer(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let prompt = |n| format!("all at once, number {n}");
    let clients: Vec<_> = (0..20)
        .map(|n| world.clsess(&["send", "work", &prompt(n)]).spawn())
        .collect();
    for (n, client) in clients.into_iter().enumerate() {
        let answer = format!("you said: {}\n", prompt(n));
        assert_eq!(client.wait().ok().text(), answer);
    }
    let mut arrived = world.api.prompts(0);
    arrived.sort();
    let mut expected: Vec<String> = (0..20).map(prompt).collect();
    expected.sort();
    assert_eq!(arrived, expected);
}
