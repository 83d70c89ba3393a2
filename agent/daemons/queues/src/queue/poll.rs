//! The long poll: asks for as much work as there are free hands.

use std::sync::Arc;
use std::time::Duration;

use sf_gateway::CallClass;
use sf_model::ClaimToken;
use sf_protos::operations::DequeueWorkRequest;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::execute::execute;
use crate::worker::Worker;

/// How long a gateway may hold a question that has no answer yet.
const WAIT: Duration = Duration::from_secs(20);
/// Most operations of one answer.
const BATCH: usize = 32;
/// Pause after a failed question.
const PAUSE: Duration = Duration::from_secs(1);

/// Hands operations out until shutdown, then waits for those in flight as long as the drain allows.
pub(crate) async fn poll(worker: Arc<Worker>) {
    let context = &worker.context;
    let tick = context.liveness.register("dequeue", Duration::from_secs(60));
    let hands = Arc::new(Semaphore::new(usize::try_from(context.config.instance_workers).unwrap_or(1)));
    let mut running = JoinSet::new();
    // Kept until an answer arrived: a lost reply is asked for again under the same token and strands nothing.
    let mut token = ClaimToken::random();
    while !context.shutdown.is_requested() {
        tick.tick();
        while running.try_join_next().is_some() {}
        let Some(Ok(hand)) = context.shutdown.unless(tick.while_waiting(hands.clone().acquire_owned())).await
        else {
            break;
        };
        let free = (hands.available_permits() + 1).min(BATCH);
        drop(hand);
        let request = DequeueWorkRequest {
            node_uuid: context.node.uuid.to_string(),
            daemon: context.name.to_string(),
            incarnation: context.incarnation.to_string(),
            claim_token: token.to_string(),
            limit: u32::try_from(free).unwrap_or(1),
            wait_ms: u32::try_from(WAIT.as_millis()).unwrap_or(20_000),
        };
        let asked = tick.while_waiting(context.gateway.call(CallClass::Wait, request));
        // Giving up a question at shutdown may strand claims; the next process gives them back.
        let Some(answered) = context.shutdown.unless(asked).await else { break };
        match answered {
            Ok(reply) => {
                token = ClaimToken::random();
                for work in reply.work {
                    let Ok(hand) = hands.clone().acquire_owned().await else { return };
                    let worker = worker.clone();
                    running.spawn(async move {
                        execute(&worker, work).await;
                        drop(hand);
                    });
                }
            }
            Err(error) => {
                tracing::debug!(%error, "no answer from the queue");
                let _ = context.shutdown.unless(tick.while_waiting(tokio::time::sleep(PAUSE))).await;
            }
        }
    }
    drop(tick);
    let drained = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(context.shutdown.drain_left(), drained).await.is_err() {
        tracing::warn!("operations in flight are given up; they will be handed out again");
    }
}
