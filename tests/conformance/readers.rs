//! Readers of stdout that are slow, or go away.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::driver::{Ability, Driver};
use crate::harness::{World, until};

/// More pieces of an answer than the broker keeps for a reader that falls behind, and the sockets
/// and pipes between them hold.
const MANY_PIECES: usize = 25_000;

pub fn a_long_answer_streams_whole_past_a_slow_reader(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let (line, times) = ("a line of a long answer\n", MANY_PIECES);
    let text = json!({"text": line, "times": times});
    let respond = json!([{"repeat_text": text, "delta_bytes": line.len()}]);
    world.api.rule("long", respond);
    // The reader begins when everything has long been said.
    let script = "clsess send --stream always work long | (read -r x <go; cat)";
    let fifo = world.project().join("go");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let reader = world.shell(script).spawn();
    world.api.wait_main(1);
    let result = world.clsess(&["result", "work"]).run().ok();
    assert!(result.text() == line.repeat(times));
    std::fs::write(&fifo, "go\n").unwrap();
    let done = reader.wait().ok();
    assert_eq!(done.stderr, "");
    let same = done.text() == line.repeat(times);
    assert!(
        same,
        "{} bytes of {}",
        done.stdout.len(),
        line.len() * times
    );
}

pub fn a_signal_ends_a_command_whose_answer_nobody_takes(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let respond = json!([{"repeat_text": {"text": "a line\n", "times": 100_000}}]);
    world.api.rule("long", respond);
    // Its first byte says that the turn has ended and its answer is being written.
    let script = "mkfifo out; clsess send work long >out & exec 3<out; \
                  head -c 1 <&3; kill -TERM $!; wait $!; echo $?";
    assert_eq!(world.shell(script).run().ok().text(), "a143\n");
    // The same while the text still comes.
    let text = json!({"text": "a line\n", "times": 100_000});
    let respond = json!([
        {"repeat_text": text, "delta_bytes": 4096, "hold": "h", "hold_after": 100}
    ]);
    world.api.rule("long", respond);
    let script = "clsess send --stream always work long >out & exec 3<out; \
                  head -c 1 <&3; kill -TERM $!; wait $!; echo $?";
    assert_eq!(world.shell(script).run().ok().text(), "a143\n");
}

pub fn a_reader_that_goes_away_leaves_the_turn_running(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    world.api.rule(
        "slow",
        json!([{"text": "an answer", "delta_bytes": 2, "hold": "h", "hold_after": 2}]),
    );
    if driver.can(Ability::TellsPieces) {
        let script = "clsess send --stream always work slow \
                      | { head -c 1 >/dev/null; exec <&-; touch gone; }; echo ${PIPESTATUS[0]}";
        let shell = world.shell(script).spawn();
        world.api.wait_hold("h", 1);
        // What comes before that finds room in the pipe.
        until("the reader is gone", || {
            world.project().join("gone").exists()
        });
        world.api.release("h");
        assert_eq!(shell.wait().ok().text(), "141\n");
        let result = world.clsess(&["result", "work"]).run().ok();
        assert_eq!(result.text(), "an answer\n");
    }
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

pub fn a_client_that_stands_still_holds_nobody_up(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    driver.session(&world, "other");
    let (line, times) = ("a line of a long answer\n", MANY_PIECES);
    let text = json!({"text": line, "times": times});
    let respond = json!([
        {"repeat_text": text, "delta_bytes": line.len(), "hold": "h", "hold_after": 1}
    ]);
    world.api.rule("long", respond);
    let args = ["send", "--stream", "always", "work", "long"];
    let still = world.clsess(&args).spawn();
    world.api.wait_hold("h", 1);
    still.signal(Signal::SIGSTOP);
    let looking = world.clsess(&["result", "--stream", "always", "work"]);
    let looking = looking.spawn();
    looking.wait_stdout(|out| out.starts_with(b"a line"));
    let next = world.clsess(&["send", "work", "next"]).spawn();
    world.wait_queued("work", 1);
    world.api.release("h");
    assert!(looking.wait().ok().text() == line.repeat(times));
    assert_eq!(world.send("other", "hi"), "you said: hi\n");
    assert_eq!(next.wait().ok().text(), "you said: next\n");
    let answer = world.clsess(&["result", "work", "-2"]).run().ok();
    assert!(answer.text() == line.repeat(times));
    assert!(still.runs());
    still.signal(Signal::SIGCONT);
    let done = still.wait().ok();
    assert_eq!(done.stderr, "");
    assert!(
        done.text() == line.repeat(times),
        "{} bytes of {}",
        done.stdout.len(),
        line.len() * times
    );
}

pub fn a_reader_that_wants_ten_bytes_gets_them(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let (line, times) = ("0123456789abcdef\n", (1 << 20) / 17);
    let respond = json!([{"repeat_text": {"text": line, "times": times}}]);
    world.api.rule("long", respond);
    for stream in ["never", "always"] {
        let script = format!(
            "clsess send --stream {stream} work long | head -c 10; echo \" ${{PIPESTATUS[0]}}\""
        );
        let done = world.shell(&script).run().ok();
        assert_eq!(done.text(), "0123456789 141\n", "{stream}");
        let answer = world.clsess(&["result", "work"]).run().ok();
        assert!(answer.text() == line.repeat(times), "{stream}");
    }
}
