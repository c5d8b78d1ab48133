//! What goes wrong between an agent and its provider, or between the agent and its tap.

use serde_json::json;

use crate::harness::World;
use crate::{BOTH, By, DRIVERS};

const TEXT: &str = "0123456789 abcdefghij klmnopqrst";

#[test]
fn silence_of_the_provider_is_told_and_cuts_nothing() {
    for by in BOTH {
        let Some(world) = World::real() else { return };
        world.config("[defaults]\nstall_after = '1s'\n");
        by.session(&world, "tui", &[]);
        let steps = json!([{"text": TEXT, "delta_bytes": 4, "hold": "h", "hold_after": 3}]);
        world.api.rule("slow", steps);
        let send = world.clsess(&["send", "work", "slow"]).spawn();
        world.api.wait_hold("h", 1);
        world.wait_state("work", "stalled");
        assert!(send.runs());
        world.api.release("h");
        assert_eq!(send.wait().ok().text(), format!("{TEXT}\n"));
        assert_eq!(world.api.main_requests(0).len(), 1);
    }
}

/// A turn of a session that does not find its provider; what is said of it.
fn failed(world: &World, by: By, driver: &str, env: &[(&str, Option<&str>)]) -> String {
    let once = ["-e", "CLAUDE_CODE_MAX_RETRIES=0"];
    let mut new = by.new_session(world, driver, &once);
    for (name, value) in env {
        new = match value {
            Some(value) => new.env(name, value),
            None => new.env_remove(name),
        };
    }
    new.run().ok();
    let done = world.clsess(&["send", "work", "hi"]).run();
    assert_ne!(done.code, 0, "{done:?}");
    assert_eq!(done.stdout, b"");
    assert_eq!(world.api.next(), 0);
    done.stderr
}

#[test]
fn a_provider_that_is_not_there_is_the_turns_own_error() {
    let nowhere = "http://127.0.0.1:1";
    for driver in DRIVERS {
        for (by, name) in [
            (By::Proxy, "HTTPS_PROXY"),
            (By::BaseUrl, "ANTHROPIC_BASE_URL"),
        ] {
            let Some(world) = World::real() else { return };
            let said = failed(&world, by, driver, &[(name, Some(nowhere))]);
            println!("{driver} {by:?}: {said}");
            assert!(
                said.starts_with("clsess: API Error: "),
                "{driver} {by:?}: {said}"
            );
        }
    }
}

#[test]
fn a_provider_that_nobody_vouches_for_gets_no_prompt() {
    for driver in DRIVERS {
        let Some(world) = World::real() else { return };
        let said = failed(&world, By::Proxy, driver, &[("NODE_EXTRA_CA_CERTS", None)]);
        let why = "clsess: API Error: 502 clsess tap: TLS with api.anthropic.com failed: ";
        assert!(said.starts_with(why), "{driver}: {said}");
    }
}

/// The broker dies while words come: the client asks again, through the next broker.
fn dies(by: By, driver: &str) {
    let Some(world) = World::real() else { return };
    by.session(&world, driver, &[]);
    let cut = json!({"text": TEXT, "delta_bytes": 4, "hold": "h", "hold_after": 3});
    world.api.rule("slow", json!([cut, {"text": TEXT}]));
    let send = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let agent = world.agent("work");
    world.kill_broker();
    let done = send.wait().ok();
    assert_eq!((done.text(), &*done.stderr), (&*format!("{TEXT}\n"), ""));
    assert_eq!(world.agent("work"), agent);
    assert_eq!(world.api.main_requests(0).len(), 2);
    assert_eq!(world.show("work")["tap"]["way"], by.way());
    assert_eq!(world.send("work", "and now?"), "you said: and now?\n");
    let result = world.clsess(&["result", "work", "-2"]).run().ok();
    assert_eq!(result.text(), format!("{TEXT}\n"));
}

#[test]
fn a_stream_by_proxy_outlives_the_broker() {
    dies(By::Proxy, "stream");
}

#[test]
fn a_stream_by_base_url_outlives_the_broker() {
    dies(By::BaseUrl, "stream");
}

#[test]
fn an_interface_by_proxy_outlives_the_broker() {
    dies(By::Proxy, "tui");
}

#[test]
fn an_interface_by_base_url_outlives_the_broker() {
    dies(By::BaseUrl, "tui");
}
