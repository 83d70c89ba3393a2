//! A whole download into the staging directory: attempts, resumption, limits, and the checks before the bytes may
//! become a blob.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use md5::Digest;
use rand::Rng;
use sf_blobs::Algorithm;
use sf_blobs::commit::Staged;
use sf_blobs::error::StoreError;
use sf_blobs::intake::Intake;
use sf_blobs::journal::{Journal, Validators};
use sf_blobs::layout::Store;
use sf_blobs::pipeline::Ingested;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::error::{Class, FetchError, host, shown};
use super::open::{Body, Conditions, Fetcher, Opened};
use super::room::{Held, Room};
use crate::checksum::Published;

/// Waits between attempts; their number is that of the retries.
pub const RETRY_DELAYS: [Duration; 3] =
    [Duration::from_secs(15), Duration::from_secs(30), Duration::from_secs(60)];

/// Below this rate, in bytes per second, the wall-time limit counts.
const SLOW: u64 = 1 << 20;

/// Limits of one download.
#[derive(Debug, Clone)]
pub struct DownloadLimits {
    /// Largest file in bytes (`MAX_IMAGE_BYTES`).
    pub max_bytes: u64,
    /// How long an attempt may take while it is slower than 1 MiB/s (`MAX_IMAGE_TRANSFER_SECONDS`).
    pub slow_limit: Duration,
    /// Waits between attempts.
    pub delays: Vec<Duration>,
    /// Where room is asked for.
    pub room: Room,
}

/// What to download.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where it is.
    pub url: Url,
    /// Skip it when it is still this one.
    pub known: Option<Validators>,
    /// A value the bytes must have.
    pub published: Option<Published>,
}

/// Told about what goes on, for events and metrics.
pub trait Observer: Send + Sync {
    /// Bytes have arrived. `total` when the origin announced it.
    fn progress(&self, received: u64, total: Option<u64>);
    /// An attempt failed and another follows after `delay`.
    fn retrying(&self, delay: Duration, cause: &FetchError);
}

/// A finished download, still in staging.
pub struct Download {
    /// The bytes; seal them or discard them.
    pub staged: Staged,
    /// Size and hashes.
    pub ingested: Ingested,
    /// What the origin said about this version.
    pub validators: Validators,
    /// When the origin last changed the file.
    pub modified: Option<DateTime<Utc>>,
}

/// How a download ended.
pub enum Outcome {
    /// The file is still the known one; nothing was written.
    NotModified,
    /// The file is in staging.
    Downloaded(Box<Download>),
}

/// The state that survives from attempt to attempt.
struct Attempt<'a> {
    store: &'a Store,
    intake: Intake,
    md5: Option<md5::Md5>,
    room: Held,
    cancel: &'a CancellationToken,
}

/// Downloads a file, trying again as its errors allow. `journal` names the blob; when it carries validators and a verified
/// offset the partial of an earlier life is continued.
///
/// # Errors
/// The last error. The partial is gone, except after [`FetchError::Cancelled`].
pub async fn download(
    fetcher: &Fetcher,
    store: &Store,
    journal: Journal,
    plan: &Plan,
    limits: &DownloadLimits,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<Outcome, FetchError> {
    let mut attempt =
        Attempt { store, intake: Intake::new(store, journal), md5: None, room: Held::default(), cancel };
    attempt.intake.take_up(&Algorithm::INLINE).await?;
    let mut delays = limits.delays.iter();
    let mut restarted = false;
    loop {
        let error = match attempt.run(fetcher, plan, limits, observer).await {
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        if matches!(error, FetchError::Cancelled { .. }) {
            return Err(error);
        }
        let asked = match error.class() {
            Class::Transient(asked) => asked,
            Class::FromZero if !restarted => {
                restarted = true;
                attempt.discard().await?;
                None
            }
            Class::FromZero | Class::Permanent => {
                attempt.discard().await?;
                return Err(error);
            }
        };
        let Some(delay) = delays.next() else {
            attempt.discard().await?;
            return Err(error);
        };
        let delay = jitter(*delay).max(asked.unwrap_or_default());
        observer.retrying(delay, &error);
        if tokio::time::timeout(delay, cancel.cancelled()).await.is_ok() {
            return Err(FetchError::Cancelled { url: shown(&plan.url) });
        }
    }
}

impl Attempt<'_> {
    async fn run(
        &mut self,
        fetcher: &Fetcher,
        plan: &Plan,
        limits: &DownloadLimits,
        observer: &dyn Observer,
    ) -> Result<Outcome, FetchError> {
        let taken = self.intake.size().filter(|at| *at > 0);
        let resume = taken.zip(self.intake.journal_mut().validators.clone());
        let known = plan.known.clone().filter(|_| resume.is_none());
        let mut body = match fetcher.open(&plan.url, &Conditions { known, resume }).await? {
            Opened::NotModified => return Ok(Outcome::NotModified),
            Opened::Body(body) => body,
        };
        if body.size.is_some_and(|size| size > limits.max_bytes) {
            return Err(FetchError::TooLarge { url: shown(&plan.url), limit: limits.max_bytes });
        }
        self.room.begin(&limits.room, self.store, body.offset, body.size)?;
        if body.offset == 0 {
            self.begin(&body, plan).await?;
        }
        self.pump(&mut body, plan, limits, observer).await?;
        self.finish(&body, plan).await
    }

    /// Starts at the first byte, dropping what an earlier attempt left.
    async fn begin(&mut self, body: &Body, plan: &Plan) -> Result<(), FetchError> {
        let journal = self.intake.journal_mut();
        journal.expected_size = body.size;
        journal.validators = body.resumable.then(|| body.validators.clone());
        self.md5 = matches!(plan.published, Some(Published::Md5Hint(_))).then(md5::Md5::new);
        if let Some(Published::Proof(algorithm, value)) = &plan.published {
            journal.expected.insert(*algorithm, value.clone());
        }
        Ok(self.intake.begin(&Algorithm::INLINE).await?)
    }

    async fn pump(
        &mut self,
        body: &mut Body,
        plan: &Plan,
        limits: &DownloadLimits,
        observer: &dyn Observer,
    ) -> Result<(), FetchError> {
        let started = Instant::now();
        let mut received = 0u64;
        loop {
            let chunk = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(FetchError::Cancelled { url: shown(&plan.url) }),
                chunk = body.next() => chunk?,
            };
            let Some(bytes) = chunk else { return Ok(()) };
            received += bytes.len() as u64;
            let taken = self.intake.size().unwrap_or(0) + bytes.len() as u64;
            if taken > limits.max_bytes {
                return Err(FetchError::TooLarge { url: shown(&plan.url), limit: limits.max_bytes });
            }
            self.room.reach(&limits.room, self.store, taken)?;
            self.intake.write(&bytes).await?;
            if let Some(md5) = &mut self.md5 {
                md5.update(&bytes);
            }
            observer.progress(taken, body.size);
            let elapsed = started.elapsed();
            if elapsed > limits.slow_limit && received / elapsed.as_secs().max(1) < SLOW {
                let cause = format!("slower than 1 MiB/s for {} s", elapsed.as_secs());
                return Err(FetchError::Transport {
                    url: shown(&plan.url),
                    host: host(&plan.url),
                    cause,
                    permanent: false,
                });
            }
        }
    }

    async fn finish(&mut self, body: &Body, plan: &Plan) -> Result<Outcome, FetchError> {
        let (staged, ingested) = self.intake.finish().await?;
        if let Some(what) = self.mismatch(&ingested, body, plan) {
            blocking(move || staged.discard()).await?;
            return Err(FetchError::Mismatch { url: shown(&plan.url), what });
        }
        let (validators, modified) = (body.validators.clone(), body.modified);
        Ok(Outcome::Downloaded(Box::new(Download { staged, ingested, validators, modified })))
    }

    fn mismatch(&mut self, ingested: &Ingested, body: &Body, plan: &Plan) -> Option<String> {
        if let Some(size) = body.size.filter(|size| *size != ingested.size) {
            return Some(format!("{size} bytes were announced and {} arrived", ingested.size));
        }
        let (name, expected, found) = match plan.published.as_ref()? {
            Published::Proof(algorithm, expected) => {
                (algorithm.as_str(), expected, ingested.digests.get(algorithm).cloned().unwrap_or_default())
            }
            // After a resumption from an earlier life the hint cannot be computed, and it proves nothing anyway.
            Published::Md5Hint(expected) => ("md5", expected, hex::encode(self.md5.take()?.finalize())),
        };
        (*expected != found).then(|| format!("the {name} checksum is {found} where {expected} was expected"))
    }

    async fn discard(&mut self) -> Result<(), FetchError> {
        self.intake.journal_mut().validators = None;
        Ok(self.intake.discard().await?)
    }
}

fn jitter(delay: Duration) -> Duration {
    delay.mul_f64(rand::rng().random_range(0.8..1.2))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::ThreadGone("storage"))?
}
