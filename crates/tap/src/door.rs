//! A client's connection: who it is, and what it may do then.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Incoming;
use hyper::header::PROXY_AUTHORIZATION;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::address::bare;
use crate::body::AnswerBody;
use crate::listener::{Entry, Guests};
use crate::outward::Stream;
use crate::relay::Relay;
use crate::{MAX_BUFFER, Way, refusal};

/// How long a client may take to show its secret, and then for TLS. After that nothing of it is
/// timed: how long an answer takes, and an idle connection stays, is the client's business.
const GREETING_WAIT: Duration = Duration::from_secs(30);

/// Serves one connection to its end, or that of its pass.
pub(crate) async fn serve(stream: TcpStream, guests: Arc<Guests>, stranger: OwnedSemaphorePermit) {
    let _ = stream.set_nodelay(true); // slower without, but it works
    let (known, is_known) = oneshot::channel();
    let door = Arc::new(Door {
        guests,
        state: Mutex::new(State {
            stranger: Some((stranger, known)),
            inside: None,
            then: None,
        }),
    });
    let served = Box::pin(door.serve(stream));
    let mut served = served;
    let entry = tokio::select! {
        biased;
        () = &mut served => return,
        Ok(entry) = is_known => entry,
        () = sleep(GREETING_WAIT) => return,
    };
    tokio::select! {
        () = entry.ended.cancelled() => {}
        () = served => {}
    }
}

/// What is known of one connection.
struct Door {
    guests: Arc<Guests>,
    state: Mutex<State>,
}

struct State {
    /// A place among those who are not known, and who waits for that to end.
    stranger: Option<(OwnedSemaphorePermit, oneshot::Sender<Arc<Entry>>)>,
    inside: Option<Inside>,
    /// What comes after a CONNECT.
    then: Option<Then>,
}

/// A connection that has its pass.
#[derive(Clone)]
struct Inside {
    entry: Arc<Entry>,
    relay: Arc<Relay>,
    /// One of the pass's connections.
    _room: Arc<OwnedSemaphorePermit>,
}

/// Why a client does not get in.
enum Closed {
    /// There is no such pass.
    Unknown,
    /// It has no room, nor any to wait in.
    Full,
}

/// What a CONNECT was granted.
enum Then {
    /// Bytes go both ways, unread.
    Tunnel(OnUpgrade, Box<dyn Stream>),
    /// The tap takes the part of the host.
    Open(OnUpgrade),
}

impl Door {
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let door = Arc::clone(&self);
        let service = service_fn(move |request| {
            let door = Arc::clone(&door);
            async move { Ok::<_, Infallible>(door.answer(request).await) }
        });
        let connection = server().serve_connection(TokioIo::new(stream), service);
        let _ = connection.with_upgrades().await; // who looks on was told of what broke off
        self.after().await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        if request.method() == Method::CONNECT {
            return self.connect(request).await;
        }
        if request.uri().authority().is_some() {
            return refusal::no_plain_http();
        }
        self.base_url(request).await
    }

    async fn base_url(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
        let Some((secret, rest)) = split_secret(path) else {
            return refusal::nothing_here();
        };
        let rest = rest.to_owned();
        let based = |entry: &Entry| matches!(entry.way, Way::BaseUrl { .. });
        match self.enter(secret.as_bytes(), based).await {
            Ok(inside) => inside.relay.pass(request, &rest).await,
            Err(Closed::Unknown) => refusal::nothing_here(),
            Err(Closed::Full) => refusal::too_many(),
        }
    }

    async fn connect(&self, mut request: Request<Incoming>) -> Response<AnswerBody> {
        let proxied = |entry: &Entry| matches!(entry.way, Way::Proxy { .. });
        let inside = match proxy_secret(&request) {
            Some(secret) => self.enter(&secret, proxied).await,
            None => Err(Closed::Unknown),
        };
        let inside = match inside {
            Ok(inside) => inside,
            Err(Closed::Unknown) => return refusal::no_credentials(),
            Err(Closed::Full) => return refusal::too_many(),
        };
        let client = hyper::upgrade::on(&mut request);
        let uri = request.uri();
        let host = bare(uri.host().unwrap_or_default());
        let port = uri.port_u16().unwrap_or(443);
        let then = if inside.entry.target.is(host, port) {
            Then::Open(client)
        } else {
            match inside.entry.outward.tunnel(host, port).await {
                Ok(upstream) => Then::Tunnel(client, upstream),
                Err(why) => return refusal::no_answer(&why),
            }
        };
        self.state().then = Some(then);
        refusal::connected()
    }

    /// Finds the pass of a secret, and waits for room in it; a connection keeps its pass.
    async fn enter(&self, secret: &[u8], fits: impl Fn(&Entry) -> bool) -> Result<Inside, Closed> {
        let inside = self.state().inside.clone();
        if let Some(inside) = inside {
            return if inside.entry.has(secret) {
                Ok(inside)
            } else {
                Err(Closed::Unknown)
            };
        }
        let entry = self.guests.find(secret).filter(|entry| fits(entry));
        let entry = entry.ok_or(Closed::Unknown)?;
        let stranger = self.state().stranger.take();
        let (place, known) = stranger.ok_or(Closed::Unknown)?;
        let _ = known.send(Arc::clone(&entry)); // gone only with this connection
        drop(place);
        let room = {
            let _waiting = entry.queue.try_acquire().map_err(|_| Closed::Full)?;
            let room = Arc::clone(&entry.room).acquire_owned().await;
            room.map_err(|_| Closed::Full)? // nobody closes it
        };
        let inside = Inside {
            relay: Arc::new(Relay::new(Arc::clone(&entry))),
            entry,
            _room: Arc::new(room),
        };
        self.state().inside = Some(inside.clone());
        Ok(inside)
    }

    /// What the connection is for when it speaks HTTP no more.
    async fn after(&self) {
        let (then, inside) = {
            let mut state = self.state();
            (state.then.take(), state.inside.clone())
        };
        let Some(inside) = inside else { return };
        match then {
            None => inside.relay.after().await,
            Some(Then::Open(client)) => open(client, &inside).await,
            Some(Then::Tunnel(client, mut upstream)) => {
                if let Ok(client) = client.await {
                    let mut client = TokioIo::new(client);
                    // one side's end is the other's; there is nobody to tell of an error
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
                }
            }
        }
    }

    /// A panic of another holder leaves nothing half done here.
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the part of the host, and hands on what the client says to it.
async fn open(client: OnUpgrade, inside: &Inside) {
    let Way::Proxy {
        authority, host, ..
    } = &inside.entry.way
    else {
        return; // only these are opened
    };
    let Ok(client) = client.await else { return };
    let acceptor = TlsAcceptor::from(authority.serving());
    let accepted = timeout(GREETING_WAIT, acceptor.accept(TokioIo::new(client))).await;
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(host, %error, "the client did not take our TLS"),
        Err(_) => return tracing::debug!(host, "the client began no TLS"),
    };
    let service = service_fn(|request: Request<Incoming>| async move {
        let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
        let path = path.to_owned();
        Ok::<_, Infallible>(match *request.method() {
            Method::CONNECT => refusal::no_plain_http(),
            _ => inside.relay.pass(request, &path).await,
        })
    });
    let connection = server().serve_connection(TokioIo::new(stream), service);
    let _ = connection.with_upgrades().await; // who looks on was told of what broke off
    inside.relay.after().await;
}

/// HTTP/1.1 towards clients, with nothing of its own in it.
fn server() -> Builder {
    let mut builder = Builder::new();
    builder
        .preserve_header_case(true)
        .auto_date_header(false)
        .header_read_timeout(None)
        .max_header_size(MAX_BUFFER)
        .max_buf_size(MAX_BUFFER);
    builder
}

/// `/s/SECRET/rest` as the secret and `/rest`.
fn split_secret(path: &str) -> Option<(&str, &str)> {
    let after = path.strip_prefix("/s/")?;
    let end = after.find('/')?;
    Some(after.split_at(end))
}

/// The password of `Proxy-Authorization: Basic`; the user is `clsess`.
fn proxy_secret(request: &Request<Incoming>) -> Option<Vec<u8>> {
    let value = request.headers().get(PROXY_AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain = STANDARD.decode(credentials.trim()).ok()?;
    plain.strip_prefix(b"clsess:").map(<[u8]>::to_vec)
}
