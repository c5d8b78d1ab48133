//! Frames: a big-endian `u32` length, then that many bytes of MessagePack.
//!
//! One frame holds one map with named fields. Unknown fields and unknown
//! variants are tolerated (a newer peer may know more); bytes behind the map
//! are not (they mean that the two sides disagree about what a frame is).

use std::io::{self, Read};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Longest frame without its length, in bytes; a longer one closes the
/// connection, because what follows cannot be told from rubbish. It has room for
/// the longest prompt or for the longest answer together with all of its texts.
pub const MAX_FRAME: usize = 48 * 1024 * 1024;

/// Bytes of the length in front of each frame.
pub const LENGTH_BYTES: usize = 4;

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The frame is longer than [`MAX_FRAME`].
    #[error("a frame of {0} bytes; at most {MAX_FRAME} are allowed")]
    TooLong(usize),
    /// Not MessagePack, or not the map that was expected.
    #[error("not a valid message: {0}")]
    Invalid(String),
    /// A valid map with something behind it.
    #[error("{0} bytes behind the message")]
    Trailing(usize),
    /// The value cannot be written as MessagePack.
    #[error("cannot encode: {0}")]
    Encode(String),
}

/// The MessagePack of `message`, without its length.
///
/// # Errors
/// [`FrameError::TooLong`] when the other side would refuse it.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let bytes = rmp_serde::to_vec_named(message).map_err(|e| FrameError::Encode(e.to_string()))?;
    if bytes.len() > MAX_FRAME {
        return Err(FrameError::TooLong(bytes.len()));
    }
    Ok(bytes)
}

/// The message in `bytes`, which are one frame without its length.
///
/// # Errors
/// [`FrameError`] when they are not exactly one message.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    let mut rest = bytes;
    let mut reader = rmp_serde::Deserializer::new(&mut rest);
    reader.set_max_depth(MAX_DEPTH);
    let message = T::deserialize(&mut reader).map_err(|e| FrameError::Invalid(e.to_string()))?;
    match rest.len() {
        0 => Ok(message),
        trailing => Err(FrameError::Trailing(trailing)),
    }
}

/// As [`decode`], to the letter of the protocol: for what comes from programs that we
/// did not write. Serde by itself would also take an array for a map, by position, and
/// a number for the name of a request; and it would not take nil for a field that can
/// be left out.
///
/// # Errors
/// As [`decode`].
pub fn decode_strict<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    let mut rest = bytes;
    // rmpv's own reader would take 0xc1, which is no MessagePack, for nil
    let mut reader = rmp_serde::Deserializer::new(&mut rest);
    reader.set_max_depth(MAX_STRICT_DEPTH);
    let value =
        rmpv::Value::deserialize(&mut reader).map_err(|e| FrameError::Invalid(e.to_string()))?;
    if !rest.is_empty() {
        return Err(FrameError::Trailing(rest.len()));
    }
    let value = formal(value)?;
    rmpv::ext::from_value(value).map_err(|e| FrameError::Invalid(e.to_string()))
}

/// How deep maps and arrays may lie in each other. An event has the input of a tool, which as
/// JSON is 127 deep at most; a thread of 2 MiB has room for this much, and not for rmp's 1024.
const MAX_DEPTH: usize = 256;

/// The same for what has no such input.
const MAX_STRICT_DEPTH: usize = 64;

/// The fields by which a map says what it is.
const TAGS: [&str; 2] = ["type", "op"];

/// A map with names as keys, nils left out, and tags that are names; the same for the
/// map of a request in it.
fn formal(value: rmpv::Value) -> Result<rmpv::Value, FrameError> {
    use rmpv::Value;
    let invalid = |why: &str| Err(FrameError::Invalid(why.to_owned()));
    let Value::Map(fields) = value else {
        return invalid("not a map");
    };
    let mut kept = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        let Some(text) = name.as_str() else {
            return invalid("a key that is no string");
        };
        if TAGS.contains(&text) && !value.is_str() {
            return invalid("a tag that is no string");
        }
        if value.is_nil() {
            continue;
        }
        let value = match text {
            "request" | "settings" => formal(value)?,
            _ => value,
        };
        kept.push((name, value));
    }
    Ok(Value::Map(kept))
}

/// `message` as it goes onto the socket: length and MessagePack.
///
/// # Errors
/// As [`encode`].
pub fn to_wire<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let body = encode(message)?;
    let length = u32::try_from(body.len()).map_err(|_| FrameError::TooLong(body.len()))?;
    let mut wire = Vec::with_capacity(LENGTH_BYTES + body.len());
    wire.extend_from_slice(&length.to_be_bytes());
    wire.extend_from_slice(&body);
    Ok(wire)
}

/// Reads one frame from a blocking reader; `None` at a clean end.
///
/// # Errors
/// Of the reader, `UnexpectedEof` inside a frame, and `InvalidData` for a frame
/// that is too long.
pub fn read<R: Read>(reader: &mut R) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; LENGTH_BYTES];
    if !read_or_end(reader, &mut length)? {
        return Ok(None);
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_FRAME {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            FrameError::TooLong(length),
        ));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(body))
}

/// Fills `buffer`; false when the reader ended before the first byte.
fn read_or_end<R: Read>(reader: &mut R, buffer: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}
