//! The capacity ledger.

use std::sync::Arc;

use futures::FutureExt;
use sf_protos::scheduler::{
    GetCapacityRequest, ReapReservationsRequest, ReconcileCapacityReply, ReconcileCapacityRequest,
    RefreshTotalsReply, RefreshTotalsRequest,
};
use sf_store::capacity;
use sf_store::{Conn, StoreResult};
use tonic::Status;

use super::steps::Steps;
use crate::caller::Caller;
use crate::state::Gateway;
use crate::table::Table;

pub(super) fn bind(table: Table) -> Table {
    table
        .bind::<GetCapacityRequest>(|conn, ctx, request| capacity::snapshot(conn, ctx, request).boxed())
        .bind::<ReapReservationsRequest>(|conn, ctx, _| capacity::reap(conn, ctx).boxed())
        .bind::<RefreshTotalsRequest>(|conn, _, _| totals(conn).boxed())
        .bind_with::<ReconcileCapacityRequest, _, _>(reconcile)
}

async fn totals(conn: &mut Conn) -> StoreResult<RefreshTotalsReply> {
    let total = capacity::refresh_totals(conn).await?;
    let (reserved, consumed) = capacity::count_reservations(conn).await?;
    Ok(RefreshTotalsReply { total: Some(total.into()), reserved, consumed })
}

/// Compares everything: one transaction for each node, so that no admission waits for more than one comparison.
async fn reconcile(
    gateway: Arc<Gateway>,
    caller: Caller,
    request: ReconcileCapacityRequest,
) -> Result<ReconcileCapacityReply, Status> {
    let pass = Steps::of(&gateway, &caller, &request);
    pass.step(|conn, ctx| capacity::expire_claims(conn, ctx).boxed()).await?;
    let orphans = pass.step(|conn, ctx| capacity::repair_orphans(conn, ctx).boxed()).await?;
    let mut drift = Vec::new();
    for node in pass.step(|conn, _| capacity::sized_nodes(conn).boxed()).await? {
        drift.extend(pass.step(move |conn, ctx| capacity::reconcile_node(conn, ctx, node).boxed()).await?);
    }
    drift.extend(pass.step(|conn, ctx| capacity::reconcile_claims(conn, ctx).boxed()).await?);
    drift.extend(pass.step(|conn, ctx| capacity::reconcile_cluster(conn, ctx).boxed()).await?);
    Ok(ReconcileCapacityReply {
        drift,
        orphans_released: orphans.released,
        orphans_inserted: orphans.inserted,
    })
}
