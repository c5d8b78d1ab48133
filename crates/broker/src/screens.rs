//! Requests that are about a session's terminal.

use std::os::fd::OwnedFd;

use clsess_proto::{Attach, ErrorCode, Failure, Reply};
use serde_bytes::ByteBuf;
use tokio::sync::oneshot;

use crate::broker::Shared;
use crate::conn::ask;
use crate::session::Command;

/// Bytes that one request types at most.
const MAX_TYPED: usize = 1024 * 1024;

/// Shows a session's terminal on that of a client, until one of them has had enough.
///
/// # Errors
/// Of the session; [`ErrorCode::NoTerminal`] when the client has sent none.
pub async fn attach(
    shared: &Shared,
    attach: Attach,
    terminal: Option<OwnedFd>,
) -> Result<Reply, Failure> {
    let handle = shared.registry.find(&attach.session)?;
    let Some(terminal) = terminal else {
        let message = "attach needs a terminal, and none came with the request";
        return Err(Failure::new(ErrorCode::NoTerminal, message));
    };
    let (left, gone) = oneshot::channel();
    let command = Command::Attach {
        attach: Box::new(attach),
        terminal,
        left,
    };
    let ended = || Failure::new(ErrorCode::BrokerStopping, "the session has just ended");
    handle.commands.send(command).await.map_err(|_| ended())?;
    // Dropped with the connection: that is how the session hears that its viewer is gone.
    gone.await.map_err(|_| ended())?.map(Reply::Detached)
}

/// What is on a session's screen.
///
/// # Errors
/// Of the session.
pub async fn capture(
    shared: &Shared,
    session: &str,
    ansi: bool,
    history: u32,
) -> Result<Reply, Failure> {
    let handle = shared.registry.find(session)?;
    let screen = ask(&handle, |reply| Command::Capture {
        ansi,
        history,
        reply,
    })
    .await?;
    Ok(Reply::Captured {
        screen: ByteBuf::from(screen),
    })
}

/// Types into a session's terminal.
///
/// # Errors
/// Of the session; [`ErrorCode::BadRequest`] for too much at once.
pub async fn type_in(shared: &Shared, session: &str, input: Vec<u8>) -> Result<Reply, Failure> {
    if input.len() > MAX_TYPED {
        let message = format!("{} bytes; {MAX_TYPED} are typed at once", input.len());
        return Err(Failure::new(ErrorCode::BadRequest, message));
    }
    let handle = shared.registry.find(session)?;
    ask(&handle, |reply| Command::Type { input, reply }).await?;
    Ok(Reply::Done {})
}
