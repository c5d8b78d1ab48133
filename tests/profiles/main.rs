//! Programs with turns: `send` to the real bash and python3, which mark their prompts by the files in
//! `contrib/profiles`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../harness/codex.rs"]
#[allow(dead_code, reason = "most of it is for what runs without clsess")]
mod real;
#[path = "../harness/terminal.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod terminal;

mod codex;
mod deaths;
mod people;
mod python;
mod shell;
mod starts;

use std::path::PathBuf;

use harness::{World, until};
use serde_json::Value;

/// A file in `contrib/profiles`.
fn profile(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("contrib/profiles").join(name)
}

/// A world whose config has the profiles `shell` and `python`, and what else is said.
fn world(more: &str) -> Option<World> {
    let world = World::bare()?;
    let (shell, python) = (profile("shell.bash"), profile("python.py"));
    world.config(&format!(
        "[profile.shell]\ncommand = ['bash', '--rcfile', '{}', '-i']\nturns = 'marks'\n\
         [profile.python]\ncommand = ['python3', '{}']\nturns = 'marks'\n\
         [session.sh]\nprofile = 'shell'\n[session.py]\nprofile = 'python'\n{more}",
        shell.display(),
        python.display()
    ));
    Some(world)
}

/// The turn as `send -o json` tells it, whatever became of it.
fn report(world: &World, session: &str, prompt: &str) -> Value {
    let send = ["send", "-o", "json", session, "--", prompt];
    world.clsess(&send).run().json()
}

/// The answer of a turn that must end well, to the byte.
fn answer(world: &World, session: &str, prompt: &str) -> String {
    let report = report(world, session, prompt);
    assert_eq!(report["outcome"], "completed", "{report}");
    report["answer"].as_str().unwrap().to_owned()
}

/// Waits until the screen shows this.
fn shows(world: &World, session: &str, text: &str) {
    until(&format!("{text:?} on the screen"), || {
        let screen = world.clsess(&["capture", session]).run().ok();
        screen.text().contains(text)
    });
}
