//! A turn as it is printed: `send` and `result` do it alike.

use std::io::{self, IsTerminal};

use clsess_proto::{ErrorCode, Event, EventKind, Failure, Outcome, Reply, TurnReport};
use serde::Serialize;

use crate::cli::{Format, OutputOptions, When};
use crate::client::{Client, Incoming, unexpected};
use crate::output::{BROKEN_PIPE, Output, brief, json_line};
use crate::progress::Progress;
use crate::stdout::Stdout;

/// The last line of `-o stream-json`: the event, and all that is known of the turn.
#[derive(Serialize)]
struct ResultLine<'a> {
    seq: u64,
    event: &'static str,
    #[serde(flatten)]
    report: &'a TurnReport,
}

/// Prints one turn.
pub struct Printer {
    format: Format,
    /// Texts are printed as they come.
    live: bool,
    output: Output,
    out: Stdout,
    progress: Progress,
    /// The messages as they stand on stdout.
    shown: Vec<String>,
    /// The text of the message that comes again after a retry, as far as it has come.
    again: Option<String>,
    last_seq: u64,
    /// Events were missed: the rest of the texts comes with the end.
    behind: bool,
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
            live,
            output: *output,
            out: Stdout::new(),
            progress: Progress::new(text && !output.quiet, live),
            shown: Vec::new(),
            again: None,
            last_seq: 0,
            behind: false,
        }
    }

    /// Whether the events of the turn are needed.
    #[must_use]
    pub fn wants_events(&self) -> bool {
        self.live || self.format == Format::StreamJson || self.progress.shows()
    }

    /// Whether all texts of the turn are needed.
    #[must_use]
    pub fn wants_texts(&self) -> bool {
        self.live
    }

    /// Prints until the turn has ended; the exit code. Can be dropped between two
    /// events and called again.
    ///
    /// # Errors
    /// When there is no turn: the failure is not printed yet.
    pub async fn follow(&mut self, client: &mut Client, id: u64) -> Result<u8, Failure> {
        loop {
            match client.next(id).await? {
                Incoming::Event(event) => self.event(event).await,
                Incoming::Answer(Ok(Reply::Turn(report))) => return Ok(self.end(&report).await),
                Incoming::Answer(Ok(other)) => return Err(unexpected(&other)),
                Incoming::Answer(Err(failure)) => {
                    self.progress.clear();
                    return Err(failure);
                }
            }
        }
    }

    async fn event(&mut self, event: Event) {
        self.last_seq = event.seq;
        if self.format == Format::StreamJson {
            // The end is printed with all that is known of it.
            if !matches!(event.kind, EventKind::Result { .. } | EventKind::Unknown) {
                self.write(&json_line(&event)).await;
            }
            return;
        }
        self.progress.event(&event.kind);
        if !self.live {
            return;
        }
        match event.kind {
            EventKind::Gap { .. } => self.behind = true,
            EventKind::Text { .. } if self.behind => {}
            EventKind::Text { message, text } => self.text(message as usize, &text).await,
            EventKind::Retry { .. } => self.again = Some(String::new()),
            _ => {}
        }
    }

    /// Prints a piece of a message, unless it stands there already.
    async fn text(&mut self, message: usize, piece: &str) {
        while self.shown.len() <= message {
            self.between().await;
            self.shown.push(String::new());
            self.again = None;
        }
        let Some(mut again) = self.again.take() else {
            self.shown[message].push_str(piece);
            return self.write(piece).await;
        };
        again.push_str(piece);
        let shown = &mut self.shown[message];
        if shown.starts_with(&again) {
            self.again = Some(again);
        } else if let Some(new) = again.strip_prefix(shown.as_str()) {
            let new = new.to_owned();
            *shown = again;
            self.write(&new).await;
        } else {
            self.shown[message].clone_from(&again);
            self.differs(&again).await;
        }
    }

    /// Says that what stands there is not what the agent says now, and prints that.
    async fn differs(&mut self, text: &str) {
        self.output
            .note("the agent began this text again, and it differs; it follows in full");
        self.write("\n").await;
        self.write(text).await;
    }

    /// A blank line between two messages.
    async fn between(&mut self) {
        let gap = match self.shown.last() {
            None => "",
            Some(text) if text.is_empty() || text.ends_with("\n\n") => "",
            Some(text) if text.ends_with('\n') => "\n",
            Some(_) => "\n\n",
        };
        self.write(gap).await;
    }

    /// Prints the turn's end; the exit code.
    async fn end(&mut self, report: &TurnReport) -> u8 {
        self.progress.clear();
        match self.format {
            Format::Text if self.live => {
                self.settle(report.texts.as_deref().unwrap_or_default())
                    .await
            }
            Format::Text if report.outcome == Outcome::Completed => {
                let mut answer = report.answer.clone().unwrap_or_default();
                if !answer.is_empty() && !answer.ends_with('\n') {
                    answer.push('\n');
                }
                self.write(&answer).await;
            }
            Format::Text => {}
            Format::Json => self.write(&json_line(report)).await,
            Format::StreamJson => {
                let line = ResultLine {
                    seq: self.last_seq,
                    event: "result",
                    report,
                };
                self.write(&json_line(&line)).await;
            }
        }
        for denial in &report.permission_denials {
            // Never silenced: the answer may be worth less for it.
            let text = format!("clsess: denied: {} {}\n", denial.tool, brief(&denial.input));
            let _ = io::Write::write_all(&mut io::stderr(), text.as_bytes());
        }
        if report.outcome == Outcome::Completed {
            return 0;
        }
        let failure = report.error.clone().unwrap_or_else(|| {
            Failure::new(ErrorCode::Internal, "the turn ended for no known reason")
        });
        self.output.complain(&failure);
        failure.code.exit()
    }

    /// Prints what of the turn's texts does not stand there yet.
    async fn settle(&mut self, texts: &[String]) {
        for (message, text) in texts.iter().enumerate() {
            if self.shown.len() <= message {
                self.between().await;
                self.shown.push(String::new());
            }
            let shown = self.shown[message].clone();
            if let Some(rest) = text.strip_prefix(shown.as_str()) {
                self.write(rest).await;
            } else {
                self.differs(text).await;
            }
            self.shown[message].clone_from(text);
        }
        if self
            .shown
            .last()
            .is_some_and(|text| !text.is_empty() && !text.ends_with('\n'))
        {
            self.write("\n").await;
        }
    }

    /// Writes to stdout. A reader that is gone ends the command; its turn goes on.
    async fn write(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if self.out.write(text.as_bytes()).await.is_err() {
            std::process::exit(BROKEN_PIPE);
        }
    }
}
