//! Errors that last: exit code, code, message, hint.

use serde_json::json;

use crate::driver::Driver;
use crate::harness::World;
use crate::harness::told::{check, told};
use crate::turns::usable;

pub fn errors_of_the_provider(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session_with(&world, "work", &["-e", "CLAUDE_CODE_MAX_RETRIES=0"]);
    let check_it = driver.gateway(&world);
    let outage = |status: u32| {
        format!(
            "API Error: {status} told {status}. This is a server-side issue, usually temporary — \
             try again in a moment. If it persists, check {check_it}.",
        )
    };
    let login = "log the agent in (run: claude, then /login), then: clsess restart NAME";
    let overloaded = outage(529);
    let failed = outage(500);
    for (status, expected) in [
        (400, told(1, "agent_error", "API Error: 400 told 400", None)),
        (401, told(8, "not_logged_in", driver.says_of_401, login)),
        (
            429,
            told(
                7,
                "rate_limited",
                "API Error: Request rejected (429) · told 429",
                None,
            ),
        ),
        (529, told(7, "overloaded", &overloaded, None)),
        (500, told(1, "agent_error", &failed, None)),
    ] {
        let prompt = format!("status {status}");
        let step = json!({"status": status, "message": format!("told {status}")});
        world.api.rule_repeat(&prompt, json!([step]));
        check(&world, &["send", "work", &prompt], b"", &expected);
        check(&world, &["result", "work"], b"", &expected);
    }
}

pub fn an_answer_beyond_all_bounds_fails_its_turn_only(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let times = clsess_proto::MAX_ANSWER / 64 + 1;
    let text = format!("{}\n", "x".repeat(63));
    world.api.rule(
        "long",
        json!([{"repeat_text": {"text": text, "times": times}}]),
    );
    let long = told(
        1,
        "answer_too_long",
        "the answer is longer than 16 MiB",
        None,
    );
    let done = world.clsess(&["send", "work", "long"]).run().fails(1);
    assert_eq!(
        (done.stdout.as_slice(), done.stderr),
        (&b""[..], long.text())
    );
    let done = world
        .clsess(&["result", "-o", "json", "work"])
        .run()
        .fails(1);
    assert_eq!(done.json()["error"], long.json());
    assert_eq!(world.send("work", "and now?"), "you said: and now?\n");
}

pub fn an_answer_that_is_never_finished_is_none(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session_with(&world, "work", &["-e", "CLAUDE_CODE_MAX_RETRIES=1"]);
    let broken = |how: &str| json!({"text": "half an answer", "delta_bytes": 4, how: 2});
    let short = |how: &str| json!({"text": "half an answer", "stop_reason": how});
    for (prompt, step, exit) in [
        ("too many tokens", short("max_tokens"), 1),
        ("refused", short("refusal"), 1),
        ("cut off", broken("cut_after"), 1),
        ("overloaded in the middle", broken("error_after"), 7),
    ] {
        world.api.rule_repeat(prompt, json!([step]));
        let done = world.clsess(&["send", "work", prompt]).run().fails(exit);
        assert_eq!(done.stdout, b"", "{prompt}");
        let error = done.stderr.strip_prefix("clsess: API Error: ");
        assert!(error.is_some(), "{prompt}: {}", done.stderr);
        usable(&world);
    }
}
