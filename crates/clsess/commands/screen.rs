//! `clsess capture`, `type` and `keys`: a session's terminal without one of one's own.

use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;

use clsess_proto::{ErrorCode, Failure, Reply, Request};
use serde_bytes::ByteBuf;
use tokio::task::spawn_blocking;

use crate::cli::{Capture, Keys, Type};
use crate::output::print_bytes;
use clsess_client::client::{Start, unexpected};
use clsess_client::link::Link;
use clsess_client::surroundings::Surroundings;

/// Bytes of stdin that are typed at most; the broker takes no more at once.
const MAX_TYPED: u64 = 1024 * 1024;

pub async fn capture(capture: Capture, surroundings: &Surroundings) -> Result<u8, Failure> {
    let mut link = Link::connect(surroundings, Start::IfMissing).await?;
    let request = Request::Capture {
        session: capture.name,
        ansi: capture.ansi,
        history: capture.history,
    };
    match link.call(request).await? {
        Reply::Captured { screen } => print_bytes(&screen),
        other => return Err(unexpected(&other)),
    }
    Ok(0)
}

pub async fn type_in(typed: Type, surroundings: &Surroundings) -> Result<u8, Failure> {
    let input = match typed.words.is_empty() {
        true => stdin().await?,
        false => {
            let words = typed.words.into_iter().map(OsStringExt::into_vec);
            words.collect::<Vec<_>>().join(&b' ')
        }
    };
    let request = |session| Request::Type {
        session,
        input: ByteBuf::from(input),
    };
    once(&typed.name, request, surroundings).await
}

pub async fn keys(keys: Keys, surroundings: &Surroundings) -> Result<u8, Failure> {
    let request = |session| Request::Keys {
        session,
        keys: keys.keys,
    };
    once(&keys.name, request, surroundings).await
}

/// Asks once: what a broker may have typed before it died is not typed again.
async fn once(
    name: &str,
    request: impl FnOnce(String) -> Request,
    surroundings: &Surroundings,
) -> Result<u8, Failure> {
    let mut link = Link::connect(surroundings, Start::IfMissing).await?;
    match link.client().call(request(name.to_owned())).await {
        Ok(Reply::Done {}) => Ok(0),
        Ok(other) => Err(unexpected(&other)),
        Err(failure) if failure.code == ErrorCode::BrokerUnreachable => {
            let message = "the broker died meanwhile: it is not known how much was typed";
            Err(Failure::new(failure.code, message).hint(format!("clsess capture {name}")))
        }
        Err(failure) => Err(failure),
    }
}

async fn stdin() -> Result<Vec<u8>, Failure> {
    let read = spawn_blocking(|| {
        let mut bytes = Vec::new();
        let stdin = io::stdin().lock();
        stdin.take(MAX_TYPED + 1).read_to_end(&mut bytes)?;
        Ok::<_, io::Error>(bytes)
    });
    let unreadable = |why: String| {
        Failure::new(
            ErrorCode::BadRequest,
            format!("stdin cannot be read: {why}"),
        )
    };
    let read = read.await.map_err(|e| unreadable(e.to_string()))?;
    read.map_err(|e| unreadable(e.to_string()))
}
