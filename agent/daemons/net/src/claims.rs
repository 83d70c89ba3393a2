//! Renders that rows ask for: claimed by long poll, worked on by a few workers, one network always by the same one.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::atomic::Ordering;
use std::time::Duration;

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
}

/// Claims and renders until shutdown.
pub(crate) async fn run(state: State) {
    let count = state.context.config.network_operation_workers.max(1);
    let workers: Vec<mpsc::Sender<Job>> = (0..count).map(|_| worker(state.clone())).collect();
    let tick = state.context.liveness.register("render-claims", WAIT * 3);
    while !state.context.shutdown.is_requested() {
        tick.tick();
        let token = ClaimToken::random().to_string();
        let poll = state.context.shutdown.unless(claim(&state, &token));
        match poll.await {
            None => return,
            Some(Ok(claims)) => {
                for claim in claims {
                    hand_out(&state, &workers, &token, claim).await;
                }
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

async fn hand_out(state: &State, workers: &[mpsc::Sender<Job>], token: &str, claim: RenderClaim) {
    let Ok(network) = claim.network_uuid.parse::<NetworkId>() else {
        return tracing::error!(network = claim.network_uuid, "a claim names no network");
    };
    let mut hasher = DefaultHasher::new();
    network.hash(&mut hasher);
    let index = usize::try_from(hasher.finish() % workers.len().max(1) as u64).unwrap_or(0);
    let Some(worker) = workers.get(index) else { return };
    state.shared.queued.fetch_add(1, Ordering::Relaxed);
    show_depth(state);
    let job = Job { network, token: token.to_owned(), claim };
    // A worker only goes away at shutdown; its claims are released by the next start.
    let _ = worker.send(job).await;
}

fn worker(state: State) -> mpsc::Sender<Job> {
    let (sender, mut jobs) = mpsc::channel::<Job>(BATCH as usize);
    tokio::spawn(async move {
        while let Some(job) = jobs.recv().await {
            let ids = RequestContext::new(job.claim.request_id.clone(), job.claim.traceparent.as_deref());
            context::scope(ids, work(&state, &job)).await;
            state.shared.queued.fetch_sub(1, Ordering::Relaxed);
            show_depth(&state);
        }
    });
    sender
}

fn show_depth(state: &State) {
    metrics::gauge!("sf_net_render_queue_depth").set(state.shared.queued.load(Ordering::Relaxed) as f64);
}

async fn work(state: &State, job: &Job) {
    let render = render::newest(state, job.network, Reason::Asked);
    let outcome = while_renewing(state, job, render).await;
    let reported = match &outcome {
        Ok(rendered) => {
            metrics::histogram!("sf_net_render_lag_seconds").record(job.claim.age_seconds);
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
