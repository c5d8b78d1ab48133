//! What is told of it: words, limits, long answers.

use std::fs;

use serde_json::json;

use crate::harness::World;
use crate::{BOTH, By};

#[test]
fn words_come_before_their_line_is_whole() {
    for by in BOTH {
        let Some(world) = World::real() else { return };
        by.session(&world, "tui", &[]);
        let (said, rest) = ("half a line", " and the rest of it");
        let steps = json!([{"text": format!("{said}{rest}"), "delta_bytes": 11, "hold": "h", "hold_after": 1}]);
        world.api.rule("slow", steps);
        let send = ["send", "--stream", "always", "work", "slow"];
        let send = world.clsess(&send).spawn();
        world.api.wait_hold("h", 1);
        world.wait_event(|event| event["event"] == "text" && event["text"] == said);
        send.wait_stdout(|out| out == said.as_bytes());
        world.api.release("h");
        assert_eq!(send.wait().ok().text(), format!("{said}{rest}\n"));
        let shown = world.show("work");
        assert_eq!(shown["tap"]["way"], by.way());
        assert!(shown["tap"]["ttfb_ms"].is_number(), "{shown}");
        let result = world.clsess(&["result", "-o", "json", "work"]).run();
        let result = result.ok().json();
        assert_eq!(result["answer"], format!("{said}{rest}"));
        assert_eq!(result["stop_reason"], "end_turn");
        assert!(result["usage"]["output_tokens"].as_u64().unwrap() > 0);
    }
}

#[test]
fn limits_are_shown_and_told() {
    for by in BOTH {
        let Some(world) = World::real() else { return };
        by.session(&world, "tui", &[]);
        let headers = json!({
            "anthropic-ratelimit-requests-remaining": "7",
            "anthropic-ratelimit-unified-status": "allowed_warning",
            "anthropic-ratelimit-unified-reset": "4000000000",
            "anthropic-ratelimit-unified-representative-claim": "five_hour",
        });
        let steps = json!([{"text": "near it", "headers": headers}]);
        world.api.rule("near", steps);
        assert_eq!(world.send("work", "near"), "near it\n");
        let limits = json!({
            "requests-remaining": "7",
            "unified-status": "allowed_warning",
            "unified-reset": "4000000000",
            "unified-representative-claim": "five_hour",
        });
        assert_eq!(world.show("work")["tap"]["limits"], limits);
        world.wait_event(|event| {
            event["event"] == "rate_limit" && event["info"]["status"] == "allowed_warning"
        });
    }
}

/// KiB that the copy of what passes may cost: what waits to be read, and what was said by the wire.
const MOST_FOR_A_TAP: u64 = 96 * 1024;

/// The most memory that a process has had at a time, in KiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

/// KiB that the broker's peak of memory grows by with the longest answer, which comes whole.
fn costs(by: By, driver: &str, tap: &str) -> Option<u64> {
    let world = World::real()?;
    let new = ["new", "--driver", driver, "--tap", tap, "work"];
    by.found(&world, world.clsess(&new)).run().ok();
    world.send("work", "hi");
    let before = peak(world.broker());
    let line = format!("{}\n", "x".repeat(63));
    let times = clsess_proto::MAX_ANSWER / line.len() - 1;
    let steps = json!([{"repeat_text": {"text": line, "times": times}}]);
    world.api.rule("long", steps);
    let send = ["send", "--stream", "always", "work", "long"];
    let done = world.clsess(&send).run().ok();
    assert!(done.text() == line.repeat(times), "{by:?} {driver} {tap}");
    let unread = world.show("work")["tap"]["unread"].as_u64();
    assert_eq!(unread.unwrap_or_default(), 0);
    Some(peak(world.broker()) - before)
}

#[test]
fn the_longest_answer_passes_whole() {
    for (by, driver) in [(By::Proxy, "stream"), (By::BaseUrl, "tui")] {
        let Some(without) = costs(by, driver, "off") else {
            return;
        };
        let Some(with) = costs(by, driver, by.way()) else {
            return;
        };
        println!("{driver} {by:?}: {without} KiB more without a tap, {with} KiB with it");
        assert!(with <= without + MOST_FOR_A_TAP, "{with} KiB");
    }
}
