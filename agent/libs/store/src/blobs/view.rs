//! Reading blobs as the API shows them, with a constant number of statements whatever the number of blobs.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sf_model::{BlobId, ObjectType};
use sf_protos::blobs::{
    BatchGetBlobsReply, BatchGetBlobsRequest, Blob, FindBlobByHashReply, FindBlobByHashRequest, GetBlobReply,
    GetBlobRequest, Hash, ImageFacts, ListBlobsReply, ListBlobsRequest, Transcode,
};

use super::{reach, well_formed};
use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::lookup::Viewer;
use crate::metadata::{self, metadata_bytes};
use crate::page::{Page, creation_token};
use crate::sql::{Sql, rows, sql};
use crate::wire::{parse, state_info, timestamp};

rows! {
    struct BlobRow {
        uuid: String,
        size: u64,
        modified: Option<DateTime<Utc>>,
        fetched_at: Option<DateTime<Utc>>,
        last_used: Option<DateTime<Utc>>,
        depends_on: Option<String>,
        format: Option<String>,
        mime_type: Option<String>,
        virtual_size: Option<u64>,
        cluster_size: Option<u64>,
        info: Option<String>,
        safety: String,
        safety_reason: Option<String>,
        state: String,
        state_changed_at: DateTime<Utc>,
        state_message: Option<String>,
        created_at: DateTime<Utc>,
        version: u32,
        refs: u32,
        weight: u64,
    }

    /// One child value of a blob: a hash, a location, a user or a transcode.
    struct Child {
        blob_uuid: String,
        label: String,
        content: String,
    }
}

const SELECT: &str = concat!(
    "SELECT b.uuid, b.size, b.modified, b.fetched_at, b.last_used, b.depends_on, b.format, b.mime_type, \
     b.virtual_size, b.cluster_size, b.info, b.safety, b.safety_reason, b.state, b.state_changed_at, b.state_message, \
     b.created_at, b.version, (SELECT COUNT(*) FROM blob_references r WHERE r.blob_uuid = b.uuid AND r.kind <> 'pin') \
     AS refs, COALESCE(LENGTH(b.info), 0) \
     + 40 * (SELECT COUNT(*) FROM blob_references r WHERE r.blob_uuid = b.uuid AND r.kind = 'disk') + ",
    metadata_bytes!("blob", "b.uuid"),
    " AS weight FROM blobs b WHERE "
);

/// One blob the caller may read.
///
/// # Errors
/// [`StoreError::Missing`].
pub async fn get(conn: &mut Conn, request: &GetBlobRequest) -> StoreResult<GetBlobReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let id: BlobId = parse("blob_uuid", &request.blob_uuid)?;
    reach::require_reachable(conn, &viewer, id).await?;
    let blob = load(conn, &viewer, &[id]).await?.pop();
    Ok(GetBlobReply { blob: Some(blob.ok_or_else(|| StoreError::missing(ObjectType::Blob, id))?) })
}

/// Those of at most 500 blobs that the caller may read.
///
/// # Errors
/// More than 500 were asked for.
pub async fn batch_get(conn: &mut Conn, request: &BatchGetBlobsRequest) -> StoreResult<BatchGetBlobsReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    if request.blob_uuids.len() > 500 {
        return Err(StoreError::invalid("blob_uuids: at most 500"));
    }
    let ids =
        request.blob_uuids.iter().map(|id| parse("blob_uuids", id)).collect::<StoreResult<Vec<BlobId>>>()?;
    let seen: Vec<BlobId> = reach::reachable(conn, &viewer, &ids).await?.into_iter().collect();
    Ok(BatchGetBlobsReply { blobs: load(conn, &viewer, &seen).await? })
}

/// All blobs that are not deleted, by creation: for `system` alone.
///
/// # Errors
/// [`StoreError::Refused`] for anybody else.
pub async fn list(conn: &mut Conn, request: &ListBlobsRequest) -> StoreResult<ListBlobsReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    if !viewer.is_system() {
        let message = "only the system namespace may do this".to_owned();
        return Err(StoreError::Refused { reason: "system-only", message });
    }
    let page = Page::new(request.page.clone());
    let condition = match request.node_reference.as_deref().filter(|node| !node.is_empty()) {
        None => sql("b.state <> 'deleted'"),
        Some(node) => sql("b.state <> 'deleted' AND EXISTS (SELECT 1 FROM blob_replicas p JOIN nodes n ON n.uuid = p.node_uuid \
             WHERE p.blob_uuid = b.uuid AND p.state = 'present' AND (n.uuid = ? OR n.live_fqdn = ?))")
        .bind(sf_model::id::parse_hyphenated(node))
        .bind(node),
    };
    let rows = rows(conn, page.by_creation(condition, "b")?).await?;
    let token = |row: &BlobRow| creation_token(row.created_at, &row.uuid);
    let (rows, info) = page.cut_by_weight(rows, |row| row.weight, token);
    Ok(ListBlobsReply { blobs: complete(conn, &viewer, rows).await?, page: Some(info) })
}

/// The blob with a hash, if the caller may read it. A published hash never buys somebody else's bytes.
///
/// # Errors
/// An unknown algorithm or a malformed value.
pub async fn find_by_hash(
    conn: &mut Conn,
    request: &FindBlobByHashRequest,
) -> StoreResult<FindBlobByHashReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    if !well_formed(&request.algorithm, &request.value) {
        return Err(StoreError::invalid("hash: unknown algorithm or malformed value"));
    }
    let candidates: Vec<BlobId> = sql("SELECT h.blob_uuid AS value FROM blob_hashes h \
         JOIN blobs b ON b.uuid = h.blob_uuid AND b.state = 'created' \
         WHERE h.algorithm = ? AND h.value = ? ORDER BY b.created_at, b.uuid LIMIT 100")
    .bind(&request.algorithm)
    .bind(&request.value)
    .values(conn)
    .await?;
    let seen = reach::reachable(conn, &viewer, &candidates).await?;
    let first = candidates.into_iter().find(|id| seen.contains(id));
    let blob = match first {
        Some(id) => load(conn, &viewer, &[id]).await?.pop(),
        None => None,
    };
    Ok(FindBlobByHashReply { blob })
}

/// The views of blobs whose visibility has been decided.
///
/// # Errors
/// Those of the database.
pub async fn load(conn: &mut Conn, viewer: &Viewer, ids: &[BlobId]) -> StoreResult<Vec<Blob>> {
    let condition = sql("b.uuid IN ").list(ids.iter().copied()).push(" ORDER BY b.created_at, b.uuid");
    let rows = rows(conn, condition).await?;
    complete(conn, viewer, rows).await
}

async fn rows(conn: &mut Conn, condition: Sql) -> StoreResult<Vec<BlobRow>> {
    sql(SELECT).append(condition).all(conn).await
}

async fn complete(conn: &mut Conn, viewer: &Viewer, rows: Vec<BlobRow>) -> StoreResult<Vec<Blob>> {
    let ids: Vec<String> = rows.iter().map(|row| row.uuid.clone()).collect();
    let mut hashes = grouped(
        sql("SELECT blob_uuid, algorithm AS label, value AS content FROM blob_hashes WHERE blob_uuid IN ")
            .list(&ids)
            .push(" ORDER BY blob_uuid, algorithm")
            .all(conn)
            .await?,
    );
    let mut others = grouped(others(viewer, &ids).all(conn).await?);
    let mut entries = metadata::load(conn, ObjectType::Blob, &ids).await?;
    let view = |row: BlobRow| {
        let mut children = others.remove(&row.uuid).unwrap_or_default();
        let take = |label: &str| -> Vec<String> {
            children.iter().filter(|c| c.label == label).map(|c| c.content.clone()).collect()
        };
        let (locations, instance_uuids) = (take("location"), take("instance"));
        children.retain(|c| c.label.starts_with("transcode:"));
        Blob {
            metadata: entries.remove(&row.uuid).unwrap_or_default(),
            hashes: hashes
                .remove(&row.uuid)
                .unwrap_or_default()
                .into_iter()
                .map(|c| Hash { algorithm: c.label, value: c.content })
                .collect(),
            transcodes: children
                .into_iter()
                .map(|c| Transcode {
                    style: c.label.trim_start_matches("transcode:").to_owned(),
                    blob_uuid: c.content,
                })
                .collect(),
            locations,
            instance_uuids,
            state: Some(state_info(&row.state, row.state_changed_at, row.state_message)),
            version: row.version,
            modified: row.modified.map(timestamp),
            fetched_at: row.fetched_at.map(timestamp),
            last_used: row.last_used.map(timestamp),
            depends_on: row.depends_on,
            facts: Some(ImageFacts {
                format: row.format,
                mime_type: row.mime_type,
                virtual_size: row.virtual_size,
                cluster_size: row.cluster_size,
                info_json: row.info,
                safety: row.safety,
                safety_reason: row.safety_reason,
            }),
            reference_count: row.refs,
            created_at: Some(timestamp(row.created_at)),
            size: row.size,
            uuid: row.uuid,
        }
    };
    Ok(rows.into_iter().map(view).collect())
}

/// Locations, users the caller may see, and transcodes, in one statement.
fn others(viewer: &Viewer, ids: &[String]) -> Sql {
    sql("SELECT CAST(p.blob_uuid AS CHAR) AS blob_uuid, 'location' AS label, n.fqdn AS content FROM blob_replicas p \
         JOIN nodes n ON n.uuid = p.node_uuid WHERE p.state = 'present' AND p.blob_uuid IN ")
    .list(ids)
    .push(
        " UNION SELECT CAST(r.blob_uuid AS CHAR), 'instance', CAST(r.holder_uuid AS CHAR) FROM blob_references r \
         JOIN instances i ON i.uuid = r.holder_uuid WHERE r.kind IN ('disk', 'nvram_template') AND ",
    )
    .append(viewer.owned("i.namespace"))
    .push(" AND r.blob_uuid IN ")
    .list(ids)
    .push(
        " UNION SELECT CAST(r.holder_uuid AS CHAR), CONCAT('transcode:', r.holder_key), CAST(r.blob_uuid AS CHAR) \
         FROM blob_references r WHERE r.kind = 'transcode' AND r.holder_uuid IN ",
    )
    .list(ids)
    .push(" ORDER BY 1, 2, 3")
}

fn grouped(rows: Vec<Child>) -> BTreeMap<String, Vec<Child>> {
    let mut map: BTreeMap<String, Vec<Child>> = BTreeMap::new();
    for row in rows {
        map.entry(row.blob_uuid.clone()).or_default().push(row);
    }
    map
}
