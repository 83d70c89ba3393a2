//! The event log. Batches and pruning run several transactions of their own.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use sf_protos::Rpc;
use sf_protos::events::{
    GetObjectEventsRequest, PruneEventsReply, PruneEventsRequest, PurgeObjectEventsReply,
    PurgeObjectEventsRequest, RecordEventBatchReply, RecordEventBatchRequest,
};
use sf_store::{Fence, events};
use tonic::Status;

use super::waits::in_place;
use crate::caller::Caller;
use crate::state::Gateway;
use crate::status;
use crate::table::Table;

pub(super) fn bind(table: Table) -> Table {
    table
        .bind::<GetObjectEventsRequest>(|conn, _, request| events::object_events(conn, request).boxed())
        .bind_with::<RecordEventBatchRequest, _, _>(record)
        .bind_with::<PruneEventsRequest, _, _>(prune)
        .bind_with::<PurgeObjectEventsRequest, _, _>(purge)
}

async fn record(
    gateway: Arc<Gateway>,
    caller: Caller,
    request: RecordEventBatchRequest,
) -> Result<RecordEventBatchReply, Status> {
    let deadline = caller.deadline;
    in_place(&gateway, &caller, RecordEventBatchRequest::CALL, move |gateway| async move {
        events::record_batch(&gateway.pools.ordinary, deadline, request.events).await
    })
    .await
}

async fn prune(
    gateway: Arc<Gateway>,
    caller: Caller,
    request: PruneEventsRequest,
) -> Result<PruneEventsReply, Status> {
    let fence =
        request.fence.ok_or_else(|| status::refused("PruneEvents needs the leader's fence".to_owned()))?;
    let fence = Fence { lock_name: fence.lock_name, fence: fence.fence };
    let budget = events::PruneBudget {
        rows: request.row_budget.into(),
        time: Duration::from_millis(request.time_budget_ms.into()).min(caller.deadline.left() / 2),
    };
    let reply = in_place(&gateway, &caller, PruneEventsRequest::CALL, move |gateway| async move {
        let settings = gateway.settings.load_full();
        events::prune(&gateway.pools.ordinary, &settings, &fence, budget).await
    })
    .await?;
    metrics::counter!("database_orphan_events_pruned_total").increment(reply.events_deleted);
    Ok(reply)
}

async fn purge(
    gateway: Arc<Gateway>,
    caller: Caller,
    request: PurgeObjectEventsRequest,
) -> Result<PurgeObjectEventsReply, Status> {
    in_place(&gateway, &caller, PurgeObjectEventsRequest::CALL, move |gateway| async move {
        events::purge_object(&gateway.pools.ordinary, &request.object_type, &request.object_id).await
    })
    .await
}
