//! The hot swap: a stream session has the real client's own interface while somebody is attached.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use crate::harness::World;
use crate::harness::tools::{background_bash, waits_for};
use crate::terminal::{Size, Terminal};
use crate::{DETACH, attach, wait_attached};

const SIZE: Size = Size(30, 100);

fn driver(world: &World) -> String {
    world.show("work")["driver"].as_str().unwrap().to_owned()
}

fn detach(terminal: &Terminal) {
    terminal.type_in(DETACH);
    assert_eq!(terminal.exit(), 0);
}

/// The prompts of the conversation, as the provider saw them with the last one.
fn context(world: &World) -> Vec<String> {
    let body = world.api.body(world.api.next() - 1);
    let messages = body["messages"].as_array().unwrap();
    let users = messages.iter().filter(|message| message["role"] == "user");
    users
        .map(|message| message["content"].to_string())
        .collect()
}

#[test]
fn one_conversation_in_two_bodies() {
    let Some(world) = World::real() else { return };
    for (prompt, answer) in [
        ("first thing", "the first answer"),
        ("second thing", "the second answer"),
        ("third thing", "the third answer"),
        ("fourth thing", "the fourth answer"),
    ] {
        world.api.answer(prompt, answer);
    }
    world.clsess(&["new", "work"]).run().ok();
    assert_eq!(world.send("work", "first thing"), "the first answer\n");
    let id = world.show("work")["agent_session_id"].clone();

    let person = attach(&world, "work", SIZE);
    person.until_screen(|text| text.contains("the first answer"));
    wait_attached(&world, "work", 1);
    assert_eq!(driver(&world), "tui");
    // From elsewhere, and by hand.
    assert_eq!(world.send("work", "second thing"), "the second answer\n");
    person.until_screen(|text| text.contains("the second answer"));
    person.type_in("third thing");
    person.until_screen(|text| text.contains("third thing"));
    person.type_in("\r");
    person.until_screen(|text| text.contains("the third answer"));
    // What the interface cannot carry waits until nobody is attached.
    world.api.answer("ends in a blank ", "it was carried");
    let waits = world.clsess(&["send", "work", "ends in a blank "]).spawn();
    crate::harness::until("it waits", || {
        let queue = world.clsess(&["queue", "work"]).run().ok();
        queue.text().contains("attached")
    });
    detach(&person);

    assert_eq!(waits.wait().ok().text(), "it was carried\n");
    assert_eq!(driver(&world), "stream");
    assert_eq!(world.send("work", "fourth thing"), "the fourth answer\n");
    assert_eq!(world.show("work")["agent_session_id"], id);
    let context = context(&world).concat();
    let places = [
        "first thing",
        "second thing",
        "third thing",
        "ends in a blank ",
        "fourth thing",
    ]
    .map(|prompt| context.find(prompt).unwrap());
    assert!(places.is_sorted(), "{context}");
    assert_eq!(context.matches("thing").count(), 4, "{context}");
}

/// Who comes while a turn runs sees its words and answers its questions, and then the interface.
#[test]
fn who_comes_during_a_turn_waits_for_its_end() {
    let Some(world) = World::real() else { return };
    let steps = json!([
        {"blocks": [{"text": "I write."}, world.write("new")]},
        {"text": "It is written.", "hold": "end"},
    ]);
    world.api.rule("write", steps);
    world.clsess(&["new", "work"]).run().ok();
    let args = ["send", "--on-question", "wait", "work", "write"];
    let send = world.clsess(&args).spawn();
    world.wait_state("work", "question");
    let agent = world.agent("work");
    let person = attach(&world, "work", SIZE);
    person.until_screen(|text| text.contains("may Write be used"));
    person.type_in("y");
    world.api.wait_hold("end", 1);
    assert!(world.project().join("new").exists());
    assert_eq!(
        (driver(&world), world.agent("work")),
        ("stream".to_owned(), agent)
    );
    // It may go again, and come again.
    detach(&person);
    let person = attach(&world, "work", SIZE);
    person.until_screen(|text| text.contains("is at work"));
    world.api.release("end");
    assert_eq!(send.wait().ok().text(), "It is written.\n");
    person.until_screen(|text| text.contains("It is written.") && text.contains("Claude Code"));
    assert_eq!(driver(&world), "tui");
    detach(&person);
    assert_eq!(world.send("work", "and now?"), "you said: and now?\n");
}

/// The arguments of the agent's process, each with a NUL behind it.
fn arguments(world: &World) -> String {
    let arguments = std::fs::read(format!("/proc/{}/cmdline", world.agent("work"))).unwrap();
    String::from_utf8(arguments).unwrap()
}

/// What somebody chooses at the screen is so in the other body: the permission mode, and a new
/// conversation.
#[test]
fn what_is_chosen_at_the_screen_stays() {
    let Some(world) = World::real() else { return };
    world.clsess(&["new", "work"]).run().ok();
    world.send("work", "first thing");
    let id = world.show("work")["agent_session_id"].clone();
    let person = attach(&world, "work", SIZE);
    person.until_screen(|text| text.contains("manual mode on"));
    let shift_tab = "\x1b[Z";
    person.type_in(shift_tab);
    person.until_screen(|text| text.contains("accept edits on"));
    person.type_in("/clear");
    person.until_screen(|text| text.contains("/clear"));
    person.type_in("\r");
    crate::harness::until("it is another conversation", || {
        world.show("work")["agent_session_id"] != id
    });
    person.type_in("second thing");
    person.until_screen(|text| text.contains("second thing"));
    person.type_in("\r");
    person.until_screen(|text| text.contains("you said: second thing"));
    detach(&person);
    crate::harness::until("it has its own body", || driver(&world) == "stream");
    assert_eq!(world.send("work", "recall"), "second thing\n");
    let arguments = arguments(&world);
    assert!(
        arguments.contains("--permission-mode=acceptEdits"),
        "{arguments:?}"
    );
    assert!(!arguments.contains("--model"), "{arguments:?}");
}

/// The same without a turn at the screen: a permission mode, of a conversation that has begun and of one
/// that has not, and a model. What is chosen there holds for what is asked next.
#[test]
fn what_is_chosen_without_a_turn_stays() {
    let Some(world) = World::real() else { return };
    let new = ["new", "work", "--model", "sonnet"];
    world.clsess(&new).run().ok();
    let at_screen = |keys: &str, shows: &str| {
        let person = attach(&world, "work", SIZE);
        person.until_screen(|text| text.contains("mode on") || text.contains("edits on"));
        person.type_in(keys);
        person.until_screen(|text| text.contains(shows));
        person
    };
    let next = |person: &Terminal, prompt: &str| {
        detach(person);
        crate::harness::until("it has its own body", || driver(&world) == "stream");
        world.send("work", prompt);
        let asked = world.api.body(world.api.next() - 1)["model"].to_string();
        (asked, arguments(&world))
    };
    let shift_tab = "\x1b[Z";
    let person = at_screen(shift_tab, "accept edits on");
    let (asked, arguments) = next(&person, "first thing");
    assert!(
        arguments.contains("--permission-mode=acceptEdits\0"),
        "{arguments:?}"
    );
    assert!(asked.contains("sonnet"), "{asked}");

    for (model, named) in [("haiku", "Haiku"), ("default", "Opus")] {
        let command = format!("/model {model}");
        let person = at_screen(&command, &command);
        person.type_in("\r");
        person.until_screen(|text| text.contains("Switch model?"));
        person.type_in("\r");
        person.until_screen(|text| text.contains(&format!("Set model to {named}")));
        let (asked, arguments) = next(&person, &format!("now {model}"));
        assert!(asked.contains(&named.to_lowercase()), "{asked}");
        let told = arguments.split("--model=").nth(1);
        let told = told.map(|rest| rest.split('\0').next().unwrap());
        // Its default has a name there: what is resumed without one keeps its model.
        let expected = if model == "default" {
            "claude-opus"
        } else {
            model
        };
        assert!(told.unwrap().starts_with(expected), "{told:?}");
    }

    let person = at_screen(shift_tab, "plan mode on");
    let (_, arguments) = next(&person, "last thing");
    assert!(
        arguments.contains("--permission-mode=plan\0"),
        "{arguments:?}"
    );
}

/// What works in the background is not ended by somebody who only looks.
#[test]
fn work_in_the_background_is_asked_about() {
    let Some(world) = World::real() else { return };
    world.allow_bash();
    let go = world.project().join("go");
    let tool = background_bash(&waits_for(&go));
    let steps = json!([{"blocks": [tool]}, {"text": "begun"}]);
    world.api.rule("begin", steps);
    world.clsess(&["new", "work"]).run().ok();
    assert_eq!(world.send("work", "begin"), "begun\n");
    world.wait_state("work", "idle");
    let refused = attach(&world, "work", SIZE);
    assert_eq!(refused.exit(), 5);
    assert_eq!(driver(&world), "stream");
    assert_eq!(world.send("work", "still here"), "you said: still here\n");
    let anyway = ["attach", "--anyway", "work"];
    let person = Terminal::start(&world.clsess(&anyway), SIZE);
    person.until_screen(|text| text.contains("manual mode on"));
    assert_eq!(driver(&world), "tui");
    detach(&person);
}

/// Ends the stream of prompts, also when something fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How often somebody comes and goes when nothing else is said.
const FEW: usize = 3;

/// Under a steady stream of prompts: no turn is lost, none runs twice, and the context stays.
#[test]
fn somebody_comes_and_goes_under_a_steady_stream_of_prompts() {
    let Some(world) = World::real() else { return };
    let swaps = std::env::var("CLSESS_SWAPS").map_or(FEW, |swaps| swaps.parse().unwrap());
    world.clsess(&["new", "work"]).run().ok();
    world.send("work", "remember me");
    let over = AtomicBool::new(false);
    let answered = AtomicUsize::new(0);
    let some_more = || {
        let enough = answered.load(Ordering::Relaxed) + 2;
        let come = || answered.load(Ordering::Relaxed) >= enough;
        crate::harness::until("turns go on", come);
    };
    let sent = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = vec!["remember me".to_owned()];
            while !over.load(Ordering::Relaxed) {
                let prompt = format!("prompt {}.", sent.len());
                assert_eq!(world.send("work", &prompt), format!("you said: {prompt}\n"));
                sent.push(prompt);
                answered.fetch_add(1, Ordering::Relaxed);
            }
            sent
        });
        let stream = Over(&over);
        for _ in 0..swaps {
            let person = attach(&world, "work", SIZE);
            person.until_screen(|text| text.contains("manual mode on"));
            crate::harness::until("it has the interface", || driver(&world) == "tui");
            some_more();
            detach(&person);
            crate::harness::until("it has its own body", || driver(&world) == "stream");
            some_more();
        }
        drop(stream);
        sender.join().unwrap()
    });
    println!("{swaps} swaps and back, {} turns", sent.len());
    assert_eq!(world.api.prompts(0), sent);
    assert_eq!(world.show("work")["turns"], sent.len());
    let recalled = world.send("work", "recall");
    assert_eq!(recalled.lines().collect::<Vec<_>>(), sent);
}
