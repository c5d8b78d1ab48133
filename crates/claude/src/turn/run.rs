//! One run of the agent, from its first line to its `result`: what was said in it.

use uuid::Uuid;

use super::end::{ErrorKind, Outcome, TurnEnd, outcome};
use super::{MAX_ANSWER, MAX_DENIALS, MAX_TEXTS, MAX_UUIDS};
use crate::stream::{AssistantLine, Block, ResultLine};

/// The run that goes on.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// The user lines that it answers, ours or not, in the client's order.
    pub(super) uuids: Vec<Uuid>,
    /// Its beginning was told.
    pub(super) announced: bool,
    /// Told as nobody's, so its end must be told as nobody's too.
    pub(super) announced_unasked: bool,
    texts: Vec<String>,
    texts_bytes: usize,
    answer: String,
    truncated: bool,
    model: Option<String>,
    /// The `error` of the client's last own message about an API error.
    api_error: Option<String>,
    /// The message to which the last entry of `texts` belongs.
    speaking: Option<String>,
    /// The last message that called a tool.
    calling: Option<String>,
    /// The running message has called a tool.
    calls: bool,
    /// The running message has begun with a blank text, the last entry of `texts`.
    begins_blank: bool,
    /// What has come of a text block, as long as that is blank.
    blank: String,
    /// Something else has come of it: its line will say all of it.
    spoke: bool,
    /// Where the running message begins in `answer` and `texts`.
    begun: (usize, usize),
    /// The running message lost its connection, and the client has not yet said how it goes on.
    abandoned: bool,
}

impl Run {
    /// Adds a user line that this run answers. Beyond [`MAX_UUIDS`] it is left out.
    pub(crate) fn claim(&mut self, uuid: Uuid) {
        if !self.uuids.contains(&uuid) && self.uuids.len() < MAX_UUIDS {
            self.uuids.push(uuid);
        }
    }

    /// A message begins; true when it is another attempt at the one before.
    pub(crate) fn message_start(&mut self) -> bool {
        let again = std::mem::take(&mut self.abandoned);
        if again {
            // its blocks are said anew
            self.answer.truncate(self.begun.0);
            let again = self.texts.drain(self.begun.1.min(self.texts.len())..);
            self.texts_bytes -= again.map(|text| text.len()).sum::<usize>();
        }
        self.speaking = None;
        self.calls = false;
        self.begins_blank = false;
        self.blank.clear();
        self.spoke = false;
        self.begun = (self.answer.len(), self.texts.len());
        again
    }

    /// A piece of a text block comes.
    pub(crate) fn piece(&mut self, text: &str) {
        self.spoke |= !text.trim().is_empty();
        if !self.spoke && self.texts_bytes + self.blank.len() <= MAX_TEXTS {
            self.blank.push_str(text);
        } else {
            self.blank.clear();
        }
    }

    /// A block is over. A blank text has no line of its own, and is part of the answer.
    pub(crate) fn block_stop(&mut self) {
        self.spoke = false;
        let blank = std::mem::take(&mut self.blank);
        if blank.is_empty() {
            return;
        }
        let same = self.speaking.is_some() || self.begins_blank;
        self.begins_blank |= self.speaking.is_none();
        self.add(&blank, same, self.calls);
    }

    /// A message is over.
    pub(crate) fn message_stop(&mut self, abandoned: bool) {
        self.abandoned = abandoned;
    }

    /// The client asks the model to go on: what was said so far stands.
    pub(crate) fn goes_on(&mut self) {
        self.abandoned = false;
    }

    /// A tool's result: what was said before it is not the answer.
    pub(crate) fn tool_result(&mut self) {
        self.answer.clear();
        self.begun.0 = 0;
    }

    /// The client's own message about an API error. It is printed in the middle of turns that
    /// go on, too, where the message before it stands (recorded: cut_after_tool), and is never
    /// the model's words.
    pub(crate) fn api_error(&mut self, line: &AssistantLine) {
        self.api_error.clone_from(&line.error);
        self.goes_on();
    }

    /// A line of ours joins a run that nobody asked for: what was said before is a turn of its
    /// own, and is not ours.
    pub(crate) fn split(&mut self) -> TurnEnd {
        self.tool_result();
        self.texts_bytes = 0;
        self.begun.1 = 0;
        self.announced_unasked = false;
        let texts = std::mem::take(&mut self.texts);
        let answer = texts.last().cloned().unwrap_or_default();
        TurnEnd {
            texts,
            answer,
            model: self.model.clone(),
            ..TurnEnd::without_result(Outcome::Completed, None, "")
        }
    }

    /// A block of the conversation.
    pub(crate) fn block(&mut self, line: &AssistantLine, block: &Block) {
        match block {
            Block::Text(text) => self.text(line, text),
            // a message that calls a tool is over before the tool's result, even where the
            // client runs the tool at once and prints its result before the message's last text
            Block::Tool { .. } => {
                self.calls = true;
                self.calling.clone_from(&line.message_id);
            }
            Block::Result => self.tool_result(),
            Block::Thinking | Block::Other => {}
        }
        if line.model.is_some() {
            self.model.clone_from(&line.model);
        }
    }

    fn text(&mut self, line: &AssistantLine, text: &str) {
        if text.is_empty() {
            return;
        }
        self.blank.clear();
        let same = self.speaking.is_some() && self.speaking == line.message_id;
        let same = same || std::mem::take(&mut self.begins_blank);
        self.speaking.clone_from(&line.message_id);
        let calls = self.calling.is_some() && self.calling == line.message_id;
        self.add(text, same, calls);
    }

    /// Adds a text: to the last one, if it is of the same message, and to the answer, unless
    /// its message calls a tool.
    fn add(&mut self, text: &str, same: bool, calls: bool) {
        if self.texts_bytes + text.len() <= MAX_TEXTS {
            self.texts_bytes += text.len();
            match self.texts.last_mut() {
                Some(last) if same => last.push_str(text),
                _ => self.texts.push(text.to_owned()),
            }
        }
        if calls {
            return;
        }
        let room = MAX_ANSWER - self.answer.len();
        if text.len() <= room && !self.truncated {
            self.answer.push_str(text);
        } else if !self.truncated {
            self.truncated = true;
            self.answer
                .push_str(&text[..text.floor_char_boundary(room)]);
        }
    }

    /// The end of the run.
    pub(crate) fn end(self, mut result: ResultLine, cost_usd: Option<f64>) -> TurnEnd {
        let (outcome, error) = outcome(&result, self.api_error.as_deref());
        result.denials.truncate(MAX_DENIALS);
        let said = result.text.as_deref().unwrap_or_default();
        let mut end = TurnEnd {
            outcome,
            is_error: result.is_error,
            error,
            cross_check_failed: !result.is_error
                && !result.local_command
                && !self.truncated
                && !self.answer.ends_with(said),
            stop_reason: result.stop_reason,
            terminal_reason: result.terminal_reason,
            usage: result.usage,
            cost_usd,
            duration_ms: result.duration_ms,
            ttft_ms: result.ttft_ms,
            model: self.model,
            agent_session_id: result.session_id,
            permission_denials: result.denials,
            num_turns: result.num_turns,
            known_already: false,
            doubtful: false,
            last_words: None,
            continued: 0,
            may_go_on: false,
            over: false,
            corrected: false,
            wire_differs: false,
            prompt_id: None,
            truncated: self.truncated,
            local_command: result.local_command,
            exit_status: None,
            origin: result.origin,
            answer: self.answer,
            texts: self.texts,
        };
        if !end.is_error && self.abandoned && end.stop_reason.is_none() {
            end.fail(
                ErrorKind::Incomplete,
                "the connection was lost in the middle of the answer",
            );
        }
        if !end.is_error && !end.local_command && end.num_turns == Some(0) && end.cross_check_failed
        {
            end.cross_check_failed = false;
            end.fail(ErrorKind::Blocked, said);
        }
        if end.truncated {
            end.fail(ErrorKind::AnswerTooLong, "the answer is longer than 16 MiB");
        }
        end
    }
}
