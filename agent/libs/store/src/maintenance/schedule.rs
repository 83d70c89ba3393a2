//! Which task is due. Times are kept here: timers in memory would start anew at each election, and a daily task might
//! never run.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rand::Rng;
use sf_protos::maintenance::{ClaimTaskReply, FinishTaskRequest, ListTasksReply, TaskInfo};

use crate::conn::Conn;
use crate::context::{Fence, TxContext};
use crate::error::{StoreError, StoreResult, reason};
use crate::sql::{rows, sql};
use crate::wire::timestamp;

/// Seconds until a failed task is tried again, at most.
const RETRY: u32 = 3600;
/// Seconds after which a task that this leader runs counts as abandoned: its slice and its last call are long over, so
/// the word that it ended was lost.
const ABANDONED: u32 = 180;
/// Tasks of one reply.
const MAX: u32 = 100;
/// Milliseconds until the leader asks again when nothing is planned.
const IDLE_MS: u64 = 5000;

rows! {
    struct Row {
        task: String,
        period_s: u32,
        next_due: DateTime<Utc>,
        last_success: Option<DateTime<Utc>>,
        last_error: Option<String>,
        consecutive_failures: u32,
    }
}

/// Plans a task whose first run is at a random part of its period, so that tasks do not start together.
///
/// # Errors
/// A duplicate when it is planned already.
pub async fn plan_task(conn: &mut Conn, task: &str, period_seconds: u32) -> StoreResult<()> {
    let delay = rand::rng().random_range(0..=period_seconds.min(RETRY));
    sql("INSERT INTO maintenance_runs (task, period_s, next_due) VALUES (?, ?, UTC_TIMESTAMP(6) + INTERVAL ? SECOND)")
        .bind(task)
        .bind(period_seconds)
        .bind(delay)
        .run(conn)
        .await?;
    Ok(())
}

/// Hands the most overdue task to the leader. A task that an earlier leader was running is due again; one that this
/// leader runs is not handed out twice.
///
/// # Errors
/// [`StoreError::Invalid`] without a fence.
pub async fn claim_task(
    conn: &mut Conn,
    ctx: &TxContext,
    known: &BTreeMap<String, u32>,
) -> StoreResult<ClaimTaskReply> {
    let fence = fence(ctx)?.fence;
    if known.is_empty() {
        return Ok(ClaimTaskReply { task: None, next_due_ms: to_ms(IDLE_MS) });
    }
    adopt(conn, known).await?;
    let mine = sql("(running_fence IS NULL OR running_fence <> ? \
         OR last_started < UTC_TIMESTAMP(6) - INTERVAL ? SECOND) AND task IN ")
    .bind(fence)
    .bind(ABANDONED)
    .list(known.keys());
    let due: Option<String> =
        sql("SELECT task AS value FROM maintenance_runs WHERE next_due <= UTC_TIMESTAMP(6) AND ")
            .append(mine.clone())
            .push(" ORDER BY next_due, task LIMIT 1 FOR UPDATE")
            .value(conn)
            .await?;
    if let Some(task) = &due {
        sql("UPDATE maintenance_runs SET running_fence = ?, last_started = UTC_TIMESTAMP(6) WHERE task = ?")
            .bind(fence)
            .bind(task)
            .run(conn)
            .await?;
    }
    let next: Option<Option<i64>> =
        sql("SELECT TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), MIN(next_due)) DIV 1000 \
         AS value FROM maintenance_runs WHERE ")
        .append(mine)
        .value(conn)
        .await?;
    let next = next.flatten().map_or(IDLE_MS, |ms| u64::try_from(ms).unwrap_or(0));
    Ok(ClaimTaskReply { task: due, next_due_ms: to_ms(next) })
}

/// Records how a run ended and plans the next one.
///
/// # Errors
/// [`reason::CLAIM_LOST`] when another leader has taken the task over.
pub async fn finish_task(conn: &mut Conn, ctx: &TxContext, request: &FinishTaskRequest) -> StoreResult<()> {
    let fence = fence(ctx)?.fence;
    let failed = request.error.is_some();
    let done = sql("UPDATE maintenance_runs SET running_fence = NULL, last_duration_ms = ?, last_error = ?, \
         last_success = IF(?, last_success, UTC_TIMESTAMP(6)), \
         consecutive_failures = IF(?, consecutive_failures + 1, 0), \
         next_due = UTC_TIMESTAMP(6) + INTERVAL (CASE WHEN ? THEN LEAST(period_s, ?) WHEN ? THEN 0 ELSE period_s END) \
         SECOND WHERE task = ? AND running_fence = ?")
    .bind(request.duration_ms)
    .bind(request.error.as_ref())
    .bind(failed)
    .bind(failed)
    .bind(failed)
    .bind(RETRY)
    .bind(request.again)
    .bind(&request.task)
    .bind(fence)
    .run(conn)
    .await?;
    if done == 0 {
        let message = format!("task {} is not run under fence {fence}", request.task);
        return Err(StoreError::precondition(reason::CLAIM_LOST, message));
    }
    Ok(())
}

/// Every task and how it fares.
///
/// # Errors
/// The database fails.
pub async fn list_tasks(conn: &mut Conn) -> StoreResult<ListTasksReply> {
    let rows: Vec<Row> =
        sql("SELECT task, period_s, next_due, last_success, last_error, consecutive_failures \
         FROM maintenance_runs ORDER BY task LIMIT ?")
        .bind(MAX)
        .all(conn)
        .await?;
    let info = |row: Row| TaskInfo {
        task: row.task,
        period_seconds: row.period_s,
        next_due: Some(timestamp(row.next_due)),
        last_success: row.last_success.map(timestamp),
        last_error: row.last_error,
        consecutive_failures: row.consecutive_failures,
    };
    Ok(ListTasksReply { tasks: rows.into_iter().map(info).collect() })
}

/// Tasks of a newer build are planned when its leader first asks; changed periods take effect.
async fn adopt(conn: &mut Conn, known: &BTreeMap<String, u32>) -> StoreResult<()> {
    let present: Vec<String> =
        sql("SELECT CONCAT(task, ' ', period_s) AS value FROM maintenance_runs").values(conn).await?;
    for (task, period) in known {
        if present.contains(&format!("{task} {period}")) {
            continue;
        }
        let updated = sql("UPDATE maintenance_runs SET period_s = ?, \
             next_due = LEAST(next_due, UTC_TIMESTAMP(6) + INTERVAL ? SECOND) WHERE task = ?")
        .bind(*period)
        .bind(*period)
        .bind(task)
        .run(conn)
        .await?;
        if updated == 0 {
            plan_task(conn, task, *period).await?;
        }
    }
    Ok(())
}

fn fence(ctx: &TxContext) -> StoreResult<&Fence> {
    ctx.fence.as_ref().ok_or_else(|| StoreError::invalid("context.fence: required"))
}

fn to_ms(ms: u64) -> u32 {
    u32::try_from(ms).unwrap_or(u32::MAX)
}
