//! Handing render requests to the network daemon of a node: claims are leases (`networking.md` §11.4).

use sf_model::{ClaimToken, IncarnationId, NodeId};
use sf_protos::networks::{
    ClaimRendersReply, ClaimRendersRequest, RenderClaim, RenewRenderClaimsReply, RenewRenderClaimsRequest,
};

use crate::conn::Conn;
use crate::context::Settings;
use crate::error::StoreResult;
use crate::sql::{rows, sql};
use crate::wire::parse;

/// Requests in one answer.
const MAX_CLAIMS: u32 = 32;

rows! {
    struct Due {
        network_uuid: String,
        min_generation: u64,
        priority: u32,
        attempts: u32,
        request_id: Option<String>,
        traceparent: Option<String>,
        age_us: i64,
    }
}

const SELECT: &str = "SELECT network_uuid, min_generation, priority, attempts, request_id, traceparent, \
    TIMESTAMPDIFF(MICROSECOND, requested_at, UTC_TIMESTAMP(6)) AS age_us FROM network_render_requests \
    WHERE node_uuid = ? AND ";

/// Claims what is due for a node, most urgent and oldest first. The same token again answers the same claims, so a lost
/// reply strands nothing. Claims of an earlier process of the daemon are free at once.
///
/// # Errors
/// Those of the database.
pub async fn claim_renders(
    conn: &mut Conn,
    settings: &Settings,
    request: &ClaimRendersRequest,
) -> StoreResult<ClaimRendersReply> {
    let node: NodeId = parse("node_uuid", &request.node_uuid)?;
    let incarnation: IncarnationId = parse("incarnation", &request.incarnation)?;
    let token: ClaimToken = parse("claim_token", &request.claim_token)?;
    let limit = request.limit.clamp(1, MAX_CLAIMS);
    let held: Vec<Due> = sql(SELECT)
        .bind(node)
        .push("claim_token = ? AND claimed_until > UTC_TIMESTAMP(6) ORDER BY priority, requested_at")
        .bind(token)
        .all(conn)
        .await?;
    if !held.is_empty() {
        return Ok(ClaimRendersReply { claims: held.into_iter().map(view).collect(), more: false });
    }
    let mut due: Vec<Due> = sql(SELECT)
        .bind(node)
        .push(
            "not_before <= UTC_TIMESTAMP(6) AND (claim_token IS NULL OR claimed_until <= UTC_TIMESTAMP(6) \
             OR claimed_by <> ?) ORDER BY priority, requested_at LIMIT ? FOR UPDATE SKIP LOCKED",
        )
        .bind(incarnation)
        .bind(limit + 1)
        .all(conn)
        .await?;
    let more = due.len() > limit as usize;
    due.truncate(limit as usize);
    if due.is_empty() {
        return Ok(ClaimRendersReply::default());
    }
    sql("UPDATE network_render_requests SET claim_token = ?, claimed_by = ?, \
         claimed_until = TIMESTAMPADD(MICROSECOND, ?, UTC_TIMESTAMP(6)) WHERE node_uuid = ? AND network_uuid IN ")
    .bind(token)
    .bind(incarnation)
    .bind(settings.cluster_op_claim_lease)
    .bind(node)
    .list(due.iter().map(|row| row.network_uuid.as_str()))
    .run(conn)
    .await?;
    Ok(ClaimRendersReply { claims: due.into_iter().map(view).collect(), more })
}

/// Extends claims; answers those that are not the caller's any more.
///
/// # Errors
/// Those of the database.
pub async fn renew_claims(
    conn: &mut Conn,
    settings: &Settings,
    request: &RenewRenderClaimsRequest,
) -> StoreResult<RenewRenderClaimsReply> {
    let node: NodeId = parse("node_uuid", &request.node_uuid)?;
    let incarnation: IncarnationId = parse("incarnation", &request.incarnation)?;
    let token: Option<ClaimToken> = match request.claim_token.as_str() {
        "" => None,
        text => Some(parse("claim_token", text)?),
    };
    let ours =
        "node_uuid = ? AND claimed_by = ? AND claim_token = COALESCE(?, claim_token) AND network_uuid IN ";
    sql("UPDATE network_render_requests SET claimed_until = TIMESTAMPADD(MICROSECOND, ?, UTC_TIMESTAMP(6)) WHERE ")
        .bind(settings.cluster_op_claim_lease)
        .push(ours)
        .bind(node)
        .bind(incarnation)
        .bind(token)
        .list(&request.network_uuids)
        .run(conn)
        .await?;
    let kept: Vec<String> = sql("SELECT network_uuid AS value FROM network_render_requests WHERE ")
        .push(ours)
        .bind(node)
        .bind(incarnation)
        .bind(token)
        .list(&request.network_uuids)
        .values(conn)
        .await?;
    let lost = request.network_uuids.iter().filter(|id| !kept.contains(id)).cloned().collect();
    Ok(RenewRenderClaimsReply { lost })
}

/// Those of the nodes for which something is due: one query serves every daemon that waits at a gateway.
///
/// # Errors
/// Those of the database.
pub async fn nodes_with_renders(conn: &mut Conn, nodes: &[NodeId]) -> StoreResult<Vec<NodeId>> {
    sql("SELECT DISTINCT node_uuid AS value FROM network_render_requests WHERE not_before <= UTC_TIMESTAMP(6) \
         AND (claim_token IS NULL OR claimed_until <= UTC_TIMESTAMP(6)) AND node_uuid IN ")
    .list(nodes.iter().copied())
    .values(conn)
    .await
}

#[expect(clippy::cast_precision_loss, reason = "ages far below 2^52 microseconds")]
fn view(row: Due) -> RenderClaim {
    RenderClaim {
        network_uuid: row.network_uuid,
        min_generation: row.min_generation,
        priority: row.priority,
        attempts: row.attempts,
        request_id: row.request_id,
        traceparent: row.traceparent,
        age_seconds: row.age_us.max(0) as f64 / 1e6,
    }
}
