//! A connection whose client may send descriptors with its frames.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use clsess_holder::descriptors::recv_with_fds;
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;

/// Descriptors of one client that wait for their requests; with more the oldest are closed.
const MOST: usize = 4;

/// What a client has sent of them, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Descriptors(Arc<Mutex<VecDeque<OwnedFd>>>);

impl Descriptors {
    /// The oldest one.
    #[must_use]
    pub fn take(&self) -> Option<OwnedFd> {
        self.queue(VecDeque::pop_front)
    }

    fn add(&self, come: Vec<OwnedFd>) {
        self.queue(|queue| {
            queue.extend(come);
            let excess = queue.len().saturating_sub(MOST);
            queue.drain(..excess);
        });
    }

    fn queue<T>(&self, with: impl FnOnce(&mut VecDeque<OwnedFd>) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The half of a connection that is read.
#[derive(Debug)]
pub struct WithDescriptors {
    half: OwnedReadHalf,
    descriptors: Descriptors,
}

impl WithDescriptors {
    /// Keeps those that come with the bytes.
    #[must_use]
    pub fn new(half: OwnedReadHalf) -> Self {
        Self {
            half,
            descriptors: Descriptors::default(),
        }
    }

    /// They.
    #[must_use]
    pub fn descriptors(&self) -> Descriptors {
        self.descriptors.clone()
    }
}

impl AsyncRead for WithDescriptors {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream: &UnixStream = self.half.as_ref();
        loop {
            ready!(stream.poll_read_ready(context))?;
            let space = buffer.initialize_unfilled();
            let receive = || recv_with_fds(stream, space);
            match stream.try_io(Interest::READABLE, receive) {
                Ok((n, come)) => {
                    buffer.advance(n);
                    if !come.is_empty() {
                        self.descriptors.add(come);
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}
