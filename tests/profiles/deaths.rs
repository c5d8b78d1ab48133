//! Deaths of the broker and of the program.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::random::Random;
use crate::harness::{alive, send_signal, until};
use crate::{answer, shows, world};

/// How often the broker is killed at some moment of a turn.
const ROUNDS: u64 = 6;
/// A broker that dies five times in ten seconds is left to people.
const APART: Duration = Duration::from_millis(2600);

#[test]
fn a_turn_outlives_the_broker_with_its_answer() {
    let Some(world) = world("") else { return };
    assert_eq!(answer(&world, "sh", "x=kept"), "");
    let program = world.agent("sh");
    let script = "seq 3; until [ -e go ]; do sleep 0.01; done; printf '%s end' $x";
    let send = world.clsess(&["send", "sh", script]).spawn();
    shows(&world, "sh", "\n3\n");
    world.kill_broker();
    // Its screen may have been saved meanwhile, and its answer has to be whole all the same.
    world.clsess(&["capture", "sh"]).run().ok();
    world.kill_broker();
    std::fs::write(world.project().join("go"), "").unwrap();
    assert_eq!(send.wait().ok().text(), "1\n2\n3\nkept end\n");
    assert_eq!(world.agent("sh"), program);
    assert_eq!(answer(&world, "sh", "echo $x"), "kept\n");
}

#[test]
fn long_answers_outlive_the_broker_at_any_moment() {
    let Some(world) = world("") else { return };
    assert_eq!(answer(&world, "sh", "cd ."), "");
    let mut random = Random::from_environment();
    for round in 0..ROUNDS {
        let began = Instant::now();
        let count = 2000 + random.below(120_000);
        // Counts how often it was run.
        let prompt = format!("echo x >>ran{round}; seq {count}");
        let send = world.clsess(&["send", "sh", &prompt]).spawn();
        thread::sleep(Duration::from_micros(random.below(120_000)));
        world.kill_broker();
        let expected: String = (1..=count).map(|number| format!("{number}\n")).collect();
        let done = send.wait().ok();
        assert!(
            done.text() == expected,
            "round {round}: {} bytes",
            done.stdout.len()
        );
        let ran = std::fs::read_to_string(world.project().join(format!("ran{round}"))).unwrap();
        assert_eq!(ran, "x\n", "round {round}");
        thread::sleep(APART.saturating_sub(began.elapsed()));
    }
    let log = world
        .clsess(&["log", "--json", "sh"])
        .run()
        .ok()
        .json_lines();
    assert_eq!(log.len(), 1 + usize::try_from(ROUNDS).unwrap());
}

#[test]
fn a_turn_whose_program_dies_is_unknown_and_what_waits_runs_in_the_next() {
    let Some(world) = world("") else { return };
    assert_eq!(answer(&world, "sh", "x=kept; echo $x"), "kept\n");
    let program = world.agent("sh");
    let send = world
        .clsess(&[
            "send",
            "-o",
            "json",
            "sh",
            "echo x >>ran; echo 'ru''ns'; sleep 100",
        ])
        .spawn();
    shows(&world, "sh", "\nruns\n");
    let waits = world.clsess(&["send", "sh", "echo \"<$x>\""]).spawn();
    world.wait_queued("sh", 1);
    send_signal(program, Signal::SIGKILL);
    let died = send.wait().fails(9);
    assert_eq!(died.json()["outcome"], "unknown");
    assert_eq!(waits.wait().ok().text(), "<>\n");
    assert!(world.agent("sh") != program);
    assert_eq!(
        std::fs::read_to_string(world.project().join("ran")).unwrap(),
        "x\n"
    );
}

#[test]
fn a_program_that_is_told_to_exit_does() {
    let Some(world) = world("") else { return };
    assert_eq!(answer(&world, "sh", "x=1"), "");
    let program = world.agent("sh");
    let left = world
        .clsess(&["send", "-o", "json", "sh", "exit 4"])
        .run()
        .fails(9);
    assert_eq!(left.json()["outcome"], json!("unknown"));
    until("it is gone", || !alive(program));
    assert_eq!(answer(&world, "sh", "echo \"<$x>\""), "<>\n");
    // Also while nothing runs.
    let program = world.agent("sh");
    send_signal(program, Signal::SIGKILL);
    until("it is gone", || !alive(program));
    assert_eq!(answer(&world, "sh", "echo again"), "again\n");
    // A restart is another one as well.
    world.clsess(&["restart", "sh"]).run().ok();
    assert_eq!(answer(&world, "sh", "echo restarted"), "restarted\n");
}

#[test]
fn everything_dies_at_once() {
    let Some(world) = world("") else { return };
    assert_eq!(answer(&world, "sh", "echo first"), "first\n");
    let send = [
        "send",
        "--no-wait",
        "sh",
        "echo x >>ran; echo 'ru''ns'; sleep 100",
    ];
    let turn = world.clsess(&send).run().ok().text().trim().to_owned();
    shows(&world, "sh", "\nruns\n");
    world.kill_everything();
    let lost = world.clsess(&["result", "sh", &turn]).run().fails(9);
    assert!(lost.stderr.contains("died"), "{}", lost.stderr);
    assert_eq!(answer(&world, "sh", "cat ran"), "x\n");
}
