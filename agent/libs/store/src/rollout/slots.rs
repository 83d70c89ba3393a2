//! Taking a slot, and giving it back.

use std::time::Duration;

use sf_model::NodeId;
use sf_protos::rollout::{EndRollReply, EndRollRequest, TakeRollSlotReply, TakeRollSlotRequest};

use super::failures;
use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::nodes::daemon_name;
use crate::sql::sql;
use crate::wire::parse;

/// Bytes of a daemon's name and of a target, as their columns allow.
const NAME_BYTES: usize = 32;
const TARGET_BYTES: usize = 64;
/// Slots of one daemon, at most.
const MAX_SLOTS: u32 = 1000;

/// Takes one of the slots of a daemon, or extends the one that the node has already. A slot whose lease ran out counts
/// as a failed roll of the node that held it.
///
/// # Errors
/// [`StoreError::Invalid`]; the database fails.
pub async fn take(conn: &mut Conn, request: &TakeRollSlotRequest) -> StoreResult<TakeRollSlotReply> {
    let node: NodeId = parse("node_uuid", &request.node_uuid)?;
    let daemon = checked(&request.daemon, &request.target)?;
    if request.slots == 0 || request.slots > MAX_SLOTS || request.lease_seconds == 0 {
        return Err(StoreError::Invalid(format!("slots: 1 to {MAX_SLOTS}; lease_seconds: at least 1")));
    }
    let lease = Duration::from_secs(u64::from(request.lease_seconds));
    failures::mark_lapsed(conn, daemon).await?;
    if !request.ignore_failures {
        let failure = failures::elsewhere(conn, daemon, &request.target, node).await?;
        if failure.is_some() {
            return Ok(TakeRollSlotReply { failure, ..TakeRollSlotReply::default() });
        }
    }
    let extended =
        sql("UPDATE roll_slots SET target = ?, lease_until = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND \
         WHERE daemon = ? AND node_uuid = ?")
        .bind(&request.target)
        .bind(lease)
        .bind(daemon)
        .bind(node)
        .run(conn)
        .await?;
    if extended > 0 || insert(conn, daemon, node, request, lease).await? {
        return Ok(TakeRollSlotReply { granted: true, ..TakeRollSlotReply::default() });
    }
    let holders = "SELECT COALESCE(n.fqdn, CAST(s.node_uuid AS CHAR)) AS value FROM roll_slots s \
         LEFT JOIN nodes n ON n.uuid = s.node_uuid WHERE s.daemon = ? ORDER BY s.slot";
    let holders = sql(holders).bind(daemon).values(conn).await?;
    Ok(TakeRollSlotReply { holders, ..TakeRollSlotReply::default() })
}

/// Gives a slot back and records how the roll ended. Without a slot it records the same.
///
/// # Errors
/// [`StoreError::Invalid`]; the database fails.
pub async fn end(conn: &mut Conn, request: &EndRollRequest) -> StoreResult<EndRollReply> {
    let node: NodeId = parse("node_uuid", &request.node_uuid)?;
    let daemon = checked(&request.daemon, &request.target)?;
    sql("DELETE FROM roll_slots WHERE daemon = ? AND node_uuid = ?")
        .bind(daemon)
        .bind(node)
        .run(conn)
        .await?;
    match &request.failure {
        Some(reason) => failures::mark(conn, daemon, &request.target, node, reason).await?,
        None => failures::forget(conn, daemon, node).await?,
    }
    Ok(EndRollReply {})
}

/// The key of the table decides who gets a slot; whoever loses one tries the next.
async fn insert(
    conn: &mut Conn,
    daemon: &str,
    node: NodeId,
    request: &TakeRollSlotRequest,
    lease: Duration,
) -> StoreResult<bool> {
    for slot in 0..request.slots {
        let insert = "INSERT IGNORE INTO roll_slots (daemon, slot, node_uuid, target, lease_until) \
             VALUES (?, ?, ?, ?, UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND)";
        let inserted = sql(insert)
            .bind(daemon)
            .bind(slot)
            .bind(node)
            .bind(&request.target)
            .bind(lease)
            .run(conn)
            .await?;
        if inserted > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn checked<'a>(daemon: &'a str, target: &str) -> StoreResult<&'a str> {
    let daemon = daemon_name(daemon);
    let fits = |text: &str, most: usize| (1..=most).contains(&text.len()) && text.is_ascii();
    if fits(daemon, NAME_BYTES) && fits(target, TARGET_BYTES) {
        return Ok(daemon);
    }
    Err(StoreError::Invalid(format!("daemon: 1 to {NAME_BYTES} characters; target: 1 to {TARGET_BYTES}")))
}
