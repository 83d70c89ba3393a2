//! The event log. Batches and pruning run several transactions of their own.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use sf_protos::events::{
    GetObjectEventsRequest, PruneEventsReply, PruneEventsRequest, PurgeObjectEventsReply,
    PurgeObjectEventsRequest, RecordEventBatchReply, RecordEventBatchRequest,
};
use sf_store::{Fence, events};
use tonic::Status;

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
    let _place = gateway.admission.enter(caller.deadline).await?;
    events::record_batch(&gateway.pool, caller.deadline, request.events).await.map_err(status::from_store)
}

async fn prune(
    gateway: Arc<Gateway>,
    caller: Caller,
    request: PruneEventsRequest,
) -> Result<PruneEventsReply, Status> {
    let _place = gateway.admission.enter(caller.deadline).await?;
    let fence =
        request.fence.ok_or_else(|| status::refused("PruneEvents needs the leader's fence".to_owned()))?;
    let fence = Fence { lock_name: fence.lock_name, fence: fence.fence };
    let budget = events::PruneBudget {
        rows: request.row_budget.into(),
        time: Duration::from_millis(request.time_budget_ms.into()).min(caller.deadline.left() / 2),
    };
    let settings = gateway.settings.load_full();
    let reply = events::prune(&gateway.pool, &settings, &fence, budget).await.map_err(status::from_store)?;
    for pruned in &reply.pruned {
        metrics::counter!("database_events_pruned_total", "event_type" => pruned.label.clone())
            .increment(pruned.rows);
    }
    metrics::counter!("database_orphan_events_pruned_total").increment(reply.events_deleted);
    Ok(reply)
}

async fn purge(
    gateway: Arc<Gateway>,
    caller: Caller,
    request: PurgeObjectEventsRequest,
) -> Result<PurgeObjectEventsReply, Status> {
    let _place = gateway.admission.enter(caller.deadline).await?;
    events::purge_object(&gateway.pool, &request.object_type, &request.object_id)
        .await
        .map_err(status::from_store)
}
