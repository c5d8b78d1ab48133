//! Sessions whose body is the agent's own interface, with the real Claude Code.
//!
//! `CLSESS_TUI_TURNS` is how many turns are run in a row (`make soak` says 200).
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic)] // tests: helpers are not #[test] functions

mod harness;

use harness::World;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde_json::json;

fn session(world: &World) {
    world.clsess(&["new", "work", "--driver", "tui"]).run().ok();
    assert_eq!(world.show("work")["driver"], "tui");
}

#[test]
fn a_prompt_is_answered() {
    let Some(world) = World::real() else { return };
    world.api.answer("first thing", "the first answer");
    world.api.answer("second thing", "the second\n\nanswer");
    session(&world);
    let done = world.clsess(&["send", "work", "first thing"]).run().ok();
    assert_eq!(done.text(), "the first answer\n");
    let done = world.clsess(&["send", "work", "second thing"]).run().ok();
    assert_eq!(done.text(), "the second\n\nanswer\n");
    assert_eq!(world.api.prompts(0), ["first thing", "second thing"]);
}

/// A turn asks, this happens meanwhile, and it is allowed.
fn approve(world: &World, meanwhile: impl FnOnce()) {
    let steps = json!([{"blocks": [world.write("new")]}, {"text": "written"}]);
    world.api.rule("write", steps);
    let asks = ["send", "--on-question", "wait", "work", "write"];
    let asks = world.clsess(&asks).spawn();
    world.wait_state("work", "question");
    meanwhile();
    world.clsess(&["approve", "work"]).run().ok();
    assert_eq!(asks.wait().ok().text(), "written\n");
    assert!(world.project().join("new").exists());
}

/// The user's own hooks: a command for each event.
fn own_hooks(world: &World, commands: &[(&str, String)]) {
    let hooks: serde_json::Map<_, _> = commands
        .iter()
        .map(|(event, command)| {
            let hook = json!([{"hooks": [{"type": "command", "command": command}]}]);
            ((*event).to_owned(), hook)
        })
        .collect();
    let settings = world.project().join(".claude");
    std::fs::create_dir_all(&settings).unwrap();
    let hooks = json!({ "hooks": hooks }).to_string();
    std::fs::write(settings.join("settings.json"), hooks).unwrap();
}

/// The client cannot write its registry: where its directory should be is a file.
fn no_registry(world: &World) {
    let home = world.home().join(".claude");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("sessions"), "").unwrap();
}

/// A turn is broken off, and the next one is right.
fn interrupt(world: &World) {
    let held = json!([{"text": "half an answer", "hold": "h"}]);
    world.api.rule("slow", held);
    let slow = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    world.clsess(&["interrupt", "work"]).run().ok();
    slow.wait().fails(10);
    world.api.release("h");
    assert_eq!(world.send("work", "and now?"), "you said: and now?\n");
}

/// What a paste carries is pasted into the empty box, without the editor, and comes as it is.
#[test]
fn what_is_plain_is_pasted() {
    let Some(world) = World::real() else { return };
    session(&world);
    world.send("work", "first thing");
    // The editor's file is made in there, and removed.
    let user = nix::unistd::getuid();
    let files = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).unwrap();
    let dir = world.root().join(format!("tmp/claude-{user}"));
    files.add_watch(&dir, AddWatchFlags::IN_CREATE).unwrap();
    let edits = || {
        let made = std::iter::from_fn(|| files.read_events().ok()).flatten();
        let names = made.filter_map(|event| event.name?.into_string().ok());
        names
            .filter(|name| name.starts_with("claude-prompt"))
            .count()
    };
    let printable: String = (' '..='~').filter(|c| *c != '@').collect();
    let latin: String = ('\u{a1}'..'\u{300}').filter(|c| *c != '\u{ad}').collect();
    let (long, first) = (latin.chars().cycle().take(497), world.api.next());
    let prompts = [
        format!("a{printable}."),
        format!("a {}", long.collect::<String>()),
        "a    b \\ c".to_owned(),
        "1".to_owned(),
    ];
    for (at, prompt) in prompts.iter().enumerate() {
        world.api.answer(prompt, &format!("answer {at}"));
        assert_eq!(world.send("work", prompt), format!("answer {at}\n"));
        // The provider refuses: the box is empty all the same.
        let refused = json!([{"status": 400, "message": "no"}]);
        let wrong = format!("wrong {at}");
        world.api.rule_repeat(&wrong, refused);
        world.clsess(&["send", "work", &wrong]).run().fails(1);
    }
    assert_eq!(edits(), 0);
    let mut asked = world.api.prompts(first);
    asked.retain(|prompt| !prompt.starts_with("wrong"));
    assert_eq!(asked, prompts);
    // After an interrupt its prompt may be in the box.
    interrupt(&world);
    assert_eq!(edits(), 1);
}

/// Nobody would hear what becomes of a prompt, and whether it was sent.
#[test]
fn without_hooks_nothing_is_typed() {
    let Some(world) = World::real() else { return };
    let new = world
        .clsess(&["new", "work", "--driver", "tui"])
        .env("CLAUDE_CODE_SIMPLE", "1");
    let refused = new.run().fails(1);
    assert!(
        refused.stderr.contains("runs no hooks"),
        "{}",
        refused.stderr
    );
    assert!(world.api.prompts(0).is_empty());
}

/// A person's own keys: the editor has none, and Enter makes a newline.
#[test]
fn keys_that_mean_something_else_are_left_alone() {
    let Some(world) = World::real() else { return };
    let keys = json!({"bindings": [{"context": "Chat", "bindings": {
        "ctrl+g": null, "enter": "chat:newline", "ctrl+s": "chat:submit",
    }}]});
    let claude = world.home().join(".claude");
    std::fs::create_dir_all(&claude).unwrap();
    std::fs::write(claude.join("keybindings.json"), keys.to_string()).unwrap();
    session(&world);
    let prompts = ["first thing", "two\nlines", "an end \\", "and :smi"];
    for prompt in prompts {
        assert_eq!(world.send("work", prompt), format!("you said: {prompt}\n"));
    }
    assert_eq!(world.api.prompts(0), prompts);
}

/// The smallest image.
const IMAGE: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90wS\xde\x00\x00\x00\x0cIDATx\x9cc\xf8\xcf\xc0\x00\x00\x03\x01\x01\x00\xc9\xfe\x92\xef\x00\x00\x00\x00IEND\xaeB`\x82";

/// The client makes an image of a pasted line that is the path of one, and offers an emoji for the beginning
/// of its name; to us both are texts as any other.
#[test]
fn paths_of_images_and_names_of_emoji_are_texts() {
    let Some(world) = World::real() else { return };
    let image = world.project().join("a.png");
    std::fs::write(&image, IMAGE).unwrap();
    session(&world);
    world.send("work", "first thing");
    let path = image.to_str().unwrap();
    // The client reads a pasted path as a shell does.
    let disguised = path.replace(".png", ".p\\ng");
    let first = world.api.next();
    let prompts = [
        format!("look at\n{path}"),
        format!("look at {path}"),
        "a.png".to_owned(),
        "and :smi".to_owned(),
        "é :+1".to_owned(),
        format!("look at {disguised}\n{disguised}"),
        "what was it?".to_owned(),
    ];
    for prompt in &prompts {
        assert_eq!(world.send("work", prompt), format!("you said: {prompt}\n"));
    }
    assert_eq!(world.api.prompts(first), prompts);
    let last = world.api.main_requests(first).pop().unwrap();
    let body = world.api.body(last["index"].as_u64().unwrap());
    assert!(!body.to_string().contains("\"image\""), "{body}");
    let log = world.clsess(&["log", "work", "--json"]).run().ok();
    assert_eq!(log.json_lines().len(), 1 + prompts.len());
}

/// The user's own hooks are run beside ours: one looks at the prompt, and one makes the model go on. What it
/// says then is of the same turn, as without our hooks.
#[test]
fn a_users_own_hooks_work_beside_ours() {
    let Some(world) = World::real() else { return };
    let (seen, again) = (world.root().join("seen"), world.root().join("again"));
    let once = format!(
        r#"[ -e {0} ] || {{ touch {0}; echo '{{"decision":"block","reason":"more"}}'; }}"#,
        again.display()
    );
    let look = format!("cat >> {}", seen.display());
    own_hooks(&world, &[("UserPromptSubmit", look), ("Stop", once)]);
    for driver in ["stream", "tui"] {
        world.api.answer("first thing", "the first answer\n");
        world.api.answer("Stop hook feedback", "the second answer");
        let new = ["new", "--driver", driver, driver];
        world.clsess(&new).run().ok();
        let answer = "the first answer\nthe second answer\n";
        assert_eq!(world.send(driver, "first thing"), answer, "{driver}");
        std::fs::remove_file(&again).unwrap();
        let looked = std::fs::read_to_string(&seen).unwrap();
        assert!(looked.contains(r#""prompt":"first thing""#), "{looked}");
        std::fs::remove_file(&seen).unwrap();
    }
}

/// Who is no process of an agent says nothing in its name.
#[test]
fn a_hook_of_nobody_is_refused() {
    let Some(world) = World::real() else { return };
    session(&world);
    let held = json!([{"text": "the answer", "hold": "h"}]);
    world.api.rule("first thing", held);
    let sent = world.clsess(&["send", "work", "first thing"]).spawn();
    world.api.wait_hold("h", 1);
    let id = world.show("work")["agent_session_id"].clone();
    let forged = json!({
        "session_id": id, "hook_event_name": "Stop", "last_assistant_message": "forged",
    });
    let (parent, socket) = (world.state(), world.socket());
    let words = [
        "hook",
        "default",
        parent.to_str().unwrap(),
        socket.to_str().unwrap(),
    ];
    let hook = world.clsess(&words).stdin(forged.to_string()).run();
    assert!(hook.stderr.contains("runs in no agent"), "{}", hook.stderr);
    // 2 would mean something to an agent.
    assert_eq!((hook.code, hook.text()), (1, ""));
    assert_eq!(world.show("work")["state"], "working");
    world.api.release("h");
    assert_eq!(sent.wait().ok().text(), "the answer\n");
}

/// How many turns are run in a row when nothing else is said.
const FEW: usize = 20;

#[test]
fn many_turns_in_a_row() {
    let Some(world) = World::real() else { return };
    let turns = std::env::var("CLSESS_TUI_TURNS").map_or(FEW, |turns| turns.parse().unwrap());
    session(&world);
    let agent = world.agent("work");
    let mut requests = 0;
    for turn in 0..turns {
        // Some of many lines, and some with a tool.
        let line = if turn % 2 == 0 { "\nline" } else { "\n\tline" };
        let prompt = format!("turn {turn}:{}", line.repeat(turn % 7));
        let answer = format!("answer {turn}{}", "\nline".repeat(turn % 50));
        let tool = json!({"tool": {"name": "Read", "input": {"file_path": "/etc/hostname"}}});
        let steps = match turn % 3 {
            0 => json!([{"blocks": [{"text": "I look."}, tool]}, {"text": answer}]),
            _ => json!([{"text": answer}]),
        };
        world.api.rule(&format!("turn {turn}:"), steps);
        assert_eq!(world.send("work", &prompt), answer + "\n");
        let arrived = world.api.prompts(requests);
        assert_eq!(arrived[0], prompt);
        assert_eq!(arrived.len(), 1 + usize::from(turn % 3 == 0), "{turn}");
        requests = world.api.next();
    }
    assert_eq!(world.agent("work"), agent);
    assert_eq!(world.show("work")["turns"], turns);
}

/// Its words come with the next broker, and its screen: the interface has not noticed.
#[test]
fn it_outlives_the_broker() {
    let Some(world) = World::real() else { return };
    world.api.answer("first thing", "the first answer");
    world.api.answer("second thing", "the second answer");
    session(&world);
    world.clsess(&["send", "work", "first thing"]).run().ok();
    let agent = world.agent("work");
    world.kill_broker();
    let done = world.clsess(&["send", "work", "second thing"]).run().ok();
    assert_eq!(done.text(), "the second answer\n");
    assert_eq!(world.agent("work"), agent);
    harness::until("it is on the screen", || {
        let screen = world.clsess(&["capture", "work"]).run().ok();
        screen.text().contains("the second answer")
    });
}

/// One that does not tell its state to its terminal: it is heard from its registry.
#[test]
fn an_old_version_is_slower_and_never_wrong() {
    let Some(world) = World::real_of(&["2.1.197"]) else {
        return;
    };
    session(&world);
    assert_eq!(world.show("work")["agent_version"], "2.1.197");
    for turn in 0..5 {
        let prompt = format!("turn {turn}:\n\tline");
        let answer = format!("answer {turn}{}", "\nline".repeat(turn * 9));
        let tool = json!({"tool": {"name": "Read", "input": {"file_path": "/etc/hostname"}}});
        let steps = json!([{"blocks": [{"text": "I look."}, tool]}, {"text": answer}]);
        world.api.rule(&format!("turn {turn}:"), steps);
        assert_eq!(world.send("work", &prompt), answer + "\n");
    }
    // It makes another form of this, which shows before it is sent.
    let done = world.clsess(&["send", "work", "e\u{301}"]).run();
    assert_eq!(done.code, 2, "{}", done.stderr);
    // A question, an interrupt, and a broker's death.
    approve(&world, || {
        world.kill_broker();
    });
    interrupt(&world);
}

/// The kernel gives a user 128 watches, and the clients take some too: the same where none is left.
#[test]
fn an_old_version_where_nothing_can_be_watched() {
    let limited = |script: &str| {
        let script = format!("echo 1 >/proc/sys/user/max_inotify_instances && {script}");
        let mut limited = std::process::Command::new("unshare");
        limited.args(["-Ur", "sh", "-c", &script]);
        limited.arg(std::env::current_exe().unwrap());
        limited
    };
    if !limited("true").status().is_ok_and(|done| done.success()) {
        let _: Option<()> = harness::skipped("no user namespace can be had");
        return;
    }
    let again = "exec \"$0\" --exact an_old_version_is_slower_and_never_wrong --nocapture";
    let done = limited(again).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

/// Its registry cannot be written to: its screen is all that says when it is ready.
#[test]
fn an_old_version_without_a_registry() {
    let Some(world) = World::real_of(&["2.1.197"]) else {
        return;
    };
    no_registry(&world);
    let new = ["new", "work", "--driver", "tui"];
    let new = world.clsess(&new).spawn();
    harness::until("there is a session", || {
        !world.clsess(&["ls"]).run().ok().text().is_empty()
    });
    let agent = world.agent("work");
    world.kill_broker();
    new.wait().ok();
    assert_eq!(world.agent("work"), agent);
    assert_eq!(world.send("work", "first"), "you said: first\n");
    approve(&world, || ());
    interrupt(&world);
}

/// The same with a slow hook of the user's that makes the model go on: nothing tells that it runs.
#[test]
fn an_old_version_without_a_registry_waits_for_hooks() {
    let Some(world) = World::real_of(&["2.1.197"]) else {
        return;
    };
    no_registry(&world);
    let again = world.root().join("again");
    // longer than what belongs together may be apart
    let slow = format!(
        r#"[ -e {0} ] || {{ sleep 4; touch {0}; echo '{{"decision":"block","reason":"more"}}'; }}"#,
        again.display()
    );
    own_hooks(&world, &[("Stop", slow)]);
    session(&world);
    world.api.answer("first thing", "the first answer\n");
    world.api.answer("Stop hook feedback", "the second answer");
    let answer = "the first answer\nthe second answer\n";
    assert_eq!(world.send("work", "first thing"), answer);
    assert_eq!(world.send("work", "second"), "you said: second\n");
}

/// What the interface would change is not typed into it, and what it changes all the same is not
/// sent.
#[test]
fn what_it_cannot_carry_is_refused() {
    let Some(world) = World::real() else { return };
    session(&world);
    let altered = "<pasted_content id=\"1\">x</pasted_content>";
    for prompt in ["/init", "exit", "the end ", "a\u{200b}b", altered] {
        let done = world.clsess(&["send", "work", "--", prompt]).run();
        assert_eq!(done.code, 2, "{prompt:?}: {}", done.stderr);
        assert!(done.stderr.contains("unchanged"), "{}", done.stderr);
    }
    let carried = ["fine", "a\ttab", "!ls", "e\u{301}", "C:\\", "#x\r\ny"];
    for (at, prompt) in carried.iter().enumerate() {
        let answer = format!("answer {at}");
        world.api.answer(prompt, &answer);
        let done = world.clsess(&["send", "work", "--", prompt]).run().ok();
        assert_eq!(done.text(), answer + "\n");
    }
    assert_eq!(world.api.prompts(0), carried);
}
