//! What operators do to nodes.

use sf_model::event::EventType;
use sf_model::state::NodeState;
use sf_protos::nodes::{
    DeleteNodeReply, DeleteNodeRequest, SetNodeSchedulableReply, SetNodeSchedulableRequest,
};

use super::register::{change_state, of, require_live};
use super::{remains, view};
use crate::capacity;
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult, reason};
use crate::sql::sql;

/// Cordons, drains or opens a node for new placements. Opening ends draining.
///
/// # Errors
/// [`StoreError::Missing`].
pub async fn set_schedulable(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &SetNodeSchedulableRequest,
) -> StoreResult<SetNodeSchedulableReply> {
    let node = view::resolve(conn, &request.reference).await?;
    require_live(conn, node).await?;
    let draining = if request.schedulable { Some(false) } else { request.draining };
    let changed: Option<bool> =
        sql("SELECT NOT (schedulable = ? AND draining = COALESCE(?, draining)) AS value \
         FROM nodes WHERE uuid = ?")
        .bind(request.schedulable)
        .bind(draining)
        .bind(node)
        .value(conn)
        .await?;
    if changed == Some(true) {
        sql("UPDATE nodes SET schedulable = ?, draining = COALESCE(?, draining), row_version = row_version + 1 \
             WHERE uuid = ?")
        .bind(request.schedulable)
        .bind(draining)
        .bind(node)
        .run(conn)
        .await?;
        let message = match (request.schedulable, draining) {
            (true, _) => "node opened for placements",
            (false, Some(true)) => "node drains",
            (false, _) => "node cordoned",
        };
        ctx.event(EventType::Audit, message, &[of(node)]);
        capacity::refresh_open(conn, node).await?;
    }
    Ok(SetNodeSchedulableReply { node: Some(view::by_id(conn, node).await?) })
}

/// Takes a node out of the cluster. What it held is cleared away by the leader, in chunks.
///
/// # Errors
/// [`StoreError::Missing`]; [`reason::IN_USE`] for a node that still checks in and has instances, unless forced.
pub async fn delete(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &DeleteNodeRequest,
) -> StoreResult<DeleteNodeReply> {
    let node = view::resolve(conn, &request.reference).await?;
    let state = require_live(conn, node).await?;
    let away = matches!(state, NodeState::Missing | NodeState::Stopped | NodeState::Error);
    if request.planned {
        remains::refuse_loss(conn, node, away).await?;
    }
    if (!away || request.planned) && !request.force {
        let count = remains::instances_of(conn, node).await?;
        if count > 0 {
            let message = format!("node {node} has {count} instances: delete them first, or force");
            return Err(StoreError::precondition(reason::IN_USE, message).with("instances", count));
        }
    }
    change_state(conn, ctx, node, state, NodeState::Deleted, "deleted by an operator").await?;
    ctx.event(EventType::Audit, "node deleted", &[of(node)]);
    Ok(DeleteNodeReply { node: Some(view::by_id(conn, node).await?) })
}
