//! What passes is what was said, when it was said.

use crate::support::{BOTH, HOST, World, noise, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HEADERS: &str = "x-lower: 1\r\nX-Upper: 2\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nX-ODD-case: three  words\r\nAuthorization: Bearer s3cret\r\nx-api-key: k3y\r\n";

#[tokio::test]
async fn bytes_of_a_known_length_pass_as_they_are() {
    for by in BOTH {
        let world = World::new(by).await;
        let (mut client, body) = (world.client().await, noise(300_000));
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\n{HEADERS}Content-Length: {}\r\n\r\n",
            world.path("/v1/other?beta=true&x=%2F"),
            world.host(),
            body.len()
        );
        let (mut server, ()) = tokio::join!(world.accept(), async {
            client.say(&request).await;
            client.say(&body).await;
        });
        let came = server.head().await;
        let expected = format!(
            "POST /v1/other?beta=true&x=%2F HTTP/1.1\r\nHost: {HOST}\r\n{HEADERS}Content-Length: {}\r\n\r\n",
            body.len()
        );
        assert_eq!(came, expected, "{by:?}");
        assert!(server.exactly(body.len()).await == body, "{by:?}");
        let answer = format!(
            "HTTP/1.1 418 Quite Odd\r\nX-Odd: a\r\nset-cookie: b=c\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let (_, ()) = tokio::join!(
            async {
                server.say(&answer).await;
                server.say(&body).await;
            },
            async {
                assert_eq!(client.head().await, answer, "{by:?}");
                assert!(client.exactly(body.len()).await == body, "{by:?}");
            }
        );
    }
}

#[tokio::test]
async fn bytes_in_chunks_pass_as_they_are() {
    for by in BOTH {
        let world = World::new(by).await;
        let (mut client, body) = (world.client().await, noise(200_000));
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
            world.path("/v1/other"),
            world.host()
        );
        let (mut server, ()) = tokio::join!(world.accept(), async {
            client.say(&request).await;
            for part in body.chunks(7_001) {
                client.say(format!("{:x}\r\n", part.len())).await;
                client.say(part).await;
                client.say("\r\n").await;
            }
            client.say("0\r\n\r\n").await;
        });
        let expected = format!(
            "POST /v1/other HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        assert_eq!(server.head().await, expected);
        assert!(server.chunks().await == body, "{by:?}");
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        server.say(answer).await;
        server.say("3\r\nabc\r\n0\r\n\r\n").await;
        assert_eq!(client.head().await, answer);
        assert_eq!(client.chunks().await, b"abc");
    }
}

#[tokio::test]
async fn only_the_answers_of_the_api_are_asked_for_readable() {
    for by in BOTH {
        let world = World::new(by).await;
        let (mut client, mut server) = world.met().await;
        let cases = [
            ("POST", "/v1/messages?beta=true", "identity"),
            ("POST", "/v1/messages", "identity"),
            ("POST", "/v1/messages/count_tokens", "gzip, br"),
            ("GET", "/v1/messages", "gzip, br"),
        ];
        for (method, path, wanted) in cases {
            let request = format!(
                "{method} {} HTTP/1.1\r\nHost: {}\r\nACCEPT-encoding: gzip, br\r\nX-After: 1\r\nContent-Length: 0\r\n\r\n",
                world.path(path),
                world.host()
            );
            client.say(request).await;
            let expected = format!(
                "{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nACCEPT-encoding: {wanted}\r\nX-After: 1\r\nContent-Length: 0\r\n\r\n"
            );
            assert_eq!(server.head().await, expected, "{by:?}");
            server.say("HTTP/1.1 204 No Content\r\n\r\n").await;
            assert_eq!(client.head().await, "HTTP/1.1 204 No Content\r\n\r\n");
        }
    }
}

#[tokio::test]
async fn each_event_passes_before_the_next_is_there() {
    for by in BOTH {
        let world = World::new(by).await;
        let (mut client, mut server) = world.met().await;
        client.say(world.get("/events")).await;
        server.head().await;
        server.say("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        client.head().await;
        for number in 0..100 {
            let event = format!("event: e\ndata: {number}\n\n");
            server
                .say(format!("{:x}\r\n{event}\r\n", event.len()))
                .await;
            assert_eq!(client.chunk().await, event.as_bytes(), "{by:?}");
        }
        server.say("0\r\n\r\n").await;
        assert_eq!(client.chunk().await, b"");
    }
}

#[tokio::test]
async fn ten_thousand_events_in_one_piece_pass() {
    for by in BOTH {
        let world = World::new(by).await;
        let (mut client, mut server) = world.met().await;
        client.say(world.get("/events")).await;
        server.head().await;
        let events: Vec<String> = (0..10_000).map(|n| format!("data: {n}\n\n")).collect();
        let chunks = events.iter().map(|e| format!("{:x}\r\n{e}\r\n", e.len()));
        let piece = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
            chunks.collect::<String>()
        );
        let ((), got) = tokio::join!(server.say(piece), async {
            client.head().await;
            client.chunks().await
        });
        assert!(got == events.concat().as_bytes(), "{by:?}");
    }
}

#[tokio::test]
async fn one_connection_is_one_connection_there() {
    for by in BOTH {
        let world = World::new(by).await;
        let (mut client, mut server) = world.met().await;
        for _ in 0..5 {
            world.small(&mut client, &mut server).await;
        }
        // another client shares nothing with it
        let (_other, _its_server) = world.met().await;
        world.small(&mut client, &mut server).await;
        assert_eq!(world.proxy.heads.lock().unwrap().len(), 2, "{by:?}");
    }
}

#[tokio::test]
async fn an_idle_connection_that_the_server_closed_is_opened_anew() {
    for by in BOTH {
        let world = World::new(by).await;
        let (mut client, mut server) = world.met().await;
        server.stream.shutdown().await.unwrap();
        server.rest().await; // the tap has closed it too
        client.say(world.get("/again")).await;
        let mut server = world.accept().await;
        assert!(server.head().await.starts_with("GET /again "), "{by:?}");
        server.say("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(client.head().await, "HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(world.proxy.heads.lock().unwrap().len(), 2);
    }
}

/// A server may close an idle connection at the very moment of the next request: the client is answered, if only that
/// there is no answer, and nothing is asked twice.
#[tokio::test]
async fn a_request_at_the_moment_of_the_end_is_not_sent_twice() {
    for by in BOTH {
        let world = World::new(by).await;
        for round in 0..100 {
            let (mut client, mut server) = world.met().await;
            let request = world.get(&format!("/v1/once/{round}"));
            // at different moments of the end: before it, in it and after it
            let close = async {
                for _ in 0..round % 10 {
                    tokio::task::yield_now().await;
                }
                server.stream.shutdown().await.unwrap();
            };
            tokio::join!(close, client.say(&request));
            let mut asked = 0;
            let mut again = None;
            tokio::select! {
                head = client.head() => assert!(head.starts_with("HTTP/1.1 502 "), "{head}"),
                mut anew = world.accept() => {
                    assert!(anew.head().await.starts_with(&format!("GET /v1/once/{round} ")));
                    anew.say("HTTP/1.1 204 No Content\r\n\r\n").await;
                    client.head().await;
                    asked += 1;
                    again = Some(anew);
                }
            }
            let rest = String::from_utf8(server.rest().await).unwrap();
            asked += rest.matches("GET /v1/once/").count();
            assert!(asked <= 1, "{by:?}: asked {asked} times");
            drop((client, again));
        }
    }
}

#[tokio::test]
async fn an_end_that_the_server_announces_is_the_clients_too() {
    for by in BOTH {
        let world = World::new(by).await;
        let (mut client, mut server) = world.met().await;
        client.say(world.get("/last")).await;
        server.head().await;
        let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        server.say(answer).await;
        assert_eq!(client.head().await, answer);
        assert_eq!(client.rest().await, b"", "{by:?}");
    }
}

#[tokio::test]
async fn a_client_that_waits_for_continue_is_told_to() {
    for by in BOTH {
        let world = World::new(by).await;
        let mut client = world.client().await;
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
            world.path("/v1/other"),
            world.host()
        );
        client.say(request).await;
        let mut server = world.accept().await;
        assert!(server.head().await.contains("\r\nExpect: 100-continue\r\n"));
        assert_eq!(
            client.head().await,
            "HTTP/1.1 100 Continue\r\n\r\n",
            "{by:?}"
        );
        client.say("abc").await;
        assert_eq!(server.exactly(3).await, b"abc");
        server
            .say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await;
        assert_eq!(
            client.head().await,
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        );
    }
}

#[tokio::test]
async fn a_head_alone_keeps_its_length() {
    for by in BOTH {
        let world = World::new(by).await;
        let (mut client, mut server) = world.met().await;
        let request = world.get("/api/hello").replacen("GET", "HEAD", 1);
        client.say(request).await;
        assert!(server.head().await.starts_with("HEAD /api/hello "));
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n";
        server.say(answer).await;
        assert_eq!(client.head().await, answer, "{by:?}");
        world.small(&mut client, &mut server).await;
    }
}

#[tokio::test]
async fn what_was_upgraded_passes_unread() {
    for by in BOTH {
        let world = World::new(by).await;
        let (mut client, mut server) = world.met().await;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            world.path("/socket"),
            world.host()
        );
        client.say(request).await;
        let came = server.head().await;
        assert!(
            came.ends_with("Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
            "{came}"
        );
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        server.say(answer).await;
        assert_eq!(client.head().await, answer, "{by:?}");
        for _ in 0..3 {
            client.say(b"\x00\xffping").await;
            assert_eq!(server.exactly(6).await, b"\x00\xffping");
            server.say(b"pong\x00").await;
            assert_eq!(client.exactly(5).await, b"pong\x00");
        }
        drop(server);
        assert_eq!(client.rest().await, b"");
    }
}

/// A client that does not read stops the server: what is between them is bounded.
#[tokio::test]
async fn a_slow_client_is_waited_for() {
    const ALL: usize = 200 << 20;
    for by in BOTH {
        let world = World::new(by).await;
        let (mut client, mut server) = world.met().await;
        client.say(world.get("/much")).await;
        server.head().await;
        server
            .say(format!("HTTP/1.1 200 OK\r\nContent-Length: {ALL}\r\n\r\n"))
            .await;
        client.head().await;
        let piece = noise(1 << 20);
        let mut written = 0;
        // the kernel's own buffers fill up, and then nothing is taken for a whole second
        let second = std::time::Duration::from_secs(1);
        while let Ok(taken) = tokio::time::timeout(second, server.stream.write(&piece)).await {
            written += taken.unwrap();
            assert!(written < ALL / 2, "{by:?}: nobody waits for the client");
        }
        // and it goes on when the client reads
        let mut sink = vec![0; 1 << 16];
        let mut read = 0;
        while read < written / 2 {
            read += soon(client.stream.read(&mut sink)).await.unwrap();
        }
        assert!(soon(server.stream.write(&piece)).await.unwrap() > 0);
    }
}
