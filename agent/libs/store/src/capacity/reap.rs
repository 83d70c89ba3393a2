//! Leases that ran out (`scheduler.md` §7). The only thing that releases capacity on a timer.

use sf_model::event::EventType;
use sf_model::{InstanceId, ObjectRef, ObjectType};
use sf_protos::scheduler::ReapReservationsReply;

use super::release::{give_back, lock, release_locked};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::sql::sql;

/// Leases ended in one transaction.
const BATCH: usize = 200;

/// Releases reservations whose lease has ended without an instance.
///
/// # Errors
/// Those of the database.
pub async fn reap(conn: &mut Conn, ctx: &TxContext) -> StoreResult<ReapReservationsReply> {
    // By node, so that the rows of the nodes are locked in the order of every other transaction.
    let owners: Vec<InstanceId> = sql("SELECT owner_uuid AS value FROM placement_reservations \
         WHERE state = 'reserved' AND expires_at < UTC_TIMESTAMP(6) ORDER BY node_uuid, owner_uuid LIMIT ?")
    .bind(u64::try_from(BATCH + 1).unwrap_or(u64::MAX))
    .values(conn)
    .await?;
    let more = owners.len() > BATCH;
    let mut released = Vec::new();
    for owner in owners.into_iter().take(BATCH) {
        // The lease may have been consumed since the list was read; the locked row tells.
        let Some(held) = lock(conn, owner).await?.filter(|held| held.expired) else { continue };
        let done = release_locked(conn, owner, held).await?;
        let namespace = ObjectRef::new(ObjectType::Namespace, done.namespace.as_str());
        let node = ObjectRef::new(ObjectType::Node, done.node);
        ctx.event(EventType::Audit, "reservation expired", &[namespace, node]);
        released.push(done);
    }
    for done in &released {
        give_back(conn, done).await?;
    }
    Ok(ReapReservationsReply { released: u32::try_from(released.len()).unwrap_or(u32::MAX), more })
}
