//! What the leader does.

use std::collections::BTreeMap;

use futures::FutureExt;
use sf_protos::maintenance::{
    CheckInvariantsRequest, ClaimTaskReply, ClaimTaskRequest, FinishTaskReply, FinishTaskRequest,
    HardDeleteExpiredRequest, ListTasksRequest, PruneMutationLogReply, PruneMutationLogRequest,
};
use sf_store::{Conn, StoreResult, TxContext, maintenance, mutations};

use crate::table::Table;

pub(super) fn bind(table: Table) -> Table {
    table
        .bind::<ClaimTaskRequest>(|conn, ctx, request| claim(conn, ctx, request).boxed())
        .bind::<FinishTaskRequest>(|conn, ctx, request| {
            async move { maintenance::finish_task(conn, ctx, request).await.map(|()| FinishTaskReply {}) }
                .boxed()
        })
        .bind::<ListTasksRequest>(|conn, _, _| maintenance::list_tasks(conn).boxed())
        .bind::<HardDeleteExpiredRequest>(|conn, ctx, request| {
            maintenance::hard_delete(conn, ctx, &request.object_type, request.limit).boxed()
        })
        .bind::<PruneMutationLogRequest>(|conn, _, _| prune(conn).boxed())
        .bind::<CheckInvariantsRequest>(|conn, _, _| maintenance::check_invariants(conn).boxed())
}

async fn claim(conn: &mut Conn, ctx: &TxContext, request: &ClaimTaskRequest) -> StoreResult<ClaimTaskReply> {
    let known: BTreeMap<String, u32> = request.known.clone().into_iter().collect();
    maintenance::claim_task(conn, ctx, &known).await
}

async fn prune(conn: &mut Conn) -> StoreResult<PruneMutationLogReply> {
    let (deleted, more) = mutations::prune(conn).await?;
    Ok(PruneMutationLogReply { deleted: u32::try_from(deleted).unwrap_or(u32::MAX), more })
}
