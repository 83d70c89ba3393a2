//! Keys of a namespace. Only verifiers are stored; secrets never come here.

use sf_model::event::EventType;
use sf_model::{KeyId, ObjectRef, ObjectType};
use sf_protos::namespaces::{DeleteKeyReply, DeleteKeyRequest, NewKey, PutKeyReply, PutKeyRequest};

use super::{RESERVED_KEY_NAME, TOO_MANY_KEYS, VERSION, missing, object};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::sql::{Bind, rows, sql};
use crate::wire::{datetime, parse};

/// Live keys of all kinds a namespace may have (`security.md` §3.1).
const MAX_KEYS: u64 = 1000;
/// Live keys with a supplied secret; every one costs a slow comparison at login.
const MAX_SUPPLIED: u64 = 16;
/// Kind of these.
const SUPPLIED: &str = "supplied";

rows! {
    struct KeyCounts {
        keys_live: u64,
        supplied: u64,
    }

    struct LiveKey {
        uuid: KeyId,
        kind: String,
    }
}

/// Adds a key, or rotates the live one of that name: new verifier, nonce, scopes and expiry under the same identity.
///
/// # Errors
/// [`StoreError::Missing`] for the namespace, or for the key when it must exist; [`StoreError::Refused`] for a reserved
/// name; a precondition `too-many-keys`; [`StoreError::Exists`] for a verifier that another key has.
pub async fn put_key(conn: &mut Conn, ctx: &TxContext, request: &PutKeyRequest) -> StoreResult<PutKeyReply> {
    let key = request.key.as_ref().ok_or_else(|| StoreError::invalid("key: required"))?;
    lock_namespace(conn, &request.namespace).await?;
    let existing = live_key(conn, &request.namespace, &key.key_name).await?;
    if let Some(before) = existing {
        check(key)?;
        check_room(conn, &request.namespace, key, Some(&before)).await?;
        rotate(conn, before.uuid, key).await?;
        audit(ctx, &request.namespace, before.uuid, "key rotated", &key.key_name);
        return Ok(PutKeyReply { replaced: true, key_uuid: before.uuid.to_string() });
    }
    if request.must_exist {
        return Err(StoreError::missing(ObjectType::NamespaceKey, &key.key_name));
    }
    let id = write(conn, ctx, &request.namespace, key).await?;
    Ok(PutKeyReply { replaced: false, key_uuid: id.to_string() })
}

/// Removes a key; its tokens die with it.
///
/// # Errors
/// [`StoreError::Missing`] for the namespace or the key.
pub async fn delete_key(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &DeleteKeyRequest,
) -> StoreResult<DeleteKeyReply> {
    lock_namespace(conn, &request.namespace).await?;
    let id = live_key(conn, &request.namespace, &request.key_name)
        .await?
        .ok_or_else(|| StoreError::missing(ObjectType::NamespaceKey, &request.key_name))?
        .uuid;
    retire(conn, &[id]).await?;
    audit(ctx, &request.namespace, id, "key deleted", &request.key_name);
    Ok(DeleteKeyReply {})
}

/// Adds a key unless a live one of that name exists, for bootstrap.
///
/// # Errors
/// As [`put_key`].
pub async fn ensure_key(
    conn: &mut Conn,
    ctx: &TxContext,
    namespace: &str,
    key: &NewKey,
) -> StoreResult<bool> {
    lock_namespace(conn, namespace).await?;
    if live_key(conn, namespace, &key.key_name).await?.is_some() {
        return Ok(false);
    }
    write(conn, ctx, namespace, key).await?;
    Ok(true)
}

/// Inserts a key whose name is free in a namespace that this transaction holds.
pub(super) async fn write(
    conn: &mut Conn,
    ctx: &TxContext,
    namespace: &str,
    key: &NewKey,
) -> StoreResult<KeyId> {
    check(key)?;
    check_room(conn, namespace, key, None).await?;
    let id: KeyId = parse("key.key_uuid", &key.key_uuid)?;
    let inserted = sql(
        "INSERT INTO namespace_keys (uuid, namespace, name, live_name, kind, verifier, live_verifier, nonce, \
         expires_at, state, state_changed_at, created_at, version) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'created', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), ?)",
    )
    .bind(id)
    .bind(namespace)
    .bind(&key.key_name)
    .bind(&key.key_name)
    .bind(&key.kind)
    .bind(&key.verifier)
    .bind(&key.verifier)
    .bind(&key.nonce)
    .bind(key.expires_at.as_ref().and_then(datetime))
    .bind(VERSION)
    .run(conn)
    .await;
    match inserted {
        Err(error) if error.is_duplicate() => {
            return Err(StoreError::exists(ObjectType::NamespaceKey, &key.key_name));
        }
        other => other?,
    };
    write_scopes(conn, id, &key.scopes).await?;
    sql("INSERT INTO namespace_key_provenance (key_uuid, creator_namespace, creator_key) VALUES (?, ?, ?)")
        .bind(id)
        .bind(ctx.namespace.as_deref())
        .bind(ctx.key_name.as_deref())
        .run(conn)
        .await?;
    audit(ctx, namespace, id, "key created", &key.key_name);
    Ok(id)
}

/// Marks keys deleted and frees their names and verifiers.
pub(super) async fn retire(conn: &mut Conn, keys: &[KeyId]) -> StoreResult<()> {
    if keys.is_empty() {
        return Ok(());
    }
    sql(
        "UPDATE namespace_keys SET state = 'deleted', state_changed_at = UTC_TIMESTAMP(6), live_name = NULL, \
         live_verifier = NULL, row_version = row_version + 1 WHERE uuid IN ",
    )
    .list(keys.iter().copied())
    .run(conn)
    .await?;
    Ok(())
}

async fn rotate(conn: &mut Conn, id: KeyId, key: &NewKey) -> StoreResult<()> {
    let updated = sql(
        "UPDATE namespace_keys SET kind = ?, verifier = ?, live_verifier = ?, nonce = ?, expires_at = ?, \
         row_version = row_version + 1 WHERE uuid = ?",
    )
    .bind(&key.kind)
    .bind(&key.verifier)
    .bind(&key.verifier)
    .bind(&key.nonce)
    .bind(key.expires_at.as_ref().and_then(datetime))
    .bind(id)
    .run(conn)
    .await;
    match updated {
        Err(error) if error.is_duplicate() => {
            return Err(StoreError::exists(ObjectType::NamespaceKey, &key.key_name));
        }
        other => other?,
    };
    sql("DELETE FROM namespace_key_scopes WHERE key_uuid = ?").bind(id).run(conn).await?;
    write_scopes(conn, id, &key.scopes).await
}

async fn write_scopes(conn: &mut Conn, id: KeyId, scopes: &[String]) -> StoreResult<()> {
    sql("INSERT IGNORE INTO namespace_key_scopes (key_uuid, scope) VALUES ")
        .tuples(scopes.iter().map(|scope| vec![Bind::from(id), scope.into()]))
        .run(conn)
        .await?;
    Ok(())
}

/// Locks a live namespace, so that its keys are counted and named one change at a time.
async fn lock_namespace(conn: &mut Conn, name: &str) -> StoreResult<()> {
    let state: Option<String> =
        sql("SELECT state AS value FROM namespaces WHERE name = ? FOR UPDATE").bind(name).value(conn).await?;
    if state.as_deref() == Some("created") { Ok(()) } else { Err(missing(name)) }
}

async fn live_key(conn: &mut Conn, namespace: &str, name: &str) -> StoreResult<Option<LiveKey>> {
    sql("SELECT uuid, kind FROM namespace_keys WHERE namespace = ? AND live_name = ?")
        .bind(namespace)
        .bind(name)
        .first_row(conn)
        .await
}

/// Whether there is room for a key, which may take the place of another. A rotation that makes nothing more of a kind is
/// never refused: a secret that is known to others must go.
async fn check_room(
    conn: &mut Conn,
    namespace: &str,
    key: &NewKey,
    before: Option<&LiveKey>,
) -> StoreResult<()> {
    let is_another = before.is_none();
    let is_another_supplied = key.kind == SUPPLIED && before.is_none_or(|before| before.kind != SUPPLIED);
    if !is_another && !is_another_supplied {
        return Ok(());
    }
    let counts: Option<KeyCounts> = sql("SELECT CAST(COUNT(*) AS UNSIGNED) AS keys_live, \
         CAST(COUNT(IF(kind = ?, 1, NULL)) AS UNSIGNED) AS supplied \
         FROM namespace_keys WHERE namespace = ? AND live_name IS NOT NULL")
    .bind(SUPPLIED)
    .bind(namespace)
    .first_row(conn)
    .await?;
    let full = counts.is_some_and(|c| {
        (is_another && c.keys_live >= MAX_KEYS) || (is_another_supplied && c.supplied >= MAX_SUPPLIED)
    });
    if full {
        return Err(StoreError::precondition(TOO_MANY_KEYS, "the namespace has too many keys"));
    }
    Ok(())
}

fn check(key: &NewKey) -> StoreResult<()> {
    sf_model::name::key(&key.key_name).map_err(|rule| StoreError::invalid(format!("key_name: {rule}")))?;
    if sf_model::name::key_is_reserved(&key.key_name) {
        let message = "the key name is reserved".to_owned();
        return Err(StoreError::Refused { reason: RESERVED_KEY_NAME, message });
    }
    let complete = !key.verifier.is_empty() && key.nonce.len() == 32 && !key.scopes.is_empty();
    let known = matches!(key.kind.as_str(), "generated" | "supplied" | "federated" | "session");
    if complete && known { Ok(()) } else { Err(StoreError::invalid("key: verifier, nonce, scopes or kind")) }
}

fn audit(ctx: &TxContext, namespace: &str, id: KeyId, what: &str, name: &str) {
    let objects = [object(namespace), ObjectRef::new(ObjectType::NamespaceKey, id)];
    ctx.event(EventType::Audit, format!("{what}: {name}"), &objects);
}
