//! The bytes of a blob, from one source or several, into the staging directory: streamed, hashed on the way, resumed
//! where the last connection ended.

use std::time::Duration;

use futures::StreamExt;
use http::StatusCode;
use sf_blobs::client::{DataPlane, Peer, PeerError};
use sf_blobs::commit::Staged;
use sf_blobs::intake::Intake;
use sf_blobs::journal::Journal;
use sf_blobs::pipeline::Ingested;
use sf_blobs::token::TokenPurpose;
use sf_blobs::{Algorithm, ByteRange, Store};
use sf_images::fetch::Observer;
use sf_model::{BlobId, NodeId};
use tokio_util::sync::CancellationToken;

use crate::error::{WorkError, blocking};
use crate::leases::Underway;
use crate::local::observer::Progress;
use crate::streaming::Active;

/// Waits between the attempts at one source; their number is that of the retries.
pub(super) const RETRY_DELAYS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// Sources tried for one copy.
const MOST_SOURCES: usize = 3;
/// Wait for a source whose streams are all in use, when it does not say how long.
const BUSY: Duration = Duration::from_secs(1);

/// Least wait for a busy source.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

/// What to copy from where.
pub(super) struct Order {
    pub(super) blob: BlobId,
    pub(super) size: u64,
    /// The hash that proves it.
    pub(super) proof: (Algorithm, String),
    /// Best first.
    pub(super) peers: Vec<Peer>,
    pub(super) delays: Vec<Duration>,
}

/// Why there is no copy, and who gave bytes that were not the blob's.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: WorkError,
    pub(super) suspects: Vec<NodeId>,
}

/// Why one source did not give everything.
enum Interrupted {
    /// All its streams are in use; it does not count as a failure.
    Busy(Duration),
    /// Another attempt may help.
    Broken(String),
    /// This source cannot help.
    Useless(String),
    /// Its copy is not the blob.
    Wrong(String),
    /// It is not the source's fault.
    Own(WorkError),
}

/// What a copy goes through, and who hears of it.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    pub(super) store: &'a Store,
    pub(super) plane: &'a DataPlane,
    pub(super) underway: &'a Underway,
    pub(super) progress: &'a Progress,
    pub(super) cancel: &'a CancellationToken,
}

/// One copy under way.
pub(super) struct Copying<'a> {
    means: Means<'a>,
    order: &'a Order,
    /// Who gave bytes to the present partial.
    givers: Vec<NodeId>,
    suspects: Vec<NodeId>,
}

impl<'a> Copying<'a> {
    pub(super) fn new(means: Means<'a>, order: &'a Order) -> Self {
        Self { means, order, givers: Vec::new(), suspects: Vec::new() }
    }

    /// Tries the sources in order until the bytes are here and proven. What came is kept for a later attempt, unless it
    /// was wrong.
    pub(super) async fn run(&mut self, journal: Journal) -> Result<(Staged, Ingested), Failure> {
        match self.try_sources(journal).await {
            Ok(copy) => Ok(copy),
            Err(error) => Err(Failure { error, suspects: std::mem::take(&mut self.suspects) }),
        }
    }

    async fn try_sources(&mut self, journal: Journal) -> Result<(Staged, Ingested), WorkError> {
        let (algorithm, expected) = self.order.proof.clone();
        let mut intake = Intake::new(self.means.store, journal);
        intake.take_up(&[algorithm]).await?;
        // Nobody is blamed for bytes of an earlier life: who gave them is forgotten.
        let mut blame = intake.size().is_none();
        let mut last = "no node that can be reached has a copy".to_owned();
        for peer in self.order.peers.iter().take(MOST_SOURCES) {
            match self.take_from(*peer, &mut intake).await {
                Ok(()) => {}
                Err(Interrupted::Own(error)) => return Err(error),
                Err(Interrupted::Wrong(cause)) => {
                    self.suspects.push(peer.node);
                    last = cause;
                    continue;
                }
                Err(Interrupted::Busy(_)) => continue,
                Err(Interrupted::Broken(cause) | Interrupted::Useless(cause)) => {
                    tracing::info!(blob = %self.order.blob, node = %peer.node, cause, "a source gave up");
                    last = cause;
                    continue;
                }
            }
            let (staged, ingested) = intake.finish().await?;
            let found = ingested.digests.get(&algorithm);
            if found == Some(&expected) && ingested.size == self.order.size {
                return Ok((staged, ingested));
            }
            blocking(move || staged.discard()).await?;
            metrics::counter!("transfer_mismatch_total").increment(1);
            last = format!("the bytes from node {} are not those of the blob", peer.node);
            tracing::warn!(blob = %self.order.blob, node = %peer.node, "a copy had the wrong hash and was dropped");
            let givers = std::mem::take(&mut self.givers);
            if blame {
                self.suspects.extend(givers);
            }
            blame = true;
        }
        let message = format!("blob {} could not be copied: {last}", self.order.blob);
        // Wrong bytes do not get better by asking again.
        Err(if self.suspects.is_empty() {
            WorkError::Unavailable(message)
        } else {
            WorkError::Failed(message)
        })
    }

    /// Everything that is missing from one source, over as many connections as its attempts allow.
    async fn take_from(&mut self, peer: Peer, intake: &mut Intake) -> Result<(), Interrupted> {
        let mut delays = self.order.delays.iter();
        loop {
            let delay = match self.stream(peer, intake).await {
                Err(Interrupted::Busy(delay)) => delay,
                Err(Interrupted::Broken(cause)) => match delays.next() {
                    Some(delay) => *delay,
                    None => return Err(Interrupted::Broken(cause)),
                },
                ended => return ended,
            };
            if tokio::time::timeout(delay, self.means.cancel.cancelled()).await.is_ok() {
                return Err(stopped());
            }
        }
    }

    /// One connection.
    async fn stream(&mut self, peer: Peer, intake: &mut Intake) -> Result<(), Interrupted> {
        let size = self.order.size;
        if intake.size().is_none() {
            intake.begin(&[self.order.proof.0]).await.map_err(own)?;
        }
        let start = intake.size().unwrap_or(0);
        let rest = ByteRange { start, length: size.saturating_sub(start) };
        if rest.length == 0 {
            return Ok(());
        }
        self.means.underway.now_from(peer.node);
        let remote = self
            .means
            .plane
            .read_blob(peer, self.order.blob, rest, TokenPurpose::Pull)
            .await
            .map_err(judge)?;
        if remote.size != size {
            let cause = format!("node {} has {} bytes where the blob has {size}", peer.node, remote.size);
            return Err(Interrupted::Wrong(cause));
        }
        if !self.givers.contains(&peer.node) {
            self.givers.push(peer.node);
        }
        let _active = Active::new("in", "pull");
        let mut bytes = remote.bytes;
        loop {
            let piece = tokio::select! {
                biased;
                () = self.means.cancel.cancelled() => return Err(stopped()),
                piece = bytes.next() => piece,
            };
            let at = intake.size().unwrap_or(0);
            match piece {
                Some(Ok(piece)) => {
                    intake.write(&piece).await.map_err(own)?;
                    let at = at + piece.len() as u64;
                    metrics::counter!("transfer_bytes_total", "direction" => "in", "purpose" => "pull")
                        .increment(piece.len() as u64);
                    self.means.underway.at(at);
                    self.means.progress.progress(at, Some(size));
                }
                Some(Err(error)) => return Err(Interrupted::Broken(error.to_string())),
                None if at == size => return Ok(()),
                None => return Err(Interrupted::Broken(format!("the stream ended at byte {at} of {size}"))),
            }
        }
    }
}

fn stopped() -> Interrupted {
    Interrupted::Own(WorkError::Unavailable("stopped before the copy was complete".to_owned()))
}

fn own(error: sf_blobs::StoreError) -> Interrupted {
    Interrupted::Own(error.into())
}

/// What the answer of a source means for the copy.
fn judge(error: PeerError) -> Interrupted {
    let cause = error.to_string();
    match error {
        PeerError::Refused { status: StatusCode::TOO_MANY_REQUESTS, retry_after, .. } => {
            Interrupted::Busy(retry_after.map_or(BUSY, Duration::from_secs).max(LEAST_PAUSE))
        }
        PeerError::Refused { status, .. } if !status.is_server_error() => Interrupted::Useless(cause),
        PeerError::NoKey => Interrupted::Own(WorkError::Unavailable(cause)),
        _ => Interrupted::Broken(cause),
    }
}
