//! Nodes that fell silent.

use std::time::Duration;

use sf_model::NodeId;
use sf_model::state::NodeState;
use sf_protos::nodes::MarkMissingNodesReply;

use super::register::{change_state, require_live};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::sql::sql;

/// Nodes of one pass and kind.
const CHUNK: u32 = 100;

/// Marks nodes without check-in as `missing`, and those missing for very long as `error`.
///
/// # Errors
/// The database fails.
pub async fn mark_missing(conn: &mut Conn, ctx: &TxContext) -> StoreResult<MarkMissingNodesReply> {
    let patience = ctx.settings.node_checkin_maximum;
    let missing = silent(conn, NodeState::Created, patience).await?;
    let why = format!("no check-in for {} s", patience.as_secs());
    let missing = mark(conn, ctx, missing, NodeState::Created, NodeState::Missing, &why, patience).await?;
    let limit = ctx.settings.node_missing_error_seconds;
    let errored = if limit.is_zero() { Vec::new() } else { silent(conn, NodeState::Missing, limit).await? };
    let why = format!("missing for {} s", limit.as_secs());
    let errored = mark(conn, ctx, errored, NodeState::Missing, NodeState::Error, &why, limit).await?;
    let more = missing.len().max(errored.len()) >= CHUNK as usize;
    Ok(MarkMissingNodesReply { missing, errored, more })
}

async fn silent(conn: &mut Conn, state: NodeState, patience: Duration) -> StoreResult<Vec<NodeId>> {
    sql("SELECT uuid AS value FROM nodes WHERE state = ? AND \
         (last_seen IS NULL OR last_seen < UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND) ORDER BY uuid LIMIT ?")
    .bind(state.as_str())
    .bind(patience)
    .bind(CHUNK)
    .values(conn)
    .await
}

/// Looks again under the row's lock: a check-in may have come in between.
async fn mark(
    conn: &mut Conn,
    ctx: &TxContext,
    nodes: Vec<NodeId>,
    from: NodeState,
    to: NodeState,
    why: &str,
    patience: Duration,
) -> StoreResult<Vec<String>> {
    let mut marked = Vec::new();
    for node in nodes {
        let state = match require_live(conn, node).await {
            Err(StoreError::Missing { .. }) => continue,
            other => other?,
        };
        let seen: Option<bool> =
            sql("SELECT last_seen >= UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND AS value \
             FROM nodes WHERE uuid = ? AND last_seen IS NOT NULL")
            .bind(patience)
            .bind(node)
            .value(conn)
            .await?;
        if state == from && seen != Some(true) {
            change_state(conn, ctx, node, from, to, why).await?;
            marked.push(node.to_string());
        }
    }
    Ok(marked)
}
