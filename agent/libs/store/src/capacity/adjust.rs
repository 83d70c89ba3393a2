//! Correcting what a disk without size was charged, once its image is known (`scheduler.md` §3.1).

use sf_model::InstanceId;
use sf_scheduler::Amounts;

use super::amounts::add_to;
use super::release::{change_namespace_side, lock};
use crate::conn::Conn;
use crate::error::StoreResult;
use crate::sql::sql;

/// Sets the disk charge of a placed instance, up or down, never refused. Both halves are written here, so the caller's
/// transaction must not lock anything before it and should do little after it.
///
/// # Errors
/// Those of the database.
pub async fn adjust_disk(conn: &mut Conn, owner: InstanceId, disk_gb: i64) -> StoreResult<()> {
    let Some(held) = lock(conn, owner).await? else { return Ok(()) };
    let difference = Amounts { disk_gb: disk_gb.max(0).saturating_sub(held.disk_gb), ..Amounts::default() };
    if difference == Amounts::default() {
        return Ok(());
    }
    add_to(sql("UPDATE node_capacity SET "), "used", difference)
        .push(", updated_at = UTC_TIMESTAMP(6), row_version = row_version + 1 WHERE node_uuid = ?")
        .bind(held.node_uuid)
        .run(conn)
        .await?;
    sql("UPDATE placement_reservations SET disk_gb = disk_gb + ?, updated_at = UTC_TIMESTAMP(6), \
         row_version = row_version + 1 WHERE owner_uuid = ?")
    .bind(difference.disk_gb)
    .bind(owner)
    .run(conn)
    .await?;
    change_namespace_side(conn, held.claim_uuid, difference).await
}
