//! A [`Tracker`] of which every happening is checked. The fuzz targets use it too.

use std::collections::{BTreeMap, BTreeSet};

use clsess_claude::stream::Line;
use clsess_claude::turn::{Happening, MAX_ANSWER, MAX_DENIALS, MAX_TEXTS, MAX_UUIDS, Tracker};
use uuid::Uuid;

/// A tracker, and what may still happen to the turns it was told of.
#[derive(Debug, Default)]
pub struct Watched {
    tracker: Tracker,
    /// Begun and not ended, and whether they were accepted.
    open: BTreeMap<Uuid, bool>,
    /// All that were ever begun.
    begun: BTreeSet<Uuid>,
    /// Questions that were told and are not gone.
    questions: BTreeMap<String, usize>,
}

impl Watched {
    /// As [`Tracker::begin`].
    pub fn begin(&mut self, uuid: Uuid) {
        let known = self.open.contains_key(&uuid);
        let room = self.open.len() < MAX_UUIDS;
        assert_eq!(self.tracker.begin(uuid), known || room);
        if room {
            self.begun.insert(uuid);
            self.open.entry(uuid).or_insert(false);
        }
        self.same();
    }

    /// As [`Tracker::line`].
    pub fn line(&mut self, line: Line) -> Vec<Happening> {
        let mut happenings = Vec::new();
        self.tracker.line(line, &mut happenings);
        self.check(&happenings);
        happenings
    }

    /// As [`Tracker::gone_with_results`].
    pub fn gone_with_results(&mut self) -> Vec<Happening> {
        let mut happenings = Vec::new();
        self.tracker.gone_with_results(&mut happenings);
        self.check(&happenings);
        happenings
    }

    fn check(&mut self, happenings: &[Happening]) {
        happenings.iter().for_each(|it| self.happening(it));
        self.same();
    }

    fn same(&self) {
        let mut open: Vec<_> = self.tracker.open().collect();
        open.sort_unstable();
        assert!(open.iter().eq(self.open.keys()), "{open:?} {:?}", self.open);
    }

    /// A turn that something happens to was begun, and has not ended.
    fn happening(&mut self, happening: &Happening) {
        let asked = match happening {
            Happening::TurnStarted { asked }
            | Happening::MessageStart { asked, .. }
            | Happening::Text { asked, .. }
            | Happening::Said { asked, .. }
            | Happening::Thinking { asked, .. }
            | Happening::Tool { asked, .. }
            | Happening::ToolResult { asked, .. }
            | Happening::TurnEnded { asked, .. } => *asked,
            Happening::Accepted { uuid, .. } => Some(*uuid),
            _ => None,
        };
        if let Some(uuid) = asked {
            assert!(self.open.contains_key(&uuid), "not open: {happening:?}");
        }
        match happening {
            Happening::Accepted { uuid, .. } => {
                assert_eq!(self.open.insert(*uuid, true), Some(false), "accepted twice");
            }
            Happening::TurnEnded { asked, end } => {
                if let Some(uuid) = asked {
                    assert_eq!(self.open.remove(uuid), Some(true), "ended unaccepted");
                }
                assert!(end.answer.len() <= MAX_ANSWER);
                assert!(end.texts.iter().map(String::len).sum::<usize>() <= MAX_TEXTS);
                assert!(end.permission_denials.len() <= MAX_DENIALS);
            }
            Happening::Question(question) => {
                // Its turn may have ended, when a background agent asks; it was begun.
                if let Some(uuid) = question.asked {
                    assert!(self.begun.contains(&uuid), "never begun: {happening:?}");
                }
                let request = question.line.request_id.clone();
                *self.questions.entry(request).or_default() += 1;
            }
            Happening::QuestionGone { request_id } => {
                let told = self.questions.get_mut(request_id);
                let left = told.and_then(|told| told.checked_sub(1).map(|left| *told = left));
                assert!(left.is_some(), "gone before it was told: {request_id}");
            }
            _ => {}
        }
    }
}
