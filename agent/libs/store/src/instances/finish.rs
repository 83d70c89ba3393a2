//! The end of an instance: everything it held is released in one transaction (`instances.md` §11, stage D6).

use sf_model::event::EventType;
use sf_model::state::InstanceState;
use sf_model::{InstanceId, NetworkId, NodeId, ObjectRef, ObjectType};
use sf_protos::instances::{
    ClearTombstoneReply, ClearTombstoneRequest, FinishDeleteReply, FinishDeleteRequest,
};

use super::guard::in_state;
use super::rows::Guard;
use super::transition::Change;
use crate::allocator::{self, Owner};
use crate::capacity;
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::networks::interfaces;
use crate::operations;
use crate::references::{self, ReferenceKind};
use crate::sql::sql;
use crate::wire::parse;

/// The node has nothing of the instance any more.
///
/// # Errors
/// [`crate::StoreError::Missing`]; a precondition when the instance is not to be deleted. An instance that is deleted
/// already is success.
pub async fn finish_delete(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &FinishDeleteRequest,
) -> StoreResult<FinishDeleteReply> {
    let instance: InstanceId = parse("instance_uuid", &request.instance_uuid)?;
    let networks = match release_all(conn, ctx, instance, &[InstanceState::DeleteWait]).await? {
        Some(networks) => networks,
        None => {
            let row = Guard::read(conn, instance).await?;
            if row.state()? != InstanceState::Deleted {
                return Err(in_state(instance, &row.state));
            }
            Vec::new()
        }
    };
    Ok(FinishDeleteReply { network_uuids: networks.into_iter().map(String::from).collect() })
}

/// Removes an instance whose node cannot be asked, and leaves a mark for the node in case it comes back. Answers whether
/// the instance was in one of the expected states.
pub(super) async fn globally(
    conn: &mut Conn,
    ctx: &TxContext,
    row: &Guard,
    expected: &[InstanceState],
) -> StoreResult<bool> {
    if release_all(conn, ctx, row.uuid, expected).await?.is_none() {
        return Ok(false);
    }
    operations::abort_for_target(conn, ctx, ObjectRef::new(ObjectType::Instance, row.uuid)).await?;
    if let Some(node) = row.node_uuid {
        sql("INSERT INTO instance_tombstones (node_uuid, instance_uuid, created_at) \
             VALUES (?, ?, UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE created_at = created_at")
        .bind(node)
        .bind(row.uuid)
        .run(conn)
        .await?;
    }
    Ok(true)
}

/// The node has removed what a tombstone stood for.
///
/// # Errors
/// Those of the database.
pub async fn clear_tombstone(
    conn: &mut Conn,
    request: &ClearTombstoneRequest,
) -> StoreResult<ClearTombstoneReply> {
    sql("DELETE FROM instance_tombstones WHERE node_uuid = ? AND instance_uuid = ?")
        .bind(parse::<NodeId>("node_uuid", &request.node_uuid)?)
        .bind(parse::<InstanceId>("instance_uuid", &request.instance_uuid)?)
        .run(conn)
        .await?;
    Ok(ClearTombstoneReply {})
}

/// Releases capacity, interfaces with their addresses, blob references and ports, and sets `deleted`. None: the
/// instance was in another state; the transaction must then not be committed with what was released, so this is
/// checked before anything is.
async fn release_all(
    conn: &mut Conn,
    ctx: &TxContext,
    instance: InstanceId,
    expected: &[InstanceState],
) -> StoreResult<Option<Vec<NetworkId>>> {
    // A plain read: the ledger's rows must be locked before the instance. Only this function leaves the expected
    // states of a delete, and the guarded change below repeats the test.
    let row = Guard::read(conn, instance).await?;
    if !expected.contains(&row.state()?) {
        return Ok(None);
    }
    let released = capacity::release(conn, instance).await?;
    let networks = interfaces::delete_of_instance(conn, ctx, instance).await?;
    let change = Change { instance, expected, placement_seq: None, to: InstanceState::Deleted };
    let off = sql("power_desired = 'off', power_state = 'off'");
    if !change.apply(conn, ctx, None, Some(off)).await? {
        let row = Guard::read(conn, instance).await?;
        return Err(in_state(instance, &row.state));
    }
    for kind in [ReferenceKind::Disk, ReferenceKind::NvramTemplate] {
        references::remove_holder(conn, instance.as_uuid(), kind).await?;
    }
    allocator::release_all(conn, Owner::from(instance)).await?;
    sql("DELETE FROM instance_ports WHERE instance_uuid = ?").bind(instance).run(conn).await?;
    if let Some(released) = &released {
        capacity::give_back(conn, released).await?;
    }
    ctx.event(EventType::Audit, "instance deleted", &[ObjectRef::new(ObjectType::Instance, instance)]);
    Ok(Some(networks))
}
