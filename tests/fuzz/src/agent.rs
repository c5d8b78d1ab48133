//! What the agent prints, and what its provider sends.

use std::path::Path;
use std::sync::LazyLock;

use clsess_claude::record::{answer_of, trusted};
use clsess_claude::sse::{self, MAX_EVENT, Parser, SseEvent};
use clsess_claude::stream::{Line, parse};
use uuid::Uuid;

use crate::split::Pieces;
use crate::splitter::Lines;
use crate::watched::Watched;

/// The lines of [`tracker`]: each kind of line that the real client was seen to print.
pub const POOL: &str = include_str!("../pool.ndjson");

static LINES: LazyLock<Vec<Line>> = LazyLock::new(|| {
    let lines = POOL.lines().map(|line| parse(line.as_bytes()));
    lines.filter_map(Result::ok).collect()
});

/// The uuids of the recordings' user lines.
fn user(number: u8) -> Uuid {
    Uuid::from_u128((u128::from(number) << 96) | 0x4000_8000_0000_0000_0000)
}

/// What the client prints, line by line, through parser and tracker; `+1` begins turn 1, and `-`
/// is the end of the client. The readers of what it keeps on disk get the same.
pub fn stream(data: &[u8]) {
    let mut watched = Watched::default();
    for line in data.split(|b| *b == b'\n') {
        match line {
            [b'+', number] => watched.begin(user(number % 16)),
            [b'-'] => drop(watched.gone_with_results()),
            line => {
                if let Ok(line) = parse(line) {
                    watched.line(line);
                }
            }
        }
    }
    watched.gone_with_results();
    let _ = answer_of(data, user(1));
    let _ = trusted(data, Path::new("/a/b"), None);
}

/// Real lines in any order: a byte is a line of [`POOL`], from 224 on it begins a turn, and 255 is
/// the end of the client.
pub fn tracker(data: &[u8]) {
    let mut watched = Watched::default();
    for step in data {
        match step {
            255 => drop(watched.gone_with_results()),
            224.. => watched.begin(user(step - 223)),
            at => {
                if let Some(line) = LINES.get(usize::from(*at)) {
                    watched.line(line.clone());
                }
            }
        }
    }
    watched.gone_with_results();
}

/// The broker's splitter of lines finds the same lines however they arrive.
pub fn lines(data: &[u8]) {
    let (pieces, whole) = Pieces::of(data);
    let mut lines = Lines::default();
    let mut found = Vec::new();
    for piece in pieces {
        lines.feed(piece);
        while let Some(line) = lines.next() {
            found.push(line.to_vec());
        }
        assert!(!lines.too_long());
    }
    let mut expected: Vec<_> = whole.split(|b| *b == b'\n').collect();
    expected.pop(); // what has not ended
    assert_eq!(found, expected);
}

/// The parser of the provider's events finds the same events however they arrive, and keeps no
/// more than its limit, which is the first byte (from 128 on it is the usual one).
pub fn sse(data: &[u8]) {
    let (limit, data) = data.split_first().unwrap_or((&255, data));
    let limit = match limit {
        0..128 => usize::from(*limit),
        _ => MAX_EVENT,
    };
    let (pieces, whole) = Pieces::of(data);
    let by_piece = events(pieces, limit);
    assert_eq!(by_piece, events([whole], limit));
    for event in &by_piece.0 {
        // invalid bytes become longer
        assert!(event.name.len() + event.data.len() <= limit.saturating_mul(3));
        let _ = sse::read(event);
    }
}

type Events = (Vec<SseEvent>, u64, usize, bool);

fn events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limit: usize) -> Events {
    let mut parser = Parser::with_limit(limit);
    let mut found = Vec::new();
    for piece in pieces {
        parser.feed(piece, &mut found);
        assert!(parser.kept() <= limit);
    }
    (found, parser.skipped(), parser.kept(), parser.end())
}
