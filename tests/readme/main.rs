//! README.md, run as it is written: by a reader who sits at a terminal with a fresh home directory and
//! types every block of `sh` and `console`, from the first to the last. The agent is the real Claude
//! Code. Every command must end well; where the README shows what is printed, that is printed, and `...`
//! stands for anything.
//!
//! A comment before a block says where that is not all:
//! - `<!-- not run: WHY -->`
//! - `<!-- goes on during the next block -->`: that one is typed in another shell
//! - `<!-- each until Ctrl-C -->`
//!
//! What would install something is given a directory of its own ([`SURROUNDINGS`]).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../harness/terminal.rs"]
#[allow(dead_code)]
mod terminal;

mod blocks;
mod reader;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use blocks::{Block, How, Step};
use harness::{CLSESS, World, find, skipped, until};
use reader::Reader;
use serde_json::json;

const README: &str = include_str!("../../README.md");

/// Blocks that are not run here: they build or change the machine, or are run by other tests.
const NOT_RUN: usize = 7;

/// What the words of the README mean here: the checkout is where it is, nothing is compiled, and what
/// is installed goes below a directory of the test.
const SURROUNDINGS: &str = r#"
make() {
    if [ "$1" = build ]; then set -- --dry-run build target=x; fi
    command make --silent -C "$CHECKOUT" BINARY="$BINARY" DESTDIR="$STAGE" "$@" >/dev/null
}
sudo() { "$@"; }"#;

#[test]
fn the_readme_is_true() {
    for tool in ["bash", "make", "git", "jq"] {
        if find(tool).is_none() {
            let _: Option<()> = skipped(&format!("there is no {tool}"));
            return;
        }
    }
    let Some(world) = World::real() else { return };
    prepare(&world);
    let blocks = blocks::of(README);
    let mut reader = sit_down(&world);
    // The shell in which a command goes on, while the next block is typed in another one.
    let mut busy: Option<Reader> = None;
    let (mut typed, mut left_out) = (0, Vec::new());
    for block in &blocks {
        if let How::NotRun(why) = &block.how {
            left_out.push(format!("line {}: {why}", block.line));
            continue;
        }
        println!("line {}", block.line);
        typed += block.steps.len();
        run(&world, &mut reader, block);
        if block.how == How::GoesOn {
            let place = reader.directory.clone();
            busy = Some(std::mem::replace(&mut reader, sit_down(&world)));
            reader.goes_to(&place);
        } else if let Some(other) = busy.take() {
            reader = other;
            reader.ends_well();
        }
    }
    println!("not run:\n{}", left_out.join("\n"));
    assert!(left_out.len() <= NOT_RUN, "{left_out:#?}");
    assert!(typed > 40, "only {typed} commands");
    every_config_is_taken(&world);
}

/// What the README takes for granted: a project under git with something changed, and a prompt.
fn prepare(world: &World) {
    let project = world.home().join("src/project");
    fs::create_dir_all(&project).unwrap();
    fs::write(project.join("prompt.md"), "Say hello.\n").unwrap();
    let git = "git init -q && git add prompt.md && git -c user.name=A -c user.email=a@b \
               commit -qm one && echo More. >>prompt.md";
    world.program("sh", &["-c", git]).cwd(&project).run().ok();
    world.api.answer("Say hello in French.", "Bonjour !");
    let held = json!([{"text": "All of them are fine.", "hold": "review", "hold_after": 1}]);
    world.api.rule("Review every file.", held);
    let write = world.write("report");
    let asks = json!([{"blocks": [write]}, {"text": "None fails."}]);
    world.api.rule("Run the tests", asks);
}

fn sit_down(world: &World) -> Reader {
    let stage = world.root().join("stage");
    let path = world.env().into_iter().find(|(name, _)| *name == "PATH");
    let path = path.unwrap().1;
    let shell = world
        .program("bash", &["--norc", "--noprofile"])
        .cwd(world.home())
        .env("PATH", format!("{}/usr/local/bin:{path}", stage.display()))
        .env("CHECKOUT", env!("CARGO_MANIFEST_DIR"))
        .env("BINARY", CLSESS)
        .env("STAGE", stage.to_str().unwrap())
        .env("TERM", "xterm-256color")
        .env("LANG", "C.UTF-8")
        .env("INPUTRC", "/dev/null");
    Reader::new(&shell, SURROUNDINGS)
}

/// Types a block. The last command of one that goes on is not waited for.
fn run(world: &World, reader: &mut Reader, block: &Block) {
    for (number, step) in (1..).zip(&block.steps) {
        let command = &step.command;
        reader.types(command);
        if block.how == How::EachUntilInterrupted {
            happens(world, reader, command);
            reader.interrupts();
            continue;
        }
        if block.how == How::GoesOn && number == block.steps.len() {
            return;
        }
        meanwhile(world, reader, command);
        let shown = reader.ends_well();
        if let Some(wanted) = &step.shows {
            let line = block.line;
            assert!(
                blocks::matches(wanted, &shown),
                "line {line}: {command}\nshows\n{shown}\nnot\n{wanted}"
            );
        }
    }
}

/// What somebody does while a command runs, so that it comes to an end.
fn meanwhile(world: &World, reader: &Reader, command: &str) {
    if command.contains("Review every file.") {
        world.api.wait_hold("review", 1);
    } else if command.contains("--on-busy steer") {
        let last = || world.clsess(&["log", "-n", "1", "work"]).run().ok();
        until("the prompt is taken", || {
            last().text().contains("Leave the tests out.")
        });
        world.api.release("review");
    } else if command.starts_with("clsess attach ") {
        reader.is_elsewhere();
        reader.types_key(DETACH);
    }
}

const DETACH: &str = "\x1c";

/// Lets something happen that a command shows which only looks, until it does: it looks from a moment on
/// that nobody is told of.
fn happens(world: &World, reader: &Reader, command: &str) {
    let shows = match command {
        _ if command.contains("question") => "work: may Write be used",
        _ if command.contains("state") => "work idle",
        _ => "Here I am.",
    };
    until("it is shown", || {
        if command.contains("question") {
            let send = ["send", "--on-question", "wait", "work", "Run the tests."];
            let send = world.clsess(&send).spawn();
            world.wait_state("work", "question");
            world.clsess(&["deny", "work"]).run().ok();
            send.wait().ok();
        } else {
            world.send("work", "Here I am.");
        }
        reader.shows(shows)
    });
}

/// The blocks of TOML are configs, each by itself.
fn every_config_is_taken(world: &World) {
    let configs = blocks::code(README, "toml");
    assert!(!configs.is_empty());
    for config in configs {
        let file = world.config(&config);
        world.clsess(&["new", "-A", "work"]).run().ok();
        fs::remove_file(file).unwrap();
    }
}

/// Whether the file that the README names in the checkout is there.
#[test]
fn its_links_lead_somewhere() {
    let heads = README.lines().filter_map(|line| line.strip_prefix("## "));
    let anchor = |head: &str| format!("#{}", head.to_lowercase().replace(' ', "-"));
    let heads: BTreeSet<String> = heads.map(anchor).collect();
    let mut count = 0;
    for link in README.split("](").skip(1) {
        let target = link.split(')').next().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(
            target.contains("://") || heads.contains(target) || root.join(target).exists(),
            "{target}"
        );
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn blocks_are_read_as_they_are_written() {
    let text = "<!-- not run: why -->\n```sh\na\n```\n\n```console\n$ b 'c\n> d'\nout\n...\n$ e\n```\n\
                <!-- each until Ctrl-C -->\n```sh\n# f\ng |\n  h # i\n\nj\n```\n```toml\nk = 1\n```\n";
    let blocks = blocks::of(text);
    let steps = |at: usize| -> Vec<(&str, Option<&str>)> {
        let steps = blocks[at].steps.iter();
        steps
            .map(|Step { command, shows }| (command.as_str(), shows.as_deref()))
            .collect()
    };
    assert_eq!(blocks[0].how, How::NotRun("why".to_owned()));
    assert_eq!(
        steps(1),
        [("b 'c\nd'", Some("out\n...\n")), ("e", Some(""))]
    );
    assert_eq!(steps(2), [("g |\n  h # i", None), ("j", None)]);
    assert_eq!((blocks[1].line, blocks.len()), (6, 3));
    assert_eq!(blocks[2].how, How::EachUntilInterrupted);
    assert_eq!(blocks::code(text, "toml"), ["k = 1\n"]);
    for (wanted, shown, fits) in [
        ("a\n", "a\n", true),
        ("a\n", "a\nb\n", false),
        ("a ... c\n", "a b b c\n", true),
        ("a ... c\n", "a b\n", false),
        ("a\n...\nz\n", "a\nb\nc\nz\n", true),
        ("a\n...\nz\n", "a\nz\n", true),
        ("a\n...\nz\n", "a\nb\n", false),
        ("...", "", true),
    ] {
        assert_eq!(blocks::matches(wanted, shown), fits, "{wanted:?} {shown:?}");
    }
}
