//! Where the bytes of an upload go: a version of an artifact, added in the transaction that commits the blob.

use sf_model::{BlobId, ObjectType, UploadId};
use sf_protos::artifacts::Artifact;
use sf_protos::blobs::UploadTarget;

use crate::artifacts::{self, Held, NewArtifact};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::lookup::Viewer;
use crate::references;
use crate::sql::sql;
use crate::wire::parse;

/// An upload and the artifact it becomes a version of, both locked.
pub(crate) struct Target {
    upload: UploadId,
    viewer: Viewer,
    artifact: Held,
}

/// Locks the artifact (found or made) before any blob is locked.
pub(crate) async fn prepare_target(
    conn: &mut Conn,
    ctx: &TxContext,
    target: &UploadTarget,
) -> StoreResult<Target> {
    let viewer = Viewer::new(target.caller.as_ref())?;
    let upload: UploadId = parse("upload.upload_uuid", &target.upload_uuid)?;
    let owned: Option<u64> = sql("SELECT 1 AS value FROM uploads u WHERE u.uuid = ? AND ")
        .bind(upload)
        .append(viewer.owned("u.namespace"))
        .value(conn)
        .await?;
    if owned.is_none() {
        return Err(StoreError::missing(ObjectType::Upload, upload));
    }
    let new = NewArtifact {
        uuid: parse("upload.artifact_uuid", &target.artifact_uuid)?,
        namespace: &target.namespace,
        artifact_type: &target.artifact_type,
        source_url: &target.source_url,
        name: &target.name,
        shared: target.shared,
    };
    let artifact = artifacts::take_for_writing(conn, ctx, &viewer, &new).await?;
    Ok(Target { upload, viewer, artifact })
}

impl Target {
    /// Adds the version and ends the upload; repeated, it changes nothing.
    pub(crate) async fn finish(
        self,
        conn: &mut Conn,
        ctx: &TxContext,
        blob: BlobId,
    ) -> StoreResult<Artifact> {
        let index = artifacts::add_version(conn, ctx, &self.artifact, blob).await?;
        sql(
            "UPDATE uploads SET state = 'deleted', state_changed_at = UTC_TIMESTAMP(6), result_artifact = ?, \
             result_index = ?, row_version = row_version + 1 WHERE uuid = ? AND state = 'committing'",
        )
        .bind(self.artifact.uuid)
        .bind(index)
        .bind(self.upload)
        .run(conn)
        .await?;
        references::unpin(conn, self.upload.as_uuid()).await?;
        let loaded = artifacts::load(conn, &self.viewer, &[self.artifact.uuid]).await?.pop();
        loaded.ok_or_else(|| StoreError::missing(ObjectType::Artifact, self.artifact.uuid))
    }
}
