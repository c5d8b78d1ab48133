//! A server, the user's own proxy before it, and a client: each says exactly the bytes that a test gives it.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clsess_tap::{Admitted, Authority, Outward, Pass, Secret, Seen, Tap, Way};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The host that the tests ask for; only the test's own proxy knows where it is.
pub const HOST: &str = "api.test";

/// Longest wait for what has to come.
pub const PATIENCE: Duration = Duration::from_secs(50);

/// Fails when something that has to come does not.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("it did not come")
}

/// Says why something is not looked at; in CI that is a failure.
pub fn skipped<T>(why: &str) -> Option<T> {
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!ci, "in CI this must not be skipped: {why}");
    println!("skipped: {why}");
    None
}

/// Both ways to the tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Proxy,
    BaseUrl,
}

pub const BOTH: [By; 2] = [By::Proxy, By::BaseUrl];

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One end of a connection, in bytes.
pub struct Line {
    pub stream: Box<dyn Stream>,
    read: Vec<u8>,
}

impl Line {
    pub fn new(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            read: Vec::new(),
        }
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let said = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        soon(said).await.unwrap();
    }

    /// Everything to the first empty line, and with it.
    pub async fn head(&mut self) -> String {
        let head = self.through(b"\r\n\r\n").await;
        String::from_utf8(head).unwrap()
    }

    /// Everything to the end of `mark`.
    pub async fn through(&mut self, mark: &[u8]) -> Vec<u8> {
        loop {
            let found = self.read.windows(mark.len()).position(|w| w == mark);
            if let Some(at) = found {
                let after = self.read.split_off(at + mark.len());
                return std::mem::replace(&mut self.read, after);
            }
            let more = self.more().await;
            assert!(more.expect("it broke off") > 0, "it ended");
        }
    }

    /// Whether anything more comes.
    pub async fn goes_on(&mut self) -> bool {
        !self.read.is_empty() || matches!(self.more().await, Ok(1..))
    }

    pub async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(self.more().await.expect("it broke off") > 0, "it ended");
        }
        let after = self.read.split_off(count);
        std::mem::replace(&mut self.read, after)
    }

    /// The data of the next chunk.
    pub async fn chunk(&mut self) -> Vec<u8> {
        let size = String::from_utf8(self.through(b"\r\n").await).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut data = self.exactly(size + 2).await;
        data.truncate(size);
        data
    }

    /// The data of all chunks to the last.
    pub async fn chunks(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let chunk = self.chunk().await;
            if chunk.is_empty() {
                return all;
            }
            all.extend(chunk);
        }
    }

    /// What comes until it ends, in whatever way.
    pub async fn rest(&mut self) -> Vec<u8> {
        while let Ok(1..) = self.more().await {}
        std::mem::take(&mut self.read)
    }

    /// How much more has come; 0 at the end.
    async fn more(&mut self) -> std::io::Result<usize> {
        soon(self.stream.read_buf(&mut self.read)).await
    }
}

/// A certificate authority of the test's own, and TLS in the name of one host by it.
pub struct Own {
    pub certificate_pem: String,
    pub acceptor: TlsAcceptor,
}

impl Own {
    pub fn new(host: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &ca).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        Self {
            certificate_pem: ca.pem(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
        }
    }
}

/// TLS as a client that trusts nothing but this certificate.
pub fn trusting(certificate_pem: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(certificate_pem.as_bytes()).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

pub async fn secure(
    connector: &TlsConnector,
    host: &str,
    stream: impl Stream + 'static,
) -> std::io::Result<Line> {
    let name = ServerName::try_from(host.to_owned()).unwrap();
    Ok(Line::new(soon(connector.connect(name, stream)).await?))
}

/// The user's own proxy: each CONNECT, to whatever host, goes to one address.
pub struct UsersProxy {
    pub port: u16,
    /// The head of each request.
    pub heads: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl UsersProxy {
    pub async fn to(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let mut serving = JoinSet::new();
        let told = Arc::clone(&heads);
        serving.spawn(async move {
            let mut clients = JoinSet::new();
            loop {
                let client = listener.accept().await.unwrap().0;
                client.set_nodelay(true).unwrap();
                clients.spawn(Self::one(client, upstream, Arc::clone(&told)));
            }
        });
        Self {
            port,
            heads,
            _serving: serving,
        }
    }

    async fn one(client: TcpStream, upstream: u16, heads: Arc<Mutex<Vec<String>>>) {
        let mut client = Line::new(client);
        let head = client.head().await;
        heads.lock().unwrap().push(head);
        let Ok(mut upstream) = TcpStream::connect(("127.0.0.1", upstream)).await else {
            return client
                .say("HTTP/1.1 503 Nobody There\r\nContent-Length: 0\r\n\r\n")
                .await;
        };
        upstream.set_nodelay(true).unwrap();
        client.say("HTTP/1.1 200 Go On\r\n\r\n").await;
        // the end of one is the end of the other, however it came
        let _ = tokio::io::copy_bidirectional(&mut client.stream, &mut upstream).await;
    }
}

/// A tap with one client, a server of HTTPS in the name of [`HOST`], and the user's proxy to it.
pub struct World {
    pub dir: TempDir,
    pub own: Own,
    pub server: TcpListener,
    pub proxy: UsersProxy,
    pub tap: Tap,
    pub secret: Secret,
    pub authority: Arc<Authority>,
    pub by: By,
    pub seen: mpsc::Receiver<Seen>,
    pub admitted: Option<Admitted>,
}

impl World {
    pub async fn new(by: By) -> Self {
        Self::with_room(by, 100_000).await
    }

    /// With a channel of so many places.
    pub async fn with_room(by: By, room: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let own = Own::new(HOST);
        std::fs::write(dir.path().join("own.pem"), &own.certificate_pem).unwrap();
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = UsersProxy::to(server.local_addr().unwrap().port()).await;
        let authority = Authority::load_or_make(&dir.path().join("authority"), HOST).unwrap();
        let (sender, seen) = mpsc::channel(room);
        let mut world = Self {
            dir,
            own,
            server,
            proxy,
            tap: Tap::listen(0).await.unwrap(),
            secret: Secret::random().unwrap(),
            authority: Arc::new(authority),
            by,
            seen,
            admitted: None,
        };
        let vars = world.vars();
        world.admitted = Some(world.tap.admit(world.pass(&vars, sender)));
        world
    }

    pub fn own_pem(&self) -> PathBuf {
        self.dir.path().join("own.pem")
    }

    pub fn vars(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (
                "HTTPS_PROXY".to_owned(),
                format!("http://127.0.0.1:{}", self.proxy.port),
            ),
            (
                "NODE_EXTRA_CA_CERTS".to_owned(),
                self.own_pem().display().to_string(),
            ),
        ])
    }

    /// Admits the client anew, with these variables.
    pub fn admit(&mut self, vars: &BTreeMap<String, String>) {
        let (sender, seen) = mpsc::channel(100_000);
        self.seen = seen;
        self.admitted = Some(self.tap.admit(self.pass(vars, sender)));
    }

    pub fn pass(&self, vars: &BTreeMap<String, String>, seen: mpsc::Sender<Seen>) -> Pass {
        let way = match self.by {
            By::Proxy => Way::Proxy {
                host: HOST.to_owned(),
                port: 443,
                authority: Arc::clone(&self.authority),
            },
            By::BaseUrl => Way::BaseUrl {
                upstream: format!("https://{HOST}").parse().unwrap(),
            },
        };
        let outward = Outward::from_environment(vars).unwrap();
        Pass {
            secret: self.secret.clone(),
            way,
            outward,
            seen,
        }
    }

    /// The next connection to the server.
    pub async fn accept(&self) -> Line {
        let stream = soon(self.server.accept()).await.unwrap().0;
        stream.set_nodelay(true).unwrap();
        Line::new(soon(self.own.acceptor.accept(stream)).await.unwrap())
    }

    pub async fn reach_tap(&self) -> TcpStream {
        let stream = soon(TcpStream::connect(("127.0.0.1", self.tap.port())))
            .await
            .unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// A connection of the client on which it can make requests to the server.
    pub async fn client(&self) -> Line {
        let stream = self.reach_tap().await;
        if self.by == By::BaseUrl {
            return Line::new(stream);
        }
        let (line, answer) = self.ask_for_tunnel(stream, &format!("{HOST}:443")).await;
        assert_eq!(answer, "HTTP/1.1 200 OK\r\n\r\n");
        let connector = trusting(self.authority.certificate_pem());
        secure(&connector, HOST, line.stream).await.unwrap()
    }

    pub async fn ask_for_tunnel(&self, stream: TcpStream, to: &str) -> (Line, String) {
        let credentials = STANDARD.encode(format!("clsess:{}", self.secret.text()));
        let mut line = Line::new(stream);
        let ask = format!(
            "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nProxy-Authorization: Basic {credentials}\r\n\r\n"
        );
        line.say(ask).await;
        let answer = line.head().await;
        (line, answer)
    }

    /// A path as the client has to write it.
    pub fn path(&self, path: &str) -> String {
        match self.by {
            By::Proxy => path.to_owned(),
            By::BaseUrl => format!("/s/{}{path}", self.secret.text()),
        }
    }

    /// `Host` as the client writes it.
    pub fn host(&self) -> String {
        match self.by {
            By::Proxy => HOST.to_owned(),
            By::BaseUrl => format!("127.0.0.1:{}", self.tap.port()),
        }
    }

    /// A request without a body.
    pub fn get(&self, path: &str) -> String {
        format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\n\r\n",
            self.path(path),
            self.host()
        )
    }

    /// A small request and its answer, both as they should be.
    pub async fn small(&self, client: &mut Line, server: &mut Line) {
        client.say(self.get("/small")).await;
        assert!(server.head().await.starts_with("GET /small HTTP/1.1\r\n"));
        server
            .say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
        assert_eq!(
            client.head().await,
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
        );
        assert_eq!(client.exactly(2).await, b"ok");
    }

    /// Has made a small exchange on new connections.
    pub async fn met(&self) -> (Line, Line) {
        let mut client = self.client().await;
        client.say(self.get("/small")).await;
        let mut server = self.accept().await;
        server.head().await;
        server
            .say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
        client.head().await;
        client.exactly(2).await;
        (client, server)
    }

    /// What is told, to the end of this exchange.
    pub async fn told(&mut self, number: u64) -> Vec<Seen> {
        let mut told = Vec::new();
        loop {
            let seen = soon(self.seen.recv()).await.expect("nothing more is told");
            let last = matches!(seen, Seen::End { exchange, .. } | Seen::Missed { exchange } if exchange == number);
            told.push(seen);
            if last {
                return told;
            }
        }
    }
}

/// Bytes of all values in no order, the same each time.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}
