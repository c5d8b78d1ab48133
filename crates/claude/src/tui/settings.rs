//! The settings by which the client calls our hooks: a file for `--settings`.
//!
//! They stand beside the user's own (facts 4(d)), and need no approval.

use serde_json::{Value, json};

/// Seconds that a person may take. What they decide is not decided by a clock: when the hook of a
/// prompt were given up, the prompt would be sent unseen.
const FOR_PEOPLE: u64 = 86_400;
/// Seconds until somebody has started a broker again; what the client waits by itself (facts 10).
const FOR_A_BROKER: u64 = 600;
/// Seconds for what holds up the client's end.
const AT_THE_END: u64 = 2;

/// An event that older versions do not know: 2.1.197 does not get ready with it (measured).
const NEWER: &str = "PostModelSwitch";

/// The events that we are told of, and for how long the client waits for each answer.
pub const EVENTS: &[(&str, u64)] = &[
    ("SessionStart", FOR_A_BROKER),
    ("UserPromptSubmit", FOR_PEOPLE),
    ("MessageDisplay", FOR_A_BROKER),
    ("PreToolUse", FOR_A_BROKER),
    ("PermissionRequest", FOR_PEOPLE),
    ("PostToolUse", FOR_A_BROKER),
    ("PostToolUseFailure", FOR_A_BROKER),
    ("PostToolBatch", FOR_A_BROKER),
    ("SubagentStart", FOR_A_BROKER),
    ("SubagentStop", FOR_A_BROKER),
    ("Stop", FOR_A_BROKER),
    ("StopFailure", FOR_A_BROKER),
    (NEWER, FOR_A_BROKER),
    ("Notification", FOR_A_BROKER),
    ("SessionEnd", AT_THE_END),
];

/// The settings: for each of [`EVENTS`] the same program with the same arguments, without a shell
/// (measured: they come as they are). It is told the event on its stdin ([`super::hooks::parse`]).
///
/// A hook that dies, ends with 1 or takes too long would let the prompt out that it is to look at:
/// `onFailure` stops that (measured: no request). And the user's own `disableAllHooks` would turn
/// ours off, and the left arrow in the empty box would hand the session to the client's own daemon.
///
/// `shuts`: the client knows `onFailure`, and all of the events. One that does not has a shell between,
/// whose 2 stops the prompt when ours fails ([`crate::version::MIN_SHUTS`]); for another event 2 means
/// other things.
#[must_use]
pub fn settings(program: &str, args: &[&str], shuts: bool) -> String {
    let own = [&[program], args].concat();
    let shut = [&["/bin/sh", "-c", r#""$@" || exit 2"#, "sh"], &own[..]].concat();
    let hook = |(event, timeout): &(&str, u64)| {
        let words = match *event {
            "UserPromptSubmit" if !shuts => &shut,
            _ => &own,
        };
        let hook = json!({
            "type": "command",
            "command": words[0],
            "args": words[1..],
            "timeout": timeout,
            "onFailure": "block",
        });
        ((*event).to_owned(), json!([{ "hooks": [hook] }]))
    };
    let known = EVENTS.iter().filter(|(event, _)| shuts || *event != NEWER);
    let hooks: serde_json::Map<String, Value> = known.map(hook).collect();
    json!({ "disableAllHooks": false, "disableAgentView": true, "hooks": hooks }).to_string()
}

/// Whether by these settings of the client something else than we may have a say when a turn stops:
/// a hook for `Stop`, or plugins, which may have one. What cannot be read may.
#[must_use]
pub fn may_go_on(settings: &str) -> bool {
    let Ok(settings) = serde_json::from_str::<Value>(settings) else {
        return true;
    };
    let any = |key: &str, what: &str| settings[key].get(what).is_some_and(|it| !it.is_null());
    let plugins = settings["enabledPlugins"].as_object();
    any("hooks", "Stop") || plugins.is_some_and(|plugins| !plugins.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_make_the_model_go_on() {
        for (settings, expected) in [
            ("{}", false),
            (
                r#"{"hooks":{"SessionStart":[]},"enabledPlugins":{}}"#,
                false,
            ),
            (r#"{"hooks":{"Stop":[{"hooks":[]}]}}"#, true),
            (r#"{"enabledPlugins":{"x@y":false}}"#, true),
            ("{", true),
            ("", true),
        ] {
            assert_eq!(may_go_on(settings), expected, "{settings}");
        }
    }

    #[test]
    fn each_event_has_our_command() {
        let made = |shuts| {
            let settings = settings("/a b/clsess", &["hook", "$x"], shuts);
            serde_json::from_str::<Value>(&settings).unwrap()
        };
        let older = made(false);
        assert_eq!(older["hooks"].as_object().unwrap().len(), EVENTS.len() - 1);
        let prompt = &older["hooks"]["UserPromptSubmit"][0]["hooks"][0];
        assert_eq!(prompt["command"], "/bin/sh");
        let words = ["-c", r#""$@" || exit 2"#, "sh", "/a b/clsess", "hook", "$x"];
        assert_eq!(prompt["args"], json!(words));
        let settings = made(true);
        let prompt = &settings["hooks"]["UserPromptSubmit"][0]["hooks"][0];
        assert_eq!(prompt["command"], "/a b/clsess");
        let hooks = settings["hooks"].as_object().unwrap();
        assert_eq!(hooks.len(), EVENTS.len());
        assert_eq!(
            hooks["PermissionRequest"],
            json!([{"hooks": [{
                "type": "command",
                "command": "/a b/clsess",
                "args": ["hook", "$x"],
                "timeout": 86400,
                "onFailure": "block"
            }]}])
        );
        assert_eq!(hooks["Stop"][0]["hooks"][0]["timeout"], 600);
    }
}
