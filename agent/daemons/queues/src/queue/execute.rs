//! One claimed operation, from start to its recorded end.

use std::time::{Duration, Instant};

use futures::FutureExt;
use sf_events::event;
use sf_gateway::{CallClass, DbError};
use sf_model::event::EventType;
use sf_model::object::ObjectType;
use sf_model::operation::{ARGUMENTS_VERSION, OperationArgs};
use sf_protos::convert::unix_seconds;
use sf_protos::operations::{
    ClaimedWork, CompleteOperationRequest, DeferOperationReply, DeferOperationRequest, FailOperationRequest,
    StartOperationRequest,
};
use sf_runtime::RequestContext;
use tokio_util::sync::CancellationToken;

use crate::error::Stop;
use crate::operations;
use crate::worker::Worker;

/// The operation being executed, as its executor sees it.
pub(crate) struct Job {
    pub(crate) operation: String,
    pub(crate) namespace: Option<String>,
    cancel: CancellationToken,
}

impl Job {
    /// Work that no queue handed out, ended by `cancel` only.
    pub(crate) fn detached(name: &str, cancel: CancellationToken) -> Self {
        Self { operation: name.to_owned(), namespace: None, cancel }
    }

    /// Between two stages: whether this worker still holds the claim. A stage itself is never cut short, because what
    /// it started outside would go on without the instance's lock.
    pub(crate) fn check(&self) -> Result<(), Stop> {
        if self.cancel.is_cancelled() { Err(Stop::ClaimLost) } else { Ok(()) }
    }

    /// A wait that may be given up at any moment.
    pub(crate) async fn unless_lost<T>(&self, work: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Stop::ClaimLost),
            output = work => Ok(output),
        }
    }
}

/// Executes one operation and records how it ended.
pub(crate) async fn execute(worker: &Worker, work: ClaimedWork) {
    let cancel = worker.claims.add(&work.operation_uuid);
    let caller = RequestContext::new(work.request_id.clone(), work.traceparent.as_deref());
    let caller = match &work.namespace {
        Some(namespace) => caller.with_caller(namespace.clone(), None),
        None => caller,
    };
    sf_runtime::context::scope(caller, execute_in_scope(worker, &work, cancel)).await;
    worker.claims.remove(&work.operation_uuid);
}

async fn execute_in_scope(worker: &Worker, work: &ClaimedWork, cancel: CancellationToken) {
    let began = Instant::now();
    let outcome = match start(worker, work).await {
        Ok(Some(args)) => {
            let job =
                Job { operation: work.operation_uuid.clone(), namespace: work.namespace.clone(), cancel };
            let run = std::panic::AssertUnwindSafe(operations::run(worker, &job, &args)).catch_unwind();
            let outcome = run.await.unwrap_or_else(|_| {
                Err(Stop::permanent("bug", "the operation failed inside the agent; see its log"))
            });
            describe(worker, work, &args, &outcome, began.elapsed()).await;
            outcome
        }
        Ok(None) => return,
        Err(stop) => Err(stop),
    };
    let result = result_word(&outcome);
    let labels = labels(work);
    metrics::histogram!("cluster_op_execution_seconds", &labels).record(began.elapsed().as_secs_f64());
    metrics::histogram!("cluster_op_queue_seconds", &labels).record(work.wait_seconds);
    metrics::counter!("cluster_op_results_total", "operation_type" => work.operation_type.clone(), "result" => result)
        .increment(1);
    if let Err(error) = finish(worker, work, outcome).await {
        // The claim lapses and the operation is handed out again; every stage tests the world first.
        tracing::warn!(operation = %work.operation_uuid, %error, "the end of an operation could not be recorded");
    }
}

/// Announces the start. `None`: the operation ended meanwhile.
async fn start(worker: &Worker, work: &ClaimedWork) -> Result<Option<OperationArgs>, Stop> {
    if work.arguments_version > u32::from(ARGUMENTS_VERSION) {
        return Err(Stop::permanent(
            "version",
            "the operation was made by a newer release: upgrade this node",
        ));
    }
    let args = serde_json::from_str(&work.arguments_json).map_err(|error| {
        Stop::permanent("arguments", format!("the operation cannot be understood: {error}"))
    })?;
    let request = StartOperationRequest {
        context: None,
        operation_uuid: work.operation_uuid.clone(),
        claim_token: work.claim_token.clone(),
    };
    match worker.context.gateway.call(CallClass::Background, request).await {
        Ok(reply) if reply.execute => Ok(Some(args)),
        Ok(_) => Ok(None),
        Err(error) if error.is_unjudged() => Err(Stop::defer(error.to_string())),
        Err(error) => {
            tracing::info!(operation = %work.operation_uuid, %error, "not started");
            Ok(None)
        }
    }
}

async fn finish(worker: &Worker, work: &ClaimedWork, outcome: Result<(), Stop>) -> Result<(), DbError> {
    let gateway = &worker.context.gateway;
    let (operation_uuid, claim_token) = (work.operation_uuid.clone(), work.claim_token.clone());
    let fail = |code: &str, message: String, aborted: bool| FailOperationRequest {
        context: None,
        operation_uuid: operation_uuid.clone(),
        claim_token: claim_token.clone(),
        code: code.to_owned(),
        message,
        details_json: None,
        origin: worker.context.node.name.clone(),
        aborted,
    };
    let ended = match outcome {
        Ok(()) => {
            let request = CompleteOperationRequest {
                context: None,
                operation_uuid,
                claim_token,
                follow_ups: Vec::new(),
            };
            gateway.call(CallClass::Background, request).await.map(drop)
        }
        Err(Stop::Superseded(why)) => {
            gateway.call(CallClass::Background, fail("superseded", why, true)).await.map(drop)
        }
        Err(Stop::Defer { reason, delay }) => {
            tracing::info!(operation = %work.operation_uuid, %reason, "deferred");
            let delay_ms = delay.map(|delay| u32::try_from(delay.as_millis()).unwrap_or(u32::MAX));
            let request =
                DeferOperationRequest { context: None, operation_uuid, claim_token, delay_ms, reason };
            gateway.call(CallClass::Background, request).await.map(|reply| deferred(work, &reply))
        }
        Err(Stop::Placement(why)) => {
            gateway.call(CallClass::Background, fail("placement", why, false)).await.map(drop)
        }
        Err(Stop::Permanent { code, message }) => {
            gateway.call(CallClass::Background, fail(code, message, false)).await.map(drop)
        }
        Err(Stop::ClaimLost) => Ok(()),
    };
    match ended {
        // Somebody else holds the claim now, and will end the operation.
        Err(DbError::Precondition { reason, .. }) => {
            tracing::info!(operation = %work.operation_uuid, %reason, "the end of the operation is no longer ours to record");
            Ok(())
        }
        other => other,
    }
}

/// The database put the operation back until later.
fn deferred(work: &ClaimedWork, reply: &DeferOperationReply) {
    let pause = Duration::from_millis(reply.delay_ms.into());
    metrics::histogram!("cluster_op_defer_seconds", &labels(work)).record(pause.as_secs_f64());
}

fn labels(work: &ClaimedWork) -> [(&'static str, String); 2] {
    [("operation_type", work.operation_type.clone()), ("priority", work.priority.to_string())]
}

/// The event that ends an operation, about everything the operation is about.
async fn describe(
    worker: &Worker,
    work: &ClaimedWork,
    args: &OperationArgs,
    outcome: &Result<(), Stop>,
    took: Duration,
) {
    if matches!(outcome, Err(Stop::Defer { .. } | Stop::ClaimLost)) {
        return;
    }
    let targets = args.targets().into_iter();
    let targets =
        targets.filter_map(|target| Some((target.object_type.parse::<ObjectType>().ok()?, target.object_id)));
    let Some(ended) = event(EventType::Status, format!("{} ended", work.operation_type)).objects(targets)
    else {
        return;
    };
    let details = serde_json::json!({
        "operation": work.operation_uuid,
        "result": result_word(outcome),
        "wait_seconds": work.wait_seconds,
        "dequeued_at": dequeued_at(work),
        "deliveries": work.deliveries,
        "defer_count": work.defer_count,
    });
    worker.record(ended.duration(took.as_secs_f64()).extra(details)).await;
}

/// When this worker was given the work, by the database's clock, in seconds as the API shows times.
fn dequeued_at(work: &ClaimedWork) -> Option<f64> {
    work.enqueued_at.as_ref().map(|enqueued| unix_seconds(enqueued) + work.wait_seconds)
}

fn result_word(outcome: &Result<(), Stop>) -> &'static str {
    match outcome {
        Ok(()) => "complete",
        Err(Stop::Superseded(_)) => "aborted",
        Err(Stop::Defer { .. }) => "deferred",
        Err(Stop::ClaimLost) => "lost",
        Err(Stop::Placement(_)) => "placement",
        Err(Stop::Permanent { .. }) => "error",
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use metrics_exporter_prometheus::PrometheusBuilder;
    use sf_protos::convert::timestamp;

    use super::*;

    #[test]
    fn work_is_dequeued_when_its_wait_ends() {
        let enqueued = UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
        let work = ClaimedWork {
            enqueued_at: Some(timestamp(enqueued)),
            wait_seconds: 2.25,
            ..ClaimedWork::default()
        };
        assert_eq!(dequeued_at(&work), Some(1_700_000_002.75));
        assert_eq!(dequeued_at(&ClaimedWork::default()), None);
    }

    #[test]
    fn a_deferral_shows_how_long_the_database_says() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let work = ClaimedWork { operation_type: "kind".into(), priority: 2, ..ClaimedWork::default() };
            deferred(&work, &DeferOperationReply { delay_ms: 1_500 });
            let line = "cluster_op_defer_seconds_sum{operation_type=\"kind\",priority=\"2\"} 1.5";
            let text = recorder.handle().render();
            assert!(text.contains(line), "{line} is missing from {text}");
        });
    }
}
