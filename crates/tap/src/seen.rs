//! What passes, told to who looks on.

use std::fmt;

use bytes::Bytes;
use hyper::Method;
pub use hyper::header::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE, HeaderName, PROXY_AUTHORIZATION, SET_COOKIE};

/// What is taken out of headers before they are told.
const SECRETS: [HeaderName; 5] = [
    AUTHORIZATION,
    PROXY_AUTHORIZATION,
    COOKIE,
    SET_COOKIE,
    HeaderName::from_static("x-api-key"),
];

/// Something that passed. An exchange is a request and its answer; those of one pass are numbered
/// from 1 without a gap.
///
/// Of each exchange comes first its `Request` and last its `End` or `Missed`, each once. Between
/// them the request's parts come in order and the answer's too; the two can be mixed. The number of
/// an exchange that began while the receiver had no room is never told: the gap is all that there is
/// of it.
#[derive(Debug)]
pub enum Seen {
    /// The head of a request has come.
    Request {
        /// The number of the exchange.
        exchange: u64,
        /// `POST`.
        method: Method,
        /// As it goes to the upstream's host, so without the secret: `/v1/messages?beta=true`.
        path_and_query: String,
        /// As the client sent them, without those that are secrets.
        headers: HeaderMap,
    },
    /// More of the request's body: at most 64 KiB.
    RequestBody {
        /// The number of the exchange.
        exchange: u64,
        /// As they came.
        bytes: Bytes,
    },
    /// The whole request has come.
    RequestEnd {
        /// The number of the exchange.
        exchange: u64,
    },
    /// The head of the answer has come.
    Answer {
        /// The number of the exchange.
        exchange: u64,
        /// 200, or what it is.
        status: u16,
        /// As the upstream sent them, without cookies.
        headers: HeaderMap,
    },
    /// More of the answer's body: at most 64 KiB.
    AnswerBody {
        /// The number of the exchange.
        exchange: u64,
        /// As they came.
        bytes: Bytes,
    },
    /// No more comes of this exchange.
    End {
        /// The number of the exchange.
        exchange: u64,
        /// In what way it ended.
        how: How,
    },
    /// The receiver had no room: the rest of this exchange is not told, and passes all the same.
    Missed {
        /// The number of the exchange.
        exchange: u64,
    },
}

impl Seen {
    /// The number of the exchange.
    #[must_use]
    pub fn exchange(&self) -> u64 {
        match self {
            Self::Request { exchange, .. }
            | Self::RequestBody { exchange, .. }
            | Self::RequestEnd { exchange }
            | Self::Answer { exchange, .. }
            | Self::AnswerBody { exchange, .. }
            | Self::End { exchange, .. }
            | Self::Missed { exchange } => *exchange,
        }
    }
}

/// How an exchange ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// The whole answer has come and was handed on. An answer of 101 is complete at once: what comes
    /// after it passes unread.
    Complete,
    /// It broke off; the other side was cut too.
    Cut {
        /// Who broke it off.
        by: Side,
        /// In words.
        why: String,
    },
    /// The request never left: the upstream cannot be reached, or is not who it should be. The
    /// client got an answer of 502.
    Refused {
        /// In words.
        why: String,
    },
}

/// Who broke off an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client went away, before or in the middle of the answer.
    Client,
    /// The upstream did.
    Upstream,
    /// The pass ended: its [`crate::Admitted`] was dropped, or the [`crate::Tap`].
    Tap,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "the client",
            Self::Upstream => "the upstream",
            Self::Tap => "the tap",
        })
    }
}

/// Headers as they are told.
pub(crate) fn without_secrets(headers: &HeaderMap) -> HeaderMap {
    let mut told = headers.clone();
    for name in &SECRETS {
        told.remove(name);
    }
    told
}
