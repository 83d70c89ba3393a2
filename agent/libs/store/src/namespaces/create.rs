//! Making a namespace.

use sf_model::event::EventType;
use sf_protos::namespaces::{CreateNamespaceReply, CreateNamespaceRequest};

use super::{NAMESPACE_EXISTS, VERSION, keys, object, view};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::sql::sql;

/// Creates a namespace, with its first key if one is given.
///
/// # Errors
/// [`StoreError::Refused`] `namespace-exists`, also while the rows of a deleted namespace of that name remain.
pub async fn create(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &CreateNamespaceRequest,
) -> StoreResult<CreateNamespaceReply> {
    sf_model::name::namespace(&request.name).map_err(|rule| StoreError::invalid(format!("name: {rule}")))?;
    match insert(conn, &request.name).await {
        Err(error) if error.is_duplicate() => {
            return Err(StoreError::Refused {
                reason: NAMESPACE_EXISTS,
                message: "namespace exists".to_owned(),
            });
        }
        other => other?,
    }
    if let Some(key) = &request.key {
        keys::write(conn, ctx, &request.name, key).await?;
    }
    ctx.event(EventType::Audit, "namespace created", &[object(&request.name)]);
    Ok(CreateNamespaceReply { namespace: Some(view::one(conn, &request.name).await?) })
}

/// Creates a namespace if it does not exist, for bootstrap.
///
/// # Errors
/// Those of the database.
pub async fn ensure(conn: &mut Conn, name: &str) -> StoreResult<bool> {
    match insert(conn, name).await {
        Err(error) if error.is_duplicate() => Ok(false),
        other => other.map(|()| true),
    }
}

async fn insert(conn: &mut Conn, name: &str) -> StoreResult<()> {
    sql("INSERT INTO namespaces (name, state, state_changed_at, created_at, version) \
         VALUES (?, 'created', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), ?)")
    .bind(name)
    .bind(VERSION)
    .run(conn)
    .await?;
    Ok(())
}
