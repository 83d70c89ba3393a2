//! Namespaces, whom they trust, their keys, and who a caller is (`security.md` §2–§4).

mod create;
mod delete;
mod keys;
mod login;
mod reap;
mod trust;
mod view;

pub use create::{create, ensure};
pub use delete::delete;
pub use keys::{delete_key, ensure_key, put_key};
pub use login::{count_attempt, login_candidates, principal};
pub use reap::{hard_delete, reap_keys};
pub use trust::{add_trust, remove_trust};
pub use view::{get, list};

use sf_model::{ObjectRef, ObjectType};

use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::sql::sql;

/// Reason of a refusal because the namespace is taken: answered with 403.
pub const NAMESPACE_EXISTS: &str = "namespace-exists";
/// Reason of a refusal because `system` may not be changed that way: answered with 403.
pub const SYSTEM_NAMESPACE_FIXED: &str = "system-namespace";
/// Reason of a refusal because a namespace still has objects: answered with 400.
pub const NAMESPACE_IN_USE: &str = "namespace-in-use";
/// Reason of a refusal because there are enough keys: answered with 409.
pub const TOO_MANY_KEYS: &str = "too-many-keys";
/// Reason of a refusal because the key name belongs to the system: answered with 403.
pub const RESERVED_KEY_NAME: &str = "reserved-key-name";

/// Schema version of the views of namespaces and keys.
const VERSION: u32 = 1;

/// Holds a live namespace until the end of the transaction, so that nothing is created in one that is being deleted.
///
/// # Errors
/// [`StoreError::Missing`].
pub async fn hold(conn: &mut Conn, name: &str) -> StoreResult<()> {
    let state: Option<String> =
        sql("SELECT state AS value FROM namespaces WHERE name = ? LOCK IN SHARE MODE")
            .bind(name)
            .value(conn)
            .await?;
    if state.as_deref() == Some("created") { Ok(()) } else { Err(missing(name)) }
}

/// Whether `namespace` lets `trusted` see it and create in it.
///
/// # Errors
/// Those of the database.
pub async fn trusts(conn: &mut Conn, namespace: &str, trusted: &str) -> StoreResult<bool> {
    if trusted == namespace || trusted == sf_model::access::SYSTEM_NAMESPACE {
        return Ok(true);
    }
    let row: Option<u64> = sql("SELECT 1 AS value FROM namespace_trusts WHERE namespace = ? AND trusted = ?")
        .bind(namespace)
        .bind(trusted)
        .value(conn)
        .await?;
    Ok(row.is_some())
}

fn missing(name: &str) -> StoreError {
    StoreError::missing(ObjectType::Namespace, name)
}

fn object(name: &str) -> ObjectRef {
    ObjectRef::new(ObjectType::Namespace, name)
}
