//! Rows of objects that were deleted long enough ago.

use sf_model::state::NodeState;
use sf_model::{NodeId, ObjectType};
use sf_protos::maintenance::HardDeleteExpiredReply;

use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::sql::sql;
use crate::wire::parse;
use crate::{artifacts, blobs, events, instances, metadata, namespaces, networks};

/// Objects of one call.
const MAX_LIMIT: u32 = 100;

/// Removes what is left of objects of a type, with everything that belongs to them.
///
/// # Errors
/// [`StoreError::Invalid`] for a type that is not hard-deleted.
pub async fn hard_delete(
    conn: &mut Conn,
    ctx: &TxContext,
    object_type: &str,
    limit: u32,
) -> StoreResult<HardDeleteExpiredReply> {
    let limit = if limit == 0 { MAX_LIMIT } else { limit.min(MAX_LIMIT) };
    let deleted = match parse("object_type", object_type)? {
        ObjectType::Instance => instances::hard_delete(conn, ctx, limit).await?,
        ObjectType::Network | ObjectType::Interface => networks::hard_delete(conn, ctx, limit).await?,
        ObjectType::Artifact => artifacts::hard_delete(conn, ctx, limit).await?,
        ObjectType::Blob | ObjectType::Upload => blobs::hard_delete(conn, ctx, limit).await?,
        ObjectType::Namespace | ObjectType::NamespaceKey => namespaces::hard_delete(conn, ctx, limit).await?,
        ObjectType::Node => nodes(conn, ctx, limit).await?,
        ObjectType::Operation | ObjectType::ApiRequest => {
            return Err(StoreError::Invalid(format!("{object_type} objects age by their own rules")));
        }
    };
    Ok(HardDeleteExpiredReply { deleted, more: deleted >= limit })
}

/// A node keeps its row until everything that names it is gone.
async fn nodes(conn: &mut Conn, ctx: &TxContext, limit: u32) -> StoreResult<u32> {
    let gone: Vec<NodeId> = sql("SELECT n.uuid AS value FROM nodes n WHERE n.state = ? AND n.cascaded_at IS NOT NULL \
         AND n.state_changed_at < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6)) \
         AND NOT EXISTS (SELECT 1 FROM instances i WHERE i.node_uuid = n.uuid) LIMIT ? FOR UPDATE SKIP LOCKED")
    .bind(NodeState::Deleted.as_str())
    .bind(ctx.settings.cleaner_delay)
    .bind(limit)
    .values(conn)
    .await?;
    for node in &gone {
        let id = node.to_string();
        metadata::clear(conn, ObjectType::Node, &id).await?;
        events::drop_low_value(conn, ObjectType::Node, &id).await?;
        sql("DELETE FROM instance_tombstones WHERE node_uuid = ?").bind(*node).run(conn).await?;
        sql("DELETE FROM nodes WHERE uuid = ?").bind(*node).run(conn).await?;
    }
    Ok(u32::try_from(gone.len()).unwrap_or(u32::MAX))
}
