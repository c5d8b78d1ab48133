//! The lines of stdout.

use std::io;

use clsess_proto::{ErrorCode, Event, Failure, Outcome, TurnId, TurnReport};
use nix::poll::PollTimeout;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::command::About;
use crate::output::{json_line, say};
use crate::stdout::{Stdout, takes};

/// Lines that wait for a reader that is slow; whoever has more to say waits.
const MAX_LINES: usize = 16;

/// A line. `type` names it.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Line<'a> {
    /// The session takes prompts.
    Ready {},
    /// What is added to the text of the turn.
    TextDelta { text: &'a str },
    /// The answer.
    Result {
        result: &'a str,
        /// For who knows more than the plain protocol; without the answer, which it would repeat.
        #[serde(flatten)]
        report: Option<Box<TurnReport>>,
    },
    /// A new conversation has begun.
    Restarted {},
    /// Something went wrong.
    Error {
        message: &'a str,
        code: ErrorCode,
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        turn: Option<TurnId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        outcome: Option<Outcome>,
    },
    /// The session has the prompt.
    Accepted { turn: TurnId },
    /// Something has happened.
    Event(&'a Event),
    /// It is done, and this is what was asked for.
    Ok {
        #[serde(flatten)]
        body: Map<String, Value>,
    },
}

impl<'a> Line<'a> {
    /// What went wrong.
    #[must_use]
    pub fn error(failure: &'a Failure) -> Self {
        Self::error_of(failure, None, None)
    }

    /// The same of a turn.
    #[must_use]
    pub fn error_of(failure: &'a Failure, turn: Option<TurnId>, outcome: Option<Outcome>) -> Self {
        Self::Error {
            message: &failure.message,
            code: failure.code,
            hint: failure.hint.as_deref(),
            turn,
            outcome,
        }
    }

    /// With what it is about, as it is written.
    #[must_use]
    pub fn text(&self, about: &About) -> String {
        #[derive(Serialize)]
        struct Whole<'a> {
            #[serde(flatten)]
            line: &'a Line<'a>,
            #[serde(flatten)]
            about: About,
        }
        let mut about = about.clone();
        if self.names_its_session() {
            about.session = None;
        }
        json_line(&Whole { line: self, about })
    }

    fn names_its_session(&self) -> bool {
        match self {
            Self::Result { report, .. } => report.is_some(),
            Self::Event(_) => true,
            _ => false,
        }
    }
}

/// The way to stdout.
pub struct Said(mpsc::Sender<String>);

impl Said {
    /// Begins to write; the writer ends when nothing more can come, or with what is wrong with
    /// stdout.
    #[must_use]
    pub fn begin() -> (Self, JoinHandle<io::Result<()>>) {
        let (to, mut lines) = mpsc::channel::<String>(MAX_LINES);
        let writer = tokio::spawn(async move {
            let mut out = Stdout::new();
            while let Some(line) = lines.recv().await {
                out.write(line.as_bytes()).await?;
            }
            Ok(())
        });
        (Self(to), writer)
    }

    /// Says it.
    pub async fn say(&self, about: &About, line: Line<'_>) {
        self.write(line.text(about)).await;
    }

    /// Says what went wrong; and that the session takes prompts all the same, where the time of a
    /// turn is over.
    pub async fn fails(&self, about: &About, failure: &Failure, of: Option<(TurnId, Outcome)>) {
        let (turn, outcome) = of.unzip();
        let mut text = Line::error_of(failure, turn, outcome).text(about);
        if failure.code == ErrorCode::TimedOut {
            text += &Line::Ready {}.text(about);
        }
        self.write(text).await;
    }

    /// Whole lines, and nothing of others in between.
    async fn write(&self, lines: String) {
        // That nobody takes it is seen where the writer is waited for.
        let _ = self.0.send(lines).await;
    }
}

/// A line for people on stderr, unless that takes nothing now: a program that embeds this may
/// not read it, and nothing may stand still for that.
pub fn remark(line: &str) {
    if takes(io::stderr(), PollTimeout::ZERO).unwrap_or(false) {
        say(line);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::command::read;
    use super::*;

    fn plain(line: &Line<'_>) -> String {
        line.text(&About::default())
    }

    #[test]
    fn the_plain_lines_are_those_of_row_a() {
        assert_eq!(plain(&Line::Ready {}), "{\"type\":\"ready\"}\n");
        let text = plain(&Line::TextDelta { text: "a\nb\"é" });
        assert_eq!(text, "{\"type\":\"text_delta\",\"text\":\"a\\nb\\\"é\"}\n");
        let result = plain(&Line::Result {
            result: "",
            report: None,
        });
        assert_eq!(result, "{\"type\":\"result\",\"result\":\"\"}\n");
        assert_eq!(plain(&Line::Restarted {}), "{\"type\":\"restarted\"}\n");
        let failure = Failure::new(ErrorCode::PromptEmpty, "the prompt is empty");
        assert_eq!(
            plain(&Line::error(&failure)),
            "{\"type\":\"error\",\"message\":\"the prompt is empty\",\"code\":\"prompt_empty\"}\n"
        );
    }

    #[test]
    fn a_line_says_what_it_is_about_once() {
        let (about, _) = read(br#"{"cmd":"ls","id":12345678901234567890123,"session":"a"}"#);
        assert_eq!(
            Line::Ready {}.text(&about),
            "{\"type\":\"ready\",\"id\":12345678901234567890123,\"session\":\"a\"}\n"
        );
        let event = json!({"seq": 1, "session": "b", "event": "unasked"});
        let event: Event = serde_json::from_value(event).unwrap();
        assert_eq!(
            Line::Event(&event).text(&about),
            "{\"type\":\"event\",\"seq\":1,\"session\":\"b\",\"event\":\"unasked\",\
             \"id\":12345678901234567890123}\n"
        );
    }
}
