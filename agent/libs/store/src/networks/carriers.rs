//! Which node speaks for a network (`networking.md` §16).

use sf_model::event::EventType;
use sf_model::operation::Priority;
use sf_model::{NetworkId, NodeId};
use sf_protos::networks::AssignCarriersReply;

use super::{object, render};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::sql::sql;

/// Networks that get a carrier in one call.
const BATCH: usize = 100;

/// Chooses the carrier of a new network; none when no session is live, and then [`assign_carriers`] does it later.
pub(super) async fn assign_new(conn: &mut Conn, network: NetworkId) -> StoreResult<Option<NodeId>> {
    let chosen = best(conn, network).await?;
    sql("INSERT INTO network_carriers (network_uuid, node_uuid, epoch, session_epoch, assigned_at) \
         VALUES (?, ?, 1, COALESCE((SELECT session_epoch FROM carrier_sessions WHERE node_uuid = ?), 0), UTC_TIMESTAMP(6))")
    .bind(network)
    .bind(chosen)
    .bind(chosen)
    .run(conn)
    .await?;
    Ok(chosen)
}

/// Gives networks without a living carrier a new one, each with a higher epoch.
///
/// # Errors
/// Those of the database.
pub async fn assign_carriers(conn: &mut Conn, ctx: &TxContext) -> StoreResult<AssignCarriersReply> {
    let orphans: Vec<NetworkId> = sql("SELECT k.network_uuid AS value FROM network_carriers k \
         JOIN networks n ON n.uuid = k.network_uuid AND n.state <> 'deleted' \
         LEFT JOIN carrier_sessions s ON s.node_uuid = k.node_uuid LEFT JOIN nodes d ON d.uuid = k.node_uuid \
         WHERE k.node_uuid IS NULL OR s.node_uuid IS NULL OR s.draining OR d.uuid IS NULL OR d.state = 'deleted' \
         OR s.expires_at < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6)) ORDER BY k.assigned_at, k.network_uuid LIMIT ?")
    .bind(ctx.settings.carrier_session_skew)
    .bind(BATCH as u64 + 1)
    .values(conn)
    .await?;
    let more = orphans.len() > BATCH;
    let mut assigned = 0;
    for network in orphans.into_iter().take(BATCH) {
        if reassign(conn, ctx, network).await? {
            assigned += 1;
        }
    }
    // Without a candidate the rest would be looked at for nothing.
    Ok(AssignCarriersReply { assigned, more: more && assigned > 0 })
}

async fn reassign(conn: &mut Conn, ctx: &TxContext, network: NetworkId) -> StoreResult<bool> {
    let free: Option<NetworkId> = sql(
        "SELECT uuid AS value FROM networks WHERE uuid = ? AND state <> 'deleted' FOR UPDATE SKIP LOCKED",
    )
    .bind(network)
    .value(conn)
    .await?;
    let Some(node) = (match free {
        Some(_) => best(conn, network).await?,
        None => None,
    }) else {
        return Ok(false);
    };
    let before: Option<Option<NodeId>> =
        sql("SELECT node_uuid AS value FROM network_carriers WHERE network_uuid = ? FOR UPDATE")
            .bind(network)
            .value(conn)
            .await?;
    if before == Some(Some(node)) {
        return Ok(false);
    }
    sql("UPDATE network_carriers SET node_uuid = ?, epoch = epoch + 1, assigned_at = UTC_TIMESTAMP(6), \
         session_epoch = (SELECT s.session_epoch FROM carrier_sessions s WHERE s.node_uuid = ?) WHERE network_uuid = ?")
    .bind(node)
    .bind(node)
    .bind(network)
    .run(conn)
    .await?;
    let generation = render::next_generation(conn, network).await?;
    let mut nodes = render::participants(conn, network).await?;
    // The old carrier removes what it has as soon as it can.
    nodes.extend(before.flatten());
    nodes.sort_unstable();
    nodes.dedup();
    render::request(conn, ctx, network, generation, Priority::UserFacing, &nodes).await?;
    ctx.event(EventType::Audit, format!("carrier is node {node}"), &[object(network)]);
    Ok(true)
}

/// The eligible node that carries least for its weight; a node that hosts instances of the network counts as half a
/// network less loaded.
async fn best(conn: &mut Conn, network: NetworkId) -> StoreResult<Option<NodeId>> {
    sql("SELECT s.node_uuid AS value FROM carrier_sessions s JOIN nodes d ON d.uuid = s.node_uuid \
         LEFT JOIN (SELECT node_uuid, COUNT(*) AS carried FROM network_carriers GROUP BY node_uuid) c ON c.node_uuid = s.node_uuid \
         WHERE s.eligible AND NOT s.draining AND s.expires_at > UTC_TIMESTAMP(6) AND d.state = 'created' \
         ORDER BY (COALESCE(c.carried, 0) - IF(EXISTS (SELECT 1 FROM network_interfaces f \
         JOIN instances i ON i.uuid = f.instance_uuid WHERE f.network_uuid = ? AND f.state <> 'deleted' \
         AND i.node_uuid = s.node_uuid), 0.5, 0)) / GREATEST(s.weight, 1), s.node_uuid LIMIT 1")
    .bind(network)
    .value(conn)
    .await
}
