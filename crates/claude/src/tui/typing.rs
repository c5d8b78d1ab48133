//! How a prompt gets into the client's input box, and from there to the model: by the client's
//! external editor, which carries more texts unchanged than pastes do, and tells what stood in the
//! box (measured: `tests/tui/FACTS.md` 1).
//!
//! Ctrl-G makes the client run its editor on what is in the box; that is ours, and asks here what is
//! to stand there ([`Typing::edit`]). When the client has its terminal back ([`Typing::is_back`])
//! Enter is pressed, and the hook of the prompt comes: [`Typing::is_taken`]. Nothing here waits by
//! itself: what takes too long is told by [`Typing::overdue`].
//!
//! A text that a paste carries as well (`prompt::is_plain`) is pasted into a box that is known to be empty:
//! that is a process less, and a screen drawn anew (measured: 8 ms of a turn of 95, and 30 of 180 on a
//! slow machine).

use std::time::Duration;

use uuid::Uuid;

use super::prompt::{is_plain, takes_enter};

/// Opens the client's editor.
const EDITOR: &[u8] = b"\x07";
/// The same, where somebody has given that key another meaning.
const OTHER_EDITOR: &[u8] = b"\x18\x05";
/// Submits what is in the box.
const ENTER: &[u8] = b"\r";
/// The same from the beginning of the line, for what would take it for something else at its end.
const ENTER_FROM_BEGINNING: &[u8] = b"\x01\r";
/// The same as Enter, where somebody has given that another meaning; a menu does not take it.
const OTHER_ENTER: &[u8] = b"\x18\x13";
/// Leaves the client's shell mode, which an empty box may be in, and opens the editor.
const OUT_OF_SHELL: &[u8] = b"\x7f\x07";
/// The same by the other key.
const OTHER_OUT_OF_SHELL: &[u8] = b"\x7f\x18\x05";
/// Leaves whatever has the keys instead of the box: a search, the transcript, a menu. And ends the
/// running turn (facts 3.5).
pub const ESCAPE: &[u8] = b"\x1b";

/// How long the client may take to run its editor. Measured: 10 ms, and 0.3 s for the first time.
const OPENS: Duration = Duration::from_secs(3);
/// How long the editor and the client may take to give the terminal back. Measured: 20 ms.
const GIVES_BACK: Duration = Duration::from_secs(10);
/// How long the hook of a prompt may take. Measured: 35 ms, and more with hooks of the user's.
const SUBMITS: Duration = Duration::from_secs(5);
/// The same when it was told to stop just then: it may not come at all.
const STOPS: Duration = Duration::from_millis(500);
/// The same of one that an earlier broker may have entered: it waits already for somebody to tell.
const SUBMITTED: Duration = Duration::from_secs(1);
/// How long the client waits for more behind an ESC, and a good deal more.
const ESCAPES: Duration = Duration::from_millis(300);
/// How long a turn may take to end before it is told to once more: a dialog takes the first ESC for
/// itself. Measured: 0.1 s.
const ENDS: Duration = Duration::from_secs(1);
/// How often it is told.
const MAX_STOPS: u32 = 3;
/// How often it is tried to get one prompt into the box.
const MAX_TRIES: u32 = 3;

/// See the module.
#[derive(Debug, Default)]
pub struct Typing {
    prompt: Option<Prompt>,
    step: Step,
    /// Somebody has typed since the box was last known to be empty.
    touched: bool,
    /// Somebody may have, before this began.
    unknown: bool,
    /// A person's own editor has the terminal.
    away: bool,
    /// The box is known to be empty: what stood there was taken, or the editor has seen that.
    empty: bool,
    /// The client knows [`OTHER_ENTER`]; to an older one it means another thing.
    knows_other_enter: bool,
    /// Enter has not submitted.
    other_enter: bool,
    /// The editor did not come by its key.
    other_editor: bool,
    /// The last prompt may have been entered before it was typed.
    retyped: bool,
    /// What is in the box is of ours, and was not sent.
    left: bool,
    /// What they had typed, to be put back.
    draft: Option<String>,
}

#[derive(Debug)]
struct Prompt {
    uuid: Uuid,
    text: String,
    tries: u32,
    /// Enter was pressed for it; not known of one that an earlier broker had.
    entered: bool,
    /// The box was found empty since.
    looked: bool,
    /// It is not wanted any more.
    stopped: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Rest,
    /// Something else had the keys.
    Escaping(What),
    /// The editor was asked for.
    Opening(What),
    /// It was told what is to stand in the box.
    Edited(What),
    /// Enter was pressed.
    Entered,
    /// The running turn was told to end, so often.
    Stopping(u32),
}

/// What the editor is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// To take away what stands there.
    Clear,
    /// To put the prompt there.
    Put,
    /// To see whether the prompt is still there.
    Look,
    /// To put back what somebody had typed.
    Restore,
    /// For nothing: the first time takes longer.
    Warm,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// These keys are pressed; often none.
    Keys(&'static [u8]),
    /// This is pasted, and entered with it; or, where that cannot be, [`Typing::is_not_pasted`].
    Paste(String),
    /// This prompt will not be sent, and nothing was sent: it is not in the box as it should be,
    /// or it is not wanted any more.
    NotSent {
        /// Which.
        uuid: Uuid,
        /// The client has made something else of it.
        altered: bool,
    },
    /// The client does not do what it should.
    GiveUp,
}

const NOTHING: Next = Next::Keys(b"");

impl Typing {
    /// For an interface that somebody may have typed into before.
    #[must_use]
    pub fn taken_up() -> Self {
        Self {
            unknown: true,
            ..Self::default()
        }
    }

    /// A prompt is to be submitted, once nothing else is in the way.
    pub fn begin(&mut self, uuid: Uuid, text: &str) -> Next {
        self.retyped = false;
        self.prompt = Some(Prompt {
            uuid,
            text: text.to_owned(),
            tries: 0,
            entered: false,
            looked: false,
            stopped: false,
        });
        match self.step {
            Step::Rest | Step::Stopping(_) => self.go_on(),
            _ => NOTHING,
        }
    }

    /// The same of one that may have been typed by an earlier broker: nobody knows how far it has
    /// come.
    pub fn resume(&mut self, uuid: Uuid, text: &str) -> Next {
        let _ = self.begin(uuid, text);
        self.retyped = true;
        self.open(What::Look)
    }

    /// Whether the client is one that has another key for Enter.
    pub fn knows_other_enter(&mut self, knows: bool) {
        self.knows_other_enter = knows;
    }

    /// The editor is opened once for nothing, so that the first prompt does not wait for that.
    pub fn warm(&mut self) -> Next {
        match self.step {
            Step::Rest => self.open(What::Warm),
            _ => NOTHING,
        }
    }

    /// The prompt that was not taken yet.
    #[must_use]
    pub fn waiting(&self) -> Option<Uuid> {
        self.prompt.as_ref().map(|prompt| prompt.uuid)
    }

    /// Somebody has typed.
    pub fn is_touched(&mut self) {
        self.touched = true;
    }

    /// A person's own editor has the terminal, or not any more: what was asked meanwhile begins.
    pub fn is_away(&mut self, away: bool) -> Next {
        self.away = away;
        match self.step {
            Step::Rest if !away => self.go_on(),
            _ => NOTHING,
        }
    }

    /// The last prompt may have been entered twice, and nobody else has typed since: the same once more
    /// is not to be sent.
    #[must_use]
    pub fn is_retyped(&self) -> bool {
        self.retyped && !self.touched
    }

    /// Nobody else has typed since the prompt was put into the box.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        !self.touched && self.prompt.as_ref().is_some_and(|prompt| prompt.entered)
    }

    /// The editor asks what is to stand in the box, where now stands `there`. `None` when a person has
    /// opened it: it is theirs. One that nobody can have opened was opened by an earlier broker.
    pub fn edit(&mut self, there: &str) -> Option<String> {
        let what = match self.step {
            Step::Opening(what) => what,
            _ if self.touched => return None,
            Step::Entered => What::Look,
            _ => return Some(there.to_owned()),
        };
        let (what, text) = match what {
            What::Look => self.looks(there),
            What::Clear => (What::Clear, String::new()),
            What::Put => (What::Put, self.text().to_owned()),
            What::Restore => (What::Restore, self.draft.take().unwrap_or_default() + there),
            What::Warm => (What::Warm, there.to_owned()),
        };
        if what == What::Clear && !there.is_empty() && !self.left {
            self.draft = Some(there.to_owned());
        }
        self.empty = text.is_empty();
        self.step = Step::Edited(what);
        Some(text)
    }

    /// What is done about what stands in the box where the prompt may be.
    fn looks(&mut self, there: &str) -> (What, String) {
        let Some(prompt) = &mut self.prompt else {
            return (What::Warm, there.to_owned());
        };
        if there.is_empty() {
            (What::Look, String::new())
        } else if there.trim_end() == prompt.text.trim_end() {
            prompt.tries += 1;
            if prompt.entered && !prompt.stopped {
                self.other_enter = self.knows_other_enter;
            }
            if self.touched || self.unknown {
                // the client may have been told that it is for the shell
                self.left = true;
                return (What::Clear, String::new());
            }
            (What::Put, prompt.text.clone())
        } else if prompt.entered {
            // it became something else
            self.left = true;
            (What::Look, there.to_owned())
        } else {
            (What::Clear, String::new())
        }
    }

    fn text(&self) -> &str {
        self.prompt.as_ref().map_or("", |prompt| &prompt.text)
    }

    /// Whether our editor has the terminal, or is about to: what somebody types is lost there.
    #[must_use]
    pub fn has_terminal(&self) -> bool {
        matches!(self.step, Step::Opening(_) | Step::Edited(_))
    }

    /// Whether it is waited for that the client has its terminal back.
    #[must_use]
    pub fn awaits_terminal(&self) -> bool {
        matches!(self.step, Step::Edited(_))
    }

    /// The client has its terminal back.
    pub fn is_back(&mut self) -> Next {
        let Step::Edited(what) = self.step else {
            return NOTHING;
        };
        self.step = Step::Rest;
        match what {
            What::Clear => {
                (self.touched, self.left, self.unknown) = (false, false, false);
                self.step = Step::Opening(What::Put);
                Next::Keys(match self.other_editor {
                    true => OTHER_OUT_OF_SHELL,
                    false => OUT_OF_SHELL,
                })
            }
            What::Put if self.prompt.as_ref().is_some_and(|prompt| prompt.stopped) => {
                self.left = true;
                self.not_sent(false)
            }
            What::Put => {
                self.step = Step::Entered;
                if let Some(prompt) = &mut self.prompt {
                    prompt.entered = true;
                }
                Next::Keys(match takes_enter(self.text()) {
                    _ if self.other_enter => OTHER_ENTER,
                    true => ENTER_FROM_BEGINNING,
                    false => ENTER,
                })
            }
            What::Look if self.left => self.not_sent(true),
            What::Look => {
                if let Some(prompt) = &mut self.prompt {
                    prompt.looked = true;
                    self.step = Step::Entered;
                }
                NOTHING
            }
            What::Restore => {
                self.touched = true;
                self.go_on()
            }
            What::Warm => self.go_on(),
        }
    }

    fn not_sent(&mut self, altered: bool) -> Next {
        match self.prompt.take() {
            Some(Prompt { uuid, stopped, .. }) => Next::NotSent {
                uuid,
                altered: altered && !stopped,
            },
            None => NOTHING,
        }
    }

    /// The hook of the prompt has come, and it goes to the model.
    pub fn is_taken(&mut self, uuid: Uuid) -> Next {
        if self.waiting() != Some(uuid) {
            return NOTHING;
        }
        self.prompt = None;
        self.step = Step::Rest;
        self.empty = true;
        match self.draft {
            Some(_) => self.open(What::Restore),
            None => NOTHING,
        }
    }

    /// The hook of the prompt has come, and it was stopped: the client has put it back into the box.
    pub fn is_stopped(&mut self, uuid: Uuid) {
        if self.waiting() == Some(uuid) {
            self.prompt = None;
            self.step = Step::Rest;
            self.left = true;
        }
    }

    /// The prompt is not wanted any more, or the turn that it has become.
    pub fn interrupt(&mut self) -> Next {
        // A turn that has not begun to answer gives its prompt back to the box.
        self.empty = false;
        let entered = self.step == Step::Entered;
        match &mut self.prompt {
            Some(prompt) => {
                prompt.stopped = true;
                Next::Keys(if entered { ESCAPE } else { b"" })
            }
            None => {
                self.step = Step::Stopping(1);
                Next::Keys(ESCAPE)
            }
        }
    }

    /// The running turn has ended.
    pub fn is_over(&mut self) {
        if matches!(self.step, Step::Stopping(_)) {
            self.step = Step::Rest;
        }
    }

    /// For how long what is awaited now may be.
    #[must_use]
    pub fn bound(&self) -> Option<Duration> {
        let stopped = self.prompt.as_ref().is_some_and(|prompt| prompt.stopped);
        match self.step {
            Step::Rest => None,
            Step::Escaping(_) => Some(ESCAPES),
            Step::Opening(_) => Some(OPENS),
            Step::Edited(_) => Some(GIVES_BACK),
            Step::Entered if stopped => Some(STOPS),
            Step::Entered if self.prompt.as_ref().is_some_and(|prompt| !prompt.entered) => {
                Some(SUBMITTED)
            }
            Step::Entered => Some(SUBMITS),
            Step::Stopping(MAX_STOPS) => None,
            Step::Stopping(_) => Some(ENDS),
        }
    }

    /// It has not come.
    pub fn overdue(&mut self) -> Next {
        match self.step {
            Step::Rest => NOTHING,
            Step::Stopping(times) => {
                self.step = Step::Stopping(times + 1);
                Next::Keys(ESCAPE)
            }
            Step::Escaping(what) => self.open(what),
            // nobody waits for these
            Step::Opening(What::Restore | What::Warm) => {
                self.other_editor = !self.other_editor;
                self.step = Step::Rest;
                self.go_on()
            }
            Step::Opening(what) => {
                if !self.may_try() {
                    return Next::GiveUp;
                }
                self.other_editor = !self.other_editor;
                self.step = Step::Escaping(what);
                Next::Keys(ESCAPE)
            }
            Step::Edited(_) => Next::GiveUp,
            Step::Entered => {
                let looked = self.prompt.as_ref().is_some_and(|prompt| prompt.looked);
                let tries = self.prompt.as_ref().map_or(0, |prompt| prompt.tries);
                match looked {
                    // It is in the box, and Enter does nothing.
                    false if tries >= MAX_TRIES => Next::GiveUp,
                    // It is neither in the box nor with the model.
                    true if self.may_try() => {
                        self.retyped = true;
                        self.step = Step::Rest;
                        self.go_on()
                    }
                    true => Next::GiveUp,
                    false => self.open(What::Look),
                }
            }
        }
    }

    fn may_try(&mut self) -> bool {
        self.prompt.as_mut().is_none_or(|prompt| {
            prompt.tries += 1;
            prompt.looked = false;
            prompt.tries < MAX_TRIES
        })
    }

    fn go_on(&mut self) -> Next {
        match self.prompt {
            _ if self.away => NOTHING,
            Some(_) if self.touched || self.left || self.unknown => self.open(What::Clear),
            Some(ref mut prompt)
                if self.empty
                    && !self.other_enter
                    && prompt.tries == 0
                    && is_plain(&prompt.text) =>
            {
                prompt.entered = true;
                let text = prompt.text.clone();
                (self.step, self.empty) = (Step::Entered, false);
                Next::Paste(text)
            }
            Some(_) => self.open(What::Put),
            None => NOTHING,
        }
    }

    /// What was to be pasted cannot be now, and was not.
    pub fn is_not_pasted(&mut self) -> Next {
        if let Some(prompt) = &mut self.prompt {
            prompt.entered = false;
        }
        self.open(What::Put)
    }

    fn open(&mut self, what: What) -> Next {
        self.step = Step::Opening(what);
        Next::Keys(match self.other_editor {
            true => OTHER_EDITOR,
            false => EDITOR,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(1);

    fn begun(text: &str) -> Typing {
        let mut typing = Typing::default();
        assert_eq!(typing.begin(ID, text), Next::Keys(EDITOR));
        typing
    }

    fn entered(text: &str) -> Typing {
        let mut typing = begun(text);
        assert_eq!(typing.edit("").as_deref(), Some(text));
        assert!(matches!(typing.is_back(), Next::Keys(keys) if keys.ends_with(ENTER)));
        typing
    }

    #[test]
    fn a_prompt_is_put_and_entered() {
        let mut typing = begun("a");
        assert_eq!(typing.bound(), Some(OPENS));
        assert_eq!(typing.edit("").as_deref(), Some("a"));
        assert!(typing.awaits_terminal());
        assert_eq!(typing.is_back(), Next::Keys(ENTER));
        assert_eq!(
            (typing.waiting(), typing.bound()),
            (Some(ID), Some(SUBMITS))
        );
        assert_eq!(typing.is_taken(ID), NOTHING);
        assert_eq!((typing.waiting(), typing.bound()), (None, None));
        // one that a person opens is theirs
        assert_eq!(typing.edit("x").as_deref(), Some("x"));
        typing.is_touched();
        assert_eq!(typing.edit("x"), None);
    }

    /// One whose box is empty.
    fn empty() -> Typing {
        let mut typing = Typing::default();
        assert_eq!(typing.warm(), Next::Keys(EDITOR));
        assert_eq!(typing.edit("").as_deref(), Some(""));
        assert_eq!(typing.is_back(), NOTHING);
        typing
    }

    fn pasted(text: &str) -> Next {
        Next::Paste(text.to_owned())
    }

    #[test]
    fn a_plain_prompt_is_pasted_into_an_empty_box() {
        let mut typing = empty();
        for text in ["a", "b"] {
            assert_eq!(typing.begin(ID, text), pasted(text));
            assert_eq!((typing.bound(), typing.is_alone()), (Some(SUBMITS), true));
            assert_eq!(typing.is_taken(ID), NOTHING);
        }
        assert_eq!(typing.begin(ID, "a\tb"), Next::Keys(EDITOR));
        let _ = (typing.edit(""), typing.is_back(), typing.is_taken(ID));
        assert_eq!(typing.begin(ID, "c"), pasted("c"));
        // It has not come, and is looked for.
        assert_eq!(typing.overdue(), Next::Keys(EDITOR));
        assert_eq!(typing.edit("").as_deref(), Some(""));
        assert_eq!(
            (typing.is_back(), typing.overdue()),
            (NOTHING, Next::Keys(EDITOR))
        );
        assert_eq!(typing.edit("").as_deref(), Some("c"));
        assert_eq!(typing.is_back(), Next::Keys(ENTER));
    }

    #[test]
    fn nothing_is_pasted_into_a_box_that_may_not_be_empty() {
        let changes: [fn(&mut Typing); 4] = [
            |typing| typing.is_touched(),
            |typing| drop((typing.interrupt(), typing.is_over())),
            |typing| drop((typing.begin(ID, "x"), typing.is_stopped(ID))),
            |typing| *typing = Typing::taken_up(),
        ];
        for change in changes {
            let mut typing = empty();
            change(&mut typing);
            assert_eq!(typing.begin(ID, "a"), Next::Keys(EDITOR));
        }
        let mut typing = empty();
        assert_eq!(typing.begin(ID, "a"), pasted("a"));
        assert_eq!(typing.is_not_pasted(), Next::Keys(EDITOR));
        assert!(!typing.is_alone());
        assert_eq!(typing.edit("").as_deref(), Some("a"));
        assert_eq!(typing.is_back(), Next::Keys(ENTER));
    }

    #[test]
    fn what_would_take_enter_for_itself_is_left_first() {
        for text in ["a\\", "read @/etc/hosts", "see :smi"] {
            let mut typing = begun(text);
            let _ = typing.edit("");
            assert_eq!(typing.is_back(), Next::Keys(ENTER_FROM_BEGINNING));
        }
    }

    #[test]
    fn what_somebody_has_typed_is_put_back() {
        let mut typing = Typing::default();
        typing.is_touched();
        assert_eq!(typing.begin(ID, "a"), Next::Keys(EDITOR));
        assert_eq!(typing.edit("draft").as_deref(), Some(""));
        assert_eq!(typing.is_back(), Next::Keys(OUT_OF_SHELL));
        assert_eq!(typing.edit("").as_deref(), Some("a"));
        assert_eq!(typing.is_back(), Next::Keys(ENTER));
        assert_eq!(typing.is_taken(ID), Next::Keys(EDITOR));
        // the next prompt waits for that, and finds it
        assert_eq!(typing.begin(ID, "b"), NOTHING);
        assert_eq!(typing.edit("!").as_deref(), Some("draft!"));
        assert_eq!(typing.is_back(), Next::Keys(EDITOR));
        assert_eq!(typing.edit("draft!").as_deref(), Some(""));
    }

    #[test]
    fn what_is_left_of_ours_is_nobodys_draft() {
        let mut typing = entered("a");
        typing.is_stopped(ID);
        assert_eq!(typing.begin(ID, "b"), Next::Keys(EDITOR));
        assert_eq!(typing.edit("a").as_deref(), Some(""));
        assert_eq!(typing.is_back(), Next::Keys(OUT_OF_SHELL));
        assert_eq!(typing.edit("").as_deref(), Some("b"));
        let _ = typing.is_back();
        assert_eq!(typing.is_taken(ID), NOTHING);
    }

    #[test]
    fn an_enter_that_was_lost_is_pressed_again() {
        let mut typing = entered("a");
        assert_eq!(typing.overdue(), Next::Keys(EDITOR));
        assert_eq!(typing.edit("a\n").as_deref(), Some("a"));
        assert_eq!(typing.is_back(), Next::Keys(ENTER));
        for _ in 1..MAX_TRIES {
            assert_eq!(typing.overdue(), Next::Keys(EDITOR));
            let _ = (typing.edit("a"), typing.is_back());
        }
        assert_eq!(typing.overdue(), Next::GiveUp);
    }

    #[test]
    fn what_is_gone_without_a_word_is_typed_again() {
        let mut typing = Typing::taken_up();
        assert_eq!(typing.resume(ID, "a"), Next::Keys(EDITOR));
        // once by the broker before, and once by this one
        for _ in 0..2 {
            assert_eq!(typing.edit("").as_deref(), Some(""));
            // its hook may be on its way
            assert_eq!(typing.is_back(), NOTHING);
        }
        assert_eq!(typing.bound(), Some(SUBMITTED));
        // nobody knows what else was typed before
        assert_eq!(typing.overdue(), Next::Keys(EDITOR));
        assert!(typing.is_retyped());
        assert_eq!(typing.edit("").as_deref(), Some(""));
        assert_eq!(typing.is_back(), Next::Keys(OUT_OF_SHELL));
        assert_eq!(typing.edit("").as_deref(), Some("a"));
        assert_eq!(typing.is_back(), Next::Keys(ENTER));
    }

    #[test]
    fn a_draft_is_not_taken_for_what_an_earlier_broker_typed() {
        let mut typing = Typing::taken_up();
        assert_eq!(typing.resume(ID, "a"), Next::Keys(EDITOR));
        assert_eq!(typing.edit("draft").as_deref(), Some(""));
        assert_eq!(typing.is_back(), Next::Keys(OUT_OF_SHELL));
        assert_eq!(typing.edit("").as_deref(), Some("a"));
        assert_eq!(typing.is_back(), Next::Keys(ENTER));
        assert_eq!(typing.is_taken(ID), Next::Keys(EDITOR));
        assert_eq!(typing.edit("").as_deref(), Some("draft"));
    }

    #[test]
    fn what_became_something_else_without_a_hook_is_not_sent() {
        let mut typing = entered("a\u{200f}b");
        assert_eq!(typing.overdue(), Next::Keys(EDITOR));
        assert_eq!(typing.edit("ab").as_deref(), Some("ab"));
        let not_sent = Next::NotSent {
            uuid: ID,
            altered: true,
        };
        assert_eq!(typing.is_back(), not_sent);
        assert_eq!(typing.begin(ID, "b"), Next::Keys(EDITOR));
        assert_eq!(typing.edit("ab").as_deref(), Some(""));
    }

    #[test]
    fn what_is_stopped_before_it_is_entered_is_not_sent() {
        let mut typing = begun("a");
        assert_eq!(typing.interrupt(), NOTHING);
        let _ = typing.edit("");
        let not_sent = Next::NotSent {
            uuid: ID,
            altered: false,
        };
        assert_eq!(typing.is_back(), not_sent);

        // The client puts it back into the box, and its hook does not come.
        let mut typing = entered("a");
        assert_eq!(typing.interrupt(), Next::Keys(ESCAPE));
        assert_eq!(typing.bound(), Some(STOPS));
        assert_eq!(typing.overdue(), Next::Keys(EDITOR));
        assert_eq!(typing.edit("a").as_deref(), Some("a"));
        assert_eq!(typing.is_back(), not_sent);
        assert_eq!(typing.interrupt(), Next::Keys(ESCAPE));
    }

    #[test]
    fn a_turn_that_does_not_end_is_told_again() {
        let mut typing = Typing::default();
        assert_eq!(typing.interrupt(), Next::Keys(ESCAPE));
        assert_eq!(typing.bound(), Some(ENDS));
        assert_eq!(typing.overdue(), Next::Keys(ESCAPE));
        assert_eq!(typing.overdue(), Next::Keys(ESCAPE));
        assert_eq!(typing.bound(), None);
        typing.is_over();
        assert_eq!(typing.interrupt(), Next::Keys(ESCAPE));
        typing.is_over();
        assert_eq!(
            (typing.bound(), typing.begin(ID, "a")),
            (None, Next::Keys(EDITOR))
        );
    }

    #[test]
    fn a_persons_own_editor_is_waited_for() {
        let mut typing = Typing::default();
        typing.is_touched();
        assert_eq!(typing.edit("draft"), None);
        assert_eq!(typing.is_away(true), NOTHING);
        assert_eq!(typing.begin(ID, "a"), NOTHING);
        assert_eq!(typing.bound(), None);
        assert_eq!(typing.is_away(false), Next::Keys(EDITOR));
        assert_eq!(typing.edit("draft, edited").as_deref(), Some(""));
    }

    #[test]
    fn what_has_the_keys_is_left() {
        let mut typing = begun("a");
        assert_eq!(typing.overdue(), Next::Keys(ESCAPE));
        assert_eq!(typing.bound(), Some(ESCAPES));
        assert_eq!(typing.overdue(), Next::Keys(OTHER_EDITOR));
        assert_eq!(typing.overdue(), Next::Keys(ESCAPE));
        assert_eq!(typing.overdue(), Next::Keys(EDITOR));
        assert_eq!(typing.overdue(), Next::GiveUp);
    }

    #[test]
    fn keys_that_do_something_else_are_found_out_once() {
        let mut typing = Typing::default();
        typing.knows_other_enter(true);
        assert_eq!(typing.warm(), Next::Keys(EDITOR));
        assert_eq!(typing.begin(ID, "a"), NOTHING);
        assert_eq!(typing.overdue(), Next::Keys(OTHER_EDITOR));
        let _ = typing.edit("");
        assert_eq!(typing.is_back(), Next::Keys(ENTER));
        // It is still there, with a newline behind it.
        assert_eq!(typing.overdue(), Next::Keys(OTHER_EDITOR));
        assert_eq!(typing.edit("a\n").as_deref(), Some("a"));
        assert_eq!(typing.is_back(), Next::Keys(OTHER_ENTER));
        assert_eq!(typing.is_taken(ID), NOTHING);
        for text in ["b", "b\\"] {
            assert_eq!(typing.begin(ID, text), Next::Keys(OTHER_EDITOR));
            let _ = typing.edit("");
            assert_eq!(typing.is_back(), Next::Keys(OTHER_ENTER));
            assert_eq!(typing.is_taken(ID), NOTHING);
        }
        typing.is_touched();
        assert_eq!(typing.begin(ID, "c"), Next::Keys(OTHER_EDITOR));
        let _ = typing.edit("draft");
        assert_eq!(typing.is_back(), Next::Keys(OTHER_OUT_OF_SHELL));
    }

    #[test]
    fn the_first_prompt_waits_for_the_warming_up() {
        let mut typing = Typing::default();
        assert_eq!(typing.warm(), Next::Keys(EDITOR));
        assert_eq!(typing.begin(ID, "a"), NOTHING);
        assert_eq!(typing.edit("x").as_deref(), Some("x"));
        assert_eq!(typing.is_back(), Next::Keys(EDITOR));
        assert_eq!(typing.edit("x").as_deref(), Some("a"));
    }
}
