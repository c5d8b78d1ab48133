//! A program that cannot take over: the broker goes on.

use std::fs;

use serde_json::json;

use crate::harness::{World, until};
use crate::programs::{OLD, ask, newer, refused, script, version};

/// A turn that is under way all the time, and must end well.
fn goes_on(test: impl FnOnce(&World)) {
    let Some(world) = World::real() else { return };
    world.session("work");
    world
        .api
        .rule("slow", json!([{"text": "late", "hold": "h"}]));
    let running = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let (broker, agent) = (world.broker(), world.agent("work"));
    test(&world);
    assert_eq!((world.broker(), version(&world).as_str()), (broker, OLD));
    assert_eq!(world.show("work")["state"], "working");
    world.api.release("h");
    let done = running.wait().ok();
    assert_eq!((done.text(), done.stderr.as_str()), ("late\n", ""));
    assert_eq!(world.send("work", "and now?"), "you said: and now?\n");
    assert_eq!(world.agent("work"), agent);
    assert_eq!(world.api.prompts(0), ["slow", "and now?"]);
}

#[test]
fn one_that_is_no_broker() {
    goes_on(|world| {
        let program = world.root().join("bin/candidate");
        let said = |why: &str| format!("{} cannot take over: {why}", program.display());

        script(world, "exit 1");
        assert_eq!(
            refused(world, &program, false),
            said("it ended (exit status: 1)")
        );
        script(
            world,
            "echo 'clsess: no such thing' >&2; echo more >&2; exit 1",
        );
        assert_eq!(refused(world, &program, false), said("no such thing"));
        script(world, "echo nonsense >&0; sleep 1000");
        let why = said("it does not speak as a broker does");
        assert_eq!(refused(world, &program, false), why);

        let whole = fs::read(newer()).unwrap();
        fs::write(&program, &whole[..1 << 20]).unwrap();
        assert!(refused(world, &program, false).starts_with(&said("")));
        fs::remove_file(&program).unwrap();
        let why = said("No such file or directory (os error 2)");
        assert_eq!(refused(world, &program, false), why);
        // Nothing is left of them.
        let left = || {
            world
                .processes()
                .iter()
                .any(|(_, line)| line.contains("sleep 1000"))
        };
        until("they are gone", || !left());
    });
}

#[test]
fn one_that_hangs() {
    goes_on(|world| {
        let program = script(world, "sleep 1000");
        let said = refused(world, &program, false);
        assert!(said.ends_with("it was not ready in 10 seconds"), "{said}");
    });
}

/// It says what a broker says, and does not take over.
const READY: &str = "read -r; echo '{\"word\":\"ready\",\"version\":\"9.9.9\"}' >&0; read -r go";

#[test]
fn one_that_dies_as_it_takes_over() {
    goes_on(|world| {
        let program = script(world, READY);
        assert_eq!(ask(world, &program, false), None);
        world.broker();
        assert!(world.log().contains("it has died"));
        // That is not counted as the broker's death.
        for _ in 0..3 {
            assert_eq!(ask(world, &program, false), None);
        }
    });
}

/// A real one, when it has the agents already: it may write so much to a file and no more, and
/// that is where the log's line is that tells of the first.
#[test]
fn one_that_dies_with_the_agents_in_its_hands() {
    goes_on(|world| {
        let log = world.state().join("default/broker.log");
        let line = |text: &str| format!("2026-11-20T19:05:28.878422Z  INFO {text}\n").len();
        let socket = world.socket().display().to_string();
        let begins = format!("broker begins version=\"9.9.9\" socket={socket} before=\"0.1.0\"");
        let room = line("another broker takes over version=\"9.9.9\"") + line(&begins) + 20;
        let written = fs::metadata(&log).unwrap().len() as usize;
        let limit = (written + room).div_ceil(1024);
        let mut file = fs::File::options().append(true).open(&log).unwrap();
        let padding = " ".repeat(limit * 1024 - room - written - 1) + "\n";
        std::io::Write::write_all(&mut file, padding.as_bytes()).unwrap();
        let lines = format!("ulimit -c 0 -f {limit}; exec {} broker take-over", newer());
        let program = script(world, &lines);
        assert_eq!(ask(world, &program, false), None);
        world.broker();
        let log = world.log();
        assert!(
            log.contains("version=\"9.9.9\" socket") && log.contains("it has died"),
            "{log}"
        );
        assert_eq!(log.matches("agent found").count(), 1);
    });
}

#[test]
fn one_that_hangs_as_it_takes_over() {
    goes_on(|world| {
        let program = script(world, &format!("{READY}; sleep 1000"));
        assert_eq!(ask(world, &program, false), None);
        world.broker();
        assert!(world.log().contains("it hangs"));
    });
}

#[test]
fn one_that_failed_is_not_tried_again_unasked() {
    let Some(world) = World::bare() else { return };
    world.clsess(&["broker", "start"]).run().ok();
    let tried = world.root().join("tried");
    let lines = format!("echo x >>{}; exit 1", tried.display());
    let program = script(&world, &lines);
    let first = refused(&world, &program, true);
    assert_eq!(refused(&world, &program, true), first);
    assert_eq!(fs::read(&tried).unwrap(), b"x\n");
    refused(&world, &program, false);
    assert_eq!(fs::read(&tried).unwrap(), b"x\nx\n");
    // Another one, of the same name.
    script(&world, &lines);
    refused(&world, &program, true);
    assert_eq!(fs::read(&tried).unwrap(), b"x\nx\nx\n");
}

/// Who goes on after a failure finds its own agents: nothing is as after the machine's death.
#[test]
fn a_failure_holds_nothing_back() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    world.clsess(&["broker", "stop"]).run().ok();
    world.reboot();
    assert_eq!(world.send("work", "one"), "you said: one\n");
    agent.rule("slow", json!(["begin", {"hold": "h"}]));
    for prompt in ["slow", "then"] {
        let send = ["send", "--no-wait", "work", prompt];
        world.clsess(&send).run().ok();
    }
    agent.wait_such(1, |event| event["name"] == "h");
    let program = script(&world, READY);
    assert_eq!(ask(&world, &program, false), None);
    agent.release("h");
    agent.wait_such(1, |event| {
        event["event"] == "turn" && event["prompt"] == "then"
    });
    world.wait_state("work", "idle");
}
