//! The capacity ledger.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use sf_protos::Rpc;
use sf_protos::scheduler::{
    GetCapacityRequest, ReapReservationsRequest, ReconcileCapacityReply, ReconcileCapacityRequest,
    RefreshTotalsReply, RefreshTotalsRequest,
};
use sf_store::capacity;
use sf_store::{Conn, StoreResult, TxContext, events, locks, transaction};
use tonic::Status;

use crate::caller::Caller;
use crate::state::Gateway;
use crate::status;
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
    let _place = gateway.admission.enter(caller.deadline).await?;
    let pass = Pass { gateway: &gateway, caller: &caller, request: &request };
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

struct Pass<'a> {
    gateway: &'a Gateway,
    caller: &'a Caller,
    request: &'a ReconcileCapacityRequest,
}

impl Pass<'_> {
    /// One transaction of the pass: its work, its events, and the proof that the caller still leads.
    async fn step<T, W>(&self, work: W) -> Result<T, Status>
    where
        T: Send + 'static,
        W: for<'a> Fn(&'a mut Conn, &'a TxContext) -> BoxFuture<'a, StoreResult<T>> + Send + Sync + 'static,
    {
        let settings = self.gateway.settings.load_full();
        let ctx =
            self.caller.transaction(&ReconcileCapacityRequest::CALL, self.request.context(), settings)?;
        let (ctx, work) = (Arc::new(ctx), Arc::new(work));
        transaction(&self.gateway.pools.ordinary, self.caller.deadline, |conn| {
            attempt(conn, ctx.clone(), work.clone()).boxed()
        })
        .await
        .map_err(status::from_store)
    }
}

async fn attempt<T, W>(conn: &mut Conn, ctx: Arc<TxContext>, work: Arc<W>) -> StoreResult<T>
where
    W: for<'a> Fn(&'a mut Conn, &'a TxContext) -> BoxFuture<'a, StoreResult<T>>,
{
    ctx.begin_attempt();
    let value = work(conn, &ctx).await?;
    events::insert(conn, &ctx.take_events()).await?;
    if let Some(fence) = &ctx.fence {
        locks::verify(conn, fence).await?;
    }
    Ok(value)
}
