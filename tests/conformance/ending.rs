//! How turns end otherwise: by time, by a signal, by a death.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::{Running, World, alive, send_signal, until};

/// A send whose answer stands still after its first words; it has said them.
pub fn held(world: &World, args: &[&str]) -> Running {
    let answer =
        json!([{"text": "half an answer", "delta_bytes": 4, "hold": "h", "hold_after": 2}]);
    world.api.rule("slow", answer);
    let mut line = vec!["send"];
    line.extend(args);
    line.extend(["work", "slow"]);
    let send = world.clsess(&line).spawn();
    world.api.wait_hold("h", 1);
    send
}

/// The session goes on as if nothing had been.
#[track_caller]
pub fn usable(world: &World) {
    assert_eq!(world.send("work", "and now?"), "you said: and now?\n");
}

pub const AFTER_A_TOOL: &str = "said after the tool";

/// The same after a turn that was ended in a tool. The client puts the next prompt behind the
/// tool's result then, and fake-api may take it for the same turn: its second step must be
/// [`AFTER_A_TOOL`] too.
#[track_caller]
pub fn usable_after_a_tool(world: &World) {
    world.api.answer("and now?", AFTER_A_TOOL);
    let before = world.api.next();
    assert_eq!(world.send("work", "and now?"), format!("{AFTER_A_TOOL}\n"));
    let requests = world.api.main_requests(before);
    assert_eq!(requests.len(), 1);
    let body = world.api.body(requests[0]["index"].as_u64().unwrap());
    assert!(body["messages"].to_string().contains("and now?"));
    assert_eq!(world.api.main_requests(0).len(), 2);
}

#[test]
fn a_turn_that_timed_out_leaves_nothing_for_the_next_one() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let done = held(&world, &["--timeout", "1s"]).wait().fails(124);
    assert_eq!(done.stdout, b"");
    let (first, hint) = done.stderr.split_once('\n').unwrap();
    assert!(
        first.starts_with("clsess: the turn was interrupted after 1.") && first.ends_with(" s"),
        "{first}"
    );
    assert_eq!(
        hint,
        "hint: give it longer with --timeout (0: no limit) or turn_timeout in the config\n"
    );
    world.api.release("h");
    usable(&world);
    let outcomes: Vec<_> = world
        .api
        .main_requests(0)
        .iter()
        .map(|r| r["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["client_gone", "completed"]);
    let result = world.clsess(&["result", "-o", "json", "work", "-2"]);
    let turn = result.run().fails(124).json();
    assert_eq!(turn["outcome"], "timed-out");
    assert_eq!(turn["error"]["code"], "timed_out");
}

#[test]
fn a_turn_that_timed_out_in_a_tool_takes_the_tool_with_it() {
    let Some(world) = World::real() else { return };
    world
        .clsess(&["new", "work", "--agent-arg=--allowedTools=Bash"])
        .run()
        .ok();
    let file = world.project().join("pid");
    let command = format!(
        "echo $$ > {0}.new; mv {0}.new {0}; sleep 1000",
        file.display()
    );
    let tool = json!({"tool": {"name": "Bash", "input": {"command": command}}});
    world
        .api
        .rule("sleep", json!([{"blocks": [tool]}, {"text": AFTER_A_TOOL}]));
    let args = ["send", "--timeout", "3s", "work", "sleep"];
    world.clsess(&args).run().fails(124);
    let pid = std::fs::read_to_string(&file).unwrap();
    let pid = pid.trim().parse().unwrap();
    until("the tool is gone", || !alive(pid));
    usable_after_a_tool(&world);
}

#[test]
fn a_signal_interrupts_the_turn_and_keeps_the_session() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let signals = [
        (Signal::SIGINT, 130),
        (Signal::SIGTERM, 143),
        (Signal::SIGHUP, 129),
    ];
    for (signal, code) in signals {
        let send = held(&world, &[]);
        send.signal(signal);
        let done = send.wait().fails(code);
        assert_eq!(done.stdout, b"", "{signal}");
        world.api.release("h");
        let turn = world.clsess(&["result", "-o", "json", "work"]);
        let turn = turn.run().fails(10).json();
        assert_eq!(turn["outcome"], "interrupted", "{signal}");
        usable(&world);
    }
    assert_eq!(world.show("work")["turns"], 6);
}

#[test]
fn a_signal_takes_a_queued_turn_back() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let running = held(&world, &[]);
    let queued = world.clsess(&["send", "work", "never"]).spawn();
    world.wait_queued("work", 1);
    let waiting = world.clsess(&["result", "work"]).spawn();
    queued.signal(Signal::SIGINT);
    queued.wait().fails(130);
    world.wait_queued("work", 0);
    drop(waiting);
    world.api.release("h");
    assert_eq!(running.wait().ok().text(), "half an answer\n");
    usable(&world);
    assert_eq!(world.api.prompts(0), ["slow", "and now?"]);
    let taken = world.clsess(&["result", "-o", "json", "work", "-2"]);
    assert_eq!(taken.run().fails(10).json()["outcome"], "cancelled");
}

#[test]
fn a_second_signal_leaves_at_once() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let send = held(&world, &[]);
    let agent = world.agent("work");
    // An agent that stands still cannot end its turn; one signal would wait for that.
    send_signal(agent, Signal::SIGSTOP);
    until("it has left", || {
        if send.runs() {
            send.signal(Signal::SIGINT);
        }
        !send.runs()
    });
    send.wait().fails(130);
    assert_eq!(world.show("work")["state"], "working");
    send_signal(agent, Signal::SIGCONT);
    let result = world.clsess(&["result", "-o", "json", "work"]);
    assert_eq!(result.run().fails(10).json()["outcome"], "interrupted");
    world.api.release("h");
    usable(&world);
}

#[test]
fn an_agent_that_hangs_is_ended_and_its_conversation_goes_on() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "remember me");
    let send = held(&world, &["--timeout", "1s"]);
    let agent = world.agent("work");
    send_signal(agent, Signal::SIGSTOP);
    send.wait().fails(124);
    assert!(!alive(agent));
    world.api.release("h");
    let recalled = world.send("work", "recall");
    assert_eq!(recalled.lines().next(), Some("remember me"), "{recalled}");
    assert_ne!(world.agent("work"), agent);
}
