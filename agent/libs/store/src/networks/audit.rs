//! Repairs of what should not happen (`networking.md` §12.3): each is counted and told.

use std::net::Ipv4Addr;

use sf_model::event::EventType;
use sf_model::{InterfaceId, NetworkId};
use sf_protos::networks::{NetworkAuditReply, SweepPoolsReply};

use super::{delete, finish, interfaces, live_interfaces, lock, object};
use crate::allocator::{self, Owner, Pool, Strategy, address, value_of};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::sql::{rows, sql};

/// Rows of one kind repaired by one call.
const BATCH: u64 = 100;
/// An address without an owner is left alone this long.
const LEAK_AGE_SECONDS: u64 = 300;

rows! {
    struct Unreserved {
        uuid: InterfaceId,
        network_uuid: NetworkId,
        ipv4: Ipv4Addr,
        netblock_address: Ipv4Addr,
        netblock_prefix: u8,
    }
}

/// One pass over interfaces, addresses and deletions.
///
/// # Errors
/// Those of the database.
pub async fn audit(conn: &mut Conn, ctx: &TxContext) -> StoreResult<NetworkAuditReply> {
    let orphans: Vec<InterfaceId> = sql("SELECT f.uuid AS value FROM network_interfaces f \
         LEFT JOIN instances i ON i.uuid = f.instance_uuid WHERE f.state <> 'deleted' \
         AND f.created_at < TIMESTAMPADD(SECOND, -30, UTC_TIMESTAMP(6)) AND (i.uuid IS NULL OR (i.state = 'deleted' \
         AND i.state_changed_at < TIMESTAMPADD(SECOND, -30, UTC_TIMESTAMP(6)))) ORDER BY f.uuid LIMIT ?")
    .bind(BATCH)
    .values(conn)
    .await?;
    interfaces::delete_these(conn, ctx, &orphans).await?;
    let interfaces_deleted = u32::try_from(orphans.len()).unwrap_or(u32::MAX);
    let addresses_released = release_leaked(conn, ctx).await?;
    let more_unreserved = reserve_unreserved(conn, ctx).await?;
    let (deletes_requeued, more_deletes) = go_on_deleting(conn, ctx).await?;
    // Whatever is looked at is not found again by the next call, so asking for more comes to an end.
    let more = is_full(&orphans) || u64::from(addresses_released) == BATCH || more_unreserved || more_deletes;
    Ok(NetworkAuditReply { interfaces_deleted, addresses_released, deletes_requeued, more })
}

/// Removes allocations whose rest is over.
///
/// # Errors
/// Those of the database.
pub async fn sweep_pools(conn: &mut Conn) -> StoreResult<SweepPoolsReply> {
    let (removed, more) = allocator::sweep(conn).await?;
    Ok(SweepPoolsReply { removed, more })
}

/// Floating addresses whose owner is gone, or does not know of them.
async fn release_leaked(conn: &mut Conn, ctx: &TxContext) -> StoreResult<u32> {
    let pool = Pool::floating(&ctx.settings);
    let leaked: Vec<u64> = sql("SELECT a.value FROM resource_pool_allocations a WHERE a.pool = ? AND a.state = 'held' \
         AND a.purpose IN ('floating', 'gateway', 'routed') AND a.owner_uuid <> ? \
         AND a.allocated_at < TIMESTAMPADD(SECOND, -?, UTC_TIMESTAMP(6)) AND NOT EXISTS \
         (SELECT 1 FROM network_interfaces f WHERE f.uuid = a.owner_uuid AND f.state <> 'deleted' \
         AND f.floating_address = CAST(INET_NTOA(a.value) AS INET4)) AND NOT EXISTS \
         (SELECT 1 FROM networks n WHERE n.uuid = a.owner_uuid AND n.state <> 'deleted' \
         AND (a.purpose = 'routed' OR n.floating_gateway = CAST(INET_NTOA(a.value) AS INET4))) ORDER BY a.value LIMIT ?")
    .bind(pool.name())
    .bind(NetworkId::FLOATING)
    .bind(LEAK_AGE_SECONDS)
    .bind(BATCH)
    .values(conn)
    .await?;
    for value in &leaked {
        allocator::release(conn, &pool, *value).await?;
        let message = format!("leaked floating address released: {}", address(*value));
        ctx.event(EventType::Audit, message, &[object(NetworkId::FLOATING)]);
    }
    Ok(u32::try_from(leaked.len()).unwrap_or(u32::MAX))
}

/// Interfaces whose address nobody has reserved; one that somebody else holds is told once and never stolen. The interface
/// remembers that it was told, until it has its address again. Says whether there are more.
async fn reserve_unreserved(conn: &mut Conn, ctx: &TxContext) -> StoreResult<bool> {
    let bare: Vec<Unreserved> = sql("SELECT f.uuid, f.network_uuid, f.ipv4, n.netblock_address, n.netblock_prefix \
         FROM network_interfaces f JOIN networks n ON n.uuid = f.network_uuid LEFT JOIN resource_pool_allocations a \
         ON a.pool = CONCAT('ipv4:', f.network_uuid) AND a.value = INET_ATON(CAST(f.ipv4 AS CHAR)) \
         WHERE f.state <> 'deleted' AND f.ipv4 IS NOT NULL AND NOT (a.state = 'held' AND a.owner_uuid <=> f.uuid) \
         AND NOT (a.allocation_uuid IS NOT NULL AND a.expires_at IS NULL AND f.address_conflict_at IS NOT NULL) \
         ORDER BY f.uuid LIMIT ?")
    .bind(BATCH)
    .all(conn)
    .await?;
    if bare.is_empty() {
        return Ok(false);
    }
    // Interfaces come before addresses in the lock order, and one that goes meanwhile must get none.
    let held: Vec<InterfaceId> =
        sql("SELECT uuid AS value FROM network_interfaces WHERE state <> 'deleted' AND uuid IN ")
            .list(bare.iter().map(|row| row.uuid))
            .push(" ORDER BY uuid FOR UPDATE")
            .values(conn)
            .await?;
    for row in bare.iter().filter(|row| held.contains(&row.uuid)) {
        let block = super::block(row.netblock_address, row.netblock_prefix)?;
        let pool = Pool::ipv4(row.network_uuid, block, &ctx.settings);
        let owner = Owner::from(row.uuid);
        let taken =
            allocator::claim(conn, &pool, Strategy::Exact(value_of(row.ipv4)), owner, "instance", "").await;
        let (message, since) = match taken {
            Ok(_) => (format!("address reserved again for its interface: {}", row.ipv4), "NULL"),
            Err(crate::StoreError::Precondition { .. }) => {
                (format!("address conflict: {}", row.ipv4), "UTC_TIMESTAMP(6)")
            }
            Err(other) => return Err(other),
        };
        sql(format!("UPDATE network_interfaces SET address_conflict_at = {since} WHERE uuid = ?"))
            .bind(row.uuid)
            .run(conn)
            .await?;
        ctx.event(EventType::Audit, message, &[object(row.network_uuid), interfaces::object(row.uuid)]);
    }
    Ok(is_full(&bare))
}

/// Networks that wait to be deleted and nothing holds up any more: ended, or given a new operation if theirs has ended.
/// Says how many of those there were, and whether there are more to look at.
async fn go_on_deleting(conn: &mut Conn, ctx: &TxContext) -> StoreResult<(u32, bool)> {
    let waiting: Vec<NetworkId> = sql("SELECT n.uuid AS value FROM networks n WHERE n.state = 'delete-wait' \
         AND NOT EXISTS (SELECT 1 FROM network_interfaces f WHERE f.network_uuid = n.uuid AND f.state <> 'deleted') \
         AND NOT (EXISTS (SELECT 1 FROM cluster_operations o WHERE o.uuid = n.delete_operation \
         AND o.state IN ('queued', 'executing')) AND ")
    .append(finish::awaited(ctx))
    .push(") ORDER BY n.uuid LIMIT ?")
    .bind(BATCH)
    .values(conn)
    .await?;
    let mut requeued = 0;
    for network in &waiting {
        let held = lock(conn, *network).await?;
        if held.state != "delete-wait" || live_interfaces(conn, *network).await? > 0 {
            continue;
        }
        if delete::running(conn, &held).await?.is_some() {
            finish::try_finish(conn, ctx, &held).await?;
        } else {
            delete::start(conn, ctx, &held).await?;
            requeued += 1;
        }
    }
    Ok((requeued, is_full(&waiting)))
}

fn is_full<T>(rows: &[T]) -> bool {
    rows.len() as u64 == BATCH
}
