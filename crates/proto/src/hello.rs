//! The first frame each way, and the envelopes that carry everything after it.

use serde::{Deserialize, Serialize};

use crate::{ErrorCode, Event, Failure, Reply, Request};

/// The protocol's number. It changes only when an older peer would misunderstand
/// a newer one; a new request, field or event is a capability instead.
pub const PROTOCOL: u32 = 1;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The requests this build's broker understands.
pub const CAPABILITIES: &[&str] = &[
    "new",
    "send",
    "result",
    "list",
    "show",
    "kill",
    "restart",
    "cancel",
    "interrupt",
    "wait",
    "queue",
    "queue_remove",
    "queue_run",
    "log",
    "rename",
    "questions",
    "approve",
    "deny",
    "answer",
    "events",
    "attach",
    "resized",
    "detach",
    "capture",
    "type",
    "keys",
    "hook",
    "edit",
    "status",
    "stop",
    "upgrade",
];

/// Who is there: the first frame in each direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`] of the sender.
    pub protocol: u32,
    /// The program's own version, for messages to people.
    pub version: String,
    /// What the sender can do beyond the protocol's number: a broker lists the
    /// requests it understands. Unknown names are ignored.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Of a broker: its state directory, which with its label is what it is. A
    /// client that found it at a default path makes sure that it is its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<String>,
}

impl Hello {
    /// What this build's client says.
    #[must_use]
    pub fn client() -> Self {
        Self {
            protocol: PROTOCOL,
            version: VERSION.to_owned(),
            capabilities: Vec::new(),
            state_dir: None,
        }
    }

    /// What this build's broker says.
    #[must_use]
    pub fn broker(state_dir: String) -> Self {
        Self {
            state_dir: Some(state_dir),
            capabilities: CAPABILITIES.iter().map(ToString::to_string).collect(),
            ..Self::client()
        }
    }
}

/// Whether a client and a broker can talk.
///
/// # Errors
/// [`ErrorCode::Incompatible`], naming both versions and the side to upgrade.
pub fn compatible(client: &Hello, broker: &Hello) -> Result<(), Failure> {
    if client.protocol == broker.protocol {
        return Ok(());
    }
    let message = format!(
        "this command is clsess {} (protocol {}), the broker is clsess {} (protocol {})",
        client.version, client.protocol, broker.version, broker.protocol
    );
    let hint = if client.protocol > broker.protocol {
        "upgrade the broker: clsess broker stop; the next command starts the new one"
    } else {
        "upgrade the command to the broker's version"
    };
    Err(Failure::new(ErrorCode::Incompatible, message).hint(hint))
}

/// Whether one version comes after another, in the order of Semantic Versioning. What is no
/// version comes after nothing, and nothing after it.
#[must_use]
pub fn newer(one: &str, other: &str) -> bool {
    matches!((order(one), order(other)), (Some(one), Some(other)) if one > other)
}

/// Three numbers, whether it is a release, and the identifiers of what comes before a release:
/// numbers before words, and in their own order.
type Order<'a> = ([u64; 3], bool, Vec<(bool, u64, &'a str)>);

fn order(version: &str) -> Option<Order<'_>> {
    // What is behind a plus names a build and has no order.
    let version = version.split('+').next()?;
    let (numbers, before) = match version.split_once('-') {
        Some((numbers, before)) => (numbers, Some(before)),
        None => (version, None),
    };
    let numbers: Vec<u64> = numbers
        .split('.')
        .map(|n| n.parse().ok())
        .collect::<Option<_>>()?;
    let identifiers = before.into_iter().flat_map(|before| before.split('.'));
    let identifiers = identifiers.map(|word| match word.parse() {
        Ok(number) => (false, number, ""),
        Err(_) => (true, 0, word),
    });
    Some((
        numbers.try_into().ok()?,
        before.is_none(),
        identifiers.collect(),
    ))
}

/// A frame from a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToBroker {
    /// Must be first.
    Hello(Hello),
    /// Something to do. Several may be under way on one connection.
    Request {
        /// Chosen by the client; repeated in everything that answers it.
        id: u64,
        /// When it was first made, in milliseconds of Unix time, if it is made again since the
        /// connection was lost before its answer came: what it has done already is not done
        /// twice.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first_asked: Option<u64>,
        /// What to do.
        request: Box<Request>,
    },
    /// A kind of frame that this build does not know: it has no id to answer to,
    /// so the connection ends with [`ErrorCode::BadRequest`].
    #[serde(other)]
    Unknown,
}

/// A frame from the broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToClient {
    /// Comes first.
    Hello(Hello),
    /// The one good answer to a request.
    Reply {
        /// Of the request.
        id: u64,
        /// The answer.
        reply: Box<Reply>,
    },
    /// The one bad answer to a request. With id 0 it concerns the connection,
    /// which ends after it.
    Error {
        /// Of the request, or 0.
        id: u64,
        /// What went wrong.
        error: Failure,
    },
    /// Something that happened, before the answer to the request that asked for
    /// events.
    Event {
        /// Of the request.
        id: u64,
        /// What happened.
        event: Event,
    },
    /// A kind of frame that this build does not know: ignored.
    #[serde(other)]
    Unknown,
}
