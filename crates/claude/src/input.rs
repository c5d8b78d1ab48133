//! The lines that are written to the client. Each ends with a newline and holds no other.
//!
//! One bad line ends the client (facts 1.1), so nothing else writes to it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::stream::Json;

/// The request id of `initialize`; a process is asked once.
pub const INITIALIZE: &str = "clsess-initialize";
/// The request id of `get_status`.
pub const STATUS: &str = "clsess-status";

/// A prompt that reaches the model byte for byte (from [`crate::version::MIN_EXACT`] on; an
/// older client ignores `client_composed` and takes a leading `/` or `@`).
///
/// The uuid makes it safe to send again: a client that had run it does nothing (facts 1.5).
#[must_use]
pub fn user(uuid: Uuid, prompt: &str) -> Vec<u8> {
    user_line(uuid, prompt, true)
}

/// A slash command, on purpose.
#[must_use]
pub fn command(uuid: Uuid, command: &str) -> Vec<u8> {
    user_line(uuid, command, false)
}

fn user_line(uuid: Uuid, content: &str, client_composed: bool) -> Vec<u8> {
    #[derive(Serialize)]
    struct Message<'a> {
        role: &'static str,
        content: &'a str,
    }
    #[derive(Serialize)]
    struct User<'a> {
        r#type: &'static str,
        uuid: Uuid,
        client_composed: bool,
        message: Message<'a>,
    }
    line(&User {
        r#type: "user",
        uuid,
        client_composed,
        message: Message {
            role: "user",
            content,
        },
    })
}

/// What a process is told once, at its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Initialize {
    /// Instead of the client's own system prompt.
    pub system_prompt: Option<String>,
    /// After it.
    pub append_system_prompt: Option<String>,
}

/// Asks whether the client is up; answered 0.25 s after its start (facts 1.4).
#[must_use]
pub fn initialize(settings: &Initialize) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Request<'a> {
        subtype: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        system_prompt: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        append_system_prompt: Option<&'a str>,
    }
    request(
        INITIALIZE,
        &Request {
            subtype: "initialize",
            system_prompt: settings.system_prompt.as_deref(),
            append_system_prompt: settings.append_system_prompt.as_deref(),
        },
    )
}

/// Asks for the client's version; from 2.1.328 on `initialize` tells it.
#[must_use]
pub fn get_status() -> Vec<u8> {
    plain_request(STATUS, "get_status")
}

/// Ends the running turn. Lines that are queued in the client run all the same.
#[must_use]
pub fn interrupt(request_id: &str) -> Vec<u8> {
    plain_request(request_id, "interrupt")
}

/// Takes back a line that was written and has not started; answered `{"cancelled": bool}`.
#[must_use]
pub fn take_back(request_id: &str, uuid: Uuid) -> Vec<u8> {
    #[derive(Serialize)]
    struct Request {
        subtype: &'static str,
        message_uuid: Uuid,
    }
    request(
        request_id,
        &Request {
            subtype: "cancel_async_message",
            message_uuid: uuid,
        },
    )
}

/// Changes the permission mode; `default` is the name of the flag's `manual` here.
#[must_use]
pub fn set_permission_mode(request_id: &str, mode: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Request<'a> {
        subtype: &'static str,
        mode: &'a str,
    }
    request(
        request_id,
        &Request {
            subtype: "set_permission_mode",
            mode,
        },
    )
}

/// Yes. `updated_input` is the question's input, changed or not: questions and plans take a yes
/// only with it (facts 10). `always` is the question's `suggestions`.
#[must_use]
pub fn allow(request_id: &str, updated_input: &Json, always: Option<&Json>) -> Vec<u8> {
    answer(request_id, &Allow::new(updated_input, always))
}

/// No; the message is told to the model. With `interrupt` the turn ends.
#[must_use]
pub fn deny(request_id: &str, message: &str, interrupt: bool) -> Vec<u8> {
    answer(request_id, &Deny::new(message, interrupt))
}

/// Yes, as stream-json and the hook for it take it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Allow<'a> {
    behavior: &'static str,
    updated_input: &'a Json,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_permissions: Option<&'a Json>,
}

impl<'a> Allow<'a> {
    pub(crate) fn new(updated_input: &'a Json, always: Option<&'a Json>) -> Self {
        Self {
            behavior: "allow",
            updated_input,
            updated_permissions: always,
        }
    }
}

/// No, as both take it.
#[derive(Serialize)]
pub(crate) struct Deny<'a> {
    behavior: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    interrupt: bool,
}

impl<'a> Deny<'a> {
    pub(crate) fn new(message: &'a str, interrupt: bool) -> Self {
        Self {
            behavior: "deny",
            message,
            interrupt,
        }
    }
}

/// The answer to a request that we do not know.
#[must_use]
pub fn refuse(request_id: &str, error: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Response<'a> {
        subtype: &'static str,
        request_id: &'a str,
        error: &'a str,
    }
    #[derive(Serialize)]
    struct Refuse<'a> {
        r#type: &'static str,
        response: Response<'a>,
    }
    line(&Refuse {
        r#type: "control_response",
        response: Response {
            subtype: "error",
            request_id,
            error,
        },
    })
}

/// What one of the lines above is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// A prompt, under this uuid.
    Prompt(Uuid),
    /// The answer to a request of the client, a question for one.
    Answer(String),
    /// A request of ours, or no line of ours.
    Other,
}

/// Reads a line that was written, with its newline or without.
#[must_use]
pub fn written(line: &[u8]) -> Written {
    #[derive(Deserialize)]
    struct Response {
        request_id: String,
    }
    #[derive(Deserialize)]
    #[serde(tag = "type", rename_all = "snake_case")]
    enum Line {
        User { uuid: Uuid },
        ControlResponse { response: Response },
        ControlRequest {},
    }
    match serde_json::from_slice(line) {
        Ok(Line::User { uuid }) => Written::Prompt(uuid),
        Ok(Line::ControlResponse { response }) => Written::Answer(response.request_id),
        Ok(Line::ControlRequest {}) | Err(_) => Written::Other,
    }
}

/// What one of the lines above asks, for a client that is not written lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A prompt.
    Prompt {
        /// Its uuid.
        uuid: Uuid,
        /// It.
        text: String,
    },
    /// The end of the running turn.
    Interrupt,
    /// The answer to a question.
    Answer {
        /// The question.
        request_id: String,
        /// What a permission's hook says for a decision.
        answer: Vec<u8>,
    },
    /// Something that has no meaning without lines.
    Other,
}

/// Reads a line that was written.
#[must_use]
pub fn asked(line: &[u8]) -> Asked {
    #[derive(Deserialize)]
    struct Message {
        content: String,
    }
    #[derive(Deserialize)]
    struct Request {
        subtype: String,
    }
    #[derive(Deserialize)]
    struct Response<'a> {
        request_id: String,
        #[serde(borrow)]
        response: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Line<'a> {
        uuid: Option<Uuid>,
        message: Option<Message>,
        request: Option<Request>,
        #[serde(borrow)]
        response: Option<Response<'a>>,
    }
    let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else {
        return Asked::Other;
    };
    match (line.uuid, line.message, line.request, line.response) {
        (Some(uuid), Some(Message { content: text }), ..) => Asked::Prompt { uuid, text },
        (_, _, Some(request), _) if request.subtype == "interrupt" => Asked::Interrupt,
        (
            ..,
            Some(Response {
                request_id,
                response: Some(decision),
            }),
        ) => Asked::Answer {
            request_id,
            answer: crate::tui::hooks::decision(&decision).into_bytes(),
        },
        _ => Asked::Other,
    }
}

fn plain_request(request_id: &str, subtype: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Request<'a> {
        subtype: &'a str,
    }
    request(request_id, &Request { subtype })
}

fn request(request_id: &str, request: &impl Serialize) -> Vec<u8> {
    #[derive(Serialize)]
    struct Control<'a, R> {
        r#type: &'static str,
        request_id: &'a str,
        request: &'a R,
    }
    line(&Control {
        r#type: "control_request",
        request_id,
        request,
    })
}

fn answer(request_id: &str, response: &impl Serialize) -> Vec<u8> {
    #[derive(Serialize)]
    struct Response<'a, R> {
        subtype: &'static str,
        request_id: &'a str,
        response: &'a R,
    }
    #[derive(Serialize)]
    struct Control<'a, R> {
        r#type: &'static str,
        response: Response<'a, R>,
    }
    line(&Control {
        r#type: "control_response",
        response: Response {
            subtype: "success",
            request_id,
            response,
        },
    })
}

/// Strings, booleans and finished JSON cannot fail to be written; a line that did would be empty
/// and ignored by the client.
fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    // a tool's input that we pass back may be spread over lines; between tokens a space is the same
    line.iter_mut()
        .filter(|byte| **byte == b'\n' || **byte == b'\r')
        .for_each(|byte| *byte = b' ');
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::new(text.to_owned()).unwrap()
    }

    #[test]
    fn what_was_written_is_known_again() {
        let question = json("{\n \"request_id\": \"other\"}");
        for (line, expected) in [
            (
                user(Uuid::max(), "a \"uuid\""),
                Written::Prompt(Uuid::max()),
            ),
            (allow("q", &question, None), Written::Answer("q".into())),
            (deny("q", "no", true), Written::Answer("q".into())),
            (refuse("q", "unknown"), Written::Answer("q".into())),
            (interrupt("r1"), Written::Other),
            (take_back("r1", Uuid::nil()), Written::Other),
            (initialize(&Initialize::default()), Written::Other),
            (b"{\"type\":\"user\",\"uui".to_vec(), Written::Other),
        ] {
            assert_eq!(written(&line), expected);
        }
    }

    /// The client has taken lines like these (fixtures/record.py writes the same).
    #[test]
    fn lines() {
        let question = json("{\n  \"a\": \"x\\ny\"\r\n}");
        let initialize_with = Initialize {
            system_prompt: Some("S".into()),
            append_system_prompt: Some("A".into()),
        };
        for (line, expected) in [
            (
                user(Uuid::nil(), "/a \"b\"\n\u{2028}\t "),
                r#"{"type":"user","uuid":"00000000-0000-0000-0000-000000000000","client_composed":true,"message":{"role":"user","content":"/a \"b\"\nU2028\t "}}"#,
            ),
            (
                command(Uuid::nil(), "/clear"),
                r#"{"type":"user","uuid":"00000000-0000-0000-0000-000000000000","client_composed":false,"message":{"role":"user","content":"/clear"}}"#,
            ),
            (
                initialize(&Initialize::default()),
                r#"{"type":"control_request","request_id":"clsess-initialize","request":{"subtype":"initialize"}}"#,
            ),
            (
                initialize(&initialize_with),
                r#"{"type":"control_request","request_id":"clsess-initialize","request":{"subtype":"initialize","systemPrompt":"S","appendSystemPrompt":"A"}}"#,
            ),
            (
                interrupt("r1"),
                r#"{"type":"control_request","request_id":"r1","request":{"subtype":"interrupt"}}"#,
            ),
            (
                take_back("r1", Uuid::nil()),
                r#"{"type":"control_request","request_id":"r1","request":{"subtype":"cancel_async_message","message_uuid":"00000000-0000-0000-0000-000000000000"}}"#,
            ),
            (
                allow("q", &question, None),
                r#"{"type":"control_response","response":{"subtype":"success","request_id":"q","response":{"behavior":"allow","updatedInput":{   "a": "x\ny"  }}}}"#,
            ),
            (
                allow("q", &json("{}"), Some(&json("[1]"))),
                r#"{"type":"control_response","response":{"subtype":"success","request_id":"q","response":{"behavior":"allow","updatedInput":{},"updatedPermissions":[1]}}}"#,
            ),
            (
                deny("q", "no", false),
                r#"{"type":"control_response","response":{"subtype":"success","request_id":"q","response":{"behavior":"deny","message":"no"}}}"#,
            ),
            (
                deny("q", "no", true),
                r#"{"type":"control_response","response":{"subtype":"success","request_id":"q","response":{"behavior":"deny","message":"no","interrupt":true}}}"#,
            ),
            (
                refuse("q", "unknown"),
                r#"{"type":"control_response","response":{"subtype":"error","request_id":"q","error":"unknown"}}"#,
            ),
        ] {
            let line = String::from_utf8(line)
                .unwrap()
                .replace('\u{2028}', "U2028");
            assert_eq!(line.strip_suffix('\n'), Some(expected));
        }
    }
}
