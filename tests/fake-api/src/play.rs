//! Playing a plan into a response body.
//!
//! A task walks the plan and hands its bytes to the connection, one piece at a time. Before a
//! hold is announced or a connection is cut, the task steps back once, so that what was handed
//! over is on its way to the client.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

use crate::plan::Piece;
use crate::state::Shared;

/// A response body.
#[derive(Debug)]
pub enum Playback {
    /// Known as a whole.
    Whole(Full<Bytes>),
    /// Played.
    Played(mpsc::Receiver<Option<Bytes>>),
}

/// The connection is to be dropped here.
#[derive(Debug)]
pub struct CutHere;

impl std::fmt::Display for CutHere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut as scripted")
    }
}

impl std::error::Error for CutHere {}

impl Body for Playback {
    type Data = Bytes;
    type Error = CutHere;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutHere>>> {
        match &mut *self {
            Self::Whole(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Self::Played(pieces) => pieces
                .poll_recv(cx)
                .map(|piece| piece.map(|bytes| bytes.map(Frame::data).ok_or(CutHere))),
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Played(_) => hyper::body::SizeHint::default(),
        }
    }
}

/// Starts playing; `ending` is the outcome to note when the plan was played to its end.
pub fn start(plan: Vec<Piece>, index: u64, ending: &'static str, state: &Shared) -> Playback {
    let (sender, receiver) = mpsc::channel(1);
    let state = Rc::clone(state);
    tokio::task::spawn_local(async move {
        let outcome = play(plan, index, &sender, &state).await;
        let outcome = outcome.unwrap_or("client_gone");
        let outcome = if outcome.is_empty() { ending } else { outcome };
        state.finish(index, outcome);
    });
    Playback::Played(receiver)
}

/// The outcome, empty for a plan played to its end; none if the client went away.
async fn play(
    plan: Vec<Piece>,
    index: u64,
    sender: &mpsc::Sender<Option<Bytes>>,
    state: &Shared,
) -> Option<&'static str> {
    let mut begun = false;
    for piece in plan {
        match piece {
            Piece::Send(bytes) => {
                if !std::mem::replace(&mut begun, true) {
                    state.begin(index);
                }
                sender.send(Some(bytes)).await.ok()?;
            }
            Piece::Leave => settle(sender).await?,
            Piece::Pause(time) => tokio::select! {
                () = tokio::time::sleep(time) => {}
                () = sender.closed() => return None,
            },
            Piece::Hold(name) => {
                settle(sender).await?;
                let released = state.arrive(&name);
                tokio::select! {
                    _ = released => {}
                    () = sender.closed() => return None,
                }
            }
            Piece::Cut => {
                settle(sender).await?;
                sender.send(None).await.ok()?;
                return Some("cut");
            }
        }
    }
    Some("")
}

/// Waits until the connection has taken what was sent, and lets it run once more.
async fn settle(sender: &mpsc::Sender<Option<Bytes>>) -> Option<()> {
    drop(sender.reserve().await.ok()?);
    tokio::task::yield_now().await;
    Some(())
}
