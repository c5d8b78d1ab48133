//! A line of stdin as a command. Pure.

use std::time::Duration;

use clsess_proto::{ErrorCode, Failure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::input::MAX_LINE;
use crate::cli::{OnBusy, OnCrash, OnLimit, OnQuestion};
use crate::config::a_duration;

/// What can be asked for.
#[derive(Debug, Deserialize)]
#[serde(tag = "cmd", rename_all = "snake_case")]
pub enum Command {
    /// Run a prompt.
    Send(Box<Send>),
    /// Begin a new conversation.
    Restart {},
    /// End what this pipe has begun.
    Shutdown {},
    /// End the turn that runs.
    Interrupt {},
    /// What the agent asks.
    Questions {},
    /// Say yes.
    Approve {
        /// Its id or a unique beginning of it; absent: the only one.
        question: Option<String>,
        /// Keep the rules that the agent suggests.
        #[serde(default)]
        always: bool,
    },
    /// Say no.
    Deny {
        /// As of `approve`.
        question: Option<String>,
        /// What the agent is told.
        message: Option<String>,
    },
    /// Answer.
    Answer {
        /// As of `approve`.
        question: Option<String>,
        /// One for each question that is asked at once.
        texts: Vec<String>,
    },
    /// Tell all that happens, or no longer.
    Events {
        /// See the name.
        on: bool,
        /// In these; absent: in the one that the command is about; empty: in all.
        sessions: Option<Vec<String>>,
    },
    /// All sessions.
    Ls {},
    /// All about a session.
    Show {},
    /// None that this build knows.
    #[serde(other)]
    Unknown,
}

/// See [`Command::Send`].
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Send {
    /// See the name.
    pub prompt: Option<String>,
    /// As the options of `clsess send`.
    #[serde(deserialize_with = "a_duration")]
    pub timeout: Option<Duration>,
    #[serde(deserialize_with = "a_duration")]
    pub deadline: Option<Duration>,
    pub on_busy: Option<OnBusy>,
    pub on_question: Option<OnQuestion>,
    pub on_limit: Option<OnLimit>,
    pub on_crash: Option<OnCrash>,
    pub key: Option<String>,
    /// Tell the events of the turn too.
    pub events: bool,
}

/// What a command is known by: it comes back in every line about it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct About {
    /// As it is written: a number may be one that no type of ours holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Box<RawValue>>,
    /// Another session than that of the pipe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// What stands in any command.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Envelope {
    id: Option<Box<RawValue>>,
    session: Option<Value>,
    cmd: Option<Value>,
}

/// Reads a line. What is wrong with it is told about what could be read.
pub fn read(line: &[u8]) -> (About, Result<Command, Failure>) {
    let mut about = About::default();
    let command = read_about(line, &mut about);
    (about, command)
}

fn read_about(line: &[u8], about: &mut About) -> Result<Command, Failure> {
    let text = std::str::from_utf8(line).map_err(|error| {
        let at = error.valid_up_to();
        refused(&format!("the line is not UTF-8 (byte {at})"))
    })?;
    if !text.trim_start().starts_with('{') {
        return Err(refused("the line is not a JSON object"));
    }
    let envelope: Envelope = serde_json::from_str(text).map_err(|e| not_read(&e))?;
    if let Some(id) = envelope.id {
        if id.get().starts_with(['{', '[', 't', 'f']) {
            return Err(refused("an id is a string or a number"));
        }
        about.id = Some(id);
    }
    about.session = match envelope.session {
        None => None,
        Some(Value::String(name)) => Some(name),
        Some(_) => return Err(refused("a session is named by a string")),
    };
    let named = match envelope.cmd {
        Some(Value::String(name)) => name,
        _ => return Err(refused("the line has no \"cmd\"")),
    };
    match serde_json::from_str(text).map_err(|e| not_read(&e))? {
        Command::Unknown => {
            let message = format!("there is no command {named:?}");
            Err(Failure::new(ErrorCode::UnknownRequest, message).hint("man clsess-pipe"))
        }
        command => Ok(command),
    }
}

/// A line that was too long.
#[must_use]
pub fn too_long() -> Failure {
    let message = format!("a line is longer than {} MiB", MAX_LINE >> 20);
    Failure::new(ErrorCode::BadRequest, message)
        .hint("name a file in the prompt, and the agent reads it")
}

fn not_read(error: &serde_json::Error) -> Failure {
    let wrong = error.to_string();
    // It is always the first line.
    let wrong = wrong.replace(" at line 1 column ", ", at byte ");
    refused(&match error.is_data() {
        true => wrong,
        false => format!("the line is not JSON: {wrong}"),
    })
}

fn refused(why: &str) -> Failure {
    Failure::new(ErrorCode::BadRequest, why).hint("man clsess-pipe")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Command {
        read(line.as_bytes()).1.unwrap()
    }

    fn failure(line: impl AsRef<[u8]>) -> (String, ErrorCode, String) {
        let (about, command) = read(line.as_ref());
        let failure = command.unwrap_err();
        let about = serde_json::to_string(&about).unwrap();
        (about, failure.code, failure.message)
    }

    #[test]
    fn what_row_a_sends_is_read() {
        let Command::Send(send) = command(r#"{"cmd":"send","prompt":"a\nb"}"#) else {
            panic!("no send");
        };
        assert_eq!(send.prompt.as_deref(), Some("a\nb"));
        // A field that is not known is nobody's business.
        let more = r#" {"more":[{}],"cmd":"restart"} "#;
        assert!(matches!(command(more), Command::Restart {}));
        assert!(matches!(
            command(r#"{"cmd":"shutdown"}"#),
            Command::Shutdown {}
        ));
        for line in [r#"{"cmd":"send"}"#, r#"{"cmd":"send","prompt":null}"#] {
            let Command::Send(send) = command(line) else {
                panic!("no send");
            };
            assert_eq!(send.prompt, None);
        }
    }

    #[test]
    fn an_id_comes_back_as_it_is() {
        for id in [
            "1",
            "-0.50e3",
            "123456789012345678901234567890",
            r#""é\u0041""#,
        ] {
            let line = format!(r#"{{"cmd":"ls","session":"x","id":{id}}}"#);
            let (about, command) = read(line.as_bytes());
            assert!(matches!(command.unwrap(), Command::Ls {}));
            let expected = format!(r#"{{"id":{id},"session":"x"}}"#);
            assert_eq!(serde_json::to_string(&about).unwrap(), expected);
        }
        let (about, _) = read(br#"{"cmd":"ls","id":null,"session":null}"#);
        assert!(about.id.is_none() && about.session.is_none());
    }

    #[test]
    fn durations_are_seconds_or_texts() {
        let Command::Send(send) = command(r#"{"cmd":"send","timeout":7,"deadline":"1m30s"}"#)
        else {
            panic!("no send");
        };
        assert_eq!(send.timeout, Some(Duration::from_secs(7)));
        assert_eq!(send.deadline, Some(Duration::from_secs(90)));
    }

    #[test]
    fn what_is_no_command_is_told_by_what_is_wrong() {
        use ErrorCode::{BadRequest, UnknownRequest};
        let told = |line: &str, about: &str, code, message: &str| {
            let expected = (about.to_owned(), code, message.to_owned());
            assert_eq!(failure(line), expected, "{line}");
        };
        told(
            "nonsense",
            "{}",
            BadRequest,
            "the line is not a JSON object",
        );
        told(
            "[\"send\"]",
            "{}",
            BadRequest,
            "the line is not a JSON object",
        );
        told(
            "{\"cmd\":",
            "{}",
            BadRequest,
            "the line is not JSON: EOF while parsing a value, at byte 7",
        );
        told("{}", "{}", BadRequest, "the line has no \"cmd\"");
        told(
            "{\"cmd\":1,\"id\":2}",
            "{\"id\":2}",
            BadRequest,
            "the line has no \"cmd\"",
        );
        told(
            "{\"cmd\":\"dance\",\"id\":2}",
            "{\"id\":2}",
            UnknownRequest,
            "there is no command \"dance\"",
        );
        told(
            "{\"cmd\":\"ls\",\"id\":[]}",
            "{}",
            BadRequest,
            "an id is a string or a number",
        );
        told(
            "{\"cmd\":\"ls\",\"session\":1,\"id\":2}",
            "{\"id\":2}",
            BadRequest,
            "a session is named by a string",
        );
        for (field, wrong) in [
            (
                "\"prompt\":1",
                "invalid type: integer `1`, expected a string",
            ),
            (
                "\"timeout\":\"soon\"",
                "expected number at 0; write it like 90s, 5m or 1h30m, a \
                bare number is seconds",
            ),
            (
                "\"timeout\":[]",
                "a duration is a whole number of seconds, or a text like \"90s\" \
                or \"5m\"",
            ),
            (
                "\"on_busy\":\"dance\"",
                "unknown variant `dance`, expected one of `queue`, `fail`, \
                `interrupt`, `steer`",
            ),
        ] {
            let line = format!("{{\"cmd\":\"send\",{field},\"id\":2}}");
            told(&line, "{\"id\":2}", BadRequest, wrong);
        }
        assert_eq!(
            failure(b"{\"cmd\":\"\xff").2,
            "the line is not UTF-8 (byte 8)"
        );
        for field in ["cmd", "session", "more"] {
            let deep = "[".repeat(100_000) + &"]".repeat(100_000);
            let line = format!("{{\"{field}\":{deep},\"cmd\":\"ls\"}}");
            assert_eq!(failure(line).1, BadRequest, "{field}");
        }
    }
}
