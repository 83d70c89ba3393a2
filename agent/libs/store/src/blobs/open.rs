//! Where the bytes of a blob can be read.

use sf_model::{BlobId, ObjectType};
use sf_protos::blobs::{BlobSource, OpenBlobForReadReply, OpenBlobForReadRequest};

use super::reach;
use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::lookup::Viewer;
use crate::sql::{rows, sql};
use crate::wire::parse;

rows! {
    struct Head {
        state: String,
        size: u64,
        sha512: Option<String>,
    }

    struct Source {
        node_uuid: String,
        node_name: String,
        mesh_ip: String,
    }
}

/// Size, checksum and the nodes with a usable copy, best first.
///
/// # Errors
/// [`StoreError::Missing`] when the caller may not read it.
pub async fn open_for_read(
    conn: &mut Conn,
    request: &OpenBlobForReadRequest,
) -> StoreResult<OpenBlobForReadReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let blob: BlobId = parse("blob_uuid", &request.blob_uuid)?;
    reach::require_reachable(conn, &viewer, blob).await?;
    let head: Option<Head> = sql("SELECT b.state, b.size, h.value AS sha512 \
         FROM blobs b LEFT JOIN blob_hashes h ON h.blob_uuid = b.uuid AND h.algorithm = 'sha512' WHERE b.uuid = ?")
    .bind(blob)
    .first_row(conn)
    .await?;
    let head = head.ok_or_else(|| StoreError::missing(ObjectType::Blob, blob))?;
    Ok(OpenBlobForReadReply {
        state: head.state,
        size: head.size,
        sha512: head.sha512,
        sources: sources(conn, blob).await?,
    })
}

/// The nodes with a usable copy: those that are up and sure of theirs first, then those that send least now.
pub(super) async fn sources(conn: &mut Conn, blob: BlobId) -> StoreResult<Vec<BlobSource>> {
    let sources: Vec<Source> = sql("SELECT CAST(p.node_uuid AS CHAR) AS node_uuid, n.fqdn AS node_name, \
         CAST(n.mesh_ip AS CHAR) AS mesh_ip FROM blob_replicas p JOIN nodes n ON n.uuid = p.node_uuid \
         WHERE p.blob_uuid = ? AND p.state IN ('present', 'suspect') AND n.state NOT IN ('error', 'deleted') \
         ORDER BY n.state <> 'created', p.state <> 'present', (SELECT COUNT(*) FROM blob_transfers t \
         WHERE t.source_node = p.node_uuid AND t.lease_until > UTC_TIMESTAMP(6)), p.node_uuid LIMIT 100")
    .bind(blob)
    .all(conn)
    .await?;
    let view = |s: Source| BlobSource { node_uuid: s.node_uuid, node_name: s.node_name, mesh_ip: s.mesh_ip };
    Ok(sources.into_iter().map(view).collect())
}
