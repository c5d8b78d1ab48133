//! How turns end otherwise: by time, by a signal, by a death.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::driver::Driver;
use crate::harness::{World, alive, send_signal, until};
use crate::turns::{AFTER_A_TOOL, held, usable, usable_after_a_tool};

pub fn a_turn_that_timed_out_leaves_nothing_for_the_next_one(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
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

pub fn a_turn_that_timed_out_in_a_tool_takes_the_tool_with_it(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session_with(&world, "work", &["--agent-arg=--allowedTools=Bash"]);
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

pub fn a_signal_interrupts_the_turn_and_keeps_the_session(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
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

pub fn a_signal_takes_a_queued_turn_back(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
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

pub fn a_second_signal_leaves_at_once(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
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

pub fn an_agent_that_hangs_is_ended_and_its_conversation_goes_on(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
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
