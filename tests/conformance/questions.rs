//! Questions of the agent that somebody answers: `--on-question wait`.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::driver::{Ability, Driver};
use crate::harness::{Running, World};
use crate::turns::{AFTER_A_TOOL, usable, usable_after_a_tool};
use crate::unattended::{questions, sessions};

/// A send whose turn asks, and waits for an answer; it does.
fn asking(world: &World, session: &str, prompt: &str) -> Running {
    let args = ["send", "--on-question", "wait", session, prompt];
    let send = world.clsess(&args).spawn();
    world
        .clsess(&["wait", "--for", "question", session])
        .run()
        .ok();
    send
}

/// The open questions.
fn open(world: &World, session: &str) -> Vec<Value> {
    let listed = world.clsess(&["questions", "--json", session]).run().ok();
    listed.json()["questions"].as_array().unwrap().clone()
}

/// A session whose prompt `write` asks for permission to write the file `new`.
fn writer(driver: &Driver, world: &World, options: &[&str]) {
    driver.session_with(world, "work", options);
    let steps = json!([{"blocks": [world.write("new")]}, {"text": AFTER_A_TOOL}]);
    world.api.rule("write", steps);
}

pub fn a_question_of_each_kind_is_answered_from_another_shell(driver: &Driver) {
    let Some(world) = World::real() else { return };
    sessions(driver, &world);
    for asked in questions(&world) {
        let send = asking(&world, asked.session, asked.tool);
        let questions = open(&world, asked.session);
        assert_eq!(questions.len(), 1);
        let question = &questions[0];
        assert_eq!(question["tool"], asked.tool);
        assert_eq!(question["session"], asked.session);
        let shown = world.show(asked.session);
        assert_eq!(shown["state"], "question");
        assert_eq!(shown["questions"], json!(questions));
        let (kind, text) = match asked.tool {
            "Write" => ("permission", "may Write be used: new"),
            "AskUserQuestion" => ("question", "Which colour?"),
            _ if driver.can(Ability::TellsPlans) => ("plan", "# Do it\n"),
            _ => ("plan", "is the plan approved"),
        };
        assert_eq!(question["kind"], kind);
        assert_eq!(question["text"], text);
        let id = question["id"].as_str().unwrap();
        let done = match asked.tool {
            "AskUserQuestion" => {
                assert_eq!(question["options"], json!(["Red", "Blue"]));
                world.clsess(&["answer", asked.session, &id[..8], "blue"])
            }
            _ => world.clsess(&["approve", asked.session, id]),
        };
        done.run().ok();
        assert_eq!(send.wait().ok().text(), format!("{AFTER_A_TOOL}\n"));
        let body = world.api.body(world.api.next() - 1)["messages"].to_string();
        if asked.tool == "AskUserQuestion" {
            assert!(body.contains(r#"\"Which colour?\"=\"Blue\""#), "{body}");
        }
        assert_eq!(open(&world, asked.session), Vec::<Value>::new());
    }
    assert_eq!(std::fs::read(world.project().join("new")).unwrap(), b"x");
}

pub fn a_question_of_each_kind_can_be_denied(driver: &Driver) {
    let Some(world) = World::real() else { return };
    sessions(driver, &world);
    for asked in questions(&world) {
        let send = asking(&world, asked.session, asked.tool);
        let deny = ["deny", asked.session, "-m", "not on a Friday"];
        world.clsess(&deny).run().ok();
        let done = send.wait().ok();
        assert_eq!(done.text(), format!("{AFTER_A_TOOL}\n"));
        assert!(
            done.stderr
                .contains(&format!("clsess: denied: {}", asked.tool)),
            "{}",
            done.stderr
        );
        let body = world.api.body(world.api.next() - 1)["messages"].to_string();
        assert!(body.contains("not on a Friday"), "{body}");
    }
    assert!(!world.project().join("new").exists());
}

pub fn approved_for_always_is_not_asked_again(driver: &Driver) {
    let Some(world) = World::real() else { return };
    writer(driver, &world, &[]);
    let send = asking(&world, "work", "write");
    world.clsess(&["approve", "--always", "work"]).run().ok();
    send.wait().ok();
    std::fs::remove_file(world.project().join("new")).unwrap();
    // Nobody is there this time.
    let done = world.clsess(&["send", "work", "write"]).run().ok();
    assert_eq!(
        (done.text(), done.stderr.as_str()),
        ("said after the tool\n", "")
    );
    assert!(world.project().join("new").exists());
}

pub fn the_first_answer_wins_and_the_other_is_told(driver: &Driver) {
    let Some(world) = World::real() else { return };
    writer(driver, &world, &[]);
    let send = asking(&world, "work", "write");
    let id = open(&world, "work")[0]["id"].as_str().unwrap().to_owned();
    let both = [["approve", "work", &id], ["deny", "work", &id]]
        .map(|args| world.clsess(&args).spawn())
        .map(Running::wait);
    let won: Vec<bool> = both.iter().map(|done| done.code == 0).collect();
    assert_ne!(won[0], won[1], "{both:?}");
    let how = if won[0] { "approved" } else { "denied" };
    let late = both
        .into_iter()
        .find(|done| done.code != 0)
        .unwrap()
        .fails(3);
    assert_eq!(
        late.stderr,
        format!("clsess: too late: this question was {how} already\n")
    );
    send.wait().ok();
    assert_eq!(world.project().join("new").exists(), won[0]);
    // Later still, and without its name.
    let late = ["approve", "--json", "work", &id];
    let late = world.clsess(&late).run().fails(3).json();
    assert_eq!(late["error"]["code"], "question_answered");
    let none = world.clsess(&["approve", "--json", "work"]).run().fails(3);
    assert_eq!(none.json()["error"]["code"], "no_such_question");
    let message = format!("work asks nothing; the last question was {how}");
    assert_eq!(none.json()["error"]["message"], message);
    let none = world.clsess(&["approve", "work", "nosuch"]).run().fails(3);
    assert!(
        none.stderr
            .starts_with("clsess: work has no question nosuch\n")
    );
}

pub fn what_is_no_answer_leaves_the_question_open(driver: &Driver) {
    let Some(world) = World::real() else { return };
    sessions(driver, &world);
    let [write, question, _] = questions(&world);
    let send = asking(&world, "work", write.tool);
    let wrong = world
        .clsess(&["answer", "--json", "work", "yes"])
        .run()
        .fails(2);
    assert_eq!(wrong.json()["error"]["code"], "bad_answer");
    assert_eq!(open(&world, "work").len(), 1);
    world.clsess(&["approve", "work"]).run().ok();
    send.wait().ok();

    let send = asking(&world, "work", question.tool);
    let wrong = world.clsess(&["approve", "work"]).run().fails(2);
    assert_eq!(
        wrong.stderr,
        "clsess: this is a question, not a permission: it wants an answer\n\
         hint: clsess answer work TEXT\n"
    );
    world.clsess(&["answer", "work", " "]).run().fails(2);
    assert_eq!(open(&world, "work").len(), 1);
    world
        .clsess(&["answer", "work", "any", "other", "colour"])
        .run()
        .ok();
    send.wait().ok();
    let body = world.api.body(world.api.next() - 1)["messages"].to_string();
    assert!(
        body.contains(r#"\"Which colour?\"=\"any other colour\""#),
        "{body}"
    );
}

pub fn several_open_questions_want_a_name(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    if !driver.can(Ability::StaysBetweenTurns) {
        return;
    }
    // Two agents of the agent ask side by side.
    let agent = |prompt: &str| {
        let input = json!({
            "description": prompt, "prompt": prompt, "subagent_type": "general-purpose",
            "run_in_background": true,
        });
        json!({"tool": {"name": "Agent", "input": input}})
    };
    world.api.rule(
        "delegate",
        json!([{"blocks": [agent("first"), agent("second")]}, {"text": "begun"}]),
    );
    for name in ["first", "second"] {
        world.api.ask(json!({
            "cmd": "rule", "match": name, "kind": "subagent",
            "respond": [{"blocks": [world.write(name)]}, {"text": "done"}],
        }));
    }
    let send = ["send", "--on-question", "wait", "work", "delegate"];
    world.clsess(&send).run().ok();
    crate::harness::until("two questions", || open(&world, "work").len() == 2);
    let which = world.clsess(&["approve", "work"]).run().fails(2);
    assert_eq!(
        which.stderr,
        "clsess: work asks 2 questions: say which one\nhint: clsess questions work\n"
    );
    for question in open(&world, "work") {
        let first = question["text"] == "may Write be used: first";
        let verb = if first { "approve" } else { "deny" };
        world
            .clsess(&[verb, "work", question["id"].as_str().unwrap()])
            .run()
            .ok();
    }
    world.clsess(&["wait", "work"]).run().ok();
    assert!(world.project().join("first").exists());
    assert!(!world.project().join("second").exists());
}

pub fn a_second_prompt_never_answers_a_question(driver: &Driver) {
    let Some(world) = World::real() else { return };
    writer(driver, &world, &[]);
    let send = asking(&world, "work", "write");
    let id = open(&world, "work")[0]["id"].clone();
    let prompts = ["yes", "1", "\n\n", "y\r", "approve work", "2"];
    let carried = |prompt: &&str| (driver.carries)(&format!("{prompt}.")).is_some();
    let prompts: Vec<_> = prompts.into_iter().filter(carried).collect();
    let queued: Vec<Running> = prompts
        .iter()
        .map(|prompt| {
            let prompt = format!("{prompt}.");
            world.clsess(&["send", "work"]).stdin(prompt).spawn()
        })
        .collect();
    world.wait_queued("work", prompts.len() as u64);
    assert_eq!(open(&world, "work")[0]["id"], id);
    assert_eq!(world.api.prompts(0), ["write"]);
    world.clsess(&["deny", "work"]).run().ok();
    assert_eq!(send.wait().ok().text(), format!("{AFTER_A_TOOL}\n"));
    for (send, prompt) in queued.into_iter().zip(prompts) {
        assert_eq!(send.wait().ok().text(), format!("you said: {prompt}.\n"));
    }
    assert!(!world.project().join("new").exists());
}

pub fn a_question_stops_the_clock_of_its_turn(driver: &Driver) {
    let Some(world) = World::real() else { return };
    writer(driver, &world, &[]);
    let args = [
        "send",
        "--on-question",
        "wait",
        "--timeout",
        "5s",
        "work",
        "write",
    ];
    let send = world.clsess(&args).spawn();
    world.wait_state("work", "question");
    let asked = std::time::Instant::now();
    // Longer than the turn may take: what is measured here is time itself.
    let wait = ["wait", "--for", "idle", "--timeout", "5100ms", "work"];
    world.clsess(&wait).run().fails(124);
    assert!(asked.elapsed().as_millis() >= 5100);
    assert!(send.runs());
    world.clsess(&["approve", "work"]).run().ok();
    assert_eq!(send.wait().ok().text(), format!("{AFTER_A_TOOL}\n"));
}

pub fn a_deadline_ends_a_turn_that_asks(driver: &Driver) {
    let Some(world) = World::real() else { return };
    writer(driver, &world, &[]);
    let args = [
        "send",
        "--on-question",
        "wait",
        "--deadline",
        "1s",
        "work",
        "write",
    ];
    let done = world.clsess(&args).run().fails(124);
    assert!(
        done.stderr
            .contains("the turn was given up at its deadline"),
        "{}",
        done.stderr
    );
    assert_eq!(open(&world, "work"), Vec::<Value>::new());
    assert!(!world.project().join("new").exists());
    usable_after_a_tool(&world, "work", 0);
}

pub fn an_interrupt_takes_the_question_back(driver: &Driver) {
    let Some(world) = World::real() else { return };
    writer(driver, &world, &[]);
    let send = asking(&world, "work", "write");
    let id = open(&world, "work")[0]["id"].as_str().unwrap().to_owned();
    send.signal(Signal::SIGINT);
    send.wait().fails(130);
    world.clsess(&["wait", "work"]).run().ok();
    let late = world.clsess(&["approve", "work", &id]).run().fails(3);
    assert_eq!(
        late.stderr,
        "clsess: too late: this question was withdrawn already\n"
    );
    assert!(!world.project().join("new").exists());
    usable_after_a_tool(&world, "work", 0);
}

pub fn a_question_that_nobody_looks_at_is_denied(driver: &Driver) {
    let Some(world) = World::real() else { return };
    world.config("[defaults]\nquestion_timeout = '1s'\n");
    writer(driver, &world, &[]);
    let args = [
        "send",
        "--no-wait",
        "--on-question",
        "wait",
        "work",
        "write",
    ];
    let turn = world.clsess(&args).run().ok();
    world.wait_state("work", "question");
    // Looking at the list is not waiting for the turn.
    assert_eq!(open(&world, "work").len(), 1);
    world.clsess(&["wait", "work"]).run().ok();
    let done = world
        .clsess(&["result", "work", turn.text().trim()])
        .run()
        .ok();
    assert!(
        done.stderr.starts_with("clsess: denied: Write "),
        "{}",
        done.stderr
    );
    assert!(!world.project().join("new").exists());
    // Somebody who waits for the turn can take their time.
    let send = asking(&world, "work", "write");
    let wait = ["wait", "--timeout", "1500ms", "work"];
    world.clsess(&wait).run().fails(124);
    world.clsess(&["approve", "work"]).run().ok();
    assert_eq!(send.wait().ok().text(), format!("{AFTER_A_TOOL}\n"));
}

pub fn a_background_agents_question_can_be_answered(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    if !driver.can(Ability::StaysBetweenTurns) {
        return;
    }
    let input = json!({
        "description": "go", "prompt": "look around", "subagent_type": "general-purpose",
        "run_in_background": true,
    });
    let tool = json!({"tool": {"name": "Agent", "input": input}});
    world
        .api
        .rule("delegate", json!([{"blocks": [tool]}, {"text": "begun"}]));
    world.api.ask(json!({
        "cmd": "rule", "match": "look around", "kind": "subagent",
        "respond": [{"blocks": [world.write("new")]}, {"text": "done"}],
    }));
    let send = ["send", "--on-question", "wait", "work", "delegate"];
    assert_eq!(world.clsess(&send).run().ok().text(), "begun\n");
    world
        .clsess(&["wait", "--for", "question", "work"])
        .run()
        .ok();
    world.clsess(&["approve", "work"]).run().ok();
    world.clsess(&["wait", "work"]).run().ok();
    assert!(world.project().join("new").exists());
    usable(&world);
}

pub fn questions_are_told_on_stderr_and_as_events(driver: &Driver) {
    let Some(world) = World::real() else { return };
    writer(driver, &world, &[]);
    let send = asking(&world, "work", "write");
    world.clsess(&["approve", "work"]).run().ok();
    let told = send.wait().ok().stderr;
    let file = world.project().join("new");
    let (asked, resolved) = told.rsplit_once("hint: ").unwrap();
    let expected = format!(
        "clsess: work asks:\n  may Write be used: new\n  Write {{\"content\":\"x\",\"file_path\":\"{}\"}}\n",
        file.display()
    );
    assert_eq!(asked, expected);
    let (hint, resolved) = resolved.split_once('\n').unwrap();
    // What is typed late is not for another question.
    let id = hint.strip_prefix("clsess approve work ").unwrap()[..8].to_owned();
    assert_eq!(
        hint,
        format!("clsess approve work {id}; clsess deny work {id}")
    );
    assert_eq!(resolved, "clsess: work: the question was approved\n");
    std::fs::remove_file(file).unwrap();

    let args = [
        "send",
        "-o",
        "stream-json",
        "--on-question",
        "wait",
        "work",
        "write",
    ];
    let send = world.clsess(&args).spawn();
    world.wait_state("work", "question");
    world.clsess(&["approve", "work"]).run().ok();
    let events = send.wait().ok().json_lines();
    let names: Vec<&str> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    let at = names.iter().position(|name| *name == "question").unwrap();
    assert_eq!(events[at]["kind"], "permission");
    assert_eq!(names[at + 1], "question_resolved");
    assert_eq!(events[at + 1]["how"], "approved");
    assert_eq!(events[at + 1]["id"], events[at]["id"]);
}
