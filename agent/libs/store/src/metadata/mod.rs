//! User metadata of any object: one row per key, so two writers of different keys never overwrite each other.

mod call;

use std::collections::BTreeMap;

use sf_model::ObjectType;
use sf_model::affinity::{Affinity, parse_tags};
use sf_protos::common::MetadataEntry;

use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::sql::{rows, sql};

pub use call::{delete_key, get, set_key};

/// SQL for the bytes that metadata adds to an object of the statement around it, named by its column.
macro_rules! metadata_bytes {
    ($object_type:literal, $id:literal) => {
        concat!(
            "(SELECT CAST(COALESCE(SUM(LENGTH(m.meta_key) + LENGTH(m.meta_value)), 0) AS UNSIGNED) \
             FROM object_metadata m WHERE m.object_type = '",
            $object_type,
            "' AND m.object_id = CAST(",
            $id,
            " AS CHAR))"
        )
    };
}
pub(crate) use metadata_bytes;

/// Bytes of one serialised value.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;
/// Bytes of all keys and values of one object.
pub const MAX_OBJECT_BYTES: usize = 256 * 1024;
/// Reason of a refusal for what a user wrote: answered with status 400.
pub const BAD_METADATA: &str = "bad-metadata";

rows! {
    struct EntryRow {
        object_id: String,
        meta_key: String,
        meta_value: String,
    }
}

/// Replaces all metadata of a new object.
///
/// # Errors
/// A precondition `bad-metadata` for an entry that breaks the rules.
pub async fn set_all(
    conn: &mut Conn,
    object_type: ObjectType,
    id: &str,
    entries: &[MetadataEntry],
) -> StoreResult<()> {
    clear(conn, object_type, id).await?;
    if entries.is_empty() {
        return Ok(());
    }
    check_total(entries.iter().map(|entry| entry.key.len() + entry.value_json.len()).sum())?;
    for entry in entries {
        check(object_type, &entry.key, &entry.value_json)?;
    }
    let mut statement =
        sql("INSERT INTO object_metadata (object_type, object_id, meta_key, meta_value, updated_at) VALUES ");
    for (position, entry) in entries.iter().enumerate() {
        statement = statement
            .push(if position == 0 { "" } else { ", " })
            .push("(?, ?, ?, ?, UTC_TIMESTAMP(6))")
            .bind(object_type)
            .bind(id)
            .bind(&entry.key)
            .bind(&entry.value_json);
    }
    statement.run(conn).await?;
    Ok(())
}

/// Removes all metadata of an object that is hard-deleted.
///
/// # Errors
/// Those of the database.
pub async fn clear(conn: &mut Conn, object_type: ObjectType, id: &str) -> StoreResult<()> {
    sql("DELETE FROM object_metadata WHERE object_type = ? AND object_id = ?")
        .bind(object_type)
        .bind(id)
        .run(conn)
        .await?;
    Ok(())
}

/// Metadata of many objects of one type in one statement; objects without any are left out.
///
/// # Errors
/// Those of the database.
pub async fn load(
    conn: &mut Conn,
    object_type: ObjectType,
    ids: &[String],
) -> StoreResult<BTreeMap<String, Vec<MetadataEntry>>> {
    let mut map: BTreeMap<String, Vec<MetadataEntry>> = BTreeMap::new();
    let rows: Vec<EntryRow> = sql("SELECT object_id, meta_key, meta_value FROM object_metadata \
         WHERE object_type = ? AND object_id IN ")
    .bind(object_type)
    .list(ids)
    .push(" ORDER BY object_id, meta_key")
    .all(conn)
    .await?;
    for row in rows {
        map.entry(row.object_id)
            .or_default()
            .push(MetadataEntry { key: row.meta_key, value_json: row.meta_value });
    }
    Ok(map)
}

/// The rules of one entry (`rest-api.md` §1.6, §3.12).
fn check(object_type: ObjectType, key: &str, value_json: &str) -> StoreResult<()> {
    sf_model::name::metadata_key(key).map_err(|rule| bad(format!("key: {rule}")))?;
    if value_json.len() > MAX_VALUE_BYTES {
        return Err(bad("value: must be at most 64 KiB of JSON"));
    }
    let value: serde_json::Value = serde_json::from_str(value_json)
        .map_err(|_| StoreError::invalid("value_json: not a JSON document"))?;
    if object_type == ObjectType::Instance {
        let problem = match key {
            "tags" => parse_tags(&value).err(),
            "affinity" => Affinity::parse(&value).err(),
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(bad(problem.to_string()));
        }
    }
    Ok(())
}

fn check_total(bytes: usize) -> StoreResult<()> {
    if bytes > MAX_OBJECT_BYTES {
        return Err(bad("value: all metadata of an object must be at most 256 KiB"));
    }
    Ok(())
}

fn bad(message: impl Into<String>) -> StoreError {
    StoreError::precondition(BAD_METADATA, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_by_type_of_object() {
        let long = format!("\"{}\"", "x".repeat(MAX_VALUE_BYTES));
        for (object_type, key, value, good) in [
            (ObjectType::Instance, "tags", r#"["a"]"#, true),
            (ObjectType::Instance, "tags", r#""a""#, false),
            (ObjectType::Instance, "affinity", r#"{"a": true}"#, false),
            (ObjectType::Instance, "affinity", r#"{"prefer_with_tag": ["a"]}"#, true),
            (ObjectType::Network, "tags", r#""a""#, true),
            (ObjectType::Network, "", "1", false),
            (ObjectType::Network, "a\nb", "1", false),
            (ObjectType::Network, "k", &long, false),
        ] {
            assert_eq!(check(object_type, key, value).is_ok(), good, "{object_type} {key}");
        }
    }
}
