//! What breaks off on one side breaks off on the other.

use clsess_tap::{How, Seen, Side};
use tokio::io::AsyncWriteExt;

use crate::support::{BOTH, By, Line, Own, World, soon};

/// How an exchange ended, as it was told.
async fn ended(world: &mut World, number: u64) -> How {
    match world.told(number).await.pop() {
        Some(Seen::End { how, .. }) => how,
        other => panic!("{other:?}"),
    }
}

/// An exchange was cut, by this side.
async fn is_cut(world: &mut World, number: u64, side: Side) {
    let how = ended(world, number).await;
    let so = matches!(&how, How::Cut { by, .. } if *by == side);
    assert!(so, "{how:?} is not by {side}");
}

/// The body of an answer of 502, which has to be an error of the API.
async fn refusal(client: &mut Line) -> String {
    let head = client.head().await.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 502 bad gateway\r\n"), "{head}");
    assert!(
        head.contains("content-type: application/json\r\n"),
        "{head}"
    );
    let length = head.split("content-length: ").nth(1).unwrap();
    let length = length.split("\r\n").next().unwrap().parse().unwrap();
    let body = String::from_utf8(client.exactly(length).await).unwrap();
    assert!(
        body.starts_with(r#"{"error":{"message":"clsess tap: "#)
            && body.contains(r#""type":"api_error""#)
            && body.ends_with(r#""type":"error"}"#),
        "{body}"
    );
    body
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    for by in BOTH {
        let mut world = World::new(by).await;
        world.server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(); // the old one is closed
        let mut client = world.client().await;
        for number in 1..3 {
            client.say(world.get("/v1/models")).await;
            assert!(
                refusal(&mut client).await.contains("opens no tunnel: 503"),
                "{by:?}"
            );
            let how = ended(&mut world, number).await;
            assert!(
                matches!(how, How::Refused { ref why } if why.contains("503")),
                "{how:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there() {
    for by in BOTH {
        let mut world = World::new(by).await;
        let mut vars = world.vars();
        let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = nobody.local_addr().unwrap().port();
        drop(nobody);
        vars.insert(
            "HTTPS_PROXY".to_owned(),
            format!("http://me:pass@127.0.0.1:{port}"),
        );
        world.admit(&vars);
        let mut client = world.client().await;
        client.say(world.get("/v1/models")).await;
        let body = refusal(&mut client).await;
        assert!(body.contains("refused") && !body.contains("pass"), "{body}");
        let how = ended(&mut world, 1).await;
        assert!(
            matches!(how, How::Refused { ref why } if why.contains("refused")),
            "{how:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for() {
    for by in BOTH {
        let mut world = World::new(by).await;
        world.own = Own::new(crate::support::HOST);
        let mut client = world.client().await;
        client.say(world.get("/v1/models")).await;
        let stream = soon(world.server.accept()).await.unwrap().0;
        assert!(world.own.acceptor.accept(stream).await.is_err());
        assert!(
            refusal(&mut client)
                .await
                .contains("TLS with api.test failed"),
            "{by:?}"
        );
        let how = ended(&mut world, 1).await;
        assert!(
            matches!(how, How::Refused { ref why } if why.contains("invalid peer certificate")),
            "{how:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_breaks_off_before_its_answer() {
    for by in BOTH {
        let mut world = World::new(by).await;
        let (mut client, mut server) = world.met().await;
        client.say(world.get("/v1/models")).await;
        server.head().await;
        drop(server);
        let body = refusal(&mut client).await;
        assert!(
            body.contains("broke off before its answer"),
            "{by:?} {body}"
        );
        is_cut(&mut world, 2, Side::Upstream).await;
        assert_eq!(
            world.proxy.heads.lock().unwrap().len(),
            1,
            "it is not sent again"
        );
    }
}

#[tokio::test]
async fn a_server_that_breaks_off_in_its_answer() {
    let heads = [
        "Content-Length: 10\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ];
    for by in BOTH {
        for (head, orderly) in heads.into_iter().flat_map(|h| [(h, true), (h, false)]) {
            let mut world = World::new(by).await;
            let (mut client, mut server) = world.met().await;
            client.say(world.get("/v1/models")).await;
            server.head().await;
            server.say(format!("HTTP/1.1 200 OK\r\n{head}")).await;
            client.head().await;
            client.through(b"abc").await;
            if orderly {
                server.stream.shutdown().await.unwrap(); // TLS's own end, and still not the answer's
            }
            drop(server);
            let rest = client.rest().await;
            assert!(
                rest.is_empty() || rest == b"\r\n",
                "{by:?}: no end of the answer: {rest:?}"
            );
            is_cut(&mut world, 2, Side::Upstream).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_answer() {
    for by in BOTH {
        let mut world = World::new(by).await;
        let (mut client, mut server) = world.met().await;
        client.say(world.get("/v1/models")).await;
        server.head().await;
        server
            .say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
            .await;
        client.head().await;
        drop(client);
        assert_eq!(server.rest().await, b"", "the server learns of it");
        is_cut(&mut world, 2, Side::Client).await;
    }
}

#[tokio::test]
async fn a_client_that_goes_away_before_the_answer() {
    for by in BOTH {
        let mut world = World::new(by).await;
        let (mut client, mut server) = world.met().await;
        client.say(world.get("/v1/models")).await;
        server.head().await;
        drop(client);
        assert_eq!(server.rest().await, b"", "the server learns of it");
        is_cut(&mut world, 2, Side::Client).await;
    }
}

#[tokio::test]
async fn a_client_that_goes_away_in_its_request() {
    for by in BOTH {
        let mut world = World::new(by).await;
        let (mut client, mut server) = world.met().await;
        let request = world.get("/v1/other").replacen("GET", "POST", 1);
        client
            .say(request.replace("\r\n\r\n", "\r\nContent-Length: 10\r\n\r\nabc"))
            .await;
        server.head().await;
        assert_eq!(server.exactly(3).await, b"abc");
        drop(client);
        assert_eq!(server.rest().await, b"", "the server learns of it");
        is_cut(&mut world, 2, Side::Client).await;
    }
}

#[tokio::test]
async fn an_end_of_the_pass_cuts_what_passes() {
    for by in BOTH {
        let mut world = World::new(by).await;
        let (mut client, mut server) = world.met().await;
        client.say(world.get("/v1/models")).await;
        server.head().await;
        server
            .say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
            .await;
        client.head().await;
        drop(world.admitted.take());
        client.rest().await;
        server.rest().await;
        is_cut(&mut world, 2, Side::Tap).await;
        let mut late = Line::new(world.reach_tap().await);
        late.say(match by {
            By::Proxy => "CONNECT api.test:443 HTTP/1.1\r\nHost: api.test\r\n\r\n".to_owned(),
            By::BaseUrl => world.get("/v1/models"),
        })
        .await;
        let status = late.head().await;
        let wanted = if by == By::Proxy {
            "HTTP/1.1 407 "
        } else {
            "HTTP/1.1 404 "
        };
        assert!(status.starts_with(wanted), "{status}");
    }
}
