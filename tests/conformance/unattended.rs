//! Questions of the agent where nobody is there: `--on-question deny` and `fail`.

use serde_json::{Value, json};

use crate::driver::Driver;
use crate::harness::World;
use crate::turns::{AFTER_A_TOOL, usable_after_a_tool};

/// One of the three kinds of question.
pub struct Asked {
    /// The session that asks it; see [`sessions`].
    pub session: &'static str,
    pub tool: &'static str,
    /// As the model gives it.
    pub input: Value,
    /// The failure's message.
    message: &'static str,
}

/// A session, and one that is in plan mode: only there is a plan something to ask about.
pub fn sessions(driver: &Driver, world: &World) {
    driver.session(world, "work");
    driver.session_with(world, "plan", &["--permission-mode", "plan"]);
}

/// A question of each kind; prompts with the tool's name make the agent ask it.
pub fn questions(world: &World) -> [Asked; 3] {
    let options = json!([
        {"label": "Red", "description": "r"}, {"label": "Blue", "description": "b"}
    ]);
    let question = json!({
        "question": "Which colour?", "header": "Colour", "multiSelect": false, "options": options
    });
    let all = [
        Asked {
            session: "work",
            tool: "Write",
            input: json!({"file_path": world.project().join("new"), "content": "x"}),
            message: "the agent asks for permission to use Write",
        },
        Asked {
            session: "work",
            tool: "AskUserQuestion",
            input: json!({"questions": [question]}),
            message: "the agent asks a question",
        },
        Asked {
            session: "plan",
            tool: "ExitPlanMode",
            input: json!({"plan": "# Do it\n"}),
            message: "the agent asks for approval of its plan",
        },
    ];
    for asked in &all {
        let tool = json!({"tool": {"name": asked.tool, "input": asked.input}});
        let steps = json!([{"blocks": [{"text": "before"}, tool]}, {"text": AFTER_A_TOOL}]);
        world.api.rule(asked.tool, steps);
    }
    all
}

pub fn a_question_is_denied_by_default_and_told(driver: &Driver) {
    let Some(world) = World::real() else { return };
    sessions(driver, &world);
    for asked in questions(&world) {
        let denied = format!("clsess: denied: {} {{", asked.tool);
        let send = |options: &[&str]| {
            let args = [&["send"], options, &[asked.session, asked.tool]].concat();
            let done = world.clsess(&args).run().ok();
            let lines: Vec<&str> = done.stderr.lines().collect();
            assert_eq!(lines.len(), 1, "{args:?}: {lines:?}");
            assert!(lines[0].starts_with(&denied), "{args:?}: {lines:?}");
            done
        };
        for options in [&[][..], &["--on-question", "deny"], &["-q"]] {
            assert_eq!(send(options).text(), format!("{AFTER_A_TOOL}\n"));
        }
        let turn = send(&["-o", "json"]).json();
        assert_eq!(turn["answer"], AFTER_A_TOOL);
        // The client asks about a plan without saying which.
        let plan = asked.session == "plan";
        let input = if plan { json!({}) } else { asked.input };
        let denial = json!([{"tool": asked.tool, "input": input}]);
        assert_eq!(turn["permission_denials"], denial);
        let body = world.api.body(world.api.next() - 1).to_string();
        assert!(
            body.contains("Nobody is there to answer"),
            "{}: the agent was not told",
            asked.tool
        );
    }
    assert!(!world.project().join("new").exists());
}

pub fn a_question_ends_the_turn_where_that_is_wanted(driver: &Driver) {
    let Some(world) = World::real() else { return };
    sessions(driver, &world);
    for asked in questions(&world) {
        let before = world.api.next();
        let args = ["send", "--on-question", "fail", asked.session, asked.tool];
        let done = world.clsess(&args).run().fails(6);
        assert_eq!(done.stdout, b"", "{}", asked.tool);
        let expected = format!(
            "clsess: {}\nhint: allow it beforehand (--permission-mode, or permissions.allow in the \
             agent's settings), or answer it: --on-question wait\n",
            asked.message
        );
        assert!(done.stderr.ends_with(&expected), "{}", done.stderr);
        let result = world.clsess(&["result", "-o", "json", asked.session]);
        let turn = result.run().fails(6).json();
        assert_eq!(turn["outcome"], "failed");
        assert_eq!(turn["error"]["code"], "question");
        usable_after_a_tool(&world, asked.session, before);
    }
    assert!(!world.project().join("new").exists());
}

pub fn several_questions_of_one_turn_are_all_denied(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let write = |name| world.write(name);
    let steps = json!([
        {"blocks": [{"text": "before"}, write("a"), write("b")]},
        {"blocks": [write("c")]},
        {"text": AFTER_A_TOOL},
    ]);
    world.api.rule("write", steps);
    let done = world.clsess(&["send", "-o", "json", "work", "write"]).run();
    let turn = done.ok().json();
    assert_eq!(turn["answer"], AFTER_A_TOOL);
    let denials = turn["permission_denials"].as_array().unwrap();
    assert_eq!(denials.len(), 3, "{denials:?}");
    for name in ["a", "b", "c"] {
        assert!(!world.project().join(name).exists(), "{name}");
    }
}
