//! Brings spooled events to the database tier: oldest first, one batch at a time, for ever.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rand::Rng;
use sf_protos::events as pb;
use sf_runtime::{Liveness, LoopTick, Shutdown};
use uuid::Uuid;

use crate::decode::{DecodeError, decode};
use crate::gauges;
use crate::spool::{Batch, SettleRows, Spool, SpoolError};

/// Events of one batch.
const BATCH: usize = 100;
/// After an arrival, how long to wait for company.
const GATHER: Duration = Duration::from_millis(20);
/// Safety net, in case an arrival was not told.
const POLL: Duration = Duration::from_secs(1);
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// Internal errors of a healthy tier after which a batch is suspected to hold a poisonous event.
const SUSPICION: u32 = 5;
/// Time for draining when the process ends; what remains is drained at the next start.
const LAST_DRAIN: Duration = Duration::from_secs(10);

/// Where batches go.
#[async_trait]
pub trait BatchSink: Send + Sync {
    /// Stores all valid events of a batch or none, and says of each what became of it, in the same order.
    async fn record_batch(&self, events: Vec<pb::Event>) -> Result<Vec<pb::EventResult>, SinkError>;
}

/// Why a batch was not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SinkError {
    /// Not now: unreachable, overloaded, too old. Everything is kept.
    #[error("{0}")]
    Retry(String),
    /// Never as a whole: malformed, or too large. Halves are tried.
    #[error("{0}")]
    Refused(String),
    /// The tier failed inside.
    #[error("{message}")]
    Internal {
        /// What it said.
        message: String,
        /// Whether the tier reports itself healthy, which makes the batch a suspect.
        healthy: bool,
    },
}

/// Drains one spool.
pub struct Drainer {
    spool: Spool,
    sink: Arc<dyn BatchSink>,
    /// The file of the batch at hand.
    spool_id: Uuid,
    backoff: Duration,
    internal_errors: u32,
}

/// What came of looking for work.
enum Found {
    /// Sent a full batch: there may be more.
    Full,
    /// Sent what there was.
    Some,
    Nothing,
    /// A row of a newer build stands in the way.
    Blocked,
}

impl Drainer {
    /// A drainer from `spool` to `sink`.
    pub fn new(spool: Spool, sink: Arc<dyn BatchSink>) -> Self {
        Self { spool, sink, spool_id: Uuid::nil(), backoff: Duration::ZERO, internal_errors: 0 }
    }

    /// Drains until shutdown, then for at most ten seconds more.
    pub async fn run(mut self, shutdown: Shutdown, liveness: Liveness) {
        let tick = liveness.register("event-drainer", sf_runtime::DEFAULT_SILENCE);
        while !shutdown.is_requested() {
            tick.tick();
            match self.watched_pass(&tick).await {
                Ok(Found::Full) => {}
                Ok(Found::Some | Found::Nothing) => self.rest(&shutdown, &tick).await,
                Ok(Found::Blocked) => self.pause(MAX_BACKOFF, &shutdown, &tick).await,
                Err(why) => self.back_off(&why, &shutdown, &tick).await,
            }
        }
        drop(tick);
        if tokio::time::timeout(LAST_DRAIN, self.drain_until_empty()).await.is_err() {
            tracing::info!(left = self.spool.depth(), "events remain and are drained at the next start");
        }
    }

    /// Sends everything that waits.
    ///
    /// # Errors
    /// The first reason why it cannot go on: the spool, or the sink.
    pub async fn drain_until_empty(&mut self) -> Result<(), String> {
        loop {
            match self.pass().await? {
                Found::Nothing => return Ok(()),
                Found::Blocked => return Err("a row was written by a newer agent".to_owned()),
                Found::Full | Found::Some => {}
            }
        }
    }

    /// As [`Drainer::pass`], keeping the age of the oldest event true while the sink takes its time. The sink bounds
    /// its calls, so the loop may tick meanwhile.
    async fn watched_pass(&mut self, tick: &LoopTick) -> Result<Found, String> {
        let spool = self.spool.clone();
        let mut pass = std::pin::pin!(self.pass());
        loop {
            tokio::select! {
                biased;
                outcome = &mut pass => return outcome,
                () = tokio::time::sleep(POLL) => {}
            }
            tick.tick();
            show_age(&spool).await;
        }
    }

    /// Sends the oldest batch.
    async fn pass(&mut self) -> Result<Found, String> {
        let batch = self.spool.oldest(BATCH).await.map_err(|e| e.to_string())?;
        self.spool.gauges().oldest_age(age(&batch));
        if batch.rows.is_empty() {
            self.spool.gauges().blocked(false);
            return Ok(Found::Nothing);
        }
        self.spool_id = batch.spool_id;
        let full = batch.rows.len() == BATCH;
        let (events, blocked) = self.decode(batch).await.map_err(|e| e.to_string())?;
        self.spool.gauges().blocked(blocked);
        if events.is_empty() {
            return Ok(if blocked { Found::Blocked } else { Found::Full });
        }
        self.deliver(events).await?;
        self.spool.gauges().backoff(0.0);
        Ok(if full { Found::Full } else { Found::Some })
    }

    /// Rows as events, up to the first of a newer format. Rows that no build can read go to quarantine.
    async fn decode(&self, batch: Batch) -> Result<(Vec<(i64, pb::Event)>, bool), SpoolError> {
        let mut events = Vec::new();
        let mut settle = SettleRows::default();
        let mut blocked = false;
        for row in batch.rows {
            match decode(batch.spool_id, row.sequence, row.format, &row.payload) {
                Ok(event) => events.push((row.sequence, event)),
                Err(DecodeError::Damaged(why)) => {
                    tracing::error!(
                        sequence = row.sequence,
                        why,
                        "a spooled event cannot be read and is quarantined"
                    );
                    gauges::quarantined("undecodable");
                    settle.refused.push((row.sequence, "undecodable".to_owned()));
                }
                Err(error @ DecodeError::Newer(_)) => {
                    tracing::error!(sequence = row.sequence, %error, "draining stops here");
                    blocked = true;
                    break;
                }
            }
        }
        if !settle.refused.is_empty() {
            self.spool.settle(self.spool_id, settle).await?;
        }
        Ok((events, blocked))
    }

    /// Sends events, in halves where the whole is refused, and settles each part as soon as its fate is known.
    async fn deliver(&mut self, events: Vec<(i64, pb::Event)>) -> Result<(), String> {
        let mut parts = vec![events];
        let mut suspects = Vec::new();
        let mut any_taken = false;
        let mut splitting = false;
        while let Some(part) = parts.pop() {
            let (sequences, messages): (Vec<i64>, Vec<pb::Event>) = part.iter().cloned().unzip();
            let error = match self.sink.record_batch(messages).await {
                Ok(results) if results.len() == sequences.len() => {
                    gauges::batch("ok");
                    any_taken = true;
                    self.internal_errors = 0;
                    self.backoff = Duration::ZERO;
                    self.settle(&sequences, results).await.map_err(|e| e.to_string())?;
                    continue;
                }
                Ok(_) => return Err(retry("the answer does not match the batch")),
                Err(error) => error,
            };
            if !self.is_to_split(&error, splitting) {
                return Err(retry(&error.to_string()));
            }
            gauges::batch("split");
            splitting = true;
            match part.as_slice() {
                [(sequence, _)] if matches!(error, SinkError::Internal { .. }) => {
                    suspects.push((*sequence, error))
                }
                [(sequence, _)] => self.condemn(vec![(*sequence, error)]).await?,
                _ => halve(part, &mut parts),
            }
        }
        // A tier that fails on everything is broken itself: only beside a success is a failure the event's own fault.
        if !suspects.is_empty() && !any_taken {
            return Err(retry("the database tier fails inside"));
        }
        self.condemn(suspects).await
    }

    fn is_to_split(&mut self, error: &SinkError, splitting: bool) -> bool {
        match error {
            SinkError::Retry(_) => false,
            SinkError::Refused(_) => true,
            SinkError::Internal { healthy, .. } => {
                self.internal_errors = if *healthy { self.internal_errors + 1 } else { 0 };
                *healthy && (splitting || self.internal_errors >= SUSPICION)
            }
        }
    }

    /// Moves events that no attempt can deliver out of the way.
    async fn condemn(&self, condemned: Vec<(i64, SinkError)>) -> Result<(), String> {
        if condemned.is_empty() {
            return Ok(());
        }
        let mut settle = SettleRows::default();
        for (sequence, error) in condemned {
            tracing::error!(sequence, %error, "an event is refused for good and is quarantined");
            gauges::quarantined("refused");
            settle.refused.push((sequence, format!("refused: {error}")));
        }
        self.spool.settle(self.spool_id, settle).await.map_err(|e| e.to_string())
    }

    async fn settle(&self, sequences: &[i64], results: Vec<pb::EventResult>) -> Result<(), SpoolError> {
        let mut settle = SettleRows::default();
        for (sequence, result) in sequences.iter().zip(results) {
            if result.outcome() == pb::Outcome::Rejected {
                tracing::error!(event_uuid = %result.event_uuid, reason = %result.reason, "an event was rejected and is quarantined");
                gauges::quarantined(&result.reason);
                settle.refused.push((*sequence, result.reason));
            } else {
                settle.delivered.push(*sequence);
            }
        }
        self.spool.settle(self.spool_id, settle).await
    }

    /// Waits for an arrival and a moment more, so that events that come together go together.
    async fn rest(&self, shutdown: &Shutdown, tick: &LoopTick) {
        let wait = async {
            tokio::select! {
                () = shutdown.requested() => {}
                () = self.spool.arrival() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(POLL) => {}
            }
        };
        tick.while_waiting(wait).await;
    }

    async fn back_off(&mut self, why: &str, shutdown: &Shutdown, tick: &LoopTick) {
        self.backoff = (self.backoff * 2).clamp(FIRST_BACKOFF, MAX_BACKOFF);
        self.spool.gauges().backoff(self.backoff.as_secs_f64());
        if self.backoff == FIRST_BACKOFF {
            tracing::warn!(why, waiting = self.spool.depth(), "events cannot be delivered and are kept");
        }
        let jitter = rand::rng().random_range(0.8..1.2);
        self.pause(self.backoff.mul_f64(jitter), shutdown, tick).await;
    }

    /// Waits, keeping the age of the oldest event true meanwhile.
    async fn pause(&self, duration: Duration, shutdown: &Shutdown, tick: &LoopTick) {
        let until = Instant::now() + duration;
        while !shutdown.is_requested() && Instant::now() < until {
            tick.tick();
            let step = until.saturating_duration_since(Instant::now()).min(POLL);
            shutdown.unless(tokio::time::sleep(step)).await;
            show_age(&self.spool).await;
        }
    }
}

/// Two halves instead of one part; the earlier is taken next, which keeps the order.
fn halve(mut part: Vec<(i64, pb::Event)>, parts: &mut Vec<Vec<(i64, pb::Event)>>) {
    let later = part.split_off(part.len() / 2);
    parts.push(later);
    parts.push(part);
}

fn retry(why: &str) -> String {
    gauges::batch("retry");
    why.to_owned()
}

async fn show_age(spool: &Spool) {
    if let Ok(batch) = spool.oldest(1).await {
        spool.gauges().oldest_age(age(&batch));
    }
}

/// Seconds since the oldest row was recorded.
fn age(batch: &Batch) -> f64 {
    let Some(first) = batch.rows.first() else { return 0.0 };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (now.as_secs_f64() - first.recorded_at as f64 / 1e6).max(0.0)
}
