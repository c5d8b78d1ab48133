//! A connection to the broker, which is started when there is none.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clsess_broker::{lock, place};
use clsess_proto::{
    ErrorCode, Event, Failure, Hello, Reply, Request, ToBroker, ToClient, compatible, frame,
};
use futures_util::{SinkExt, StreamExt};
use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::tokio::prelude::*;
use interprocess::local_socket::{GenericFilePath, ToFsName};
use tokio_util::bytes::Bytes;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::surroundings::Surroundings;

/// How long a broker that is beginning or ending is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries meanwhile.
const RETRY: Duration = Duration::from_millis(20);

/// How long a broker may take to say hello. One that has just started reads the
/// journals of its sessions first.
const HELLO: Duration = Duration::from_secs(30);

/// A connection that has been greeted.
pub struct Client {
    frames: Framed<Stream, LengthDelimitedCodec>,
    last_id: u64,
    /// What the broker said of itself.
    pub hello: Hello,
}

/// Something from the broker about a request.
#[derive(Debug)]
pub enum Incoming {
    /// Before the answer.
    Event(Event),
    /// The answer.
    Answer(Result<Reply, Failure>),
}

/// Whether a missing broker is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// On first need.
    IfMissing,
    /// Never.
    Never,
}

impl Client {
    /// Connects to the broker of these surroundings.
    ///
    /// # Errors
    /// [`ErrorCode::BrokerUnreachable`], [`ErrorCode::Incompatible`].
    pub async fn connect(surroundings: &Surroundings, start: Start) -> Result<Self, Failure> {
        let until = Instant::now() + PATIENCE;
        loop {
            let missing = match Self::find(surroundings).await {
                Ok(client) => return Ok(client),
                // Also of one that ended while we were at its door.
                Err(failure) if failure.code == ErrorCode::BrokerUnreachable => failure,
                Err(failure) => return Err(failure),
            };
            if start == Start::Never {
                return Err(missing);
            }
            start_broker(surroundings)?;
            if Instant::now() > until {
                return Err(missing);
            }
            if let Ok(client) = Self::find(surroundings).await {
                return Ok(client);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// The broker of these surroundings: where it should listen, else where its
    /// lock says that it does.
    async fn find(surroundings: &Surroundings) -> Result<Self, Failure> {
        let socket = &surroundings.place.socket;
        place::check_socket_length(socket)?;
        let missing = match connect(socket).await {
            Ok(stream) => {
                let client = Self::greet(stream).await?;
                if client.is_of(surroundings) {
                    return Ok(client);
                }
                let other = client.hello.state_dir.unwrap_or_default();
                let message = format!(
                    "the broker at {} is another one, of {other}",
                    socket.display()
                );
                Failure::new(ErrorCode::BrokerUnreachable, message)
                    .hint("set CLSESS_RUNTIME_DIR, or CLSESS_STATE_DIR to that one's")
            }
            Err(error) => not_there(socket, &error),
        };
        match lock::read(&surroundings.place.lock()) {
            Some(record) if record.socket != *socket => match connect(&record.socket).await {
                Ok(stream) => Self::greet(stream).await,
                Err(_) => Err(missing),
            },
            _ => Err(missing),
        }
    }

    /// Whether this broker is the one that was looked for. One whose socket was
    /// named on purpose is.
    fn is_of(&self, surroundings: &Surroundings) -> bool {
        let state = surroundings.place.state.display().to_string();
        surroundings.socket_named
            || self
                .hello
                .state_dir
                .as_ref()
                .is_none_or(|dir| *dir == state)
    }

    async fn greet(stream: Stream) -> Result<Self, Failure> {
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
        };
        client.write(&ToBroker::Hello(ours.clone())).await?;
        let said = tokio::time::timeout(HELLO, client.read());
        let said = said
            .await
            .map_err(|_| gone("it does not answer; is it stopped, or overloaded?"))?;
        match said? {
            ToClient::Hello(hello) => {
                compatible(&ours, &hello)?;
                client.hello = hello;
                Ok(client)
            }
            ToClient::Error { error, .. } => Err(error),
            _ => Err(gone("it does not speak the protocol of clsess")),
        }
    }

    /// Sends a request; its id.
    ///
    /// # Errors
    /// When the broker is gone.
    pub async fn ask(&mut self, request: Request) -> Result<u64, Failure> {
        self.last_id += 1;
        let id = self.last_id;
        let request = Box::new(request);
        self.write(&ToBroker::Request { id, request }).await?;
        Ok(id)
    }

    /// What comes next for the request `wanted`; what belongs to others is skipped.
    ///
    /// # Errors
    /// When the broker is gone, or ends the connection.
    pub async fn next(&mut self, wanted: u64) -> Result<Incoming, Failure> {
        loop {
            match self.read().await? {
                ToClient::Event { id, event } if id == wanted => return Ok(Incoming::Event(event)),
                ToClient::Reply { id, reply } if id == wanted => {
                    return Ok(Incoming::Answer(Ok(*reply)));
                }
                ToClient::Error { id, error } if id == wanted => {
                    return Ok(Incoming::Answer(Err(error)));
                }
                ToClient::Error { id: 0, error } => return Err(error),
                _ => {}
            }
        }
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// Of the broker.
    pub async fn call(&mut self, request: Request) -> Result<Reply, Failure> {
        let id = self.ask(request).await?;
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

fn not_there(socket: &Path, error: &io::Error) -> Failure {
    let message = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => "no broker is running".into(),
        _ => format!("cannot connect to {}: {error}", socket.display()),
    };
    Failure::new(ErrorCode::BrokerUnreachable, message).hint("clsess broker start")
}

async fn connect(socket: &Path) -> io::Result<Stream> {
    Stream::connect(socket.to_fs_name::<GenericFilePath>()?).await
}

/// Starts a broker by `clsess broker start`, whose exit 0 means that it listens.
/// It gets nothing of our environment: a session's comes with the request.
fn start_broker(surroundings: &Surroundings) -> Result<(), Failure> {
    let fail = |why: String| {
        Failure::new(
            ErrorCode::BrokerUnreachable,
            format!("the broker cannot be started: {why}"),
        )
        .hint("clsess broker start; clsess broker logs")
    };
    let exe = std::env::current_exe().map_err(|e| fail(e.to_string()))?;
    let started = Command::new(exe)
        .args([
            "broker",
            "start",
            "--quiet",
            "--label",
            &surroundings.label,
            "--socket",
        ])
        .arg(&surroundings.place.socket)
        .env_clear()
        .env("CLSESS_STATE_DIR", &surroundings.state_dir)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|e| fail(e.to_string()))?;
    if started.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&started.stderr);
    let mut lines = said.lines();
    let why = lines.next().unwrap_or("for no known reason");
    let failure = fail(why.trim_start_matches("clsess: ").to_owned());
    Err(match lines.find_map(|line| line.strip_prefix("hint: ")) {
        Some(hint) => failure.hint(hint),
        None => failure,
    })
}
