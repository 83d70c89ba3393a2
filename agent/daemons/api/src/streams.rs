//! Blobs on their way to a client: from the disk of this node or from a peer, changing the source when one fails.
//!
//! Nothing is staged: one piece waits while the next is read, so a slow client slows the source down.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use sf_blobs::client::{DataPlane, Peer};
use sf_blobs::read::Replica;
use sf_blobs::token::TokenPurpose;
use sf_blobs::{ByteRange, Store};
use sf_model::BlobId;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::api::Api;
use crate::error::ApiError;

/// Changes of source after bytes have been sent.
const MOST_CHANGES: usize = 3;

type Pieces = BoxStream<'static, Result<Bytes, io::Error>>;

/// Where a blob can be read.
#[derive(Debug, Clone)]
pub enum Source {
    /// On this node.
    Local(Store),
    /// On another node.
    Remote(Peer),
}

/// A blob being read.
pub struct Reading {
    blob: BlobId,
    plane: DataPlane,
    /// Sources not tried yet.
    sources: VecDeque<Source>,
    /// The range that is still to come.
    rest: ByteRange,
    pieces: Pieces,
    changes: usize,
}

impl Reading {
    /// Opens the first source that works. Nothing has been sent to the client before this returns.
    ///
    /// # Errors
    /// 503 when none does.
    pub async fn open(
        plane: DataPlane,
        blob: BlobId,
        sources: Vec<Source>,
        range: ByteRange,
    ) -> Result<Self, ApiError> {
        let pieces = futures::stream::empty().boxed();
        let mut reading = Self { blob, plane, sources: sources.into(), rest: range, pieces, changes: 0 };
        if reading.next_source().await {
            Ok(reading)
        } else {
            Err(ApiError::unavailable("no node with a copy of the blob answers, please retry", 30)
                .code("blob_unavailable"))
        }
    }

    /// Turns to the next source that works. No source is tried twice.
    async fn next_source(&mut self) -> bool {
        while let Some(source) = self.sources.pop_front() {
            match open(&self.plane, self.blob, source, self.rest).await {
                Ok(pieces) => {
                    self.pieces = pieces;
                    return true;
                }
                Err(error) => tracing::info!(blob = %self.blob, %error, "a source of a blob cannot be used"),
            }
        }
        false
    }

    /// The next piece. An error means that the client must see a broken transfer, never a short one.
    async fn next(&mut self) -> Option<Result<Bytes, io::Error>> {
        while self.rest.length > 0 {
            let failure = match self.pieces.next().await {
                Some(Ok(piece)) => {
                    let sent = u64::try_from(piece.len()).unwrap_or(u64::MAX).min(self.rest.length);
                    self.rest.start += sent;
                    self.rest.length -= sent;
                    return Some(Ok(piece));
                }
                Some(Err(error)) => error,
                None => io::Error::from(io::ErrorKind::UnexpectedEof),
            };
            metrics::counter!("api_stream_source_failures_total").increment(1);
            self.changes += 1;
            if self.changes > MOST_CHANGES || !self.next_source().await {
                self.rest.length = 0;
                return Some(Err(failure));
            }
        }
        None
    }
}

async fn open(plane: &DataPlane, blob: BlobId, source: Source, range: ByteRange) -> io::Result<Pieces> {
    match source {
        Source::Local(store) => {
            let replica = Replica::open(&store, blob).await.map_err(io::Error::other)?;
            if replica.size() < range.start.saturating_add(range.length) {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            Ok(replica.stream(range).map_err(io::Error::other).boxed())
        }
        Source::Remote(peer) => {
            let remote =
                plane.read_blob(peer, blob, range, TokenPurpose::Read).await.map_err(io::Error::other)?;
            Ok(remote.bytes.map_err(io::Error::other).boxed())
        }
    }
}

/// A place among the streams of this node.
///
/// # Errors
/// 503 when all are taken; nobody queues.
pub fn admit(api: &Api) -> Result<OwnedSemaphorePermit, ApiError> {
    let full = || ApiError::unavailable("too many transfers are running", 1);
    api.streams.clone().try_acquire_owned().map_err(|_| full())
}

/// The body of an answer that sends a blob. It is cut when the client takes nothing for `idle`.
pub fn body(mut reading: Reading, idle: Duration, place: OwnedSemaphorePermit) -> Body {
    let (sender, receiver) = mpsc::channel::<Part>(1);
    tokio::spawn(async move {
        let _place = place;
        loop {
            let part = match reading.next().await {
                Some(Ok(piece)) => Part::Piece(piece),
                None => Part::End,
                // Hanging up without an end makes the body fail.
                Some(Err(_)) => return,
            };
            let ended = matches!(part, Part::End);
            match tokio::time::timeout(idle, sender.send(part)).await {
                Ok(Ok(())) if !ended => {}
                Ok(_) => return,
                Err(_) => {
                    tracing::info!(blob = %reading.blob, "a client took nothing for too long");
                    return;
                }
            }
        }
    });
    Body::from_stream(received(receiver))
}

/// What the reader hands to the body. Without the end mark a body that was cut would look complete.
enum Part {
    Piece(Bytes),
    End,
}

fn received(receiver: mpsc::Receiver<Part>) -> impl Stream<Item = Result<Bytes, io::Error>> {
    futures::stream::unfold(Some(receiver), |state| async move {
        let mut receiver = state?;
        match receiver.recv().await {
            Some(Part::Piece(piece)) => Some((Ok(piece), Some(receiver))),
            Some(Part::End) => None,
            None => Some((Err(io::Error::from(io::ErrorKind::UnexpectedEof)), None)),
        }
    })
}
