//! The capacity of all hypervisors as of at most a second ago, with the admissions made through this process applied.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use sf_gateway::CallClass;
use sf_protos::scheduler::{GetCapacityRequest, NodeCapacity};
use sf_scheduler::Snapshot;
use sf_scheduler::wire::{capacity_from_wire, snapshot_from_wire};

use super::figures;
use crate::api::Api;
use crate::error::ApiError;

/// The one snapshot of the process.
#[derive(Debug, Default)]
pub struct CapacityCache {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    kept: Option<Reading>,
    flight: Option<Flight>,
}

/// A refresh under way: everybody who needs figures meanwhile waits for its outcome, also when that is an error.
type Flight = Shared<BoxFuture<'static, Result<Reading, ApiError>>>;

/// A snapshot and the moment at which reading it began.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The figures.
    pub figures: Arc<Snapshot>,
    /// They are not older than this.
    pub began: Instant,
}

/// Whether figures were read for the decision at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Read just now.
    Fresh,
    /// Read for an earlier decision, at most the configured time ago.
    Kept,
}

impl CapacityCache {
    /// A snapshot not older than configured. Concurrent refreshes are one call. A request about tags or blobs is answered
    /// for itself: such figures are not kept.
    ///
    /// # Errors
    /// The database tier does not answer.
    pub async fn snapshot(&self, api: &Api, request: GetCapacityRequest) -> Result<(Reading, Age), ApiError> {
        let special = !request.tags.is_empty() || !request.blob_uuids.is_empty();
        let (reading, age) = if special {
            (read(api, request).await?, Age::Fresh)
        } else {
            match self.kept_or_flight(api) {
                Ok(kept) => (kept, Age::Kept),
                Err(flight) => (flight.await?, Age::Fresh),
            }
        };
        figures::snapshot_used(reading.began);
        Ok((reading, age))
    }

    /// Makes the next snapshot a newer one than this, which proved wrong or may be. Figures that were read since then stay:
    /// many decisions can find the same ones wrong.
    pub fn expire(&self, used: &Reading) {
        self.state.lock().kept.take_if(|kept| kept.began <= used.began);
    }

    /// Applies an admission, so that a burst spreads.
    pub fn admitted(&self, node: &NodeCapacity, tags: &[String]) {
        let (Ok(id), Some(capacity)) = (node.node_uuid.parse(), capacity_from_wire(node)) else { return };
        if let Some(kept) = &mut self.state.lock().kept {
            Arc::make_mut(&mut kept.figures).apply_admission(id, capacity, tags);
        }
    }

    fn kept_or_flight(&self, api: &Api) -> Result<Reading, Flight> {
        let max_age = api.daemon.cluster.current().scheduler_cache_timeout;
        let mut state = self.state.lock();
        if let Some(kept) = state.kept.as_ref().filter(|kept| is_fresh(kept.began, max_age)) {
            return Ok(kept.clone());
        }
        // One that has ended and is still here ended without landing: it panicked.
        let under_way = state.flight.take().filter(|flight| flight.peek().is_none());
        Err(state.flight.insert(under_way.unwrap_or_else(|| depart(api))).clone())
    }

    fn land(&self, outcome: &Result<Reading, ApiError>) {
        let mut state = self.state.lock();
        state.flight = None;
        if let Ok(reading) = outcome {
            state.kept = Some(reading.clone());
        }
    }
}

/// Begins a refresh as a task of its own: whoever asked first may leave, and the others still get their answer.
fn depart(api: &Api) -> Flight {
    let api = api.clone();
    let task = tokio::spawn(async move {
        let outcome = read(&api, GetCapacityRequest::default()).await;
        api.capacity.land(&outcome);
        outcome
    });
    task.map(|ended| ended.unwrap_or_else(|_panic| Err(ApiError::internal()))).boxed().shared()
}

async fn read(api: &Api, request: GetCapacityRequest) -> Result<Reading, ApiError> {
    let began = Instant::now();
    let figures = snapshot_from_wire(&api.tier(CallClass::Interactive, request).await?);
    figures::snapshot_read(&figures);
    Ok(Reading { figures: Arc::new(figures), began })
}

fn is_fresh(began: Instant, max_age: Duration) -> bool {
    began.elapsed() <= max_age
}
