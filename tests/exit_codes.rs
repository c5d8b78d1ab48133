//! Every exit code of the table in clsess(1), each by a real cause, from the command line.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::collections::BTreeSet;

use harness::{Running, World, send_signal, until};
use nix::sys::signal::Signal;
use serde_json::json;

/// What is left of the signals: 128 and their number.
const SIGNALS: [(Signal, i32); 3] = [
    (Signal::SIGHUP, 129),
    (Signal::SIGINT, 130),
    (Signal::SIGTERM, 143),
];

/// The codes that have come.
struct Came<'a> {
    world: &'a World,
    codes: BTreeSet<i32>,
}

impl Came<'_> {
    /// Runs it; it must end so.
    fn run(&mut self, code: i32, args: &[&str]) {
        self.world.clsess(args).run().fails(code);
        self.codes.insert(code);
    }

    fn ends(&mut self, code: i32, running: Running) {
        running.wait().fails(code);
        self.codes.insert(code);
    }

    /// A turn that stands still.
    fn held(&self, args: &[&str]) -> Running {
        let answer = json!([{"text": "late", "hold": "h"}]);
        self.world.api.rule("slow", answer);
        let args = [&["send"], args, &["work", "slow"]].concat();
        let send = self.world.clsess(&args).spawn();
        self.world.api.wait_hold("h", 1);
        send
    }

    /// Lets it go on.
    fn let_go(&self) {
        self.world.api.release("h");
        self.world.clsess(&["wait", "work"]).run().ok();
    }
}

#[test]
fn every_exit_code_has_a_cause() {
    let Some(world) = World::real() else { return };
    let mut came = Came {
        world: &world,
        codes: BTreeSet::new(),
    };
    came.run(11, &["broker", "status"]);
    came.run(0, &["new", "work", "-e", "CLAUDE_CODE_MAX_RETRIES=0"]);
    came.run(4, &["new", "work"]);
    came.run(2, &["send", "work", "   "]);
    came.run(3, &["send", "nosuch", "hi"]);
    came.run(3, &["result", "work", "-7"]);
    came.run(3, &["approve", "work"]);
    came.run(0, &["send", "work", "hi"]);
    refused_by_the_provider(&mut came);
    asked_and_busy(&mut came);
    ended_by_somebody(&mut came);
    dies_in_a_tool(&mut came);

    let mut all: BTreeSet<i32> = (0..=11).chain([124]).collect();
    all.extend(SIGNALS.map(|(_, code)| code));
    assert_eq!(came.codes, all);
}

fn dies_in_a_tool(came: &mut Came<'_>) {
    let began = came.world.project().join("began");
    let command = format!(
        "touch {}; until false; do sleep 0.05; done",
        began.display()
    );
    let tool = json!({"tool": {"name": "Bash", "input": {"command": command}}});
    let steps = json!([{"blocks": [tool]}, {"text": "done"}]);
    came.world.api.rule("touch it", steps);
    let send = ["send", "--on-question", "wait", "work", "touch it"];
    let running = came.world.clsess(&send).spawn();
    came.world.wait_state("work", "question");
    came.run(0, &["approve", "work"]);
    until("the tool runs", || began.exists());
    send_signal(came.world.agent("work"), Signal::SIGKILL);
    came.ends(9, running);
}

fn refused_by_the_provider(came: &mut Came<'_>) {
    for (status, code) in [(400, 1), (429, 7), (529, 7), (401, 8)] {
        let prompt = format!("status {status}");
        let step = json!([{"status": status, "message": "no"}]);
        came.world.api.rule_repeat(&prompt, step);
        came.run(code, &["send", "work", &prompt]);
    }
    // The agent says that it is ready again a moment after its answer.
    came.world.wait_state("work", "login-needed");
    came.run(0, &["send", "work", "hi"]);
    came.run(0, &["wait", "work"]);
    assert_eq!(came.world.show("work")["state"], "idle");
}

fn asked_and_busy(came: &mut Came<'_>) {
    let new = came.world.project().join("new");
    let tool = json!({"tool": {"name": "Write", "input": {"file_path": new, "content": "x"}}});
    came.world
        .api
        .rule("write", json!([{"blocks": [tool]}, {"text": "done"}]));
    came.run(6, &["send", "--on-question", "fail", "work", "write"]);
    let held = came.held(&[]);
    came.run(5, &["send", "--on-busy", "fail", "work", "hi"]);
    came.run(124, &["wait", "--timeout", "50ms", "work"]);
    came.run(124, &["send", "--deadline", "50ms", "work", "hi"]);
    came.let_go();
    came.ends(0, held);
    let held = came.held(&["--timeout", "3s"]);
    came.ends(124, held);
    came.let_go();
}

fn ended_by_somebody(came: &mut Came<'_>) {
    let held = came.held(&[]);
    came.run(0, &["interrupt", "work"]);
    came.ends(10, held);
    came.let_go();
    for (signal, code) in SIGNALS {
        let held = came.held(&[]);
        held.signal(signal);
        came.ends(code, held);
        came.let_go();
    }
    let held = came.held(&[]);
    let queued = came.world.clsess(&["send", "work", "never"]).spawn();
    came.world.wait_queued("work", 1);
    came.run(0, &["queue", "work", "rm", "-1"]);
    came.ends(10, queued);
    came.run(0, &["restart", "work"]);
    came.ends(10, held);
    came.let_go();
    until("ready", || came.world.show("work")["state"] == "idle");
}
