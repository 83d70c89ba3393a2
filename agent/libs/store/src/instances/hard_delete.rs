//! Removing the rows of instances that were deleted long enough ago.

use sf_model::{InstanceId, ObjectType};

use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::sql::sql;
use crate::{events, metadata};

/// Removes rows; children go with them. An instance keeps its row while an interface of it has one.
///
/// # Errors
/// Those of the database.
pub async fn hard_delete(conn: &mut Conn, ctx: &TxContext, limit: u32) -> StoreResult<u32> {
    let gone: Vec<InstanceId> = sql("SELECT i.uuid AS value FROM instances i WHERE i.state = 'deleted' \
         AND i.state_changed_at < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6)) \
         AND NOT EXISTS (SELECT 1 FROM network_interfaces f WHERE f.instance_uuid = i.uuid) \
         LIMIT ? FOR UPDATE SKIP LOCKED")
    .bind(ctx.settings.cleaner_delay)
    .bind(limit)
    .values(conn)
    .await?;
    for instance in &gone {
        let id = instance.to_string();
        metadata::clear(conn, ObjectType::Instance, &id).await?;
        events::drop_low_value(conn, ObjectType::Instance, &id).await?;
        sql("DELETE FROM instances WHERE uuid = ?").bind(*instance).run(conn).await?;
    }
    Ok(u32::try_from(gone.len()).unwrap_or(u32::MAX))
}
