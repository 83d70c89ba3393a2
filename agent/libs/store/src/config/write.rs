//! Changing keys: checked as a whole, recorded in the same transaction, secrets masked.

use std::collections::BTreeMap;

use sf_config::{ClusterConfig, KeySpec, cluster_key, is_wrapped};
use sf_model::event::EventType;
use sf_model::{ObjectRef, ObjectType};

use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::sql::{rows, sql};

rows! {
    struct Present {
        key_name: String,
        value_text: String,
    }
}

/// How keys are set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetMode {
    /// Nothing is written.
    pub check_only: bool,
    /// Keys that are not named return to their defaults. What bootstrap made, secrets and the identity of the cluster,
    /// stays.
    pub purge: bool,
}

/// Sets keys, in either case, and says which of them changed. Nothing is written when one is refused.
///
/// # Errors
/// [`StoreError::Invalid`] with every problem.
pub async fn set(
    conn: &mut Conn,
    ctx: &TxContext,
    values: &BTreeMap<String, String>,
    mode: SetMode,
) -> StoreResult<Vec<String>> {
    let wanted = canonical(values)?;
    let present = present(conn).await?;
    let mut after: BTreeMap<String, String> =
        present.iter().map(|row| (row.key_name.clone(), row.value_text.clone())).collect();
    after.extend(wanted.iter().map(|(spec, text)| (spec.upper_name(), text.clone())));
    let purged = if mode.purge { unnamed(&after, &wanted) } else { Vec::new() };
    let olds: Vec<_> = purged.into_iter().map(|spec| (spec, after.remove(&spec.upper_name()))).collect();
    check(&after)?;
    let mut changed = Vec::new();
    for (spec, old) in olds {
        changed.push(spec.upper_name());
        if !mode.check_only {
            remove(conn, ctx, spec, old.as_deref()).await?;
        }
    }
    for (spec, text) in &wanted {
        let name = spec.upper_name();
        let old = present.iter().find(|row| row.key_name == name);
        if old.is_some_and(|row| row.value_text == *text) {
            continue;
        }
        changed.push(name.clone());
        if !mode.check_only {
            upsert(conn, spec, text, &author(ctx)).await?;
            record(ctx, spec, old.map(|row| row.value_text.as_str()), Some(text));
        }
    }
    Ok(changed)
}

/// Returns keys to their defaults and says which of them had been set.
///
/// # Errors
/// [`StoreError::Invalid`] for an unknown key, or when the rest does not fit together without it.
pub async fn unset(conn: &mut Conn, ctx: &TxContext, keys: &[String]) -> StoreResult<Vec<String>> {
    let present = present(conn).await?;
    let mut after: BTreeMap<String, String> =
        present.iter().map(|row| (row.key_name.clone(), row.value_text.clone())).collect();
    let mut changed = Vec::new();
    for key in keys {
        let spec = known(key)?;
        let name = spec.upper_name();
        if let Some(old) = after.remove(&name) {
            remove(conn, ctx, spec, Some(&old)).await?;
            changed.push(name);
        }
    }
    check(&after)?;
    Ok(changed)
}

/// Writes a key that must not exist yet (bootstrap).
///
/// # Errors
/// [`StoreError::Invalid`] for a bad value; a duplicate when the key is set.
pub async fn insert(conn: &mut Conn, key: &str, text: &str, author: &str) -> StoreResult<()> {
    let spec = cluster_key(key).ok_or_else(|| StoreError::Invalid(format!("{key} is not a cluster key")))?;
    let text = checked(spec, text)?;
    let insert = "INSERT INTO cluster_config (key_name, value_text, is_secret, version, updated_at, updated_by) \
         VALUES (?, ?, ?, 1, UTC_TIMESTAMP(6), ?)";
    sql(insert).bind(spec.upper_name()).bind(text).bind(spec.flags.secret).bind(author).run(conn).await?;
    Ok(())
}

/// Encrypts a secret in place; one that is encrypted, or not there, stays as it is.
///
/// # Errors
/// [`StoreError::Invalid`] when it cannot be encrypted.
pub async fn encrypt(
    conn: &mut Conn,
    key: &str,
    wrap: &(dyn Fn(&str) -> Result<String, String> + Send + Sync),
) -> StoreResult<()> {
    let name = key.to_ascii_uppercase();
    let text: Option<String> =
        sql("SELECT value_text AS value FROM cluster_config WHERE key_name = ? FOR UPDATE")
            .bind(&name)
            .value(conn)
            .await?;
    let Some(text) = text.filter(|text| !is_wrapped(text)) else { return Ok(()) };
    let wrapped = wrap(&text).map_err(StoreError::Invalid)?;
    sql("UPDATE cluster_config SET value_text = ?, version = version + 1, updated_at = UTC_TIMESTAMP(6) WHERE key_name = ?")
        .bind(wrapped)
        .bind(&name)
        .run(conn)
        .await?;
    Ok(())
}

async fn remove(conn: &mut Conn, ctx: &TxContext, spec: &KeySpec, old: Option<&str>) -> StoreResult<()> {
    sql("DELETE FROM cluster_config WHERE key_name = ?").bind(spec.upper_name()).run(conn).await?;
    record(ctx, spec, old, None);
    Ok(())
}

async fn upsert(conn: &mut Conn, spec: &KeySpec, text: &str, author: &str) -> StoreResult<()> {
    let upsert = "INSERT INTO cluster_config (key_name, value_text, is_secret, version, updated_at, updated_by) \
         VALUES (?, ?, ?, 1, UTC_TIMESTAMP(6), ?) ON DUPLICATE KEY UPDATE value_text = VALUES(value_text), \
         version = version + 1, updated_at = VALUES(updated_at), updated_by = VALUES(updated_by)";
    sql(upsert).bind(spec.upper_name()).bind(text).bind(spec.flags.secret).bind(author).run(conn).await?;
    Ok(())
}

/// The rows are locked, so that two changes are checked one after the other.
async fn present(conn: &mut Conn) -> StoreResult<Vec<Present>> {
    sql("SELECT key_name, value_text FROM cluster_config ORDER BY key_name FOR UPDATE").all(conn).await
}

/// Keys that are set, not wanted, and not made by bootstrap.
fn unnamed(
    present: &BTreeMap<String, String>,
    wanted: &[(&'static KeySpec, String)],
) -> Vec<&'static KeySpec> {
    let made_by_bootstrap = |spec: &KeySpec| spec.flags.secret || spec.name == "cluster_id";
    let set = present.keys().filter_map(|name| cluster_key(name));
    set.filter(|spec| !made_by_bootstrap(spec) && wanted.iter().all(|(other, _)| other.name != spec.name))
        .collect()
}

fn canonical(values: &BTreeMap<String, String>) -> StoreResult<Vec<(&'static KeySpec, String)>> {
    values
        .iter()
        .map(|(key, text)| {
            let spec = known(key)?;
            Ok((spec, checked(spec, text)?))
        })
        .collect()
}

fn known(key: &str) -> StoreResult<&'static KeySpec> {
    let spec = cluster_key(key).ok_or_else(|| StoreError::Invalid(format!("{key} is not a cluster key")))?;
    if spec.name == "cluster_id" {
        return Err(StoreError::invalid("cluster_id is given once, by bootstrap"));
    }
    Ok(spec)
}

fn checked(spec: &KeySpec, text: &str) -> StoreResult<String> {
    spec.canonical(text).map_err(|why| StoreError::Invalid(format!("{} {why}", spec.name)))
}

/// Keys together must make a configuration.
fn check(texts: &BTreeMap<String, String>) -> StoreResult<()> {
    let pairs = texts.iter().map(|(key, text)| (key.as_str(), text.as_str()));
    ClusterConfig::from_texts(pairs).map(|_| ()).map_err(|e| StoreError::Invalid(e.to_string()))
}

fn author(ctx: &TxContext) -> String {
    let who = ctx.key_name.as_deref().unwrap_or(&ctx.caller_daemon);
    let node = ctx.caller_node.map_or_else(|| "unknown".to_owned(), |node| node.to_string());
    format!("{who}@{node}")
}

fn record(ctx: &TxContext, spec: &KeySpec, old: Option<&str>, new: Option<&str>) {
    let show =
        |text: Option<&str>| text.map(|text| if spec.flags.secret { "<redacted>" } else { text }.to_owned());
    // Under names that redaction does not match: a key may be called anything.
    let extra = serde_json::json!({ "setting": spec.name, "before": show(old), "after": show(new) });
    let object = ObjectRef::new(ObjectType::Namespace, sf_model::access::SYSTEM_NAMESPACE);
    ctx.event_with(EventType::Audit, "cluster configuration changed", &[object], Some(&extra));
}
