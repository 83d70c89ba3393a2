//! Hashes nobody needed when the blob was stored.

use sf_model::operation::{OperationArgs, Priority};
use sf_model::{BlobId, NodeId, OperationId};
use sf_protos::blobs::{RecordHashReply, RecordHashRequest, RequestHashReply, RequestHashRequest};

use super::{ALGORITHMS, commit, reach, well_formed};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::lookup::Viewer;
use crate::operations::{self, EnqueueOperation};
use crate::sql::sql;
use crate::wire::parse;

/// The hash if it is known; otherwise its computation is queued, once, on a node that holds the blob.
///
/// # Errors
/// [`StoreError::Missing`] when the caller may not read the blob.
pub async fn request_hash(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &RequestHashRequest,
) -> StoreResult<RequestHashReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let blob: BlobId = parse("blob_uuid", &request.blob_uuid)?;
    if !ALGORITHMS.iter().any(|(name, _)| *name == request.algorithm) {
        return Err(StoreError::invalid("algorithm: unknown"));
    }
    reach::require_reachable(conn, &viewer, blob).await?;
    let value: Option<String> = sql("SELECT value FROM blob_hashes WHERE blob_uuid = ? AND algorithm = ?")
        .bind(blob)
        .bind(&request.algorithm)
        .value(conn)
        .await?;
    if value.is_some() {
        return Ok(RequestHashReply { value });
    }
    let node: Option<NodeId> =
        sql("SELECT p.node_uuid AS value FROM blob_replicas p JOIN nodes n ON n.uuid = p.node_uuid \
         WHERE p.blob_uuid = ? AND p.state = 'present' AND n.state = 'created' ORDER BY p.node_uuid LIMIT 1")
        .bind(blob)
        .value(conn)
        .await?;
    if let Some(node) = node {
        let operation = EnqueueOperation {
            uuid: OperationId::ordered(),
            node,
            namespace: ctx.namespace.clone(),
            priority: Priority::Background,
            args: OperationArgs::BlobHash { blob, algorithm: request.algorithm.clone() },
            dependencies: Vec::new(),
            deadline_seconds: 0,
            observational: true,
        };
        operations::enqueue(conn, ctx, &[operation]).await?;
    }
    Ok(RequestHashReply { value: None })
}

/// Records computed hashes.
///
/// # Errors
/// A malformed hash.
pub async fn record_hash(
    conn: &mut Conn,
    _ctx: &TxContext,
    request: &RecordHashRequest,
) -> StoreResult<RecordHashReply> {
    if request.hashes.iter().any(|hash| !well_formed(&hash.algorithm, &hash.value)) {
        return Err(StoreError::invalid("hashes: unknown algorithm or malformed value"));
    }
    let blob: BlobId = parse("blob_uuid", &request.blob_uuid)?;
    commit::write_hashes(conn, blob, &request.hashes).await?;
    Ok(RecordHashReply {})
}
