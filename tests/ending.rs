//! How turns end otherwise: by time, by a question, by a signal, by a death.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::{Running, World, alive, send_signal, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// A send whose answer stands still after its first words; it has said them.
fn held(world: &World, args: &[&str]) -> Running {
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
fn usable(world: &World) {
    assert_eq!(world.send("work", "and now?"), "you said: and now?\n");
}

const AFTER_A_TOOL: &str = "said after the tool";

/// The same after a turn that was ended in a tool. The client puts the next prompt behind the
/// tool's result then, and fake-api may take it for the same turn: its second step must be
/// [`AFTER_A_TOOL`] too.
#[track_caller]
fn usable_after_a_tool(world: &World) {
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
fn zero_is_no_timeout_and_the_config_sets_another() {
    let Some(world) = World::real() else { return };
    world.config("[defaults]\nturn_timeout = '1s'\n");
    world.session("work");
    held(&world, &[]).wait().fails(124);
    world.api.release("h");
    let send = held(&world, &["--timeout", "0"]);
    world.api.release("h");
    assert_eq!(send.wait().ok().text(), "half an answer\n");
}

/// A tool call that needs a permission.
fn write_tool(world: &World) -> Value {
    let input = json!({"file_path": world.project().join("new"), "content": "x"});
    json!([{"blocks": [{"tool": {"name": "Write", "input": input}}]}, {"text": AFTER_A_TOOL}])
}

#[test]
fn a_question_is_denied_by_default_and_told() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.api.rule("write", write_tool(&world));
    for args in [
        &["send"][..],
        &["send", "--on-question", "deny"],
        &["send", "-q"],
    ] {
        let args = [args, &["work", "write"]].concat();
        let done = world.clsess(&args).run().ok();
        assert_eq!(done.text(), format!("{AFTER_A_TOOL}\n"));
        let input = json!({"file_path": world.project().join("new"), "content": "x"});
        let denied: Value = serde_json::from_str(
            done.stderr
                .strip_prefix("clsess: denied: Write ")
                .unwrap_or_else(|| panic!("{}", done.stderr)),
        )
        .unwrap();
        assert_eq!(denied, input);
    }
    assert!(!world.project().join("new").exists());
    let body = world.api.body(world.api.next() - 1).to_string();
    assert!(
        body.contains("Nobody is there to answer"),
        "the agent was not told"
    );
}

#[test]
fn a_question_ends_the_turn_where_that_is_wanted() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.api.rule("write", write_tool(&world));
    let args = ["send", "--on-question", "fail", "work", "write"];
    let done = world.clsess(&args).run().fails(6);
    assert_eq!(done.stdout, b"");
    assert!(
        done.stderr.ends_with(
            "clsess: the agent asks for permission to use Write\n\
             hint: allow it beforehand (--permission-mode, or permissions.allow in the agent's settings), \
             or answer it: --on-question wait\n"
        ),
        "{}",
        done.stderr
    );
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

#[test]
fn an_agent_that_died_idle_is_started_again_by_the_next_prompt() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "remember me");
    world.wait_state("work", "idle");
    let agent = world.agent("work");
    send_signal(agent, Signal::SIGKILL);
    world.wait_state("work", "asleep");
    assert_eq!(
        world.show("work")["last_error"]["message"],
        "the agent died, signal 9"
    );
    assert_eq!(world.send("work", "recall"), "remember me\n");
}

#[test]
fn a_turn_that_nobody_asked_for_is_no_part_of_an_asked_one() {
    let Some(world) = World::real() else { return };
    let new = ["new", "work", "--agent-arg=--allowedTools=Bash"];
    world.clsess(&new).run().ok();
    let go = world.project().join("go");
    let command = format!("until [ -e {} ]; do sleep 0.05; done", go.display());
    let input = json!({"command": command, "run_in_background": true});
    let tool = json!({"tool": {"name": "Bash", "input": input}});
    let begun = json!([{"blocks": [tool]}, {"text": "begun"}]);
    world.api.rule("begin", begun);
    world.api.ask(json!({
        "cmd": "rule", "match": null, "kind": "notification",
        "respond": [{"text": "said unasked", "hold": "n"}]
    }));
    assert_eq!(world.send("work", "begin"), "begun\n");
    std::fs::write(&go, "").unwrap();
    world.api.wait_hold("n", 1);
    assert_eq!(world.show("work")["state"], "working");
    let next = world.clsess(&["send", "work", "next"]).spawn();
    world.wait_queued("work", 1);
    world.api.release("n");
    assert_eq!(next.wait().ok().text(), "you said: next\n");
    usable(&world);
    // What nobody asked for is a turn too.
    assert_eq!(world.show("work")["turns"], 4);
}

#[test]
fn whoever_only_looks_leaves_the_turn_alone() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let send = held(&world, &[]);
    let looking = world
        .clsess(&["result", "--stream", "always", "work"])
        .spawn();
    looking.wait_stdout(|out| out == b"half an ");
    looking.signal(Signal::SIGINT);
    looking.wait().fails(130);
    world.api.release("h");
    assert_eq!(send.wait().ok().text(), "half an answer\n");
}

#[test]
fn a_client_that_vanishes_leaves_its_turn_running() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let send = held(&world, &[]);
    send.signal(Signal::SIGKILL);
    assert_eq!(send.wait().code, -9);
    world.api.release("h");
    let result = world.clsess(&["result", "work"]).run().ok();
    assert_eq!(result.text(), "half an answer\n");
}

#[test]
fn a_reader_that_goes_away_leaves_the_turn_running() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.api.rule(
        "slow",
        json!([{"text": "an answer", "delta_bytes": 2, "hold": "h", "hold_after": 2}]),
    );
    let script =
        "clsess send --stream always work slow | head -c 1 >/dev/null; echo ${PIPESTATUS[0]}";
    let shell = world.shell(script).spawn();
    world.api.wait_hold("h", 1);
    world.api.release("h");
    assert_eq!(shell.wait().ok().text(), "141\n");
    let result = world.clsess(&["result", "work"]).run().ok();
    assert_eq!(result.text(), "an answer\n");
    // Without --stream the answer is written at the end: the reader has to be gone by then.
    world
        .api
        .rule("more", json!([{"text": "more of it", "hold": "m"}]));
    let script = "clsess send work more | exec sleep 0; echo ${PIPESTATUS[0]}";
    let shell = world.shell(script).spawn();
    world.api.wait_hold("m", 1);
    until("the reader is gone", || {
        let reads = |what: &str| what.starts_with("sleep") || what.starts_with("bash");
        let all = world.processes();
        // What is left of the pipeline is the shell that waits for it.
        all.iter().filter(|(_, what)| reads(what)).count() == 1
    });
    world.api.release("m");
    assert_eq!(shell.wait().ok().text(), "141\n");
    let result = world.clsess(&["result", "work"]).run().ok();
    assert_eq!(result.text(), "more of it\n");
}

/// Kills a process of the session in the middle of a turn.
fn death(world: &World, victim: &str, how: &str) {
    world.session("work");
    assert_eq!(world.send("work", "remember me"), "you said: remember me\n");
    let send = held(world, &[]);
    let pid = world.show("work")[victim].as_u64().unwrap();
    send_signal(u32::try_from(pid).unwrap(), Signal::SIGKILL);
    let done = send.wait().fails(9);
    assert_eq!(done.stdout, b"");
    assert_eq!(
        done.stderr,
        format!(
            "clsess: the agent died, {how}\n\
             hint: what it did is in its conversation; the next send takes it up again\n"
        )
    );
    let result = world.clsess(&["result", "-o", "json", "work"]).run();
    assert_eq!(result.fails(9).json()["outcome"], "unknown");
}

#[test]
fn the_death_of_the_agent_in_a_turn_is_an_unknown_outcome() {
    let Some(world) = World::real() else { return };
    death(&world, "pid", "signal 9");
    let recalled = world.send("work", "recall");
    assert_eq!(recalled.lines().next(), Some("remember me"), "{recalled}");
}

#[test]
fn the_death_of_the_holder_is_the_death_of_its_agent() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let agent = world.agent("work");
    world.clsess(&["kill", "work"]).run().ok();
    assert!(!alive(agent));
    death(&world, "holder_pid", "its holder is gone");
    let agents = |world: &World| {
        let all = world.processes();
        all.iter()
            .filter(|(_, what)| what.contains("stream-json"))
            .count()
    };
    until("the agent is gone", || agents(&world) == 0);
    let recalled = world.send("work", "recall");
    assert_eq!(recalled.lines().next(), Some("remember me"), "{recalled}");
    assert_eq!(agents(&world), 1);
}
