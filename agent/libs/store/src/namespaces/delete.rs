//! Deleting a namespace with its keys and artifacts.

use sf_model::KeyId;
use sf_model::access::SYSTEM_NAMESPACE;
use sf_model::event::EventType;
use sf_protos::namespaces::{DeleteNamespaceReply, DeleteNamespaceRequest};

use super::{NAMESPACE_IN_USE, SYSTEM_NAMESPACE_FIXED, keys, missing, object};
use crate::artifacts;
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::sql::{rows, sql};

rows! {
    struct Remaining {
        instances: u64,
        networks: u64,
    }
}

/// Deletes a namespace that has no live instances and networks. Its artifacts go first, some in each call; the call that
/// finds no more ends the namespace with everything else of it. Instances in `error` follow: the leader's look at
/// instances asks for their end, which takes their nodes.
///
/// # Errors
/// [`StoreError::Missing`]; [`StoreError::Refused`] for `system`; a precondition `namespace-in-use` with counts.
pub async fn delete(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &DeleteNamespaceRequest,
) -> StoreResult<DeleteNamespaceReply> {
    let name = &request.name;
    if name == SYSTEM_NAMESPACE {
        let message = "the system namespace cannot be deleted".to_owned();
        return Err(StoreError::Refused { reason: SYSTEM_NAMESPACE_FIXED, message });
    }
    // The lock on this row keeps creators out: each of them holds it in share mode.
    let state: Option<String> =
        sql("SELECT state AS value FROM namespaces WHERE name = ? FOR UPDATE").bind(name).value(conn).await?;
    if state.as_deref() != Some("created") {
        return Err(missing(name));
    }
    let left: Option<Remaining> = sql("SELECT \
         (SELECT CAST(COUNT(*) AS UNSIGNED) FROM instances WHERE namespace = ? AND state NOT IN ('deleted', 'error')) AS instances, \
         (SELECT CAST(COUNT(*) AS UNSIGNED) FROM networks WHERE namespace = ? AND state <> 'deleted') AS networks")
    .bind(name)
    .bind(name)
    .first_row(conn)
    .await?;
    if let Some(left) = left.filter(|left| left.instances + left.networks > 0) {
        let message = format!(
            "the namespace still has {} instances and {} networks: delete them first",
            left.instances, left.networks
        );
        return Err(StoreError::precondition(NAMESPACE_IN_USE, message)
            .with("instances", left.instances)
            .with("networks", left.networks));
    }
    let (_, more) = artifacts::delete_next_of(conn, ctx, name).await?;
    if more {
        return Ok(DeleteNamespaceReply { more });
    }
    sql("UPDATE namespaces SET state = 'deleted', state_changed_at = UTC_TIMESTAMP(6), \
         row_version = row_version + 1 WHERE name = ?")
    .bind(name)
    .run(conn)
    .await?;
    sql("DELETE FROM namespace_trusts WHERE namespace = ? OR trusted = ?")
        .bind(name)
        .bind(name)
        .run(conn)
        .await?;
    let live: Vec<KeyId> =
        sql("SELECT uuid AS value FROM namespace_keys WHERE namespace = ? AND live_name IS NOT NULL ORDER BY uuid")
            .bind(name)
            .values(conn)
            .await?;
    keys::retire(conn, &live).await?;
    ctx.event(EventType::Audit, "namespace deleted", &[object(name)]);
    Ok(DeleteNamespaceReply { more: false })
}
