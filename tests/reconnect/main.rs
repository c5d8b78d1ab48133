//! What is asked once more after a broker's death is not done twice, and not told wrongly.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
mod names;
mod stop;

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{SystemTime, UNIX_EPOCH};

use clsess_proto::{ErrorCode, Failure, Hello, Reply, Request, ToBroker, ToClient, TurnId, frame};
use harness::{Done, PATIENCE, Running, World, alive, send_signal, until};
use nix::sys::signal::Signal;
use serde_json::json;

/// Asks as a client does that was not answered the first time.
fn again(world: &World, first_asked: u64, request: Request) -> Result<Reply, Failure> {
    let mut stream = UnixStream::connect(world.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut say = |message: &ToBroker| stream.write_all(&frame::to_wire(message).unwrap()).unwrap();
    say(&ToBroker::Hello(Hello::client()));
    say(&ToBroker::Request {
        id: 1,
        first_asked: Some(first_asked),
        request: Box::new(request),
    });
    loop {
        let bytes = frame::read(&mut stream).unwrap().expect("an answer");
        match frame::decode(&bytes).unwrap() {
            ToClient::Reply { reply, .. } => return Ok(*reply),
            ToClient::Error { error, .. } => return Err(error),
            _ => {}
        }
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// A turn whose answer is held.
fn held(world: &World, prompt: &str) -> Running {
    world
        .api
        .rule(prompt, json!([{"text": "late", "hold": prompt}]));
    let running = world.clsess(&["send", "work", prompt]).spawn();
    world.api.wait_hold(prompt, 1);
    running
}

fn turn(world: &World, selector: &str) -> TurnId {
    let words = ["result", "-o", "json", "work", selector];
    let turn = world.clsess(&words).run().json()["turn"].clone();
    turn.as_str().unwrap().parse().unwrap()
}

fn work() -> String {
    "work".to_owned()
}

#[test]
fn an_interrupt_is_of_the_turn_that_ran_when_it_was_asked_for() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let first = held(&world, "first");
    let asked = now();
    world.clsess(&["interrupt", "work"]).run().ok();
    first.wait().fails(10);
    let interrupted = Ok(Reply::Interrupted {
        turn: Some(turn(&world, "-1")),
    });
    let second = held(&world, "second");
    world.kill_broker();
    let request = Request::Interrupt { session: work() };
    assert_eq!(again(&world, asked, request.clone()), interrupted);
    // Nothing ran at that moment.
    let between = Ok(Reply::Interrupted { turn: None });
    second.signal(Signal::SIGINT);
    second.wait().fails(130);
    let third = held(&world, "third");
    assert_eq!(again(&world, 1, request), between);
    world.api.release("third");
    third.wait().ok();
}

#[test]
fn what_waits_is_taken_back_once() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let running = held(&world, "first");
    let send = |prompt: &str| {
        let sent = world.clsess(&["send", "--no-wait", "work", prompt]).run();
        sent.ok().text().trim().parse::<TurnId>().unwrap()
    };
    let (one, two) = (send("one"), send("two"));
    let asked = now();
    world.clsess(&["queue", "work", "rm", "-1"]).run().ok();
    let later = send("later");
    world.kill_broker();
    let remove = |turn: Option<TurnId>| Request::QueueRemove {
        session: work(),
        turn: turn.map(|turn| turn.to_string()),
    };
    let removed = |turns: &[TurnId]| {
        let turns = turns.to_vec();
        Ok(Reply::Removed { turns })
    };
    assert_eq!(again(&world, asked, remove(Some(two))), removed(&[two]));
    // All that waited then, but not what came after it.
    assert_eq!(again(&world, asked, remove(None)), removed(&[two, one]));
    let failure = again(&world, now(), remove(Some(two))).unwrap_err();
    assert_eq!(failure.code, ErrorCode::NoSuchTurn);
    world.api.release("first");
    running.wait().ok();
    let done = world.clsess(&["result", "work", &later.to_string()]).run();
    assert_eq!(done.ok().text(), "you said: later\n");
}

#[test]
fn an_answer_that_was_given_is_given() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let input = json!({"file_path": world.project().join("new"), "content": "x"});
    let tool = json!({"tool": {"name": "Write", "input": input}});
    let script = json!([{"blocks": [tool]}, {"text": "written", "hold": "h"}]);
    world.api.rule("write", script);
    let send = ["send", "--on-question", "wait", "work", "write"];
    let running = world.clsess(&send).spawn();
    world.wait_state("work", "question");
    let questions = world.clsess(&["questions", "--json"]).run().ok().json();
    let id = questions["questions"][0]["id"].as_str().unwrap().to_owned();
    let asked = now();
    world.clsess(&["approve", "work"]).run().ok();
    world.api.wait_hold("h", 1);
    world.kill_broker();
    let approve = |always| Request::Approve {
        session: work(),
        question: Some(id.clone()),
        always,
    };
    assert_eq!(again(&world, asked, approve(false)), Ok(Reply::Done {}));
    let deny = Request::Deny {
        session: work(),
        question: Some(id.clone()),
        message: None,
    };
    for other in [approve(true), deny] {
        let failure = again(&world, asked, other).unwrap_err();
        assert_eq!(failure.code, ErrorCode::QuestionAnswered);
    }
    world.api.release("h");
    assert_eq!(running.wait().ok().text(), "written\n");
}

#[test]
fn sessions_are_made_and_killed_once() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    let id = world.show("work")["id"].as_str().unwrap().to_owned();
    let new = |id: &str| {
        let env = world.env().into_iter().map(|(name, value)| {
            let bytes = |text: &str| serde_bytes::ByteBuf::from(text);
            (bytes(name), bytes(&value))
        });
        Request::New(Box::new(clsess_proto::New {
            id: Some(id.parse().unwrap()),
            name: Some(work()),
            cwd: world.project().to_str().unwrap().to_owned(),
            env: env.collect(),
            settings: clsess_proto::Settings::default(),
            program: None,
            resume: None,
            trust: true,
            exists_ok: false,
            wait: true,
            start_timeout_ms: 0,
            umask: None,
        }))
    };
    world.kill_broker();
    let made = again(&world, 1, new(&id)).unwrap();
    let is_it = |reply: &Reply| match reply {
        Reply::Session { session, created } => session.id.to_string() == id && *created,
        _ => false,
    };
    assert!(is_it(&made), "{made:?}");
    let other = again(&world, 1, new("5b1f4d0b-23cb-42ec-9e2a-1fab493fd419"));
    assert_eq!(other.unwrap_err().code, ErrorCode::SessionExists);
    assert_eq!(agent.told("started").len(), 1);
    world.send("work", "hi");
    let asked = now();
    let killed = world.clsess(&["kill", "--json", "work"]).run().ok().json();
    world.session("work");
    world.kill_broker();
    let kill = Request::Kill {
        sessions: vec![id.clone()],
        all: false,
        grace_ms: 1000,
    };
    let sessions = match again(&world, asked, kill).unwrap() {
        Reply::Killed { sessions } => sessions,
        other => panic!("{other:?}"),
    };
    assert_eq!(json!({ "killed": sessions }), killed);
    assert_eq!(world.show("work")["state"], "idle", "it is another one");
    // What was killed is not made again, nor written over.
    let over = again(&world, 1, new(&id)).unwrap_err();
    assert_eq!(over.code, ErrorCode::SessionExists);
}

#[test]
fn an_agent_that_was_started_since_is_not_started_again() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    let asked = now();
    world.clsess(&["restart", "work"]).run().ok();
    world.kill_broker();
    let restart = |fresh| Request::Restart {
        session: work(),
        fresh,
        env: None,
        start_timeout_ms: 0,
    };
    again(&world, asked, restart(false)).unwrap();
    assert_eq!(agent.told("started").len(), 2);
    again(&world, now() + 100, restart(false)).unwrap();
    assert_eq!(agent.told("started").len(), 3);
    again(&world, asked, restart(true)).unwrap();
    assert_eq!(agent.told("started").len(), 4);
}

/// Commands whose answer takes a while, under which the broker dies.
#[test]
fn the_commands_find_the_next_broker() {
    let Some(world) = World::real() else { return };
    world.session("work");
    // An agent that is stopped does not end what it is told to.
    let stopped = |words: &[&str]| -> Done {
        let agent = world.agent("work");
        send_signal(agent, Signal::SIGSTOP);
        let command = world.clsess(words).spawn();
        until("the broker does it", || {
            let state = world.show("work")["state"].clone();
            state == "restarting" || state == "ending"
        });
        let broker = world.broker();
        send_signal(broker, Signal::SIGKILL);
        until("it is gone", || !alive(broker));
        send_signal(agent, Signal::SIGCONT);
        command.wait()
    };
    assert_eq!(stopped(&["restart", "work"]).ok().stderr, "");
    assert_eq!(world.send("work", "hi"), "you said: hi\n");
    let killed = stopped(&["kill", "work"]).ok();
    assert!(killed.text().starts_with("killed work ("), "{killed:?}");
    world.clsess(&["show", "work"]).run().fails(3);
}

/// stdout of a turn with a tool and a long answer, under which the broker dies as often; of a
/// session of its own, whose name is that number.
fn streamed(world: &World, options: &[&str], deaths: usize) -> Done {
    disturbed(world, options, &format!("of-{deaths}"), |_| {
        for _ in 0..deaths {
            world.kill_broker();
        }
        world.api.release("h");
    })
}

/// The same, with this in the middle of it, which releases the rest.
fn disturbed(world: &World, options: &[&str], name: &str, how: impl Fn(&Running)) -> Done {
    world.session(name);
    let echo = json!({"tool": {"name": "Bash", "input": {"command": "echo x"}}});
    let answer = json!({
        "text": "half of it, and half of a ☃, and the rest of it",
        "delta_bytes": 5, "hold": "h", "hold_after": 5
    });
    let look = json!({"blocks": [{"text": "I look."}, echo]});
    world.api.rule("look", json!([look, answer]));
    let words = [&["send"], options, &[name, "look"]].concat();
    let running = world.clsess(&words).spawn();
    world.api.wait_hold("h", 1);
    how(&running);
    let done = running.wait().ok();
    world.clsess(&["kill", name]).run().ok();
    done
}

/// The lines without what is another's in each turn.
fn comparable(done: &Done) -> Vec<serde_json::Value> {
    let mut lines = done.json_lines();
    for line in &mut lines {
        let line = line.as_object_mut().unwrap();
        assert!(line.remove("session").is_some());
        for field in [
            "seq",
            "turn",
            "agent_session_id",
            "duration_ms",
            "ttft_ms",
            "queued_ms",
        ] {
            line.remove(field);
        }
    }
    lines
}

/// The same twice, once without any death; in a world of its own, since a broker that dies five
/// times in ten seconds is not started by itself.
fn undisturbed_and_disturbed(options: &[&str]) -> Option<[Done; 2]> {
    let world = World::real()?;
    Some([0, 2].map(|deaths| streamed(&world, options, deaths)))
}

#[test]
fn nothing_is_printed_twice_or_lost_when_the_broker_dies_in_the_middle() {
    for options in ["--stream=never", "--stream=always", "-ojson"] {
        let Some([undisturbed, disturbed]) = undisturbed_and_disturbed(&[options]) else {
            return;
        };
        assert_eq!(disturbed.stderr, undisturbed.stderr);
        if options == "-ojson" {
            assert_eq!(comparable(&disturbed), comparable(&undisturbed));
        } else {
            assert_eq!(disturbed.text(), undisturbed.text(), "{options}");
        }
    }
}

#[test]
fn nor_is_an_event() {
    let options = ["-o", "stream-json"];
    let Some([undisturbed, disturbed]) = undisturbed_and_disturbed(&options) else {
        return;
    };
    assert_eq!(comparable(&disturbed), comparable(&undisturbed));
}

/// The turn is over before the command that waits for it asks the next broker.
#[test]
fn nor_is_one_that_came_while_nobody_asked() {
    let Some(world) = World::real() else { return };
    let options = ["-o", "stream-json"];
    let undisturbed = streamed(&world, &options, 0);
    let late = disturbed(&world, &options, "late", |running| {
        running.signal(Signal::SIGSTOP);
        world.kill_broker();
        world.api.release("h");
        world.clsess(&["wait", "--for", "idle", "late"]).run().ok();
        running.signal(Signal::SIGCONT);
    });
    assert_eq!(comparable(&late), comparable(&undisturbed));
}

#[test]
fn a_broker_that_dies_over_and_over_is_left_to_people() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let agent = world.agent("work");
    let running = held(&world, "slow");
    let queued = world.clsess(&["send", "--no-wait", "work", "queued"]).run();
    let queued = queued.ok().text().trim().to_owned();
    // The first one began with the session.
    for _ in 0..4 {
        world.kill_broker();
    }
    let broker = world.broker();
    send_signal(broker, Signal::SIGKILL);
    let died = "clsess: the broker cannot be started: the broker has died 5 times in 10 seconds; \
                the agents go on without it\n\
                hint: clsess broker logs; to try again: clsess broker start\n";
    assert_eq!(running.wait().fails(11).stderr, died);
    assert_eq!(world.clsess(&["ls"]).run().fails(11).stderr, died);
    world.clsess(&["broker", "status"]).run().fails(11);
    assert!(alive(agent), "its holder keeps it");
    // By hand, that which ran and that which waited too.
    world.clsess(&["broker", "start"]).run().ok();
    assert_eq!(world.show("work")["state"], "working");
    assert_eq!(world.agent("work"), agent);
    world.api.release("slow");
    let result = |turn: &str| world.clsess(&["result", "work", turn]).run().ok();
    assert_eq!(result(&queued).text(), "you said: queued\n");
    assert_eq!(result("-2").text(), "late\n");
    assert_eq!(world.api.prompts(0), ["slow", "queued"]);
}
