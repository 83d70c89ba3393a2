//! Operations as the API shows them. Whatever their number, a list costs five statements.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sf_model::{NodeId, ObjectType, OperationId};
use sf_protos::common::{Caller, ObjectRef, OperationHandle};
use sf_protos::operations::{
    GetOperationChainReply, GetOperationRequest, ListOperationsForTargetReply,
    ListOperationsForTargetRequest, Operation, OperationError,
};

use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::lookup::Viewer;
use crate::pending;
use crate::sql::{Sql, rows, sql};
use crate::wire::{parse, timestamp};

/// Operations of one reply.
const MAX_LIST: u32 = 1000;
/// Members of a chain.
const MAX_CHAIN: usize = 256;

rows! {
    struct Header {
        uuid: OperationId,
        operation_type: String,
        namespace: Option<String>,
        state: String,
        created_at: DateTime<Utc>,
        state_changed_at: DateTime<Utc>,
        request_id: Option<String>,
        node_uuid: Option<NodeId>,
        arguments: String,
        code: Option<String>,
        message: Option<String>,
    }

    struct Task {
        operation_uuid: OperationId,
        task: String,
    }

    struct Target {
        operation_uuid: OperationId,
        target_type: String,
        target_id: String,
    }

    struct Edge {
        operation_uuid: OperationId,
        uuid: OperationId,
        operation_type: String,
    }
}

/// Whether objects have pending operations, and the latest operation of each; objects without any are left out.
///
/// # Errors
/// The database fails.
pub async fn of_targets(
    conn: &mut Conn,
    object_type: ObjectType,
    ids: &[String],
) -> StoreResult<BTreeMap<String, (bool, Option<OperationHandle>)>> {
    let found = pending::load(conn, object_type, ids).await?;
    Ok(found.into_iter().map(|(id, pending)| (id, (pending.any, pending.last))).collect())
}

/// One operation.
///
/// # Errors
/// [`StoreError::Missing`] when it does not exist, is of another type than asked for, or is not the caller's.
pub async fn get(conn: &mut Conn, request: &GetOperationRequest) -> StoreResult<Operation> {
    let id: OperationId = parse("operation_uuid", &request.operation_uuid)?;
    let viewer = Viewer::new(request.caller.as_ref())?;
    let mut condition = sql("o.uuid = ?").bind(id).push(" AND ").append(viewer.owned("o.namespace"));
    if let Some(operation_type) = &request.operation_type {
        condition = condition.push(" AND o.operation_type = ?").bind(operation_type);
    }
    let found = load(conn, condition).await?.into_iter().next();
    found.ok_or_else(|| StoreError::missing(ObjectType::Operation, id))
}

/// The history of an object, newest first, as far as the caller may see it.
///
/// # Errors
/// The database fails.
pub async fn list_for_target(
    conn: &mut Conn,
    request: &ListOperationsForTargetRequest,
) -> StoreResult<ListOperationsForTargetReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let limit = if request.limit == 0 { MAX_LIST } else { request.limit.min(MAX_LIST) };
    let mut query = sql("SELECT t.operation_uuid AS value FROM cluster_operation_targets t \
         JOIN cluster_operations o ON o.uuid = t.operation_uuid WHERE t.target_type = ? AND t.target_id = ?")
    .bind(&request.target_type)
    .bind(&request.target_uuid)
    .push(" AND ")
    .append(viewer.owned("o.namespace"));
    if !request.all {
        query = query.push(" AND o.state IN ('queued', 'executing')");
    }
    let mut ids: Vec<OperationId> =
        query.push(" ORDER BY t.sequence DESC LIMIT ?").bind(limit + 1).values(conn).await?;
    let more = ids.len() > limit as usize;
    ids.truncate(limit as usize);
    Ok(ListOperationsForTargetReply { operations: ordered(conn, &ids).await?, more })
}

/// An operation and what it transitively depends on, newest first, as far as the caller may see it.
///
/// # Errors
/// [`StoreError::Missing`] when the operation does not exist or is not the caller's.
pub async fn chain(
    conn: &mut Conn,
    caller: Option<&Caller>,
    operation_uuid: &str,
) -> StoreResult<GetOperationChainReply> {
    let id: OperationId = parse("operation_uuid", operation_uuid)?;
    let viewer = Viewer::new(caller)?;
    let mut members = BTreeSet::from([id]);
    let mut frontier = vec![id];
    while !frontier.is_empty() && members.len() <= MAX_CHAIN {
        let next: Vec<OperationId> =
            sql("SELECT DISTINCT depends_on_uuid AS value FROM cluster_operation_dependencies \
             WHERE operation_uuid IN ")
            .list(frontier)
            .values(conn)
            .await?;
        frontier = next.into_iter().filter(|id| members.insert(*id)).collect();
    }
    let too_long = members.len() > MAX_CHAIN;
    let ids = members.into_iter().take(MAX_CHAIN);
    let condition = sql("o.uuid IN ").list(ids).push(" AND ").append(viewer.owned("o.namespace"));
    let operations = load(conn, condition).await?;
    if !operations.iter().any(|operation| operation.uuid == id.to_string()) {
        return Err(StoreError::missing(ObjectType::Operation, id));
    }
    Ok(GetOperationChainReply { operations, too_long })
}

/// Operations in the order given.
async fn ordered(conn: &mut Conn, ids: &[OperationId]) -> StoreResult<Vec<Operation>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let loaded = load(conn, sql("o.uuid IN ").list(ids.iter().copied())).await?;
    let mut found: BTreeMap<String, Operation> = loaded.into_iter().map(|o| (o.uuid.clone(), o)).collect();
    Ok(ids.iter().filter_map(|id| found.remove(&id.to_string())).collect())
}

/// Operations that meet a condition on `o`, newest first.
async fn load(conn: &mut Conn, condition: Sql) -> StoreResult<Vec<Operation>> {
    let headers: Vec<Header> = sql("SELECT o.uuid, o.operation_type, o.namespace, o.state, o.created_at, \
         o.state_changed_at, o.request_id, o.node_uuid, o.arguments, e.code, e.message FROM cluster_operations o \
         LEFT JOIN cluster_operation_errors e ON e.operation_uuid = o.uuid WHERE ")
    .append(condition)
    .push(" ORDER BY o.created_at DESC, o.uuid DESC")
    .all(conn)
    .await?;
    if headers.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<OperationId> = headers.iter().map(|header| header.uuid).collect();
    let tasks: Vec<Task> =
        sql("SELECT operation_uuid, task FROM cluster_operation_tasks WHERE operation_uuid IN ")
            .list(ids.clone())
            .push(" ORDER BY operation_uuid, position")
            .all(conn)
            .await?;
    let targets: Vec<Target> =
        sql("SELECT operation_uuid, target_type, target_id FROM cluster_operation_targets \
         WHERE operation_uuid IN ")
        .list(ids.clone())
        .push(" ORDER BY sequence")
        .all(conn)
        .await?;
    let edges: Vec<Edge> =
        sql("SELECT d.operation_uuid, o.uuid, o.operation_type FROM cluster_operation_dependencies d \
         JOIN cluster_operations o ON o.uuid = d.depends_on_uuid WHERE d.operation_uuid IN ")
        .list(ids)
        .all(conn)
        .await?;
    let mut views: BTreeMap<OperationId, Operation> = BTreeMap::new();
    for row in tasks {
        views.entry(row.operation_uuid).or_default().tasks.push(row.task);
    }
    for row in targets {
        let target = ObjectRef { object_type: row.target_type, object_id: row.target_id };
        views.entry(row.operation_uuid).or_default().targets.push(target);
    }
    for row in edges {
        let handle = OperationHandle { op_type: row.operation_type, op_uuid: row.uuid.to_string() };
        views.entry(row.operation_uuid).or_default().depends_on.push(handle);
    }
    Ok(headers
        .into_iter()
        .map(|header| fill(views.remove(&header.uuid).unwrap_or_default(), header))
        .collect())
}

fn fill(parts: Operation, header: Header) -> Operation {
    Operation {
        uuid: header.uuid.to_string(),
        operation_type: header.operation_type,
        state: header.state,
        namespace: header.namespace,
        created_at: Some(timestamp(header.created_at)),
        updated_at: Some(timestamp(header.state_changed_at)),
        request_id: header.request_id,
        error: header.code.zip(header.message).map(|(code, message)| OperationError { code, message }),
        node_uuid: header.node_uuid.map(|node| node.to_string()),
        arguments_json: header.arguments,
        ..parts
    }
}
