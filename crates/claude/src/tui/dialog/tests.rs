//! Screens as 2.1.328 draws them, some of them narrower.

use super::*;

const TRUST: &str = "\
────────────────────────────────────────────────
 Accessing workspace:

 /tmp/x

 Quick safety check: Is this a project you
 created or one you trust? (Like your own code).

 Claude Code'll be able to read, edit, and execute files here.

 Security guide

 ❯ No, exit
   Yes, I trust this folder

 Enter to confirm · Esc to cancel
";

const THEME: &str = "\
 Welcome to Claude Code v2.1.328
 ……………………………………

 Let's get started.

 Choose the text style that looks best with your terminal
 To change this later, run /theme

 ❯ ✔ Auto (match terminal)
     Dark mode
     Light mode (colorblind-friendly)

 ╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌
  1  function greet() {
  2 -  console.log(\"Hello\");
 ╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌
";

const LOGIN: &str = "\
 Claude Code can be used with your Claude subscription.

 Select login method:

 ❯ 1. Claude account with subscription · Individual, Team, or Enterprise

   2. Anthropic Console account · API usage billing

   3. 3rd-party platform
";

const BYPASS: &str = "\
────────────────────────────────────────────────
  WARNING: Claude Code running in Bypass
  Permissions mode

  By proceeding, you accept all responsibility for actions taken while running in Bypass
  Permissions mode.

  https://code.claude.com/docs/en/security

  ❯ No, exit
    Yes, I accept

  Enter to confirm · Esc to cancel
";

/// As versions before drew it.
const FRAMED: &str = "\
╭──────────────────────────────────────────────────────────╮
│ WARNING: Claude Code running in Bypass Permissions mode  │
│                                                          │
│ ❯ 1. No, exit                                            │
│   2. Yes, I accept                                       │
│                                                          │
╰──────────────────────────────────────────────────────────╯
  Enter to confirm · Esc to cancel
";

const API_KEY: &str = "\
────────────────────────────────────────────────
  Detected a custom API key in your environment

  ANTHROPIC_API_KEY: sk-ant-...0123456789abcdefghij

  Do you want to use this API key?

    Yes
  ❯ No (recommended)

  Enter to confirm · Esc to cancel
";

const OFFLINE: &str = "\
 Welcome to Claude Code v2.1.328

 Unable to connect to Anthropic services
 Failed to connect to api.anthropic.com: ECONNREFUSED
";

/// An ordinary screen with this conversation on it.
fn ordinary(conversation: &str) -> String {
    let rule = "─".repeat(60);
    format!("{conversation}\n{rule}\n❯ \n{rule}\n  ⏸ manual mode on · ? for shortcuts\n")
}

/// The screen when a permission is asked for, below this conversation.
fn permission(conversation: &str) -> String {
    let rule = "─".repeat(60);
    format!(
        "{conversation}\n{rule}\n Bash command\n\n   touch x\n\n Do you want to proceed?\n ❯ 1. Yes\n   \
         2. Yes, and always allow access to x\n   3. No\n\n Esc to cancel · Tab to amend\n"
    )
}

#[test]
fn each_dialog_is_known() {
    for (screen, kind, choices, selected) in [
        (
            TRUST,
            Kind::Trust,
            &["No, exit", "Yes, I trust this folder"][..],
            0,
        ),
        (
            THEME,
            Kind::Theme,
            &[
                "Auto (match terminal)",
                "Dark mode",
                "Light mode (colorblind-friendly)",
            ],
            0,
        ),
        (
            LOGIN,
            Kind::Login,
            &[
                "Claude account with subscription · Individual, Team, or Enterprise",
                "Anthropic Console account · API usage billing",
                "3rd-party platform",
            ],
            0,
        ),
        (BYPASS, Kind::Bypass, &["No, exit", "Yes, I accept"], 0),
        (FRAMED, Kind::Bypass, &["No, exit", "Yes, I accept"], 0),
        (API_KEY, Kind::ApiKey, &["Yes", "No (recommended)"], 1),
        (OFFLINE, Kind::NoConnection, &[], 0),
        (
            "\n Paste code here if prompted >\n",
            Kind::LoginCode,
            &[],
            0,
        ),
    ] {
        let found = dialog(screen).unwrap_or_else(|| panic!("{kind:?} is not known"));
        assert_eq!((found.kind, found.selected), (kind, selected));
        assert_eq!(found.choices, choices);
    }
}

#[test]
fn the_older_order_of_the_choices() {
    let screen = TRUST
        .replace("❯ No, exit", "❯ 1. Yes, I trust this folder")
        .replace("   Yes, I trust this folder\n", "   2. No, exit\n");
    let found = dialog(&screen).unwrap();
    assert_eq!(found.choices, ["Yes, I trust this folder", "No, exit"]);
}

#[test]
fn a_tick_is_no_part_of_a_choice() {
    let moved = THEME
        .replace("❯ ✔ Auto", "  ✔ Auto")
        .replace("     Dark mode", " ❯   Dark mode");
    let older = THEME
        .replace("❯ ✔ Auto", "  1. Auto")
        .replace("     Dark mode", " ❯ 2. Dark mode ✔")
        .replace("     Light mode", "   3. Light mode");
    for screen in [moved, older] {
        let found = dialog(&screen).unwrap();
        assert_eq!(found.choices, dialog(THEME).unwrap().choices);
        assert_eq!(found.selected, 1);
    }
}

#[test]
fn what_a_dialog_says() {
    let found = dialog(TRUST).unwrap();
    assert!(found.text.starts_with("Accessing workspace:\n\n/tmp/x\n"));
    assert!(found.text.ends_with("Security guide"));
    assert_eq!(
        dialog(OFFLINE).unwrap().text,
        "Unable to connect to Anthropic services\nFailed to connect to api.anthropic.com: ECONNREFUSED"
    );
}

#[test]
fn the_box_for_prompts() {
    for quoted in ["", TRUST, LOGIN, "──────────\n❯ x"] {
        assert!(takes_prompts(&ordinary(quoted)), "{quoted}");
        assert!(!takes_prompts(&permission(&ordinary(quoted))), "{quoted}");
    }
    let typed = ordinary("").replace("❯ \n", "❯ two\n  lines\n");
    assert!(takes_prompts(&typed), "{typed}");
    let menu = format!("{}\n ❯ /help  Show help\n   /model", ordinary(""));
    assert!(!takes_prompts(&menu), "{menu}");
    for other in ["", TRUST, THEME, LOGIN, BYPASS, API_KEY, OFFLINE] {
        assert!(!takes_prompts(other), "{other}");
    }
}

#[test]
fn the_mode_that_is_shown() {
    let shows = |line: &str| ordinary("⏵⏵ auto mode on").replace("⏸ manual mode on", line);
    for (line, expected) in [
        ("⏸ manual mode on", Some("default")),
        ("⏸ plan mode on (shift+tab to cycle)", Some("plan")),
        ("-- INSERT -- ⏸ plan mode on", Some("plan")),
        ("⏵⏵ accept edits on", Some("acceptEdits")),
        ("⏵⏵ bypass permissions on", Some("bypassPermissions")),
        ("my own status\n  ⏵⏵ don't ask on", Some("dontAsk")),
        ("Press Ctrl-C again to exit", None),
        ("not ⏸ plan mode on", None),
    ] {
        assert_eq!(mode(&shows(line)), expected, "{line}");
    }
    assert_eq!(mode("⏸ plan mode on"), None);
}

/// Whoever quotes a dialog, on whatever screen: it is none.
#[test]
fn a_quoted_dialog_is_none() {
    let code = "Paste code here if prompted >\n";
    for quoted in ["", TRUST, THEME, LOGIN, BYPASS, API_KEY, OFFLINE, code] {
        for screen in [ordinary(quoted), permission(quoted)] {
            assert_eq!(dialog(&screen), None, "{screen}");
        }
    }
    // words without the choices, choices without the words, another selector below
    assert_eq!(dialog(&TRUST.replace("❯ No", "  No")), None);
    assert_eq!(dialog(&TRUST.replace("safety", "safe")), None);
    assert_eq!(dialog(&format!("{TRUST}\n ❯ 1. Red\n   2. Blue\n")), None);
    assert_eq!(dialog(""), None);
}
