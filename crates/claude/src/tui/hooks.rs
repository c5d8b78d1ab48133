//! What a hook tells, and what is answered to it.
//!
//! A hook is a command of ours: what it reads from its stdin is read here, and what is made here
//! goes to its stdout (facts 4(d), 10, 11, 13). Every field is optional, as everywhere.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::input::{Allow, Deny};
use crate::json::{Raw, array, count, flag, object, text, uuid};
use crate::stream::{BadLine, Json};

/// One call of a hook: what all of them tell, and what this one does.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The transcript's id.
    pub session: Option<Uuid>,
    /// The turn that it belongs to: the `promptId` of the transcript's lines. One that is told of
    /// a prompt that is typed while a turn runs is that turn's (facts 13).
    pub prompt_id: Option<String>,
    /// The subagent in which it happens; missing in the conversation itself.
    pub agent: Option<String>,
    /// The directory that the client works in.
    pub cwd: Option<String>,
    /// The mode as the client names it (`default` is the flag's `manual`).
    pub permission_mode: Option<String>,
    /// What happens.
    pub hook: Hook,
}

/// What a hook is called for.
#[derive(Clone, Debug, PartialEq)]
pub enum Hook {
    /// `UserPromptSubmit`: this goes to the model, unless the answer is [`block`].
    Prompt {
        /// As it will be on the wire (facts 13: 12 of 12).
        prompt: String,
        /// Who made it: `user` at the input box, `system` for a background agent's report, …
        /// (the client's own schema; it may be missing).
        source: Option<String>,
    },
    /// `MessageDisplay`: words of the model, once for each line or more at a time (facts 11).
    Display {
        /// The message; not the API's `msg_…`.
        message: String,
        /// The client's own count of turns.
        turn: Option<String>,
        /// From 0; joined in this order the deltas are the text.
        index: u64,
        /// `final`: nothing of the message comes after it.
        last: bool,
        /// What came; often empty in the last one.
        delta: String,
    },
    /// `Stop`: the turn is over. Another hook of it may make the model go on.
    Stop {
        /// The text of the last message, its trailing newline cut.
        last_message: Option<String>,
        /// Background agents and commands that run.
        background: usize,
        /// `stop_hook_active`: a hook had made the model go on before.
        again: bool,
    },
    /// `StopFailure`: an API error ended the turn.
    StopFailure {
        /// `rate_limit`, `authentication_failed`, `unknown`, …
        error: Option<String>,
        /// What the client says about it: `API Error: 400 …`.
        last_message: Option<String>,
    },
    /// `PermissionRequest`: a dialog is on the screen, and the first answer wins (facts 10).
    Permission {
        /// The tool.
        tool: String,
        /// Its input: what [`allow`] gives back, changed or not.
        input: Json,
        /// `permission_suggestions`: what [`allow`] takes for "always".
        suggestions: Option<Json>,
        /// The call; 2.1.328 does not tell it.
        id: Option<String>,
    },
    /// `PreToolUse`.
    Tool {
        /// The call, `toolu_…`.
        id: String,
        /// The tool.
        name: String,
        /// Its input.
        input: Json,
    },
    /// `PostToolUse`, `PostToolUseFailure`.
    ToolDone {
        /// The call.
        id: String,
        /// Whether it failed.
        is_error: bool,
    },
    /// `PostToolBatch`: all calls of a message have their results, the denied ones too; the next
    /// request to the model comes after it (the client's own schema).
    ToolsDone {
        /// The calls.
        ids: Vec<String>,
    },
    /// `SubagentStart`.
    SubagentStart {
        /// Its id, as in [`Call::agent`].
        agent: String,
    },
    /// `SubagentStop`.
    SubagentStop {
        /// Its id.
        agent: String,
    },
    /// `SessionStart`; never by http (facts 2, corrections).
    SessionStart {
        /// `startup`, `resume`, `clear`, `compact`.
        source: Option<String>,
    },
    /// `SessionEnd`.
    SessionEnd {
        /// `prompt_input_exit`, `clear`, `other`, …
        reason: Option<String>,
    },
    /// `PostModelSwitch`: another model answers from now on.
    ModelSwitch {
        /// As it was asked for, or, of the client's default, its name: the flag takes both.
        model: String,
        /// By whom: `command`, `picker`, `sdk`, `auto`, `resume` (the client's own schema).
        source: Option<String>,
    },
    /// `Notification`; of a dialog it comes some 6 s late.
    Notification {
        /// `permission_prompt`, …
        kind: Option<String>,
        /// In the client's words.
        message: Option<String>,
    },
    /// Another event, or one of ours without what makes it one: its name.
    Other(String),
}

/// The fields of all hooks.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    hook_event_name: Raw<'a>,
    #[serde(borrow)]
    session_id: Raw<'a>,
    #[serde(borrow)]
    prompt_id: Raw<'a>,
    #[serde(borrow)]
    agent_id: Raw<'a>,
    #[serde(borrow)]
    cwd: Raw<'a>,
    #[serde(borrow)]
    permission_mode: Raw<'a>,
    #[serde(borrow)]
    prompt: Raw<'a>,
    #[serde(borrow)]
    message_id: Raw<'a>,
    #[serde(borrow)]
    turn_id: Raw<'a>,
    #[serde(borrow)]
    index: Raw<'a>,
    #[serde(borrow, rename = "final")]
    last: Raw<'a>,
    #[serde(borrow)]
    delta: Raw<'a>,
    #[serde(borrow)]
    last_assistant_message: Raw<'a>,
    #[serde(borrow)]
    background_tasks: Raw<'a>,
    #[serde(borrow)]
    stop_hook_active: Raw<'a>,
    #[serde(borrow)]
    error: Raw<'a>,
    #[serde(borrow)]
    tool_name: Raw<'a>,
    #[serde(borrow)]
    tool_input: Raw<'a>,
    #[serde(borrow)]
    tool_use_id: Raw<'a>,
    #[serde(borrow)]
    tool_calls: Raw<'a>,
    #[serde(borrow)]
    permission_suggestions: Raw<'a>,
    #[serde(borrow)]
    requested_model: Raw<'a>,
    #[serde(borrow)]
    to_model: Raw<'a>,
    #[serde(borrow)]
    source: Raw<'a>,
    #[serde(borrow)]
    reason: Raw<'a>,
    #[serde(borrow)]
    notification_type: Raw<'a>,
    #[serde(borrow)]
    message: Raw<'a>,
}

/// Reads what a hook was given. An event that we do not know is [`Hook::Other`].
///
/// # Errors
/// When it is no JSON object.
pub fn parse(body: &[u8]) -> Result<Call, BadLine> {
    let body = body.trim_ascii();
    if body.is_empty() {
        return Err(BadLine::Empty);
    }
    let raw: &RawValue =
        serde_json::from_slice(body).map_err(|error| BadLine::Json(error.to_string()))?;
    if !raw.get().starts_with('{') {
        return Err(BadLine::NotAnObject);
    }
    let fields: Fields<'_> = serde_json::from_str(raw.get()).map_err(|error| {
        // a key that comes twice
        BadLine::Json(error.to_string())
    })?;
    let name = text(fields.hook_event_name).unwrap_or_default();
    let hook = fields.hook(&name).unwrap_or(Hook::Other(name));
    let of_the_main = matches!(
        hook,
        Hook::SubagentStart { .. } | Hook::SubagentStop { .. } | Hook::SessionStart { .. }
    );
    Ok(Call {
        session: uuid(fields.session_id),
        prompt_id: text(fields.prompt_id),
        // these name an agent that they are about, and are not inside of it
        agent: text(fields.agent_id).filter(|_| !of_the_main),
        cwd: text(fields.cwd),
        permission_mode: text(fields.permission_mode),
        hook,
    })
}

impl Fields<'_> {
    fn hook(&self, name: &str) -> Option<Hook> {
        Some(match name {
            "UserPromptSubmit" => Hook::Prompt {
                prompt: text(self.prompt)?,
                source: text(self.source),
            },
            "MessageDisplay" => Hook::Display {
                message: text(self.message_id)?,
                turn: text(self.turn_id),
                index: count(self.index)?,
                last: flag(self.last).unwrap_or_default(),
                delta: text(self.delta).unwrap_or_default(),
            },
            "Stop" => Hook::Stop {
                last_message: text(self.last_assistant_message),
                background: array(self.background_tasks).len(),
                again: flag(self.stop_hook_active).unwrap_or_default(),
            },
            "StopFailure" => Hook::StopFailure {
                error: text(self.error),
                last_message: text(self.last_assistant_message),
            },
            "PermissionRequest" => Hook::Permission {
                tool: text(self.tool_name)?,
                input: self.input(),
                suggestions: self.permission_suggestions.map(Json::of),
                id: text(self.tool_use_id),
            },
            "PreToolUse" => Hook::Tool {
                id: text(self.tool_use_id)?,
                name: text(self.tool_name)?,
                input: self.input(),
            },
            "PostToolUse" | "PostToolUseFailure" => Hook::ToolDone {
                id: text(self.tool_use_id)?,
                is_error: name == "PostToolUseFailure",
            },
            "PostToolBatch" => Hook::ToolsDone { ids: self.calls() },
            "SubagentStart" => Hook::SubagentStart {
                agent: text(self.agent_id)?,
            },
            "SubagentStop" => Hook::SubagentStop {
                agent: text(self.agent_id)?,
            },
            "SessionStart" => Hook::SessionStart {
                source: text(self.source),
            },
            "SessionEnd" => Hook::SessionEnd {
                reason: text(self.reason),
            },
            "PostModelSwitch" => Hook::ModelSwitch {
                model: text(self.requested_model).or_else(|| text(self.to_model))?,
                source: text(self.source),
            },
            "Notification" => Hook::Notification {
                kind: text(self.notification_type),
                message: text(self.message),
            },
            _ => return None,
        })
    }

    /// The ids of the calls of a batch.
    fn calls(&self) -> Vec<String> {
        #[derive(Deserialize)]
        struct Call<'a> {
            #[serde(borrow)]
            tool_use_id: Raw<'a>,
        }
        let calls = array(self.tool_calls).into_iter();
        let calls = calls.filter_map(|call| object::<Call<'_>>(Some(call)));
        calls.filter_map(|call| text(call.tool_use_id)).collect()
    }

    /// A tool's input; `{}` where there is none.
    fn input(&self) -> Json {
        let input = self.tool_input.map(Json::of);
        input.unwrap_or_else(Json::empty)
    }
}

/// The answer that decides nothing: the client, and whoever is at the screen, go on.
pub const NOTHING: &str = "{}";

/// The prompt is not sent: no request is made, and its text is put back into the input box
/// (facts 13). `reason` is shown at the screen.
#[must_use]
pub fn block(reason: &str) -> String {
    #[derive(Serialize)]
    struct Block<'a> {
        decision: &'static str,
        reason: &'a str,
    }
    written(&Block {
        decision: "block",
        reason,
    })
}

/// Yes. `updated_input` is the question's input, changed or not, for a question of the agent
/// [`crate::question::answered`]: questions and plans take a yes only with it (facts 10).
/// `always` is the question's suggestions.
#[must_use]
pub fn allow(updated_input: &Json, always: Option<&Json>) -> String {
    decision(&Allow::new(updated_input, always))
}

/// No; the message is told to the model. With `interrupt` the turn ends.
#[must_use]
pub fn deny(message: &str, interrupt: bool) -> String {
    decision(&Deny::new(message, interrupt))
}

/// A decision, as a stream-json answer has it, too.
pub(crate) fn decision(decision: &impl Serialize) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Specific<'a, D> {
        hook_event_name: &'static str,
        decision: &'a D,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer<'a, D> {
        hook_specific_output: Specific<'a, D>,
    }
    written(&Answer {
        hook_specific_output: Specific {
            hook_event_name: "PermissionRequest",
            decision,
        },
    })
}

/// Strings and finished JSON cannot fail to be written; what did would decide nothing.
fn written(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| NOTHING.to_owned())
}

/// What a tool's input says it will do, for people: hooks do not tell the description that
/// stream-json does. Paths are told from `cwd`, as there.
#[must_use]
pub fn description(input: &Json, cwd: Option<&str>) -> Option<String> {
    #[derive(Deserialize)]
    struct Known<'a> {
        #[serde(borrow)]
        command: Raw<'a>,
        #[serde(borrow)]
        file_path: Raw<'a>,
        #[serde(borrow)]
        notebook_path: Raw<'a>,
        #[serde(borrow)]
        url: Raw<'a>,
        #[serde(borrow)]
        query: Raw<'a>,
        #[serde(borrow)]
        path: Raw<'a>,
    }
    let known: Known<'_> = object(Some(input.raw()))?;
    let told = known.command.or(known.file_path).or(known.notebook_path);
    let told = text(told.or(known.url).or(known.query).or(known.path))?;
    let inside = cwd.and_then(|cwd| told.strip_prefix(cwd)?.strip_prefix('/'));
    Some(inside.map_or_else(|| told.clone(), str::to_owned))
}

#[cfg(test)]
#[path = "hooks/tests.rs"]
mod tests;
