//! The HTTP side: requests in, answers out.

use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Method, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use crate::answer;
use crate::log::Record;
use crate::plan;
use crate::play::{self, Playback};
use crate::responses;
use crate::sse::{Ids, Usage, error_json, error_type};
use crate::state::{Shared, now_ms};
use crate::step::{BlockSpec, Step};
use crate::wire::{Kind, Request};

/// Larger bodies get 413.
const MAX_BODY: usize = 64 << 20;
/// The answers claim no more tokens than this: from about a million on, the client would
/// begin to compact the conversation by itself.
const MAX_TOKENS: usize = 20_000;
/// What a stream says that it is.
const EVENTS: &str = "text/event-stream; charset=utf-8";
type Answer = Response<Playback>;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Messages,
    Count,
    Responses,
}

impl Asked {
    /// By the end of the path.
    fn of(path: &str) -> Option<Self> {
        let ends = |end| path.ends_with(end);
        if ends("/v1/messages/count_tokens") {
            Some(Self::Count)
        } else if ends("/v1/messages") {
            Some(Self::Messages)
        } else if ends("/v1/responses") {
            Some(Self::Responses)
        } else {
            None
        }
    }

    /// Reads a body.
    fn read(self, body: &[u8], subagent: bool) -> Result<(Request, Kind), String> {
        if self == Self::Responses {
            return responses::read(body);
        }
        let request: Request = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let kind = request.kind(self == Self::Count, subagent);
        Ok((request, kind))
    }
}

/// Accepts connections for ever. Must run within a `LocalSet`.
pub async fn serve(listener: TcpListener, state: Shared) {
    accept(listener, |stream| connection(stream, Rc::clone(&state))).await;
}

/// Gives each connection to a task of its own, for ever. Must run within a `LocalSet`.
pub async fn accept<T: Future<Output = ()> + 'static>(
    listener: TcpListener,
    answer: impl Fn(TcpStream) -> T,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without it answers are only slower.
                let _ = stream.set_nodelay(true);
                tokio::task::spawn_local(answer(stream));
            }
            // Out of descriptors, most likely; others must end first.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
}

/// Answers the requests of one connection.
pub async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, state: Shared) {
    let _open = state.connection();
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let state = Rc::clone(&state);
        async move { Ok::<_, Infallible>(handle(request, state).await) }
    });
    // An error here is a client that went away, or a cut that was asked for.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn handle(request: hyper::Request<Incoming>, state: Shared) -> Answer {
    let (parts, body) = request.into_parts();
    let asked = Asked::of(parts.uri.path()).filter(|_| parts.method == Method::POST);
    let Some(asked) = asked else {
        return plain_error(404, "not_found_error", "there is nothing here", None);
    };
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return plain_error(413, "request_too_large", "the body is too large", None);
    };
    let body = body.to_bytes();
    let subagent = header(&parts, "x-claude-code-agent-id").is_some_and(|id| !id.is_empty());
    match asked.read(&body, subagent) {
        Ok((request, kind)) => respond(&parts, asked, &request, kind, body, &state),
        Err(error) => plain_error(400, "invalid_request_error", &error, None),
    }
}

fn header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name)?.to_str().ok()
}

/// Records the request and starts the answer.
fn respond(
    parts: &Parts,
    asked: Asked,
    request: &Request,
    kind: Kind,
    body: Bytes,
    state: &Shared,
) -> Answer {
    let header = |name: &str| header(parts, name);
    let agent = header("x-claude-code-agent-id").unwrap_or_default();
    let session = header("x-claude-code-session-id").or_else(|| header("session-id"));
    let session = session.unwrap_or_default();
    let tokens = body.len() / 4;

    let mut record = Record::new(kind, request, body, now_ms());
    record.path = parts.uri.to_string();
    let headers = parts.headers.iter();
    record.headers = headers
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect();

    if kind == Kind::Count {
        record.answered_by = "count".into();
        return counted(record, tokens, state);
    }
    let chosen = answer::choose(state, kind, request, session, agent);
    record.answered_by = chosen.by;
    let index = state.log.borrow_mut().add(record);
    state.notify();
    let ids = Ids {
        model: request.model.clone(),
        index,
        boot: state.boot,
    };
    let output = output_tokens(&chosen.step);
    let usage = Usage {
        input: tokens.min(MAX_TOKENS),
        output: output.min(MAX_TOKENS),
    };
    send(&chosen.step, asked, &ids, usage, request.stream, state)
}

/// The answer to `count_tokens`.
fn counted(record: Record, tokens: usize, state: &Shared) -> Answer {
    let index = state.log.borrow_mut().add(record);
    state.finish(index, "completed");
    json_response(200, json!({"input_tokens": tokens}).to_string(), None)
}

fn output_tokens(step: &Step) -> usize {
    let size = |block: &BlockSpec| match block {
        BlockSpec::Text(text) | BlockSpec::Thinking(text) => text.len(),
        BlockSpec::RepeatText(repeat) => repeat.text.len() * repeat.times,
        BlockSpec::Tool(_) => 80,
        BlockSpec::Hold(_) => 0,
    };
    1 + step.all_blocks().iter().map(size).sum::<usize>() / 4
}

/// The answer to a message request.
fn send(
    step: &Step,
    asked: Asked,
    ids: &Ids,
    usage: Usage,
    stream: bool,
    state: &Shared,
) -> Answer {
    let status = step
        .status
        .or((!stream && step.error_after.is_some()).then_some(529));
    let mut response = if let Some(status) = status {
        let kind = step.error_type.as_deref().unwrap_or(error_type(status));
        let message = step.message.as_deref().unwrap_or("scripted");
        state.finish(ids.index, &format!("error {status}"));
        match asked {
            Asked::Responses => {
                let body = responses::error_json(kind, message).to_string();
                json_response(status, body, Some(&ids.request()))
            }
            _ => plain_error(status, kind, message, Some(&ids.request())),
        }
    } else {
        let (pieces, mime) = match (asked, stream) {
            (Asked::Responses, _) => (responses::stream(step, ids, usage), EVENTS),
            (_, true) => (plan::stream(step, ids, usage), EVENTS),
            (_, false) => (plan::whole(step, ids, usage), "application/json"),
        };
        let error = stream && step.error_after.is_some();
        let ending = if error { "error event" } else { "completed" };
        let mut response = Response::new(play::start(pieces, ids.index, ending, state));
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(mime));
        insert(&mut response, "cache-control", "no-cache");
        insert(&mut response, "request-id", &ids.request());
        response
    };
    for (name, value) in &step.headers {
        insert(&mut response, name, value);
    }
    response
}

/// Sets a header, unless it cannot be one.
fn insert(response: &mut Answer, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
        response.headers_mut().insert(name, value);
    }
}

fn plain_error(status: u16, kind: &str, message: &str, request_id: Option<&str>) -> Answer {
    json_response(
        status,
        error_json(kind, message, request_id).to_string(),
        request_id,
    )
}

fn json_response(status: u16, body: String, request_id: Option<&str>) -> Answer {
    let mut response = Response::new(Playback::Whole(Full::new(Bytes::from(body))));
    if let Ok(status) = status.try_into() {
        *response.status_mut() = status;
    }
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(id) = request_id {
        insert(&mut response, "request-id", id);
    }
    response
}
