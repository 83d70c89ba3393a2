//! Asking for a network to be deleted (`networking.md` §11.6, `rest-api.md` §4.4).

use sf_model::event::EventType;
use sf_model::operation::{NetworkTask, OperationArgs, OperationType, Priority};
use sf_model::state::NetworkState;
use sf_model::{NetworkId, ObjectType, OperationId};
use sf_protos::common::OperationHandle;
use sf_protos::networks::{
    DeleteAllNetworksReply, DeleteAllNetworksRequest, DeleteNetworkReply, DeleteNetworkRequest,
    NetworkDeletion,
};

use super::{FLOATING_FIXED, Held, finish, live_interfaces, lock, object, render, view};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult, reason};
use crate::lookup::Viewer;
use crate::operations::{self, EnqueueOperation};
use crate::page::Page;
use crate::sql::sql;
use crate::wire::from_row;

/// Seconds in which a network must be empty and gone.
const DELETE_DEADLINE: u32 = 3600;
/// Networks of one call of [`delete_all`]. Each takes some twenty statements, and all of them stay locked to the end.
const CHUNK: u32 = 25;

/// Begins the deletion of a network; a second call answers the handle of the first.
///
/// # Errors
/// [`StoreError::Missing`], also when it is deleted; [`StoreError::Refused`] for the floating network; a precondition
/// `in-use` with the number of live instances.
pub async fn delete(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &DeleteNetworkRequest,
) -> StoreResult<DeleteNetworkReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let id = view::resolve(conn, &viewer, request.selector.as_ref()).await?;
    if id == NetworkId::FLOATING {
        let message = "the floating network cannot be deleted".to_owned();
        return Err(StoreError::Refused { reason: FLOATING_FIXED, message });
    }
    let operation = begin(conn, ctx, id).await?;
    Ok(DeleteNetworkReply { network_uuid: id.to_string(), operation: Some(handle(operation)) })
}

/// Begins the deletion of the next networks of a namespace; those in use are named and stay.
///
/// # Errors
/// Those of the database.
pub async fn delete_all(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &DeleteAllNetworksRequest,
) -> StoreResult<DeleteAllNetworksReply> {
    let page = Page::up_to(CHUNK, request.page.clone());
    let next = sql("SELECT uuid AS value FROM networks WHERE namespace = ? AND state <> 'deleted'");
    // Locked together: one after the other they would be locked behind the operations of those before.
    let found = page.by_key(next.bind(&request.namespace), "uuid").push(" FOR UPDATE").values(conn).await?;
    let (found, info) = page.cut(found, NetworkId::to_string);
    let mut networks = Vec::with_capacity(found.len());
    for network in found {
        let operation = match begin(conn, ctx, network).await {
            Ok(operation) => Some(handle(operation)),
            Err(StoreError::Precondition { reason: reason::IN_USE, .. }) => None,
            Err(other) => return Err(other),
        };
        networks.push(NetworkDeletion { network_uuid: network.to_string(), operation });
    }
    Ok(DeleteAllNetworksReply { networks, page: Some(info) })
}

async fn begin(conn: &mut Conn, ctx: &TxContext, network: NetworkId) -> StoreResult<OperationId> {
    let held = lock(conn, network).await?;
    match from_row("network state", &held.state)? {
        NetworkState::Deleted => return Err(StoreError::missing(ObjectType::Network, network)),
        NetworkState::DeleteWait => {
            if let Some(running) = running(conn, &held).await? {
                return Ok(running);
            }
        }
        NetworkState::Initial | NetworkState::Created | NetworkState::Error => {
            refuse_if_used(conn, network).await?;
        }
    }
    start(conn, ctx, &held).await
}

/// Moves a locked network to `delete-wait` under a new operation and releases its renders if it is empty.
pub(super) async fn start(conn: &mut Conn, ctx: &TxContext, held: &Held) -> StoreResult<OperationId> {
    let generation = render::next_generation(conn, held.uuid).await?;
    operations::abort_for_target(conn, ctx, object(held.uuid)).await?;
    let operation = OperationId::ordered();
    let carrier = sql(
        "SELECT node_uuid AS value FROM network_carriers WHERE network_uuid = ? AND node_uuid IS NOT NULL",
    )
    .bind(held.uuid)
    .value(conn)
    .await?;
    let enqueue = EnqueueOperation {
        uuid: operation,
        node: render::operation_node(ctx, carrier),
        namespace: held.namespace.clone(),
        priority: Priority::UserFacing,
        args: OperationArgs::NetOp { network: held.uuid, task: NetworkTask::NetworkDelete, generation },
        dependencies: Vec::new(),
        deadline_seconds: DELETE_DEADLINE,
        observational: false,
    };
    operations::enqueue(conn, ctx, &[enqueue]).await?;
    sql("UPDATE networks SET state_changed_at = IF(state = 'delete-wait', state_changed_at, UTC_TIMESTAMP(6)), \
         state = 'delete-wait', delete_operation = ?, row_version = row_version + 1 WHERE uuid = ?")
    .bind(operation)
    .bind(held.uuid)
    .run(conn)
    .await?;
    ctx.event(EventType::Audit, "network deletion requested", &[object(held.uuid)]);
    if live_interfaces(conn, held.uuid).await? == 0 {
        let held = lock(conn, held.uuid).await?;
        finish::release_renders(conn, ctx, &held).await?;
    }
    Ok(operation)
}

/// The operation of an earlier delete that has not ended.
pub(super) async fn running(conn: &mut Conn, held: &Held) -> StoreResult<Option<OperationId>> {
    let Some(operation) = held.delete_operation else { return Ok(None) };
    sql("SELECT uuid AS value FROM cluster_operations WHERE uuid = ? AND state IN ('queued', 'executing')")
        .bind(operation)
        .value(conn)
        .await
}

async fn refuse_if_used(conn: &mut Conn, network: NetworkId) -> StoreResult<()> {
    let instances: Option<u64> =
        sql("SELECT CAST(COUNT(DISTINCT i.uuid) AS UNSIGNED) AS value FROM network_interfaces f \
         JOIN instances i ON i.uuid = f.instance_uuid WHERE f.network_uuid = ? AND f.state <> 'deleted' \
         AND i.state NOT IN ('delete-wait', 'deleted')")
        .bind(network)
        .value(conn)
        .await?;
    match instances.unwrap_or(0) {
        0 => Ok(()),
        count => {
            let message = format!("network is in use by {count} instances");
            Err(StoreError::precondition(reason::IN_USE, message).with("instances", count))
        }
    }
}

fn handle(operation: OperationId) -> OperationHandle {
    OperationHandle { op_type: OperationType::NetOp.to_string(), op_uuid: operation.to_string() }
}
