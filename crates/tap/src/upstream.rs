//! The upstream of one client's connection: where it is, and the one connection to it.

use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::http::request::Parts;
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;

use crate::address::authority;
use crate::body::RequestBody;
use crate::outward::{Forward, Outward};
use crate::{MAX_BUFFER, Way, in_words};

/// Where the requests of a pass go.
#[derive(Debug)]
pub(crate) struct Target {
    tls: bool,
    host: String,
    port: u16,
    /// What goes before each path, without a slash at its end.
    path: String,
    /// What `Host` has to be; as the client wrote it, where there is nothing here.
    host_header: Option<HeaderValue>,
}

impl Target {
    pub(crate) fn of(way: &Way) -> Self {
        match way {
            Way::Proxy { host, port, .. } => Self {
                tls: true,
                host: host.clone(),
                port: *port,
                path: String::new(),
                host_header: None,
            },
            Way::BaseUrl { upstream } => Self {
                tls: upstream.tls,
                host: upstream.host.clone(),
                port: upstream.port,
                path: upstream.path.clone(),
                host_header: HeaderValue::try_from(&upstream.named).ok(),
            },
        }
    }

    /// Whether a CONNECT means this upstream.
    pub(crate) fn is(&self, host: &str, port: u16) -> bool {
        self.host.eq_ignore_ascii_case(host) && self.port == port
    }

    /// Points a request here, which asks for `path_and_query`.
    pub(crate) fn address(&self, head: &mut Parts, path_and_query: &str) -> Result<(), String> {
        let target = format!("{}{path_and_query}", self.path);
        head.uri = Uri::try_from(target).map_err(|error| error.to_string())?;
        if let Some(host) = &self.host_header {
            head.headers.insert(HOST, host.clone());
        }
        Ok(())
    }
}

/// Why there is no answer.
pub(crate) enum NoAnswer {
    /// The request never left.
    Unsent(String),
    /// It left, wholly or in part.
    Broken(String),
}

/// A connection to the upstream. It ends when this is dropped.
pub(crate) struct Upstream {
    sender: SendRequest<RequestBody>,
    /// Set where the user's proxy passes requests on.
    forward: Option<Forward>,
    _connection: JoinSet<()>,
}

impl Upstream {
    pub(crate) async fn open(outward: &Outward, target: &Target) -> Result<Self, String> {
        let dialled = outward.dial(target.tls, &target.host, target.port).await?;
        let mut builder = Builder::new();
        builder
            .preserve_header_case(true)
            .max_header_size(MAX_BUFFER)
            .max_buf_size(MAX_BUFFER);
        let io = TokioIo::new(dialled.stream);
        let (sender, connection) = builder.handshake(io).await.map_err(|e| in_words(&e))?;
        let mut running = JoinSet::new();
        running.spawn(async move {
            let _ = connection.with_upgrades().await; // whoever waits for an answer is told why
        });
        Ok(Self {
            sender,
            forward: dialled.forward,
            _connection: running,
        })
    }

    /// Whether it can take another request.
    pub(crate) async fn is_usable(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request and waits for the head of its answer, for as long as that takes. A request of
    /// which nothing left comes back.
    pub(crate) async fn ask(
        &mut self,
        target: &Target,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, (NoAnswer, Option<Request<RequestBody>>)> {
        let request = match &self.forward {
            Some(forward) => in_full(request, target, forward),
            None => request,
        };
        self.sender
            .try_send_request(request)
            .await
            .map_err(|mut failed| {
                let unsent = failed.take_message();
                let why = in_words(failed.error());
                match unsent {
                    Some(request) => (NoAnswer::Unsent(why), Some(request)),
                    None => (NoAnswer::Broken(why), None),
                }
            })
    }
}

/// A request as a proxy passes it on: with its whole URL.
fn in_full(
    mut request: Request<RequestBody>,
    target: &Target,
    forward: &Forward,
) -> Request<RequestBody> {
    let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
    let full = format!("http://{}{path}", authority(&target.host, target.port));
    if let Ok(uri) = Uri::try_from(full) {
        *request.uri_mut() = uri;
    }
    if let Some(value) = &forward.authorization {
        request
            .headers_mut()
            .insert(PROXY_AUTHORIZATION, value.clone());
    }
    request
}
