//! A connection to the broker: frames, requests and their answers.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use clsess_place::lock::{self, Record};
use clsess_proto::{
    ErrorCode, Event, Failure, Hello, Reply, Request, ToBroker, ToClient, compatible, frame,
};
use futures_util::{SinkExt, StreamExt};
use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::tokio::prelude::*;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use tokio_util::bytes::Bytes;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

pub use crate::reach::Start;

/// How long a broker may take to say hello. One that has just started reads the
/// journals of its sessions first.
const HELLO: Duration = Duration::from_secs(30);

/// A connection that has been greeted.
pub struct Client {
    frames: Framed<Stream, LengthDelimitedCodec>,
    last_id: u64,
    /// What the broker said of itself.
    pub hello: Hello,
    /// Its process, by the record in its lock.
    pub broker: Option<Record>,
    /// How often the connection was lost in this command, in a row.
    pub(crate) losses: u32,
    /// When this connection was made.
    pub(crate) since: Instant,
}

/// Something from the broker about a request.
#[derive(Debug)]
pub enum Incoming {
    /// Before the answer.
    Event(Event),
    /// The answer.
    Answer(Result<Reply, Failure>),
}

impl Client {
    /// Greets whoever listens there.
    ///
    /// # Errors
    /// When it is somebody else, or speaks otherwise.
    pub(crate) async fn greet(stream: Stream) -> Result<Self, Failure> {
        same_user(&stream)?;
        let codec = LengthDelimitedCodec::builder()
            .length_field_length(frame::LENGTH_BYTES)
            .max_frame_length(frame::MAX_FRAME)
            .new_codec();
        let ours = Hello::client();
        let mut client = Self {
            frames: Framed::new(stream, codec),
            last_id: 0,
            hello: ours.clone(),
            broker: None,
            losses: 0,
            since: Instant::now(),
        };
        client.write(&ToBroker::Hello(ours.clone())).await?;
        let said = tokio::time::timeout(HELLO, client.read());
        let said = said
            .await
            .map_err(|_| gone("it does not answer; is it stopped, or overloaded?"))?;
        match said? {
            ToClient::Hello(hello) => {
                compatible(&ours, &hello)?;
                let lock = hello.state_dir.as_ref().map(|d| Path::new(d).join("lock"));
                client.broker = lock.and_then(|lock| lock::read(&lock));
                client.hello = hello;
                Ok(client)
            }
            ToClient::Error { error, .. } => Err(error),
            _ => Err(gone("it does not speak the protocol of clsess")),
        }
    }

    /// Whether the broker knows a request.
    #[must_use]
    pub fn understands(&self, op: &str) -> bool {
        self.hello.capabilities.iter().any(|known| known == op)
    }

    /// Sends a request; its id.
    ///
    /// # Errors
    /// When the broker is gone.
    pub async fn ask(&mut self, request: Request) -> Result<u64, Failure> {
        self.ask_again(request, None).await
    }

    /// The same; `first_asked`: when it was asked on a connection that was lost.
    async fn ask_again(
        &mut self,
        request: Request,
        first_asked: Option<u64>,
    ) -> Result<u64, Failure> {
        self.last_id += 1;
        let message = ToBroker::Request {
            id: self.last_id,
            first_asked,
            request: Box::new(request),
        };
        self.write(&message).await?;
        Ok(self.last_id)
    }

    /// Sends a request, and a descriptor with it; its id.
    ///
    /// # Errors
    /// When the broker is gone.
    pub async fn ask_with(
        &mut self,
        request: Request,
        descriptor: BorrowedFd<'_>,
    ) -> Result<u64, Failure> {
        self.last_id += 1;
        let message = ToBroker::Request {
            id: self.last_id,
            first_asked: None,
            request: Box::new(request),
        };
        let wire = frame::to_wire(&message)
            .map_err(|e| Failure::new(ErrorCode::BadRequest, e.to_string()))?;
        // Nothing is on its way before it: what was asked was sent to its end.
        let Stream::UdSocket(socket) = self.frames.get_ref();
        match send_with(socket.as_fd(), &wire, descriptor) {
            Ok(sent) if sent == wire.len() => Ok(self.last_id),
            // A small frame is taken whole or not at all.
            Ok(_) => Err(gone("it takes nothing")),
            Err(error) => Err(gone(&error.to_string())),
        }
    }

    /// What comes next for the request `wanted`; what belongs to others is skipped.
    ///
    /// # Errors
    /// When the broker is gone, or ends the connection.
    pub async fn next(&mut self, wanted: u64) -> Result<Incoming, Failure> {
        loop {
            let (id, incoming) = self.next_of_any().await?;
            if id == wanted {
                return Ok(incoming);
            }
        }
    }

    /// What comes next, and for which request.
    ///
    /// # Errors
    /// As [`Client::next`].
    pub async fn next_of_any(&mut self) -> Result<(u64, Incoming), Failure> {
        loop {
            match self.read().await? {
                ToClient::Event { id, event } => return Ok((id, Incoming::Event(event))),
                ToClient::Reply { id, reply } => return Ok((id, Incoming::Answer(Ok(*reply)))),
                ToClient::Error { id: 0, error } => return Err(error),
                ToClient::Error { id, error } => return Ok((id, Incoming::Answer(Err(error)))),
                _ => {}
            }
        }
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// Of the broker.
    pub async fn call(&mut self, request: Request) -> Result<Reply, Failure> {
        self.call_again(request, None).await
    }

    /// The same; `first_asked`: when it was asked on a connection that was lost.
    pub(crate) async fn call_again(
        &mut self,
        request: Request,
        first_asked: Option<u64>,
    ) -> Result<Reply, Failure> {
        let id = self.ask_again(request, first_asked).await?;
        loop {
            if let Incoming::Answer(answer) = self.next(id).await? {
                return answer;
            }
        }
    }

    async fn write(&mut self, message: &ToBroker) -> Result<(), Failure> {
        let bytes = frame::encode(message)
            .map_err(|e| Failure::new(ErrorCode::BadRequest, e.to_string()))?;
        self.frames
            .send(Bytes::from(bytes))
            .await
            .map_err(|e: io::Error| gone(&e.to_string()))
    }

    async fn read(&mut self) -> Result<ToClient, Failure> {
        match self.frames.next().await {
            Some(Ok(bytes)) => frame::decode(&bytes).map_err(|e| gone(&e.to_string())),
            Some(Err(error)) => Err(gone(&error.to_string())),
            None => Err(gone("it closed the connection")),
        }
    }
}

/// Sends bytes, and a copy of a descriptor with the first of them; how many of the bytes were taken.
fn send_with(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptor: BorrowedFd<'_>,
) -> io::Result<usize> {
    let descriptors = [descriptor.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let (bytes, flags) = ([IoSlice::new(bytes)], MsgFlags::MSG_NOSIGNAL);
    loop {
        match sendmsg::<UnixAddr>(socket.as_raw_fd(), &bytes, &rights, flags, None) {
            Err(Errno::EINTR) => {}
            sent => return Ok(sent?),
        }
    }
}

fn gone(why: &str) -> Failure {
    Failure::new(
        ErrorCode::BrokerUnreachable,
        format!("the connection to the broker is lost: {why}"),
    )
    .hint("clsess broker status; clsess broker logs")
}

/// An unexpected answer to a request. Answers can hold prompts: nothing of it is
/// said.
#[must_use]
pub fn unexpected(_: &Reply) -> Failure {
    Failure::new(
        ErrorCode::Incompatible,
        "the broker's answer is not one that this command knows",
    )
    .hint("upgrade the command to the broker's version")
}

/// The server must be the same user.
fn same_user(stream: &Stream) -> Result<(), Failure> {
    let uid = stream.peer_creds().ok().and_then(|peer| peer.euid());
    if uid == Some(nix::unistd::geteuid().as_raw()) {
        return Ok(());
    }
    Err(Failure::new(
        ErrorCode::UnsafePath,
        format!("somebody else (user {uid:?}) listens where the broker should"),
    )
    .hint("set CLSESS_RUNTIME_DIR to a directory of your own"))
}
