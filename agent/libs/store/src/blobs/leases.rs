//! Leases of a node's writers, pins and fetches, renewed in one call.

use sf_model::{BlobId, NodeId};
use sf_protos::blobs::{RenewLeasesReply, RenewLeasesRequest};
use uuid::Uuid;

use super::{WRITER_LEASE, transfer};
use crate::artifacts;
use crate::conn::Conn;
use crate::error::StoreResult;
use crate::references;
use crate::sql::sql;
use crate::wire::parse;

/// Extends what is still the node's; answers the blobs that are not its own to write any more.
///
/// # Errors
/// Those of the database.
pub async fn renew_leases(conn: &mut Conn, request: &RenewLeasesRequest) -> StoreResult<RenewLeasesReply> {
    let node: NodeId = parse("node_uuid", &request.node_uuid)?;
    let writing =
        request.writing.iter().map(|id| parse("writing", id)).collect::<StoreResult<Vec<BlobId>>>()?;
    let holders =
        request.holders.iter().map(|id| parse("holders", id)).collect::<StoreResult<Vec<Uuid>>>()?;
    sql("UPDATE blobs SET writer_lease_until = TIMESTAMPADD(MICROSECOND, ?, UTC_TIMESTAMP(6)) \
         WHERE state = 'initial' AND writer_node = ? AND uuid IN ")
    .bind(WRITER_LEASE)
    .bind(node)
    .list(writing.iter().copied())
    .run(conn)
    .await?;
    references::renew_pins(conn, &holders).await?;
    artifacts::renew_flights(conn, &holders).await?;
    transfer::renew(conn, node, &request.transfers).await?;
    let kept: Vec<BlobId> =
        sql("SELECT uuid AS value FROM blobs WHERE state = 'initial' AND writer_node = ? AND uuid IN ")
            .bind(node)
            .list(writing.iter().copied())
            .values(conn)
            .await?;
    let lost = writing.into_iter().filter(|id| !kept.contains(id)).map(|id| id.to_string()).collect();
    Ok(RenewLeasesReply { lost })
}
