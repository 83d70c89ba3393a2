//! Whom a namespace trusts. Trust in `system` is implicit and has no row.

use sf_model::access::SYSTEM_NAMESPACE;
use sf_model::event::EventType;
use sf_protos::namespaces::{AddTrustReply, AddTrustRequest, RemoveTrustReply, RemoveTrustRequest};

use super::{SYSTEM_NAMESPACE_FIXED, hold, object, view};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::sql::sql;

/// Lets another namespace see this one and create in it. Twice is the same as once.
///
/// # Errors
/// [`StoreError::Missing`] for either namespace.
pub async fn add_trust(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &AddTrustRequest,
) -> StoreResult<AddTrustReply> {
    hold(conn, &request.namespace).await?;
    hold(conn, &request.external_namespace).await?;
    let implied = [SYSTEM_NAMESPACE, request.namespace.as_str()];
    if !implied.contains(&request.external_namespace.as_str()) {
        sql("INSERT INTO namespace_trusts (namespace, trusted, created_at) VALUES (?, ?, UTC_TIMESTAMP(6)) \
             ON DUPLICATE KEY UPDATE trusted = trusted")
        .bind(&request.namespace)
        .bind(&request.external_namespace)
        .run(conn)
        .await?;
        let message = format!("trust in namespace {} added", request.external_namespace);
        ctx.event(EventType::Audit, message, &[object(&request.namespace)]);
    }
    Ok(AddTrustReply { namespace: Some(view::one(conn, &request.namespace).await?) })
}

/// Takes trust back; trust that is not there is no error.
///
/// # Errors
/// [`StoreError::Missing`] for the namespace; [`StoreError::Refused`] for `system`.
pub async fn remove_trust(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &RemoveTrustRequest,
) -> StoreResult<RemoveTrustReply> {
    hold(conn, &request.namespace).await?;
    if request.external_namespace == SYSTEM_NAMESPACE {
        let message = "trust in the system namespace cannot be removed".to_owned();
        return Err(StoreError::Refused { reason: SYSTEM_NAMESPACE_FIXED, message });
    }
    let removed = sql("DELETE FROM namespace_trusts WHERE namespace = ? AND trusted = ?")
        .bind(&request.namespace)
        .bind(&request.external_namespace)
        .run(conn)
        .await?;
    if removed > 0 {
        let message = format!("trust in namespace {} removed", request.external_namespace);
        ctx.event(EventType::Audit, message, &[object(&request.namespace)]);
    }
    Ok(RemoveTrustReply { namespace: Some(view::one(conn, &request.namespace).await?) })
}
