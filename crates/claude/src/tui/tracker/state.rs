//! What the client says of its state: OSC 7501, and its registry where it does not tell that.

use serde::{Deserialize, Serialize};

use super::Tracker;
use crate::registry::{Activity, Registered};
use crate::tui::run::{How, Rest};
use crate::tui::status::{Kind, Status};
use crate::turn::{Happening, Ready};

/// What the client does, as it said last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    #[default]
    Unknown,
    Rest,
    Busy,
    Blocked,
}

impl Tracker {
    /// Accounts for what the client says of its state (OSC 7501).
    pub fn status(&mut self, status: &Status, out: &mut Vec<Happening>) {
        self.tells_status = true;
        match status {
            Status::Idle => self.rests(Rest::Idle, out),
            Status::Done => self.rests(Rest::Done, out),
            Status::Error { message } => self.rests(Rest::Failed(message.clone()), out),
            // no dialog is open: the turn has failed
            Status::Blocked {
                kind: Kind::Auth,
                message,
            } => self.rests(Rest::Failed(message.clone()), out),
            Status::Blocked { .. } => self.is_busy(Level::Blocked, out),
            Status::Working => self.is_busy(Level::Busy, out),
            Status::Clear => {}
        }
    }

    /// Accounts for the client's entry in its registry, whenever it is written. What it does is
    /// taken from there only as far as 7501 does not tell it.
    pub fn registry(&mut self, entry: &Registered, out: &mut Vec<Happening>) {
        if self.version != entry.version {
            self.version.clone_from(&entry.version);
            let version = entry.version.iter().cloned();
            out.extend(version.map(Happening::Version));
        }
        self.conversation(entry.conversation, out);
        if self.tells_status {
            // a turn that was too short for 7501
            let rests = entry.activity == Some(Activity::Idle) && self.level == Level::Rest;
            if rests && self.run.is_none() && self.idle_due {
                self.idle(out);
            }
            return;
        }
        match entry.activity {
            Some(Activity::Idle) if self.is_news(Level::Rest) => self.rests(Rest::Idle, out),
            Some(Activity::Busy) if self.is_news(Level::Busy) => self.is_busy(Level::Busy, out),
            Some(Activity::Waiting) => self.is_busy(Level::Blocked, out),
            _ => {}
        }
    }

    /// Its input box is on the screen, and it has told its state in no way: not all versions do that by
    /// 7501, and a registry may be one that nothing can be written to, or be written in the wrong order.
    pub fn shows_input_box(&mut self, out: &mut Vec<Happening>) {
        self.is_ready(out);
    }

    /// A level that the registry has not told yet, or that a turn waits for.
    fn is_news(&self, level: Level) -> bool {
        self.level != level || level == Level::Rest && (self.run.is_some() || self.idle_due)
    }

    fn is_busy(&mut self, level: Level, out: &mut Vec<Happening>) {
        let before = std::mem::replace(&mut self.level, level);
        if let Some(run) = &mut self.run {
            run.rested = None;
            // It is at work for what runs in the background (measured: no `done` comes then).
            if level == Level::Busy && run.stopped.is_some() && self.background > 0 {
                self.finish(&How::Stopped, out);
            }
        }
        if level == Level::Busy {
            self.is_ready(out);
            // told again and again, with what it is at
            out.extend((before != level && self.ready).then_some(Happening::Running));
        }
        // somebody has answered at the screen; of several questions we cannot tell which
        if before == Level::Blocked && level == Level::Busy && self.asking.is_one() {
            self.asking.gone(|_| true, out);
        }
    }

    fn rests(&mut self, how: Rest, out: &mut Vec<Happening>) {
        let news = self.is_ready(out);
        let before = std::mem::replace(&mut self.level, Level::Rest);
        self.asking.gone(|_| true, out);
        match &mut self.run {
            Some(run) if run.stopping && how == Rest::Idle && run.stopped.is_none() => {
                run.rested = Some(how);
                self.finish(&How::Interrupted, out);
            }
            Some(run) => {
                run.rested = Some(how);
                self.end_if_complete(out);
            }
            None if news && before == Level::Unknown || !self.ready => {}
            None => self.idle(out),
        }
    }

    pub(super) fn idle(&mut self, out: &mut Vec<Happening>) {
        self.idle_due = false;
        out.push(Happening::Idle);
    }

    /// Whether it shows that it takes prompts, and no hook has come, which the start of a conversation has.
    #[must_use]
    pub fn runs_no_hooks(&self) -> bool {
        self.shows_ready && !self.runs_hooks
    }

    /// The client takes prompts, and its hooks run; true when that was told now.
    pub(super) fn is_ready(&mut self, out: &mut Vec<Happening>) -> bool {
        self.shows_ready = true;
        let news = self.runs_hooks && !self.ready;
        self.ready |= news;
        if news {
            out.push(Happening::Ready(Box::new(Ready {
                version: self.version.clone(),
                ..Ready::default()
            })));
        }
        news
    }
}
