//! Reading artifacts as the API shows them: five statements, whatever the number of artifacts.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sf_model::{ArtifactId, ObjectType};
use sf_protos::artifacts::{
    Artifact, ArtifactVersion, GetArtifactReply, GetArtifactRequest, ListArtifactsReply, ListArtifactsRequest,
};

use super::resolve;
use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::lookup::Viewer;
use crate::metadata::{self, metadata_bytes};
use crate::page::{Page, creation_token};
use crate::pending;
use crate::sql::{Sql, rows, sql};
use crate::wire::{state_info, timestamp};

rows! {
    struct ArtifactRow {
        uuid: String,
        artifact_type: String,
        source_url: String,
        name: String,
        namespace: String,
        shared: bool,
        max_versions: u32,
        error_message: Option<String>,
        state: String,
        state_changed_at: DateTime<Utc>,
        state_message: Option<String>,
        created_at: DateTime<Utc>,
        version: u32,
        weight: u64,
    }

    struct VersionRow {
        artifact_uuid: String,
        idx: u32,
        blob_uuid: String,
        size: u64,
        depends_on: Option<String>,
        blob_state: String,
        created_at: DateTime<Utc>,
        refs: u32,
    }

    struct User {
        blob_uuid: String,
        instance_uuid: String,
    }
}

const SELECT: &str = concat!(
    "SELECT a.uuid, a.artifact_type, a.source_url, a.name, a.namespace, a.shared, a.max_versions, a.error_message, \
     a.state, a.state_changed_at, a.state_message, a.created_at, a.version, ",
    metadata_bytes!("artifact", "a.uuid"),
    // Of a version about 300 bytes are shown, and a name of each instance that uses it.
    " + 300 * (SELECT COUNT(*) FROM artifact_versions v WHERE v.artifact_uuid = a.uuid AND v.deleted_at IS NULL) \
     + 40 * (SELECT COUNT(*) FROM artifact_versions v JOIN blob_references r ON r.blob_uuid = v.blob_uuid \
     AND r.kind = 'disk' WHERE v.artifact_uuid = a.uuid AND v.deleted_at IS NULL) AS weight FROM artifacts a WHERE "
);

/// One artifact the caller may read, or must own.
///
/// # Errors
/// [`StoreError::Missing`]; a precondition `ambiguous-reference`.
pub async fn get(conn: &mut Conn, request: &GetArtifactRequest) -> StoreResult<GetArtifactReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let id = resolve(conn, &viewer, request.selector.as_ref(), request.owned).await?;
    Ok(GetArtifactReply { artifact: Some(one(conn, &viewer, id).await?) })
}

/// All artifacts the caller may read that are not deleted, by creation.
///
/// # Errors
/// Those of the database.
pub async fn list(conn: &mut Conn, request: &ListArtifactsRequest) -> StoreResult<ListArtifactsReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let page = Page::new(request.page.clone());
    let mut condition = sql("a.state <> 'deleted' AND ").append(viewer.readable_artifact("a"));
    if let Some(node) = request.node_reference.as_deref().filter(|node| !node.is_empty()) {
        condition = condition
            .push(
                " AND EXISTS (SELECT 1 FROM artifact_versions v JOIN blob_replicas p ON p.blob_uuid = v.blob_uuid \
                 AND p.state = 'present' JOIN nodes n ON n.uuid = p.node_uuid WHERE v.artifact_uuid = a.uuid \
                 AND v.deleted_at IS NULL AND v.idx = a.highest_index AND (n.uuid = ? OR n.live_fqdn = ?))",
            )
            .bind(sf_model::id::parse_hyphenated(node))
            .bind(node);
    }
    let rows = rows(conn, page.by_creation(condition, "a")?).await?;
    let token = |row: &ArtifactRow| creation_token(row.created_at, &row.uuid);
    let (rows, info) = page.cut_by_weight(rows, |row| row.weight, token);
    Ok(ListArtifactsReply { artifacts: complete(conn, &viewer, rows).await?, page: Some(info) })
}

/// The views of artifacts whose visibility has been decided.
///
/// # Errors
/// Those of the database.
pub async fn load(conn: &mut Conn, viewer: &Viewer, ids: &[ArtifactId]) -> StoreResult<Vec<Artifact>> {
    let condition = sql("a.uuid IN ").list(ids.iter().copied()).push(" ORDER BY a.created_at, a.uuid");
    let rows = rows(conn, condition).await?;
    complete(conn, viewer, rows).await
}

/// One view.
pub(super) async fn one(conn: &mut Conn, viewer: &Viewer, id: ArtifactId) -> StoreResult<Artifact> {
    load(conn, viewer, &[id]).await?.pop().ok_or_else(|| StoreError::missing(ObjectType::Artifact, id))
}

async fn rows(conn: &mut Conn, condition: Sql) -> StoreResult<Vec<ArtifactRow>> {
    sql(SELECT).append(condition).all(conn).await
}

async fn complete(conn: &mut Conn, viewer: &Viewer, rows: Vec<ArtifactRow>) -> StoreResult<Vec<Artifact>> {
    let ids: Vec<String> = rows.iter().map(|row| row.uuid.clone()).collect();
    let mut versions = load_versions(conn, viewer, &ids).await?;
    let mut entries = metadata::load(conn, ObjectType::Artifact, &ids).await?;
    let mut operations = pending::load(conn, ObjectType::Artifact, &ids).await?;
    let view = |row: ArtifactRow| {
        let pending = operations.remove(&row.uuid).unwrap_or_default();
        Artifact {
            versions: versions.remove(&row.uuid).unwrap_or_default(),
            metadata: entries.remove(&row.uuid).unwrap_or_default(),
            has_pending_operations: pending.any,
            last_operation: pending.last,
            state: Some(state_info(&row.state, row.state_changed_at, row.state_message)),
            created_at: Some(timestamp(row.created_at)),
            uuid: row.uuid,
            artifact_type: row.artifact_type,
            source_url: row.source_url,
            name: row.name,
            namespace: row.namespace,
            shared: row.shared,
            max_versions: row.max_versions,
            version: row.version,
            error_message: row.error_message,
        }
    };
    Ok(rows.into_iter().map(view).collect())
}

/// Live versions whose blob exists; of a deleted artifact the versions it had at last, with today's counts.
async fn load_versions(
    conn: &mut Conn,
    viewer: &Viewer,
    ids: &[String],
) -> StoreResult<BTreeMap<String, Vec<ArtifactVersion>>> {
    let rows: Vec<VersionRow> = sql("SELECT v.artifact_uuid, v.idx, v.blob_uuid, b.size, b.depends_on, b.state AS blob_state, \
         v.created_at, (SELECT COUNT(*) FROM blob_references r WHERE r.blob_uuid = b.uuid AND r.kind <> 'pin') AS refs \
         FROM artifact_versions v JOIN blobs b ON b.uuid = v.blob_uuid JOIN artifacts a ON a.uuid = v.artifact_uuid \
         WHERE v.deleted_at IS NULL AND (b.state = 'created' OR a.state = 'deleted') AND v.artifact_uuid IN ")
    .list(ids)
    .push(" ORDER BY v.artifact_uuid, v.idx")
    .all(conn)
    .await?;
    let users: Vec<User> =
        sql("SELECT DISTINCT r.blob_uuid, r.holder_uuid AS instance_uuid FROM blob_references r \
         JOIN instances i ON i.uuid = r.holder_uuid WHERE r.kind IN ('disk', 'nvram_template') AND ")
        .append(viewer.owned("i.namespace"))
        .push(" AND r.blob_uuid IN ")
        .list(rows.iter().map(|row| row.blob_uuid.as_str()))
        .push(" ORDER BY 1, 2")
        .all(conn)
        .await?;
    let mut map: BTreeMap<String, Vec<ArtifactVersion>> = BTreeMap::new();
    for row in rows {
        let instance_uuids = users
            .iter()
            .filter(|user| user.blob_uuid == row.blob_uuid)
            .map(|user| user.instance_uuid.clone())
            .collect();
        map.entry(row.artifact_uuid).or_default().push(ArtifactVersion {
            index: row.idx,
            blob_uuid: row.blob_uuid,
            size: row.size,
            reference_count: row.refs,
            depends_on: row.depends_on,
            instance_uuids,
            created_at: Some(timestamp(row.created_at)),
            blob_state: row.blob_state,
        });
    }
    Ok(map)
}
