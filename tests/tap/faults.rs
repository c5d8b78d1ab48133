//! What goes wrong between an agent and its provider, or between the agent and its tap.

use serde_json::{Value, json};

use crate::doors::{asks, port, secret};
use crate::harness::{World, until};
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
        // What the agent has to say of itself meanwhile is no sign of life.
        let (port, secret) = (port(&world), secret(&world));
        let beside = format!("http://127.0.0.1:{port}/s/{secret}/api/event_logging/batch");
        until("stalled", || {
            if by == By::BaseUrl {
                assert_eq!(asks(&world, &[], &[&beside]), "000 404");
            }
            world.show("work")["state"] == "stalled"
        });
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
    ends(by, driver, |world| {
        world.kill_broker();
    });
}

/// The broker ends like this while words come.
fn ends(by: By, driver: &str, how: impl Fn(&World)) {
    let Some(world) = World::real() else { return };
    by.session(&world, driver, &[]);
    let cut = json!({"text": TEXT, "delta_bytes": 4, "hold": "h", "hold_after": 3});
    world.api.rule("slow", json!([cut, {"text": TEXT}]));
    let send = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let agent = world.agent("work");
    how(&world);
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
fn an_upgrade_leaves_the_way_as_it_was() {
    for (by, driver) in [(By::Proxy, "stream"), (By::BaseUrl, "tui")] {
        ends(by, driver, |world| {
            world.clsess(&["broker", "upgrade", "--force"]).run().ok();
        });
    }
}

#[test]
fn an_interface_by_base_url_outlives_the_broker() {
    dies(By::BaseUrl, "tui");
}

/// Answers whose bytes come as no provider sends them, and what is told of each.
#[test]
fn an_answer_is_the_same_however_its_bytes_come() {
    let many = "é".repeat(10_000);
    let text = "— é 😀\r\n\"<&>\\ and so on";
    for by in BOTH {
        for driver in DRIVERS {
            let Some(world) = World::real() else { return };
            by.session(&world, driver, &[]);
            for (prompt, said, step) in [
                // 10 000 events, in pieces of 64 KiB.
                ("events", &*many, json!({"text": many, "delta_bytes": 1})),
                // Each byte by itself.
                ("bytes", text, json!({"text": text, "piece_bytes": 1})),
            ] {
                world.api.rule(prompt, json!([step]));
                let send = ["send", "--stream", "always", "work", prompt];
                let done = world.clsess(&send).run().ok();
                assert_eq!(done.text(), format!("{said}\n"), "{driver} {by:?} {prompt}");
                let result = ["result", "-o", "json", "work"];
                let result = world.clsess(&result).run().ok().json();
                assert_eq!(result["answer"], said);
                assert_eq!(result["wire_differs"], Value::Null, "{result}");
            }
            assert_eq!(world.show("work")["tap"]["unread"], Value::Null);
        }
    }
}

/// What `send` says of a turn whose answer is garbage, and how often the client asked.
fn garbage(by: By, driver: &str, tap: &str, raw: &str) -> Option<(i32, String, usize, u64)> {
    let world = World::real()?;
    let new = ["new", "--driver", driver, "--tap", tap];
    let once = ["-e", "CLAUDE_CODE_MAX_RETRIES=0", "work"];
    let new = world.clsess(&[&new[..], &once].concat());
    by.found(&world, new).run().ok();
    let steps = json!([{"raw": raw}]);
    let rule = json!({"cmd": "rule", "match": "odd", "respond": steps, "repeat": true});
    world.api.ask(rule);
    let done = world.clsess(&["send", "work", "odd"]).run();
    // Whatever became of it, the next turn is not touched by it.
    assert_eq!(world.send("work", "and now?"), "you said: and now?\n");
    let unread = world.show("work")["tap"]["unread"].as_u64();
    let asked = world.api.main_requests(0).len();
    // Without the numbers of its requests.
    let said = format!("{}{}", done.text(), done.stderr);
    let words = said.split_inclusive(' ');
    let said = words.filter(|word| !word.starts_with("req_")).collect();
    Some((done.code, said, asked, unread.unwrap_or_default()))
}

#[test]
fn garbage_has_the_outcome_that_it_has_without_a_tap() {
    let whole = |data: &str| format!("event: message_start\ndata: {data}\n\n");
    for raw in [
        whole("{no json"),
        whole("[]"),
        "\u{0}\u{1}\u{fffd} no events at all".to_owned(),
        String::new(),
    ] {
        for (driver, by) in [("stream", By::Proxy), ("tui", By::BaseUrl)] {
            let Some(without) = garbage(by, driver, "off", &raw) else {
                return;
            };
            let Some(with) = garbage(by, driver, by.way(), &raw) else {
                return;
            };
            println!("{driver} {raw:?}: {with:?}");
            assert_eq!(with.0, without.0, "{driver} {raw:?}");
            // Of nothing at all the client says one thing or another, with a tap and without (measured).
            for said in [&with.1, &without.1] {
                assert!(said.starts_with("clsess: API Error: "), "{said}");
            }
            assert!(
                raw.is_empty() || with.1 == without.1,
                "{with:?} {without:?}"
            );
            assert_eq!(with.2, without.2, "{driver} {raw:?}");
            let unread = u64::from(raw.starts_with("event"));
            assert!(with.3 >= unread, "{driver} {raw:?}: {with:?}");
        }
    }
}
