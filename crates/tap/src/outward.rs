//! How connections leave: directly or by the user's own proxy, and who is trusted there.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{Method, Request, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tower_service::Service;

use crate::address::{Address, authority};
use crate::bypass::Bypass;
use crate::{in_words, tls};

/// How long a connection may take to stand, with the user's proxy and TLS: an agent's own libraries
/// give up sooner or try again. Nothing has been sent by then.
const DIAL_WAIT: Duration = Duration::from_secs(60);

/// How much sooner an address of one family is tried than one of the other, as browsers do.
const OTHER_FAMILY_AFTER: Duration = Duration::from_millis(300);

/// How connections leave. It is cheap to clone.
#[derive(Clone)]
pub struct Outward(Arc<Ways>);

struct Ways {
    /// For https, and for every tunnel.
    https: Option<Proxy>,
    /// For http.
    http: Option<Proxy>,
    bypass: Bypass,
    tls: Arc<ClientConfig>,
}

#[derive(Clone)]
struct Proxy {
    tls: bool,
    host: String,
    port: u16,
    authorization: Option<HeaderValue>,
}

/// Why an environment says nothing that connections could leave by.
#[derive(Debug, thiserror::Error)]
pub enum OutwardError {
    /// A proxy variable is not a URL.
    #[error("{variable} is not the URL of a proxy")]
    NoUrl {
        /// Its name.
        variable: &'static str,
    },
    /// A proxy of another kind than `http://` and `https://`.
    #[error("{variable} names a proxy of {scheme}://, and only http:// and https:// are known")]
    Scheme {
        /// Its name.
        variable: &'static str,
        /// `socks5`, or what it is.
        scheme: String,
    },
    /// There is no TLS to be had.
    #[error("no TLS: {0}")]
    Tls(#[from] tokio_rustls::rustls::Error),
}

/// A connection of whatever kind.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that stands.
pub(crate) struct Dialled {
    pub(crate) stream: Box<dyn Stream>,
    /// The user's proxy passes requests on itself: they name their host in full.
    pub(crate) forward: Option<Forward>,
}

/// What a proxy wants of requests that it passes on.
pub(crate) struct Forward {
    pub(crate) authorization: Option<HeaderValue>,
}

impl Outward {
    /// From the variables of a session, as Node's own libraries read them: `https_proxy` and
    /// `HTTPS_PROXY` (without them `http_proxy` and `HTTP_PROXY`, which are also those for http),
    /// `no_proxy` and `NO_PROXY`; a name in small letters counts first. `NODE_EXTRA_CA_CERTS` and
    /// `SSL_CERT_FILE` are trusted beside the system's roots; a file of them that cannot be read is
    /// passed over, as there.
    ///
    /// Files are read here: a few milliseconds.
    ///
    /// # Errors
    /// A proxy that cannot be used. No variable's value is in the error.
    pub fn from_environment(vars: &BTreeMap<String, String>) -> Result<Self, OutwardError> {
        let set = |name: &str| vars.get(name).map(|v| v.trim()).filter(|v| !v.is_empty());
        let proxy = |names: [&'static str; 2]| {
            let found = names.into_iter().find_map(|name| Some((name, set(name)?)));
            found.map(|(name, url)| Proxy::parse(name, url)).transpose()
        };
        let http = proxy(["http_proxy", "HTTP_PROXY"])?;
        let https = proxy(["https_proxy", "HTTPS_PROXY"])?.or_else(|| http.clone());
        let roots = ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"];
        let extra: Vec<&Path> = roots.into_iter().filter_map(set).map(Path::new).collect();
        Ok(Self(Arc::new(Ways {
            https,
            http,
            bypass: Bypass::parse(
                set("no_proxy")
                    .or_else(|| set("NO_PROXY"))
                    .unwrap_or_default(),
            ),
            tls: tls::outward(&extra)?,
        })))
    }

    /// A connection to `host` that speaks http, or with `tls` https.
    pub(crate) async fn dial(&self, tls: bool, host: &str, port: u16) -> Result<Dialled, String> {
        tracing::debug!(host, port, "dialling");
        within(async {
            if tls {
                let stream = self.reach(host, port).await?;
                let stream = self.secure(stream, host).await?;
                return Ok(Dialled {
                    stream,
                    forward: None,
                });
            }
            let ways = &self.0;
            let Some(proxy) = ways
                .http
                .as_ref()
                .filter(|_| !ways.bypass.contains(host, port))
            else {
                let stream = connect(host, port).await?;
                return Ok(Dialled {
                    stream,
                    forward: None,
                });
            };
            let authorization = proxy.authorization.clone();
            Ok(Dialled {
                stream: self.to_proxy(proxy).await?,
                forward: Some(Forward { authorization }),
            })
        })
        .await
    }

    /// A connection to `host` for whatever the client will say there.
    pub(crate) async fn tunnel(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, String> {
        tracing::debug!(host, port, "tunnelling");
        within(self.reach(host, port)).await
    }

    async fn reach(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, String> {
        let ways = &self.0;
        match &ways.https {
            Some(proxy) if !ways.bypass.contains(host, port) => {
                let stream = self.to_proxy(proxy).await?;
                through(stream, proxy, host, port).await
            }
            _ => connect(host, port).await,
        }
    }

    async fn to_proxy(&self, proxy: &Proxy) -> Result<Box<dyn Stream>, String> {
        let stream = connect(&proxy.host, proxy.port).await?;
        if proxy.tls {
            self.secure(stream, &proxy.host).await
        } else {
            Ok(stream)
        }
    }

    async fn secure(&self, stream: Box<dyn Stream>, host: &str) -> Result<Box<dyn Stream>, String> {
        let failed = |why: String| format!("TLS with {host} failed: {why}");
        let name = ServerName::try_from(host.to_owned()).map_err(|e| failed(e.to_string()))?;
        let connector = TlsConnector::from(Arc::clone(&self.0.tls));
        match connector.connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(failed(in_words(&error))),
        }
    }
}

impl std::fmt::Debug for Outward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = |proxy: &Option<Proxy>| proxy.as_ref().map(|p| authority(&p.host, p.port));
        f.debug_struct("Outward")
            .field("https", &host(&self.0.https))
            .field("http", &host(&self.0.http))
            .finish_non_exhaustive()
    }
}

impl Proxy {
    fn parse(variable: &'static str, value: &str) -> Result<Self, OutwardError> {
        let url = match value.split_once("://") {
            None => format!("http://{value}"),
            Some(("http" | "https", _)) => value.to_owned(),
            Some((scheme, _)) => {
                let scheme = scheme.to_owned();
                return Err(OutwardError::Scheme { variable, scheme });
            }
        };
        let address: Address = url.parse().map_err(|_| OutwardError::NoUrl { variable })?;
        Ok(Self {
            tls: address.tls,
            host: address.host,
            port: address.port,
            authorization: address.user.as_deref().and_then(basic),
        })
    }
}

/// The credentials that stand in a URL: `user:password`.
fn basic(user: &str) -> Option<HeaderValue> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut plain: Vec<u8> = percent_decode_str(name).collect();
    plain.push(b':');
    plain.extend(percent_decode_str(password));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(plain))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

async fn within<T>(dialling: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    match timeout(DIAL_WAIT, dialling).await {
        Ok(done) => done,
        Err(_) => Err(format!("no connection in {} s", DIAL_WAIT.as_secs())),
    }
}

/// A connection of TCP; the addresses of both families are tried, one a little after the other.
async fn connect(host: &str, port: u16) -> Result<Box<dyn Stream>, String> {
    let failed = |why: String| format!("{} cannot be reached: {why}", authority(host, port));
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_happy_eyeballs_timeout(Some(OTHER_FAMILY_AFTER));
    let uri = Uri::try_from(format!("http://{}/", authority(host, port)));
    let uri = uri.map_err(|error| failed(error.to_string()))?;
    match connector.call(uri).await {
        Ok(stream) => Ok(Box::new(stream.into_inner())),
        Err(error) => Err(failed(in_words(&error))),
    }
}

/// Asks a proxy for a tunnel.
async fn through(
    stream: Box<dyn Stream>,
    proxy: &Proxy,
    host: &str,
    port: u16,
) -> Result<Box<dyn Stream>, String> {
    let at = authority(&proxy.host, proxy.port);
    let failed = |why: &dyn std::fmt::Display| format!("the proxy {at} opens no tunnel: {why}");
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|e| failed(&in_words(&e)))?;
    let target = authority(host, port);
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(&target)
        .header(HOST, &target);
    if let Some(value) = &proxy.authorization {
        request = request.header(PROXY_AUTHORIZATION, value);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|e| failed(&e))?;
    let asked = async {
        let answer = sender
            .send_request(request)
            .await
            .map_err(|e| failed(&in_words(&e)))?;
        if !answer.status().is_success() {
            return Err(failed(&answer.status()));
        }
        hyper::upgrade::on(answer)
            .await
            .map_err(|e| failed(&in_words(&e)))
    };
    let (mut asked, mut connection) = (pin!(asked), pin!(connection.with_upgrades()));
    let upgraded = tokio::select! {
        upgraded = &mut asked => upgraded,
        // it hands the stream over by ending
        _ = &mut connection => asked.await,
    };
    Ok(Box::new(TokioIo::new(upgraded?)))
}

impl From<OutwardError> for io::Error {
    fn from(error: OutwardError) -> Self {
        Self::other(error)
    }
}
