//! The protocol's frames as bytes and back: pure functions, the same for both sides.

use std::ops::RangeInclusive;

use crate::protocol::{
    Exit, Failed, MAX_FRAME, Reason, Refused, Reply, Request, Start, Successor, TooLong, Window,
    kind,
};
use crate::wire::{Reader, Writer};

/// Takes the first frame off a buffer that grows as bytes arrive, without its length: what the `decode` functions
/// take. `None`: more bytes are needed. A frame that is too long stays in the buffer.
pub fn take_frame(buffer: &mut Vec<u8>) -> Result<Option<Vec<u8>>, TooLong> {
    let mut reader = Reader(buffer);
    let Some(length) = reader.u32() else {
        return Ok(None);
    };
    let length = length as usize;
    if length > MAX_FRAME {
        return Err(TooLong(length));
    }
    let Some(frame) = reader.0.get(..length).map(<[u8]>::to_vec) else {
        return Ok(None);
    };
    buffer.drain(..4 + length);
    Ok(Some(frame))
}

/// A request as a whole frame, its length included.
pub fn encode_request(request: &Request) -> Vec<u8> {
    match request {
        Request::Start(start) => Writer::new(kind::START)
            .bytes(&start.program)
            .list(&start.args, |writer, arg| writer.bytes(arg))
            .list(&start.env, write_pair)
            .bytes(&start.cwd)
            .u8(start.stdio)
            .u32(start.umask)
            .u16(start.window.rows)
            .u16(start.window.cols)
            .u16(start.window.width)
            .u16(start.window.height),
        Request::Lend => Writer::new(kind::LEND),
        Request::End { grace_ms, now } => Writer::new(kind::END).u32(*grace_ms).u8(u8::from(*now)),
        Request::Successor(successor) => Writer::new(kind::SUCCESSOR)
            .list(&successor.args, |writer, arg| writer.bytes(arg))
            .list(&successor.env, write_pair),
    }
    .finish()
}

/// A request from a frame without its length.
pub fn decode_request(frame: &[u8]) -> Result<Request, Refused> {
    decode(
        frame,
        |kind, reader| {
            Some(match kind {
                kind::START => Request::Start(Start {
                    program: reader.bytes()?,
                    args: reader.list(Reader::bytes)?,
                    env: reader.list(read_pair)?,
                    cwd: reader.bytes()?,
                    stdio: reader.u8()?,
                    umask: reader.u32()?,
                    window: read_window(reader)?,
                }),
                kind::LEND => Request::Lend,
                kind::END => Request::End {
                    grace_ms: reader.u32()?,
                    now: reader.u8()? & 1 != 0,
                },
                kind::SUCCESSOR => Request::Successor(Successor {
                    args: reader.list(Reader::bytes)?,
                    env: reader.list(read_pair)?,
                }),
                _ => return None,
            })
        },
        kind::START..=kind::SUCCESSOR,
    )
}

/// A reply as a whole frame, its length included.
pub fn encode_reply(reply: &Reply) -> Vec<u8> {
    match reply {
        Reply::Hello { version, pid } => Writer::new(kind::HELLO).u8(*version).u32(*pid),
        Reply::Started { pid, start_time } => Writer::new(kind::STARTED).u32(*pid).u64(*start_time),
        Reply::Failed(failed) => Writer::new(kind::FAILED)
            .u32(failed.errno)
            .bytes(failed.step.as_bytes())
            .bytes(failed.message.as_bytes()),
        Reply::Lent { ends } => Writer::new(kind::LENT).bytes(ends),
        Reply::Exited(exit) => write_exit(Writer::new(kind::EXITED), *exit),
        Reply::Ended { exit, left } => {
            write_exit(Writer::new(kind::ENDED), *exit).u8(u8::from(*left))
        }
        Reply::Refused(refused) => Writer::new(kind::REFUSED)
            .u8(refused.reason.number())
            .u8(refused.kind),
    }
    .finish()
}

/// A reply from a frame without its length.
pub fn decode_reply(frame: &[u8]) -> Result<Reply, Refused> {
    decode(
        frame,
        |kind, reader| {
            Some(match kind {
                kind::HELLO => Reply::Hello {
                    version: reader.u8()?,
                    pid: reader.u32().unwrap_or(0),
                },
                kind::STARTED => Reply::Started {
                    pid: reader.u32()?,
                    start_time: reader.u64()?,
                },
                kind::FAILED => Reply::Failed(Failed {
                    errno: reader.u32()?,
                    step: reader.text()?,
                    message: reader.text()?,
                }),
                kind::LENT => Reply::Lent {
                    ends: reader.bytes()?,
                },
                kind::EXITED => Reply::Exited(read_exit(reader)?),
                kind::ENDED => Reply::Ended {
                    exit: read_exit(reader)?,
                    left: reader.u8()? & 1 != 0,
                },
                kind::REFUSED => Reply::Refused(Refused {
                    reason: Reason::from_number(reader.u8()?),
                    kind: reader.u8()?,
                }),
                _ => return None,
            })
        },
        kind::HELLO..=kind::REFUSED,
    )
}

/// Reads the kind and its fields, and tells a kind that is unknown from one that is too short.
fn decode<T>(
    frame: &[u8],
    fields: impl FnOnce(u8, &mut Reader<'_>) -> Option<T>,
    known: RangeInclusive<u8>,
) -> Result<T, Refused> {
    let mut reader = Reader(frame);
    let kind = reader.u8().ok_or(Refused {
        reason: Reason::Malformed,
        kind: 0,
    })?;
    let reason = if known.contains(&kind) {
        Reason::Malformed
    } else {
        Reason::Unknown
    };
    fields(kind, &mut reader).ok_or(Refused { reason, kind })
}

fn write_pair(writer: Writer, (name, value): &(Vec<u8>, Vec<u8>)) -> Writer {
    writer.bytes(name).bytes(value)
}

fn read_pair(reader: &mut Reader<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    Some((reader.bytes()?, reader.bytes()?))
}

/// Absent in version 2.
fn read_window(reader: &mut Reader<'_>) -> Option<Window> {
    if reader.0.is_empty() {
        return Some(Window::default());
    }
    Some(Window {
        rows: reader.u16()?,
        cols: reader.u16()?,
        width: reader.u16()?,
        height: reader.u16()?,
    })
}

fn write_exit(writer: Writer, exit: Exit) -> Writer {
    match exit {
        Exit::Exited(status) => writer.u8(0).u32(status),
        Exit::Signalled(signal) => writer.u8(1).u32(signal),
        Exit::Unknown => writer.u8(2).u32(0),
    }
}

fn read_exit(reader: &mut Reader<'_>) -> Option<Exit> {
    let (kind, value) = (reader.u8()?, reader.u32()?);
    Some(match kind {
        0 => Exit::Exited(value),
        1 => Exit::Signalled(value),
        _ => Exit::Unknown,
    })
}

impl Reason {
    fn number(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Malformed => 1,
            Self::TooLong => 2,
            Self::NotNow => 3,
            Self::Other(number) => number,
        }
    }

    fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Unknown,
            1 => Self::Malformed,
            2 => Self::TooLong,
            3 => Self::NotNow,
            other => Self::Other(other),
        }
    }
}
