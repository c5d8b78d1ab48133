//! The provider's limits: `--on-limit wait`.

use serde_json::json;

use crate::driver::Driver;
use crate::harness::{Running, World, until};
use crate::turns::usable;

/// A session whose client does not try again by itself, and a prompt that is refused once.
fn limited(driver: &Driver, world: &World, status: u32) {
    let first = json!({"status": status, "message": "no"});
    driver.session_with(world, "work", &["-e", "CLAUDE_CODE_MAX_RETRIES=0"]);
    world.api.ask(json!({
        "cmd": "rule", "match": "limited", "once": true, "respond": [first], "repeat": true,
    }));
}

/// A send whose turn has been refused, and waits.
fn refused(world: &World, args: &[&str]) -> Running {
    let args = [&["send", "--on-limit", "wait"], args, &["work", "limited"]].concat();
    let send = world.clsess(&args).spawn();
    world.wait_state("work", "rate-limited");
    send
}

pub fn a_refused_turn_waits_and_runs_later(driver: &Driver) {
    let Some(world) = World::real() else { return };
    for status in [429, 529] {
        limited(driver, &world, status);
        let send = refused(&world, &["-o", "json"]);
        let shown = world.show("work");
        let detail = shown["detail"].as_str().unwrap();
        assert!(
            detail.starts_with("until 20") && detail.ends_with('Z'),
            "{detail}"
        );
        assert_eq!(shown["queue"], 1);
        let listed = world.clsess(&["queue", "work", "--json"]).run().ok().json();
        assert_eq!(listed["turns"][0]["waiting"], "the provider's limit");
        assert_eq!(listed["turns"][0]["prompt"], "limited");
        // Another prompt does not wait for it.
        assert_eq!(world.send("work", "meanwhile"), "you said: meanwhile\n");
        // What has worked shows that the limit is over.
        let report = send.wait().ok().json();
        assert_eq!(report["answer"], "you said: limited");
        usable(&world);
        world.clsess(&["kill", "work"]).run().ok();
    }
}

pub fn a_refused_turn_may_be_taken_back_and_outlives_its_client(driver: &Driver) {
    let Some(world) = World::real() else { return };
    limited(driver, &world, 429);
    let send = refused(&world, &[]);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(send.pid).unwrap()),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    drop(send);
    assert_eq!(world.show("work")["queue"], 1);
    world.clsess(&["queue", "work", "run"]).run().ok();
    assert_eq!(
        world.clsess(&["result", "work"]).run().ok().text(),
        "you said: limited\n"
    );

    world.api.ask(json!({
        "cmd": "rule", "match": "limited", "once": true, "repeat": true,
        "respond": [{"status": 429, "message": "no"}],
    }));
    let send = refused(&world, &[]);
    let removed = world.clsess(&["queue", "work", "clear"]).run().ok();
    assert_eq!(removed.text().lines().count(), 1);
    assert_eq!(
        send.wait().fails(10).stderr,
        "clsess: the turn was taken back\n"
    );
    until("idle", || world.show("work")["state"] == "idle");
}

pub fn a_turn_that_has_done_something_is_not_tried_again(driver: &Driver) {
    let Some(world) = World::real() else { return };
    let options = [
        "-e",
        "CLAUDE_CODE_MAX_RETRIES=0",
        "--agent-arg=--allowedTools=Bash",
    ];
    driver.session_with(&world, "work", &options);
    let tool = json!({"tool": {"name": "Bash", "input": {"command": "echo x >> done"}}});
    world.api.rule_repeat(
        "tool",
        json!([{"blocks": [tool]}, {"status": 429, "message": "no"}]),
    );
    let args = ["send", "--on-limit", "wait", "work", "tool"];
    world.clsess(&args).run().fails(7);
    assert_eq!(std::fs::read(world.project().join("done")).unwrap(), b"x\n");
    // The default does not wait at all.
    world
        .api
        .rule_repeat("plain", json!([{"status": 429, "message": "no"}]));
    world.clsess(&["send", "work", "plain"]).run().fails(7);
    world.api.ask(json!({"cmd": "rules_clear"}));
    usable(&world);
}

pub fn a_deadline_ends_the_waiting(driver: &Driver) {
    let Some(world) = World::real() else { return };
    limited(driver, &world, 429);
    let args = [
        "send",
        "--on-limit",
        "wait",
        "--deadline",
        "4s",
        "work",
        "limited",
    ];
    let done = world.clsess(&args).run().fails(124);
    assert_eq!(
        done.stderr,
        "clsess: the turn was given up before it began\nhint: give it longer with --deadline\n"
    );
    usable(&world);
}
