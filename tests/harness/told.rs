//! Errors as they must be told: as text, and as JSON beside it.

use serde_json::{Value, json};

use super::World;

/// An error as it must be told.
pub struct Told<'a> {
    /// See the name.
    pub exit: i32,
    /// See the name.
    pub code: &'a str,
    /// See the name.
    pub message: &'a str,
    /// See the name.
    pub hint: Option<&'a str>,
}

/// What is expected.
pub fn told<'a>(
    exit: i32,
    code: &'a str,
    message: &'a str,
    hint: impl Into<Option<&'a str>>,
) -> Told<'a> {
    Told {
        exit,
        code,
        message,
        hint: hint.into(),
    }
}

impl Told<'_> {
    /// On stderr.
    pub fn text(&self) -> String {
        let hint = self
            .hint
            .map_or_else(String::new, |h| format!("hint: {h}\n"));
        format!("clsess: {}\n{hint}", self.message.replace('\n', " "))
    }

    /// On stdout, under `error`.
    pub fn json(&self) -> Value {
        let mut error = json!({"code": self.code, "message": self.message});
        if let Some(hint) = self.hint {
            error["hint"] = hint.into();
        }
        error
    }
}

/// Runs it for people, and for programs where it has a switch for that.
#[track_caller]
pub fn check(world: &World, args: &[&str], stdin: &[u8], expected: &Told<'_>) {
    let done = world.clsess(args).stdin(stdin).run().fails(expected.exit);
    assert_eq!(done.stderr, expected.text(), "{args:?}");
    assert_eq!(done.stdout, b"", "{args:?}");
    let verb = usize::from(args[0] == "broker") + 1;
    let switches: &[&[&str]] = match args[..verb] {
        ["new" | "ls" | "show"] | ["broker", "status"] => &[&["--json"]],
        ["send" | "result"] => &[&["-o", "json"], &["-o", "stream-json"]],
        _ => return,
    };
    for switch in switches {
        let args = [&args[..verb], switch, &args[verb..]].concat();
        let done = world.clsess(&args).stdin(stdin).run().fails(expected.exit);
        assert_eq!(done.stderr, expected.text(), "{args:?}");
        let last = done
            .json_lines()
            .pop()
            .unwrap_or_else(|| panic!("no JSON: {args:?}"));
        assert_eq!(last["error"], expected.json(), "{args:?}");
    }
}
