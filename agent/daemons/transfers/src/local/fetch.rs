//! Runs one fetch operation to its end (`storage.md` §7).

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use chrono::{DateTime, Utc};
use serde_json::json;
use sf_blobs::commit::Staged;
use sf_blobs::journal::{Journal, Validators};
use sf_blobs::purpose::Purpose;
use sf_events::event;
use sf_gateway::{CallClass, DbError};
use sf_images::fetch::{
    Download, DownloadLimits, FetchError, Fetcher, Outcome, Plan, RETRY_DELAYS, download,
};
use sf_images::header::Inspection;
use sf_model::event::EventType;
use sf_model::{ArtifactId, BlobId, InstanceId, ObjectType, OperationId};
use sf_protos::artifacts::begin_fetch_reply::Verdict;
use sf_protos::artifacts::complete_fetch_request::Outcome as Ending;
use sf_protos::artifacts::{
    BeginFetchReply, BeginFetchRequest, CompleteFetchReply, CompleteFetchRequest, FetchFailure, FetchedBlob,
};
use sf_protos::blobs::{CommitBlobRequest, ReserveBlobRequest};
use sf_protos::convert::timestamp;
use sf_protos::storage_local as pb;
use tokio_util::sync::CancellationToken;

use super::ensure_image::with_instance;
use super::observer::Progress;
use super::source::{Source, SourceError};
use crate::committer::{hashes, seconds_since, to_journal};
use crate::error::{WorkError, blocking};
use crate::facts::{look_at, to_wire};
use crate::service::Service;

/// What to fetch, and for whom.
#[derive(Debug, Clone)]
pub(crate) struct FetchOrder {
    pub(crate) operation: OperationId,
    pub(crate) artifact: ArtifactId,
    pub(crate) source: String,
    pub(crate) checksum: Option<String>,
    pub(crate) instance: Option<InstanceId>,
}

/// How a fetch ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fetched {
    outcome: pb::FetchOutcome,
    blob: String,
    index: u64,
    message: String,
}

impl Fetched {
    fn gone() -> Self {
        let message = "the artifact was deleted".to_owned();
        Self { outcome: pb::FetchOutcome::Failed, blob: String::new(), index: 0, message }
    }

    pub(crate) fn into_wire(self) -> pb::FetchArtifactReply {
        pb::FetchArtifactReply {
            outcome: self.outcome.into(),
            blob_uuid: self.blob,
            index: self.index,
            message: self.message,
        }
    }
}

/// Why there are no new bytes.
enum Failure {
    /// It ends the fetch.
    Final { message: String, permanent: bool },
    /// It does not: the operation is handed out again.
    Later(WorkError),
}

impl From<WorkError> for Failure {
    fn from(error: WorkError) -> Self {
        if error.is_undecided() {
            Self::Later(error)
        } else {
            Self::Final { message: error.to_string(), permanent: true }
        }
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        if let FetchError::Policy { refusal, .. } = &error {
            metrics::counter!("image_fetch_policy_refusals_total", "rule" => refusal.rule()).increment(1);
        }
        match error {
            FetchError::Cancelled { .. } => Self::Later(WorkError::Unavailable(error.to_string())),
            FetchError::Store(error) => WorkError::from(error).into(),
            other => {
                let permanent = matches!(other.class(), sf_images::fetch::Class::Permanent);
                Self::Final { message: other.to_string(), permanent }
            }
        }
    }
}

/// What arrived.
enum Arrived {
    NotModified,
    Committed { blob: String, validators: Validators, bytes: u64 },
}

impl Service {
    /// Fetches an artifact's source and records the outcome. Callers for the same artifact share one fetch; when the last
    /// of them leaves, the download ends and what it has brought is kept for the next.
    ///
    /// # Errors
    /// Undecided when the outcome could not be recorded or the turn is another's: ask again later.
    pub(crate) async fn fetch_artifact(self: &Arc<Self>, order: FetchOrder) -> Result<Fetched, WorkError> {
        let service = Arc::clone(self);
        let artifact = order.artifact;
        let ending = self.ctx.shutdown.token();
        let work = |unwanted: CancellationToken| async move { service.fetch(&order, &unwanted).await };
        let fetch = self.fetches.join(artifact, &ending, work);
        fetch.await.unwrap_or_else(|| Err(WorkError::Failed("the fetch ended unexpectedly".to_owned())))
    }

    async fn fetch(&self, order: &FetchOrder, unwanted: &CancellationToken) -> Result<Fetched, WorkError> {
        let slot = self.fetch_slots.acquire();
        let _slot = unless(unwanted, slot).await?.map_err(|_| stopping())?;
        let started = Instant::now();
        let fetcher = self.fetcher();
        let source = self.find_source(&fetcher, &order.source, order.checksum.as_deref());
        let source = match unless(unwanted, source).await? {
            Ok(source) => source,
            Err(error) => return self.fail_without_source(order, error).await,
        };
        let begun = self.begin(order, source.url.as_str()).await?;
        match begun.verdict() {
            Verdict::Fetch => {}
            Verdict::Busy => {
                return Err(busy());
            }
            Verdict::Gone | Verdict::Unspecified => return Ok(Fetched::gone()),
        }
        let progress = Progress::new(
            self.ctx.events.clone(),
            (ObjectType::Artifact, order.artifact.to_string()),
            "fetch",
            order.instance,
        );
        progress.tell("fetch started", json!({ "source": order.source_shown() }));
        let arrived = self.bring(order, &fetcher, &source, &begun, &progress, unwanted).await;
        self.conclude(order, source.url.as_str(), arrived, started).await
    }

    async fn begin(&self, order: &FetchOrder, resolved_url: &str) -> Result<BeginFetchReply, WorkError> {
        let request = BeginFetchRequest {
            context: None,
            artifact_uuid: order.artifact.to_string(),
            operation_uuid: order.operation.to_string(),
            node_uuid: self.node().to_string(),
            resolved_url: resolved_url.to_owned(),
        };
        Ok(self.ctx.gateway.call(CallClass::Background, request).await?)
    }

    /// A source that does not exist is recorded like any other failure, under the name the user gave.
    async fn fail_without_source(
        &self,
        order: &FetchOrder,
        error: SourceError,
    ) -> Result<Fetched, WorkError> {
        let failure = match error {
            SourceError::Permanent(message) => Failure::Final { message, permanent: true },
            SourceError::Unknown(message) => Failure::Final { message, permanent: false },
            SourceError::Fetch(error) => error.into(),
        };
        match self.begin(order, &order.source).await?.verdict() {
            Verdict::Fetch => {}
            Verdict::Busy => return Err(busy()),
            Verdict::Gone | Verdict::Unspecified => return Ok(Fetched::gone()),
        }
        self.conclude(order, &order.source, Err(failure), Instant::now()).await
    }

    async fn bring(
        &self,
        order: &FetchOrder,
        fetcher: &Fetcher,
        source: &Source,
        begun: &BeginFetchReply,
        progress: &Progress,
        unwanted: &CancellationToken,
    ) -> Result<Arrived, Failure> {
        let published = unless(unwanted, source.published(fetcher)).await??;
        let journal = self.take_up(source.url.as_str()).await;
        let journal = Journal { operation: Some(order.operation), ..journal };
        let blob = journal.blob;
        let writing = self.leases.enter(blob, order.operation, unwanted);
        let reserve = ReserveBlobRequest {
            context: None,
            blob_uuid: blob.to_string(),
            node_uuid: self.node().to_string(),
            holder_uuid: order.operation.to_string(),
            purpose: Purpose::Fetch.to_string(),
            expected_size: None,
        };
        self.ctx.gateway.call(CallClass::Background, reserve).await.map_err(WorkError::from)?;
        writing.reserved();
        let plan = Plan { url: source.url.clone(), known: known(begun, &source.url), published };
        let outcome =
            download(fetcher, &self.store, journal, &plan, &self.download_limits(), progress, &writing.lost)
                .await;
        match outcome {
            Ok(Outcome::NotModified) => {
                self.abort(blob, "the source is unchanged").await;
                metrics::counter!("image_fetch_not_modified_total").increment(1);
                Ok(Arrived::NotModified)
            }
            Ok(Outcome::Downloaded(download)) => self.keep(order, blob, *download).await,
            Err(error) => {
                if !matches!(error, FetchError::Cancelled { .. }) {
                    self.abort(blob, &error.to_string()).await;
                }
                Err(error.into())
            }
        }
    }

    /// A new blob, or what an earlier attempt at this URL left, under a new identity: the row of the old one may be
    /// gone or about to go.
    async fn take_up(&self, url: &str) -> Journal {
        let blob = BlobId::random();
        let Some(left) = self.find_partial(url).await else { return Journal::new(Purpose::Fetch, blob) };
        let (store, old) = (self.store.clone(), left.blob);
        match blocking(move || left.rename_partial(&store, blob)).await {
            Ok(journal) => {
                self.abort(old, "its bytes go on under another identity").await;
                journal
            }
            Err(error) => {
                tracing::info!(%old, %error, "a partial is not continued");
                Journal::new(Purpose::Fetch, blob)
            }
        }
    }

    /// Judges the bytes and makes them a blob.
    async fn keep(&self, order: &FetchOrder, blob: BlobId, download: Download) -> Result<Arrived, Failure> {
        let Download { staged, ingested, validators, modified } = download;
        let found = self.judge(staged.path(), order).await;
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                self.drop_staged(staged, blob, &error.to_string()).await;
                return Err(error.into());
            }
        };
        let request = CommitBlobRequest {
            context: None,
            blob_uuid: blob.to_string(),
            node_uuid: self.node().to_string(),
            size: ingested.size,
            hashes: hashes(&ingested.digests),
            facts: Some(to_wire(&found)),
            modified: Some(timestamp(modified.map_or_else(SystemTime::now, DateTime::<Utc>::into))),
            fetched_at: Some(timestamp(SystemTime::now())),
            may_deduplicate: true,
            upload: None,
        };
        let commit = to_journal(&request);
        let sealing = blocking(move || Ok::<_, WorkError>(staged.seal(ingested.digests, commit))).await?;
        let sealed = match sealing {
            Ok(sealed) => sealed,
            Err((staged, error)) => {
                self.drop_staged(staged, blob, &error.to_string()).await;
                return Err(WorkError::from(error).into());
            }
        };
        let reply = self.commit(sealed).await?;
        Ok(Arrived::Committed { blob: reply.blob_uuid, validators, bytes: ingested.size })
    }

    async fn judge(&self, path: &Path, order: &FetchOrder) -> Result<Inspection, WorkError> {
        let found = look_at(path.to_owned(), self.image_rules()).await?;
        if let Some(refusal) = found.refusal() {
            let objects = vec![(ObjectType::Artifact, order.artifact.to_string())];
            self.tell_unsafe(found.format.as_str(), refusal.reason, &refusal.text, objects).await;
            return Err(WorkError::Unsafe(format!("{}: {}", order.source_shown(), refusal.text)));
        }
        Ok(found)
    }

    async fn drop_staged(&self, staged: Staged, blob: BlobId, reason: &str) {
        if let Err(error) = blocking(move || staged.discard()).await {
            tracing::warn!(%blob, %error, "a partial could not be removed");
        }
        self.abort(blob, reason).await;
    }

    fn download_limits(&self) -> DownloadLimits {
        let cluster = self.ctx.cluster.current();
        DownloadLimits {
            max_bytes: cluster.max_image_bytes,
            slow_limit: cluster.max_image_transfer_seconds,
            delays: RETRY_DELAYS.to_vec(),
            room: self.room(),
        }
    }

    /// Records how it ended.
    async fn conclude(
        &self,
        order: &FetchOrder,
        resolved_url: &str,
        arrived: Result<Arrived, Failure>,
        started: Instant,
    ) -> Result<Fetched, WorkError> {
        let (ending, bytes) = match &arrived {
            Ok(Arrived::NotModified) => (Ending::NotModified(true), 0),
            Ok(Arrived::Committed { blob, validators, bytes }) => {
                let fetched = FetchedBlob {
                    blob_uuid: blob.clone(),
                    etag: validators.etag.clone(),
                    last_modified: validators.last_modified.clone(),
                    content_length: Some(*bytes),
                };
                (Ending::Fetched(fetched), *bytes)
            }
            Err(Failure::Final { message, permanent }) => {
                (Ending::Failed(FetchFailure { message: message.clone(), permanent: *permanent }), 0)
            }
            Err(Failure::Later(error)) => return Err(error.clone()),
        };
        let request = CompleteFetchRequest {
            context: None,
            artifact_uuid: order.artifact.to_string(),
            operation_uuid: order.operation.to_string(),
            resolved_url: resolved_url.to_owned(),
            outcome: Some(ending),
        };
        let reply = match self.ctx.gateway.call(CallClass::Background, request).await {
            Ok(reply) => reply,
            // Artifact or blob went away meanwhile: the next attempt sees how things stand.
            Err(error @ DbError::NotFound { .. }) => return Err(WorkError::Unavailable(error.to_string())),
            Err(error) => return Err(error.into()),
        };
        let seconds = seconds_since(started);
        metrics::histogram!("ingest_seconds", "source" => "fetch").record(seconds);
        let fetched = ended(&arrived, &reply);
        self.tell_end(order, &fetched, bytes, seconds).await;
        Ok(fetched)
    }

    async fn tell_end(&self, order: &FetchOrder, fetched: &Fetched, bytes: u64, seconds: f64) {
        let (result, message, extra) = match fetched.outcome {
            pb::FetchOutcome::NewVersion => (
                "ok",
                "fetch complete",
                json!({ "index": fetched.index, "bytes": bytes, "seconds": seconds }),
            ),
            pb::FetchOutcome::NotModified => {
                ("not_modified", "fetch complete, source unchanged", json!({ "index": fetched.index }))
            }
            // The transaction that recorded a failure has recorded its event as well.
            pb::FetchOutcome::UsingCached => return count("cached"),
            pb::FetchOutcome::Failed | pb::FetchOutcome::Unspecified => return count("failed"),
        };
        count(result);
        let told = event(EventType::Audit, message)
            .object(ObjectType::Artifact, order.artifact)
            .extra(extra)
            .duration(seconds);
        self.ctx.events.record(with_instance(told, order.instance)).await;
    }
}

impl FetchOrder {
    /// The source without anything that may be secret.
    fn source_shown(&self) -> String {
        url::Url::parse(&self.source)
            .map_or_else(|_| self.source.clone(), |url| sf_images::fetch::shown(&url))
    }
}

/// Waits for what may be given up without a trace when nobody wants the result any more.
async fn unless<T>(unwanted: &CancellationToken, work: impl Future<Output = T>) -> Result<T, WorkError> {
    unwanted.run_until_cancelled(work).await.ok_or_else(stopping)
}

fn stopping() -> WorkError {
    WorkError::Unavailable(
        "the fetch was given up, because the daemon stops or nobody waits for it".to_owned(),
    )
}

fn busy() -> WorkError {
    WorkError::Unavailable("another operation fetches this source now".to_owned())
}

fn count(result: &'static str) {
    metrics::counter!("image_fetch_total", "result" => result).increment(1);
}

/// What the last fetch of this URL left, if its blob is still alive.
fn known(begun: &BeginFetchReply, url: &url::Url) -> Option<Validators> {
    begun.known_blob_uuid.as_ref()?;
    Some(Validators {
        url: url.to_string(),
        etag: begun.etag.clone(),
        last_modified: begun.last_modified.clone(),
        content_length: begun.content_length,
    })
}

fn ended(arrived: &Result<Arrived, Failure>, reply: &CompleteFetchReply) -> Fetched {
    let blob = reply.blob_uuid.clone().unwrap_or_default();
    let index = u64::from(reply.index.unwrap_or(0));
    match arrived {
        Ok(Arrived::NotModified) => {
            Fetched { outcome: pb::FetchOutcome::NotModified, blob, index, message: String::new() }
        }
        Ok(Arrived::Committed { .. }) => {
            Fetched { outcome: pb::FetchOutcome::NewVersion, blob, index, message: String::new() }
        }
        Err(Failure::Final { message, .. }) if reply.errored || blob.is_empty() => Fetched {
            outcome: pb::FetchOutcome::Failed,
            blob: String::new(),
            index: 0,
            message: message.clone(),
        },
        Err(Failure::Final { message, .. }) => {
            Fetched { outcome: pb::FetchOutcome::UsingCached, blob, index, message: message.clone() }
        }
        Err(Failure::Later(error)) => Fetched {
            outcome: pb::FetchOutcome::Failed,
            blob: String::new(),
            index: 0,
            message: error.to_string(),
        },
    }
}
