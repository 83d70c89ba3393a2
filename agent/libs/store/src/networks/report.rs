//! What a render did, and everything that follows from it, in one transaction (`networking.md` §9.1, §11).

use std::time::Duration;

use rand::Rng;
use sf_model::event::EventType;
use sf_model::operation::{NetworkTask, OperationArgs, Priority};
use sf_model::state::{NetworkState, RenderState};
use sf_model::{ClaimToken, NetworkId, NodeId, OperationId};
use sf_protos::networks::{ReportRenderReply, ReportRenderRequest};

use super::{Held, finish, lock, object};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult, reason};
use crate::operations;
use crate::sql::{rows, sql};
use crate::wire::{from_row, parse, state_message};

/// First pause after a failed render; it doubles with every attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Attempts after which work that a user waits for is given up.
const MAX_ATTEMPTS: u32 = 10;

rows! {
    struct Request {
        min_generation: u64,
        priority: u8,
        attempts: u32,
        claim_token: Option<ClaimToken>,
    }

    struct Operation {
        uuid: OperationId,
        arguments: String,
    }
}

/// One report, parsed.
struct Report<'a> {
    network: NetworkId,
    node: NodeId,
    generation: u64,
    outcome: RenderState,
    code: &'a str,
    message: &'a str,
}

/// Records the outcome, completes or fails what waited for it, and says whether the node should claim again.
///
/// # Errors
/// [`StoreError::Missing`]; a precondition `claim-lost` for a token that is not the present one.
pub async fn report_render(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &ReportRenderRequest,
) -> StoreResult<ReportRenderReply> {
    let report = Report {
        network: parse("network_uuid", &request.network_uuid)?,
        node: parse("node_uuid", &request.node_uuid)?,
        generation: request.generation,
        outcome: parse("outcome", &request.outcome)?,
        code: request.error_code.as_deref().unwrap_or("network.render_failed"),
        message: state_message(request.error_message.as_deref().unwrap_or_default()),
    };
    let held = lock(conn, report.network).await?;
    let waiting: Option<Request> = sql("SELECT min_generation, priority, attempts, claim_token \
         FROM network_render_requests WHERE network_uuid = ? AND node_uuid = ? FOR UPDATE")
    .bind(report.network)
    .bind(report.node)
    .first_row(conn)
    .await?;
    check_claim(&request.claim_token, waiting.as_ref())?;
    record(conn, &report).await?;
    if matches!(report.outcome, RenderState::Present | RenderState::Absent) {
        let behind = satisfied(conn, &report, &held, waiting.as_ref()).await?;
        advance(conn, ctx, &report, &held).await?;
        Ok(ReportRenderReply { behind, retry_after_ms: None })
    } else {
        failed(conn, ctx, &report, &held, waiting.as_ref()).await
    }
}

fn check_claim(token: &str, waiting: Option<&Request>) -> StoreResult<()> {
    if token.is_empty() {
        return Ok(());
    }
    let token: ClaimToken = parse("claim_token", token)?;
    if waiting.and_then(|row| row.claim_token) == Some(token) {
        Ok(())
    } else {
        Err(StoreError::precondition(
            reason::CLAIM_LOST,
            "the render was claimed by another process meanwhile",
        ))
    }
}

/// The render row; a failure keeps the generation that was reached before.
async fn record(conn: &mut Conn, report: &Report<'_>) -> StoreResult<()> {
    let reached = match report.outcome {
        RenderState::Present | RenderState::Absent => report.generation,
        RenderState::Error | RenderState::Quiesced => 0,
    };
    let (code, message) = match reached {
        0 => (Some(report.code), Some(report.message)),
        _ => (None, None),
    };
    sql("INSERT INTO network_node_renders (network_uuid, node_uuid, generation, state, rendered_at, error_code, error_message) \
         VALUES (?, ?, ?, ?, UTC_TIMESTAMP(6), ?, ?) ON DUPLICATE KEY UPDATE \
         generation = GREATEST(generation, VALUES(generation)), state = VALUES(state), \
         rendered_at = VALUES(rendered_at), error_code = VALUES(error_code), error_message = VALUES(error_message)")
    .bind(report.network)
    .bind(report.node)
    .bind(reached)
    .bind(report.outcome.as_str())
    .bind(code)
    .bind(message)
    .run(conn)
    .await?;
    Ok(())
}

/// Ends the request, or leaves it to be claimed again when something newer was asked meanwhile.
async fn satisfied(
    conn: &mut Conn,
    report: &Report<'_>,
    held: &Held,
    waiting: Option<&Request>,
) -> StoreResult<bool> {
    let behind = waiting.is_some_and(|row| row.min_generation > report.generation);
    if behind {
        sql("UPDATE network_render_requests SET claim_token = NULL, claimed_by = NULL, claimed_until = NULL, attempts = 0, \
             not_before = UTC_TIMESTAMP(6) WHERE network_uuid = ? AND node_uuid = ?")
        .bind(report.network)
        .bind(report.node)
        .run(conn)
        .await?;
    } else if waiting.is_some() {
        delete_request(conn, report).await?;
    }
    Ok(behind || held.generation > report.generation)
}

/// State transitions and operations that a successful render may end.
async fn advance(conn: &mut Conn, ctx: &TxContext, report: &Report<'_>, held: &Held) -> StoreResult<()> {
    let state: NetworkState = from_row("network state", &held.state)?;
    let carries: Option<u64> =
        sql("SELECT 1 AS value FROM network_carriers WHERE network_uuid = ? AND node_uuid = ?")
            .bind(report.network)
            .bind(report.node)
            .value(conn)
            .await?;
    if state == NetworkState::Initial && report.outcome == RenderState::Present && carries.is_some() {
        sql("UPDATE networks SET state = 'created', state_changed_at = UTC_TIMESTAMP(6), state_message = NULL, \
             row_version = row_version + 1 WHERE uuid = ? AND state = 'initial'")
        .bind(report.network)
        .run(conn)
        .await?;
        ctx.event(EventType::Mutate, "network is ready on its carrier", &[object(report.network)]);
    }
    if state == NetworkState::DeleteWait && report.outcome == RenderState::Absent {
        return finish::try_finish(conn, ctx, held).await;
    }
    complete_reached(conn, ctx, report.network).await
}

/// Completes creates and renders whose nodes have all reached the generation they name.
async fn complete_reached(conn: &mut Conn, ctx: &TxContext, network: NetworkId) -> StoreResult<()> {
    for operation in pending(conn, network).await? {
        let Some((task, generation)) = task_of(&operation)? else { continue };
        // A create is done by the carrier alone; a render by every participant.
        let only_carrier = task == NetworkTask::NetworkCreate;
        if task == NetworkTask::NetworkDelete || lagging(conn, network, generation, only_carrier).await? {
            continue;
        }
        operations::complete_network_operation(conn, ctx, operation.uuid).await?;
    }
    Ok(())
}

async fn failed(
    conn: &mut Conn,
    ctx: &TxContext,
    report: &Report<'_>,
    held: &Held,
    waiting: Option<&Request>,
) -> StoreResult<ReportRenderReply> {
    let Some(row) = waiting else { return Ok(ReportRenderReply::default()) };
    let attempts = row.attempts + 1;
    let awaited = row.priority <= Priority::UserFacing as u8;
    if awaited && attempts >= MAX_ATTEMPTS {
        delete_request(conn, report).await?;
        give_up(conn, ctx, report, held).await?;
        return Ok(ReportRenderReply { behind: false, retry_after_ms: None });
    }
    let pause = pause_after(attempts);
    sql("UPDATE network_render_requests SET claim_token = NULL, claimed_by = NULL, claimed_until = NULL, attempts = ?, \
         not_before = TIMESTAMPADD(MICROSECOND, ?, UTC_TIMESTAMP(6)) WHERE network_uuid = ? AND node_uuid = ?")
    .bind(attempts)
    .bind(pause)
    .bind(report.network)
    .bind(report.node)
    .run(conn)
    .await?;
    Ok(ReportRenderReply { behind: false, retry_after_ms: u32::try_from(pause.as_millis()).ok() })
}

/// Nobody waits any longer; reconciliation goes on trying.
async fn give_up(conn: &mut Conn, ctx: &TxContext, report: &Report<'_>, held: &Held) -> StoreResult<()> {
    for operation in pending(conn, report.network).await? {
        operations::fail_operation(conn, ctx, operation.uuid, report.code, report.message).await?;
    }
    if held.state == NetworkState::Initial.as_str() {
        sql("UPDATE networks SET state = 'error', state_changed_at = UTC_TIMESTAMP(6), state_message = ?, \
             row_version = row_version + 1 WHERE uuid = ? AND state = 'initial'")
        .bind(report.message)
        .bind(report.network)
        .run(conn)
        .await?;
    }
    let message = format!("network could not be rendered on node {}: {}", report.node, report.message);
    ctx.event(EventType::Audit, message, &[object(report.network)]);
    Ok(())
}

async fn delete_request(conn: &mut Conn, report: &Report<'_>) -> StoreResult<()> {
    sql("DELETE FROM network_render_requests WHERE network_uuid = ? AND node_uuid = ?")
        .bind(report.network)
        .bind(report.node)
        .run(conn)
        .await?;
    Ok(())
}

async fn pending(conn: &mut Conn, network: NetworkId) -> StoreResult<Vec<Operation>> {
    sql(
        "SELECT uuid, arguments FROM cluster_operations WHERE network_uuid = ? AND operation_type = 'net_op' \
         AND state IN ('queued', 'executing') ORDER BY uuid",
    )
    .bind(network)
    .all(conn)
    .await
}

fn task_of(operation: &Operation) -> StoreResult<Option<(NetworkTask, u64)>> {
    let args: OperationArgs = serde_json::from_str(&operation.arguments)
        .map_err(|_| StoreError::Corrupt(format!("arguments of operation {}", operation.uuid)))?;
    Ok(match args {
        OperationArgs::NetOp { task, generation, .. } => Some((task, generation)),
        _ => None,
    })
}

/// Whether a node that takes part has not reached a generation.
async fn lagging(
    conn: &mut Conn,
    network: NetworkId,
    generation: u64,
    only_carrier: bool,
) -> StoreResult<bool> {
    let mut statement =
        sql("SELECT 1 AS value FROM (SELECT node_uuid FROM network_carriers WHERE network_uuid = ?")
            .bind(network);
    if !only_carrier {
        statement = statement
            .push(
                " UNION SELECT i.node_uuid FROM network_interfaces f JOIN instances i ON i.uuid = f.instance_uuid \
                 WHERE f.network_uuid = ? AND f.state <> 'deleted' AND i.node_uuid IS NOT NULL",
            )
            .bind(network);
    }
    let row: Option<u64> = statement
        .push(
            ") p LEFT JOIN network_node_renders x ON x.network_uuid = ? AND x.node_uuid = p.node_uuid \
             WHERE x.state IS NULL OR x.state <> 'present' OR x.generation < ? LIMIT 1",
        )
        .bind(network)
        .bind(generation)
        .value(conn)
        .await?;
    Ok(row.is_some())
}

fn pause_after(attempts: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(attempts.saturating_sub(1).min(16)));
    doubled.min(LONGEST_PAUSE).mul_f64(rand::rng().random_range(0.75..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit() {
        assert!(pause_after(1) <= FIRST_PAUSE);
        assert!(pause_after(4) >= FIRST_PAUSE * 4);
        assert!(pause_after(30) <= LONGEST_PAUSE && pause_after(30) >= LONGEST_PAUSE / 2);
    }
}
