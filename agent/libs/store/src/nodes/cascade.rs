//! What becomes of what a failed or deleted node held. Each pass does a bounded piece and can be repeated.

use sf_model::state::{InstanceState, NodeState};
use sf_model::{InstanceId, NodeId};
use sf_protos::instances::TransitionInstanceRequest;
use sf_protos::nodes::CascadeNodesReply;

use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::sql::{rows, sql};
use crate::wire::from_row;
use crate::{blobs, instances, operations};

/// Instances of one pass.
const CHUNK: u32 = 100;

rows! {
    struct Lost {
        instances: bool,
        blobs: bool,
    }

    struct Placed {
        uuid: InstanceId,
        state: String,
        placement_seq: u32,
    }
}

/// One pass over the nodes in `error` and `deleted` whose consequences are not all drawn: the next of them.
///
/// # Errors
/// The database fails.
pub async fn cascade(conn: &mut Conn, ctx: &TxContext) -> StoreResult<CascadeNodesReply> {
    let mut reply = CascadeNodesReply::default();
    let mut waits = false;
    if let Some(node) = next_failed(conn).await? {
        fail_node(conn, ctx, node, &mut reply).await?;
    } else if let Some(node) = next_deleted(conn).await? {
        waits = clear_node(conn, ctx, node, &mut reply).await?;
    }
    let left = next_failed(conn).await?.is_some() || next_deleted(conn).await?.is_some();
    reply.more = left && !waits;
    Ok(reply)
}

async fn next_failed(conn: &mut Conn) -> StoreResult<Option<NodeId>> {
    next(conn, NodeState::Error).await
}

async fn next_deleted(conn: &mut Conn) -> StoreResult<Option<NodeId>> {
    next(conn, NodeState::Deleted).await
}

async fn next(conn: &mut Conn, state: NodeState) -> StoreResult<Option<NodeId>> {
    // Any of them, so that one that waits holds up no other.
    sql("SELECT uuid AS value FROM nodes WHERE state = ? AND cascaded_at IS NULL ORDER BY RAND() LIMIT 1")
        .bind(state.as_str())
        .value(conn)
        .await
}

/// What of a node in `error` is broken. Its row stays locked: a failure that is told meanwhile waits, and is not taken for
/// one that has had its consequences. None: an operator was faster.
async fn lock_failed(conn: &mut Conn, node: NodeId) -> StoreResult<Option<Lost>> {
    let held: Option<NodeId> = sql("SELECT uuid AS value FROM nodes WHERE uuid = ? AND state = ? FOR UPDATE")
        .bind(node)
        .bind(NodeState::Error.as_str())
        .value(conn)
        .await?;
    if held.is_none() {
        return Ok(None);
    }
    let broken = "EXISTS (SELECT 1 FROM node_storage_health WHERE node_uuid = ? AND NOT healthy \
         AND FIND_IN_SET(?, object_types))";
    sql(format!("SELECT {broken} AS instances, {broken} AS blobs"))
        .bind(node)
        .bind("instance")
        .bind(node)
        .bind("blob")
        .first_row(conn)
        .await
}

/// Storage of instances lost: they go to their error state and keep their reservations. Storage of blobs lost: the
/// copies do not count any more. A node that was merely silent for too long loses its copies too, as `error` says.
async fn fail_node(
    conn: &mut Conn,
    ctx: &TxContext,
    node: NodeId,
    reply: &mut CascadeNodesReply,
) -> StoreResult<()> {
    let Some(lost) = lock_failed(conn, node).await? else { return Ok(()) };
    if lost.blobs {
        blobs::forget_node(conn, node).await?;
        reply.rows += 1;
    }
    let mut left = false;
    if lost.instances {
        let placed: Vec<Placed> =
            sql("SELECT uuid, state, placement_seq FROM instances WHERE node_uuid = ? \
             AND state IN ('initial', 'preflight', 'creating', 'created') ORDER BY uuid LIMIT ?")
            .bind(node)
            .bind(CHUNK)
            .all(conn)
            .await?;
        left = placed.len() >= CHUNK as usize;
        for instance in placed {
            let failed = fail_instance(conn, ctx, &instance).await?;
            reply.instances += u32::from(failed);
            left |= !failed;
        }
    }
    if left { Ok(()) } else { finished(conn, node).await }
}

async fn fail_instance(conn: &mut Conn, ctx: &TxContext, instance: &Placed) -> StoreResult<bool> {
    let state: InstanceState = from_row("instance state", &instance.state)?;
    let Some(failed) = state.failed() else { return Ok(false) };
    let request = TransitionInstanceRequest {
        instance_uuid: instance.uuid.to_string(),
        expected: vec![state.to_string()],
        placement_seq: instance.placement_seq,
        to: failed.to_string(),
        message: Some("the storage of its node failed".to_owned()),
        ..TransitionInstanceRequest::default()
    };
    match instances::transition(conn, ctx, &request).await {
        Ok(_) => Ok(true),
        // It moved on meanwhile; the next pass looks again.
        Err(StoreError::Precondition { .. } | StoreError::Missing { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Marks the instances for deletion (the check of instances removes them, as no node can be asked), then everything else
/// that names the node, its capacity last. Answers whether it waits for instances that are on their way out: then only time helps.
async fn clear_node(
    conn: &mut Conn,
    ctx: &TxContext,
    node: NodeId,
    reply: &mut CascadeNodesReply,
) -> StoreResult<bool> {
    let placed: Vec<InstanceId> = sql("SELECT uuid AS value FROM instances WHERE node_uuid = ? \
         AND state NOT IN ('deleted', 'delete-wait') ORDER BY uuid LIMIT ?")
    .bind(node)
    .bind(CHUNK)
    .values(conn)
    .await?;
    for instance in &placed {
        instances::mark_for_deletion(conn, ctx, *instance).await?;
        reply.instances += 1;
    }
    let aborted = operations::abort_node_queue(conn, ctx, node, CHUNK).await?;
    reply.rows += u32::try_from(aborted).unwrap_or(u32::MAX);
    let full = CHUNK as usize;
    if placed.len() >= full || aborted >= full {
        return Ok(false);
    }
    blobs::forget_node(conn, node).await?;
    for table in [
        "network_render_requests",
        "network_node_renders",
        "carrier_sessions",
        "node_daemons",
        "node_metrics",
        "node_process_metrics",
        "node_storage_health",
    ] {
        let gone = sql(format!("DELETE FROM {table} WHERE node_uuid = ?")).bind(node).run(conn).await?;
        reply.rows += u32::try_from(gone).unwrap_or(u32::MAX);
    }
    let held: Option<u64> =
        sql("SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM placement_reservations WHERE node_uuid = ?")
            .bind(node)
            .value(conn)
            .await?;
    if held.unwrap_or(0) > 0 {
        return Ok(true);
    }
    sql("DELETE FROM node_capacity WHERE node_uuid = ?").bind(node).run(conn).await?;
    finished(conn, node).await?;
    Ok(false)
}

async fn finished(conn: &mut Conn, node: NodeId) -> StoreResult<()> {
    sql("UPDATE nodes SET cascaded_at = UTC_TIMESTAMP(6) WHERE uuid = ?").bind(node).run(conn).await?;
    Ok(())
}
