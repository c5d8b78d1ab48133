//! The agent and its provider do not see that they are read.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::World;
use crate::{BOTH, By, DRIVERS};

/// Headers that may differ: the tap's, and how long tools took.
const MAY_DIFFER: [&str; 3] = [
    "accept-encoding",
    "host",
    "x-claude-code-prev-tool-durations",
];

/// A turn with a tool, and one after it, as they arrive at the provider: each request's path, headers
/// and body as text, without what is another's in each session.
fn asked(by: By, driver: &str, tap: &str) -> Option<Vec<(String, Value, String)>> {
    let world = World::real()?;
    std::fs::write(world.project().join("a"), "x\n").unwrap();
    let read = json!({"tool": {"name": "Read", "input": {"file_path": world.project().join("a")}, "id": "toolu_1"}});
    let look = json!({"blocks": [{"thinking": "so — hm"}, {"text": "é 😀\r\n\"<&>\\"}, read]});
    let steps = json!([look, {"text": "It is an x.\n\n", "delta_bytes": 1}]);
    world.api.rule("look", steps);
    let new = ["new", "--driver", driver, "--tap", tap, "work"];
    by.found(&world, world.clsess(&new)).run().ok();
    assert_eq!(world.send("work", "look"), "It is an x.\n\n");
    assert_eq!(world.send("work", "again"), "you said: again\n");
    let requests = world.api.main_requests(0);
    assert_eq!(requests.len(), 3);
    let of = |request: &Value| {
        let path = request["path"].as_str().unwrap().to_owned();
        let mut headers = request["headers"].clone();
        let fields = headers.as_object_mut().unwrap();
        fields.retain(|name, _| !MAY_DIFFER.contains(&&**name));
        let command = json!({"cmd": "body", "index": request["index"], "text": true});
        let body = world.api.ask(command)["body"].as_str().unwrap().to_owned();
        let blurred = blurred(&headers.to_string(), world.root());
        (
            path,
            serde_json::from_str(&blurred).unwrap(),
            self::blurred(&body, world.root()),
        )
    };
    Some(requests.iter().map(of).collect())
}

/// Without the names of the session's own: its directory, and numbers of 16 hexadecimal digits and more.
fn blurred(text: &str, root: &Path) -> String {
    let root = root.to_str().unwrap();
    let text = text
        .replace(root, "ROOT")
        .replace(&root.replace(['/', '.'], "-"), "ROOT");
    let mut blurred = String::new();
    let mut number = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_hexdigit() || (c == '-' && !number.is_empty()) {
            number.push(c);
            continue;
        }
        match number.len() {
            16.. => blurred.push('#'),
            _ => blurred.push_str(&number),
        }
        number.clear();
        blurred.push(c);
    }
    blurred.pop();
    // The client's hash of what it asks, those numbers and all.
    match blurred.split_once("; cch=") {
        Some((before, after)) => format!("{before}; cch=#{}", &after[5..]),
        None => blurred,
    }
}

/// What is different, and where it begins to be.
fn differs(one: &str, other: &str) -> String {
    let same = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b);
    let from = same.count().saturating_sub(80);
    let part = |text: &str| {
        let bytes = text.as_bytes();
        let end = bytes.len().min(from + 300);
        String::from_utf8_lossy(&bytes[from.min(end)..end]).into_owned()
    };
    format!("from byte {from}:\n{}\n{}", part(one), part(other))
}

#[test]
fn requests_are_what_they_are_without_a_tap() {
    for driver in DRIVERS {
        for by in BOTH {
            let Some(without) = asked(by, driver, "off") else {
                return;
            };
            let Some(with) = asked(by, driver, by.way()) else {
                return;
            };
            for (without, with) in without.iter().zip(&with) {
                assert_eq!(without.0, with.0, "{driver} {by:?}");
                assert_eq!(without.1, with.1, "{driver} {by:?}");
                assert!(
                    without.2 == with.2,
                    "{driver} {by:?}: {}",
                    differs(&without.2, &with.2)
                );
            }
        }
    }
}
