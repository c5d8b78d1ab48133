//! Whose turn it is, by the marks: a prompt that we have typed, or a command of a person's.
//!
//! - A turn begins at `C`. It ends at the prompt behind its `D`, not at `D`: of several commands that
//!   are entered at once a shell marks each.
//! - A `D` without `C` behind a typed prompt is a command that was not run: a mistake in it, or
//!   nothing but a comment. What the program says of it stands behind the echo of the line.
//! - Only marks of the program itself count, if they say whose they are (`aid=`): a shell within the
//!   shell, or a log that is shown, may print their own.

use clsess_claude::turn::{ErrorKind, Happening, MAX_ANSWER, Outcome, Ready, TurnEnd};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::scan::{Mark, Piece, read};
use super::text::Plain;

/// What is known between two turns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The id in the program's own marks; absent before the first one.
    aid: Option<String>,
    /// It has shown a prompt.
    ready: bool,
    /// It waits at one.
    at_prompt: bool,
}

/// The turns of one program.
#[derive(Debug, Default)]
pub struct Tracker {
    facts: Facts,
    /// Prompts that it has shown to us.
    prompts: u64,
    /// It has said something behind the last one: an echo.
    touched: bool,
    run: Option<Run>,
    /// The prompt that was proven not to have been run.
    not_run: Option<Uuid>,
}

/// What runs, or was typed to run.
#[derive(Debug)]
struct Run {
    /// Our prompt; none for a person's command.
    asked: Option<Uuid>,
    /// Its output has begun.
    begun: bool,
    /// Its output goes on.
    says: bool,
    /// The last `D`.
    ended: Option<Option<i32>>,
    interrupted: bool,
    /// An earlier broker was about to type it, and may have.
    unsure: bool,
    answer: String,
    /// The answer is longer than is kept.
    cut: bool,
    plain: Plain,
}

impl Run {
    fn new(asked: Option<Uuid>) -> Self {
        Self {
            asked,
            begun: false,
            says: false,
            ended: None,
            interrupted: false,
            unsure: false,
            answer: String::new(),
            cut: false,
            plain: Plain::with_echo(),
        }
    }

    fn begins(&mut self) {
        (self.begun, self.says, self.unsure) = (true, true, false);
        self.answer.clear();
        (self.cut, self.ended) = (false, None);
        self.plain = Plain::default();
    }

    /// Takes output; what it says.
    fn hears(&mut self, bytes: &[u8]) -> String {
        let mut said = String::new();
        if self.begun {
            self.plain.feed(bytes, &mut said);
            self.keeps(&said);
        } else if self.answer.len() < MAX_ANSWER {
            // An echo may be taken back from it.
            self.plain.feed(bytes, &mut self.answer);
        }
        said
    }

    fn keeps(&mut self, said: &str) {
        let room = MAX_ANSWER - self.answer.len().min(MAX_ANSWER);
        let fits = said.floor_char_boundary(room);
        self.answer.push_str(&said[..fits]);
        self.cut |= fits < said.len();
    }

    /// Its output ends; what was held back of it.
    fn stops(&mut self) -> String {
        let mut said = String::new();
        if !self.begun {
            self.plain.finish(&mut self.answer);
        } else if self.says {
            self.plain.finish(&mut said);
            self.keeps(&said);
        }
        self.says = false;
        said
    }

    fn end(self) -> TurnEnd {
        let status = self.ended.flatten();
        let answer = match self.begun {
            true => self.answer,
            // The line editor goes back to the first column.
            false => self.answer.trim_start_matches('\r').to_owned(),
        };
        // A line in which nothing was to be run leaves the status of the one before it.
        let nothing = !self.begun && answer.is_empty();
        let mut end = match status.filter(|status| *status != 0 && !nothing) {
            _ if self.cut => {
                let why = "the output is longer than an answer may be";
                TurnEnd::without_result(Outcome::Failed, Some(ErrorKind::AnswerTooLong), why)
            }
            _ if self.interrupted && status != Some(0) => {
                TurnEnd::without_result(Outcome::Interrupted, None, "")
            }
            Some(status) => {
                let why = format!("exit status {status}");
                TurnEnd::without_result(Outcome::Failed, Some(ErrorKind::Other), &why)
            }
            None => TurnEnd::without_result(Outcome::Completed, None, ""),
        };
        end.is_error = end.outcome == Outcome::Failed;
        end.exit_status = status.filter(|_| !nothing);
        end.truncated = self.cut;
        end.texts = Some(answer.clone())
            .filter(|it| !it.is_empty())
            .into_iter()
            .collect();
        end.answer = answer;
        end.origin = self.asked.is_none().then(|| "terminal".to_owned());
        end
    }
}

impl Tracker {
    /// Of a program of which an earlier broker knew this much.
    #[must_use]
    pub fn taken_up(facts: Facts) -> Self {
        Self {
            prompts: u64::from(facts.at_prompt),
            facts,
            ..Self::default()
        }
    }

    /// What a later broker has to know. None while something runs.
    #[must_use]
    pub fn facts(&self) -> Option<Facts> {
        self.run.is_none().then(|| self.facts.clone())
    }

    /// How many prompts it has shown, and whether it waits at one.
    #[must_use]
    pub fn prompts(&self) -> (u64, bool) {
        (self.prompts, self.facts.at_prompt)
    }

    /// Whether it waits at a prompt and has said nothing since: nobody has typed what it would show.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.facts.at_prompt && !self.touched && self.run.is_none()
    }

    /// A prompt is typed.
    pub fn begin(&mut self, wire: Uuid) {
        self.run = Some(Run::new(Some(wire)));
    }

    /// It was not.
    pub fn withdraw(&mut self, wire: Uuid) {
        self.run.take_if(|run| run.asked == Some(wire));
    }

    /// Of the one that is open nobody heard more than that it was about to be typed, which an
    /// earlier broker was: Ctrl-C is pressed, and a prompt without a `C` before it proves that it was
    /// not run ([`Tracker::not_run`]). True where that is so.
    pub fn is_unsure(&mut self) -> bool {
        let Some(run) = self.run.as_mut().filter(|run| !run.begun) else {
            return false;
        };
        run.unsure = true;
        true
    }

    /// The prompt that was not run, once.
    pub fn not_run(&mut self) -> Option<Uuid> {
        self.not_run.take()
    }

    /// A turn runs whose beginning is not heard again.
    pub fn goes_on(&mut self, wire: Uuid) {
        let mut run = Run::new(Some(wire));
        run.begins();
        self.run = Some(run);
        self.facts.at_prompt = false;
    }

    /// The running turn is told to end.
    pub fn interrupted(&mut self) {
        if let Some(run) = &mut self.run {
            run.interrupted = true;
        }
    }

    /// Our prompts that are not over.
    #[must_use]
    pub fn open(&self) -> usize {
        usize::from(self.run.as_ref().is_some_and(|run| run.asked.is_some()))
    }

    /// Accounts for a piece of what the program says.
    pub fn piece(&mut self, piece: Piece<'_>, out: &mut Vec<Happening>) {
        match piece {
            Piece::Mark(inside) => {
                if let Some((mark, aid)) = read(inside)
                    && self.is_own(mark, aid)
                {
                    self.mark(mark, out);
                }
            }
            Piece::Other(bytes) => {
                self.touched = true;
                if let Some(run) = &mut self.run
                    && (run.says || !run.begun)
                {
                    let delta = run.hears(bytes);
                    said(run.asked, delta, out);
                }
            }
        }
    }

    /// Whether a mark is the program's own: like its first one.
    fn is_own(&mut self, mark: Mark, aid: &[u8]) -> bool {
        let aid = String::from_utf8_lossy(aid);
        match &self.facts.aid {
            Some(own) => *own == aid,
            None => {
                if mark == Mark::Prompt {
                    self.facts.aid = Some(aid.into_owned());
                }
                true
            }
        }
    }

    fn mark(&mut self, mark: Mark, out: &mut Vec<Happening>) {
        match mark {
            Mark::Output => self.begins(out),
            Mark::End(status) => {
                if let Some(run) = self.run.as_mut().filter(|run| !run.unsure) {
                    let delta = run.stops();
                    run.ended = Some(status);
                    said(run.asked, delta, out);
                }
            }
            Mark::Prompt => self.ends(out),
            Mark::Input => {
                self.ends(out);
                self.prompts += 1;
                self.touched = false;
                self.facts.at_prompt = true;
                out.push(match std::mem::replace(&mut self.facts.ready, true) {
                    false => Happening::Ready(Box::new(Ready {
                        pid: None,
                        version: None,
                        not_logged_in: false,
                        permission_mode: None,
                    })),
                    true => Happening::Idle,
                });
            }
        }
    }

    fn begins(&mut self, out: &mut Vec<Happening>) {
        self.facts.at_prompt = false;
        let run = self.run.get_or_insert_with(|| Run::new(None));
        if run.begun {
            // The next one of several.
            run.says = true;
            return;
        }
        run.begins();
        let asked = run.asked;
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

    /// A prompt comes: whatever ran is over. One that is only painted again ends nothing that was
    /// typed and has not begun.
    fn ends(&mut self, out: &mut Vec<Happening>) {
        let over = |run: &mut Run| run.unsure || run.begun || run.ended.is_some();
        let Some(mut run) = self.run.take_if(over) else {
            return;
        };
        if run.unsure {
            self.not_run = run.asked;
            return;
        }
        let delta = run.stops();
        let asked = run.asked;
        said(asked, delta, out);
        let end = Box::new(run.end());
        out.push(Happening::TurnEnded { asked, end });
    }
}

fn said(asked: Option<Uuid>, delta: String, out: &mut Vec<Happening>) {
    if !delta.is_empty() {
        out.push(Happening::Text { asked, delta });
    }
}
