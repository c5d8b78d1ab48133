//! What is told: in order, to the end, without secrets; and what is missed passes all the same.

use clsess_tap::{How, Seen};

use crate::support::{BOTH, World, noise};

/// One line for each thing that was told, bodies put together.
fn lines(told: Vec<Seen>) -> Vec<String> {
    let mut lines: Vec<(String, usize)> = Vec::new();
    for seen in told {
        let (line, count) = match seen {
            Seen::Request {
                exchange,
                method,
                path_and_query,
                ..
            } => (format!("{exchange} {method} {path_and_query}"), 0),
            Seen::RequestBody { exchange, bytes } => (format!("{exchange} asks"), bytes.len()),
            Seen::RequestEnd { exchange } => (format!("{exchange} asked"), 0),
            Seen::Answer {
                exchange, status, ..
            } => (format!("{exchange} is {status}"), 0),
            Seen::AnswerBody { exchange, bytes } => (format!("{exchange} says"), bytes.len()),
            Seen::End { exchange, how } => (format!("{exchange} ends {how:?}"), 0),
            Seen::Missed { exchange } => (format!("{exchange} missed"), 0),
        };
        match lines.last_mut() {
            Some((last, sum)) if *last == line => *sum += count,
            _ => lines.push((line, count)),
        }
    }
    let line = |(line, sum)| {
        if sum > 0 {
            format!("{line} {sum}")
        } else {
            line
        }
    };
    lines.into_iter().map(line).collect()
}

#[tokio::test]
async fn everything_is_told_in_order() {
    for by in BOTH {
        let mut world = World::new(by).await;
        let (mut client, mut server) = world.met().await;
        let body = noise(150_000);
        let request = world.get("/v1/other?a=b").replacen("GET", "POST", 1);
        let length = format!("\r\nContent-Length: {}\r\n\r\n", body.len());
        client.say(request.replace("\r\n\r\n", &length)).await;
        tokio::join!(client.say(&body), async {
            server.head().await;
            server.exactly(body.len()).await;
        });
        server
            .say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        client.head().await;
        server.say("5\r\nhello\r\n").await;
        client.chunk().await;
        server.say("6\r\n world\r\n0\r\n\r\n").await;
        client.chunks().await;
        world.small(&mut client, &mut server).await;
        let told = lines(world.told(3).await);
        let wanted = [
            "1 GET /small",
            "1 asked",
            "1 is 200",
            "1 says 2",
            "1 ends Complete",
            "2 POST /v1/other?a=b",
            "2 asks 150000",
            "2 asked",
            "2 is 200",
            "2 says 11",
            "2 ends Complete",
            "3 GET /small",
            "3 asked",
            "3 is 200",
            "3 says 2",
            "3 ends Complete",
        ];
        assert_eq!(told, wanted, "{by:?}");
    }
}

#[tokio::test]
async fn bodies_are_told_byte_for_byte_and_secrets_are_not() {
    for by in BOTH {
        let mut world = World::new(by).await;
        let (mut client, mut server) = world.met().await;
        let secrets = "Authorization: Bearer s3cret\r\nX-Api-Key: s3cret\r\nCookie: a=s3cret\r\nX-Kept: 1\r\n";
        let request = world
            .get("/v1/other")
            .replace("\r\n\r\n", &format!("\r\n{secrets}\r\n"));
        client.say(request).await;
        assert!(server.head().await.contains(secrets));
        let body = noise(100_000);
        let head = format!(
            "HTTP/1.1 200 OK\r\nSet-Cookie: a=s3cret\r\nX-Kept: 2\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        server.say(&head).await;
        tokio::join!(server.say(&body), async {
            assert_eq!(client.head().await, head);
            assert!(client.exactly(body.len()).await == body);
        });
        let told = world.told(2).await;
        let mut came = Vec::new();
        let mut kept = Vec::new();
        for seen in &told {
            assert!(!format!("{seen:?}").contains("s3cret"), "{seen:?}");
            assert!(
                !format!("{seen:?}").contains(world.secret.text()),
                "{seen:?}"
            );
            match seen {
                Seen::Request { headers, .. } | Seen::Answer { headers, .. } => {
                    kept.extend(
                        headers
                            .get("x-kept")
                            .map(|v| v.to_str().unwrap().to_owned()),
                    );
                }
                Seen::AnswerBody { exchange: 2, bytes } => {
                    assert!(bytes.len() <= 64 * 1024);
                    came.extend_from_slice(bytes);
                }
                _ => {}
            }
        }
        assert!(came == body, "{by:?}");
        assert_eq!(kept, ["1", "2"]);
    }
}

#[tokio::test]
async fn what_there_is_no_room_for_passes_all_the_same() {
    for by in BOTH {
        let mut world = World::with_room(by, 8).await;
        let mut client = world.client().await;
        client.say(world.get("/events")).await;
        let mut server = world.accept().await;
        server.head().await;
        server
            .say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        client.head().await;
        for number in 0..100 {
            server.say(format!("3\r\n{number:03}\r\n")).await;
            assert_eq!(client.chunk().await, format!("{number:03}").as_bytes());
        }
        server.say("0\r\n\r\n").await;
        client.chunks().await;
        // there is no room for a word of these two
        for _ in 0..2 {
            world.small(&mut client, &mut server).await;
        }
        let told = lines(world.told(1).await);
        assert_eq!(
            told,
            [
                "1 GET /events",
                "1 asked",
                "1 is 200",
                "1 says 12",
                "1 missed"
            ],
            "{by:?}"
        );
        world.small(&mut client, &mut server).await;
        let told = lines(world.told(4).await);
        assert_eq!(
            told.first().unwrap(),
            "4 GET /small",
            "the gap is told by the number"
        );
        assert_eq!(told.last().unwrap(), "4 ends Complete");
    }
}

#[tokio::test]
async fn nobody_who_looks_on_is_needed() {
    for by in BOTH {
        let mut world = World::new(by).await;
        let (mut client, mut server) = world.met().await;
        let old = world.admitted.take();
        world.admit(&world.vars()); // the receiver of the first pass is gone
        world.small(&mut client, &mut server).await;
        drop(old);
        client.rest().await;
        world.met().await;
        let last = world.told(1).await.pop();
        assert!(
            matches!(
                last,
                Some(Seen::End {
                    how: How::Complete,
                    ..
                })
            ),
            "{last:?}"
        );
    }
}
