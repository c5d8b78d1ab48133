//! Sleep and wake: after a time at rest, and where there is no room for one more.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::thread::sleep;
use std::time::{Duration, Instant};

use harness::tools::{background_bash, waits_for};
use harness::{World, alive, send_signal, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// The time at rest after which sessions of these tests fall asleep.
const IDLE_SLEEP: Duration = Duration::from_secs(1);

fn world_that_sleeps() -> Option<World> {
    let world = World::real()?;
    world.config("[defaults]\nidle_sleep = '1s'\n");
    Some(world)
}

/// The session has rested, had it been at rest.
fn would_sleep() {
    sleep(IDLE_SLEEP * 2);
}

/// Has an agent that is stopped fall asleep; its process.
fn stopped_while_it_falls_asleep(world: &World) -> u32 {
    world.session("work");
    world.send("work", "remember me");
    // On a machine that is very busy it may be faster than we are, but not each time.
    for _ in 0..10 {
        // One that is stopped before it has said that it is idle never is.
        let mut pid = None;
        until("it is at rest", || {
            let shown = world.show("work");
            pid = shown["pid"].as_u64();
            shown["state"] == "idle" || shown["state"] == "asleep"
        });
        if let Some(pid) = pid.and_then(|pid| u32::try_from(pid).ok()) {
            send_signal(pid, Signal::SIGSTOP);
            let mut shown = json!(null);
            until("it falls asleep", || {
                shown = world.show("work");
                shown["detail"] == "falls asleep" || shown["state"] == "asleep"
            });
            if shown["detail"] == "falls asleep" {
                assert_eq!(shown["state"], "idle");
                return pid;
            }
        }
        world.clsess(&["new", "-A", "work"]).run().ok();
    }
    panic!("it was asleep each time before it was stopped");
}

#[test]
fn a_session_at_rest_falls_asleep_and_wakes_with_its_context() {
    let Some(world) = world_that_sleeps() else {
        return;
    };
    world.session("work");
    world.send("work", "remember me");
    let (rests, agent) = (Instant::now(), world.agent("work"));
    world.wait_state("work", "asleep");
    assert!(rests.elapsed() >= IDLE_SLEEP / 2);
    assert!(!alive(agent));
    assert_eq!(world.processes().len(), 1, "only the broker is left");
    let shown = world.show("work");
    assert_eq!(
        (&shown["pid"], &shown["last_error"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(world.send("work", "recall"), "remember me\n");
    // `new -A` wakes it too, and who only looks does not.
    world.wait_state("work", "asleep");
    world.clsess(&["new", "-A", "work"]).run().ok();
    let agent = world.agent("work");
    until("it falls asleep", || {
        world.clsess(&["log", "work"]).run().ok();
        !alive(agent)
    });
    world.wait_state("work", "asleep");
    assert_eq!(world.send("work", "recall"), "remember me\nrecall\n");
}

#[test]
fn whoever_sends_meanwhile_wakes_it_again() {
    let Some(world) = world_that_sleeps() else {
        return;
    };
    let agent = stopped_while_it_falls_asleep(&world);
    let send = world.clsess(&["send", "--on-busy", "fail", "work", "recall"]);
    let send = send.spawn();
    world.wait_state("work", "restarting");
    send_signal(agent, Signal::SIGCONT);
    assert_eq!(send.wait().ok().text(), "remember me\n");
    // A stronger reason for the end wins.
    world.wait_state("work", "asleep");
    world.clsess(&["kill", "work"]).run().ok();
    assert_eq!(world.processes().len(), 1);
}

#[test]
fn a_restart_meanwhile_is_a_restart() {
    let Some(world) = world_that_sleeps() else {
        return;
    };
    let agent = stopped_while_it_falls_asleep(&world);
    let restart = world.clsess(&["restart", "work"]).spawn();
    world.wait_state("work", "restarting");
    send_signal(agent, Signal::SIGCONT);
    restart.wait().ok();
    assert_eq!(world.send("work", "recall"), "remember me\n");
}

#[test]
fn nothing_that_works_asks_has_background_work_or_a_timer_falls_asleep() {
    let Some(world) = world_that_sleeps() else {
        return;
    };
    world
        .clsess(&["new", "--agent-arg=--allowedTools=Bash", "work"])
        .run()
        .ok();
    let agent = world.agent("work");
    // It works.
    world
        .api
        .rule("slow", json!([{"text": "late", "hold": "h"}]));
    let slow = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    would_sleep();
    world.api.release("h");
    assert_eq!(slow.wait().ok().text(), "late\n");
    // It asks.
    let steps = json!([{"blocks": [world.write("new")]}, {"text": "written"}]);
    world.api.rule("write", steps);
    let write = ["send", "--on-question", "wait", "work", "write"];
    let write = world.clsess(&write).spawn();
    world.wait_state("work", "question");
    would_sleep();
    world.clsess(&["approve", "work"]).run().ok();
    assert_eq!(write.wait().ok().text(), "written\n");
    // It has work in the background, and is idle.
    let go = world.project().join("go");
    let tool = background_bash(&waits_for(&go));
    world
        .api
        .rule("begin", json!([{"blocks": [tool]}, {"text": "begun"}]));
    world.api.ask(json!({
        "cmd": "rule", "match": null, "kind": "notification", "respond": [{"text": "unasked"}]
    }));
    assert_eq!(world.send("work", "begin"), "begun\n");
    world.wait_state("work", "idle");
    assert_eq!(world.show("work")["background"], 1);
    would_sleep();
    assert_eq!(world.agent("work"), agent);
    // And then it has none, but a timer of its own, of which the client tells nobody.
    let job = json!({"cron": "0 0 1 1 *", "prompt": "a happy new year", "recurring": true});
    let tool = json!({"tool": {"name": "CronCreate", "input": job}});
    world
        .api
        .rule("set it", json!([{"blocks": [tool]}, {"text": "set"}]));
    std::fs::write(&go, "").unwrap();
    until("its report", || world.show("work")["turns"] == 4);
    assert_eq!(world.send("work", "set it"), "set\n");
    world.wait_state("work", "idle");
    would_sleep();
    let shown = world.show("work");
    assert_eq!(shown["detail"], "the agent has set itself a timer");
    assert_eq!(world.agent("work"), agent);
    // What it could not delete is still there; a restart ends it.
    let tool = json!({"tool": {"name": "CronDelete", "input": {"id": "no such job"}}});
    world
        .api
        .rule("delete it", json!([{"blocks": [tool]}, {"text": "hm"}]));
    assert_eq!(world.send("work", "delete it"), "hm\n");
    world.wait_state("work", "idle");
    would_sleep();
    assert_eq!(world.agent("work"), agent);
    world.clsess(&["restart", "work"]).run().ok();
    world.wait_state("work", "asleep");
    assert_eq!(world.show("work")["turns"], 6, "what it did unasked is one");
}

#[test]
fn a_broker_that_dies_meanwhile_is_followed_by_one_that_knows() {
    let Some(world) = world_that_sleeps() else {
        return;
    };
    let agent = stopped_while_it_falls_asleep(&world);
    let send = ["send", "--no-wait", "work", "recall"];
    world.clsess(&send).run().ok();
    send_signal(world.broker(), Signal::SIGKILL);
    world.wait_state("work", "restarting");
    send_signal(agent, Signal::SIGCONT);
    let result = world.clsess(&["result", "work"]).run().ok();
    assert_eq!(result.text(), "remember me\n");
    let shown = world.show("work");
    assert_eq!(shown["last_error"], json!(null), "that was no accident");
}

#[test]
fn an_agent_that_is_gone_when_the_next_broker_comes_has_slept() {
    let Some(world) = world_that_sleeps() else {
        return;
    };
    let agent = stopped_while_it_falls_asleep(&world);
    world
        .clsess(&["send", "--no-wait", "work", "recall"])
        .run()
        .ok();
    let (broker, holder) = (world.broker(), world.show("work")["holder_pid"].clone());
    send_signal(broker, Signal::SIGSTOP);
    send_signal(agent, Signal::SIGCONT);
    until("it sleeps", || !alive(agent));
    // It waits for its broker, to say how the agent has ended.
    let holder = u32::try_from(holder.as_u64().unwrap()).unwrap();
    send_signal(holder, Signal::SIGKILL);
    send_signal(broker, Signal::SIGKILL);
    // Nothing is held back, as it would be after the death of the machine.
    until("another broker has run it", || {
        let result = world.clsess(&["result", "work"]).run();
        result.code == 0 && result.text() == "remember me\n"
    });
}

// ---- max_warm ----

/// The sessions that have an agent, or start one, by what `ls` says: those that fall asleep have
/// made room already.
fn warm(world: &World) -> Vec<String> {
    let rows = world.clsess(&["ls", "--json"]).run().ok().json();
    let is_warm = |row: &&Value| match row["state"].as_str().unwrap() {
        "idle" => row["detail"] != "falls asleep",
        "starting" => row["detail"].is_null(),
        state => !["asleep", "restarting", "failed"].contains(&state),
    };
    let rows = rows["sessions"].as_array().unwrap().iter();
    let names = rows
        .filter(is_warm)
        .map(|row| row["name"].as_str().unwrap());
    names.map(str::to_owned).collect()
}

/// Waits until nothing but the broker and so many agents with their holders is left.
fn wait_agents(world: &World, count: usize) {
    until(&format!("{count} agents"), || {
        world.processes().len() == 1 + 2 * count
    });
}

#[test]
fn the_least_recently_used_session_makes_room() {
    let Some(world) = World::real() else { return };
    world.config("[defaults]\nmax_warm = 2\n");
    for name in ["a", "b"] {
        world.session(name);
        world.send(name, &format!("I am {name}"));
    }
    world.wait_state("b", "idle");
    world.send("a", "again");
    world.wait_state("a", "idle");
    world.session("c");
    assert_eq!(warm(&world), ["a", "c"]);
    world.wait_state("b", "asleep");
    wait_agents(&world, 2);
    // Now it is a's turn, which `ls` and `show` did not use.
    assert_eq!(world.send("b", "recall"), "I am b\n");
    assert_eq!(warm(&world), ["b", "c"]);
    // Who says that it wants one ready has used it.
    world.wait_state("b", "idle");
    world.clsess(&["new", "-A", "c"]).run().ok();
    assert_eq!(world.send("a", "recall"), "I am a\nagain\n");
    assert_eq!(warm(&world), ["a", "c"]);
    // One that is restarted keeps its place, one that dies or is killed gives it up.
    world.clsess(&["restart", "a"]).run().ok();
    assert_eq!(warm(&world), ["a", "c"]);
    send_signal(world.agent("a"), Signal::SIGKILL);
    world.wait_state("a", "asleep");
    world.clsess(&["kill", "c"]).run().ok();
    wait_agents(&world, 0);
    world.send("b", "x");
    world.send("a", "y");
    assert_eq!(warm(&world), ["a", "b"]);
    wait_agents(&world, 2);
}

#[test]
fn where_none_may_sleep_a_start_waits_and_its_time_does_not_run() {
    let Some(mut world) = World::bare() else {
        return;
    };
    world.idle_agent();
    world.config("[defaults]\nmax_warm = 1\nstart_timeout = '1s'\n");
    world.session("busy");
    world
        .clsess(&["send", "--no-wait", "busy", "hi"])
        .run()
        .ok();
    let first = world.clsess(&["new", "first"]).spawn();
    until("it waits", || {
        let ls = ["ls", "-F", "#{name} #{state}: #{detail}"];
        let says = "first starting: waits until a warm session may sleep (max_warm = 1)\n";
        world.clsess(&ls).run().ok().text().contains(says)
    });
    let second = world.clsess(&["new", "second"]).spawn();
    world.wait_event(|event| event["session"] == "second" && event["state"] == "starting");
    // The deadline of a prompt runs, also where its session is made for it.
    let late = ["send", "-A", "--deadline", "1500ms", "late", "hi"];
    world.clsess(&late).run().fails(124);
    world.clsess(&["kill", "late"]).run().ok();
    let late = ["send", "--deadline", "1ms", "first", "hi"];
    world.clsess(&late).run().fails(124);
    let queued = ["send", "--no-wait", "second", "hi"];
    world.clsess(&queued).run().ok();
    let queue = world.clsess(&["queue", "second"]).run().ok();
    assert!(
        queue.text().contains("room for its agent"),
        "{}",
        queue.text()
    );
    assert!(first.runs() && second.runs(), "longer than start_timeout");
    assert_eq!(warm(&world), ["busy"]);
    // The longest waiting has the room first; nothing was left for it to do, so it makes room.
    world.clsess(&["kill", "busy"]).run().ok();
    first.wait().ok();
    second.wait().ok();
    assert_eq!(warm(&world), ["second"]);
    world.wait_state("first", "asleep");
    // Nobody is started for a prompt that was taken back.
    let taken_back = world.clsess(&["send", "first", "hi"]).spawn();
    world.wait_queued("first", 1);
    world.clsess(&["queue", "first", "clear"]).run().ok();
    taken_back.wait().fails(10);
    world.wait_state("first", "asleep");
    wait_agents(&world, 1);
}

#[test]
fn what_another_broker_finds_counts_and_is_left_alone() {
    let Some(world) = World::real() else { return };
    world.config("[defaults]\nmax_warm = 2\n");
    for name in ["a", "b", "c", "d"] {
        world.session(name);
        world.send(name, &format!("I am {name}"));
        world.wait_state(name, "idle");
    }
    assert_eq!(warm(&world), ["c", "d"]);
    let slow = json!([{"text": "late", "hold": "h"}]);
    world.api.rule("slow", slow);
    let slow: Vec<_> = ["c", "d"]
        .map(|name| world.clsess(&["send", name, "slow"]).spawn())
        .into();
    world.api.wait_hold("h", 2);
    let recall: Vec<_> = ["a", "b"]
        .map(|name| world.clsess(&["send", name, "recall"]).spawn())
        .into();
    for name in ["a", "b"] {
        world.wait_queued(name, 1);
    }
    let agents = ["c", "d"].map(|name| world.agent(name));
    send_signal(world.broker(), Signal::SIGKILL);
    until("both are asked for again", || {
        world.show("a")["state"] == "starting" && world.show("b")["state"] == "starting"
    });
    assert_eq!(warm(&world), ["c", "d"]);
    assert_eq!(["c", "d"].map(|name| world.agent(name)), agents);
    world.api.release("h");
    for send in slow {
        assert_eq!(send.wait().ok().text(), "late\n");
    }
    let answers: Vec<_> = recall
        .into_iter()
        .map(|send| send.wait().ok().text().to_owned())
        .collect();
    assert_eq!(answers, ["I am a\n", "I am b\n"]);
    assert_eq!(warm(&world), ["a", "b"]);
    wait_agents(&world, 2);
}

#[test]
fn six_sessions_share_two_agents_and_a_broker_that_dies() {
    let Some(world) = World::real() else { return };
    world.config("[defaults]\nmax_warm = 2\nidle_sleep = '400ms'\n");
    let script = |n| {
        format!(
            "clsess new s{n} && clsess send s{n} I am {n} && clsess send s{n} and && clsess send s{n} recall"
        )
    };
    let clients: Vec<_> = (0..6).map(|n| world.shell(&script(n)).spawn()).collect();
    let mut most = 0;
    let mut kills = 0;
    while clients.iter().any(harness::Running::runs) {
        let warm = warm(&world);
        most = most.max(warm.len());
        assert!(warm.len() <= 2, "{warm:?}");
        let turns = world.clsess(&["ls", "-F", "#{turns}"]).run().ok();
        let turns: usize = turns
            .text()
            .lines()
            .map(|turns| turns.parse::<usize>().unwrap())
            .sum();
        if turns >= 4 * (kills + 1) && kills < 3 {
            kills += 1;
            send_signal(world.broker(), Signal::SIGKILL);
        }
    }
    for (n, client) in clients.into_iter().enumerate() {
        let expected = format!("s{n}\nyou said: I am {n}\nyou said: and\nI am {n}\nand\n");
        assert_eq!(client.wait().ok().text(), expected);
    }
    assert_eq!((most, kills), (2, 3));
    assert_eq!(world.api.prompts(0).len(), 18, "each once");
    wait_agents(&world, 0);
}
