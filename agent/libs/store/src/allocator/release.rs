//! Giving values back: they rest before they are given out again.

use super::pool::{MAC_HALO, Owner, PORT_HALO, Pool, SERVICE_PORT_HALO, VXID_HALO};
use crate::conn::Conn;
use crate::error::StoreResult;
use crate::sql::sql;

/// Rows removed by one call of [`sweep`].
const SWEEP: u64 = 500;

/// Releases one value into its rest. Releasing what is not held changes nothing and answers false.
///
/// # Errors
/// Those of the database.
pub async fn release(conn: &mut Conn, pool: &Pool, value: u64) -> StoreResult<bool> {
    let rows = sql("UPDATE resource_pool_allocations SET state = 'halo', owner_type = NULL, owner_uuid = NULL, \
         allocated_at = UTC_TIMESTAMP(6), comment = '', \
         expires_at = TIMESTAMPADD(MICROSECOND, ?, UTC_TIMESTAMP(6)) WHERE pool = ? AND value = ? AND state = 'held'")
    .bind(pool.halo)
    .bind(&pool.name)
    .bind(value)
    .run(conn)
    .await?;
    Ok(rows > 0)
}

/// Releases every port, context id and MAC address of an owner, in the transaction that ends the owner. Addresses
/// and VXLAN ids have rests of their own and are released by the networks they belong to.
///
/// # Errors
/// Those of the database.
pub async fn release_all(conn: &mut Conn, owner: Owner) -> StoreResult<usize> {
    sql("UPDATE resource_pool_allocations SET state = 'halo', owner_type = NULL, owner_uuid = NULL, \
         allocated_at = UTC_TIMESTAMP(6), comment = '', expires_at = TIMESTAMPADD(MICROSECOND, \
         CASE WHEN pool = 'mac' THEN ? WHEN pool LIKE 'svcport:%' THEN ? ELSE ? END, UTC_TIMESTAMP(6)) \
         WHERE owner_type = ? AND owner_uuid = ? AND state = 'held' AND pool <> 'vxid' AND pool NOT LIKE 'ipv4:%'")
    .bind(MAC_HALO)
    .bind(SERVICE_PORT_HALO)
    .bind(PORT_HALO)
    .bind(owner.object_type)
    .bind(owner.uuid)
    .run(conn)
    .await
}

/// Begins the rest of a value that was released without an end: a VXLAN id that no node has any more.
///
/// # Errors
/// Those of the database.
pub(crate) async fn start_halo(conn: &mut Conn, pool: &Pool, value: u64) -> StoreResult<()> {
    sql("UPDATE resource_pool_allocations SET allocated_at = UTC_TIMESTAMP(6), \
         expires_at = TIMESTAMPADD(MICROSECOND, ?, UTC_TIMESTAMP(6)) \
         WHERE pool = ? AND value = ? AND state = 'halo' AND expires_at IS NULL")
    .bind(VXID_HALO)
    .bind(&pool.name)
    .bind(value)
    .run(conn)
    .await?;
    Ok(())
}

/// Removes a pool with everything in it, when the network it belonged to is gone.
///
/// # Errors
/// Those of the database.
pub async fn drop_pool(conn: &mut Conn, pool: &Pool) -> StoreResult<usize> {
    sql("DELETE FROM resource_pool_allocations WHERE pool = ?").bind(&pool.name).run(conn).await
}

/// Removes rows whose rest is over: how many, and whether more are left.
///
/// # Errors
/// Those of the database.
pub async fn sweep(conn: &mut Conn) -> StoreResult<(u32, bool)> {
    // VXLAN ids first: nodes that were away may have reported, or left the cluster.
    sql("UPDATE resource_pool_allocations a JOIN networks n ON n.vxid = a.value SET a.allocated_at = UTC_TIMESTAMP(6), \
         a.expires_at = TIMESTAMPADD(MICROSECOND, ?, UTC_TIMESTAMP(6)) \
         WHERE a.pool = 'vxid' AND a.state = 'halo' AND a.expires_at IS NULL AND n.state = 'deleted' AND NOT EXISTS \
         (SELECT 1 FROM network_node_renders r JOIN nodes d ON d.uuid = r.node_uuid \
         WHERE r.network_uuid = n.uuid AND r.state <> 'absent' AND d.state <> 'deleted')")
    .bind(VXID_HALO)
    .run(conn)
    .await?;
    let rows =
        sql("DELETE FROM resource_pool_allocations WHERE state = 'halo' AND expires_at <= UTC_TIMESTAMP(6) \
         ORDER BY expires_at LIMIT ?")
        .bind(SWEEP)
        .run(conn)
        .await?;
    Ok((u32::try_from(rows).unwrap_or(u32::MAX), rows as u64 == SWEEP))
}
