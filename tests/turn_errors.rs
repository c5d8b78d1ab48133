//! Errors of turns: exit code, code, message, hint.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::io::Write;
use std::os::unix::net::UnixStream;

use clsess_proto::frame;
use harness::World;
use harness::told::{check, told};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

#[test]
fn turns_that_somebody_ended() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let held = |args: &[&str]| {
        world
            .api
            .rule("slow", json!([{"text": "late", "hold": "h"}]));
        let args = [&["send"], args, &["work", "slow"]].concat();
        let send = world.clsess(&args).spawn();
        world.api.wait_hold("h", 1);
        send
    };
    let send = held(&[]);
    send.signal(Signal::SIGINT);
    send.wait().fails(130);
    world.api.release("h");
    let interrupted = told(10, "interrupted", "the turn was interrupted", None);
    check(&world, &["result", "work"], b"", &interrupted);

    let send = held(&[]);
    let queued = world.clsess(&["send", "work", "queued"]).spawn();
    world.wait_queued("work", 1);
    queued.signal(Signal::SIGTERM);
    queued.wait().fails(143);
    let cancelled = told(10, "cancelled", "the turn was taken back", None);
    check(&world, &["result", "work"], b"", &cancelled);

    world.clsess(&["restart", "work"]).run().ok();
    assert_eq!(
        send.wait().fails(10).stderr,
        "clsess: the session was restarted\n"
    );
    world.api.release("h");
    let restarted = told(10, "restarted", "the session was restarted", None);
    check(&world, &["result", "work", "-2"], b"", &restarted);

    let send = held(&[]);
    let id = world.show("work")["id"].as_str().unwrap().to_owned();
    world.clsess(&["kill", "work"]).run().ok();
    send.wait().fails(10);
    world.api.release("h");
    let killed = told(10, "killed", "the session was killed", None);
    check(&world, &["result", &id], b"", &killed);

    world.session("work");
    let send = held(&["-o", "json"]);
    world.clsess(&["broker", "stop"]).run().ok();
    let stopped = told(11, "broker_stopping", "the broker was stopped", None);
    assert_eq!(send.wait().fails(11).json()["error"], stopped.json());
    world.api.release("h");
    check(&world, &["result", "work"], b"", &stopped);
}

#[test]
fn a_key_that_belongs_to_another_prompt() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let send = ["send", "--key", "k", "-o", "json", "work", "one"];
    let turn = world.clsess(&send).run().ok().json()["turn"].clone();
    let hint = format!("clsess result work {}", turn.as_str().unwrap());
    let message = "this key, or turn id, was used for another prompt";
    let expected = told(2, "key_conflict", message, hint.as_str());
    check(
        &world,
        &["send", "--key", "k", "work", "two"],
        b"",
        &expected,
    );
}

#[test]
fn the_loss_of_an_agents_conversation() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "hello");
    let lose = || {
        let id = world.show("work")["agent_session_id"].clone();
        let project = world.project().to_str().unwrap().replace(['/', '.'], "-");
        let file = format!("{project}/{}.jsonl", id.as_str().unwrap());
        let file = world.home().join(".claude/projects").join(file);
        std::fs::remove_file(&file).unwrap();
        (id.as_str().unwrap().to_owned(), file)
    };
    let hint = "put the file back, if there is a copy; the next send begins a new conversation, \
                and leaves this one as it is: clsess send work";
    let message = |(id, file): (String, std::path::PathBuf)| {
        let file = file.display();
        format!("the agent no longer has the conversation {id}: {file} is gone")
    };
    let lost = message(lose());
    let missing = told(1, "conversation_missing", &lost, hint);
    // Not before another agent needs it: this one has all of it in its memory.
    world.clsess(&["broker", "stop"]).run().ok();
    // Once, so not in each form that `check` looks at.
    let refused = |args: &[&str]| world.clsess(args).run().fails(1).stderr;
    assert_eq!(refused(&["send", "work", "hi"]), missing.text());
    let done = world.clsess(&["send", "work", "recall"]).run().ok();
    assert_eq!(done.text(), "(nothing earlier)\n");
    assert!(
        done.stderr.ends_with(": a new conversation is begun\n"),
        "{}",
        done.stderr
    );
    world.clsess(&["broker", "stop"]).run().ok();
    let lost = message(lose());
    let missing = told(1, "conversation_missing", &lost, hint);
    assert_eq!(refused(&["restart", "work"]), missing.text());
    world.clsess(&["restart", "--fresh", "work"]).run().ok();
    assert_eq!(world.send("work", "recall"), "(nothing earlier)\n");
}

#[test]
fn an_agent_that_died_before_it_wrote_anything_down_has_lost_no_conversation() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    agent.rule("first", json!(["begin", {"signal": "KILL"}]));
    world.clsess(&["send", "work", "first"]).run().fails(9);
    std::fs::remove_dir_all(world.home().join(".claude/projects")).unwrap();
    assert_eq!(world.send("work", "second"), "you said: second\n");
}

#[test]
fn the_last_words_of_an_agent_begin_no_new_conversation() {
    let Some((world, agent)) = World::fake(json!({"ignore": ["interrupt"]})) else {
        return;
    };
    world.session("work");
    agent.rule("slow", json!(["begin", {"hold": "h"}]));
    agent.add(json!({"on": "eof", "steps": [{"say": "last words"}]}));
    let send = world.clsess(&["send", "work", "slow"]).spawn();
    agent.wait_hold("h", 1);
    world.clsess(&["restart", "--fresh", "work"]).run().ok();
    send.wait().fails(10);
    assert_eq!(world.send("work", "second"), "you said: second\n");
}

#[test]
fn an_answer_that_could_not_be_read_whole_is_not_called_one() {
    let Some(mut world) = World::real() else {
        return;
    };
    world.garbled_agent("/garble me/{/\"type\":\"assistant\"/s/.*/{/}");
    world.session("work");
    world.api.answer("one", "garble me");
    let damaged = told(
        1,
        "answer_damaged",
        "what the agent printed could not be read whole, so the answer is not proven",
        "clsess result -o json shows what was read; the agent's transcript has the rest",
    );
    check(&world, &["send", "work", "one"], b"", &damaged);
    assert_eq!(world.send("work", "two"), "you said: two\n");
}

#[test]
fn a_prompt_that_cannot_be_journalled_is_not_sent() {
    let Some(world) = World::real() else { return };
    // A limit on the size of files is a full disk for those who write more.
    let start = "trap '' XFSZ; ulimit -f 2048; clsess broker start";
    world.shell(start).run().ok();
    world.session("work");
    let send = world
        .clsess(&["send", "-o", "json", "work"])
        .stdin("x".repeat(3 << 20));
    let done = send.run().fails(1);
    let full = told(
        1,
        "journal_failed",
        "the journal cannot be written: File too large (os error 27), so nothing was sent",
        "see whether the disk is full: df -h; where it is: clsess broker status",
    );
    assert_eq!(done.json()["error"], full.json());
    assert_eq!(done.stderr, full.text());
    assert_eq!(world.send("work", "a short one"), "you said: a short one\n");
    assert_eq!(world.api.prompts(0), ["a short one"]);
}

#[test]
fn a_queue_that_is_full_takes_no_more() {
    let Some(mut world) = World::bare() else {
        return;
    };
    world.idle_agent();
    world.session("work");
    let mut stream = UnixStream::connect(world.socket()).unwrap();
    let mut input = stream.try_clone().unwrap();
    let hello = json!({"type": "hello", "protocol": clsess_proto::PROTOCOL, "version": "1"});
    input.write_all(&frame::to_wire(&hello).unwrap()).unwrap();
    // The agent has the first one.
    let requests: Vec<u8> = (0..=10_000)
        .flat_map(|id| {
            let send = json!({
                "op": "send", "session": "work", "prompt": "x", "wait": false,
                "turn": format!("00000000-0000-4000-8000-{id:012}"),
            });
            let request = json!({"type": "request", "id": id + 1, "request": send});
            frame::to_wire(&request).unwrap()
        })
        .collect();
    std::thread::spawn(move || input.write_all(&requests));
    for _ in 0..10_002 {
        let answer = frame::read(&mut stream).unwrap().unwrap();
        let answer: Value = frame::decode(&answer).unwrap();
        assert_ne!(answer["type"], "error", "{answer}");
    }
    let full = told(1, "too_many", "10000 turns wait already in work", None);
    check(&world, &["send", "work", "one more"], b"", &full);
}
