//! python3.

use serde_json::json;

use crate::{answer, report, world};

#[test]
fn python_answers_as_at_its_own_prompt() {
    let Some(world) = world("") else { return };
    for (prompt, expected) in [
        ("1 + 1", "2\n"),
        ("x = 21", ""),
        ("x * 2", "42\n"),
        ("print('Grüße 🌍', end='')", "Grüße 🌍"),
        ("None", ""),
        (
            "def double(it):\n    text = '''a\n\tb'''\n\n    return it * 2\n\nprint(double('ä'))\ndouble(4)",
            "ää\n8\n",
        ),
        (
            "import sys; print('out'); print('err', file=sys.stderr)",
            "out\nerr\n",
        ),
        ("_", "8\n"),
        ("__name__, 'ask' in dir()", "('__main__', False)\n"),
        ("print('\\x1b]133;D;0\\x07on')", "on\n"),
    ] {
        assert_eq!(answer(&world, "py", prompt), expected, "{prompt:?}");
    }
}

#[test]
fn an_exception_is_the_status_1() {
    let Some(world) = world("") else { return };
    for (prompt, expected) in [
        ("print('first')\n1 / 0", "ZeroDivisionError"),
        ("if:", "SyntaxError"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ] {
        let said = report(&world, "py", prompt);
        assert_eq!(
            (&said["outcome"], &said["exit_status"]),
            (&json!("failed"), &json!(1)),
            "{said}"
        );
        assert!(
            said["answer"].as_str().unwrap().contains(expected),
            "{said}"
        );
    }
    let slow = [
        "send",
        "--timeout",
        "300ms",
        "py",
        "import time; time.sleep(100)",
    ];
    world.clsess(&slow).run().fails(124);
    assert_eq!(answer(&world, "py", "'next'"), "'next'\n");
}
