//! Who may pass, and what else is refused.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clsess_tap::{MAX_CONNECTIONS, Secret, Tap};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{BOTH, By, Line, Own, World, secure, soon, trusting};

/// Says this to the tap and gives the first line and the headers of its answer, after which it ends.
async fn refused(world: &World, request: &str) -> String {
    let mut line = Line::new(world.reach_tap().await);
    line.say(request).await;
    let head = line.head().await;
    line.rest().await;
    head
}

#[tokio::test]
async fn without_the_secret_nobody_gets_a_tunnel() {
    let world = World::new(By::Proxy).await;
    let right = STANDARD.encode(format!("clsess:{}", world.secret.text()));
    let wrong_secret = STANDARD.encode(format!("clsess:{}", Secret::random().unwrap().text()));
    let wrong_user = STANDARD.encode(format!("other:{}", world.secret.text()));
    let credentials = [
        String::new(),
        format!("Proxy-Authorization: Basic {wrong_secret}\r\n"),
        format!("Proxy-Authorization: Basic {wrong_user}\r\n"),
        format!("Proxy-Authorization: Bearer {right}\r\n"),
        format!("Authorization: Basic {right}\r\n"),
        "Proxy-Authorization: Basic %%%\r\n".to_owned(),
        "Proxy-Authorization: Basic\r\n".to_owned(),
    ];
    let mut answers = Vec::new();
    for header in credentials {
        for to in ["api.test:443", "other.test:443"] {
            let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{header}\r\n");
            answers.push(refused(&world, &request).await);
        }
    }
    assert!(
        answers[0].starts_with("HTTP/1.1 407 Proxy Authentication Required\r\n"),
        "{answers:?}"
    );
    assert!(
        answers[0].contains("proxy-authenticate: Basic realm=\"clsess\"\r\n"),
        "{answers:?}"
    );
    assert!(
        answers.iter().all(|a| *a == answers[0]),
        "it is not told why: {answers:?}"
    );
    assert!(world.proxy.heads.lock().unwrap().is_empty());
}

#[tokio::test]
async fn without_the_secret_nothing_is_there() {
    let world = World::new(By::BaseUrl).await;
    let other = Secret::random().unwrap();
    let paths = [
        "/".to_owned(),
        "/v1/messages".to_owned(),
        "/s/".to_owned(),
        format!("/s/{}", world.secret.text()),
        format!("/s/{}x/v1/messages", world.secret.text()),
        format!("/s/{}/v1/messages", other.text()),
        format!("/S/{}/v1/messages", world.secret.text()),
    ];
    let mut answers = Vec::new();
    for path in paths {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        answers.push(refused(&world, &request).await);
    }
    assert!(
        answers[0].starts_with("HTTP/1.1 404 Not Found\r\n"),
        "{answers:?}"
    );
    assert!(
        answers.iter().all(|a| *a == answers[0]),
        "it is not told why: {answers:?}"
    );
    assert!(world.proxy.heads.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_connection_keeps_its_secret() {
    let world = World::new(By::BaseUrl).await;
    let (mut client, _server) = world.met().await;
    let other = Secret::random().unwrap();
    client
        .say(format!(
            "GET /s/{}/x HTTP/1.1\r\nHost: x\r\n\r\n",
            other.text()
        ))
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 404 "));
    client.rest().await;
}

#[tokio::test]
async fn the_secret_of_one_way_is_none_of_the_other() {
    let world = World::new(By::Proxy).await;
    let request = format!(
        "GET /s/{}/v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
        world.secret.text()
    );
    assert!(refused(&world, &request).await.starts_with("HTTP/1.1 404 "));
    let world = World::new(By::BaseUrl).await;
    let stream = world.reach_tap().await;
    let (_, answer) = world.ask_for_tunnel(stream, "api.test:443").await;
    assert!(answer.starts_with("HTTP/1.1 407 "), "{answer}");
}

#[tokio::test]
async fn plain_http_is_not_proxied() {
    for by in BOTH {
        let world = World::new(by).await;
        let request = "GET http://other.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n";
        assert!(refused(&world, request).await.starts_with("HTTP/1.1 405 "));
    }
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let world = World::new(By::BaseUrl).await;
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(70_000));
    let answer = refused(&world, &request).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn another_host_is_tunnelled_unread() {
    let mut world = World::new(By::Proxy).await;
    let other = Own::new("other.test"); // nobody but these two knows of it
    for to in ["other.test:443", "api.test:444"] {
        let stream = world.reach_tap().await;
        let (line, answer) = world.ask_for_tunnel(stream, to).await;
        assert_eq!(answer, "HTTP/1.1 200 OK\r\n\r\n");
        let connector = trusting(&other.certificate_pem);
        let (client, server) = tokio::join!(secure(&connector, "other.test", line.stream), async {
            let stream = soon(world.server.accept()).await.unwrap().0;
            Line::new(soon(other.acceptor.accept(stream)).await.unwrap())
        });
        let (mut client, mut server) = (client.unwrap(), server);
        client.say(b"\x00\x01 not HTTP").await;
        assert_eq!(server.exactly(11).await, b"\x00\x01 not HTTP");
        server.say("nor this").await;
        assert_eq!(client.exactly(8).await, b"nor this");
        drop(client);
        assert_eq!(server.rest().await, b"");
        let asked = world.proxy.heads.lock().unwrap().pop().unwrap();
        assert!(
            asked.starts_with(&format!("CONNECT {to} HTTP/1.1\r\n")),
            "{asked}"
        );
    }
    drop(world.admitted.take());
    assert!(world.seen.recv().await.is_none(), "nothing is told of it");
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_gets_no_tunnel() {
    let mut world = World::new(By::Proxy).await;
    world.server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(); // the old one is closed
    let stream = world.reach_tap().await;
    let (_, answer) = world.ask_for_tunnel(stream, "other.test:443").await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[tokio::test]
async fn one_connection_too_many_waits_and_many_too_many_are_refused() {
    let mut world = World::new(By::BaseUrl).await;
    let mut clients = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        clients.push(world.met().await);
    }
    let mut waiting = JoinSet::new();
    for _ in 0..=MAX_CONNECTIONS {
        let mut client = world.client().await;
        client.say(world.get("/late")).await;
        waiting.spawn(async move { (client.head().await, client) });
    }
    let (answer, _) = soon(waiting.join_next()).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let early = timeout(Duration::from_millis(300), waiting.join_next()).await;
    assert!(early.is_err(), "the others have to wait");
    // nobody else does
    let first = world.admitted.take();
    world.secret = Secret::random().unwrap();
    world.admit(&world.vars());
    world.met().await;
    drop(clients.pop());
    let mut server = world.accept().await;
    assert!(server.head().await.starts_with("GET /late "));
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn who_shows_nothing_is_not_waited_for() {
    let tap = Tap::listen(0).await.unwrap();
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", tap.port()))
        .await
        .unwrap();
    let mut line = Line::new(stream);
    let before = tokio::time::Instant::now();
    line.say("GET /s/").await;
    assert_eq!(line.rest().await, b"");
    assert_eq!(before.elapsed().as_secs(), 30);
}

#[tokio::test]
async fn another_tap_on_the_same_port_lets_the_same_client_pass() {
    for by in BOTH {
        let mut world = World::new(by).await;
        let (mut client, _server) = world.met().await;
        let port = world.tap.port();
        assert!(Tap::listen(port).await.is_err(), "one at a time");
        let old = std::mem::replace(&mut world.tap, Tap::listen(0).await.unwrap());
        old.close().await;
        assert_eq!(client.rest().await, b"", "the old one is gone");
        world.tap = Tap::listen(port).await.unwrap();
        world.admit(&world.vars());
        let (mut client, mut server) = world.met().await;
        world.small(&mut client, &mut server).await;
    }
}

#[tokio::test]
async fn the_later_of_two_passes_counts() {
    for by in BOTH {
        let mut world = World::new(by).await;
        let first = world.admitted.take();
        world.admit(&world.vars());
        drop(first);
        world.met().await;
        assert!(matches!(
            world.seen.try_recv(),
            Ok(clsess_tap::Seen::Request { exchange: 1, .. })
        ));
    }
}

#[test]
fn a_secret_stands_in_a_url_as_it_is() {
    let secret = Secret::random().unwrap();
    let again = Secret::from_text(secret.text()).unwrap();
    assert_eq!(again.text(), secret.text());
    assert_eq!(secret.text().len(), 43);
    assert!(!format!("{secret:?}").contains(secret.text()));
    for text in [
        "",
        "short",
        "0123456789abcde/",
        "0123456789abcde:",
        "0123456789abcdeé",
    ] {
        assert!(Secret::from_text(text).is_none(), "{text}");
    }
    assert!(Secret::from_text(&"x".repeat(257)).is_none());
}
