//! What passes is not kept: an answer of 50 MB costs no more than one of 5 MB. Alone in its process,
//! because it looks at all of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(target_os = "linux")]

#[path = "tap/support.rs"]
#[allow(dead_code)]
mod support;

use clsess_tap::Seen;
use support::{BOTH, Line, World, noise, soon};
use tokio::io::AsyncReadExt;

/// How much more a long answer may cost than a short one: the allocator's own ways, not the answer.
const MORE_KB: u64 = 4 * 1024;

/// The most that this process ever had in memory, in kilobytes.
fn most_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Passes an answer of so many pieces.
async fn pass(world: &World, client: &mut Line, server: &mut Line, piece: &[u8], count: usize) {
    client.say(world.get("/much")).await;
    server.head().await;
    let length = piece.len() * count;
    server
        .say(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
        ))
        .await;
    client.head().await;
    let write = async {
        for _ in 0..count {
            server.say(piece).await;
        }
    };
    let read = async {
        let mut got = vec![0; piece.len()];
        for _ in 0..count {
            soon(client.stream.read_exact(&mut got)).await.unwrap();
            assert!(got == piece);
        }
    };
    tokio::join!(write, read);
}

#[tokio::test]
async fn a_long_answer_costs_no_more_than_a_short_one() {
    for by in BOTH {
        let mut world = World::with_room(by, 64).await;
        let (mut client, mut server) = world.met().await;
        let (_closed, nothing) = tokio::sync::mpsc::channel(1);
        let mut seen = std::mem::replace(&mut world.seen, nothing);
        let looking_on = tokio::spawn(async move {
            let (mut sum, mut longest, mut missed) = (0, 0, 0);
            while let Some(seen) = seen.recv().await {
                match seen {
                    Seen::AnswerBody { bytes, .. } => {
                        sum += bytes.len();
                        longest = longest.max(bytes.len());
                    }
                    Seen::Missed { .. } => missed += 1,
                    _ => {}
                }
            }
            (sum, longest, missed)
        });
        let piece = noise(1 << 20);
        pass(&world, &mut client, &mut server, &piece, 5).await;
        let short = most_kb();
        pass(&world, &mut client, &mut server, &piece, 50).await;
        let more = most_kb() - short;
        drop(world.admitted.take());
        drop(client);
        let (sum, longest, missed) = looking_on.await.unwrap();
        println!(
            "{by:?}: {short} kB, and {more} kB more; {sum} bytes told, at most {longest} at once, {missed} missed"
        );
        assert!(more < MORE_KB, "{by:?}: {more} kB more");
        assert!(longest <= 128 * 1024, "{by:?}: {longest} at once");
        assert!(missed > 0 || sum == (55 << 20) + 2, "{by:?}: {sum} told");
    }
}
