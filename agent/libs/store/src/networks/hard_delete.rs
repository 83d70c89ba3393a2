//! Removing the rows of networks and interfaces that were deleted long enough ago.

use sf_model::{InterfaceId, NetworkId, ObjectType};

use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::metadata;
use crate::sql::sql;

/// Removes rows; a network keeps its row while a node that is part of the cluster may still have it, because the row
/// is what tells that node to remove it.
///
/// # Errors
/// Those of the database.
pub async fn hard_delete(conn: &mut Conn, ctx: &TxContext, limit: u32) -> StoreResult<u32> {
    let delay = ctx.settings.cleaner_delay;
    let interfaces: Vec<InterfaceId> = sql("SELECT uuid AS value FROM network_interfaces WHERE state = 'deleted' \
         AND state_changed_at < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6)) LIMIT ? FOR UPDATE SKIP LOCKED")
    .bind(delay)
    .bind(limit)
    .values(conn)
    .await?;
    for interface in &interfaces {
        metadata::clear(conn, ObjectType::Interface, &interface.to_string()).await?;
        crate::events::drop_low_value(conn, ObjectType::Interface, &interface.to_string()).await?;
        sql("DELETE FROM network_interfaces WHERE uuid = ?").bind(*interface).run(conn).await?;
    }
    let networks: Vec<NetworkId> = sql("SELECT n.uuid AS value FROM networks n WHERE n.state = 'deleted' \
         AND n.state_changed_at < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6)) \
         AND NOT EXISTS (SELECT 1 FROM network_interfaces f WHERE f.network_uuid = n.uuid) \
         AND NOT EXISTS (SELECT 1 FROM network_node_renders r JOIN nodes d ON d.uuid = r.node_uuid \
         WHERE r.network_uuid = n.uuid AND r.state <> 'absent' AND d.state <> 'deleted') LIMIT ? FOR UPDATE SKIP LOCKED")
    .bind(delay)
    .bind(limit)
    .values(conn)
    .await?;
    for network in &networks {
        metadata::clear(conn, ObjectType::Network, &network.to_string()).await?;
        crate::events::drop_low_value(conn, ObjectType::Network, &network.to_string()).await?;
        sql("DELETE FROM network_node_renders WHERE network_uuid = ?").bind(*network).run(conn).await?;
        sql("DELETE FROM network_render_requests WHERE network_uuid = ?").bind(*network).run(conn).await?;
        sql("DELETE FROM networks WHERE uuid = ?").bind(*network).run(conn).await?;
    }
    Ok(u32::try_from(interfaces.len() + networks.len()).unwrap_or(u32::MAX))
}
