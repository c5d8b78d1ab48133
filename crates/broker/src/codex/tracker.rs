//! Whose turn it is: a prompt that we have typed, or one that a person has entered.
//!
//! - Our prompt is known by its text, in the hook that shows it before it is sent. There it is stopped
//!   when it is not exactly that, when it would be put into somebody else's turn, and when it is taken
//!   back meanwhile.
//! - `Stop` says the answer; the turn is over when Codex comes to rest. Of a turn that fails and of one
//!   that is interrupted there is nothing but that; why it has failed is written down a little later.
//! - A report of the terminal is heard once, whoever hears it again: it has a place.

use std::path::{Path, PathBuf};

use clsess_claude::turn::{ErrorKind, Happening, MAX_ANSWER, Outcome, Ready, TurnEnd};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::hooks::{Call, Event, NOTHING, block};
use super::state::State;

/// What is known between two turns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// What is typed is kept by now: it wants to be told of the focus.
    reads: bool,
    /// It was at rest after that.
    ready: bool,
    state: State,
    /// Where the last report ends that was heard.
    heard: u64,
    session: Option<Uuid>,
}

/// What a hook is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// On its stdout.
    pub answer: String,
    /// This prompt of ours is not sent.
    pub stopped: Option<(Uuid, Stopped)>,
}

/// Why a prompt is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It has become something else.
    Altered,
    /// It would be put into somebody else's turn.
    Early,
    /// It was taken back.
    TakenBack,
}

/// The turns of one Codex.
#[derive(Debug, Default)]
pub struct Tracker {
    facts: Facts,
    waits: Option<Waits>,
    run: Option<Run>,
    /// Nobody else has typed since the prompt was that waits.
    alone: bool,
    /// What was typed once more: it may come twice, and is not sent twice.
    twice: Option<String>,
}

/// Our prompt, from before it is typed until its hook comes.
#[derive(Debug)]
struct Waits {
    wire: Uuid,
    prompt: String,
    stopping: bool,
    /// An earlier broker was about to type it, and may have.
    unsure: bool,
}

/// What runs.
#[derive(Debug)]
struct Run {
    /// Our prompt; none for a person's.
    asked: Option<Uuid>,
    turn: String,
    transcript: Option<PathBuf>,
    /// It has failed, and the transcript does not say why yet.
    failed: bool,
    /// It was said to be at work.
    worked: bool,
    /// What `Stop` has said.
    stopped: Option<String>,
}

impl Tracker {
    /// Of one of which an earlier broker knew this much.
    #[must_use]
    pub fn taken_up(facts: Facts) -> Self {
        Self {
            facts,
            ..Self::default()
        }
    }

    /// What a later broker has to know. None while something runs.
    #[must_use]
    pub fn facts(&self) -> Option<Facts> {
        let rests = self.run.is_none() && self.waits.is_none();
        rests.then(|| self.facts.clone())
    }

    /// A prompt is about to be typed, as it will be taken.
    pub fn begin(&mut self, wire: Uuid, prompt: &str) {
        self.twice = None;
        self.waits = Some(Waits {
            wire,
            prompt: prompt.to_owned(),
            stopping: false,
            unsure: false,
        });
    }

    /// It is not.
    pub fn withdraw(&mut self, wire: Uuid) {
        self.waits.take_if(|waits| waits.wire == wire);
    }

    /// The prompt whose hook did not come yet.
    #[must_use]
    pub fn typed(&self) -> Option<Uuid> {
        self.waits.as_ref().map(|waits| waits.wire)
    }

    /// Nobody has heard more of the prompt that waits than that it was about to be typed, by an
    /// earlier broker.
    pub fn is_unsure(&mut self) {
        if let Some(waits) = &mut self.waits {
            waits.unsure = true;
        }
    }

    /// Whether that is so, or whether a turn has failed and why is on its way.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.waits.as_ref().is_some_and(|waits| waits.unsure) || self.failed_in().is_some()
    }

    /// The transcript that is about to say why the turn has failed.
    #[must_use]
    pub fn failed_in(&self) -> Option<&Path> {
        let failed = self.run.as_ref().filter(|run| run.failed)?;
        failed.transcript.as_deref()
    }

    /// It did not come: whether it is to be typed again.
    pub fn types_again(&mut self) -> bool {
        let rests = self.facts.state.is_rest() && self.run.is_none();
        let Some(waits) = self.waits.as_mut().filter(|waits| waits.unsure && rests) else {
            return false;
        };
        waits.unsure = false;
        self.twice = Some(waits.prompt.clone());
        true
    }

    /// Whether nobody else has typed since the prompt that waits was.
    pub fn is_alone(&mut self, alone: bool) {
        self.alone = alone;
    }

    /// A turn runs whose beginning is not heard again.
    pub fn goes_on(&mut self, wire: Uuid) {
        self.begins(Some(wire), String::new(), None, &mut Vec::new());
    }

    /// What runs, or waits, is told to end.
    pub fn interrupted(&mut self) {
        if let Some(waits) = &mut self.waits {
            waits.stopping = true;
        }
    }

    /// Our prompts that are not over.
    #[must_use]
    pub fn open(&self) -> usize {
        let asked = self.run.as_ref().is_some_and(|run| run.asked.is_some());
        usize::from(asked) + usize::from(self.waits.is_some())
    }

    /// It wants to be told of the focus: what is typed from now on is kept.
    pub fn reads(&mut self, out: &mut Vec<Happening>) {
        self.facts.reads = true;
        self.may_be_ready(out);
    }

    /// Accounts for a report that ends at this place in all that is shown. `why`: what a transcript
    /// says of the error that has ended a turn.
    pub fn report(
        &mut self,
        (state, at): (State, u64),
        why: impl Fn(&Path, &str) -> Option<String>,
        out: &mut Vec<Happening>,
    ) {
        if at <= self.facts.heard {
            return;
        }
        self.facts.heard = at;
        self.facts.state = state;
        if state == State::Working
            && let Some(run) = &mut self.run
        {
            run.worked = true;
        }
        if !state.is_rest() {
            return;
        }
        let over = |run: &mut Run| run.failed || run.worked || run.stopped.is_some();
        if let Some(run) = self.run.take_if(over) {
            match state {
                State::Error if !run.failed && run.transcript.is_some() => {
                    self.run = Some(Run {
                        failed: true,
                        ..run
                    });
                    return self.looks_up(why, false, out);
                }
                _ => self.ends(run, state, None, out),
            }
        }
        self.rests(out);
    }

    /// Looks why the turn has failed. `last`: if it is not there now it is not waited for any longer.
    pub fn looks_up(
        &mut self,
        why: impl Fn(&Path, &str) -> Option<String>,
        last: bool,
        out: &mut Vec<Happening>,
    ) {
        let Some(run) = self.run.take_if(|run| run.failed) else {
            return;
        };
        let error = run.transcript.as_deref();
        let error = error.and_then(|path| why(path, &run.turn));
        if error.is_none() && !last {
            self.run = Some(run);
            return;
        }
        self.ends(run, State::Error, error, out);
        self.rests(out);
    }

    fn rests(&mut self, out: &mut Vec<Happening>) {
        let waits = self.waits.is_some() || self.run.is_some();
        if self.facts.ready && self.facts.state.is_rest() && !waits {
            out.push(Happening::Idle);
        }
        self.may_be_ready(out);
    }

    fn may_be_ready(&mut self, out: &mut Vec<Happening>) {
        let facts = &mut self.facts;
        if facts.ready || !facts.reads || !facts.state.is_rest() {
            return;
        }
        facts.ready = true;
        out.push(Happening::Ready(Box::new(Ready {
            pid: None,
            version: None,
            not_logged_in: false,
            permission_mode: None,
        })));
    }

    /// Accounts for a hook; what it is told.
    pub fn hook(&mut self, call: Call, out: &mut Vec<Happening>) -> Reply {
        if let Some(id) = call.session_id
            && self.facts.session != Some(id)
        {
            self.facts.session = Some(id);
            out.push(Happening::Conversation { id });
        }
        match call.event {
            Event::UserPromptSubmit { prompt } => {
                return self.prompt(&prompt, call.turn_id, call.transcript_path, out);
            }
            Event::Stop {
                last_assistant_message,
            } => {
                if let Some(run) = &mut self.run {
                    run.stopped = Some(last_assistant_message.unwrap_or_default());
                }
            }
            Event::Other => {}
        }
        Reply::nothing()
    }

    fn prompt(
        &mut self,
        prompt: &str,
        turn: String,
        transcript: Option<String>,
        out: &mut Vec<Happening>,
    ) -> Reply {
        // A turn that has said its answer, or that it has failed, is over when another prompt comes.
        if let Some(run) = self.run.take_if(|run| run.failed || run.stopped.is_some()) {
            self.ends(run, State::Done, None, out);
        }
        let Some(waits) = &self.waits else {
            if self.twice.as_deref() == Some(prompt) {
                self.twice = None;
                return Reply::block("clsess has typed this twice");
            }
            self.person(turn, transcript, out);
            return Reply::nothing();
        };
        let (wire, ours) = (waits.wire, waits.prompt == prompt);
        let stopped = match ours {
            true if waits.stopping => Stopped::TakenBack,
            true if self.run.is_some() => Stopped::Early,
            true => {
                self.waits = None;
                self.begins(Some(wire), turn, transcript, out);
                return Reply::nothing();
            }
            false if self.alone || prompt.contains(&waits.prompt) => Stopped::Altered,
            false => {
                self.person(turn, transcript, out);
                return Reply::nothing();
            }
        };
        self.waits = None;
        Reply {
            stopped: Some((wire, stopped)),
            ..Reply::block(stopped.reason())
        }
    }

    /// A person has entered something. While a turn runs Codex puts it into that.
    fn person(&mut self, turn: String, transcript: Option<String>, out: &mut Vec<Happening>) {
        if self.run.is_none() {
            self.begins(None, turn, transcript, out);
        }
    }

    fn begins(
        &mut self,
        asked: Option<Uuid>,
        turn: String,
        transcript: Option<String>,
        out: &mut Vec<Happening>,
    ) {
        self.run = Some(Run {
            asked,
            turn,
            transcript: transcript.map(PathBuf::from),
            failed: false,
            worked: self.facts.state == State::Working,
            stopped: None,
        });
        match asked {
            Some(uuid) => out.extend([
                Happening::Accepted {
                    uuid,
                    prompt_id: None,
                },
                Happening::Begun { uuid },
            ]),
            None => out.push(Happening::Running),
        }
        out.push(Happening::TurnStarted { asked });
    }

    fn ends(&self, run: Run, state: State, error: Option<String>, out: &mut Vec<Happening>) {
        let asked = run.asked;
        let mut end = Box::new(end(run, state, error));
        end.agent_session_id = self.facts.session;
        out.push(Happening::TurnEnded { asked, end });
    }
}

fn end(run: Run, state: State, error: Option<String>) -> TurnEnd {
    let failed = |kind, why: &str| TurnEnd::without_result(Outcome::Failed, Some(kind), why);
    let state = if run.failed { State::Error } else { state };
    let mut end = match (state, &run.stopped) {
        (State::Error, _) => failed(
            ErrorKind::Other,
            &error.unwrap_or_else(|| "Codex says that the turn has failed".to_owned()),
        ),
        (_, Some(said)) if said.len() > MAX_ANSWER => failed(
            ErrorKind::AnswerTooLong,
            "the answer is longer than an answer may be",
        ),
        (State::Done, Some(_)) => TurnEnd::without_result(Outcome::Completed, None, ""),
        (State::Done, None) => failed(
            ErrorKind::NoResult,
            "Codex has ended the turn without an answer",
        ),
        _ => TurnEnd::without_result(Outcome::Interrupted, None, ""),
    };
    end.is_error = end.outcome == Outcome::Failed;
    end.origin = run.asked.is_none().then(|| "terminal".to_owned());
    end.answer = run.stopped.unwrap_or_default();
    end.truncated = end.answer.len() > MAX_ANSWER;
    let whole = end.answer.floor_char_boundary(MAX_ANSWER);
    end.answer.truncate(whole);
    end.texts = Some(end.answer.clone())
        .filter(|text| !text.is_empty())
        .into_iter()
        .collect();
    end
}

impl Reply {
    fn nothing() -> Self {
        Self {
            answer: NOTHING.to_owned(),
            stopped: None,
        }
    }

    fn block(reason: &str) -> Self {
        Self {
            answer: block(reason),
            stopped: None,
        }
    }
}

impl Stopped {
    const fn reason(self) -> &'static str {
        match self {
            Self::Altered => "clsess: this is not the prompt that was to be sent",
            Self::Early => "clsess: this prompt waits for the end of the turn",
            Self::TakenBack => "clsess: this prompt was taken back",
        }
    }
}
