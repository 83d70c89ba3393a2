//! A body that knows whether it was written to the connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use sf_blobs::uploads::Receipt;

/// A small body without an announced length. The server asks for more only after it has tried to write what it has, so
/// being asked again after a pause means that the bytes have left; a broken connection drops the body instead.
pub(super) struct Delivered {
    bytes: Option<Bytes>,
    paused: bool,
    receipt: Receipt,
}

impl Delivered {
    pub(super) fn new(bytes: impl Into<Bytes>, receipt: Receipt) -> Self {
        Self { bytes: Some(bytes.into()), paused: false, receipt }
    }
}

impl Body for Delivered {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(bytes) = self.bytes.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if !self.paused {
            self.paused = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.receipt.delivered();
        Poll::Ready(None)
    }
}
