//! People at the screen of a program with turns.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::{World, send_signal, until};
use crate::terminal::{Size, Terminal};
use crate::{answer, shows, world};

const SIZE: Size = Size(24, 80);
const DETACH: &[u8] = b"\x1c";

fn attach(world: &World, name: &str) -> Terminal {
    let terminal = Terminal::start(&world.clsess(&["attach", name]), SIZE);
    until("it is attached", || world.show(name)["attached"] == 1);
    terminal
}

fn queued(world: &World, count: u64) {
    until("it waits", || world.show("sh")["queue"] == count);
}

#[test]
fn a_prompt_waits_for_the_line_that_somebody_has_begun() {
    let Some(world) = world("") else { return };
    assert_eq!(answer(&world, "sh", "echo ready"), "ready\n");
    let person = attach(&world, "sh");
    person.type_in("echo by-$((40 + 2))-hand");
    person.until_screen(|text| text.contains("hand"));
    let send = world.clsess(&["send", "sh", "echo from elsewhere"]).spawn();
    queued(&world, 1);
    let queue = world.clsess(&["queue", "sh", "--json"]).run().ok();
    assert!(
        queue.text().contains("somebody has begun"),
        "{}",
        queue.text()
    );
    person.type_in("\r");
    assert_eq!(send.wait().ok().text(), "from elsewhere\n");
    person.until_screen(|text| text.contains("by-42-hand") && text.contains("\nfrom elsewhere"));
    person.type_in(DETACH);
    assert_eq!(person.exit(), 0);
    let log = world
        .clsess(&["log", "--json", "sh"])
        .run()
        .ok()
        .json_lines();
    let told: Vec<_> = log
        .iter()
        .map(|turn| (&turn["answer"], &turn["origin"]))
        .collect();
    let null = json!(null);
    // In the order in which they were asked for; nobody asked for the person's.
    let expected = [
        (&json!("ready\n"), &null),
        (&json!("from elsewhere\n"), &null),
        (&json!("by-42-hand\n"), &json!("terminal")),
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_is_left_on_the_line_is_thrown_away_where_nobody_is_attached() {
    let Some(world) = world("") else { return };
    assert_eq!(answer(&world, "sh", "echo ready"), "ready\n");
    world.clsess(&["type", "sh", "touch left"]).run().ok();
    shows(&world, "sh", "touch left");
    assert_eq!(answer(&world, "sh", "echo clean"), "clean\n");
    let person = attach(&world, "sh");
    person.type_in("touch half");
    person.until_screen(|text| text.contains("touch half"));
    let send = world.clsess(&["send", "sh", "ls"]).spawn();
    queued(&world, 1);
    person.type_in(DETACH);
    assert_eq!(person.exit(), 0);
    assert_eq!(send.wait().ok().text(), "");
}

#[test]
fn what_is_typed_ahead_runs_first_and_is_a_turn_of_its_own() {
    let Some(world) = world("") else { return };
    assert_eq!(answer(&world, "sh", "echo ready"), "ready\n");
    for round in 0..5 {
        let ahead = format!("echo a{round}\recho b{round}\r");
        world.clsess(&["type", "sh", &ahead]).run().ok();
        let prompt = format!("echo ours {round}");
        assert_eq!(answer(&world, "sh", &prompt), format!("ours {round}\n"));
    }
    let log = world
        .clsess(&["log", "--json", "sh"])
        .run()
        .ok()
        .json_lines();
    for line in ["a", "b"]
        .iter()
        .flat_map(|kind| (0..5).map(move |round| format!("{kind}{round}\n")))
    {
        let turn = log.iter().find(|turn| turn["answer"] == line.as_str());
        assert_eq!(turn.unwrap()["origin"], "terminal", "{line}");
    }
}

#[test]
fn a_person_answers_a_command_that_asks() {
    let Some(world) = world("") else { return };
    world.clsess(&["new", "sh"]).run().ok();
    let send = world
        .clsess(&["send", "sh", "read -p 'name? ' it; echo \"<$it>\""])
        .spawn();
    shows(&world, "sh", "name? ");
    world.clsess(&["type", "sh", "Ada\r"]).run().ok();
    assert_eq!(send.wait().ok().text(), "name? Ada\n<Ada>\n");
    // Whether the second line was for the command nobody can tell: the next prompt waits a moment.
    let send = world
        .clsess(&["send", "sh", "read -p 'more? ' it; read it; echo \"<$it>\""])
        .spawn();
    shows(&world, "sh", "more? ");
    world.clsess(&["type", "sh", "Ada\rLovelace\r"]).run().ok();
    assert!(send.wait().ok().text().ends_with("<Lovelace>\n"));
    assert_eq!(answer(&world, "sh", "echo next"), "next\n");
}

#[test]
fn who_attaches_to_a_program_that_has_died_gets_another_one() {
    let Some(world) = world("") else { return };
    assert_eq!(answer(&world, "sh", "echo ready"), "ready\n");
    let program = world.agent("sh");
    send_signal(program, Signal::SIGKILL);
    until("it is gone", || world.show("sh")["state"] == "asleep");
    let person = attach(&world, "sh");
    person.until_screen(|text| text.contains('$') || text.contains('#'));
    assert_eq!(answer(&world, "sh", "echo again"), "again\n");
    person.until_screen(|text| text.contains("\nagain"));
    person.type_in(DETACH);
    assert_eq!(person.exit(), 0);
}

#[test]
fn who_attaches_sees_the_prompts_and_answers_of_others() {
    let Some(world) = world("") else { return };
    world.clsess(&["new", "sh"]).run().ok();
    let person = attach(&world, "sh");
    assert_eq!(answer(&world, "sh", "echo $((6 * 7)) seen"), "42 seen\n");
    person.until_screen(|text| text.contains("42 seen"));
    person.resize(Size(30, 100));
    assert_eq!(answer(&world, "sh", "tput lines; tput cols"), "30\n100\n");
    person.type_in(DETACH);
    assert_eq!(person.exit(), 0);
}
