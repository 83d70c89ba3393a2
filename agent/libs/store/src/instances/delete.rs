//! Asking for the end of an instance (`instances.md` §11).

use sf_model::event::EventType;
use sf_model::operation::{OperationArgs, OperationType, Priority};
use sf_model::state::{InstanceState, NodeState, PowerDesired};
use sf_model::{InstanceId, NodeId, ObjectRef, ObjectType, OperationId};
use sf_protos::instances::{
    DeleteAllInstancesReply, DeleteAllInstancesRequest, DeleteInstanceReply, DeleteInstanceRequest,
    EnsureDeleteQueuedReply, EnsureDeleteQueuedRequest,
};
use strum::IntoEnumIterator;

use super::rows::Guard;
use super::transition::Change;
use super::{finish, read, view};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::lookup::Viewer;
use crate::operations::{self, Dependency, EnqueueOperation, Kind};
use crate::sql::sql;
use crate::wire::{from_row, parse};

/// How long a delete waits for the operation that is executing.
const WAIT_FOR_EXECUTING: u32 = 30;
/// How long a delete may wait for its worker: until the node is asked for good.
const DEADLINE_SECONDS: u32 = 3600;
/// Instances of one call of [`delete_all`].
const CHUNK: usize = 100;

/// Marks an instance and queues its teardown. Asking again changes nothing.
///
/// # Errors
/// [`StoreError::Missing`], also when it is deleted already.
pub async fn delete(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &DeleteInstanceRequest,
) -> StoreResult<DeleteInstanceReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let instance = read::resolve(conn, &viewer, request.selector.as_ref()).await?;
    let row = Guard::read(conn, instance).await?;
    if row.state()? == InstanceState::Deleted {
        return Err(StoreError::missing(ObjectType::Instance, instance));
    }
    mark(conn, ctx, &row).await?;
    Ok(DeleteInstanceReply { instance: Some(view::one(conn, instance).await?) })
}

/// Marks the next instances of a namespace.
///
/// # Errors
/// Those of the database.
pub async fn delete_all(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &DeleteAllInstancesRequest,
) -> StoreResult<DeleteAllInstancesReply> {
    let (instances, more) = next_live(conn, &request.namespace).await?;
    for instance in &instances {
        let row = Guard::read(conn, *instance).await?;
        mark(conn, ctx, &row).await?;
    }
    Ok(DeleteAllInstancesReply { instance_uuids: instances.into_iter().map(String::from).collect(), more })
}

/// Marks one instance for deletion on behalf of the cluster: its namespace or node is going away. An instance that is
/// being deleted already stays as it is.
///
/// # Errors
/// [`StoreError::Missing`].
pub async fn mark_for_deletion(conn: &mut Conn, ctx: &TxContext, instance: InstanceId) -> StoreResult<()> {
    let row = Guard::read(conn, instance).await?;
    mark(conn, ctx, &row).await.map(|_| ())
}

/// Queues a teardown for an instance that is to be deleted and has none pending.
///
/// # Errors
/// [`StoreError::Missing`].
pub async fn ensure_queued(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &EnsureDeleteQueuedRequest,
) -> StoreResult<EnsureDeleteQueuedReply> {
    let row = Guard::lock(conn, parse("instance_uuid", &request.instance_uuid)?).await?;
    let Some(node) = row.node_uuid.filter(|_| row.state.as_str() == InstanceState::DeleteWait.as_str())
    else {
        return Ok(EnsureDeleteQueuedReply { enqueued: false });
    };
    let pending: Option<OperationId> = sql("SELECT uuid AS value FROM cluster_operations \
         WHERE instance_uuid = ? AND operation_type = ? AND state IN ('queued', 'executing') LIMIT 1")
    .bind(row.uuid)
    .bind(OperationType::InstanceDelete.to_string())
    .value(conn)
    .await?;
    if pending.is_none() {
        enqueue(conn, ctx, &row, node).await?;
    }
    Ok(EnsureDeleteQueuedReply { enqueued: pending.is_none() })
}

/// Marks, and removes at once what no node can be asked about. Answers whether anything changed.
pub(super) async fn mark(conn: &mut Conn, ctx: &TxContext, row: &Guard) -> StoreResult<bool> {
    let live: Vec<InstanceState> =
        InstanceState::iter().filter(|state| state.may_become(InstanceState::DeleteWait)).collect();
    if !live.contains(&row.state()?) {
        return Ok(false);
    }
    let Some(node) = reachable_node(conn, row).await? else {
        finish::globally(conn, ctx, row, &live).await?;
        return Ok(true);
    };
    let off = sql("power_desired = ?").bind(PowerDesired::Off.as_str());
    let change =
        Change { instance: row.uuid, expected: &live, placement_seq: None, to: InstanceState::DeleteWait };
    if !change.apply(conn, ctx, None, Some(off)).await? {
        return Ok(false);
    }
    let object = ObjectRef::new(ObjectType::Instance, row.uuid);
    operations::abort_for_target(conn, ctx, object.clone()).await?;
    enqueue(conn, ctx, row, node).await?;
    ctx.event(EventType::Audit, "instance delete queued", &[object]);
    Ok(true)
}

/// The node that must take the instance down; none when it was never placed or its node is gone for good.
pub(super) async fn reachable_node(conn: &mut Conn, row: &Guard) -> StoreResult<Option<NodeId>> {
    let Some(node) = row.node_uuid else { return Ok(None) };
    let state: Option<String> =
        sql("SELECT state AS value FROM nodes WHERE uuid = ?").bind(node).value(conn).await?;
    let gone = match state {
        None => true,
        Some(state) => from_row::<NodeState>("node state", &state)? == NodeState::Deleted,
    };
    Ok((!gone).then_some(node))
}

async fn enqueue(conn: &mut Conn, ctx: &TxContext, row: &Guard, node: NodeId) -> StoreResult<()> {
    let executing: Vec<OperationId> =
        sql("SELECT uuid AS value FROM cluster_operations WHERE instance_uuid = ? AND state = 'executing'")
            .bind(row.uuid)
            .values(conn)
            .await?;
    let operation = EnqueueOperation {
        uuid: OperationId::ordered(),
        node,
        namespace: Some(row.namespace.clone()),
        priority: Priority::UserFacing,
        args: OperationArgs::InstanceDelete { instance: row.uuid },
        dependencies: executing
            .into_iter()
            .map(|operation| Dependency {
                operation,
                kind: Kind::After,
                wait_seconds: Some(WAIT_FOR_EXECUTING),
            })
            .collect(),
        deadline_seconds: DEADLINE_SECONDS,
        observational: false,
    };
    operations::enqueue(conn, ctx, &[operation]).await?;
    Ok(())
}

async fn next_live(conn: &mut Conn, namespace: &str) -> StoreResult<(Vec<InstanceId>, bool)> {
    let mut found: Vec<InstanceId> = sql("SELECT uuid AS value FROM instances WHERE namespace = ? \
         AND state NOT IN ('delete-wait', 'deleted') ORDER BY uuid LIMIT ?")
    .bind(namespace)
    .bind(u64::try_from(CHUNK + 1).unwrap_or(u64::MAX))
    .values(conn)
    .await?;
    let more = found.len() > CHUNK;
    found.truncate(CHUNK);
    Ok((found, more))
}
