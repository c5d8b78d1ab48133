//! Tools that are called, and the questions about them.

use std::collections::VecDeque;

use uuid::Uuid;

use super::Tracker;
use crate::stream::{Json, QuestionLine};
use crate::tui::hooks::{Call, Hook, description};
use crate::turn::{Happening, MAX_AGENTS, MAX_QUESTIONS, Question, QuestionKind};

/// Calls without a result that are remembered; the oldest go.
const MAX_CALLS: usize = 256;

/// What the agent does and asks.
#[derive(Debug, Default)]
pub(super) struct Asking {
    pub(super) held: Vec<Held>,
    pub(super) calls: VecDeque<ToolCall>,
    /// The agents of the agent, and the turn of ours that began each.
    pub(super) agents: VecDeque<(String, Option<Uuid>)>,
}

/// A question whose hook is held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: String,
    agent: Option<String>,
    call: Option<String>,
}

/// A call without a result.
#[derive(Debug)]
pub(super) struct ToolCall {
    id: String,
    name: String,
    input: Json,
    agent: Option<String>,
}

impl Asking {
    /// Exactly one question waits.
    pub(super) fn is_one(&self) -> bool {
        self.held.len() == 1
    }

    pub(super) fn agent_began(&mut self, agent: String, asked: Option<Uuid>) {
        if self.agents.len() >= MAX_AGENTS {
            self.agents.pop_front();
        }
        self.agents.push_back((agent, asked));
    }

    /// These questions need no answer any more.
    pub(super) fn gone(&mut self, is_gone: impl Fn(&Held) -> bool, out: &mut Vec<Happening>) {
        let gone = self.held.extract_if(.., |held| is_gone(held));
        out.extend(gone.map(|held| Happening::QuestionGone {
            request_id: held.id,
        }));
    }

    /// Nor do those of an agent; `None` is the conversation itself.
    pub(super) fn gone_of(&mut self, agent: Option<&str>, out: &mut Vec<Happening>) {
        self.gone(|held| held.agent.as_deref() == agent, out);
    }

    fn called(&mut self, call: ToolCall) {
        if self.calls.len() >= MAX_CALLS {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
    }

    /// A call has its result; true when it was known and had none.
    fn done(&mut self, id: &str, out: &mut Vec<Happening>) -> bool {
        self.gone(|held| held.call.as_deref() == Some(id), out);
        let at = self.calls.iter().position(|call| call.id == id);
        at.and_then(|at| self.calls.remove(at)).is_some()
    }

    /// The call that a question is about: it does not say.
    fn call_of(&self, agent: Option<&str>, tool: &str, input: &Json) -> Option<String> {
        let mut calls = self.calls.iter().rev();
        let call = calls.find(|call| {
            call.agent.as_deref() == agent && call.name == tool && call.input == *input
        });
        call.map(|call| call.id.clone())
    }
}

impl Tracker {
    /// A tool is called, or tools have their results.
    pub(super) fn tool(&mut self, call: Call, out: &mut Vec<Happening>) {
        let subagent = call.agent.is_some();
        if !subagent {
            match self.of_turn(call.prompt_id, out) {
                Some(run) => run.tool(),
                None => return,
            }
        }
        let asked = self.asked();
        match call.hook {
            Hook::Tool { id, name, input } => {
                self.asking.called(ToolCall {
                    id: id.clone(),
                    name: name.clone(),
                    input: input.clone(),
                    agent: call.agent,
                });
                out.push(Happening::Tool {
                    asked,
                    subagent,
                    id,
                    name,
                    input,
                });
            }
            Hook::ToolDone { id, is_error } => {
                self.asking.done(&id, out);
                out.push(Happening::ToolResult {
                    asked,
                    subagent,
                    id,
                    is_error,
                });
            }
            // what has no result of its own by now was denied
            Hook::ToolsDone { ids } => {
                for id in ids {
                    if self.asking.done(&id, out) {
                        out.push(Happening::ToolResult {
                            asked,
                            subagent,
                            id,
                            is_error: true,
                        });
                    }
                }
            }
            _ => {}
        }
    }

    /// A dialog is on the screen, and its hook waits for somebody.
    pub(super) fn permission(&mut self, id: &str, call: Call, out: &mut Vec<Happening>) {
        let Hook::Permission {
            tool,
            input,
            suggestions,
            id: call_id,
        } = call.hook
        else {
            return;
        };
        if call.agent.is_none() {
            self.of_turn(call.prompt_id, out);
        }
        let agent = call.agent.as_deref();
        // one conversation asks one thing at a time (facts 10)
        self.asking.gone_of(agent, out);
        if self.asking.held.len() >= MAX_QUESTIONS {
            self.asking.held.remove(0);
        }
        let call_id = call_id.or_else(|| self.asking.call_of(agent, &tool, &input));
        let mut agents = self.asking.agents.iter();
        let known = agents.find(|(known, _)| Some(known.as_str()) == agent);
        let asked = known.map_or_else(|| self.asked(), |(_, asked)| *asked);
        self.asking.held.push(Held {
            id: id.to_owned(),
            agent: call.agent.clone(),
            call: call_id.clone(),
        });
        let kind = match tool.as_str() {
            "AskUserQuestion" => QuestionKind::Question,
            "ExitPlanMode" => QuestionKind::Plan,
            _ => QuestionKind::Permission,
        };
        out.push(Happening::Question(Box::new(Question {
            kind,
            asked,
            line: QuestionLine {
                request_id: id.to_owned(),
                description: description(&input, call.cwd.as_deref()),
                tool,
                input,
                suggestions,
                tool_use_id: call_id,
                agent_id: call.agent,
            },
        })));
    }
}
