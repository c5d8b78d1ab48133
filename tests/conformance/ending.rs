//! How turns end otherwise: by time, by a signal, by a death.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::driver::{Ability, Driver};
use crate::harness::random::Random;
use crate::harness::{World, alive, send_signal, until};
use crate::moments::{pass, slowly};
use crate::turns::{held, in_a_tool, usable, usable_after_a_tool};

pub fn a_turn_that_timed_out_leaves_nothing_for_the_next_one(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let done = held(&world, &["--timeout", "3s"]).wait().fails(124);
    assert_eq!(done.stdout, b"");
    let (first, hint) = done.stderr.split_once('\n').unwrap();
    assert!(
        first.starts_with("clsess: the turn was interrupted after 3.") && first.ends_with(" s"),
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
    let (send, tool) = in_a_tool(&world, &["--timeout", "3s"]);
    let done = send.wait().fails(124);
    assert_eq!(done.stdout, b"");
    until("the tool is gone", || !alive(tool));
    usable_after_a_tool(&world, "work", 0);
}

pub fn a_timeout_before_the_first_byte_and_between_two_attempts(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let late = json!([{"text": "late", "hold": "h"}]);
    world.api.rule("silent", late);
    world.api.rule_repeat("busy", json!([{"status": 529}]));
    // The client gives a busy provider up after some 2 s here.
    for (prompt, timeout) in [("silent", "3s"), ("busy", "1s")] {
        let before = world.api.next();
        let args = ["send", "--timeout", timeout, "work", prompt];
        let done = world.clsess(&args).run().fails(124);
        assert_eq!(done.stdout, b"", "{prompt}");
        world.api.release("h");
        usable(&world);
        let mut prompts = world.api.prompts(before);
        prompts.dedup();
        assert_eq!(prompts, [prompt, "and now?"]);
    }
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

pub fn a_signal_before_the_first_byte_and_between_two_attempts(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    world
        .api
        .rule("silent", json!([{"text": "late", "hold": "h"}]));
    world.api.rule_repeat("busy", json!([{"status": 529}]));
    for (prompt, requests) in [("silent", 1), ("busy", 2)] {
        let before = world.api.next();
        let earlier = u64::try_from(world.api.main_requests(0).len()).unwrap();
        let send = world.clsess(&["send", "work", prompt]).spawn();
        world.api.wait_main(earlier + requests);
        send.signal(Signal::SIGINT);
        let done = send.wait().fails(130);
        assert_eq!(done.stdout, b"", "{prompt}");
        world.api.release("h");
        usable(&world);
        let mut prompts = world.api.prompts(before);
        prompts.dedup();
        assert_eq!(prompts, [prompt, "and now?"]);
    }
}

pub fn a_signal_at_any_moment_leaves_nothing_for_the_next_turn(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let mut random = Random::from_environment();
    let (mut turns, mut interrupted) = (0, 0);
    for number in 0..20 {
        let prompt = format!("prompt {number:02}");
        let answer = slowly(&world, &prompt) + "\n";
        let before = world.api.next();
        let send = world.clsess(&["send", "work", &prompt]).spawn();
        pass(&mut random);
        if send.runs() {
            send_signal(send.pid, Signal::SIGINT);
        }
        let done = send.wait();
        usable(&world);
        turns += 1;
        let began = world.show("work")["turns"] != turns;
        turns += u64::from(began);
        println!("{prompt}: {}, began: {began}", done.code);
        let mut prompts = world.api.prompts(before);
        assert_eq!(prompts.pop().unwrap(), "and now?");
        // The agent may not have asked the model yet; twice it never does.
        assert!(prompts.is_empty() || began && prompts == [&*prompt]);
        // Nothing, or all of it where the turn was over first.
        let whole = began && {
            let turn = world.clsess(&["result", "-o", "json", "work", "-2"]).run();
            turn.json()["outcome"] == "completed"
        };
        assert_eq!(done.text(), if whole { &*answer } else { "" }, "{prompt}");
        match done.code {
            0 => assert!(whole, "{prompt}"),
            130 => interrupted += usize::from(began && !whole),
            // The signal came before the command could take it.
            code => assert_eq!((code, began), (-2, false), "{}", done.stderr),
        }
    }
    assert!(interrupted > 0, "every client was too fast");
}

pub fn a_signal_in_a_tool_takes_the_tool_with_it(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session_with(&world, "work", &["--agent-arg=--allowedTools=Bash"]);
    let (send, tool) = in_a_tool(&world, &[]);
    send.signal(Signal::SIGINT);
    let done = send.wait().fails(130);
    assert_eq!(done.stdout, b"");
    until("the tool is gone", || !alive(tool));
    usable_after_a_tool(&world, "work", 0);
}

pub fn what_was_printed_of_an_interrupted_turn_does_not_come_again(driver: &Driver) {
    if !driver.can(Ability::TellsPieces) {
        return;
    }
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let send = held(&world, &["--stream", "always"]);
    send.wait_stdout(|out| out == b"half an ");
    send.signal(Signal::SIGINT);
    let done = send.wait().fails(130);
    assert_eq!(done.text().trim_end(), "half an");
    world.api.release("h");
    let next = world.clsess(&["send", "--stream", "always", "work", "and now?"]);
    assert_eq!(next.run().ok().text(), "you said: and now?\n");
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
    let send = held(&world, &["--timeout", "3s"]);
    let agent = world.agent("work");
    send_signal(agent, Signal::SIGSTOP);
    send.wait().fails(124);
    // One that is woken to be ended may end its turn first.
    until("it is gone", || !alive(agent));
    world.api.release("h");
    let recalled = world.send("work", "recall");
    assert_eq!(recalled.lines().next(), Some("remember me"), "{recalled}");
    assert_ne!(world.agent("work"), agent);
}

pub fn a_turn_in_which_the_agent_dies_is_finished_by_the_next_one(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    assert_eq!(world.send("work", "remember me"), "you said: remember me\n");
    // A client that is killed sooner has not written it down, and the session says so.
    let id = world.show("work")["agent_session_id"].clone();
    let transcript = world.transcript(id.as_str().unwrap());
    until("it is written down", || {
        let text = std::fs::read_to_string(&transcript).unwrap_or_default();
        text.contains("you said: remember me")
    });
    let send = held(&world, &[]);
    send_signal(world.agent("work"), Signal::SIGKILL);
    let done = send.wait().ok();
    assert_eq!(done.text(), "you said: slow\n");
    assert_eq!(
        done.stderr,
        "clsess: the agent died once in this turn, and another one was given the prompt\n"
    );
    let recalled = world.send("work", "recall");
    assert_eq!(recalled.lines().next(), Some("remember me"), "{recalled}");
}
