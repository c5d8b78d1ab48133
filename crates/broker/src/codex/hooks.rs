//! Codex's hooks: how it is told to run ours, what they say, and what they are answered.

use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::sha256;

/// The hooks that we are told of, as the config and as the keys of their trust name them.
const EVENTS: [(&str, &str); 2] = [("UserPromptSubmit", "user_prompt_submit"), ("Stop", "stop")];
/// Seconds that Codex waits for one: a broker may have to be started again. It is Codex's own default.
const TIMEOUT: u32 = 600;

/// What a hook says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Call {
    /// Its conversation; `codex resume` takes it.
    pub session_id: Option<Uuid>,
    /// Where that is written down.
    pub transcript_path: Option<String>,
    /// Codex's own name for the turn; of several one after the other it may be the same.
    #[serde(default)]
    pub turn_id: String,
    /// What happens.
    #[serde(flatten)]
    pub event: Event,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "hook_event_name")]
pub enum Event {
    /// A prompt was entered, and is not sent before this is answered.
    UserPromptSubmit {
        /// It.
        prompt: String,
    },
    /// The model has said what it wanted to.
    Stop {
        /// Its last message, byte for byte; none where that is empty.
        last_assistant_message: Option<String>,
    },
    /// One that we know nothing of.
    #[serde(other)]
    Other,
}

/// Reads what a hook is given.
///
/// # Errors
/// When it is none.
pub fn parse(input: &[u8]) -> Result<Call, serde_json::Error> {
    serde_json::from_slice(input)
}

/// The answer that changes nothing. Text would be told to the model.
pub const NOTHING: &str = "";

/// The prompt is not sent. `reason` is shown at the screen.
#[must_use]
pub fn block(reason: &str) -> String {
    json!({ "decision": "block", "reason": reason }).to_string()
}

/// The arguments by which Codex runs these words for each hook, and asks nobody whether it may. No
/// file is touched. Its daemon is off: it would run the hooks of several sessions.
#[must_use]
pub fn arguments(words: &[&str]) -> Vec<String> {
    let own: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    let own = own.join(" ");
    let mut arguments = vec![
        "-c".to_owned(),
        "features.daemon_auto_start=false".to_owned(),
    ];
    let mut trusted = Vec::new();
    for (event, label) in EVENTS {
        // A prompt that we do not see must not go out; for `Stop` 2 would make the model go on.
        let shut = if event == "Stop" { "" } else { " || exit 2" };
        let command = json!(format!("{own}{shut}")).to_string();
        let hook = format!("{{type=\"command\",command={command},timeout={TIMEOUT}}}");
        arguments.extend(["-c".into(), format!("hooks.{event}=[{{hooks=[{hook}]}}]")]);
        let hash = hash(label, &command);
        trusted.push(format!(
            "\"/<session-flags>/config.toml:{label}:0:0\"={{trusted_hash=\"sha256:{hash}\"}}"
        ));
    }
    let trusted = trusted.join(",");
    arguments.extend(["-c".into(), format!("hooks.state={{{trusted}}}")]);
    arguments
}

/// What Codex knows a hook by. `command`: as JSON.
fn hash(label: &str, command: &str) -> String {
    let identity = format!(
        r#"{{"event_name":"{label}","hooks":[{{"async":false,"command":{command},"timeout":{TIMEOUT},"type":"command"}}]}}"#
    );
    sha256::hex(identity.as_bytes())
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
