//! What the real client was recorded to say in its interface, read.

#![allow(clippy::unwrap_used)] // a test: helpers are not #[test] functions

use std::path::{Path, PathBuf};

use clsess_claude::registry::{Activity, registered};
use clsess_claude::tui::dialog::{Kind, dialog};
use clsess_claude::tui::{Hook, Report, hooks, status};

fn files(kind: &str) -> Vec<(String, Vec<u8>)> {
    let dir: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tui/2.1.328");
    let entries = std::fs::read_dir(dir.join(kind)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let named = paths.map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read(path).unwrap())
    });
    named.collect()
}

#[test]
fn each_hook_is_known() {
    let unknown = ["PreCompact", "PostCompact", "UserPromptExpansion"];
    for (name, body) in files("hooks") {
        let call = hooks::parse(&body).unwrap();
        let other = matches!(call.hook, Hook::Other(_));
        assert_eq!(
            other,
            unknown.iter().any(|it| name.starts_with(it)),
            "{name}"
        );
        assert_eq!(call.agent.is_some(), name.contains("in-subagent"), "{name}");
        assert!(call.session.is_some(), "{name}");
    }
}

#[test]
fn each_dialog_is_known() {
    for (name, screen) in files("dialogs") {
        let Some(name) = name.strip_suffix(".txt") else {
            continue;
        };
        let expected = match name {
            "trust" => Some((Kind::Trust, 0)),
            "api-key" | "onboarding-api-key" => Some((Kind::ApiKey, 1)),
            "onboarding-theme" => Some((Kind::Theme, 0)),
            "onboarding-login" => Some((Kind::Login, 0)),
            "no-connection" => Some((Kind::NoConnection, 0)),
            "bypass-warning" => Some((Kind::Bypass, 0)),
            _ => None,
        };
        let found = dialog(&String::from_utf8_lossy(&screen));
        assert_eq!(found.map(|it| (it.kind, it.selected)), expected, "{name}");
    }
}

#[test]
fn each_report_is_known() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tui/2.1.328");
    for line in std::fs::read_to_string(dir.join("status.txt"))
        .unwrap()
        .lines()
    {
        let Some(inside) = line.strip_prefix("\\x1b]7501;") else {
            continue;
        };
        let inside = inside.strip_suffix("\\x07").unwrap();
        match status::report(inside.as_bytes()) {
            Some(Report::Asked) => assert_eq!(inside, "?"),
            Some(Report::Status(_)) => assert!(!inside.contains("id="), "{inside}"),
            None => assert!(inside.contains("id="), "{inside}"),
        }
    }
}

#[test]
fn each_entry_of_the_registry_is_known() {
    for (name, entry) in files("registry") {
        let activity = match name.as_str() {
            "idle.json" => Activity::Idle,
            "waiting.json" => Activity::Waiting,
            _ => Activity::Busy,
        };
        let entry = registered(&entry).unwrap();
        assert_eq!(entry.activity, Some(activity), "{name}");
        assert_eq!(entry.version.as_deref(), Some("2.1.328"), "{name}");
    }
}
