//! New work: header, steps, targets, dependencies and queue row in the transaction of the change that needs it.

use std::collections::{BTreeMap, BTreeSet};

use sf_model::operation::{ARGUMENTS_VERSION, OperationArgs, OperationType, Priority};
use sf_model::state::OperationState;
use sf_model::{NodeId, ObjectRef, ObjectType, OperationId};
use sf_protos::operations::{NewOperation, dependency};

use super::end::{Failure, Outcome, end};
use crate::conn::Conn;
use crate::context::{TxContext, Wake};
use crate::error::{StoreError, StoreResult};
use crate::sql::{Bind, rows, sql};
use crate::wire::{from_row, parse};

/// Operations of one call.
pub const MAX_OPERATIONS: usize = 50;
/// Seconds until a queued operation fails, unless it says otherwise.
const DEFAULT_DEADLINE: u32 = 3600;
/// Seconds an `after` edge holds, unless it says otherwise.
const DEFAULT_WAIT: u32 = 3600;
/// Version of the rows written by this build.
const ROW_VERSION: u32 = 1;

/// What releases a dependent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum Kind {
    /// `complete`; a bad end aborts the dependent.
    Requires,
    /// Any end, or the passing of time.
    After,
}

/// An edge to an operation that must end first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dependency {
    /// An existing operation or an earlier one of the same call.
    pub operation: OperationId,
    /// What releases the dependent.
    pub kind: Kind,
    /// Seconds an [`Kind::After`] edge holds at most.
    pub wait_seconds: Option<u32>,
}

/// An operation to be.
#[derive(Debug, Clone)]
pub struct EnqueueOperation {
    /// Chosen by the caller, UUIDv7.
    pub uuid: OperationId,
    /// Where it is to be worked on.
    pub node: NodeId,
    /// Namespace of its target; none for the cluster's own work.
    pub namespace: Option<String>,
    /// Lane.
    pub priority: Priority,
    /// What to do.
    pub args: OperationArgs,
    /// What must end first.
    pub dependencies: Vec<Dependency>,
    /// Seconds after which it fails if it is still queued; 0 means an hour.
    pub deadline_seconds: u32,
    /// It changes nothing and never counts as pending.
    pub observational: bool,
}

/// What became of an operation to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enqueued {
    /// The new operation, or the identical queued one that does its work.
    pub uuid: OperationId,
    /// Its type.
    pub operation_type: OperationType,
    /// It was folded into one that was queued already.
    pub coalesced: bool,
}

rows! {
    struct Dep {
        uuid: OperationId,
        state: String,
    }
}

/// Enqueues operations that may depend on one another, in order.
///
/// # Errors
/// [`StoreError::Missing`] for a dependency that does not exist; [`StoreError::Exists`] for a UUID that is taken.
pub async fn enqueue(
    conn: &mut Conn,
    ctx: &TxContext,
    ops: &[EnqueueOperation],
) -> StoreResult<Vec<Enqueued>> {
    if ops.len() > MAX_OPERATIONS {
        return Err(StoreError::Invalid(format!("{} operations in one call", ops.len())));
    }
    let mut states = lock_dependencies(conn, ops).await?;
    // What each wanted operation became, so that later ones depend on the right one.
    let mut became: BTreeMap<OperationId, OperationId> = BTreeMap::new();
    let mut done = Vec::with_capacity(ops.len());
    for op in ops {
        let operation_type = op.args.operation_type();
        let dependencies = resolve(op, &became, &states)?;
        let slot = if dependencies.is_empty() { slot(op) } else { None };
        let uuid = insert_header(conn, ctx, op, slot.as_deref()).await?;
        became.insert(op.uuid, uuid);
        states.insert(uuid, OperationState::Queued);
        insert_targets(conn, op, uuid).await?;
        let coalesced = uuid != op.uuid;
        if coalesced {
            raise(conn, op, uuid).await?;
            metrics::counter!("cluster_op_coalesced_total", "operation_type" => operation_type.to_string())
                .increment(1);
        } else {
            insert_tasks(conn, op).await?;
            let unmet = insert_dependencies(conn, op, &dependencies, &states).await?;
            queue(conn, op, unmet).await?;
            abort_if_hopeless(conn, ctx, op, &dependencies, &mut states).await?;
        }
        ctx.wake(Wake::Work(op.node));
        done.push(Enqueued { uuid, operation_type, coalesced });
    }
    Ok(done)
}

/// Reads an operation to be as callers send it.
///
/// # Errors
/// [`StoreError::Invalid`] naming the field.
pub fn parse_new(new: &NewOperation) -> StoreResult<EnqueueOperation> {
    let args = serde_json::from_str(&new.arguments_json)
        .map_err(|e| StoreError::Invalid(format!("arguments_json: {e}")))?;
    let dependencies: StoreResult<Vec<Dependency>> = new
        .dependencies
        .iter()
        .map(|edge| {
            let kind = match edge.kind() {
                dependency::Kind::Requires => Kind::Requires,
                dependency::Kind::After => Kind::After,
                dependency::Kind::Unspecified => {
                    return Err(StoreError::invalid("dependencies.kind: required"));
                }
            };
            let operation = parse("dependencies.operation_uuid", &edge.operation_uuid)?;
            Ok(Dependency { operation, kind, wait_seconds: edge.wait_seconds })
        })
        .collect();
    Ok(EnqueueOperation {
        uuid: parse("uuid", &new.uuid)?,
        node: parse("node_uuid", &new.node_uuid)?,
        namespace: new.namespace.clone(),
        priority: Priority::from_lane(u8::try_from(new.priority).unwrap_or(u8::MAX)),
        args,
        dependencies: dependencies?,
        deadline_seconds: new.deadline_seconds,
        observational: new.observational,
    })
}

/// Share-locks the operations that exist already, in key order: one that is about to end waits until the edges to it
/// are written, and then sees them.
async fn lock_dependencies(
    conn: &mut Conn,
    ops: &[EnqueueOperation],
) -> StoreResult<BTreeMap<OperationId, OperationState>> {
    let own: BTreeSet<OperationId> = ops.iter().map(|op| op.uuid).collect();
    let needed: BTreeSet<OperationId> = ops
        .iter()
        .flat_map(|op| op.dependencies.iter().map(|edge| edge.operation))
        .filter(|id| !own.contains(id))
        .collect();
    if needed.is_empty() {
        return Ok(BTreeMap::new());
    }
    let found: Vec<Dep> = sql("SELECT uuid, state FROM cluster_operations WHERE uuid IN ")
        .list(needed.iter().copied())
        .push(" ORDER BY uuid LOCK IN SHARE MODE")
        .all(conn)
        .await?;
    let states: StoreResult<BTreeMap<_, _>> =
        found.iter().map(|dep| Ok((dep.uuid, from_row("operation state", &dep.state)?))).collect();
    let states = states?;
    match needed.iter().find(|id| !states.contains_key(id)) {
        Some(unknown) => Err(StoreError::missing(ObjectType::Operation, unknown)),
        None => Ok(states),
    }
}

/// Edges with coalesced operations replaced by those they were folded into.
fn resolve(
    op: &EnqueueOperation,
    became: &BTreeMap<OperationId, OperationId>,
    states: &BTreeMap<OperationId, OperationState>,
) -> StoreResult<Vec<Dependency>> {
    let mut edges: BTreeMap<OperationId, Dependency> = BTreeMap::new();
    for edge in &op.dependencies {
        let operation = became.get(&edge.operation).copied().unwrap_or(edge.operation);
        if !states.contains_key(&operation) {
            let text =
                format!("{} depends on {}, which is not an earlier operation", op.uuid, edge.operation);
            return Err(StoreError::Invalid(text));
        }
        let edge = Dependency { operation, ..*edge };
        // Two edges to one operation: the stricter one holds.
        edges
            .entry(operation)
            .and_modify(|e| {
                if edge.kind == Kind::Requires {
                    *e = edge
                }
            })
            .or_insert(edge);
    }
    Ok(edges.into_values().collect())
}

/// The key that at most one queued operation holds.
fn slot(op: &EnqueueOperation) -> Option<String> {
    if op.args.operation_type() == OperationType::NetOp {
        return None;
    }
    Some(format!("{}:{}", op.node, op.args.coalesce_key()?))
}

/// Writes the header and answers which operation holds the work: this one, or the queued one with the same slot. The
/// update part of the insert takes an exclusive lock at once; a plain insert would leave every loser with a shared one
/// and deadlock them.
async fn insert_header(
    conn: &mut Conn,
    ctx: &TxContext,
    op: &EnqueueOperation,
    slot: Option<&str>,
) -> StoreResult<OperationId> {
    let document = serde_json::to_string(&op.args).map_err(|e| StoreError::Invalid(e.to_string()))?;
    let deadline = if op.deadline_seconds == 0 { DEFAULT_DEADLINE } else { op.deadline_seconds };
    let blob = match &op.args {
        OperationArgs::BlobHash { blob, .. } => Some(*blob),
        _ => None,
    };
    let columns = "INSERT INTO cluster_operations (uuid, operation_type, namespace, priority, node_uuid, instance_uuid, \
         network_uuid, blob_uuid, arguments, arguments_version, observational, request_id, traceparent, deadline_at, \
         coalesce_slot, state, state_changed_at, created_at, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, \
         UTC_TIMESTAMP(6) + INTERVAL ? SECOND, ?, 'queued', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), ?)";
    let mut insert = sql(columns)
        .bind(op.uuid)
        .bind(op.args.operation_type().to_string())
        .bind(op.namespace.as_ref())
        .bind(op.priority)
        .bind(op.node)
        .bind(op.args.instance())
        .bind(op.args.network())
        .bind(blob)
        .bind(document)
        .bind(u32::from(ARGUMENTS_VERSION))
        .bind(op.observational)
        .bind(ctx.request_id.as_ref())
        .bind(ctx.traceparent.as_ref())
        .bind(deadline)
        .bind(slot)
        .bind(ROW_VERSION);
    if slot.is_some() {
        insert = insert.push(" ON DUPLICATE KEY UPDATE row_version = row_version + 1");
    }
    match insert.run(conn).await {
        Err(error) if error.is_duplicate() => return Err(StoreError::exists(ObjectType::Operation, op.uuid)),
        other => other?,
    };
    let Some(slot) = slot else { return Ok(op.uuid) };
    let holder = sql("SELECT uuid AS value FROM cluster_operations WHERE coalesce_slot = ?").bind(slot);
    let holder: Option<OperationId> = holder.value(conn).await?;
    // Nobody holds the slot: it was the UUID that was taken.
    holder.ok_or_else(|| StoreError::exists(ObjectType::Operation, op.uuid))
}

async fn insert_targets(conn: &mut Conn, op: &EnqueueOperation, uuid: OperationId) -> StoreResult<()> {
    let targets: BTreeSet<ObjectRef> = op.args.targets().into_iter().collect();
    if targets.is_empty() {
        return Ok(());
    }
    let rows = targets.into_iter().map(|target| {
        let row: Vec<Bind> =
            vec![uuid.into(), target.object_type.into(), target.object_id.into(), op.observational.into()];
        row
    });
    sql("INSERT INTO cluster_operation_targets (operation_uuid, target_type, target_id, observational) VALUES ")
        .tuples(rows)
        .push(" ON DUPLICATE KEY UPDATE observational = observational AND VALUES(observational)")
        .run(conn)
        .await?;
    Ok(())
}

async fn insert_tasks(conn: &mut Conn, op: &EnqueueOperation) -> StoreResult<()> {
    let rows = op.args.tasks().into_iter().zip(0_u32..).map(|(task, position)| {
        let row: Vec<Bind> = vec![op.uuid.into(), position.into(), task.into()];
        row
    });
    sql("INSERT INTO cluster_operation_tasks (operation_uuid, position, task) VALUES ")
        .tuples(rows)
        .run(conn)
        .await?;
    Ok(())
}

/// The queued operation takes the more urgent lane.
async fn raise(conn: &mut Conn, op: &EnqueueOperation, uuid: OperationId) -> StoreResult<()> {
    for statement in [
        "UPDATE cluster_operations SET priority = ? WHERE uuid = ? AND priority > ?",
        "UPDATE work_queue SET priority = ? WHERE operation_uuid = ? AND priority > ?",
    ] {
        sql(statement).bind(op.priority).bind(uuid).bind(op.priority).run(conn).await?;
    }
    Ok(())
}

/// Writes the edges and answers how many of them hold the operation back.
async fn insert_dependencies(
    conn: &mut Conn,
    op: &EnqueueOperation,
    edges: &[Dependency],
    states: &BTreeMap<OperationId, OperationState>,
) -> StoreResult<u32> {
    let mut unmet = 0;
    for edge in edges {
        let open = states.get(&edge.operation).is_some_and(|state| !state.is_terminal());
        unmet += u32::from(open);
        let wait = (edge.kind == Kind::After).then(|| edge.wait_seconds.unwrap_or(DEFAULT_WAIT));
        sql("INSERT INTO cluster_operation_dependencies \
             (operation_uuid, depends_on_uuid, kind, wait_until, on_timeout, satisfied_at) \
             VALUES (?, ?, ?, UTC_TIMESTAMP(6) + INTERVAL ? SECOND, 'proceed', IF(?, NULL, UTC_TIMESTAMP(6)))")
        .bind(op.uuid)
        .bind(edge.operation)
        .bind(edge.kind.to_string())
        .bind(wait)
        .bind(open)
        .run(conn)
        .await?;
    }
    Ok(unmet)
}

async fn queue(conn: &mut Conn, op: &EnqueueOperation, unmet: u32) -> StoreResult<()> {
    if op.args.operation_type() == OperationType::NetOp {
        return Ok(());
    }
    sql("INSERT INTO work_queue (operation_uuid, node_uuid, priority, enqueued_at, available_at, unmet_dependencies, \
         serial_key) VALUES (?, ?, ?, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), ?, ?)")
    .bind(op.uuid)
    .bind(op.node)
    .bind(op.priority)
    .bind(unmet)
    .bind(op.args.serial_key())
    .run(conn)
    .await?;
    Ok(())
}

/// What it requires has ended badly already: it never runs.
async fn abort_if_hopeless(
    conn: &mut Conn,
    ctx: &TxContext,
    op: &EnqueueOperation,
    edges: &[Dependency],
    states: &mut BTreeMap<OperationId, OperationState>,
) -> StoreResult<()> {
    let bad = |edge: &&Dependency| {
        let state = states.get(&edge.operation);
        edge.kind == Kind::Requires
            && state.is_some_and(|s| s.is_terminal() && *s != OperationState::Complete)
    };
    if let Some(edge) = edges.iter().find(bad) {
        let failure = Failure::dependency(edge.operation);
        end(conn, ctx, op.uuid, Outcome::Abort(failure)).await?;
        states.insert(op.uuid, OperationState::Abort);
    }
    Ok(())
}
