//! The crate for Rust programs, `clsess-client`, with the real client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::path::PathBuf;

use clsess_client::surroundings::{Named, Surroundings};
use clsess_client::{Clsess, ErrorCode, EventKind, Outcome};
use harness::{CLSESS, World, send_signal, until};
use nix::sys::signal::Signal;
use serde_json::json;

/// Where a world's broker is.
fn surroundings(world: &World) -> Surroundings {
    let found = Surroundings::find(Named {
        socket: Some(world.socket()),
        program: Some(CLSESS.into()),
        ..Named::default()
    });
    Surroundings {
        state_dir: world.state(),
        ..found.unwrap()
    }
}

fn run<T>(works: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(works)
}

#[test]
fn a_prompt_has_its_answer() {
    let Some(world) = World::real() else { return };
    world.session("work");
    run(async {
        let mut clsess = Clsess::at(surroundings(&world)).await.unwrap();
        for prompt in ["one", " /two\n", "three ☃"] {
            let turn = clsess.send("work", prompt).await.unwrap();
            assert_eq!(turn.answer.unwrap(), format!("you said: {prompt}"));
        }
        let rows = clsess.sessions().await.unwrap();
        assert_eq!((rows.len(), rows[0].turns), (1, 3));
        let failure = clsess.send("nobody", "x").await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::NoSuchSession);
        world.api.rule_repeat("fail", json!([{"status": 400}]));
        let failure = clsess.send("work", "fail").await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::AgentError);
        // The same id is the same turn.
        let send = clsess.prompt("work", "once");
        for _ in 0..2 {
            let turn = clsess.turn(send.clone(), |_| ()).await.unwrap();
            assert_eq!(turn.answer.unwrap(), "you said: once");
        }
    });
    let once = world.api.prompts(0);
    assert_eq!(once.iter().filter(|prompt| *prompt == "once").count(), 1);
}

#[test]
fn a_turn_is_told_once_over_the_death_of_a_broker() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let slow =
        json!([{"text": "slowly but surely", "delta_bytes": 3, "hold": "h", "hold_after": 2}]);
    world.api.rule("slow", slow);
    let broker = world.broker();
    let (mut text, mut killed) = (String::new(), false);
    let turn = run(async {
        let mut clsess = Clsess::at(surroundings(&world)).await.unwrap();
        let mut send = clsess.prompt("work", "slow");
        send.events = true;
        let told = |event: clsess_client::Event| {
            if let EventKind::Text { text: piece, .. } = event.kind {
                text.push_str(&piece);
                if !std::mem::replace(&mut killed, true) {
                    send_signal(broker, Signal::SIGKILL);
                    world.api.release("h");
                }
            }
        };
        clsess.turn(send, told).await.unwrap()
    });
    assert_eq!(turn.outcome, Outcome::Completed);
    assert_eq!(turn.answer.as_deref(), Some("slowly but surely"));
    // Of a turn that is over nothing more is told: the report has all of it.
    assert!("slowly but surely".starts_with(&text), "{text}");
    assert_eq!(world.api.prompts(0), ["slow"]);
}

/// The example, as a program of its own.
#[test]
fn the_example_asks_and_answers() {
    let Some(world) = World::real() else { return };
    let example: PathBuf = PathBuf::from(CLSESS).with_file_name("examples/ask");
    if !example.exists() {
        assert!(
            std::env::var_os("CI").is_none(),
            "cargo build -p clsess-client --examples"
        );
        println!("skipped: the example is not built");
        return;
    }
    let directory = world.project();
    let example = example.to_str().unwrap();
    // Nothing is there yet: no broker, no session.
    let bin = PathBuf::from(CLSESS);
    let path = format!(
        "{}:{}",
        bin.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let ask = |words: &[&str]| {
        let args = [&[directory.to_str().unwrap(), "work"], words].concat();
        let path = world
            .env()
            .into_iter()
            .find(|(name, _)| *name == "PATH")
            .map_or(path.clone(), |(_, own)| {
                format!("{}:{own}", bin.parent().unwrap().display())
            });
        world.program(example, &args).env("PATH", path).run()
    };
    assert_eq!(ask(&["hello", "you"]).ok().text(), "you said: hello you");
    let done = ask(&["again"]).ok();
    assert_eq!(
        (done.text(), done.stderr.as_str()),
        ("you said: again", "you said: again")
    );
    until("it is idle", || world.show("work")["turns"] == 2);
    let done = ask(&[" "]);
    assert_eq!(done.code, 2, "{done:?}");
}
