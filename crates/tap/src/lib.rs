//! A listener on loopback that the HTTP traffic of agents passes through, byte for byte, and that hands a copy of
//! what passes to who looks on. Nothing here knows of sessions, nor of what the bytes mean.
//!
//! Why not hudsucker (0.25, read): it tunnels what it does not open by a direct `TcpStream::connect`, past the user's
//! own proxy; has one listener for one handler, without credentials; and takes out `Host` and joins cookies.
//!
//! One connection of a client has one connection to its upstream, opened at the first request; each is one task's.
//! The copy never waits for who looks on: what there is no room for is missed, and that is said ([`Seen::Missed`]).

mod address;
mod authority;
mod body;
mod bypass;
mod door;
mod exchange;
mod listener;
mod outward;
mod refusal;
mod relay;
mod secret;
mod seen;
mod tls;
mod upstream;

use std::sync::Arc;

use tokio::sync::mpsc;

pub use address::{Address, NoAddress};
pub use authority::Authority;
pub use bypass::without;
pub use listener::{Admitted, Tap};
pub use outward::{Outward, OutwardError};
pub use secret::Secret;
pub use seen::{HeaderMap, How, Seen, Side};

/// What one client may do, and who looks on.
#[derive(Debug)]
pub struct Pass {
    /// What the client shows. Of two passes with the same secret the later counts.
    pub secret: Secret,
    /// How the client comes.
    pub way: Way,
    /// How its connections leave.
    pub outward: Outward,
    /// Who looks on. Its bound is the memory that a slow one costs: each message holds at most 64 KiB. Each exchange in
    /// progress (one for each of at most [`MAX_CONNECTIONS`] connections) keeps one place of it for its last word, so it
    /// should have some hundreds.
    pub seen: mpsc::Sender<Seen>,
}

/// Connections that one pass can have at a time. As many again wait until one of them ends; a further one is refused.
pub const MAX_CONNECTIONS: usize = 64;

/// Longest head of a request or an answer, and most of a body that is on its way at a time, in each direction of a
/// connection; in bytes. A longer head of a request is answered with 431, one of an answer is broken.
pub(crate) const MAX_BUFFER: usize = 64 * 1024;

/// How a client comes to the tap.
#[derive(Clone, Debug)]
pub enum Way {
    /// As to a proxy, with `HTTPS_PROXY=http://clsess:SECRET@127.0.0.1:PORT`. A CONNECT to this host and port is
    /// opened with the authority, which the client trusts; every other one is tunnelled unread.
    Proxy {
        /// The one host whose traffic is read.
        host: String,
        /// Its port: 443.
        port: u16,
        /// Who vouches for the host towards the client; [`Authority::host`] is the same host.
        authority: Arc<Authority>,
    },
    /// As to the server itself, with the base URL `http://127.0.0.1:PORT/s/SECRET`: what follows that path goes to
    /// this URL.
    ///
    /// Such a client does not know whom it talks to: whoever has the port when the tap is gone gets its credentials.
    BaseUrl {
        /// Its path goes before that of each request. A user and password in it are not sent: they stand in the
        /// client's URL, and pass.
        upstream: Address,
    },
}

/// An error and what caused it, in one line.
pub(crate) fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !words.ends_with(&more) {
            words = format!("{words}: {more}");
        }
        cause = inner.source();
    }
    words
}
