//! The last steps of every producer: rename, `CommitBlob`, and what its answer means for the file.

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use sf_blobs::commit::{Published, Sealed};
use sf_blobs::journal::SealedFacts;
use sf_gateway::CallClass;
use sf_model::BlobId;
use sf_protos::blobs::{AbortBlobRequest, CommitBlobReply, CommitBlobRequest, Hash};

use crate::error::{WorkError, blocking};
use crate::service::Service;

/// The commit as it is kept in the journal, so that a restart can repeat it word for word. The mutation context is left
/// out: a repetition is a new call with the same key, the blob.
pub(crate) fn to_journal(request: &CommitBlobRequest) -> serde_json::Value {
    let bare = CommitBlobRequest { context: None, ..request.clone() };
    serde_json::Value::String(STANDARD.encode(bare.encode_to_vec()))
}

/// Reads a commit back from the journal.
fn from_journal(facts: &SealedFacts) -> Result<CommitBlobRequest, WorkError> {
    let unreadable = || WorkError::Failed("the commit in the journal cannot be read".to_owned());
    let bytes = STANDARD.decode(facts.commit.as_str().unwrap_or_default()).map_err(|_| unreadable())?;
    CommitBlobRequest::decode(bytes.as_slice()).map_err(|_| unreadable())
}

/// Values in the form of the database.
pub(crate) fn hashes(digests: &sf_blobs::Digests) -> Vec<Hash> {
    digests
        .iter()
        .map(|(algorithm, value)| Hash { algorithm: algorithm.to_string(), value: value.clone() })
        .collect()
}

impl Service {
    /// Publishes and commits sealed bytes.
    ///
    /// # Errors
    /// One that is undecided leaves everything in place: recovery repeats the commit. Any other error has undone it.
    pub(crate) async fn commit(&self, sealed: Sealed) -> Result<CommitBlobReply, WorkError> {
        let published = blocking(move || {
            sealed.publish().map_err(|(staged, error)| {
                // The disk has just failed; what cannot be removed now is met again by recovery.
                if let Err(error) = staged.discard() {
                    tracing::warn!(%error, "a partial could not be removed");
                }
                error
            })
        })
        .await?;
        self.commit_published(published).await
    }

    /// Commits bytes that are under their final name.
    ///
    /// # Errors
    /// As [`Service::commit`].
    pub(crate) async fn commit_published(&self, published: Published) -> Result<CommitBlobReply, WorkError> {
        let request = from_journal(published.facts())?;
        let size = published.facts().size;
        let purpose = published.purpose().as_str();
        match self.ctx.gateway.call(CallClass::Background, request).await {
            Ok(reply) => {
                settle(published, &reply, size).await?;
                metrics::counter!("ingest_total", "source" => purpose, "result" => "ok").increment(1);
                metrics::counter!("ingest_bytes_total", "source" => purpose).increment(size);
                Ok(reply)
            }
            Err(error) if error.is_unjudged() => Err(error.into()),
            Err(error) => {
                metrics::counter!("ingest_total", "source" => purpose, "result" => "refused").increment(1);
                blocking(move || published.withdraw()).await?;
                Err(error.into())
            }
        }
    }

    /// Releases the row of a blob that will not come. Best effort: the lease lapses by itself.
    pub(crate) async fn abort(&self, blob: BlobId, reason: &str) {
        let request = AbortBlobRequest {
            context: None,
            blob_uuid: blob.to_string(),
            reason: reason.chars().take(200).collect(),
        };
        if let Err(error) = self.ctx.gateway.call(CallClass::Background, request).await {
            tracing::info!(%blob, %error, "a reserved blob could not be released, its lease will lapse");
        }
    }
}

async fn settle(published: Published, reply: &CommitBlobReply, size: u64) -> Result<(), WorkError> {
    if !reply.deduplicated {
        return blocking(move || published.committed()).await;
    }
    let winner: BlobId = reply
        .blob_uuid
        .parse()
        .map_err(|_| WorkError::Failed("the database named no blob to use instead".to_owned()))?;
    metrics::counter!("ingest_dedup_hits_total").increment(1);
    metrics::counter!("ingest_dedup_bytes_total").increment(size);
    blocking(move || published.merged_into(winner)).await
}

/// Seconds since `started`, for histograms and events.
pub(crate) fn seconds_since(started: Instant) -> f64 {
    started.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_survives_the_journal() {
        let request = CommitBlobRequest {
            blob_uuid: "b".into(),
            node_uuid: "n".into(),
            size: 7,
            may_deduplicate: true,
            ..CommitBlobRequest::default()
        };
        let facts = SealedFacts { size: 7, digests: Default::default(), commit: to_journal(&request) };
        assert_eq!(from_journal(&facts).unwrap(), request);
        let broken = SealedFacts { commit: serde_json::json!({"x": 1}), ..facts };
        assert!(
            from_journal(&broken).is_err() || from_journal(&broken).unwrap() == CommitBlobRequest::default()
        );
    }
}
