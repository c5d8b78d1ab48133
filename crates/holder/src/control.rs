//! The holder's end of the control socket: frames in, frames out, and bounds for both.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use crate::descriptors::send_with_fds;
use crate::protocol::{self, Reason, Refused, Reply, Request, TooLong};

/// How much is read at a time: a page, because the holder's stack counts for every session.
const CHUNK: usize = 4096;

/// What became of a reply.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Whole,
    /// The broker has gone. What it has said last is still to be read, and behind it that it has gone.
    ToNobody,
    /// The socket is full. Replies are small and few, so that is a broker which hangs, and the holder must not hang
    /// with it.
    Stuck,
}

/// The connection to the broker; its socket does not block.
pub(crate) struct Control {
    socket: UnixStream,
    /// The bytes of the frame that has not arrived whole; at most the longest frame, its length and a chunk.
    pending: Vec<u8>,
    /// How many bytes are still to come of a frame that was too long to be kept.
    dropping: usize,
}

impl Control {
    pub(crate) fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            pending: Vec::new(),
            dropping: 0,
        }
    }

    /// Reads what is there, one chunk of it, so that a broker that never stops cannot keep the holder from its
    /// children. False when the broker has gone.
    pub(crate) fn receive(&mut self) -> bool {
        let mut chunk = [0; CHUNK];
        match self.socket.read(&mut chunk) {
            Ok(0) => false,
            Ok(count) => {
                let dropped = self.dropping.min(count);
                self.dropping -= dropped;
                self.pending.extend_from_slice(&chunk[dropped..count]);
                true
            }
            Err(error) => matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ),
        }
    }

    /// The next request that has arrived whole, or why it is refused.
    pub(crate) fn next(&mut self) -> Option<Result<Request, Refused>> {
        match protocol::take_frame(&mut self.pending) {
            Ok(Some(frame)) => Some(protocol::decode_request(&frame)),
            Ok(None) => {
                if self.pending.is_empty() {
                    self.pending = Vec::new(); // an environment's worth of memory would stay for the session's life
                }
                None
            }
            Err(TooLong(length)) => {
                let whole = length.saturating_add(4);
                let dropped = self.pending.len().min(whole);
                self.dropping = whole - dropped;
                self.pending.drain(..dropped);
                Some(Err(Refused {
                    reason: Reason::TooLong,
                    kind: 0,
                }))
            }
        }
    }

    /// Sends a reply.
    pub(crate) fn send(&mut self, reply: &Reply, fds: &[BorrowedFd<'_>]) -> Sent {
        let frame = protocol::encode_reply(reply);
        match send_with_fds(&self.socket, &frame, fds) {
            Ok(sent) if sent == frame.len() => Sent::Whole,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Sent::ToNobody,
            _ => Sent::Stuck,
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
