//! What goes on while the broker is replaced.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clsess_proto::Request;
use serde_json::json;

use crate::harness::{World, until};
use crate::programs::{NEW, OLD, call, new, upgrade, version};

#[test]
fn an_idle_agent_stays() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "one");
    let agent = world.agent("work");
    upgrade(&world);
    assert_eq!(world.agent("work"), agent);
    assert_eq!(world.send("work", "two"), "you said: two\n");
    assert_eq!(world.agent("work"), agent);
    assert_eq!(world.api.prompts(0), ["one", "two"]);
    // Nothing to do, and back again.
    let same = new(&world, &["broker", "upgrade"]).run().ok();
    let pid = world.broker();
    let said = format!("clsess: the broker is this program already, {NEW} (pid {pid})\n");
    assert_eq!((same.text(), &same.stderr), ("", &said));
    let older = world.clsess(&["broker", "upgrade"]).run().fails(1);
    assert!(
        older.stderr.contains("the broker is newer (9.9.9)"),
        "{}",
        older.stderr
    );
    world.clsess(&["broker", "upgrade", "--force"]).run().ok();
    assert_eq!(version(&world), OLD);
    assert_eq!(world.send("work", "three"), "you said: three\n");
    assert_eq!(world.agent("work"), agent);
}

/// Everything that can be under way, at once.
#[test]
fn no_turn_is_lost_and_no_client_sees_an_error() {
    let Some(world) = World::real() else { return };
    world.allow_bash();
    let names = ["streams", "runs", "asks", "waits"];
    for name in names {
        world.session(name);
    }
    let half =
        json!([{"text": "half and the rest", "delta_bytes": 4, "hold": "h", "hold_after": 2}]);
    world.api.rule("stream it", half);
    world.api.rule("run it", world.bash_that_waits("ran"));
    let input = json!({"file_path": world.project().join("new"), "content": "x"});
    let write = json!({"blocks": [{"tool": {"name": "Write", "input": input}}]});
    world
        .api
        .rule("write it", json!([write, {"text": "wrote"}]));
    world
        .api
        .rule("slow", json!([{"text": "late", "hold": "h"}]));

    let send = |name: &str, prompt: &str| {
        let args = ["send", "--on-question", "wait", name, prompt];
        world.clsess(&args).spawn()
    };
    let mut clients = vec![
        (
            send("streams", "stream it"),
            "half and the rest\n".to_owned(),
        ),
        (send("runs", "run it"), "ran\n".to_owned()),
        (send("asks", "write it"), "wrote\n".to_owned()),
        (send("waits", "slow"), "late\n".to_owned()),
    ];
    world.api.wait_hold("h", 2);
    let began = world.project().join("began");
    until("the tool runs", || began.exists());
    world.wait_state("asks", "question");
    for n in 1..=6 {
        let prompt = format!("number {n}");
        clients.push((send("waits", &prompt), format!("you said: {prompt}\n")));
        world.wait_queued("waits", n);
    }
    let agents = |world: &World| names.map(|name| world.agent(name));
    let before = agents(&world);

    upgrade(&world);
    assert_eq!(agents(&world), before);
    assert_eq!(world.show("asks")["state"], "question");
    assert_eq!(world.show("waits")["queue"], 6);

    world.api.release("h");
    std::fs::write(world.project().join("goes-on"), "").unwrap();
    world.clsess(&["approve", "asks"]).run().ok();
    for (client, expected) in clients {
        let done = client.wait().ok();
        assert_eq!(done.text(), expected);
        // A question is told, once, and what became of it; else nothing.
        let told = done.stderr.matches("may Write be used").count();
        assert_eq!(told, usize::from(expected == "wrote\n"), "{}", done.stderr);
        assert!(told > 0 || done.stderr.is_empty(), "{}", done.stderr);
    }
    assert_eq!(agents(&world), before);
    assert_eq!(std::fs::read(began).unwrap(), b"x\n");
    assert!(world.project().join("new").exists());
    // Each prompt once; a turn with a tool asks the model again for its second half.
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for prompt in world.api.prompts(0) {
        *seen.entry(prompt).or_default() += 1;
    }
    for (prompt, times) in seen {
        let tool = ["run it", "write it"].contains(&prompt.as_str());
        assert_eq!(times, 1 + usize::from(tool), "{prompt}");
    }
}

/// Whatever is carried out and does not wait for anybody is answered, too: a request whose answer
/// does not come can be repeated.
#[test]
fn what_was_done_at_that_moment_was_answered() {
    let Some(mut world) = World::bare() else {
        return;
    };
    world.idle_agent();
    world.session("one");
    let done = AtomicBool::new(false);
    let rename = |session: &str, name: &str| {
        let (session, name) = (session.to_owned(), name.to_owned());
        call(&world, Request::Rename { session, name })
    };
    let is_there = |name: &str| loop {
        let session = name.to_owned();
        if let Some(answer) = call(&world, Request::Show { session }) {
            break answer["type"] == "reply";
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut name, mut other) = ("one", "two");
            while !done.load(Ordering::Relaxed) {
                match rename(name, other) {
                    Some(answer) => {
                        assert_eq!(answer["type"], "reply", "{answer}");
                        (name, other) = (other, name);
                    }
                    None => assert!(is_there(name), "it was done without an answer"),
                }
            }
        });
        for _ in 0..10 {
            upgrade(&world);
            world.clsess(&["broker", "upgrade", "--force"]).run().ok();
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// Clients that come all the time, and five brokers after one another.
#[test]
fn those_who_come_meanwhile_are_served() {
    let Some(world) = World::real() else { return };
    for n in 0..4 {
        world.session(&format!("s{n}"));
    }
    let script =
        |n| format!("for i in 1 2 3 4 5 6 7 8; do clsess send s{n} \"$i of {n}\" || exit; done");
    let clients: Vec<_> = (0..4).map(|n| world.shell(&script(n)).spawn()).collect();
    let mut longest = std::time::Duration::ZERO;
    for _ in 0..2 {
        for command in [
            new(&world, &["broker", "upgrade"]),
            world.clsess(&["broker", "upgrade", "--force"]),
        ] {
            let began = Instant::now();
            command.run().ok();
            longest = longest.max(began.elapsed());
        }
    }
    new(&world, &["broker", "upgrade"]).run().ok();
    println!("the longest upgrade took {longest:?}");
    for (n, client) in clients.into_iter().enumerate() {
        let expected: String = (1..=8).map(|i| format!("you said: {i} of {n}\n")).collect();
        let done = client.wait().ok();
        // A command that is older than the broker says nothing of it.
        assert_eq!((done.text(), done.stderr.as_str()), (&*expected, ""));
    }
    let mut prompts = world.api.prompts(0);
    assert_eq!(prompts.len(), 32);
    prompts.sort();
    prompts.dedup();
    assert_eq!(prompts.len(), 32);
}
