//! Renders that rows ask for: claimed by long poll, worked on by a few workers, one network always by the same one.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::FutureExt;
use sf_gateway::{CallClass, DbError};
use sf_model::{ClaimToken, NetworkId};
use sf_protos::networks::{ClaimRendersRequest, RenderClaim, RenewRenderClaimsRequest};
use sf_runtime::{RequestContext, context};
use tokio::sync::mpsc;

use crate::record::{self, Reason};
use crate::render::{self, Failed};
use crate::state::State;

/// How long one poll waits for work.
const WAIT: Duration = Duration::from_secs(20);
/// Most claims of one poll.
const BATCH: u32 = 32;
/// Pause after a poll that failed.
const PAUSE: Duration = Duration::from_millis(500);
/// How often a claim is renewed while its render runs.
const RENEWAL: Duration = Duration::from_secs(30);

/// One claimed render.
struct Job {
    network: NetworkId,
    token: String,
    claim: RenderClaim,
    claimed: Instant,
    _queued: Queued,
}

/// Counts a job for as long as it exists, however it ends.
struct Queued(State);

impl Queued {
    fn new(state: &State) -> Self {
        state.shared.queued.fetch_add(1, Ordering::Relaxed);
        show_depth(state);
        Self(state.clone())
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.shared.queued.fetch_sub(1, Ordering::Relaxed);
        show_depth(&self.0);
    }
}

/// Claims and renders until shutdown.
pub(crate) async fn run(state: State) {
    let count = state.context.config.network_operation_workers.max(1);
    let workers: Vec<mpsc::Sender<Job>> = (0..count).map(|_| worker(state.clone())).collect();
    let tick = state.context.liveness.register("render-claims", WAIT * 3);
    // Kept until an answer arrived: a lost reply is asked for again under the same token and strands no claim.
    let mut token = ClaimToken::random().to_string();
    while !state.context.shutdown.is_requested() {
        tick.tick();
        let poll = state.context.shutdown.unless(claim(&state, &token));
        match poll.await {
            None => return,
            Some(Ok(claims)) => {
                // Before any of them waits for its worker.
                let claimed = Instant::now();
                for claim in claims {
                    hand_out(&state, &workers, &token, claimed, claim).await;
                }
                token = ClaimToken::random().to_string();
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "no renders could be claimed");
                state.context.shutdown.unless(tokio::time::sleep(PAUSE)).await;
            }
        }
    }
}

async fn claim(state: &State, token: &str) -> Result<Vec<RenderClaim>, DbError> {
    let request = ClaimRendersRequest {
        node_uuid: state.node_uuid(),
        incarnation: state.context.incarnation.to_string(),
        claim_token: token.to_owned(),
        limit: BATCH,
        wait_ms: u32::try_from(WAIT.as_millis()).unwrap_or(0),
    };
    Ok(state.context.gateway.call(CallClass::Wait, request).await?.claims)
}

async fn hand_out(
    state: &State,
    workers: &[mpsc::Sender<Job>],
    token: &str,
    claimed: Instant,
    claim: RenderClaim,
) {
    let Ok(network) = claim.network_uuid.parse::<NetworkId>() else {
        return tracing::error!(network = claim.network_uuid, "a claim names no network");
    };
    let mut hasher = DefaultHasher::new();
    network.hash(&mut hasher);
    let index = usize::try_from(hasher.finish() % workers.len().max(1) as u64).unwrap_or(0);
    let Some(worker) = workers.get(index) else { return };
    let job = Job { network, token: token.to_owned(), claim, claimed, _queued: Queued::new(state) };
    // A worker only goes away at shutdown; its claims are released by the next start.
    let _ = worker.send(job).await;
}

fn worker(state: State) -> mpsc::Sender<Job> {
    let (sender, jobs) = mpsc::channel::<Job>(BATCH as usize);
    tokio::spawn(work_off(jobs, move |job| {
        let state = state.clone();
        async move {
            let ids = RequestContext::new(job.claim.request_id.clone(), job.claim.traceparent.as_deref());
            context::scope(ids, work(&state, &job)).await;
        }
    }));
    sender
}

/// Does one job after the other. One that panics takes neither the worker nor the jobs behind it along; its claim runs
/// out, and the render is handed out again.
async fn work_off<T, F: Future<Output = ()>>(mut jobs: mpsc::Receiver<T>, work: impl Fn(T) -> F) {
    while let Some(job) = jobs.recv().await {
        let done = AssertUnwindSafe(async { work(job).await }).catch_unwind().await;
        if done.is_err() {
            metrics::counter!("sf_net_render_panics_total").increment(1);
            tracing::error!(
                "a render failed inside the agent; its claim runs out and it is handed out again"
            );
        }
    }
}

fn show_depth(state: &State) {
    metrics::gauge!("sf_net_render_queue_depth").set(state.shared.queued.load(Ordering::Relaxed) as f64);
}

async fn work(state: &State, job: &Job) {
    let render = render::newest(state, job.network, None, Reason::Asked);
    let outcome = while_renewing(state, job, render).await;
    let reported = match &outcome {
        Ok(rendered) => {
            let lag = job.claim.age_seconds + job.claimed.elapsed().as_secs_f64();
            metrics::histogram!("sf_net_render_lag_seconds").record(lag);
            render::report(state, job.network, &job.token, Ok(rendered)).await
        }
        Err(error) => {
            record::failed(state, job.network, error);
            render::report(
                state,
                job.network,
                &job.token,
                Err((error, job.claim.min_generation, Failed::Error)),
            )
            .await
        }
    };
    if let Err(error) = reported {
        // The claim runs out and the render is handed out again; it will change nothing then.
        tracing::warn!(network = %job.network, %error, "a render could not be reported");
    }
}

/// Runs a render and keeps its claim meanwhile.
async fn while_renewing<T>(state: &State, job: &Job, render: impl Future<Output = T>) -> T {
    let mut render = std::pin::pin!(render);
    loop {
        tokio::select! {
            outcome = &mut render => return outcome,
            () = tokio::time::sleep(RENEWAL) => {
                let request = RenewRenderClaimsRequest {
                    node_uuid: state.node_uuid(),
                    incarnation: state.context.incarnation.to_string(),
                    claim_token: job.token.clone(),
                    network_uuids: vec![job.network.to_string()],
                };
                if let Err(error) = state.context.gateway.call(CallClass::Lease, request).await {
                    tracing::debug!(network = %job.network, %error, "a claim could not be renewed");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_panics_does_not_end_its_worker() {
        let (sender, jobs) = mpsc::channel(4);
        let (done, mut outcomes) = mpsc::unbounded_channel();
        tokio::spawn(work_off(jobs, move |job: u8| {
            let done = done.clone();
            async move {
                assert_ne!(job, 1, "deliberate");
                done.send(job).unwrap();
            }
        }));
        for job in [1, 2] {
            sender.send(job).await.unwrap();
        }
        assert_eq!(outcomes.recv().await, Some(2));
    }
}
