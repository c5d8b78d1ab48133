//! The real Claude Code's own interface, as any program.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::harness::World;
use crate::terminal::{DIRT, Size, Terminal};
use crate::{DETACH, attach, wait_attached};

const SIZE: Size = Size(30, 100);

/// Runs a turn in it, as a person does.
fn ask(terminal: &Terminal, prompt: &str, answer: &str) {
    terminal.type_in(prompt);
    terminal.until_screen(|text| text.contains(prompt));
    terminal.type_in("\r");
    terminal.until_screen(|text| text.contains(answer));
}

#[test]
fn the_clients_own_interface_is_the_same_for_everybody_and_outlives_the_broker() {
    let Some(world) = World::real() else { return };
    world.api.answer("first thing", "the first answer");
    world.api.answer("second thing", "the second answer");
    let size = format!("{}x{}", SIZE.1, SIZE.0);
    let new = [
        "new",
        "agent",
        "--size",
        &size,
        "-e",
        "CLAUDE_CODE_NO_FLICKER=1",
        "--",
    ];
    let command = ["claude", "--permission-mode", "manual"];
    world.clsess(&[&new[..], &command].concat()).run().ok();
    let process = world.agent("agent");

    let first = attach(&world, "agent", SIZE);
    first.until_seen("it is ready", |seen| seen.text().contains("Claude Code"));
    ask(&first, "first thing", "the first answer");
    let away = attach(&world, "agent", SIZE);
    away.until_screen(|text| text.contains("the first answer"));
    away.type_in(DETACH);
    assert_eq!(away.exit(), 0);
    wait_attached(&world, "agent", 1);

    world.kill_broker();
    ask(&first, "second thing", "the second answer");
    assert_eq!(world.agent("agent"), process);
    assert_eq!(world.api.prompts(0), ["first thing", "second thing"]);

    // Whoever comes sees what those see who were there, though it moves now and then by itself.
    attach(&world, "agent", SIZE).until_same("one that comes later", &first);
    let dirty = Terminal::start_dirty(&world.clsess(&["attach", "agent"]), SIZE, DIRT);
    dirty.until_same("in a terminal that has seen much", &first);
}

/// How many lines the client folds depends on the height of its terminal.
#[test]
fn whoever_looks_through_a_small_window_changes_no_prompt() {
    let Some(world) = World::real() else { return };
    world.clsess(&["new", "work", "--driver", "tui"]).run().ok();
    world.send("work", "first thing");
    let mut sent = vec!["first thing".to_owned()];
    for rows in [8, 10, 11, 5] {
        let person = attach(&world, "work", Size(rows, 60));
        person.until_screen(|text| text.contains('❯'));
        for prompt in ["one", "one\ntwo", "one\ntwo\nthree"] {
            let said = world.send("work", prompt);
            assert_eq!(said, format!("you said: {prompt}\n"), "{rows}");
            sent.push(prompt.to_owned());
        }
        person.type_in(DETACH);
        assert_eq!(person.exit(), 0);
    }
    assert_eq!(world.api.prompts(0), sent);
}

/// A person at the screen and a `send` from elsewhere have the same session: both turns are told.
#[test]
fn a_person_and_a_send_share_the_interface() {
    let Some(world) = World::real() else { return };
    world.api.answer("from a script", "an answer to the script");
    world.api.answer("by hand", "an answer to the person");
    world.clsess(&["new", "work", "--driver", "tui"]).run().ok();
    let person = attach(&world, "work", SIZE);
    wait_attached(&world, "work", 1);
    let done = world.clsess(&["send", "work", "from a script"]).run().ok();
    assert_eq!(done.text(), "an answer to the script\n");
    person.until_screen(|text| text.contains("an answer to the script"));
    ask(&person, "by hand", "an answer to the person");
    crate::harness::until("both are in the log", || {
        let log = world.clsess(&["log", "work"]).run().ok();
        log.text().contains("an answer to the script")
            && log.text().contains("an answer to the person")
    });
    person.type_in(DETACH);
    assert_eq!(person.exit(), 0);
    assert_eq!(world.api.prompts(0), ["from a script", "by hand"]);
}

/// What the interface asks before it begins is told, and answered by a person only.
#[test]
fn what_it_asks_at_its_start_is_a_question() {
    let Some(world) = World::real() else { return };
    // Nobody has vouched for the directory at the agent's own screen.
    world.trust(&[]);
    let new = ["new", "work", "--driver", "tui", "--trust"];
    world.clsess(&new).run().ok();
    assert_eq!(world.show("work")["state"], "question");
    let questions = world.clsess(&["questions", "--json", "work"]).run().ok();
    let text = questions.text().to_owned();
    assert!(
        text.contains("Is this a project you created or one you trust?"),
        "{text}"
    );
    assert!(text.contains("Yes, I trust this folder"), "{text}");
    for answer in [
        &["approve", "work"][..],
        &["answer", "work", "2"],
        &["deny", "work"],
    ] {
        let refused = world.clsess(answer).run().fails(2);
        assert!(
            refused.stderr.contains("clsess attach work"),
            "{}",
            refused.stderr
        );
    }
    let refused = world.clsess(&["send", "work", "hello"]).run().fails(6);
    assert!(
        refused.stderr.contains("asks before it begins"),
        "{}",
        refused.stderr
    );
    // The next broker is told by nobody, and sees it.
    world.kill_broker();
    world.wait_state("work", "question");
    let waits = ["send", "--on-question", "wait", "work", "hello"];
    let waits = world.clsess(&waits).spawn();
    let person = attach(&world, "work", SIZE);
    person.until_screen(|text| text.contains("Yes, I trust this folder"));
    person.type_in("\x1b[B");
    person.until_screen(|text| text.contains("❯ Yes, I trust this folder"));
    assert!(waits.runs());
    person.type_in("\r");
    assert_eq!(waits.wait().ok().text(), "you said: hello\n");
    let questions = world.clsess(&["questions", "work"]).run().ok();
    assert!(!questions.text().contains("trust"), "{}", questions.text());
    person.type_in(DETACH);
    assert_eq!(person.exit(), 0);
}

/// What a person is writing is there again behind a prompt from elsewhere, and nothing is typed into
/// their own editor.
#[test]
fn a_draft_and_an_editor_of_a_person_are_left_alone() {
    let Some(world) = World::real() else { return };
    let go = world.project().join("go");
    let (editor, path) = (world.project().join("editor"), go.display());
    let script = format!(
        "#!/bin/sh\ntouch {path}.began\nuntil [ -e {path} ]; do sleep 0.05; done\nprintf ' edited' >>\"$1\"\n"
    );
    std::fs::write(&editor, script).unwrap();
    std::fs::set_permissions(&editor, PermissionsExt::from_mode(0o700)).unwrap();
    let visual = format!("VISUAL={}", editor.display());
    let new = ["new", "work", "--driver", "tui", "-e", &visual];
    world.clsess(&new).run().ok();
    let person = attach(&world, "work", SIZE);
    person.until_screen(|text| text.contains("manual mode on"));
    person.type_in("my draft");
    person.until_screen(|text| text.contains("my draft"));
    assert_eq!(
        world.send("work", "from elsewhere"),
        "you said: from elsewhere\n"
    );
    person.until_screen(|text| text.contains("my draft"));
    person.type_in("\x07");
    crate::harness::until("their editor is open", || {
        world.project().join("go.began").exists()
    });
    let waits = world.clsess(&["send", "work", "once more"]).spawn();
    world.wait_state("work", "working");
    assert_eq!(world.api.prompts(0), ["from elsewhere"]);
    std::fs::write(&go, "").unwrap();
    assert_eq!(waits.wait().ok().text(), "you said: once more\n");
    person.until_screen(|text| text.contains("my draft edited"));
    person.type_in("\r");
    person.until_screen(|text| text.contains("you said: my draft edited"));
    let prompts = ["from elsewhere", "once more", "my draft edited"];
    assert_eq!(world.api.prompts(0), prompts);
}

/// A question is on the screen, and can be answered there and from any shell: the first one wins, and
/// the other side learns of it.
#[test]
fn a_question_is_answered_at_the_screen_or_from_a_shell() {
    let Some(world) = World::real() else { return };
    world.clsess(&["new", "work", "--driver", "tui"]).run().ok();
    let person = attach(&world, "work", SIZE);
    person.until_screen(|text| text.contains("manual mode on"));
    for (kind, answer) in [("yes", "\r"), ("no", "\x1b"), ("shell", "")] {
        let steps = json!([{"blocks": [world.write(kind)]}, {"text": "went on"}]);
        world.api.rule(kind, steps);
        let send = ["send", "--on-question", "wait", "work", kind];
        let send = world.clsess(&send).spawn();
        world.wait_state("work", "question");
        person.until_screen(|text| text.contains("Do you want to create"));
        match answer {
            "" => drop(world.clsess(&["approve", "work"]).run().ok()),
            // A dialog that has just come may not take keys yet.
            keys => crate::harness::until("it is answered", || {
                person.type_in(keys);
                std::thread::sleep(std::time::Duration::from_millis(500));
                !person.seen().text().contains("Do you want to create")
            }),
        }
        if kind == "no" {
            // Claude Code ends the turn then.
            send.wait().fails(10);
        } else {
            assert_eq!(send.wait().ok().text(), "went on\n", "{kind}");
        }
        assert_eq!(world.project().join(kind).exists(), kind != "no");
        person.until_screen(|text| !text.contains("Do you want to create"));
        assert_eq!(world.show("work").get("questions"), None);
        world.clsess(&["approve", "work"]).run().fails(3);
    }
}
