//! Which text of a request is the user's prompt, and which requests make one turn.
//!
//! As Claude Code 2.1.328 writes it, the prompt is the **last text block of a `user` message
//! that holds no `tool_result`**. In front of it, in the same message, come the client's own
//! blocks: `<system-reminder>` (first turn of a conversation), `<local-command-...>`, and
//! `[Request interrupted by user]`. What follows it is no prompt: messages of role `system`,
//! `user` messages with tool results (in the TUI together with text typed meanwhile), and the
//! two continuations which the client writes itself after `max_tokens` and `refusal`.
//!
//! A prompt may look like a reminder itself, so a block is passed over as the client's own only
//! when an ordinary text is in the same message; if all look alike, the last is the prompt.
//!
//! **Two requests belong to the same turn** if they agree in session, agent, the prompt's text
//! and the prompt's place in the conversation (message and block number). Tool results,
//! continuations and retries only append, so the place stays; the same words said again later
//! stand at another place and are a new turn. A turn which is run again from the same place
//! (a retry, the non-streaming fallback, an interrupted turn resumed by
//! `CLAUDE_CODE_RESUME_INTERRUPTED_TURN`, a rewind with the same words) continues the old one.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::wire::{Message, Request};

/// What the client says by itself after an answer that was cut short.
const CONTINUATIONS: [&str; 3] = [
    "Output token limit hit. Resume directly",
    "Your response above was stopped by a safety classifier",
    "[Your previous response had no visible output.",
];

/// The start of a text steered into a running turn.
const STEERED: &str = "The user sent a new message while you were working:\n";

/// What the client puts where a turn was interrupted.
const INTERRUPTED: &str = "[Request interrupted by user";

/// The start of a turn the client begins by itself when a background task ends.
const NOTIFICATION: &str = "<system-reminder>\n[SYSTEM NOTIFICATION - NOT USER INPUT]";

/// The user's prompt and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prompt<'a> {
    /// The text, verbatim.
    pub text: &'a str,
    /// The number of its message.
    pub message: usize,
    /// The number of its block among the message's texts.
    pub block: usize,
}

/// The identity of a turn.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TurnKey {
    session: String,
    agent: String,
    text: u64,
    message: usize,
    block: usize,
}

impl TurnKey {
    /// The turn this prompt starts, in this session and agent.
    pub fn new(session: &str, agent: &str, prompt: Prompt<'_>) -> Self {
        let mut hasher = DefaultHasher::new();
        prompt.text.hash(&mut hasher);
        Self {
            session: session.to_owned(),
            agent: agent.to_owned(),
            text: hasher.finish(),
            message: prompt.message,
            block: prompt.block,
        }
    }
}

impl Prompt<'_> {
    /// Whether the client began this turn by itself, to tell that a background task ended.
    pub fn is_notification(&self) -> bool {
        self.text.starts_with(NOTIFICATION)
    }
}

/// The prompt that the request is to be answered for.
pub fn prompt(request: &Request) -> Option<Prompt<'_>> {
    let messages = &request.messages;
    let message = (0..messages.len())
        .rev()
        .find(|&at| is_prompt(messages, at))?;
    let texts: Vec<_> = messages[message].content.texts().collect();
    let block = texts
        .iter()
        .rposition(|text| !injected(text))
        .unwrap_or(texts.len() - 1);
    Some(Prompt {
        text: texts[block],
        message,
        block,
    })
}

/// All texts that arrived after the prompt within its turn and that a person or the client
/// said: steered texts and continuations.
pub fn said_after<'a>(request: &'a Request, prompt: &Prompt<'_>) -> Vec<&'a str> {
    let later = request.messages.iter().skip(prompt.message + 1);
    let texts = later.flat_map(|message| {
        let user = message.role == "user";
        let said = move |text: &&str| user || text.starts_with(STEERED);
        message.content.texts().filter(said)
    });
    texts.collect()
}

/// Everything the user said before this prompt, oldest first.
pub fn earlier<'a>(request: &'a Request, prompt: &Prompt<'_>) -> Vec<&'a str> {
    let messages = &request.messages;
    let mut said = Vec::new();
    for at in (0..prompt.message).filter(|&at| is_prompt(messages, at)) {
        said.extend(user_texts(&messages[at], !follows(messages, at)));
    }
    if let Some(message) = messages.get(prompt.message) {
        let texts = message.content.texts().take(prompt.block);
        said.extend(texts.filter(|text| !injected(text)));
    }
    said
}

/// Whether the next message that is not of role `system` is the user's again.
fn follows(messages: &[Message], at: usize) -> bool {
    let mut later = messages
        .iter()
        .skip(at + 1)
        .filter(|message| message.role != "system");
    later.next().is_some_and(|message| message.role == "user")
}

/// The user's own texts of a message; if all look injected and `odd` allows it, the last one.
fn user_texts(message: &Message, odd: bool) -> Vec<&str> {
    let own: Vec<_> = message
        .content
        .texts()
        .filter(|text| !injected(text))
        .collect();
    let last = message.content.texts().last();
    let last = last.filter(|text| odd && !text.starts_with(NOTIFICATION));
    if own.is_empty() {
        last.into_iter().collect()
    } else {
        own
    }
}

/// Whether message number `at` holds a prompt. Beside a tool's result it does only after
/// an interrupt: the client then puts the next prompt into the same message.
fn is_prompt(messages: &[Message], at: usize) -> bool {
    let message = &messages[at];
    let result = message.content.has("tool_result");
    let of_client =
        |text: &str| injected(text) || text.starts_with(STEERED) || text.starts_with(INTERRUPTED);
    let mut texts = message.content.texts();
    message.role == "user"
        && texts.any(|text| !result || !of_client(text))
        && !is_continuation(messages, at)
}

/// Whether message number `at` is one the client wrote to have a short answer continued.
fn is_continuation(messages: &[Message], at: usize) -> bool {
    let after_answer = at > 0 && messages[at - 1].role == "assistant";
    let mut texts = messages[at].content.texts();
    after_answer && texts.any(|text| CONTINUATIONS.iter().any(|c| text.starts_with(c)))
}

/// Whether a text looks like one the client puts in front of a prompt.
fn injected(text: &str) -> bool {
    let wrapped = |tag: &str| {
        let inner = text
            .trim()
            .strip_prefix('<')
            .and_then(|rest| rest.strip_prefix(tag));
        inner.is_some_and(|rest| rest.starts_with('>'))
            && text.trim_end().ends_with(&format!("</{tag}>"))
    };
    let tags = [
        "system-reminder",
        "local-command-caveat",
        "local-command-stdout",
    ];
    tags.into_iter().any(wrapped)
        || text.starts_with(NOTIFICATION)
        || text.starts_with("<command-name>")
        || text.starts_with("[Request interrupted by user")
}

#[cfg(test)]
mod tests;
