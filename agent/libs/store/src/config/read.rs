//! Reading keys; secrets only for those on the key's list.

use chrono::{DateTime, Utc};
use sf_config::{ClusterConfig, cluster_key};
use sf_protos::config::{ConfigEntry, GetClusterConfigReply};

use crate::conn::Conn;
use crate::context::Settings;
use crate::error::{StoreError, StoreResult};
use crate::sql::{rows, sql};
use crate::wire::timestamp;

/// The key of the cluster's identity, which is shown beside the entries too.
const CLUSTER_ID: &str = "CLUSTER_ID";

rows! {
    struct Row {
        key_name: String,
        value_text: String,
        is_secret: bool,
        version: u64,
        updated_at: DateTime<Utc>,
        updated_by: String,
    }
}

/// The configuration as a daemon (without `sf-`) may see it.
///
/// # Errors
/// The database fails.
pub async fn read(conn: &mut Conn, daemon: &str) -> StoreResult<GetClusterConfigReply> {
    let rows = rows(conn).await?;
    let cluster_id = rows.iter().find(|row| row.key_name == CLUSTER_ID).map(|row| row.value_text.clone());
    let release = super::cluster_release(conn).await?.unwrap_or_default();
    let database_time = Some(timestamp(crate::clock::read(conn).await?));
    let entries = rows.into_iter().map(|row| entry(row, daemon)).collect();
    Ok(GetClusterConfigReply { cluster_id: cluster_id.unwrap_or_default(), release, entries, database_time })
}

/// The configuration as transactions use it. `fqdn` is the gateway's node.
///
/// # Errors
/// The database fails, or holds values that this build refuses.
pub async fn settings(conn: &mut Conn, fqdn: &str) -> StoreResult<Settings> {
    let texts = settings_texts(conn).await?;
    let pairs = texts.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let (cluster, unknown) =
        ClusterConfig::from_texts(pairs).map_err(|e| StoreError::Corrupt(e.to_string()))?;
    if !unknown.is_empty() {
        tracing::debug!(keys = unknown.join(", "), "cluster keys that this build does not know");
    }
    Ok(Settings { cluster, fqdn: fqdn.to_owned() })
}

/// Every key with its text, secrets left out: the gateway has no use for them.
///
/// # Errors
/// The database fails.
pub async fn settings_texts(conn: &mut Conn) -> StoreResult<Vec<(String, String)>> {
    let rows = rows(conn).await?;
    Ok(rows.into_iter().filter(|row| !row.is_secret).map(|row| (row.key_name, row.value_text)).collect())
}

async fn rows(conn: &mut Conn) -> StoreResult<Vec<Row>> {
    sql("SELECT * FROM cluster_config ORDER BY key_name").all(conn).await
}

fn entry(row: Row, daemon: &str) -> ConfigEntry {
    let reader = cluster_key(&row.key_name).is_some_and(|spec| spec.flags.readers.contains(&daemon));
    ConfigEntry {
        key: row.key_name,
        value: if row.is_secret && !reader { String::new() } else { row.value_text },
        secret: row.is_secret,
        version: row.version,
        updated_at: Some(timestamp(row.updated_at)),
        updated_by: row.updated_by,
    }
}
