//! The end of a network: renders released when it is empty, everything released when no node has it any more.

use sf_model::NetworkId;
use sf_model::event::EventType;
use sf_model::operation::Priority;

use super::{Held, delete, live_interfaces, object, render};
use crate::allocator::{self, Pool, value_of};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::operations;
use crate::sql::{Sql, sql};

/// Asks every node that has something of an empty network to remove it; with no such node the network ends at once.
pub(super) async fn release_renders(conn: &mut Conn, ctx: &TxContext, held: &Held) -> StoreResult<()> {
    let nodes = render::rendered(conn, held.uuid).await?;
    render::request(conn, ctx, held.uuid, held.generation, Priority::UserFacing, &nodes).await?;
    try_finish(conn, ctx, held).await
}

/// Ends a locked network in `delete-wait` unless it has interfaces, or a node that is up still has to remove it.
pub(super) async fn try_finish(conn: &mut Conn, ctx: &TxContext, held: &Held) -> StoreResult<()> {
    if live_interfaces(conn, held.uuid).await? > 0 || is_awaited(conn, ctx, held.uuid).await? {
        return Ok(());
    }
    let running = delete::running(conn, held).await?;
    release_addresses(conn, ctx, held).await?;
    release_vxid(conn, held).await?;
    sql("DELETE FROM network_service_ports WHERE network_uuid = ?").bind(held.uuid).run(conn).await?;
    sql("DELETE FROM network_dns_records WHERE network_uuid = ?").bind(held.uuid).run(conn).await?;
    sql("DELETE q FROM network_render_requests q LEFT JOIN network_node_renders r \
         ON r.network_uuid = q.network_uuid AND r.node_uuid = q.node_uuid \
         WHERE q.network_uuid = ? AND (r.state IS NULL OR r.state = 'absent')")
    .bind(held.uuid)
    .run(conn)
    .await?;
    sql("DELETE FROM network_carriers WHERE network_uuid = ?").bind(held.uuid).run(conn).await?;
    sql("UPDATE networks SET state = 'deleted', state_changed_at = UTC_TIMESTAMP(6), live_vxid = NULL, \
         floating_gateway = NULL, row_version = row_version + 1 WHERE uuid = ? AND state = 'delete-wait'")
    .bind(held.uuid)
    .run(conn)
    .await?;
    if let Some(operation) = running {
        operations::complete_network_operation(conn, ctx, operation).await?;
    }
    ctx.event(EventType::Audit, "network deleted", &[object(held.uuid)]);
    Ok(())
}

async fn is_awaited(conn: &mut Conn, ctx: &TxContext, network: NetworkId) -> StoreResult<bool> {
    let row: Option<u64> = sql("SELECT 1 AS value FROM networks n WHERE n.uuid = ? AND ")
        .bind(network)
        .append(awaited(ctx))
        .value(conn)
        .await?;
    Ok(row.is_some())
}

/// Whether a node has to report before the network `n` of a statement can end. One that is down longer than a check-in
/// may take does not hold a delete up; the VXLAN id stays out of use until it has reported, or left the cluster.
pub(super) fn awaited(ctx: &TxContext) -> Sql {
    sql("(EXISTS (SELECT 1 FROM network_node_renders r JOIN nodes d ON d.uuid = r.node_uuid \
         WHERE r.network_uuid = n.uuid AND r.state <> 'absent' AND d.state <> 'deleted' \
         AND d.last_seen > TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6))) \
         OR EXISTS (SELECT 1 FROM network_render_requests q JOIN nodes d ON d.uuid = q.node_uuid \
         LEFT JOIN network_node_renders r ON r.network_uuid = q.network_uuid AND r.node_uuid = q.node_uuid \
         WHERE q.network_uuid = n.uuid AND q.claim_token IS NOT NULL AND q.claimed_until > UTC_TIMESTAMP(6) \
         AND r.state IS NULL))")
    .bind(ctx.settings.node_checkin_maximum)
}

/// Egress, routed and left-over floating addresses rest; the block's own pool goes with the network.
async fn release_addresses(conn: &mut Conn, ctx: &TxContext, held: &Held) -> StoreResult<()> {
    let floating = Pool::floating(&ctx.settings);
    let owned: Vec<u64> = sql("SELECT value FROM resource_pool_allocations \
         WHERE pool = ? AND owner_type = 'network' AND owner_uuid = ? AND state = 'held' ORDER BY value")
    .bind(floating.name())
    .bind(held.uuid)
    .values(conn)
    .await?;
    for address in owned {
        allocator::release(conn, &floating, address).await?;
    }
    if let Some(gateway) = held.floating_gateway {
        allocator::release(conn, &floating, value_of(gateway)).await?;
    }
    allocator::release_all(conn, held.uuid.into()).await?;
    allocator::drop_pool(conn, &Pool::ipv4(held.uuid, held.netblock()?, &ctx.settings)).await?;
    allocator::drop_pool(conn, &Pool::service_port(held.uuid, &ctx.settings)).await?;
    Ok(())
}

async fn release_vxid(conn: &mut Conn, held: &Held) -> StoreResult<()> {
    let pool = Pool::vxid();
    let value = u64::from(held.vxid);
    allocator::release(conn, &pool, value).await?;
    let present: Option<u64> =
        sql("SELECT 1 AS value FROM network_node_renders r JOIN nodes d ON d.uuid = r.node_uuid \
         WHERE r.network_uuid = ? AND r.state <> 'absent' AND d.state <> 'deleted' LIMIT 1")
        .bind(held.uuid)
        .value(conn)
        .await?;
    if present.is_none() {
        allocator::start_halo(conn, &pool, value).await?;
    }
    Ok(())
}
