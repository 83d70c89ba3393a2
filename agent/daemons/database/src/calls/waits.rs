//! The long polls: look, wait to be woken, look again. While a call waits it holds no session and no place.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use sf_model::{ClaimToken, IncarnationId, NodeId, OperationId};
use sf_protos::operations::{
    DequeueWorkReply, DequeueWorkRequest, WaitOperationsReply, WaitOperationsRequest,
};
use sf_protos::{Call, Rpc};
use sf_store::operations::{self, Dequeue, Worker};
use sf_store::wire::parse;
use sf_store::{StoreResult, Wake, session, transaction};
use tonic::Status;

use crate::caller::Caller;
use crate::runner::detached;
use crate::state::Gateway;
use crate::status;
use crate::table::Table;

/// Longest wait of a poll (`database-tier.md` §13.4).
const MOST_PATIENCE: Duration = Duration::from_secs(20);
/// Longest look of a poll. Its caller has far more time, but a server that falls silent during a look must not keep a place
/// for all of it.
pub(super) const LOOK: Duration = Duration::from_secs(10);
/// Work handed out by one call.
const MAX_WORK: u32 = 32;
/// Operations watched by one call.
const MAX_WATCHED: usize = 100;

pub(super) fn bind(table: Table) -> Table {
    table
        .bind_with::<DequeueWorkRequest, _, _>(dequeue_work)
        .bind_with::<WaitOperationsRequest, _, _>(wait_operations)
}

/// How long a poll may wait: as asked, but never so long that the answer comes after the caller's deadline.
pub(super) fn patience(wait_ms: u32, caller: &Caller) -> Duration {
    let margin = Duration::from_secs(1);
    Duration::from_millis(wait_ms.into())
        .min(MOST_PATIENCE)
        .min(caller.deadline.left().saturating_sub(margin))
}

async fn dequeue_work(
    gateway: Arc<Gateway>,
    caller: Caller,
    request: DequeueWorkRequest,
) -> Result<DequeueWorkReply, Status> {
    let ask = parse_dequeue(&request).map_err(status::from_store)?;
    let node = ask.worker.node;
    let waiting = gateway.waiters().join([Wake::Work(node)]);
    let found = waiting
        .until(patience(request.wait_ms, &caller), || take(&gateway, &caller, &ask, DequeueWorkRequest::CALL))
        .await?;
    let work = found.unwrap_or_default();
    let more = u32::try_from(work.len()).unwrap_or(u32::MAX) >= ask.limit;
    Ok(DequeueWorkReply { work, more })
}

fn parse_dequeue(request: &DequeueWorkRequest) -> StoreResult<Dequeue> {
    let worker = Worker {
        node: parse::<NodeId>("node_uuid", &request.node_uuid)?,
        daemon: request.daemon.clone(),
        incarnation: parse::<IncarnationId>("incarnation", &request.incarnation)?,
    };
    let claim_token = parse::<ClaimToken>("claim_token", &request.claim_token)?;
    Ok(Dequeue { worker, claim_token, limit: request.limit.clamp(1, MAX_WORK) })
}

/// One transaction. A client that goes away does not cut it: it runs on a task of its own, and its claims are found
/// again by their token.
async fn take(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    ask: &Dequeue,
    call: Call,
) -> Result<Option<Vec<sf_protos::operations::ClaimedWork>>, Status> {
    let context = Arc::new(caller.transaction(&call, None, gateway.settings.load_full())?);
    let (ask, deadline) = (ask.clone(), caller.deadline.at_most(LOOK));
    let work = in_place(gateway, caller, call, move |gateway| async move {
        transaction(&gateway.pools.ordinary, deadline, |conn| {
            let (context, ask) = (context.clone(), ask.clone());
            Box::pin(async move {
                context.begin_attempt();
                operations::dequeue(conn, &context, &ask).await
            })
        })
        .await
    })
    .await?;
    Ok(Some(work).filter(|work| !work.is_empty()))
}

async fn wait_operations(
    gateway: Arc<Gateway>,
    caller: Caller,
    request: WaitOperationsRequest,
) -> Result<WaitOperationsReply, Status> {
    if request.operation_uuids.len() > MAX_WATCHED {
        return Err(Status::invalid_argument(format!(
            "at most {MAX_WATCHED} operations can be waited for at once"
        )));
    }
    let watched: Vec<OperationId> = request
        .operation_uuids
        .iter()
        .map(|id| parse("operation_uuids", id))
        .collect::<StoreResult<_>>()
        .map_err(status::from_store)?;
    let waiting = gateway.waiters().join(watched.iter().map(|id| Wake::Operation(*id)));
    let done = waiting
        .until(patience(request.timeout_ms, &caller), || async {
            let reply = look(&gateway, &caller, &watched).await?;
            Ok::<_, Status>(Some(reply).filter(|reply| reply.done))
        })
        .await?;
    match done {
        Some(reply) => Ok(reply),
        None => look(&gateway, &caller, &watched).await,
    }
}

async fn look(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    watched: &[OperationId],
) -> Result<WaitOperationsReply, Status> {
    let (asked, deadline) = (watched.to_vec(), caller.deadline.at_most(LOOK));
    let outcomes = in_place(gateway, caller, WaitOperationsRequest::CALL, move |gateway| async move {
        session(&gateway.pools.ordinary, deadline, |conn| {
            async move { operations::outcomes(conn, &asked).await }.boxed()
        })
        .await
    })
    .await?;
    Ok(operations::reply_for_wait(watched, &outcomes))
}

/// Runs work of a call in a place of the admission, on a task that outlives the caller.
pub(super) async fn in_place<T, F>(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    call: Call,
    work: impl FnOnce(Arc<Gateway>) -> F,
) -> Result<T, Status>
where
    T: Send + 'static,
    F: Future<Output = StoreResult<T>> + Send + 'static,
{
    let place = gateway.admission.enter(caller.deadline).await?;
    let running = work(gateway.clone());
    detached(call, async move {
        let outcome = running.await;
        drop(place);
        outcome
    })
    .await
}
