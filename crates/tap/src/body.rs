//! Bodies on their way: handed on as they come, and told.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::exchange::{Ending, Exchange};
use crate::seen::{How, Side};

/// What the tap answers its clients with.
pub(crate) type AnswerBody = UnsyncBoxBody<Bytes, hyper::Error>;

/// A request's body on its way to the upstream.
pub(crate) struct RequestBody {
    inner: Incoming,
    exchange: Arc<Exchange>,
    ended: bool,
}

impl RequestBody {
    pub(crate) fn new(inner: Incoming, exchange: Arc<Exchange>) -> Self {
        let mut body = Self {
            inner,
            exchange,
            ended: false,
        };
        body.note_end();
        body
    }

    /// hyper need not ask again once a body says that it is at its end.
    fn note_end(&mut self) {
        if !self.ended && self.inner.is_end_stream() {
            self.ended = true;
            self.exchange.request_end();
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(bytes) = frame.data_ref() {
                    self.exchange.request_body(bytes);
                }
                self.note_end();
            }
            Some(Err(error)) => self.exchange.blame(Side::Client, &error.to_string()),
            None if !self.ended => {
                self.ended = true;
                self.exchange.request_end();
            }
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer's body on its way to the client. An error of it makes hyper break off the client's
/// connection, so nobody takes half an answer for a whole one.
pub(crate) struct PassingAnswer {
    inner: Incoming,
    ending: Ending,
}

impl PassingAnswer {
    pub(crate) fn new(inner: Incoming, ending: Ending) -> Self {
        let body = Self { inner, ending };
        body.note_end();
        body
    }

    fn note_end(&self) {
        if self.inner.is_end_stream() {
            self.ending.0.end(How::Complete);
        }
    }
}

impl Body for PassingAnswer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(bytes) = frame.data_ref() {
                    self.ending.0.answer_body(bytes);
                }
                self.note_end();
            }
            Some(Err(error)) => self.ending.0.cut(Side::Upstream, &error.to_string()),
            None => self.ending.0.end(How::Complete),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
