//! What holds for every editor. In its buffer a turn is what [`turn`] makes of it.

use serde_json::{Value, json};

use crate::driver::{Editor, soon};
use crate::harness::{World, until};

/// A turn in the buffer.
fn turn(heading: &str, answer: &str, notes: &str) -> String {
    let end = if answer.ends_with('\n') || answer.is_empty() {
        ""
    } else {
        "\n"
    };
    format!("> {heading}\n{answer}{end}\n{notes}\n")
}

/// The turn of a prompt without a rule.
fn echoed(prompt: &str) -> String {
    turn(prompt, &format!("you said: {prompt}"), "")
}

/// Answers to `pattern` stand still before their first byte.
fn held(world: &World, pattern: &str, answer: &str) {
    let steps = json!([{"text": answer, "hold": pattern}]);
    world.api.rule(pattern, steps);
}

/// How the turns of `work` have ended.
fn outcomes(world: &World) -> Vec<Value> {
    let log = world.clsess(&["log", "--json", "work"]).run().ok();
    let turns = log.json_lines().into_iter();
    turns.map(|turn| turn["outcome"].clone()).collect()
}

pub fn an_answer_comes_byte_for_byte<'a, E: Editor<'a>>(world: &'a World) {
    let Some(editor) = E::start(world) else {
        return;
    };
    let hard = "\n# Täst\n\n- blanks  \n\ttab\r\n日本語 🎉 \u{feff}\u{200d}e\u{301}\n\n\
                ```\n<CR> \\n %s 'q' \"\u{1b}[1m\u{7f}\0\n```\n\n  no newline at the end";
    // It comes in pieces that end anywhere.
    let long = "é日🎉 and a line\n".repeat(10_000) + "\n";
    let other = "all\r\nlines\r\nend so\r\n";
    let mut shown = String::new();
    for (prompt, answer) in [("hard", hard), ("long", &long), ("other", other)] {
        world.api.answer(prompt, answer);
        editor.send(prompt);
        shown += &turn(prompt, answer, "");
        editor.shows(&shown);
    }
    editor.quit();
}

pub fn a_prompt_arrives_byte_for_byte_and_is_in_no_argument<'a, E: Editor<'a>>(world: &'a World) {
    let Some(editor) = E::start(world) else {
        return;
    };
    let mut shown = String::new();
    for prompt in [
        "/leading slash",
        "-o json --help",
        "- alone",
        "@work !bang #hash %:p | \"bar\" \\n \\ $HOME 'x' <CR> <q-args>",
        "日本語 🎉 e\u{301}",
        "trailing  blanks  ",
    ] {
        let before = world.api.next();
        editor.send(prompt);
        shown += &echoed(prompt);
        editor.shows(&shown);
        assert_eq!(world.api.prompts(before), [prompt]);
    }
    held(world, "secret", "said");
    editor.send("a secret thing");
    world.api.wait_hold("secret", 1);
    let processes = world.processes();
    let sends = |line: &str| line.contains("clsess send");
    assert!(
        processes.iter().any(|(_, line)| sends(line)),
        "{processes:?}"
    );
    let tells = processes.iter().find(|(_, line)| line.contains("secret"));
    assert_eq!(tells, None);
    world.api.release("secret");
    editor.shows(&(shown + &turn("a secret thing", "said", "")));
    editor.quit();
}

pub fn a_text_of_a_hundred_kilobytes_goes_behind_the_prompt<'a, E: Editor<'a>>(world: &'a World) {
    let Some(editor) = E::start(world) else {
        return;
    };
    let text = "-o json\n/help\n\n\té日🎉  a line of some words \\ \"x\"  \n".repeat(2000);
    assert!(text.len() > 100_000);
    let file = world.root().join("text");
    std::fs::write(&file, &text).unwrap();
    world.api.answer("Review this:", "reviewed");
    let before = world.api.next();
    editor.send_file("Review this:", &file);
    let counted = E::counted(&text);
    let reviewed = turn(&format!("Review this: {counted}"), "reviewed", "");
    editor.shows(&reviewed);
    assert_eq!(
        world.api.prompts(before),
        [format!("Review this:\n\n{text}")]
    );

    // The text alone.
    world.api.answer("-o json", "yes");
    let before = world.api.next();
    editor.send_file("", &file);
    editor.shows(&(reviewed + &turn(&counted, "yes", "")));
    assert_eq!(world.api.prompts(before), [text]);
    editor.quit();
}

pub fn the_editor_is_free_while_an_answer_comes<'a, E: Editor<'a>>(world: &'a World) {
    let Some(editor) = E::start(world) else {
        return;
    };
    let answer = "Sixteen letters.\nAnd what comes after that.";
    let steps = json!([{"text": answer, "hold": "slow", "hold_after": 1}]);
    world.api.rule("slow", steps);
    editor.send("slow");
    world.api.wait_hold("slow", 1);
    // What there is of it is shown, in front of the end of the line.
    editor.shows("> slow\nSixteen letters.\n\n");
    assert_eq!(editor.writes("other work"), "other work");
    until("it is told", || editor.state() == "working");
    editor.shows("> slow\nSixteen letters.\n\n");
    world.api.release("slow");
    editor.shows(&turn("slow", answer, ""));
    until("it is told", || editor.state() == "idle");
    editor.quit();
}

pub fn a_prompt_is_taken_back<'a, E: Editor<'a>>(world: &'a World) {
    let Some(editor) = E::start(world) else {
        return;
    };
    held(world, "slow", "late");
    held(world, "queued", "late too");
    editor.send("slow");
    world.api.wait_hold("slow", 1);
    editor.send("queued");
    world.wait_queued("work", 1);
    editor.stop();
    // Each is taken back by its own process. The one that waits begins where the other one's is faster.
    until("both have ended", || {
        let ended = outcomes(world);
        ended == ["interrupted", "cancelled"] || ended == ["interrupted", "interrupted"]
    });
    editor.says("interrupted");
    world.api.release("slow");
    world.api.release("queued");
    world.clsess(&["wait", "work"]).run().ok();
    let before = editor.text("work");
    editor.send("next");
    editor.shows(&(before + &echoed("next")));
    let asked = world.api.prompts(0);
    assert!(
        ["slow", "next"]
            .iter()
            .all(|prompt| asked.contains(&(*prompt).to_owned()))
    );
    editor.quit();
}

pub fn what_went_wrong_is_told_with_its_hint<'a, E: Editor<'a>>(world: &'a World) {
    let untrusted = world.root().join("untrusted");
    std::fs::create_dir(&untrusted).unwrap();
    let Some(editor) = E::start_in(world, &untrusted) else {
        return;
    };
    editor.send("hi");
    let refused = world
        .clsess(&["send", "-A", "untrusted", "hi"])
        .cwd(&untrusted)
        .run()
        .fails(1);
    assert!(refused.stderr.contains("\nhint: "), "{}", refused.stderr);
    until("it is in the buffer", || {
        editor.text("untrusted") == turn("hi", "", &refused.stderr)
    });
    // Of a long message there may be as much as fits.
    editor.says(&refused.stderr[..60]);

    world.session("work");
    editor.uses("work");
    let file = world.root().join("nul");
    std::fs::write(&file, "a\0b\n").unwrap();
    editor.send_file("Read:", &file);
    editor.says("clsess: the prompt has a NUL in it, which no model takes");
    editor.send("");
    editor.says("clsess: the prompt is empty");
    // It does not read all of it.
    std::fs::write(&file, "a line of sixteen\n".repeat(700_000)).unwrap();
    editor.send_file("Read:", &file);
    editor.says("MiB");
    editor.program("/no/such/program");
    editor.send("hi");
    editor.says("is it installed");
    assert_eq!(world.api.next(), 0, "nothing was asked of the model");
    editor.quit();
}

pub fn prompts_that_wait_for_each_other_do_not_mix<'a, E: Editor<'a>>(world: &'a World) {
    let Some(editor) = E::start(world) else {
        return;
    };
    world.session("work");
    let steps = json!([{"text": "Sixteen letters, and more.", "hold": "h", "hold_after": 1}]);
    world.api.rule("first", steps);
    editor.send("first");
    world.api.wait_hold("h", 1);
    editor.send("second");
    world.wait_queued("work", 1);
    editor.shows("> first\nSixteen letters,\n\n> second\n\n\n");
    world.api.release("h");
    editor.shows(&(turn("first", "Sixteen letters, and more.", "") + &echoed("second")));
    assert_eq!(world.api.prompts(0), ["first", "second"]);
    editor.quit();
}

/// The prompt `write` asks for permission to write the file `new`.
fn asks(world: &World) {
    let steps = json!([{"blocks": [world.write("new")]}, {"text": "after it"}]);
    world.api.rule("write", steps);
}

pub fn a_denied_question_is_told<'a, E: Editor<'a>>(world: &'a World) {
    let Some(editor) = E::start(world) else {
        return;
    };
    asks(world);
    editor.on_question("deny");
    editor.send("write");
    let denied = world.project().join("new");
    assert!(soon(|| editor
        .text("work")
        .contains("clsess: denied: Write ")));
    let text = editor.text("work");
    assert!(
        text.starts_with("> write\nafter it\n\nclsess: denied: Write "),
        "{text}"
    );
    assert!(text.contains(denied.to_str().unwrap()), "{text}");
    assert!(!denied.exists());
    editor.quit();
}

pub fn a_question_is_answered_from_the_editor<'a, E: Editor<'a>>(world: &'a World) {
    let Some(editor) = E::start(world) else {
        return;
    };
    world.session("work");
    let file = world.project().join("new");
    for (answer, done) in [(E::deny as fn(&E), "denied"), (E::approve, "approved")] {
        asks(world);
        editor.send("write");
        world
            .clsess(&["wait", "--for", "question", "work"])
            .run()
            .ok();
        let asked = "clsess: work asks:\n  may Write be used: new\n";
        assert!(
            soon(|| editor.text("work").contains(asked)),
            "{}",
            editor.text("work")
        );
        until("it is told", || editor.state() == "question");
        editor.questions();
        let listed = world.clsess(&["questions", "work"]).run().ok();
        let listed = format!("> clsess questions\n{}", listed.text());
        assert!(soon(|| editor.text("work").contains(&listed)));
        assert!(!file.exists());
        answer(&editor);
        let end = format!("clsess: work: the question was {done}\n");
        assert!(
            soon(|| editor.text("work").contains(&end)),
            "{}",
            editor.text("work")
        );
        world.clsess(&["wait", "work"]).run().ok();
    }
    let answered = "> write\nafter it\n\nclsess: work asks:\n";
    until("both answers are there", || {
        editor.text("work").matches(answered).count() == 2
    });
    assert!(file.exists());
    editor.quit();
}

pub fn states_come_from_one_process<'a, E: Editor<'a>>(world: &'a World) {
    let Some(editor) = E::start(world) else {
        return;
    };
    let watching = || {
        let all = world.processes();
        all.iter()
            .filter(|(_, line)| line.contains("clsess events"))
            .count()
    };
    // Nothing is started by one who only looks.
    assert_eq!((editor.state(), watching()), (String::new(), 0));
    assert!(
        world
            .processes()
            .iter()
            .all(|(_, line)| !line.contains("broker run"))
    );
    editor.send("one");
    editor.shows(&echoed("one"));
    editor.send("two");
    editor.shows(&(echoed("one") + &echoed("two")));
    until("it is told", || editor.state() == "idle");
    assert_eq!(watching(), 1);
    // What others do is told too, and what comes after the broker.
    held(world, "slow", "late");
    let slow = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("slow", 1);
    until("it is told", || editor.state() == "working");
    world.kill_broker();
    world.api.release("slow");
    slow.wait().ok();
    until("it is told", || editor.state() == "idle");
    world.clsess(&["kill", "work"]).run().ok();
    until("it is told", || editor.state().is_empty());
    assert_eq!(watching(), 1);
    editor.quit();
}

pub fn a_project_names_its_session<'a, E: Editor<'a>>(world: &'a World) {
    let dir = world.root().join("-.My näme (2)");
    let below = dir.join("src/deep");
    std::fs::create_dir_all(&below).unwrap();
    std::fs::create_dir(dir.join(".git")).unwrap();
    world.trust(&[&dir]);
    let Some(editor) = E::start_in(world, &below) else {
        return;
    };
    editor.send("hi");
    world.api.wait_main(1);
    let listed = world.clsess(&["ls", "--json"]).run().ok().json();
    let [session] = listed["sessions"].as_array().unwrap().as_slice() else {
        panic!("{listed}");
    };
    assert_eq!(session["cwd"], dir.to_str().unwrap());
    let name = session["name"].as_str().unwrap().to_owned();
    until("it is shown", || editor.text(&name) == echoed("hi"));
    editor.quit();
    // It is the name that clsess gives.
    world.clsess(&["kill", &name]).run().ok();
    let new = world.clsess(&["new"]).cwd(&dir).run().ok();
    assert_eq!(new.text(), format!("{name}\n"));
}

pub fn the_end_of_the_editor_ends_what_it_waits_for<'a, E: Editor<'a>>(world: &'a World) {
    let Some(editor) = E::start(world) else {
        return;
    };
    held(world, "slow", "late");
    editor.send("slow");
    world.api.wait_hold("slow", 1);
    editor.quit();
    until("it is interrupted", || outcomes(world) == ["interrupted"]);
    let ours = |line: &str| line.contains("clsess send") || line.contains("clsess events");
    until("its processes have ended", || {
        world.processes().iter().all(|(_, line)| !ours(line))
    });
    world.api.release("slow");
}
