//! Asking nodes to render: one row per network and node, so that requests coalesce by construction (`networking.md` §11.3).

use sf_model::operation::Priority;
use sf_model::{NetworkId, NodeId, ObjectType};

use crate::conn::Conn;
use crate::context::{TxContext, Wake};
use crate::error::{StoreError, StoreResult};
use crate::sql::{Bind, sql};

/// Bumps the generation of a network and asks every participant to render it. Takes the row of the network exclusively.
///
/// # Errors
/// [`StoreError::Missing`].
pub async fn bump(
    conn: &mut Conn,
    ctx: &TxContext,
    network: NetworkId,
    priority: Priority,
) -> StoreResult<u64> {
    let generation = next_generation(conn, network).await?;
    let nodes = participants(conn, network).await?;
    request(conn, ctx, network, generation, priority, &nodes).await?;
    Ok(generation)
}

/// Takes the row of a network exclusively and raises its generation, without asking anybody yet.
///
/// # Errors
/// [`StoreError::Missing`].
pub(super) async fn next_generation(conn: &mut Conn, network: NetworkId) -> StoreResult<u64> {
    sql("UPDATE networks SET generation = generation + 1, generation_changed_at = UTC_TIMESTAMP(6), \
         row_version = row_version + 1 WHERE uuid = ?")
    .bind(network)
    .run(conn)
    .await?;
    let generation: Option<u64> =
        sql("SELECT generation AS value FROM networks WHERE uuid = ?").bind(network).value(conn).await?;
    generation.ok_or_else(|| StoreError::missing(ObjectType::Network, network))
}

/// Nodes that take part in a network: those with a live interface on it, and its carrier. The writer of requests, the
/// intents and the audit all use this one rule.
///
/// # Errors
/// Those of the database.
pub async fn participants(conn: &mut Conn, network: NetworkId) -> StoreResult<Vec<NodeId>> {
    sql("SELECT i.node_uuid AS value FROM network_interfaces f JOIN instances i ON i.uuid = f.instance_uuid \
         WHERE f.network_uuid = ? AND f.state <> 'deleted' AND i.node_uuid IS NOT NULL \
         UNION SELECT k.node_uuid FROM network_carriers k WHERE k.network_uuid = ? AND k.node_uuid IS NOT NULL ORDER BY 1")
    .bind(network)
    .bind(network)
    .values(conn)
    .await
}

/// A node has another address on the mesh: everybody who sends to it has to know.
///
/// # Errors
/// Those of the database.
pub async fn node_moved(conn: &mut Conn, ctx: &TxContext, node: NodeId) -> StoreResult<()> {
    let networks: Vec<NetworkId> =
        sql("SELECT f.network_uuid AS value FROM instances i JOIN network_interfaces f \
         ON f.instance_uuid = i.uuid WHERE i.node_uuid = ? AND f.state <> 'deleted' \
         UNION SELECT network_uuid FROM network_carriers WHERE node_uuid = ? ORDER BY 1")
        .bind(node)
        .bind(node)
        .values(conn)
        .await?;
    for network in networks {
        bump(conn, ctx, network, Priority::Background).await?;
    }
    Ok(())
}

/// Nodes that have, or may have, something of a network in their kernel.
///
/// # Errors
/// Those of the database.
pub(super) async fn rendered(conn: &mut Conn, network: NetworkId) -> StoreResult<Vec<NodeId>> {
    sql("SELECT node_uuid AS value FROM network_node_renders WHERE network_uuid = ? AND state <> 'absent' \
         UNION SELECT node_uuid FROM network_carriers WHERE network_uuid = ? AND node_uuid IS NOT NULL ORDER BY 1")
    .bind(network)
    .bind(network)
    .values(conn)
    .await
}

/// Writes render requests and wakes the nodes after commit. The highest generation and the most urgent lane win; a
/// request that was put off after failures is due again.
///
/// # Errors
/// Those of the database.
pub(super) async fn request(
    conn: &mut Conn,
    ctx: &TxContext,
    network: NetworkId,
    generation: u64,
    priority: Priority,
    nodes: &[NodeId],
) -> StoreResult<()> {
    if nodes.is_empty() {
        return Ok(());
    }
    let mut statement =
        sql("INSERT INTO network_render_requests (network_uuid, node_uuid, min_generation, priority, \
         requested_at, not_before, request_id, traceparent) VALUES ");
    for (position, node) in nodes.iter().enumerate() {
        let row: [Bind; 6] = [
            network.into(),
            (*node).into(),
            generation.into(),
            priority.into(),
            ctx.request_id.as_deref().into(),
            ctx.traceparent.as_deref().into(),
        ];
        statement = statement
            .push(if position == 0 { "" } else { ", " })
            .push("(?, ?, ?, ?, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), ?, ?)");
        for bind in row {
            statement = statement.bind(bind);
        }
    }
    statement
        .push(
            " ON DUPLICATE KEY UPDATE attempts = IF(VALUES(min_generation) > min_generation, 0, attempts), \
             min_generation = GREATEST(min_generation, VALUES(min_generation)), \
             priority = LEAST(priority, VALUES(priority)), not_before = LEAST(not_before, VALUES(not_before)), \
             request_id = VALUES(request_id), traceparent = VALUES(traceparent)",
        )
        .run(conn)
        .await?;
    for node in nodes {
        ctx.wake(Wake::Renders(*node));
    }
    Ok(())
}

/// The node recorded on a network operation; such operations are not queued, so it only informs.
pub(super) fn operation_node(ctx: &TxContext, carrier: Option<NodeId>) -> NodeId {
    carrier.or(ctx.caller_node).unwrap_or_else(|| NodeId::from_uuid(uuid::Uuid::nil()))
}
