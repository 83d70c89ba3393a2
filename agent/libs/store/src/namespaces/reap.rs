//! What the leader removes: expired keys, and rows of what was deleted long enough ago.

use std::time::Duration;

use sf_model::event::EventType;
use sf_model::{KeyId, ObjectType};
use sf_protos::namespaces::ReapExpiredKeysReply;

use super::{keys, object};
use crate::bounded::delete_some;
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::metadata;
use crate::sql::{rows, sql};

/// Keys handled by one call.
const BATCH: u64 = 500;
/// Counters of attempts are kept this long after their window (`security.md`).
const ATTEMPTS_KEPT: Duration = Duration::from_secs(600);
/// Counters removed by one call.
const ATTEMPTS_BATCH: u64 = 5000;

rows! {
    struct Expired {
        uuid: KeyId,
        namespace: String,
        name: String,
    }
}

/// Soft-deletes keys that expired longer ago than the configured grace; a grace of zero means never.
///
/// # Errors
/// Those of the database.
pub async fn reap_keys(conn: &mut Conn, ctx: &TxContext) -> StoreResult<ReapExpiredKeysReply> {
    let old = sql("window_start < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6))").bind(ATTEMPTS_KEPT);
    let forgotten = delete_some(conn, "auth_attempts", old, ATTEMPTS_BATCH).await?;
    let more = forgotten >= ATTEMPTS_BATCH;
    let grace = ctx.settings.namespace_key_reap_grace;
    if grace.is_zero() {
        return Ok(ReapExpiredKeysReply { deleted: 0, more });
    }
    let expired: Vec<Expired> = sql("SELECT uuid, namespace, name FROM namespace_keys WHERE live_name IS NOT NULL \
         AND expires_at < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6)) ORDER BY uuid LIMIT ? FOR UPDATE SKIP LOCKED")
    .bind(grace)
    .bind(BATCH)
    .all(conn)
    .await?;
    let ids: Vec<KeyId> = expired.iter().map(|key| key.uuid).collect();
    keys::retire(conn, &ids).await?;
    for key in &expired {
        ctx.event(EventType::Prune, format!("expired key deleted: {}", key.name), &[object(&key.namespace)]);
    }
    let deleted = u32::try_from(expired.len()).unwrap_or(u32::MAX);
    Ok(ReapExpiredKeysReply { deleted, more: more || expired.len() as u64 == BATCH })
}

/// Removes the rows of namespaces and keys that were deleted longer ago than the configured delay. A namespace stays
/// while anything that was in it still has rows, so that its name cannot mean two tenants.
///
/// # Errors
/// Those of the database.
pub async fn hard_delete(conn: &mut Conn, ctx: &TxContext, limit: u32) -> StoreResult<u32> {
    let delay = ctx.settings.cleaner_delay;
    let gone =
        sql("state = 'deleted' AND state_changed_at < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6))");
    let removed_keys = delete_some(conn, "namespace_keys", gone.bind(delay), limit.into()).await?;
    let names: Vec<String> = sql("SELECT name AS value FROM namespaces n WHERE state = 'deleted' \
         AND state_changed_at < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6)) \
         AND NOT EXISTS (SELECT 1 FROM instances x WHERE x.namespace = n.name) \
         AND NOT EXISTS (SELECT 1 FROM networks x WHERE x.namespace = n.name) \
         AND NOT EXISTS (SELECT 1 FROM artifacts x WHERE x.namespace = n.name) \
         AND NOT EXISTS (SELECT 1 FROM uploads x WHERE x.namespace = n.name) LIMIT ? FOR UPDATE SKIP LOCKED")
    .bind(delay)
    .bind(limit)
    .values(conn)
    .await?;
    for name in &names {
        metadata::clear(conn, ObjectType::Namespace, name).await?;
        crate::events::drop_low_value(conn, ObjectType::Namespace, name).await?;
        sql("DELETE FROM namespaces WHERE name = ?").bind(name).run(conn).await?;
    }
    Ok(u32::try_from(removed_keys + names.len() as u64).unwrap_or(u32::MAX))
}
