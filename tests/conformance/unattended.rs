//! Questions of the agent where nobody is there: `--on-question deny` and `fail`.

use serde_json::{Value, json};

use crate::driver::Driver;
use crate::harness::World;
use crate::turns::{AFTER_A_TOOL, usable_after_a_tool};

/// A tool call that needs a permission.
fn write_tool(world: &World) -> Value {
    let input = json!({"file_path": world.project().join("new"), "content": "x"});
    json!([{"blocks": [{"tool": {"name": "Write", "input": input}}]}, {"text": AFTER_A_TOOL}])
}

pub fn a_question_is_denied_by_default_and_told(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    world.api.rule("write", write_tool(&world));
    for args in [
        &["send"][..],
        &["send", "--on-question", "deny"],
        &["send", "-q"],
    ] {
        let args = [args, &["work", "write"]].concat();
        let done = world.clsess(&args).run().ok();
        assert_eq!(done.text(), format!("{AFTER_A_TOOL}\n"));
        let input = json!({"file_path": world.project().join("new"), "content": "x"});
        let denied: Value = serde_json::from_str(
            done.stderr
                .strip_prefix("clsess: denied: Write ")
                .unwrap_or_else(|| panic!("{}", done.stderr)),
        )
        .unwrap();
        assert_eq!(denied, input);
    }
    assert!(!world.project().join("new").exists());
    let body = world.api.body(world.api.next() - 1).to_string();
    assert!(
        body.contains("Nobody is there to answer"),
        "the agent was not told"
    );
}

pub fn a_question_ends_the_turn_where_that_is_wanted(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    world.api.rule("write", write_tool(&world));
    let args = ["send", "--on-question", "fail", "work", "write"];
    let done = world.clsess(&args).run().fails(6);
    assert_eq!(done.stdout, b"");
    assert!(
        done.stderr.ends_with(
            "clsess: the agent asks for permission to use Write\n\
             hint: allow it beforehand: --permission-mode, or permissions.allow in the agent's settings\n"
        ),
        "{}",
        done.stderr
    );
    usable_after_a_tool(&world);
}
