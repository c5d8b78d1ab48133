//! OSC 7501, by which the client tells its state to the terminal that it runs in (facts 3.2).
//!
//! It is a level, not a log: of states that last only for milliseconds some are never told. It
//! is told only to a terminal that has answered the client's question, and not for onboarding, the
//! choice of a login and the warning of bypassed permissions.

use std::fmt;

/// What the client asks, and what makes it tell its state from then on.
pub const ANSWER: &[u8] = b"\x1b]7501;?;1\x07";

/// Bytes of a message that are kept; of a longer one the beginning.
pub const MAX_MESSAGE: usize = 4096;

/// What an OSC 7501 says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The client asks whether somebody listens: [`ANSWER`].
    Asked,
    /// Its state.
    Status(Status),
}

/// The client's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It waits for a prompt: at its start, and after an interrupt.
    Idle,
    /// A turn runs. It is told again when it goes on to something else.
    Working,
    /// It waits for somebody.
    Blocked {
        /// What for.
        kind: Kind,
        /// In its words: `approve Write: x.txt`, `answer: Which colour? (Red · Blue)`.
        message: String,
    },
    /// A turn is over.
    Done,
    /// An API error ended the turn.
    Error {
        /// In its words.
        message: String,
    },
    /// It leaves.
    Clear,
}

/// What it is blocked by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A permission, the approval of a plan, or trust in the directory.
    Permission,
    /// A question of the agent.
    Question,
    /// No login: the turn has failed.
    Auth,
    /// One that we do not know.
    Other(String),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Permission => "permission",
            Self::Question => "question",
            Self::Auth => "auth",
            Self::Other(kind) => kind,
        })
    }
}

/// Reads the inside of an OSC 7501, behind `7501;`. `None` for what we do not know, and for what is
/// about a background task (`id=`) and not about the session (measured).
#[must_use]
pub fn report(inside: &[u8]) -> Option<Report> {
    if inside == b"?" {
        return Some(Report::Asked);
    }
    let (mut state, mut kind, mut message) = (None, None, String::new());
    for field in inside.split(|byte| *byte == b':') {
        let Some(at) = field.iter().position(|byte| *byte == b'=') else {
            continue;
        };
        let (name, value) = (&field[..at], &field[at + 1..]);
        match name {
            b"state" => state = Some(value),
            b"kind" => kind = Some(value),
            b"msg" => message = words(value),
            b"id" => return None,
            _ => {}
        }
    }
    Some(Report::Status(match state? {
        b"idle" => Status::Idle,
        b"working" => Status::Working,
        b"done" => Status::Done,
        b"clear" => Status::Clear,
        b"error" => Status::Error { message },
        b"blocked" => Status::Blocked {
            kind: blocked_by(kind.unwrap_or_default()),
            message,
        },
        _ => return None,
    }))
}

fn blocked_by(kind: &[u8]) -> Kind {
    match kind {
        b"permission" => Kind::Permission,
        b"question" => Kind::Question,
        b"auth" => Kind::Auth,
        other => {
            let other = &other[..other.len().min(MAX_MESSAGE)];
            Kind::Other(printable(&String::from_utf8_lossy(other)))
        }
    }
}

/// The text of a message; empty when it is no base64.
fn words(encoded: &[u8]) -> String {
    // 4 characters are 3 bytes
    let encoded = &encoded[..encoded.len().min(MAX_MESSAGE / 3 * 4)];
    let bytes = decoded(encoded).unwrap_or_default();
    printable(&String::from_utf8_lossy(&bytes))
}

/// Nothing in it may move a cursor.
fn printable(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).collect()
}

/// Base64 of either alphabet, with its padding or without, cut anywhere.
fn decoded(encoded: &[u8]) -> Option<Vec<u8>> {
    let padding = encoded.iter().rev().take_while(|byte| **byte == b'=');
    let encoded = &encoded[..encoded.len() - padding.count()];
    let mut bytes = Vec::with_capacity(encoded.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in encoded {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(inside: &str) -> Option<Status> {
        match report(inside.as_bytes())? {
            Report::Status(status) => Some(status),
            Report::Asked => None,
        }
    }

    #[test]
    fn what_the_client_says() {
        let blocked = |kind, message: &str| {
            Some(Status::Blocked {
                kind,
                message: message.to_owned(),
            })
        };
        assert_eq!(report(b"?"), Some(Report::Asked));
        let (app, write) = ("app=claude-code", "YXBwcm92ZSBXcml0ZTogeC50eHQ=");
        for (inside, expected) in [
            (format!("state=idle:{app}"), Some(Status::Idle)),
            (format!("state=working:{app}"), Some(Status::Working)),
            (format!("state=done:{app}"), Some(Status::Done)),
            ("state=clear".to_owned(), Some(Status::Clear)),
            (
                format!("state=blocked:{app}:kind=permission:msg={write}"),
                blocked(Kind::Permission, "approve Write: x.txt"),
            ),
            (
                format!("state=blocked:{app}:kind=question:msg=YcK3Yg"),
                blocked(Kind::Question, "a·b"),
            ),
            (
                format!("state=blocked:{app}:kind=auth"),
                blocked(Kind::Auth, ""),
            ),
            (
                format!("msg=YQpi:kind=new\x07:{app}:state=blocked"),
                blocked(Kind::Other("new ".into()), "a b"),
            ),
            (
                format!("state=error:{app}:msg=!"),
                Some(Status::Error {
                    message: String::new(),
                }),
            ),
            // recorded: what runs, and a background agent's state
            (
                format!("state=working:{app}:msg=ZmFpbA=="),
                Some(Status::Working),
            ),
            (
                format!("state=working:{app}:id=a2b7227d0142cf002:title=bG9vaw=="),
                None,
            ),
            ("state=clear:id=a2b7227d0142cf002".to_owned(), None),
            (format!("state=later:{app}"), None),
            (String::new(), None),
            ("?;1".to_owned(), None),
            (":=:a=:=b".to_owned(), None),
        ] {
            assert_eq!(status(&inside), expected, "{inside}");
        }
    }

    #[test]
    fn base64() {
        for (text, expected) in [
            ("", Some("")),
            ("Zg==", Some("f")),
            ("Zm8=", Some("fo")),
            ("Zm9v", Some("foo")),
            ("Zm9vYg", Some("foob")),
            ("Zm9vYmE", Some("fooba")),
            ("Zm9vYmFy", Some("foobar")),
            ("Pz8_Pj4-", Some("???>>>")),
            ("Zm=9v", None),
            ("Z g", None),
        ] {
            let expected = expected.map(|it| it.as_bytes().to_vec());
            assert_eq!(decoded(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_message_is_bounded() {
        let long = format!("state=error:msg={}", "YWFh".repeat(MAX_MESSAGE));
        let Some(Status::Error { message }) = status(&long) else {
            panic!("no error");
        };
        assert!(message.len() <= MAX_MESSAGE && message.len() > MAX_MESSAGE - 4);
        // a character cut in two does not lose the message
        let cut = format!("state=error:msg={}", "4oKs".repeat(MAX_MESSAGE) + "4oI");
        assert!(matches!(status(&cut), Some(Status::Error { message }) if message.len() > 4000));
    }
}
