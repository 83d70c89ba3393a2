//! Leased locks.

use futures::FutureExt;
use sf_protos::locks::{
    AcquireLockReply, AcquireLockRequest, ListLocksRequest, RefreshLocksReply, RefreshLocksRequest,
    ReleaseIncarnationReply, ReleaseIncarnationRequest, ReleaseLockReply, ReleaseLockRequest,
};
use sf_store::locks::{self, Holder};
use sf_store::{Conn, StoreError, StoreResult, wire};

use crate::table::Table;

pub(super) fn bind(table: Table) -> Table {
    table
        .bind::<AcquireLockRequest>(|conn, _, request| acquire(conn, request).boxed())
        .bind::<RefreshLocksRequest>(|conn, _, request| refresh(conn, request).boxed())
        .bind::<ReleaseLockRequest>(|conn, _, request| release(conn, request).boxed())
        .bind::<ReleaseIncarnationRequest>(|conn, _, request| release_incarnation(conn, request).boxed())
        .bind::<ListLocksRequest>(|conn, _, _| locks::list(conn).boxed())
}

async fn acquire(conn: &mut Conn, request: &AcquireLockRequest) -> StoreResult<AcquireLockReply> {
    let holder = request.holder.as_ref().ok_or_else(|| StoreError::invalid("holder: required"))?;
    let holder = Holder {
        node: holder.node.clone(),
        daemon: holder.daemon.clone(),
        pid: holder.pid,
        incarnation: wire::parse("incarnation", &holder.incarnation)?,
        operation: holder.operation.clone(),
    };
    locks::acquire(conn, &request.lock_name, &holder).await
}

async fn refresh(conn: &mut Conn, request: &RefreshLocksRequest) -> StoreResult<RefreshLocksReply> {
    let incarnation = wire::parse("incarnation", &request.incarnation)?;
    Ok(RefreshLocksReply { held: locks::refresh(conn, incarnation, &request.fences).await? })
}

async fn release(conn: &mut Conn, request: &ReleaseLockRequest) -> StoreResult<ReleaseLockReply> {
    let incarnation = wire::parse("incarnation", &request.incarnation)?;
    locks::release(conn, incarnation, request.fence).await?;
    Ok(ReleaseLockReply { released: true })
}

async fn release_incarnation(
    conn: &mut Conn,
    request: &ReleaseIncarnationRequest,
) -> StoreResult<ReleaseIncarnationReply> {
    let keep = wire::parse("keep", &request.keep)?;
    let released = locks::release_incarnation(conn, &request.node, &request.daemon, keep).await?;
    Ok(ReleaseIncarnationReply { released: u32::try_from(released).unwrap_or(u32::MAX) })
}
