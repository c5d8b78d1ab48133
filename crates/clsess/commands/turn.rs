//! A turn as it is printed: `send` and `result` do it alike.

use std::future::Future;
use std::io::{self, IsTerminal};
use std::time::Duration;

use clsess_proto::{
    ErrorCode, Event, EventKind, Failure, Outcome, Question, Reply, TurnId, TurnReport,
};
use serde::Serialize;
use tokio::time::Instant;

use super::questions::{short, words};
use crate::cli::{Format, OutputOptions, When};
use crate::live::{Live, Said};
use crate::output::{Output, brief, cannot_print, json_line, plain, say};
use crate::progress::Progress;
use crate::stdout::Stdout;
use clsess_client::client::{Client, Incoming, unexpected};
use clsess_client::hearing::Hearing;

/// How long a reader that takes nothing is waited for when a signal has come.
const HURRY: Duration = Duration::from_millis(500);

/// The last line of `-o stream-json`: the event, and all that is known of the turn.
#[derive(Serialize)]
struct ResultLine<'a> {
    seq: u64,
    event: &'static str,
    #[serde(flatten)]
    report: &'a TurnReport,
}

/// How much of it still reaches stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    /// All of it, however long that takes.
    All,
    /// What is taken within [`HURRY`].
    InAHurry,
    /// Nothing.
    Nothing,
}

/// Prints one turn.
pub struct Printer {
    format: Format,
    /// Texts are printed as they come.
    texts: Option<Live>,
    output: Output,
    out: Stdout,
    writing: Writing,
    progress: Progress,
    /// Questions are told whatever else is.
    questions: bool,
    /// When the broker is given up.
    give_up: Option<Instant>,
    hearing: Hearing,
    arrived: bool,
}

impl Printer {
    /// As the options say.
    #[must_use]
    pub fn new(options: OutputOptions, output: &Output) -> Self {
        let text = options.output == Format::Text;
        let live = text
            && match options.stream {
                When::Always => true,
                When::Never => false,
                When::Auto => io::stdout().is_terminal(),
            };
        Self {
            format: options.output,
            texts: live.then(Live::default),
            output: *output,
            out: Stdout::new(),
            writing: Writing::All,
            progress: Progress::new(text && !output.quiet, live),
            questions: false,
            give_up: None,
            hearing: Hearing::default(),
            arrived: false,
        }
    }

    /// The broker is not waited for beyond this time.
    pub fn gives_up(&mut self, at: Instant) {
        self.give_up = Some(at);
    }

    /// Questions of the agent wait for somebody: they are told on stderr, wherever that goes.
    pub fn tells_questions(&mut self) {
        self.questions = true;
    }

    /// Whether the events of the turn are needed.
    #[must_use]
    pub fn wants_events(&self) -> bool {
        let shown = self.texts.is_some() || self.progress.shows();
        shown || self.questions || self.format == Format::StreamJson
    }

    /// Whether all texts of the turn are needed.
    #[must_use]
    pub fn wants_texts(&self) -> bool {
        self.texts.is_some()
    }

    /// It is this turn.
    pub fn follows(&mut self, turn: TurnId) {
        self.hearing.of(turn);
    }

    /// Whether the turn has ended, and all that is left is to print that.
    #[must_use]
    pub fn arrived(&self) -> bool {
        self.arrived
    }

    /// A signal has come: a reader that takes nothing is not waited for.
    pub fn hurry(&mut self) {
        self.writing = Writing::InAHurry;
    }

    /// The turn is told from its beginning again; `same`: by the broker that told
    /// it so far, whose events have the same numbers.
    pub fn told_again(&mut self, same: bool) {
        self.hearing.told_again(same);
    }

    /// Prints until the turn has ended; the exit code. Can be dropped between two
    /// events and called again.
    ///
    /// # Errors
    /// When there is no turn: the failure is not printed yet.
    pub async fn follow(&mut self, client: &mut Client, id: u64) -> Result<u8, Failure> {
        loop {
            match in_time(self.give_up, client.next(id)).await? {
                Incoming::Event(event) => self.event(event).await,
                Incoming::Answer(Ok(Reply::Turn(report))) => {
                    self.arrived = true;
                    return Ok(self.end(&report).await);
                }
                Incoming::Answer(Ok(other)) => return Err(unexpected(&other)),
                Incoming::Answer(Err(failure)) => {
                    self.progress.clear();
                    return Err(failure);
                }
            }
        }
    }

    async fn event(&mut self, event: Event) {
        let Some(news) = self.hearing.hear(event) else {
            return;
        };
        let event = news.event;
        if news.unclear
            && let Some(texts) = &mut self.texts
        {
            texts.missed();
        }
        if self.questions {
            self.progress.pause(|| question(&event));
        }
        if self.format == Format::StreamJson {
            // The end is printed with all that is known of it.
            if !matches!(event.kind, EventKind::Result { .. } | EventKind::Unknown) {
                self.write(&json_line(&event)).await;
            }
            return;
        }
        self.progress.event(&event.kind);
        let Some(texts) = &mut self.texts else {
            return;
        };
        match event.kind {
            EventKind::Gap { .. } => texts.missed(),
            EventKind::Retry { .. } => texts.retry(),
            EventKind::Text { message, text } => {
                let said = texts.text(message as usize, &text);
                self.said(said).await;
            }
            _ => {}
        }
    }

    /// Prints the turn's end; the exit code.
    async fn end(&mut self, report: &TurnReport) -> u8 {
        self.progress.clear();
        for note in notes(report) {
            self.output.note(&note);
        }
        match self.format {
            Format::Text => self.end_of_text(report).await,
            Format::Json => self.write(&json_line(report)).await,
            Format::StreamJson => {
                let line = ResultLine {
                    seq: self.hearing.last_seq(),
                    event: "result",
                    report,
                };
                self.write(&json_line(&line)).await;
            }
        }
        for denial in denials(report) {
            say(&denial);
        }
        let Some(failure) = failure_of(report) else {
            return 0;
        };
        self.output.complain(&failure);
        failure.code.exit()
    }

    async fn end_of_text(&mut self, report: &TurnReport) {
        let well = report.outcome == Outcome::Completed || is_whole(report);
        let answer = report.answer.as_slice();
        if let Some(live) = &mut self.texts {
            let said = live.end(report.texts.as_deref().unwrap_or(answer), well);
            self.said(said).await;
        } else if well {
            let mut answer = answer.concat();
            if !answer.is_empty() && !answer.ends_with('\n') {
                answer.push('\n');
            }
            self.write(&answer).await;
        }
    }

    async fn said(&mut self, said: Said) {
        if let Some(note) = said.note {
            self.output.note(note);
        }
        self.write(&said.text).await;
    }

    /// Writes to stdout. A reader that is gone ends the command; its turn goes on.
    async fn write(&mut self, text: &str) {
        if text.is_empty() || self.writing == Writing::Nothing {
            return;
        }
        let writing = self.out.write(text.as_bytes());
        let written = if self.writing == Writing::All {
            writing.await
        } else if let Ok(written) = tokio::time::timeout(HURRY, writing).await {
            written
        } else {
            self.writing = Writing::Nothing;
            return;
        };
        if let Err(error) = written {
            cannot_print(&error);
        }
    }
}

/// Whether the answer is all that was said, though the turn has failed: a program's command has exited
/// with a status of its own.
fn is_whole(report: &TurnReport) -> bool {
    let code = report.error.as_ref().map(|error| error.code);
    report.exit_status.is_some() && code == Some(ErrorCode::AgentError)
}

/// What is worth to know of a turn that has ended, however it has.
#[must_use]
pub fn notes(report: &TurnReport) -> Vec<String> {
    let deaths = match report.agent_deaths {
        0 => None,
        1 => Some("once".to_owned()),
        times => Some(format!("{times} times")),
    };
    let deaths = deaths.map(|often| {
        format!("the agent died {often} in this turn, and another one was given the prompt")
    });
    deaths
        .into_iter()
        .chain(report.context_lost.clone())
        .collect()
}

/// What the agent was not allowed to do. Never silenced: the answer may be worth less for it.
pub fn denials(report: &TurnReport) -> impl Iterator<Item = String> {
    report.permission_denials.iter().map(|denial| {
        let text = format!("denied: {} {}", denial.tool, brief(&denial.input));
        format!("clsess: {}\n", plain(&text))
    })
}

/// Why a turn that has ended has no answer.
#[must_use]
pub fn failure_of(report: &TurnReport) -> Option<Failure> {
    if report.outcome == Outcome::Completed {
        return None;
    }
    let unknown = || Failure::new(ErrorCode::Internal, "the turn ended for no known reason");
    Some(report.error.clone().unwrap_or_else(unknown))
}

/// Waits for the broker, but not beyond this time.
///
/// # Errors
/// [`ErrorCode::TimedOut`] then, and those of the broker.
pub async fn in_time<T>(
    give_up: Option<Instant>,
    waits: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let Some(give_up) = give_up else {
        return waits.await;
    };
    tokio::time::timeout_at(give_up, waits)
        .await
        .unwrap_or_else(|_| {
            let message = "the deadline is over, and the broker has not answered";
            Err(Failure::new(ErrorCode::TimedOut, message).hint("clsess ls; clsess broker status"))
        })
}

/// Tells of a question that waits, and of its end.
fn question(event: &Event) {
    let session = &event.session;
    match &event.kind {
        EventKind::Question {
            id,
            kind,
            tool,
            input,
            text,
            options,
        } => {
            let question = Question {
                id: id.clone(),
                session: session.clone(),
                turn: event.turn,
                kind: *kind,
                tool: tool.clone(),
                input: input.clone(),
                text: text.clone(),
                options: options.clone(),
                asked_at: 0,
            };
            let words = words(&question, &short(id));
            say(&format!("clsess: {session} asks:\n{words}"));
        }
        EventKind::QuestionResolved { how, .. } => {
            say(&format!("clsess: {session}: the question was {how}\n"));
        }
        _ => {}
    }
}
