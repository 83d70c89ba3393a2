//! Turning an upload into a blob: begun under a guard, given back if it fails.

use sf_model::{ArtifactId, BlobId, NodeId, ObjectType, UploadId};
use sf_protos::blobs::{
    AbortUploadCommitReply, AbortUploadCommitRequest, BeginUploadCommitReply, BeginUploadCommitRequest,
};

use crate::artifacts;
use crate::blobs;
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult, reason};
use crate::lookup::Viewer;
use crate::references;
use crate::sql::{rows, sql};
use crate::wire::parse;

rows! {
    struct Head {
        state: String,
        blob_uuid: Option<BlobId>,
        result_artifact: Option<ArtifactId>,
    }
}

/// Takes an upload for commit and reserves its blob; one that was committed before answers its result.
///
/// # Errors
/// [`StoreError::Missing`]; a precondition `bad-state` when another commit is under way.
pub async fn begin_commit(
    conn: &mut Conn,
    _ctx: &TxContext,
    request: &BeginUploadCommitRequest,
) -> StoreResult<BeginUploadCommitReply> {
    let upload: UploadId = parse("upload_uuid", &request.upload_uuid)?;
    let node: NodeId = parse("node_uuid", &request.node_uuid)?;
    let blob: BlobId = parse("blob_uuid", &request.blob_uuid)?;
    let head: Option<Head> = sql(
        "SELECT state, blob_uuid, result_artifact FROM uploads WHERE uuid = ? AND node_uuid = ? FOR UPDATE",
    )
    .bind(upload)
    .bind(node)
    .first_row(conn)
    .await?;
    let missing = || StoreError::missing(ObjectType::Upload, upload);
    let head = head.ok_or_else(missing)?;
    match (head.state.as_str(), head.result_artifact) {
        ("created", _) => {
            sql("UPDATE uploads SET state = 'committing', state_changed_at = UTC_TIMESTAMP(6), \
                 last_active = UTC_TIMESTAMP(6), blob_uuid = ?, row_version = row_version + 1 WHERE uuid = ?")
            .bind(blob)
            .bind(upload)
            .run(conn)
            .await?;
            blobs::begin(conn, blob, node, upload.as_uuid(), "upload").await?;
            Ok(BeginUploadCommitReply { already: None })
        }
        // The same attempt again after a lost reply.
        ("committing", _) if head.blob_uuid == Some(blob) => Ok(BeginUploadCommitReply { already: None }),
        ("deleted", Some(artifact)) => {
            let already = artifacts::load(conn, &Viewer::system(), &[artifact]).await?.pop();
            Ok(BeginUploadCommitReply { already: Some(already.ok_or_else(missing)?) })
        }
        ("committing", _) => {
            let message = "the upload is being committed by another request";
            Err(StoreError::precondition(reason::BAD_STATE, message))
        }
        _ => Err(missing()),
    }
}

/// Gives an upload back to its client after a failed commit, with its bytes.
///
/// # Errors
/// Those of the database.
pub async fn abort_commit(
    conn: &mut Conn,
    _ctx: &TxContext,
    request: &AbortUploadCommitRequest,
) -> StoreResult<AbortUploadCommitReply> {
    let upload: UploadId = parse("upload_uuid", &request.upload_uuid)?;
    let blob: BlobId = parse("blob_uuid", &request.blob_uuid)?;
    let back =
        sql("UPDATE uploads SET state = 'created', state_changed_at = UTC_TIMESTAMP(6), blob_uuid = NULL, \
         row_version = row_version + 1 WHERE uuid = ? AND state = 'committing' AND blob_uuid = ?")
        .bind(upload)
        .bind(blob)
        .run(conn)
        .await?;
    if back > 0 {
        blobs::discard(conn, blob, "the commit of its upload failed").await?;
    }
    Ok(AbortUploadCommitReply {})
}

/// Ends an upload that nobody continues; its node removes the file.
pub(crate) async fn discard(conn: &mut Conn, upload: UploadId) -> StoreResult<()> {
    sql("UPDATE uploads SET state = 'deleted', state_changed_at = UTC_TIMESTAMP(6), row_version = row_version + 1 \
         WHERE uuid = ? AND state = 'created'")
    .bind(upload)
    .run(conn)
    .await?;
    references::unpin(conn, upload.as_uuid()).await
}
