//! From a request to the step that answers it.

use crate::rules::Chosen;
use crate::state::State;
use crate::step::{Audience, Step};
use crate::turn::{self, Prompt, TurnKey};
use crate::wire::{Kind, Request};

/// The default answer quotes so many characters of the prompt.
const QUOTE: usize = 200;
/// `recall` quotes so many characters of each earlier prompt.
const RECALL: usize = 40;

/// The step for this request: of a rule, or the default.
pub fn choose(state: &State, kind: Kind, request: &Request, session: &str, agent: &str) -> Chosen {
    if kind == Kind::Side {
        return Chosen {
            step: side(request),
            by: "side".into(),
        };
    }
    let prompt = turn::prompt(request);
    let scripted = prompt.and_then(|prompt| {
        let key = TurnKey::new(session, agent, prompt);
        state
            .rules
            .borrow_mut()
            .choose(&key, audience(kind, prompt), prompt.text)
    });
    scripted.unwrap_or_else(|| Chosen {
        step: default(request),
        by: "default".into(),
    })
}

/// Whose turn it is.
fn audience(kind: Kind, prompt: Prompt<'_>) -> Audience {
    if kind == Kind::Subagent {
        Audience::Subagent
    } else if prompt.is_notification() {
        Audience::Notification
    } else {
        Audience::Main
    }
}

/// The answer to a title, a probe, or a request for a summary.
fn side(request: &Request) -> Step {
    if request.compacts() {
        Step::of_text("<analysis>fake</analysis>\n<summary>a made-up summary</summary>")
    } else {
        Step::of_text(r#"{"title": "A made-up title"}"#)
    }
}

/// `you said: ...`, or what was said before.
fn default(request: &Request) -> Step {
    let Some(prompt) = turn::prompt(request) else {
        return Step::of_text("you said nothing");
    };
    if !prompt.text.starts_with("recall") {
        return Step::of_text(format!("you said: {}", first_chars(prompt.text, QUOTE)));
    }
    let lines = turn::earlier(request, &prompt).into_iter();
    let lines: Vec<_> = lines
        .map(|text| first_chars(text, RECALL).replace(['\n', '\r'], " "))
        .collect();
    Step::of_text(if lines.is_empty() {
        "(nothing earlier)".into()
    } else {
        lines.join("\n")
    })
}

fn first_chars(text: &str, count: usize) -> &str {
    text.char_indices()
        .nth(count)
        .map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(json: &str) -> String {
        default(&serde_json::from_str(json).unwrap()).text.unwrap()
    }

    #[test]
    fn defaults() {
        assert_eq!(
            answer(r#"{"messages":[{"role":"user","content":"hi"}]}"#),
            "you said: hi"
        );
        let long = format!(
            r#"{{"messages":[{{"role":"user","content":"{}"}}]}}"#,
            "é".repeat(300)
        );
        assert_eq!(answer(&long), format!("you said: {}", "é".repeat(200)));
        assert_eq!(
            answer(r#"{"messages":[{"role":"user","content":"recall"}]}"#),
            "(nothing earlier)"
        );
        let memory = r#"{"messages":[{"role":"user","content":"one\ntwo"},
            {"role":"assistant","content":"x"},{"role":"user","content":"recall it"}]}"#;
        assert_eq!(answer(memory), "one two");
    }
}
