//! Uploads: staging objects that collect bytes of a client on one node (`storage.md` §11).

mod commit;
mod target;

use chrono::{DateTime, Utc};
use sf_model::{NodeId, ObjectType, UploadId};
use sf_protos::blobs::{
    CreateUploadReply, CreateUploadRequest, GetUploadReply, GetUploadRequest, TouchUploadsReply,
    TouchUploadsRequest, Upload,
};

use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::lookup::Viewer;
use crate::namespaces;
use crate::sql::{rows, sql};
use crate::wire::{parse, state_info, timestamp};

pub(crate) use commit::discard;
pub use commit::{abort_commit, begin_commit};
pub(crate) use target::prepare_target;

/// Schema version of the view.
const VERSION: u32 = 1;

rows! {
    struct UploadRow {
        uuid: String,
        namespace: String,
        node_uuid: String,
        node_name: String,
        mesh_ip: String,
        state: String,
        state_changed_at: DateTime<Utc>,
        created_at: DateTime<Utc>,
        result_artifact: Option<String>,
        result_index: Option<u32>,
    }
}

/// Makes an upload on a node that the caller has chosen.
///
/// # Errors
/// [`StoreError::Missing`] for the namespace; [`StoreError::Exists`] for the identity.
pub async fn create(
    conn: &mut Conn,
    _ctx: &TxContext,
    request: &CreateUploadRequest,
) -> StoreResult<CreateUploadReply> {
    let upload: UploadId = parse("upload_uuid", &request.upload_uuid)?;
    let node: NodeId = parse("node_uuid", &request.node_uuid)?;
    namespaces::hold(conn, &request.namespace).await?;
    let inserted = sql("INSERT INTO uploads (uuid, namespace, node_uuid, size_hint, last_active, state, state_changed_at, \
         created_at, version) VALUES (?, ?, ?, ?, UTC_TIMESTAMP(6), 'created', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), ?)")
    .bind(upload)
    .bind(&request.namespace)
    .bind(node)
    .bind(request.size_hint)
    .bind(VERSION)
    .run(conn)
    .await;
    match inserted {
        Err(error) if error.is_duplicate() => return Err(StoreError::exists(ObjectType::Upload, upload)),
        other => other?,
    };
    Ok(CreateUploadReply { upload: Some(view(conn, &Viewer::system(), upload).await?) })
}

/// One upload of the caller.
///
/// # Errors
/// [`StoreError::Missing`].
pub async fn get(conn: &mut Conn, request: &GetUploadRequest) -> StoreResult<GetUploadReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let upload = parse("upload_uuid", &request.upload_uuid)?;
    Ok(GetUploadReply { upload: Some(view(conn, &viewer, upload).await?) })
}

/// Keeps uploads of a node from expiring; answers those that are not its own or not alive.
///
/// # Errors
/// More than 500.
pub async fn touch(conn: &mut Conn, request: &TouchUploadsRequest) -> StoreResult<TouchUploadsReply> {
    let node: NodeId = parse("node_uuid", &request.node_uuid)?;
    if request.upload_uuids.len() > 500 {
        return Err(StoreError::invalid("upload_uuids: at most 500"));
    }
    let ids = request
        .upload_uuids
        .iter()
        .map(|id| parse("upload_uuids", id))
        .collect::<StoreResult<Vec<UploadId>>>()?;
    let alive: Vec<UploadId> =
        sql("SELECT uuid AS value FROM uploads WHERE node_uuid = ? AND state <> 'deleted' AND uuid IN ")
            .bind(node)
            .list(ids.iter().copied())
            .values(conn)
            .await?;
    if !alive.is_empty() {
        sql("UPDATE uploads SET last_active = UTC_TIMESTAMP(6) WHERE uuid IN ")
            .list(alive.iter().copied())
            .run(conn)
            .await?;
    }
    let gone = ids.into_iter().filter(|id| !alive.contains(id)).map(|id| id.to_string()).collect();
    Ok(TouchUploadsReply { gone })
}

async fn view(conn: &mut Conn, viewer: &Viewer, upload: UploadId) -> StoreResult<Upload> {
    let row: Option<UploadRow> = sql("SELECT u.uuid, u.namespace, u.node_uuid, COALESCE(n.fqdn, '') AS node_name, \
         COALESCE(CAST(n.mesh_ip AS CHAR), '') AS mesh_ip, u.state, u.state_changed_at, u.created_at, u.result_artifact, \
         u.result_index FROM uploads u LEFT JOIN nodes n ON n.uuid = u.node_uuid WHERE u.uuid = ? AND ")
    .bind(upload)
    .append(viewer.owned("u.namespace"))
    .first_row(conn)
    .await?;
    let row = row.ok_or_else(|| StoreError::missing(ObjectType::Upload, upload))?;
    Ok(Upload {
        state: Some(state_info(&row.state, row.state_changed_at, None)),
        created_at: Some(timestamp(row.created_at)),
        uuid: row.uuid,
        namespace: row.namespace,
        node_uuid: row.node_uuid,
        node_name: row.node_name,
        mesh_ip: row.mesh_ip,
        result_artifact_uuid: row.result_artifact,
        result_index: row.result_index,
    })
}
