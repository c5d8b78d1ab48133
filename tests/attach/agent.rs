//! The real Claude Code's own interface, as any program.

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

    // Nothing moves any more, and whoever comes sees what those see who were there.
    let mut quiet = first.seen();
    crate::harness::until("it rests", || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let before = std::mem::replace(&mut quiet, first.seen());
        before.differs(&quiet).is_none()
    });
    attach(&world, "agent", SIZE).until_shows("one that comes later", &quiet);
    let dirty = Terminal::start_dirty(&world.clsess(&["attach", "agent"]), SIZE, DIRT);
    dirty.until_shows("in a terminal that has seen much", &quiet);
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
