//! What clients and holders write to the broker's sockets, and the broker to them.

use std::fmt::Debug;

use clsess_holder::protocol::{
    Refused, decode_reply, decode_request, encode_reply, encode_request, take_frame,
};
use clsess_proto::frame::{self, FrameError, MAX_FRAME};
use clsess_proto::{ToBroker, ToClient};
use serde::Serialize;

use crate::split::Pieces;

/// The frames of a client's connection, until one cannot be read, as [`frame::read`] takes them off
/// it; and the whole input as the inside of a frame.
pub fn frames(data: &[u8]) {
    inside(data);
    let mut rest = data;
    while let Ok(Some(frame)) = frame::read(&mut rest) {
        assert!(frame.len() <= MAX_FRAME.min(data.len()));
        inside(&frame);
    }
}

fn inside(frame: &[u8]) {
    if let Ok(message) = frame::decode::<ToClient>(frame) {
        there_and_back(&message, frame::decode);
    }
    let loose = frame::decode::<ToBroker>(frame).ok();
    let loose = loose.map(|it| there_and_back(&it, frame::decode));
    let Ok(strict) = frame::decode_strict::<ToBroker>(frame) else {
        return;
    };
    let strict = there_and_back(&strict, frame::decode_strict);
    match loose {
        Some(loose) => assert_eq!(loose, strict, "read in two ways"),
        // the one thing that only the strict one takes: a nil where a field can be left out
        None => assert!(frame.contains(&NIL), "only the strict reader takes it"),
    }
}

const NIL: u8 = 0xc0;

/// What was written is read, and it is the same when it is written again. As bytes: two that are
/// not numbers are not equal.
fn there_and_back<T: Serialize + Debug>(
    message: &T,
    decode: fn(&[u8]) -> Result<T, FrameError>,
) -> Vec<u8> {
    let written = must(frame::encode(message), message);
    let again = must(decode(&written), message);
    assert_eq!(must(frame::encode(&again), message), written);
    written
}

#[allow(clippy::panic, reason = "that is how a target fails")]
fn must<T, E: Debug>(result: Result<T, E>, of: &impl Debug) -> T {
    result.unwrap_or_else(|error| panic!("{error:?} of {of:?}"))
}

/// A connection between broker and holder: frames come off it however it is cut, and what can be
/// read comes back when it is written.
pub fn holder(data: &[u8]) {
    let (pieces, whole) = Pieces::of(data);
    let by_piece = taken(pieces);
    assert_eq!(by_piece, taken([whole]));
    for frame in by_piece.0.iter().map(Vec::as_slice).chain([data]) {
        again(frame, decode_request, encode_request);
        again(frame, decode_reply, encode_reply);
    }
}

/// The frames, and whether one that is too long came behind them.
fn taken<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, bool) {
    let (mut buffer, mut frames) = (Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match take_frame(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
    }
    (frames, false)
}

fn again<T: PartialEq + Debug>(
    frame: &[u8],
    decode: fn(&[u8]) -> Result<T, Refused>,
    encode: fn(&T) -> Vec<u8>,
) {
    let Ok(value) = decode(frame) else { return };
    let mut wire = encode(&value);
    let written = must(take_frame(&mut wire), &value).unwrap_or_default();
    assert!(wire.is_empty());
    assert_eq!(decode(&written).as_ref(), Ok(&value));
}
