//! bash: answers, statuses, order.

use serde_json::{Value, json};

use crate::harness::until;
use crate::{answer, report, shows, world};

#[test]
fn the_answer_is_the_output_of_exactly_that_command() {
    let Some(world) = world("") else { return };
    for (prompt, expected) in [
        ("echo hello", "hello\n"),
        ("printf 'no newline'", "no newline"),
        ("true", ""),
        ("# nothing at all", ""),
        (
            "echo 'Grüße, 世界 🌍 e\u{301}'",
            "Grüße, 世界 🌍 e\u{301}\n",
        ),
        (
            "echo \"it's a trap!\" '!!' \\$HOME",
            "it's a trap! !! $HOME\n",
        ),
        ("printf 'a\\r\\nb\\rc\\r\\r\\n'", "a\r\nb\rc\r\r\n"),
        (
            "printf '\\e[31mred\\e[m \\e]0;title\\a\\e[2J!\\n'",
            "red !\n",
        ),
        ("printf 'x\\xffy\\xc3'", "x\u{fffd}y\u{fffd}"),
        (
            "printf '\\e]133;D;0\\a\\e]133;A\\a'; sleep 0.1; echo still",
            "still\n",
        ),
        (
            "for i in 1 2 3; do\n  echo \"$i\"\n\ndone\necho end",
            "1\n2\n3\nend\n",
        ),
        (
            "cat <<'END'\n\ttab and 'quotes'\n  $HOME\nEND",
            "\ttab and 'quotes'\n  $HOME\n",
        ),
        ("echo one\necho two\n\n\n", "one\ntwo\n"),
        ("x=5; cd /", ""),
        ("echo $x; pwd", "5\n/\n"),
        ("echo err >&2; echo out", "err\nout\n"),
    ] {
        assert_eq!(answer(&world, "sh", prompt), expected, "{prompt:?}");
    }
    assert_eq!(world.send("sh", "printf 'no newline'"), "no newline\n");
    assert_eq!(world.show("sh")["driver"], "marks");
}

#[test]
fn a_status_other_than_0_is_a_failure_with_its_answer() {
    let Some(world) = world("") else { return };
    let failed = world.clsess(&["send", "sh", "echo before; (exit 3)"]).run();
    let failed = failed.fails(1);
    assert_eq!(failed.text(), "before\n");
    assert_eq!(failed.stderr, "clsess: exit status 3\n");
    let said = report(&world, "sh", "echo before; false");
    assert_eq!(
        (&said["outcome"], &said["answer"]),
        (&json!("failed"), &json!("before\n"))
    );
    assert_eq!(
        (&said["exit_status"], &said["error"]["code"]),
        (&json!(1), &json!("agent_error"))
    );
    // Neither is the status of the one before taken for that of a comment.
    let said = report(&world, "sh", "# nothing");
    assert_eq!(
        (&said["outcome"], &said["exit_status"]),
        (&json!("completed"), &Value::Null)
    );
    let said = report(&world, "sh", "if then");
    assert_eq!(
        (&said["outcome"], &said["exit_status"]),
        (&json!("failed"), &json!(2))
    );
    assert!(
        said["answer"].as_str().unwrap().contains("syntax error"),
        "{said}"
    );
    // Of several commands that of the last one.
    assert_eq!(answer(&world, "sh", "echo a\nfalse\necho b"), "a\nb\n");
}

#[test]
fn long_output_is_whole() {
    let Some(world) = world("") else { return };
    let count = 200_000;
    let expected: String = (1..=count).map(|number| format!("{number}\n")).collect();
    assert!(expected.len() > 1_000_000);
    assert_eq!(answer(&world, "sh", &format!("seq {count}")), expected);
    assert_eq!(answer(&world, "sh", "echo next"), "next\n");
}

#[test]
fn a_long_prompt_arrives() {
    let Some(world) = world("") else { return };
    let words: String = (0..4000).map(|number| format!("w{number} ")).collect();
    let prompt = format!("printf '%s\\n' {words} | cksum; printf '%s\\n' {words} | wc -l");
    let expected = world.shell(&prompt).run().ok();
    assert_eq!(answer(&world, "sh", &prompt), expected.text());
}

#[test]
fn a_hundred_prompts_run_in_order_each_with_its_own_answer() {
    let Some(world) = world("") else { return };
    world.clsess(&["new", "sh"]).run().ok();
    let turns: Vec<String> = (0..100)
        .map(|number| {
            let prompt = format!("echo $((n = ${{n:-0}} + 1)) {number}");
            let send = ["send", "--no-wait", "sh", &prompt];
            world.clsess(&send).run().ok().text().trim().to_owned()
        })
        .collect();
    for (number, turn) in turns.iter().enumerate() {
        let result = world.clsess(&["result", "sh", turn]).run().ok();
        assert_eq!(result.text(), format!("{} {number}\n", number + 1));
    }
    let log = world
        .clsess(&["log", "--json", "sh"])
        .run()
        .ok()
        .json_lines();
    assert_eq!(log.len(), 100);
}

#[test]
fn senders_side_by_side_get_their_own_answers() {
    let Some(world) = world("") else { return };
    let sends: Vec<_> = (0..12)
        .map(|number| {
            let prompt = format!("echo begun {number}; sleep 0.02; seq {number}");
            (number, world.clsess(&["send", "sh", &prompt]).spawn())
        })
        .collect();
    for (number, send) in sends {
        let lines: String = (1..=number).map(|line| format!("{line}\n")).collect();
        assert_eq!(send.wait().ok().text(), format!("begun {number}\n{lines}"));
    }
}

#[test]
fn timeouts_and_interrupts_leave_nothing_to_the_next_answer() {
    let Some(world) = world("") else { return };
    for _ in 0..3 {
        let slow = [
            "send",
            "--timeout",
            "300ms",
            "sh",
            "echo half; sleep 100; echo never",
        ];
        world.clsess(&slow).run().fails(124);
        assert_eq!(answer(&world, "sh", "echo after $?"), "after 130\n");
        let slow = world
            .clsess(&["send", "sh", "echo \"runs\" $$; sleep 100"])
            .spawn();
        shows(&world, "sh", "runs ");
        until("it says so", || {
            let ends = ["interrupt", "sh"];
            world.clsess(&ends).run().code == 0 && !slow.runs()
        });
        slow.wait().fails(10);
        assert_eq!(answer(&world, "sh", "printf next"), "next");
        world.clsess(&["type", "sh", "clear\r"]).run().ok();
    }
    // One that goes on after Ctrl-C has ended well, and its answer is whole.
    let deaf = "trap : INT; sleep 0.5; echo on; trap - INT";
    let send = ["send", "--timeout", "200ms", "sh", deaf];
    let done = world.clsess(&send).run().ok();
    assert!(done.text().ends_with("on\n"), "{done:?}");
    assert_eq!(answer(&world, "sh", "echo fine"), "fine\n");
}

#[test]
fn what_is_about_turns_is_about_these() {
    let Some(world) = world("") else { return };
    let keyed = || {
        world
            .clsess(&["send", "--key", "once", "sh", "echo $((n = ${n:-0} + 1))"])
            .run()
    };
    assert_eq!(keyed().ok().text(), "1\n");
    assert_eq!(keyed().ok().text(), "1\n");
    assert_eq!(answer(&world, "sh", "echo $n"), "1\n");
    let other = ["send", "--key", "once", "sh", "echo other"];
    world.clsess(&other).run().fails(2);
    let result = world.clsess(&["result", "sh", "-2"]).run().ok();
    assert_eq!(result.text(), "1\n");
    let log = world.clsess(&["log", "sh"]).run().ok();
    assert!(log.text().contains("> echo $n"), "{}", log.text());
    // Words come as they are said.
    let stream = [
        "send",
        "--stream",
        "always",
        "sh",
        "echo first; sleep 0.2; echo second",
    ];
    let stream = world.clsess(&stream).spawn();
    stream.wait_stdout(|out| out == b"first\n");
    assert_eq!(stream.wait().ok().text(), "first\nsecond\n");
    let detail = world.show("sh");
    assert_eq!(detail["command"][0], "bash", "{detail}");
}

#[test]
fn what_cannot_be_typed_is_refused_and_nothing_is_typed() {
    let Some(world) = world("") else { return };
    assert_eq!(answer(&world, "sh", "echo a"), "a\n");
    for prompt in [
        "echo \u{1b}[31m",
        "echo a\rb",
        "echo \u{3}",
        "echo \u{7f}",
        "echo \u{9b}1m",
    ] {
        let refused = world
            .clsess(&["send", "-o", "json", "sh", "--", prompt])
            .run()
            .fails(2);
        assert_eq!(refused.json()["error"]["code"], "unrepresentable");
    }
    // A program that takes no pastes gets single lines only.
    assert_eq!(
        answer(&world, "sh", "bind 'set enable-bracketed-paste off'"),
        ""
    );
    let refused = world
        .clsess(&["send", "-o", "json", "sh", "echo a\necho b"])
        .run()
        .fails(2);
    assert_eq!(refused.json()["error"]["code"], "unrepresentable");
    assert_eq!(answer(&world, "sh", "echo single"), "single\n");
    let log = world
        .clsess(&["log", "--json", "sh"])
        .run()
        .ok()
        .json_lines();
    let ran = log.iter().filter(|turn| turn["outcome"] == "completed");
    assert_eq!(ran.count(), 3, "{log:?}");
}
