//! Signs of life on stderr, where that is a terminal.

use std::io::{self, IsTerminal};
use std::time::Duration;

use clsess_proto::EventKind;
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{brief, plain, say};

/// A spinner with what the agent does; nothing where nobody looks.
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// With `live`, stdout shows the text and the spinner would be in its way: then
    /// only tools and questions are told, a line each.
    #[must_use]
    pub fn new(wanted: bool, live: bool) -> Self {
        if !wanted || !io::stderr().is_terminal() {
            return Self { bar: None };
        }
        if live {
            return Self {
                bar: Some(ProgressBar::hidden()),
            };
        }
        let bar = ProgressBar::new_spinner().with_message("waiting");
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar: Some(bar) }
    }

    /// Whether anything is shown.
    #[must_use]
    pub fn shows(&self) -> bool {
        self.bar.is_some()
    }

    /// Shows what happens.
    pub fn event(&self, event: &EventKind) {
        let Some(bar) = &self.bar else { return };
        match event {
            EventKind::Queued { ahead: 0 } => {}
            EventKind::Queued { ahead } => bar.set_message(format!("queued, {ahead} ahead")),
            EventKind::Accepted {} => bar.set_message("working"),
            EventKind::Thinking { .. } => bar.set_message("thinking"),
            EventKind::Text { .. } => bar.set_message("answering"),
            EventKind::Tool { name, input } => {
                line(bar, &format!("· {name} {}", brief(input)));
                bar.set_message(plain(name));
            }
            EventKind::Question { .. } => bar.set_message("waiting for an answer"),
            EventKind::QuestionResolved { .. } => bar.set_message("working"),
            EventKind::Steered { .. } => bar.set_message("put into the running turn"),
            EventKind::Retry {
                attempt,
                max,
                error,
                ..
            } => line(
                bar,
                &format!("· {error}: trying again ({attempt} of {max})"),
            ),
            _ => {}
        }
    }

    /// Lets something else be said on stderr.
    pub fn pause(&self, says: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(says),
            None => says(),
        }
    }

    /// Takes the spinner away.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn line(bar: &ProgressBar, text: &str) {
    let text = plain(text);
    if bar.is_hidden() {
        say(&(text + "\n"));
    } else {
        bar.println(text);
    }
}
