//! The three calls, and which object each may touch.

use sf_model::ObjectType;
use sf_model::affinity::parse_tags;
use sf_protos::common::Selector;
use sf_protos::metadata::{
    DeleteMetadataKeyReply, DeleteMetadataKeyRequest, GetMetadataReply, GetMetadataRequest,
    SetMetadataKeyReply, SetMetadataKeyRequest,
};

use super::{check, check_total, load};
use crate::artifacts;
use crate::blobs;
use crate::capacity;
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::lookup::{Lookup, Viewer, only, reference};
use crate::sql::{rows, sql};
use crate::wire::parse;

rows! {
    struct Found {
        id: String,
        namespace: Option<String>,
        state: String,
    }
}

/// What is to be done with the metadata.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Intent {
    Read,
    Write,
}

/// All entries of an object.
///
/// # Errors
/// [`StoreError::Missing`] when the caller may not see it.
pub async fn get(conn: &mut Conn, request: &GetMetadataRequest) -> StoreResult<GetMetadataReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let (object_type, id) =
        resolve(conn, &viewer, &request.object_type, request.selector.as_ref(), Intent::Read).await?;
    let mut loaded = load(conn, object_type, std::slice::from_ref(&id)).await?;
    Ok(GetMetadataReply { entries: loaded.remove(&id).unwrap_or_default() })
}

/// Creates or replaces one key.
///
/// # Errors
/// [`StoreError::Missing`] when the caller may not change the object; a precondition `bad-metadata` for the entry.
pub async fn set_key(
    conn: &mut Conn,
    _ctx: &TxContext,
    request: &SetMetadataKeyRequest,
) -> StoreResult<SetMetadataKeyReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let (object_type, id) =
        resolve(conn, &viewer, &request.object_type, request.selector.as_ref(), Intent::Write).await?;
    check(object_type, &request.key, &request.value_json)?;
    let others: Option<u64> =
        sql("SELECT CAST(COALESCE(SUM(LENGTH(meta_key) + LENGTH(meta_value)), 0) AS UNSIGNED) AS value \
         FROM object_metadata WHERE object_type = ? AND object_id = ? AND meta_key <> ?")
        .bind(object_type)
        .bind(&id)
        .bind(&request.key)
        .value(conn)
        .await?;
    let others = usize::try_from(others.unwrap_or(0)).unwrap_or(usize::MAX);
    check_total(others.saturating_add(request.key.len() + request.value_json.len()))?;
    if let Some(tags) = tags_of(object_type, &request.key, Some(&request.value_json)) {
        capacity::set_tags(conn, parse("object_id", &id)?, &tags).await?;
    }
    sql("INSERT INTO object_metadata (object_type, object_id, meta_key, meta_value, updated_at) \
         VALUES (?, ?, ?, ?, UTC_TIMESTAMP(6)) \
         ON DUPLICATE KEY UPDATE meta_value = VALUES(meta_value), updated_at = VALUES(updated_at)")
    .bind(object_type)
    .bind(&id)
    .bind(&request.key)
    .bind(&request.value_json)
    .run(conn)
    .await?;
    Ok(SetMetadataKeyReply { object_id: id })
}

/// Removes one key; a key that is not there is no error.
///
/// # Errors
/// As [`set_key`].
pub async fn delete_key(
    conn: &mut Conn,
    _ctx: &TxContext,
    request: &DeleteMetadataKeyRequest,
) -> StoreResult<DeleteMetadataKeyReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let (object_type, id) =
        resolve(conn, &viewer, &request.object_type, request.selector.as_ref(), Intent::Write).await?;
    if let Some(tags) = tags_of(object_type, &request.key, None) {
        capacity::set_tags(conn, parse("object_id", &id)?, &tags).await?;
    }
    let removed = sql("DELETE FROM object_metadata WHERE object_type = ? AND object_id = ? AND meta_key = ?")
        .bind(object_type)
        .bind(&id)
        .bind(&request.key)
        .run(conn)
        .await?;
    Ok(DeleteMetadataKeyReply { object_id: id, existed: removed > 0 })
}

/// The tags that placements look at, when this key is what they come from; none left when it is removed.
fn tags_of(object_type: ObjectType, key: &str, value_json: Option<&str>) -> Option<Vec<String>> {
    if object_type != ObjectType::Instance || key != "tags" {
        return None;
    }
    let value = value_json.and_then(|text| serde_json::from_str(text).ok());
    Some(value.and_then(|value| parse_tags(&value).ok()).unwrap_or_default())
}

async fn resolve(
    conn: &mut Conn,
    viewer: &Viewer,
    object_type: &str,
    selector: Option<&Selector>,
    intent: Intent,
) -> StoreResult<(ObjectType, String)> {
    let object_type: ObjectType = parse("object_type", object_type)?;
    let name = reference(selector);
    let query = match object_type {
        ObjectType::Instance => owned_by_reference(viewer, selector, "instances")?,
        ObjectType::Network => owned_by_reference(viewer, selector, "networks")?,
        ObjectType::Artifact => {
            let artifact = artifacts::resolve(conn, viewer, selector, intent == Intent::Write).await?;
            return Ok((object_type, artifact.to_string()));
        }
        ObjectType::Interface => {
            sql("SELECT CAST(x.uuid AS CHAR) AS id, x.namespace, x.state FROM network_interfaces x \
             JOIN networks n ON n.uuid = x.network_uuid WHERE x.uuid = ? AND ")
            .bind(parse::<uuid::Uuid>("selector.reference", name)?)
            .append(viewer.owned("x.namespace"))
            .push(" AND ")
            .append(viewer.owned("n.namespace"))
        }
        ObjectType::Node if viewer.is_system() => {
            sql("SELECT CAST(x.uuid AS CHAR) AS id, NULL AS namespace, x.state FROM nodes x \
                 WHERE (x.uuid = ? OR x.live_fqdn = ?)")
            .bind(sf_model::id::parse_hyphenated(name))
            .bind(name)
        }
        ObjectType::Namespace => {
            let seen = if intent == Intent::Read { viewer.trusted("x.name") } else { viewer.owned("x.name") };
            sql("SELECT x.name AS id, x.name AS namespace, x.state FROM namespaces x \
                 WHERE x.state <> 'deleted' AND x.name = ? AND ")
            .bind(name)
            .append(seen)
        }
        ObjectType::Blob => {
            let blob = parse("selector.reference", name)?;
            let allowed = match intent {
                Intent::Read => blobs::is_reachable(conn, viewer, blob).await?,
                Intent::Write => blobs::is_owned(conn, viewer, blob).await?,
            };
            return if allowed {
                Ok((object_type, blob.to_string()))
            } else {
                Err(StoreError::missing(object_type, name))
            };
        }
        other => return Err(StoreError::missing(other, name)),
    };
    // A writer holds the object: two of them cannot both fill what is left of its room, nor can it go away meanwhile.
    let lock = if intent == Intent::Write { " FOR UPDATE" } else { "" };
    let rows: Vec<Found> = query.push(" LIMIT 10").push(lock).all(conn).await?;
    let found = only(object_type, name, rows, |row| {
        format!("{} (namespace {})", row.id, row.namespace.as_deref().unwrap_or("-"))
    })?;
    if intent == Intent::Write && found.state == "deleted" {
        return Err(StoreError::missing(object_type, name));
    }
    Ok((object_type, found.id))
}

fn owned_by_reference(
    viewer: &Viewer,
    selector: Option<&Selector>,
    table: &str,
) -> StoreResult<crate::sql::Sql> {
    let lookup = Lookup::owned(viewer, selector)?;
    Ok(sql(format!("SELECT CAST(x.uuid AS CHAR) AS id, x.namespace, x.state FROM {table} x WHERE "))
        .append(viewer.owned("x.namespace"))
        .push(" AND ")
        .append(lookup.condition("x")))
}
