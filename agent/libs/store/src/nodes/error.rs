//! Broken storage: the node goes to `error` at once and stays there until an operator says otherwise.

use sf_model::NodeId;
use sf_model::event::EventType;
use sf_model::state::NodeState;
use sf_protos::nodes::{ClearNodeErrorReply, ClearNodeErrorRequest, SetNodeErrorReply, SetNodeErrorRequest};

use super::check_in::record_health;
use super::register::{change_state, of, require_live};
use super::view;
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::sql::sql;
use crate::wire::parse;

/// Moves a node to `error` and writes down which storage failed, in one transaction.
///
/// # Errors
/// [`crate::StoreError::Missing`] for an unknown or deleted node.
pub async fn set_error(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &SetNodeErrorRequest,
) -> StoreResult<SetNodeErrorReply> {
    let node: NodeId = parse("node_uuid", &request.node_uuid)?;
    let state = require_live(conn, node).await?;
    record_health(conn, node, state, &request.storage_health).await?;
    let extra = serde_json::json!({
        "paths": request.storage_health.iter().filter(|p| !p.healthy).map(|p| &p.path).collect::<Vec<_>>(),
    });
    ctx.event_with(EventType::Health, request.message.clone(), &[of(node)], Some(&extra));
    change_state(conn, ctx, node, state, NodeState::Error, &request.message).await?;
    Ok(SetNodeErrorReply {})
}

/// Returns a node from `error`. What was written about its storage is forgotten; if it is still broken the next check
/// says so.
///
/// # Errors
/// [`crate::StoreError::Missing`]; [`crate::reason::BAD_STATE`] when it is not in `error`.
pub async fn clear_error(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &ClearNodeErrorRequest,
) -> StoreResult<ClearNodeErrorReply> {
    let node = view::resolve(conn, &request.reference).await?;
    let state = require_live(conn, node).await?;
    sql("DELETE FROM node_storage_health WHERE node_uuid = ? AND NOT healthy").bind(node).run(conn).await?;
    if state != NodeState::Created {
        change_state(conn, ctx, node, state, NodeState::Created, "cleared by an operator").await?;
    }
    Ok(ClearNodeErrorReply { node: Some(view::by_id(conn, node).await?) })
}
