//! What the tap costs: `cargo run --release -p clsess-tap --example cost`. A server, a tap and a client, each with a
//! thread of its own as they have processes of their own; the same exchange without the tap and through each of its
//! ways, by turns.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/tap/support.rs"]
#[allow(dead_code)]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use clsess_tap::{Authority, Outward, Pass, Secret, Seen, Tap, Way};
use support::{HOST, Line, Own, UsersProxy, noise, secure, trusting};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

const ROUNDS: usize = 200;
/// A usual request of Claude Code, in bytes.
const REQUEST: usize = 100_000;
/// A usual answer: so many events of so many bytes.
const EVENTS: usize = 50;
const EVENT: usize = 120;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Answers each request with events, each written by itself.
async fn answer(mut line: Line) {
    let event = vec![b'e'; EVENT];
    while line.goes_on().await {
        line.head().await;
        line.exactly(REQUEST).await;
        line.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        for _ in 0..EVENTS {
            let mut chunk = format!("{EVENT:x}\r\n").into_bytes();
            chunk.extend_from_slice(&event);
            chunk.extend_from_slice(b"\r\n");
            line.say(chunk).await;
        }
        line.say("0\r\n\r\n").await;
    }
}

/// The server and the user's proxy before it; gives their ports.
fn server(own: &Own, ports: oneshot::Sender<u16>) {
    runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = UsersProxy::to(listener.local_addr().unwrap().port()).await;
        ports.send(proxy.port).unwrap();
        loop {
            let stream = listener.accept().await.unwrap().0;
            stream.set_nodelay(true).unwrap();
            let acceptor = own.acceptor.clone();
            tokio::spawn(
                async move { answer(Line::new(acceptor.accept(stream).await.unwrap())).await },
            );
        }
    });
}

struct Tapped {
    port: u16,
    proxied: Secret,
    based: Secret,
    certificate: String,
}

fn tap(outward: &Outward, ready: oneshot::Sender<Tapped>) {
    runtime().block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::load_or_make(&dir.path().join("a"), HOST).unwrap();
        let authority = Arc::new(authority);
        let tap = Tap::listen(0).await.unwrap();
        let (seen, mut told) = mpsc::channel(1024);
        let pass = |way| Pass {
            secret: Secret::random().unwrap(),
            way,
            outward: outward.clone(),
            seen: seen.clone(),
        };
        let proxied = pass(Way::Proxy {
            host: HOST.to_owned(),
            port: 443,
            authority: Arc::clone(&authority),
        });
        let based = pass(Way::BaseUrl {
            upstream: format!("https://{HOST}").parse().unwrap(),
        });
        let tapped = Tapped {
            port: tap.port(),
            proxied: proxied.secret.clone(),
            based: based.secret.clone(),
            certificate: authority.certificate_pem().to_owned(),
        };
        let _admitted = (tap.admit(proxied), tap.admit(based));
        assert!(ready.send(tapped).is_ok());
        while let Some(seen) = told.recv().await {
            assert!(
                !matches!(seen, Seen::Missed { .. }),
                "it is told what passes"
            );
        }
    });
}

async fn tunnel(port: u16, secret: Option<&Secret>, certificate: &str) -> Line {
    use base64::Engine;
    let credentials = secret.map_or_else(String::new, |secret| {
        let text =
            base64::engine::general_purpose::STANDARD.encode(format!("clsess:{}", secret.text()));
        format!("Proxy-Authorization: Basic {text}\r\n")
    });
    let mut line = tcp(port).await;
    line.say(format!(
        "CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n{credentials}\r\n"
    ))
    .await;
    line.head().await;
    secure(&trusting(certificate), HOST, line.stream)
        .await
        .unwrap()
}

async fn tcp(port: u16) -> Line {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    Line::new(stream)
}

/// One exchange: when the first event was there, and when the whole answer.
async fn exchange(line: &mut Line, path: &str, body: &[u8]) -> (Duration, Duration) {
    let begin = Instant::now();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {REQUEST}\r\n\r\n");
    line.say(head).await;
    line.say(body).await;
    line.head().await;
    line.chunk().await;
    let first = begin.elapsed();
    line.chunks().await;
    (first, begin.elapsed())
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!(
        "{what:<44} median {:7.3} ms   5 % {:7.3}   95 % {:7.3}",
        at(50),
        at(5),
        at(95)
    );
}

fn main() {
    let own = Own::new(HOST);
    let pem = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(pem.path(), &own.certificate_pem).unwrap();
    let certificate = own.certificate_pem.clone();
    let (ports, proxy) = oneshot::channel();
    std::thread::spawn(move || server(&own, ports));
    let proxy = proxy.blocking_recv().unwrap();
    let vars = [
        (
            "HTTPS_PROXY".to_owned(),
            format!("http://127.0.0.1:{proxy}"),
        ),
        (
            "NODE_EXTRA_CA_CERTS".to_owned(),
            pem.path().display().to_string(),
        ),
    ];
    let outward = Outward::from_environment(&vars.into()).unwrap();
    let (ready, tapped) = oneshot::channel();
    std::thread::spawn(move || tap(&outward, ready));
    let tapped = tapped.blocking_recv().unwrap();
    runtime().block_on(measure(proxy, &certificate, &tapped));
}

async fn measure(proxy: u16, certificate: &str, tapped: &Tapped) {
    let body = noise(REQUEST);
    let path = "/v1/messages";
    let based = format!("/s/{}{path}", tapped.based.text());
    let names = ["without the tap", "as a proxy", "by the base URL"];
    let paths = [path, path, &based];
    let mut cold: [Vec<Duration>; 3] = Default::default();
    let mut first: [Vec<Duration>; 3] = Default::default();
    let mut whole: [Vec<Duration>; 3] = Default::default();
    let mut lines = Vec::new();
    for round in 0..ROUNDS {
        for way in 0..3 {
            let begin = Instant::now();
            let mut line = match way {
                0 => tunnel(proxy, None, certificate).await,
                1 => tunnel(tapped.port, Some(&tapped.proxied), &tapped.certificate).await,
                _ => tcp(tapped.port).await,
            };
            let standing = begin.elapsed();
            let (begun, _) = exchange(&mut line, paths[way], &body).await;
            cold[way].push(standing + begun);
            if round == 0 {
                lines.push(line);
            }
        }
    }
    for _ in 0..ROUNDS {
        for way in 0..3 {
            let (begun, done) = exchange(&mut lines[way], paths[way], &body).await;
            first[way].push(begun);
            whole[way].push(done);
        }
    }
    for (what, times) in [
        ("new connection to first event", cold),
        ("first event", first),
        ("whole exchange", whole),
    ] {
        for (name, times) in names.iter().zip(times) {
            show(&format!("{what}, {name}"), times);
        }
    }
}
