//! The moment a blob exists: its bytes are durable on one node, and what wanted it gets it in the same transaction.

use sf_model::{BlobId, NodeId, ObjectType};
use sf_protos::blobs::{CommitBlobReply, CommitBlobRequest, Hash};

use super::{dedup, transfer, well_formed};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult, reason};
use crate::sql::{Bind, rows, sql};
use crate::uploads;
use crate::wire::{datetime, parse};

rows! {
    struct Present {
        state: String,
        replaced_by: Option<BlobId>,
    }
}

/// Commits a reserved blob, or finds that an equal one exists; repeated for the same blob and node it answers the same.
///
/// # Errors
/// [`StoreError::Missing`] for a blob that was never reserved; a precondition `bad-state` when it was given up;
/// for uploads everything that adding a version can answer.
pub async fn commit(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &CommitBlobRequest,
) -> StoreResult<CommitBlobReply> {
    let blob: BlobId = parse("blob_uuid", &request.blob_uuid)?;
    let node: NodeId = parse("node_uuid", &request.node_uuid)?;
    if request.hashes.iter().any(|hash| !well_formed(&hash.algorithm, &hash.value)) {
        return Err(StoreError::invalid("hashes: unknown algorithm or malformed value"));
    }
    // Artifacts are locked before blobs.
    let target = match &request.upload {
        Some(upload) => Some(uploads::prepare_target(conn, ctx, upload).await?),
        None => None,
    };
    let committed = settle(conn, request, blob, node).await?;
    let artifact = match target {
        Some(target) => Some(target.finish(conn, ctx, committed.blob).await?),
        None => None,
    };
    Ok(CommitBlobReply {
        blob_uuid: committed.blob.to_string(),
        deduplicated: committed.blob != blob,
        present_here: committed.present_here,
        artifact,
    })
}

struct Committed {
    blob: BlobId,
    present_here: bool,
}

async fn settle(
    conn: &mut Conn,
    request: &CommitBlobRequest,
    blob: BlobId,
    node: NodeId,
) -> StoreResult<Committed> {
    let present: Option<Present> = sql("SELECT state, replaced_by FROM blobs WHERE uuid = ? FOR UPDATE")
        .bind(blob)
        .first_row(conn)
        .await?;
    let present = present.ok_or_else(|| StoreError::missing(ObjectType::Blob, blob))?;
    match (present.state.as_str(), present.replaced_by) {
        ("initial", _) => {}
        ("created", _) => {
            transfer::end(conn, blob, node).await?;
            let present_here = dedup::add_replica(conn, blob, node).await?;
            return Ok(Committed { blob, present_here });
        }
        ("deleted", Some(winner)) => {
            let present_here = dedup::add_replica(conn, winner, node).await?;
            return Ok(Committed { blob: winner, present_here });
        }
        _ => {
            let message = format!("blob {blob} was given up: its writer's lease lapsed or it was aborted");
            return Err(StoreError::precondition(reason::BAD_STATE, message));
        }
    }
    if request.may_deduplicate
        && let Some(winner) = dedup::equal_blob(conn, blob, request.size, &request.hashes).await?
    {
        let present_here = dedup::add_replica(conn, winner, node).await?;
        dedup::replace(conn, blob, winner).await?;
        return Ok(Committed { blob: winner, present_here });
    }
    write(conn, request, blob).await?;
    write_hashes(conn, blob, &request.hashes).await?;
    dedup::add_replica(conn, blob, node).await?;
    Ok(Committed { blob, present_here: false })
}

async fn write(conn: &mut Conn, request: &CommitBlobRequest, blob: BlobId) -> StoreResult<()> {
    let facts = request.facts.clone().unwrap_or_default();
    let safety = if facts.safety.is_empty() { "unchecked" } else { facts.safety.as_str() };
    sql("UPDATE blobs SET state = 'created', state_changed_at = UTC_TIMESTAMP(6), writer_lease_until = NULL, size = ?, \
         modified = ?, fetched_at = ?, format = ?, mime_type = ?, virtual_size = ?, cluster_size = ?, info = ?, \
         safety = ?, safety_reason = ?, row_version = row_version + 1 WHERE uuid = ?")
    .bind(request.size)
    .bind(request.modified.as_ref().and_then(datetime))
    .bind(request.fetched_at.as_ref().and_then(datetime))
    .bind(facts.format)
    .bind(facts.mime_type)
    .bind(facts.virtual_size)
    .bind(facts.cluster_size)
    .bind(facts.info_json)
    .bind(safety)
    .bind(facts.safety_reason)
    .bind(blob)
    .run(conn)
    .await?;
    Ok(())
}

/// Records hashes of a blob; one that is known already stays.
pub(super) async fn write_hashes(conn: &mut Conn, blob: BlobId, hashes: &[Hash]) -> StoreResult<()> {
    if hashes.is_empty() {
        return Ok(());
    }
    let rows = hashes.iter().map(|h| vec![Bind::from(blob), (&h.algorithm).into(), (&h.value).into()]);
    sql("INSERT INTO blob_hashes (blob_uuid, algorithm, value) VALUES ")
        .tuples(rows)
        .push(" ON DUPLICATE KEY UPDATE value = blob_hashes.value")
        .run(conn)
        .await?;
    Ok(())
}
