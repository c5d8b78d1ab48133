//! First in, first out, and each client its own answer.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::driver::Driver;
use crate::harness::World;
use crate::turns::held;

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

pub fn an_end_of_any_kind_lets_the_next_one_run(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let first = held(&world, &[]);
    world.api.rule_repeat("bad", json!([{"status": 400}]));
    world
        .api
        .rule("stuck", json!([{"text": "late", "hold": "stuck"}]));
    let mut waiting = 0;
    let mut send = |args: &[&str]| {
        let client = world.clsess(&[&["send"], args].concat()).spawn();
        waiting += 1;
        world.wait_queued("work", waiting);
        client
    };
    let bad = send(&["work", "bad"]);
    let stuck = send(&["--timeout", "3s", "work", "stuck"]);
    let taken = send(&["work", "taken back"]);
    let json = send(&["-o", "json", "work", "as json"]);
    let last = send(&["work", "the last"]);
    taken.signal(Signal::SIGINT);
    taken.wait().fails(130);
    world.api.release("h");
    assert_eq!(first.wait().ok().text(), "half an answer\n");
    bad.wait().fails(1);
    stuck.wait().fails(124);
    assert_eq!(json.wait().ok().json()["answer"], "you said: as json");
    assert_eq!(last.wait().ok().text(), "you said: the last\n");
    let mut prompts = world.api.prompts(0);
    prompts.dedup(); // the client asks again after a 400
    assert_eq!(prompts, ["slow", "bad", "stuck", "as json", "the last"]);
}

pub fn a_timeout_begins_with_the_turn_and_not_with_the_wait(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let first = held(&world, &["--timeout", "6s"]);
    let second = world.clsess(&["send", "--timeout", "3s", "-o", "json", "work", "hi"]);
    let second = second.spawn();
    world.wait_queued("work", 1);
    first.wait().fails(124);
    let turn = second.wait().ok().json();
    assert_eq!(turn["answer"], "you said: hi");
    assert!(turn["queued_ms"].as_u64().unwrap() > 3000, "{turn}");
}
