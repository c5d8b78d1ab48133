//! Exchanges, one after the other: a request on, its answer back.

use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, HeaderValue};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;

use crate::body::{AnswerBody, PassingAnswer, RequestBody};
use crate::exchange::{Ending, Exchange};
use crate::listener::Entry;
use crate::refusal::no_answer;
use crate::seen::{How, Side};
use crate::upstream::{NoAnswer, Upstream};

/// The exchanges of one client's connection.
pub(crate) struct Relay {
    entry: Arc<Entry>,
    /// The connection to the upstream, while no request is under way on it.
    idle: Mutex<Option<Upstream>>,
    /// What both sides agreed to say something else on.
    upgraded: Mutex<Option<Upgraded>>,
}

/// Both sides of a connection that speaks HTTP no more.
struct Upgraded {
    client: OnUpgrade,
    upstream: OnUpgrade,
    _connection: Upstream,
}

impl Relay {
    pub(crate) fn new(entry: Arc<Entry>) -> Self {
        Self {
            entry,
            idle: Mutex::default(),
            upgraded: Mutex::default(),
        }
    }

    /// Hands on one request, which asks the upstream for `path_and_query`. hyper asks for the next
    /// when the answer is through.
    pub(crate) async fn pass(
        &self,
        mut request: Request<Incoming>,
        path_and_query: &str,
    ) -> Response<AnswerBody> {
        let entry = &self.entry;
        let exchange = Arc::new(entry.begin());
        let ending = Ending(Arc::clone(&exchange));
        exchange.request(request.method(), path_and_query, request.headers());
        let client = hyper::upgrade::on(&mut request);
        let (mut head, body) = request.into_parts();
        if let Err(why) = entry.target.address(&mut head, path_and_query) {
            return refuse(&exchange, NoAnswer::Unsent(why));
        }
        adapt(&mut head, path_and_query);
        let body = RequestBody::new(body, Arc::clone(&exchange));
        match self.ask(Request::from_parts(head, body)).await {
            Ok((answer, upstream)) => self.answer(answer, upstream, client, ending),
            Err(failed) => refuse(&exchange, failed),
        }
    }

    /// Runs what an answer of 101 began, until one side ends it.
    pub(crate) async fn after(&self) {
        let Some(upgraded) = locked(&self.upgraded).take() else {
            return;
        };
        if let (Ok(client), Ok(upstream)) = tokio::join!(upgraded.client, upgraded.upstream) {
            let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
            // one side's end is the other's; there is nobody to tell of an error
            let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
        }
    }

    /// Sends a request on the connection that is there, or on a new one. A second connection is
    /// tried only for a request of which nothing left on the first.
    async fn ask(
        &self,
        request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Upstream), NoAnswer> {
        let entry = &self.entry;
        let idle = locked(&self.idle).take();
        let mut request = request;
        if let Some(mut upstream) = idle
            && upstream.is_usable().await
        {
            match upstream.ask(&entry.target, request).await {
                Ok(answer) => return Ok((answer, upstream)),
                Err((_, Some(unsent))) => request = unsent,
                Err((failed, None)) => return Err(failed),
            }
        }
        let opened = Upstream::open(&entry.outward, &entry.target).await;
        let mut upstream = opened.map_err(NoAnswer::Unsent)?;
        match upstream.ask(&entry.target, request).await {
            Ok(answer) => Ok((answer, upstream)),
            Err((failed, _)) => Err(failed),
        }
    }

    fn answer(
        &self,
        mut answer: Response<Incoming>,
        upstream: Upstream,
        client: OnUpgrade,
        ending: Ending,
    ) -> Response<AnswerBody> {
        ending.0.answer(answer.status(), answer.headers());
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            ending.0.end(How::Complete);
            *locked(&self.upgraded) = Some(Upgraded {
                client,
                upstream: hyper::upgrade::on(&mut answer),
                _connection: upstream,
            });
        } else {
            *locked(&self.idle) = Some(upstream);
        }
        *answer.version_mut() = Version::HTTP_11;
        answer.map(|body| PassingAnswer::new(body, ending).boxed_unsync())
    }
}

/// The one thing that is changed on its way: an answer of the API has to be readable.
fn adapt(head: &mut Parts, path_and_query: &str) {
    head.version = Version::HTTP_11;
    let path = path_and_query.split('?').next().unwrap_or_default();
    if head.method == Method::POST && path.ends_with("/v1/messages") {
        let identity = HeaderValue::from_static("identity");
        head.headers.insert(ACCEPT_ENCODING, identity);
    }
}

/// Tells both sides that there is no answer.
fn refuse(exchange: &Exchange, failed: NoAnswer) -> Response<AnswerBody> {
    match failed {
        NoAnswer::Unsent(why) => {
            let answer = no_answer(&why);
            exchange.end(How::Refused { why });
            answer
        }
        NoAnswer::Broken(why) => {
            exchange.cut(Side::Upstream, &why);
            no_answer(&format!("the upstream broke off before its answer: {why}"))
        }
    }
}

/// A panic of another holder leaves nothing half done in what is locked here.
fn locked<T>(what: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
