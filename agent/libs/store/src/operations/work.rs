//! What a worker says about work it holds. A token that does not hold the work changes nothing, so a slow worker cannot
//! overwrite its successor.

use std::time::Duration;

use sf_model::state::OperationState;
use sf_model::{ClaimToken, ObjectType, OperationId};

use super::end::{Failure, Outcome, end};
use super::enqueue::{EnqueueOperation, enqueue};
use crate::conn::Conn;
use crate::context::{TxContext, Wake};
use crate::error::{StoreError, StoreResult, reason};
use crate::instances;
use crate::sql::{rows, sql};
use crate::wire::{from_row, state_message};

/// The first step of the deferral ladder; each further one doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The last step.
const MAX_DELAY: Duration = Duration::from_secs(15);

rows! {
    struct Row {
        state: String,
        late: bool,
        claim_token: Option<ClaimToken>,
        defer_count: u32,
    }
}

/// An operation whose rows are locked.
struct Locked {
    state: OperationState,
    late: bool,
    holds: bool,
    defer_count: u32,
}

/// The worker begins. False when the operation has ended meanwhile and is to be dropped.
///
/// # Errors
/// [`reason::CLAIM_LOST`].
pub async fn start(
    conn: &mut Conn,
    ctx: &TxContext,
    id: OperationId,
    token: ClaimToken,
) -> StoreResult<bool> {
    let row = lock(conn, id, token).await?;
    if row.state.is_terminal() {
        return Ok(false);
    }
    let row = held(row, id)?;
    if row.state == OperationState::Queued && row.late {
        end(conn, ctx, id, Outcome::Error(deadline())).await?;
        return Ok(false);
    }
    sql("UPDATE cluster_operations SET state_changed_at = IF(state = 'queued', UTC_TIMESTAMP(6), state_changed_at), \
         state = 'executing', state_message = NULL, started_at = COALESCE(started_at, UTC_TIMESTAMP(6)), coalesce_slot = NULL, \
         row_version = row_version + 1 WHERE uuid = ?")
    .bind(id)
    .run(conn)
    .await?;
    ctx.wake(Wake::Operation(id));
    Ok(true)
}

/// The worker cannot do it now. Answers when it will be handed out again: after `delay`, or the next step of the ladder.
///
/// # Errors
/// [`reason::CLAIM_LOST`].
pub async fn defer(
    conn: &mut Conn,
    id: OperationId,
    token: ClaimToken,
    delay: Option<Duration>,
    why: &str,
) -> StoreResult<Duration> {
    let row = held(lock(conn, id, token).await?, id)?;
    let delay = delay.unwrap_or_else(|| ladder(row.defer_count));
    sql("UPDATE cluster_operations SET state = 'queued', state_changed_at = UTC_TIMESTAMP(6), \
         row_version = row_version + 1 WHERE uuid = ? AND state = 'executing'")
    .bind(id)
    .run(conn)
    .await?;
    // Giving back in an orderly way is no failed delivery.
    sql("UPDATE work_queue SET claim_token = NULL, claimed_by_node = NULL, claimed_by_daemon = NULL, \
         claimed_by_incarnation = NULL, claim_expires_at = NULL, serial_slot = NULL, \
         available_at = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND, deliveries = deliveries - 1, \
         defer_count = defer_count + 1, defer_reason = ? WHERE operation_uuid = ?")
    .bind(delay)
    .bind(state_message(why))
    .bind(id)
    .run(conn)
    .await?;
    Ok(delay)
}

/// The worker has done it.
///
/// # Errors
/// [`reason::CLAIM_LOST`]; those of [`enqueue`] for what follows.
pub async fn complete(
    conn: &mut Conn,
    ctx: &TxContext,
    id: OperationId,
    token: ClaimToken,
    follow_ups: &[EnqueueOperation],
) -> StoreResult<()> {
    held(lock(conn, id, token).await?, id)?;
    end(conn, ctx, id, Outcome::Complete).await?;
    enqueue(conn, ctx, follow_ups).await?;
    Ok(())
}

/// The worker could not do it and never will.
///
/// # Errors
/// [`reason::CLAIM_LOST`].
pub async fn fail(
    conn: &mut Conn,
    ctx: &TxContext,
    id: OperationId,
    token: ClaimToken,
    failure: Failure,
    aborted: bool,
) -> StoreResult<()> {
    instances::lock_before_failure(conn, id).await?;
    held(lock(conn, id, token).await?, id)?;
    let outcome = if aborted { Outcome::Abort(failure) } else { Outcome::Error(failure) };
    end(conn, ctx, id, outcome).await?;
    Ok(())
}

/// Its time was up before anybody began.
pub(super) fn deadline() -> Failure {
    Failure::new("deadline", "its deadline passed before it could be worked on")
}

/// Locks header and queue row, in the lock order.
async fn lock(conn: &mut Conn, id: OperationId, token: ClaimToken) -> StoreResult<Locked> {
    let row: Option<Row> = sql("SELECT o.state, o.deadline_at <= UTC_TIMESTAMP(6) AS late, q.claim_token, \
         COALESCE(q.defer_count, 0) AS defer_count FROM cluster_operations o \
         LEFT JOIN work_queue q ON q.operation_uuid = o.uuid WHERE o.uuid = ? FOR UPDATE")
    .bind(id)
    .first_row(conn)
    .await?;
    let row = row.ok_or_else(|| StoreError::missing(ObjectType::Operation, id))?;
    Ok(Locked {
        state: from_row("operation state", &row.state)?,
        late: row.late,
        holds: row.claim_token == Some(token),
        defer_count: row.defer_count,
    })
}

fn held(row: Locked, id: OperationId) -> StoreResult<Locked> {
    if row.holds {
        return Ok(row);
    }
    Err(StoreError::precondition(reason::CLAIM_LOST, format!("operation {id} is not held under this token")))
}

fn ladder(deferred: u32) -> Duration {
    FIRST_DELAY.saturating_mul(2_u32.saturating_pow(deferred)).min(MAX_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_doubles_up_to_fifteen_seconds() {
        let steps: Vec<u128> = [0, 1, 2, 7, 8, 400].map(|n| ladder(n).as_millis()).to_vec();
        assert_eq!(steps, [100, 200, 400, 12_800, 15_000, 15_000]);
    }
}
