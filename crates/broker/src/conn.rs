//! One connection: frames in, requests under way side by side, frames out.
//!
//! A client that sends nonsense gets an answer where there is an id to answer to,
//! and loses its connection otherwise; nobody else notices. A client that does not
//! read waits in its own queue of frames, and its requests wait with it; the
//! sessions do not.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clsess_proto::{
    BrokerStatus, ErrorCode, Event, EventKind, Failure, Hello, Killed, Reply, Request, ToBroker,
    ToClient, TurnId, TurnReport, compatible, frame,
};
use futures_util::{SinkExt, StreamExt};
use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::traits::StreamCommon;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio_util::bytes::Bytes;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

use crate::broker::Shared;
use crate::create;
use crate::descriptors::{Descriptors, WithDescriptors};
use crate::journal::Journal;
use crate::place::Place;
use crate::requests;
use crate::rights::Caller;
use crate::screens;
use crate::session::{Answer, Command, Decision, Handle, Watched};
use crate::store::SessionRecord;
use crate::subscription::Subscription;
use crate::upgrade::Upgrade;

/// How long a client may take to say who it is.
const HELLO: Duration = Duration::from_secs(10);
/// How long a client may take to read what is said to it last.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// Requests under way on one connection; more wait unread.
const MAX_REQUESTS: usize = 64;
/// Frames that wait for a slow client; whoever has more for it waits.
const MAX_FRAMES: usize = 32;

/// Serves one client until it goes.
pub async fn serve(shared: Arc<Shared>, stream: Stream) {
    if let Err(why) = same_user(&stream) {
        tracing::warn!(%why, "a connection is refused");
        return;
    }
    let peer = stream.peer_creds().ok().and_then(|peer| peer.pid());
    let caller = Arc::new(Caller::of(peer.and_then(|pid| u32::try_from(pid).ok())));
    let (input, output) = match plain(stream) {
        Ok(stream) => stream.into_split(),
        Err(error) => {
            tracing::warn!(%error, "a connection cannot be used");
            return;
        }
    };
    let input = WithDescriptors::new(input);
    let (frames, outbox) = mpsc::channel(MAX_FRAMES);
    let mut writer = tokio::spawn(write(output, outbox));
    let out = Out {
        frames,
        descriptors: input.descriptors(),
    };
    let read = read(&shared, &caller, input, &out).await;
    // Requests that are under way end with the writer. What was said last still goes
    // out, as far as the client takes it.
    let last_words = async {
        match read {
            Ok(End::Gone) => return,
            // Each request that is under way has one permit: all of them are answered.
            Ok(End::Stopped(room)) => drop(room.acquire_many(MAX_REQUESTS as u32).await),
            Err(error) => {
                // Why may quote what was in the frame, and that a prompt.
                tracing::info!(code = ?error.code, "a connection is closed");
                tracing::debug!("{error}");
                out.send(&ToClient::Error { id: 0, error }).await;
            }
        }
        let _ = out.frames.send(Outgoing::End).await;
        let _ = (&mut writer).await;
    };
    let _ = tokio::time::timeout(LAST_WORDS, last_words).await;
    writer.abort();
}

/// The socket itself: descriptors come with its bytes.
fn plain(stream: Stream) -> std::io::Result<UnixStream> {
    let Stream::UdSocket(stream) = stream;
    let socket = OwnedFd::try_from(stream).map_err(|e| std::io::Error::other(e.to_string()))?;
    UnixStream::from_std(socket.into())
}

/// Why a connection is at its end.
enum End {
    /// The client has gone.
    Gone,
    /// The broker has stopped; the permits of the requests under way.
    Stopped(Arc<Semaphore>),
}

/// The client must be the same user.
fn same_user(stream: &Stream) -> Result<(), String> {
    let peer = stream.peer_creds().map_err(|e| e.to_string())?;
    let ours = nix::unistd::geteuid().as_raw();
    match peer.euid() {
        Some(uid) if uid == ours => Ok(()),
        uid => Err(format!("user {uid:?}, not {ours}")),
    }
}

fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .length_field_length(frame::LENGTH_BYTES)
        .max_frame_length(frame::MAX_FRAME)
        .new_codec()
}

async fn write(output: impl AsyncWrite + Unpin, mut outbox: mpsc::Receiver<Outgoing>) {
    let mut output = FramedWrite::new(output, codec());
    while let Some(Outgoing::Frame(bytes, _until_written)) = outbox.recv().await {
        if output.send(bytes).await.is_err() {
            // The client is gone; the reader sees it too.
            return;
        }
    }
}

/// Reads requests until the client goes; the failure ends the connection.
async fn read(
    shared: &Arc<Shared>,
    caller: &Arc<Caller>,
    input: impl AsyncRead + Unpin,
    out: &Out,
) -> Result<End, Failure> {
    let mut input = FramedRead::new(input, codec());
    let first = match tokio::time::timeout(HELLO, input.next()).await {
        Ok(Some(first)) => first.map_err(|e| bad_frame(&e))?,
        Ok(None) => return Ok(End::Gone),
        Err(_) => return Err(bad_frame(&"nothing came in time")),
    };
    greet(&shared.place, &first, out).await?;

    let room = Arc::new(Semaphore::new(MAX_REQUESTS));
    let mut stopped = shared.stopped.clone();
    let mut leaving = shared.leaving.subscribe();
    loop {
        let bytes = tokio::select! {
            biased;
            // What is not read is asked again of the next broker; the connection ends with this one.
            () = becomes_true(&mut leaving) => return std::future::pending().await,
            bytes = input.next() => match bytes {
                Some(bytes) => bytes.map_err(|e| bad_frame(&e))?,
                None => break,
            },
            () = becomes_true(&mut stopped) => return Ok(End::Stopped(room)),
        };
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return Ok(End::Gone);
        };
        let (id, first_asked, request) = match frame::decode_strict(&bytes) {
            Ok(ToBroker::Request {
                id,
                first_asked,
                request,
            }) => (id, first_asked, request),
            Ok(_) => return Err(bad_frame(&"neither hello nor request")),
            Err(error) => {
                // A bad value in a good envelope has an id to answer to.
                let Ok(Envelope { id }) = frame::decode(&bytes) else {
                    return Err(bad_frame(&error));
                };
                let error = bad_frame(&error);
                out.send(&ToClient::Error { id, error }).await;
                continue;
            }
        };
        let (shared, caller, out) = (Arc::clone(shared), Arc::clone(caller), out.clone());
        let brief =
            requests::is_brief(&request).then(|| Arc::clone(&shared.brief).try_acquire_owned());
        let brief = brief.and_then(Result::ok);
        tokio::spawn(async move {
            let answer = async {
                let request = requests::located(&shared, *request).await;
                caller.may(&request, &shared.registry)?;
                answer(&shared, &caller, (id, first_asked), request, &out).await
            };
            // Polled once in any case: what was asked of a session reaches it.
            let answer = tokio::select! {
                biased;
                answer = answer => answer,
                () = out.frames.closed() => return,
            };
            let answer = match answer {
                Ok(reply) => ToClient::Reply {
                    id,
                    reply: Box::new(reply),
                },
                Err(error) => ToClient::Error { id, error },
            };
            out.answer(&answer, brief).await;
            drop(place);
        });
    }
    // A client that ends its side is gone: nobody waits for its answers. What it
    // asked the sessions to do goes on.
    Ok(End::Gone)
}

async fn becomes_true(watched: &mut watch::Receiver<bool>) {
    let _ = watched.wait_for(|it| *it).await;
}

/// What every request has, whatever is wrong with the rest of it.
#[derive(serde::Deserialize)]
struct Envelope {
    id: u64,
}

/// The first frame must be a hello of a version that we can talk to.
async fn greet(place: &Place, first: &[u8], out: &Out) -> Result<(), Failure> {
    let hello = match frame::decode_strict(first) {
        Ok(ToBroker::Hello(hello)) => hello,
        Ok(_) => return Err(bad_frame(&"the first frame must be hello")),
        Err(error) => return Err(bad_frame(&error)),
    };
    let ours = Hello::broker(place.state.display().to_string());
    out.send(&ToClient::Hello(ours.clone())).await;
    compatible(&hello, &ours)
}

/// Whether the broker still begins anything.
fn not_stopping(shared: &Shared) -> Result<(), Failure> {
    if shared.stopping.load(Ordering::Relaxed) {
        return Err(Failure::new(
            ErrorCode::BrokerStopping,
            "the broker is stopping",
        ));
    }
    Ok(())
}

fn bad_frame(why: &dyn std::fmt::Display) -> Failure {
    Failure::new(ErrorCode::BadRequest, format!("a bad frame: {why}"))
        .hint("PROTOCOL.md says what a frame is")
}

/// What goes to the writer.
enum Outgoing {
    /// With what is held until it is written.
    Frame(Bytes, Option<OwnedSemaphorePermit>),
    /// Nothing comes after this.
    End,
}

/// The way out to the client.
#[derive(Clone)]
struct Out {
    frames: mpsc::Sender<Outgoing>,
    /// What the client has sent of those, for the requests that take one.
    descriptors: Descriptors,
}

impl Out {
    /// Queues a frame; waits while the client is slow. That the client is gone is
    /// no news to anybody here.
    async fn send(&self, message: &ToClient) {
        self.answer(message, None).await;
    }

    async fn answer(&self, message: &ToClient, held: Option<OwnedSemaphorePermit>) {
        let bytes = frame::encode(message).or_else(|error| {
            tracing::error!(%error, "a frame cannot be written");
            frame::encode(&too_long_for_a_frame(message))
        });
        if let Ok(bytes) = bytes {
            let _ = self.frames.send(Outgoing::Frame(bytes.into(), held)).await;
        }
    }
}

/// What is said in place of an answer that does not fit.
fn too_long_for_a_frame(message: &ToClient) -> ToClient {
    let id = match message {
        ToClient::Reply { id, .. } | ToClient::Error { id, .. } | ToClient::Event { id, .. } => *id,
        ToClient::Hello(_) | ToClient::Unknown => 0,
    };
    let error = Failure::new(
        ErrorCode::AnswerTooLong,
        "the answer does not fit into one message of the protocol",
    )
    .hint("it is in the session's turns.jsonl: clsess broker status says where");
    ToClient::Error { id, error }
}

/// `first_asked`: see [`ToBroker::Request`].
async fn answer(
    shared: &Arc<Shared>,
    caller: &Caller,
    (id, first_asked): (u64, Option<u64>),
    request: Request,
    out: &Out,
) -> Result<Reply, Failure> {
    match request {
        Request::New(new) => {
            not_stopping(shared)?;
            create::create(shared, *new).await
        }
        Request::Send(send) => {
            not_stopping(shared)?;
            let (wait, events, texts) = (send.wait, send.events, send.texts);
            let turn = send.turn;
            if send.again
                && !requests::knows(shared, &send.session, turn).await
                && let Some(journal) = requests::ended_with(shared, turn)
            {
                let report = ended(&journal, &turn.to_string())?;
                return Ok(match wait {
                    true => Reply::Turn(Box::new(shaped(report, texts))),
                    false => Reply::Accepted { turn },
                });
            }
            let handle = shared.registry.find(&send.session)?;
            let watched = ask(&handle, |reply| Command::Send {
                request: send,
                reply,
            })
            .await?;
            if wait {
                let watching = Watching { id, events, texts };
                return watching.follow(&handle, watched, out).await;
            }
            if let Some(durable) = watched.durable {
                durable
                    .kept()
                    .await
                    .map_err(|e| not_durable(&e, &handle, turn))?;
            }
            Ok(Reply::Accepted { turn })
        }
        Request::Result {
            session,
            turn,
            events,
            texts,
        } => {
            let watching = Watching { id, events, texts };
            match shared.registry.find(&session) {
                Ok(handle) => {
                    let command = |reply| Command::Result {
                        selector: turn,
                        reply,
                    };
                    let watched = ask(&handle, command).await?;
                    watching.follow(&handle, watched, out).await
                }
                Err(failure) => {
                    let journal = of_ended(shared, &session).unwrap_or(Err(failure))?;
                    Ok(Reply::Turn(Box::new(shaped(
                        ended(&journal, &turn)?,
                        texts,
                    ))))
                }
            }
        }
        Request::Cancel { session, turn } => {
            let handle = shared.registry.find(&session)?;
            let watched = ask(&handle, |reply| Command::Cancel { turn, reply }).await?;
            let watching = Watching {
                id,
                events: false,
                texts: false,
            };
            watching.follow(&handle, watched, out).await
        }
        Request::Interrupt { session } => {
            let handle = shared.registry.find(&session)?;
            let watched = ask(&handle, |reply| Command::Interrupt { first_asked, reply }).await?;
            let turn = watched.as_ref().map(|watched| watched.turn);
            if let Some(mut watched) = watched {
                // Closed without a report when the broker ends: then it has ended too.
                let _ = watched.end.wait_for(Option::is_some).await;
            }
            Ok(Reply::Interrupted { turn })
        }
        Request::Wait {
            sessions,
            until,
            any,
            seen,
        } => requests::wait(shared, &sessions, until, any, &seen).await,
        Request::Queue { session } => {
            let handle = shared.registry.find(&session)?;
            let turns = ask(&handle, |reply| Command::Queue { reply }).await?;
            Ok(Reply::Queue { turns })
        }
        Request::QueueRemove { session, turn } => {
            let handle = shared.registry.find(&session)?;
            let command = |reply| Command::QueueRemove {
                selector: turn,
                first_asked,
                reply,
            };
            let turns = ask(&handle, command).await?;
            Ok(Reply::Removed { turns })
        }
        Request::QueueRun { session } => {
            let handle = shared.registry.find(&session)?;
            ask(&handle, |reply| Command::QueueRun { reply }).await?;
            Ok(Reply::Done {})
        }
        Request::Log {
            session,
            turn,
            after,
            last,
        } => requests::log(shared, &session, turn, after, last).await,
        Request::Rename { session, name } => requests::rename(shared, &session, name).await,
        Request::Questions { session } => requests::questions(shared, session.as_deref()).await,
        Request::Approve {
            session,
            question,
            always,
        } => {
            decide(
                shared,
                &session,
                question,
                Decision::Approve { always },
                first_asked,
            )
            .await
        }
        Request::Deny {
            session,
            question,
            message,
        } => {
            decide(
                shared,
                &session,
                question,
                Decision::Deny { message },
                first_asked,
            )
            .await
        }
        Request::Answer {
            session,
            question,
            texts,
        } => {
            decide(
                shared,
                &session,
                question,
                Decision::Answer(texts),
                first_asked,
            )
            .await
        }
        Request::Events { sessions, since } => {
            let subscription = Subscription::new(shared, &sessions, since)?;
            events(shared, id, subscription, out).await
        }
        Request::Attach(attach) => {
            not_stopping(shared)?;
            screens::attach(shared, *attach, out.descriptors.take()).await
        }
        Request::Resized { session, viewer } => {
            let handle = shared.registry.find(&session)?;
            ask(&handle, |reply| Command::Resized { viewer, reply }).await?;
            Ok(Reply::Done {})
        }
        Request::Detach { session, viewer } => {
            let handle = shared.registry.find(&session)?;
            ask(&handle, |reply| Command::Detach { viewer, reply }).await?;
            Ok(Reply::Done {})
        }
        Request::Capture {
            session,
            ansi,
            history,
        } => screens::capture(shared, &session, ansi, history).await,
        Request::Type { session, input } => {
            screens::type_in(shared, &session, input.into_vec()).await
        }
        Request::Keys { session, keys } => {
            let handle = shared.registry.find(&session)?;
            ask(&handle, |reply| Command::Keys { keys, reply }).await?;
            Ok(Reply::Done {})
        }
        Request::Hook { id, input } => {
            let handle = caller.session(&shared.registry)?;
            let input = input.into_vec();
            let process = caller.process();
            let hook = |reply| Command::Hook {
                id,
                input,
                process,
                reply,
            };
            let output = ask(&handle, hook).await?;
            Ok(Reply::Hooked {
                output: output.into(),
            })
        }
        Request::Edit { text } => {
            let handle = caller.session(&shared.registry)?;
            let text = text.into_vec();
            let editor = caller.process();
            let edit = |reply| Command::Edit {
                text,
                editor,
                reply,
            };
            let text = ask(&handle, edit).await?;
            Ok(Reply::Edited {
                text: text.map(Into::into),
            })
        }
        Request::List {} => Ok(Reply::Sessions {
            sessions: rows(shared),
        }),
        Request::Show { session } => {
            let handle = shared.registry.find(&session)?;
            let detail = ask(&handle, |reply| Command::Detail { reply }).await?;
            Ok(Reply::Detail(Box::new(detail)))
        }
        Request::Kill {
            sessions,
            all,
            grace_ms,
        } => Ok(Reply::Killed {
            sessions: kill(shared, sessions, all, grace_ms, first_asked.is_some()).await,
        }),
        Request::Restart {
            session,
            fresh,
            env,
            start_timeout_ms,
        } => {
            not_stopping(shared)?;
            let handle = shared.registry.find(&session)?;
            let env = env.map(create::env_of);
            ask(&handle, |reply| Command::Restart {
                first_asked,
                fresh,
                env,
                timeout_ms: start_timeout_ms,
                reply,
            })
            .await?;
            Ok(create::session_reply(&handle, false))
        }
        Request::Status {} => Ok(Reply::Status(BrokerStatus {
            pid: std::process::id(),
            version: clsess_proto::VERSION.to_owned(),
            socket: shared.place.socket.display().to_string(),
            state_dir: shared.place.state.display().to_string(),
            sessions: shared.registry.count() as u64,
        })),
        Request::Stop { grace_ms } => stop(shared, grace_ms).await,
        Request::Upgrade {
            program,
            version,
            force,
            unasked,
        } => {
            not_stopping(shared)?;
            let program = PathBuf::from(OsString::from_vec(program.into_vec()));
            upgrade(shared, |reply| Upgrade {
                program,
                version,
                force,
                unasked,
                reply,
            })
            .await
        }
        Request::Unknown => Err(Failure::new(
            ErrorCode::UnknownRequest,
            format!(
                "the broker (clsess {}) does not know this request",
                clsess_proto::VERSION
            ),
        )
        .hint("it is older than this command: clsess broker upgrade")),
    }
}

/// Asks a session's task and waits for its answer.
///
/// # Errors
/// Of the session, or [`ErrorCode::BrokerStopping`] when its task has ended.
pub async fn ask<T>(
    handle: &Handle,
    command: impl FnOnce(Answer<T>) -> Command,
) -> Result<T, Failure> {
    let (reply, answer) = oneshot::channel();
    let gone = || Failure::new(ErrorCode::BrokerStopping, "the session has just ended");
    handle
        .commands
        .send(command(reply))
        .await
        .map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?
}

/// It may run, and it may be forgotten: both are the case until the disk says so.
fn not_durable(error: &std::io::Error, handle: &Handle, turn: TurnId) -> Failure {
    let name = handle.row.borrow().row.name.clone();
    Failure::new(
        ErrorCode::JournalFailed,
        format!("the prompt is queued, but the disk does not confirm it: {error}"),
    )
    .hint(format!("what becomes of it: clsess result {name} {turn}"))
}

fn rows(shared: &Shared) -> Vec<clsess_proto::SessionRow> {
    let handles = shared.registry.all();
    handles.iter().map(|h| h.row.borrow().told()).collect()
}

/// `again`: what is gone by now may be so by the same request.
async fn kill(
    shared: &Shared,
    named: Vec<String>,
    all: bool,
    grace_ms: u64,
    again: bool,
) -> Vec<Killed> {
    let names = if all {
        rows(shared).into_iter().map(|row| row.name).collect()
    } else {
        named
    };
    let mut waiting = Vec::new();
    for name in names {
        let handle = shared.registry.find(&name);
        waiting.push(async move {
            let killed = match handle {
                Ok(handle) => {
                    let killed = ask(&handle, |reply| Command::Kill { grace_ms, reply }).await;
                    if handle.commands.is_closed() {
                        // Its task is gone, be it by a fault: then so is its name.
                        shared.registry.remove(handle.id);
                    }
                    killed
                }
                Err(_) if again && let Some(killed) = killed_before(shared, &name) => Ok(killed),
                Err(failure) => Err(failure),
            };
            killed.unwrap_or_else(|failure| Killed {
                session: name,
                id: None,
                agent_session_id: None,
                cwd: None,
                error: Some(failure),
            })
        });
    }
    futures_util::future::join_all(waiting).await
}

/// What is left of a session of this id that was killed.
fn killed_before(shared: &Shared, session: &str) -> Option<Killed> {
    let id = uuid::Uuid::parse_str(session).ok()?;
    let record = SessionRecord::load(&shared.place.ended().join(id.to_string())).ok()?;
    Some(record.killed())
}

async fn stop(shared: &Shared, grace_ms: u64) -> Result<Reply, Failure> {
    let gone = || Failure::new(ErrorCode::BrokerStopping, "the broker is gone");
    shared.stop.send(grace_ms).await.map_err(|_| gone())?;
    let mut stopped = shared.stopped.clone();
    stopped
        .wait_for(|stopped| *stopped)
        .await
        .map_err(|_| gone())?;
    Ok(Reply::Done {})
}

/// Answers when nothing comes of it; otherwise the connection ends.
async fn upgrade(
    shared: &Shared,
    upgrade: impl FnOnce(oneshot::Sender<Result<(), Failure>>) -> Upgrade,
) -> Result<Reply, Failure> {
    let (reply, answer) = oneshot::channel();
    let upgrade = upgrade(reply);
    if !upgrade.program.is_absolute() {
        let message = "a program is named by its absolute path";
        return Err(Failure::new(ErrorCode::BadRequest, message));
    }
    let gone = || Failure::new(ErrorCode::BrokerStopping, "the broker is gone");
    shared.upgrades.send(upgrade).await.map_err(|_| gone())?;
    answer.await.map_err(|_| gone())??;
    Ok(Reply::Done {})
}

/// Answers a question.
async fn decide(
    shared: &Shared,
    session: &str,
    question: Option<String>,
    decision: Decision,
    first_asked: Option<u64>,
) -> Result<Reply, Failure> {
    let handle = shared.registry.find(session)?;
    let command = |reply| Command::Decide {
        question,
        decision,
        first_asked,
        reply,
    };
    Ok(match ask(&handle, command).await? {
        Some(question) => {
            let question = Box::new(question);
            Reply::Answered { question }
        }
        None => Reply::Done {},
    })
}

/// Sends what happens, until the client goes or there is nothing left that could.
async fn events(
    shared: &Shared,
    id: u64,
    mut subscription: Subscription,
    out: &Out,
) -> Result<Reply, Failure> {
    let mut news = shared.sequence.subscribe();
    let mut stopped = shared.stopped.clone();
    loop {
        news.borrow_and_update();
        let events = subscription.next(shared);
        let quiet = events.is_empty();
        for event in events {
            out.send(&ToClient::Event { id, event }).await;
        }
        if !quiet {
            continue;
        }
        if !subscription.goes_on() {
            return Ok(Reply::Done {});
        }
        tokio::select! {
            _ = news.changed() => {}
            _ = stopped.wait_for(|stopped| *stopped) => {
                return Err(Failure::new(ErrorCode::BrokerStopping, "the broker was stopped"));
            }
            () = out.frames.closed() => return Ok(Reply::Done {}),
        }
    }
}

/// The journal of a session that was killed, by the session's id.
pub(crate) fn of_ended(shared: &Shared, session: &str) -> Option<Result<Journal, Failure>> {
    let id = uuid::Uuid::parse_str(session).ok()?;
    let dir = shared.place.ended().join(id.to_string());
    if !dir.is_dir() {
        return None;
    }
    let unreadable = |e| {
        Failure::new(
            ErrorCode::JournalFailed,
            format!("the journal cannot be read: {e}"),
        )
    };
    Some(Journal::read_only(&dir).map_err(unreadable))
}

/// How a turn of it ended.
fn ended(journal: &Journal, turn: &str) -> Result<TurnReport, Failure> {
    let turn = journal.select(turn)?;
    let never = || Failure::new(ErrorCode::NoSuchTurn, "the turn never ended");
    journal.report(turn).ok_or_else(never)
}

/// The report with all its texts, or without.
fn shaped(mut report: TurnReport, texts: bool) -> TurnReport {
    if !texts {
        report.texts = None;
    } else if report.texts.is_none() {
        // Not kept twice where the only text is the answer.
        report.texts = Some(report.answer.iter().cloned().collect());
    }
    report
}

/// What a client that waits for a turn wants to see of it.
struct Watching {
    id: u64,
    events: bool,
    texts: bool,
}

impl Watching {
    /// Sends the turn's events as they come, until it ends.
    async fn follow(&self, handle: &Handle, watched: Watched, out: &Out) -> Result<Reply, Failure> {
        let mut end = watched.end;
        let mut position = watched.seen;
        let mut news = handle.feed.subscribe();
        loop {
            news.borrow_and_update();
            let report = end.borrow_and_update().clone();
            if self.events {
                position = self.forward(handle, watched.turn, position, out).await;
            }
            if let Some(report) = report {
                let mut report = TurnReport::clone(&report);
                // It may have got another name since.
                report.session.clone_from(&handle.row.borrow().row.name);
                return Ok(Reply::Turn(Box::new(shaped(report, self.texts))));
            }
            tokio::select! {
                changed = end.changed() => {
                    changed.map_err(|_| {
                        Failure::new(ErrorCode::BrokerStopping, "the broker has ended")
                            .hint("the turn is in the journal: clsess result")
                    })?;
                }
                _ = news.changed(), if self.events => {}
            }
        }
    }

    /// Sends what has happened behind a position, as far as it belongs to the turn.
    async fn forward(&self, handle: &Handle, turn: TurnId, mut position: u64, out: &Out) -> u64 {
        loop {
            let batch = handle.feed.after(position);
            if batch.missed > 0 {
                let gap = Event {
                    seq: batch.missed_seq,
                    session: handle.row.borrow().row.name.clone(),
                    turn: Some(turn),
                    kind: EventKind::Gap {
                        missed: Some(batch.missed),
                    },
                };
                self.event(gap, out).await;
            }
            position = batch.position;
            if batch.events.is_empty() {
                return position;
            }
            for event in batch.events {
                let of_session = matches!(
                    event.kind,
                    EventKind::Restart { .. } | EventKind::RateLimit { .. }
                );
                // What nobody asked for is no part of a turn that somebody did.
                if event.turn == Some(turn) || (event.turn.is_none() && of_session) {
                    self.event(event, out).await;
                }
            }
        }
    }

    async fn event(&self, event: Event, out: &Out) {
        out.send(&ToClient::Event { id: self.id, event }).await;
    }
}
